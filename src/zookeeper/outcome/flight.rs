//! What all writes in flight come to, counted once: their traces may be alike, and each is judged among all of them.

use std::collections::HashMap;

use super::{CreateMode, Pending, parts, paths};
use crate::zookeeper::wire::{Op, Text};

/// How many of the operations in flight, parts of multis one by one, make or write what.
#[derive(Debug, Default)]
pub(super) struct Flight<'a> {
    /// Creates of the node of this very path.
    named: HashMap<&'a [u8], usize>,
    /// Creates of a sequential node whose path is this and a number.
    numbered: HashMap<&'a [u8], usize>,
    /// Sets of these bytes, at this path.
    writes: HashMap<(&'a [u8], Option<&'a [u8]>), usize>,
}

impl<'a> Flight<'a> {
    pub(super) fn new(all: &[Pending<'a>]) -> Self {
        let mut flight = Self::default();
        for op in all.iter().flat_map(|pending| parts(pending.request)) {
            let Some(path) = op.path().map(Text::as_bytes) else { continue };
            let count = match op {
                Op::Create(create) if create.mode().is_some_and(CreateMode::is_sequential) => {
                    flight.numbered.entry(path).or_default()
                }
                Op::Create(_) => flight.named.entry(path).or_default(),
                Op::SetData { data, .. } => flight.writes.entry((path, data)).or_default(),
                _ => continue,
            };
            *count += 1;
        }
        flight
    }

    /// How many may have made the node of this very path: those that name it, and those that may have got it by its number.
    pub(super) fn makers(&self, path: &[u8]) -> usize {
        self.named(path) + paths::unnumbered(path).map_or(0, |prefix| self.twins(prefix))
    }

    /// How many make the node of this very path by its name.
    pub(super) fn named(&self, path: &[u8]) -> usize {
        self.named.get(path).copied().unwrap_or(0)
    }

    /// How many make a sequential node whose path is this and a number.
    pub(super) fn twins(&self, prefix: &[u8]) -> usize {
        self.numbered.get(prefix).copied().unwrap_or(0)
    }

    /// How many write these bytes to this node.
    pub(super) fn writers(&self, path: &[u8], bytes: Option<&[u8]>) -> usize {
        self.writes.get(&(path, bytes)).copied().unwrap_or(0)
    }
}
