//! Partitions that a client sends to a node which doesn't lead them: what is known of each, until it comes home or its
//! client has learned better.

use super::Session;
use crate::kafka::cluster::TopicKey;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A partition that its client has not asked the wrong node for in so long is forgotten: the client has learned.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// One partition that is led elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    /// Since when: a leader that was asked for before is no news.
    pub since: Instant,
    /// When its client last sent it to the wrong node.
    used: Instant,
}

/// The partitions that the client's choice of node is wrong for.
#[derive(Clone, Debug, Default)]
pub(super) struct Strays {
    partitions: HashMap<(TopicKey, i32), Stray>,
    /// A broker closed the connection on which acks=0 had been sent. It gives no other sign of not being the leader, so
    /// since then every partition of such requests is looked up.
    doubted: Option<Instant>,
}

impl Strays {
    /// Whether everything is where its client thinks.
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.doubted.is_none()
    }

    /// A node refused a partition.
    pub(super) fn add(&mut self, topic: TopicKey, partition: i32, now: Instant) {
        self.partitions.insert((topic, partition), Stray { since: now, used: now });
    }

    /// What is known of a partition.
    pub(super) fn get(&self, topic: &TopicKey, partition: i32) -> Option<&Stray> {
        self.partitions.get(&(topic.clone(), partition))
    }

    /// The leaders of requests without an answer are in doubt from now on.
    pub(super) fn doubt_silent(&mut self, now: Instant) {
        self.doubted = Some(now);
    }

    /// Forgets what has not been asked for in a while.
    pub(super) fn prune(&mut self, now: Instant) {
        self.partitions.retain(|_, stray| now.saturating_duration_since(stray.used) < FORGOTTEN);
        self.doubted = self.doubted.filter(|since| now.saturating_duration_since(*since) < FORGOTTEN);
    }
}

impl Session {
    /// Whether a partition is led elsewhere than at the client's choice, as far as is known. One that has come home is
    /// forgotten. `silent`: of a request without an answer.
    pub(super) fn is_stray(&mut self, key: &(TopicKey, i32), home: i32, silent: bool, now: Instant) -> bool {
        let known = self.stray.partitions.get(key).map(|stray| stray.since);
        let Some(since) = known.or(self.stray.doubted.filter(|_| silent)) else { return false };
        let leader =
            self.cluster.read(|view| view.leader(&key.0, key.1)).filter(|leader| leader.asked >= since);
        match leader {
            Some(leader) if leader.node == home => {
                self.stray.partitions.remove(key);
                self.trusted.remove(key);
                false
            }
            Some(_) => {
                self.stray.partitions.insert(key.clone(), Stray { since, used: now });
                true
            }
            None => {
                self.cluster.want_topics([key.0.clone()], now);
                true
            }
        }
    }
}

#[cfg(test)]
impl Strays {
    /// Prints what is known, for the model check.
    pub(super) fn print(&self, print: &mut crate::kafka::model::print::Print) {
        use crate::kafka::model::print::hash_of;
        print.unordered(
            self.partitions.iter(),
            |(key, _)| hash_of(key),
            |print, (key, stray)| {
                print.put(key);
                print.date(Some(stray.since));
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn what_is_not_asked_for_is_forgotten() {
        let (mut strays, now) = (Strays::default(), Instant::now());
        strays.add(TopicKey::Name(Bytes::from_static(b"t")), 0, now);
        strays.doubt_silent(now);
        strays.prune(now + FORGOTTEN / 2);
        assert!(!strays.is_empty());
        strays.prune(now + FORGOTTEN);
        assert!(strays.is_empty());
    }
}
