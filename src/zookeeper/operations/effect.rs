//! What a request and its answer do to the watches of a client, as its server counts them.
//!
//! Imports [`wire`](crate::zookeeper::wire) only. Keeps nothing: the ledger of watches does.

use crate::zookeeper::wire::rearm::List;
use crate::zookeeper::wire::{Request, Text, WatchLists, errors};

/// Which watches `removeWatches` takes away (`Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatcherKind {
    /// On children.
    Children,
    /// On data, and on a node's creation.
    Data,
    /// All of the path.
    Any,
    /// Persistent ones; servers know it since 3.9.
    Persistent,
    /// Persistent recursive ones; servers know it since 3.9.
    Recursive,
}

impl WatcherKind {
    /// From the number of the wire.
    pub fn from_wire(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::Recursive,
            _ => return None,
        })
    }
}

/// What happened to a client's watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Nothing.
    Nothing,
    /// One was set. The list is the one that it must stand in when it is set anew.
    Set(List, Text<'a>),
    /// Some of a path were taken away.
    Removed(WatcherKind, Text<'a>),
    /// All of these were set. Of `setWatches` and `setWatches2`, and to be counted when the request is **sent**: the
    /// events that it brings come before its answer, and each ends the watch that it is of.
    Lists(WatchLists<'a>),
}

/// The effect of a request whose answer has this error code. For `setWatches` and `setWatches2` call it with 0 when they
/// are sent, and not again.
///
/// `exists` on a node that is there sets a watch on data: re-armed as an exist watch it would bring a false
/// `NodeCreated`, and the deletion would never be told.
pub fn effect<'a>(request: &Request<'a>, err: i32) -> Effect<'a> {
    let set = |list, path: Option<Text<'a>>| path.map_or(Effect::Nothing, |path| Effect::Set(list, path));
    match (*request, err) {
        (Request::Exists { path, watch: true }, errors::NO_NODE) => set(List::Exist, path),
        (Request::Exists { path, watch: true } | Request::GetData { path, watch: true }, errors::OK) => {
            set(List::Data, path)
        }
        (
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true },
            errors::OK,
        ) => set(List::Child, path),
        (Request::AddWatch { path, mode: 0 }, errors::OK) => set(List::Persistent, path),
        (Request::AddWatch { path, mode: 1 }, errors::OK) => set(List::Recursive, path),
        (Request::SetWatches(lists) | Request::SetWatches2(lists), errors::OK) => Effect::Lists(lists),
        (Request::RemoveWatches { path: Some(path), kind }, errors::OK) => {
            WatcherKind::from_wire(kind).map_or(Effect::Nothing, |kind| Effect::Removed(kind, path))
        }
        _ => Effect::Nothing,
    }
}
