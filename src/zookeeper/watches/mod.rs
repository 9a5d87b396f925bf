//! The watches of one session, as its server counts them: so that they can be set anew on another one. Pure.
//!
//! One-shot watches (data, exist, child) end with the event that they wait for; persistent ones stay. A client is told of
//! an event once, however many of its watches it meets (`WatchManager.triggerWatch` collects watchers in a set).
//!
//! What one-shot watches wait for is told after a gap, if late: the server compares the node with what the client has
//! seen (`DataTree.setWatches`). What persistent ones would have told in it is lost. Two cases are lost for everybody, with
//! or without Evenkeel: a node that was created and deleted again says nothing to an exist watch, and one that was deleted
//! and made again is told as changed.
//!
//! May import [`wire`](super::wire) and [`operations`](super::operations). Must never read a clock or a socket.

mod overlap;
#[cfg(test)]
mod tests;

pub use overlap::Overlap;

use super::operations::{Effect, WatcherKind, effect};
use super::wire::rearm::{CHUNK, List, set_watches};
use super::wire::{EventType, Request, WatchEvent};
use bytes::Bytes;
use std::collections::HashSet;

/// All lists, in the order of `setWatches2`.
pub const LISTS: [List; 5] = [List::Data, List::Exist, List::Child, List::Persistent, List::Recursive];

/// What becomes of a server's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nobody waits for it (any more).
    No,
    /// A one-shot watch waits for it.
    Once,
    /// Only a persistent one is for it.
    Always,
}

/// The watches of one session. An empty one holds no memory of its own.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    lists: [HashSet<Box<[u8]>>; 5],
    /// The paths of recursive ones with a persistent one that was set later: before 3.9 that one takes their place, from 3.9
    /// on both stay (seen on the `DataTree` of 3.8.6, 3.8.7 and 3.9.6).
    covered: HashSet<Box<[u8]>>,
    bytes: usize,
}

impl Watches {
    /// A request was answered with this error code (of `setWatches` and `setWatches2`: with 0, when they are sent). One that
    /// can't be read sets nothing.
    pub fn answered(&mut self, code: i32, payload: &[u8], err: i32) {
        let Ok(request) = Request::decode(code, payload) else { return };
        match effect(&request, err) {
            Effect::Nothing => {}
            Effect::Set(list, path) => self.set(list, path.0),
            Effect::Removed(kind, path) => {
                let lists: &[List] = match kind {
                    WatcherKind::Children => &[List::Child],
                    WatcherKind::Data => &[List::Data, List::Exist],
                    WatcherKind::Any => &LISTS,
                    WatcherKind::Persistent => &[List::Persistent],
                    WatcherKind::Recursive => &[List::Recursive],
                };
                self.remove(lists, path.0);
            }
            Effect::Lists(lists) => {
                let each = [lists.data, lists.exist, lists.child, lists.persistent, lists.recursive];
                for (list, names) in LISTS.into_iter().zip(each) {
                    let Some(names) = names else { continue };
                    for name in names.iter() {
                        self.set(list, name.0);
                    }
                }
            }
        }
    }

    /// The server told this event: the one-shot watches that it is for have ended.
    pub fn fired(&mut self, event: &WatchEvent<'_>) {
        self.remove(ended_by(event.kind), event.path.0);
    }

    /// Whether somebody waits for this event.
    pub fn awaits(&self, event: &WatchEvent<'_>) -> Awaited {
        let path = event.path.0;
        if ended_by(event.kind).iter().any(|list| self.has(*list, path)) {
            return Awaited::Once;
        }
        if self.lasts(event) { Awaited::Always } else { Awaited::No }
    }

    /// Whether a persistent watch is told of this event, whoever else is.
    pub fn lasts(&self, event: &WatchEvent<'_>) -> bool {
        let path = event.path.0;
        // A recursive watch tells of nodes that come, go and change, not of the lists of their children.
        let recursive = event.kind != EventType::NodeChildrenChanged
            && std::iter::successors(Some(path), |path| parent(path))
                .any(|path| self.has(List::Recursive, path));
        recursive || self.has(List::Persistent, path)
    }

    /// Whether events can be lost without a trace while there is no connection.
    pub fn has_persistent(&self) -> bool {
        [List::Persistent, List::Recursive].iter().any(|list| self.count(*list) > 0)
    }

    /// The requests that set all of them anew on another server, their lengths in front. `relative_zxid`: the highest zxid of
    /// any answer that the client was shown; what happened to one-shot watches after it is told at once.
    ///
    /// A server sets the recursive ones of a request last. So those that a persistent one came behind go before.
    pub fn rearm(&self, relative_zxid: i64) -> Vec<Bytes> {
        let covered = self.covered.iter().map(|path| (List::Recursive, &path[..]));
        let mut frames = set_watches(relative_zxid, covered, CHUNK);
        let all = LISTS.into_iter().zip(&self.lists);
        let all = all.flat_map(|(list, paths)| paths.iter().map(move |path| (list, &path[..])));
        let all = all.filter(|(list, path)| *list != List::Recursive || !self.covered.contains(*path));
        frames.extend(set_watches(relative_zxid, all, CHUNK));
        frames
    }

    /// How many are in a list.
    pub fn count(&self, list: List) -> usize {
        self.lists.get(list as usize).map_or(0, HashSet::len)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lists.iter().map(HashSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all paths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn has(&self, list: List, path: &[u8]) -> bool {
        self.lists.get(list as usize).is_some_and(|paths| paths.contains(path))
    }

    fn set(&mut self, list: List, path: &[u8]) {
        match list {
            List::Persistent if self.has(List::Recursive, path) => drop(self.covered.insert(path.into())),
            List::Recursive => drop(self.covered.remove(path)),
            _ => {}
        }
        let Some(paths) = self.lists.get_mut(list as usize) else { return };
        if !paths.contains(path) {
            paths.insert(path.into());
            self.bytes += path.len();
        }
    }

    fn remove(&mut self, lists: &[List], path: &[u8]) {
        for list in lists {
            if self.lists.get_mut(*list as usize).is_some_and(|paths| paths.remove(path)) {
                if matches!(list, List::Persistent | List::Recursive) {
                    self.covered.remove(path);
                }
                self.bytes = self.bytes.saturating_sub(path.len());
            }
        }
    }
}

/// The lists whose watches end with an event (`ZKWatchManager.materialize`).
fn ended_by(kind: EventType) -> &'static [List] {
    match kind {
        EventType::NodeCreated | EventType::NodeDataChanged => &[List::Data, List::Exist],
        EventType::NodeChildrenChanged => &[List::Child],
        EventType::NodeDeleted => &[List::Data, List::Exist, List::Child],
        _ => &[],
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().rposition(|byte| *byte == b'/')?;
    match (at, path.len()) {
        (0, 1) => None,
        (0, _) => path.get(..1),
        (at, _) => path.get(..at),
    }
}
