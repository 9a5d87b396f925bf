//! Producer ids that brokers hand out for clients that have none.
//!
//! A session says that it wants one; the watch task asks for it (`InitProducerId`) and keeps it until it is fetched.
//!
//! A client that gives its connection up may have batches in a broker's socket, which that has not read yet: it would append
//! them behind what the client sends on its next connection. So that one takes the identity over, under the next epoch: a
//! broker that has seen this refuses what is older.

use super::acls::Right;
use super::{Cluster, lock};
use crate::time::now;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// No more identities than this wait for their clients to come back.
const LEFT_MAX: usize = 1024;

/// How long after the cluster has refused an id it isn't asked for another: the right may be given later.
const DENIED_FOR: Duration = Duration::from_secs(600);

/// A producer id and its epoch, from a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The producer id; −1 only in [`Producer::NONE`].
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl Producer {
    /// What batches without a producer id carry.
    pub const NONE: Self = Self { id: -1, epoch: -1 };

    /// The same id under its next epoch, unless that is the last one, at which an identity is used up. A producer without a
    /// transactional id counts its epochs itself (KIP-360); `InitProducerId` would answer it with another id.
    #[must_use]
    pub fn bumped(self) -> Option<Self> {
        let epoch = self.epoch.checked_add(1).filter(|epoch| *epoch < i16::MAX)?;
        Some(Self { epoch, ..self })
    }
}

/// Ids that wait for a session, and sessions that wait for an id.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    pub(super) ready: VecDeque<Producer>,
    pub(super) wanted: HashSet<u64>,
    /// When ids were last refused.
    denied: Option<Instant>,
    /// By session.
    clients: HashMap<u64, Whose>,
    /// Identities of connections that are gone with batches that may still land, oldest first, under their next epochs.
    left: VecDeque<(Whose, Producer)>,
}

/// Whose connection it is: the client id, and the port of the broker that it means. A client that comes back has the same.
pub type Whose = (Box<[u8]>, Option<u16>);

/// What a session that wants a producer id gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// This id, which nobody else has.
    Producer(Producer),
    /// None yet.
    Wait,
    /// None for this session: the cluster does not authorize it.
    Denied,
}

impl Producers {
    /// What an earlier connection of the same client has left.
    fn take_over(&mut self, session: u64) -> Option<Producer> {
        let whose = self.clients.get(&session)?;
        let at = self.left.iter().position(|(of, _)| of == whose)?;
        self.left.remove(at).map(|(_, producer)| producer)
    }
}

impl Cluster {
    /// A producer id for the session `session`; without one there, it is asked for.
    pub fn fetch_producer(&self, session: u64) -> Fetched {
        let mut producers = lock(&self.producers);
        if producers.denied.is_some_and(|at| now().saturating_duration_since(at) < DENIED_FOR) {
            return Fetched::Denied;
        }
        if let Some(producer) = producers.take_over(session) {
            producers.wanted.remove(&session);
            return Fetched::Producer(producer);
        }
        if let Some(producer) = producers.ready.pop_front() {
            // One that has not waited takes what was fetched for another, which is in want again, and says nothing by itself.
            let in_want =
                !producers.wanted.remove(&session) && producers.wanted.len() > producers.ready.len();
            drop(producers);
            if in_want {
                self.poke.notify_one();
            }
            return Fetched::Producer(producer);
        }
        if producers.wanted.insert(session) {
            drop(producers);
            self.poke.notify_one();
        }
        Fetched::Wait
    }

    /// Whose session this is.
    pub fn note_client(&self, session: u64, whose: Whose) {
        lock(&self.producers).clients.insert(session, whose);
    }

    /// The client of a session is gone, and batches under these identities may still land. Nothing new is stamped with them.
    pub fn leave_producers(&self, session: u64, left: impl IntoIterator<Item = Producer>) {
        let mut producers = lock(&self.producers);
        let Some(whose) = producers.clients.get(&session).cloned() else { return };
        producers
            .left
            .extend(left.into_iter().filter_map(Producer::bumped).map(|next| (whose.clone(), next)));
        while producers.left.len() > LEFT_MAX {
            producers.left.pop_front();
        }
    }

    /// A session ends: it wants none any more.
    pub fn forget_producer(&self, session: u64) {
        let mut producers = lock(&self.producers);
        producers.wanted.remove(&session);
        producers.clients.remove(&session);
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

    /// The cluster does not authorize ids for Evenkeel: producers that come in the next time pass as they are.
    pub(super) fn deny_producers(&self, code: i16) {
        let mut producers = lock(&self.producers);
        producers.wanted.clear();
        if producers.denied.replace(now()).is_none() {
            self.note_refused(Right::Produce, "InitProducerId", code);
        }
        drop(producers);
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kafka};
    use crate::kafka::cluster::Settings;

    /// Whoever comes later may have the right by then.
    #[tokio::test]
    async fn ids_that_were_refused_are_asked_for_again_after_a_while() {
        let Config { net, limits, hold, retry, .. } = Config::default();
        let cluster = Cluster::modelled(&Settings { net, limits, hold, retry, kafka: Kafka::default() });
        let begin = Instant::now();
        crate::time::fix(begin);
        cluster.deny_producers(29);
        assert_eq!(cluster.fetch_producer(1), Fetched::Denied);
        crate::time::fix(begin + DENIED_FOR);
        assert_eq!(cluster.fetch_producer(2), Fetched::Wait);
        cluster.deny_producers(29);
        assert_eq!(cluster.fetch_producer(2), Fetched::Denied, "refused again");
        crate::time::fix(begin + 2 * DENIED_FOR);
        assert_eq!(cluster.fetch_producer(3), Fetched::Wait);
        let id = Producer { id: 7, epoch: 0 };
        cluster.add_producer(id);
        assert_eq!(cluster.fetch_producer(3), Fetched::Producer(id));
    }

    /// One that has not waited takes the id that was fetched for another: that one is asked for again, at once.
    #[tokio::test]
    async fn who_was_overtaken_is_not_forgotten() {
        let Config { net, limits, hold, retry, .. } = Config::default();
        let cluster = Cluster::modelled(&Settings { net, limits, hold, retry, kafka: Kafka::default() });
        let poked = || async { tokio::time::timeout(Duration::ZERO, cluster.poke.notified()).await.is_ok() };
        assert_eq!(cluster.fetch_producer(1), Fetched::Wait);
        assert!(poked().await, "it is asked for");
        assert_eq!(cluster.fetch_producer(1), Fetched::Wait);
        assert!(!poked().await, "it is being asked for");
        let [first, second] = [7, 8].map(|id| Producer { id, epoch: 0 });
        cluster.add_producer(first);
        assert_eq!(cluster.fetch_producer(2), Fetched::Producer(first));
        assert_eq!(cluster.producers_wanted(), 1);
        assert!(poked().await, "it is asked for again");
        cluster.add_producer(second);
        assert_eq!(cluster.fetch_producer(1), Fetched::Producer(second));
        assert!(!poked().await, "nobody waits");
    }
}
