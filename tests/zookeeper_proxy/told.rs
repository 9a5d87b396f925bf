//! What a server tells a connection of the changes that it waits for: its watches, as `WatchManager` and
//! `DataTree.setWatches` of 3.9 keep and re-arm them.

use crate::tree::{Change, Tree};
use bytes::Bytes;
use evenkeel::zookeeper::wire::{EventType, Names, Request, WatchEvent, WatchLists, errors};
use std::collections::BTreeSet;

/// Data (and exist: one table in a server), child, persistent, persistent recursive.
#[derive(Default, Debug, Clone)]
pub struct Watches {
    pub data: BTreeSet<String>,
    pub child: BTreeSet<String>,
    pub persistent: BTreeSet<String>,
    pub recursive: BTreeSet<String>,
}

pub fn event(kind: EventType, path: &str, zxid: i64) -> Bytes {
    WatchEvent { kind, state: 3, path: path.into() }.encode(zxid)
}

impl Watches {
    pub fn len(&self) -> usize {
        [&self.data, &self.child, &self.persistent, &self.recursive].map(BTreeSet::len).iter().sum()
    }

    /// Whether this change is told; one-shot watches end with it.
    pub fn fires(&mut self, (kind, path): &Change) -> bool {
        let once = match kind {
            EventType::NodeChildrenChanged => self.child.remove(path),
            EventType::NodeDeleted => self.data.remove(path) | self.child.remove(path),
            _ => self.data.remove(path),
        };
        let below = |top: &String| top == "/" || path == top || path.starts_with(&format!("{top}/"));
        let recursive = *kind != EventType::NodeChildrenChanged && self.recursive.iter().any(below);
        once || recursive || self.persistent.contains(path)
    }

    /// A request was served with this error.
    pub fn served(&mut self, request: &Request<'_>, err: i32) {
        match (*request, err) {
            (Request::Exists { path: Some(path), watch: true }, 0 | errors::NO_NODE)
            | (Request::GetData { path: Some(path), watch: true }, 0) => {
                self.data.insert(path.lossy().into_owned());
            }
            (
                Request::GetChildren { path: Some(path), watch: true }
                | Request::GetChildren2 { path: Some(path), watch: true },
                0,
            ) => {
                self.child.insert(path.lossy().into_owned());
            }
            (Request::AddWatch { path: Some(path), mode }, 0) => {
                let list = if mode == 0 { &mut self.persistent } else { &mut self.recursive };
                list.insert(path.lossy().into_owned());
            }
            _ => {}
        }
    }

    /// Whether there was something to take away.
    pub fn remove(&mut self, path: &str, kind: i32) -> bool {
        let data = matches!(kind, 2 | 3) && self.data.remove(path);
        let child = matches!(kind, 1 | 3) && self.child.remove(path);
        let persistent = matches!(kind, 3 | 4) && self.persistent.remove(path);
        let recursive = matches!(kind, 3 | 5) && self.recursive.remove(path);
        data || child || persistent || recursive
    }

    pub fn has(&self, path: &str, kind: i32) -> bool {
        self.clone().remove(path, kind)
    }

    /// Sets them anew; gives what is told at once, for what has happened since. Those events have no zxid, on 3.9 too.
    pub fn set(&mut self, lists: &WatchLists<'_>, tree: &Tree) -> Vec<Bytes> {
        let mut told = Vec::new();
        let each = |names: Option<Names<'_>>| -> Vec<String> {
            names.unwrap_or_default().iter().map(|name| name.lossy().into_owned()).collect()
        };
        for path in each(lists.data) {
            match tree.stat(&path) {
                None => told.push(event(EventType::NodeDeleted, &path, -1)),
                Some(stat) if stat.mzxid > lists.relative_zxid => {
                    told.push(event(EventType::NodeDataChanged, &path, -1));
                }
                Some(_) => drop(self.data.insert(path)),
            }
        }
        for path in each(lists.exist) {
            match tree.stat(&path) {
                Some(_) => told.push(event(EventType::NodeCreated, &path, -1)),
                None => drop(self.data.insert(path)),
            }
        }
        for path in each(lists.child) {
            match tree.stat(&path) {
                None => told.push(event(EventType::NodeDeleted, &path, -1)),
                Some(stat) if stat.pzxid > lists.relative_zxid => {
                    told.push(event(EventType::NodeChildrenChanged, &path, -1));
                }
                Some(_) => drop(self.child.insert(path)),
            }
        }
        self.persistent.extend(each(lists.persistent));
        self.recursive.extend(each(lists.recursive));
        told
    }
}
