//! Producer ids that brokers hand out for clients that have none.
//!
//! A session says that it wants one; the watch task asks for it (`InitProducerId`) and keeps it until it is fetched.

use super::{Cluster, lock};
use std::collections::{HashSet, VecDeque};

/// A producer id and its epoch, from a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The producer id, never −1.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// Ids that wait for a session, and sessions that wait for an id.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    pub(super) ready: VecDeque<Producer>,
    pub(super) wanted: HashSet<u64>,
    denied: bool,
}

/// What a session that wants a producer id gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// This id, which nobody else has.
    Producer(Producer),
    /// None yet.
    Wait,
    /// None ever: the cluster does not authorize it.
    Denied,
}

impl Cluster {
    /// A producer id for the session `session`; without one there, it is asked for.
    pub fn fetch_producer(&self, session: u64) -> Fetched {
        let mut producers = lock(&self.producers);
        if producers.denied {
            return Fetched::Denied;
        }
        if let Some(producer) = producers.ready.pop_front() {
            producers.wanted.remove(&session);
            return Fetched::Producer(producer);
        }
        if producers.wanted.insert(session) {
            drop(producers);
            self.poke.notify_one();
        }
        Fetched::Wait
    }

    /// A session ends: it wants none any more.
    pub fn forget_producer(&self, session: u64) {
        lock(&self.producers).wanted.remove(&session);
    }

    /// How many ids are to be asked for now.
    pub(super) fn producers_wanted(&self) -> usize {
        let producers = lock(&self.producers);
        producers.wanted.len().saturating_sub(producers.ready.len())
    }

    /// A broker has handed an id out.
    pub(super) fn add_producer(&self, producer: Producer) {
        lock(&self.producers).ready.push_back(producer);
        self.wake_all();
    }

    /// The cluster does not authorize ids for Evenkeel: producers pass as they are from now on.
    pub(super) fn deny_producers(&self, code: i16) {
        let mut producers = lock(&self.producers);
        producers.wanted.clear();
        if !std::mem::replace(&mut producers.denied, true) {
            tracing::warn!(code, "InitProducerId is refused: producers without idempotence pass as they are");
        }
        drop(producers);
        self.wake_all();
    }
}
