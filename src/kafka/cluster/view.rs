//! What is known of a cluster: its nodes, partition leaders and coordinators. Pure; time is passed in.
//!
//! Fed by the cluster's own metadata looks and by answers that pass through. Everything is dated, so that a request
//! that was refused can tell knowledge that is newer than its refusal from what was already wrong.

use super::topics::{Leader, Topics};
use super::versions::Versions;
use crate::kafka::topic::TopicKey;
use crate::kafka::wire::Struct;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many coordinators are remembered: more than the groups of one host's applications.
const COORDINATORS_MAX: usize = 4096;

/// A broker that has been listed.
#[derive(Clone, Debug)]
pub struct Node {
    /// Host as the broker advertises it: a name or an address.
    pub host: String,
    /// Port as the broker advertises it.
    pub port: u16,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// When metadata last listed it.
    pub listed: Instant,
    /// Since when metadata lists others and not it.
    pub missing: Option<Instant>,
    /// Whether connections to it work.
    pub health: Health,
    /// What it last said it speaks.
    pub versions: Option<Arc<Versions>>,
}

/// Whether connections to a node work, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not tried yet.
    Untried,
    /// The last connection or attempt was good.
    Up,
    /// The last attempt failed; down since then.
    Down(Instant),
}

/// Everything known of one cluster.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The cluster's id, once a member has said it.
    pub cluster_id: Option<String>,
    /// The controller, where metadata names one.
    pub controller: Option<i32>,
    /// Nodes by id.
    pub nodes: BTreeMap<i32, Node>,
    /// Nodes that clients have to leave: they are about to stop.
    pub drained: BTreeSet<i32>,
    topics: Topics,
    coordinators: HashMap<(i8, Bytes), (i32, Instant)>,
}

/// What an absorbed answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Nodes that are new.
    pub new_nodes: Vec<i32>,
    /// Nodes whose address is another one now.
    pub moved_nodes: Vec<i32>,
    /// How many partitions have another leader.
    pub leaders: u64,
    /// How long partitions that have a leader again had none.
    pub outages: Vec<Duration>,
    /// Topics that were deleted and made anew: they have another id.
    pub made_anew: Vec<Bytes>,
}

impl View {
    /// Takes in a Metadata answer to a question asked at `asked`.
    pub fn absorb_metadata(&mut self, answer: &Struct, asked: Instant) -> Changes {
        let mut changes = Changes::default();
        for broker in answer.structs("brokers") {
            let (id, host) = (broker.i32("node_id"), broker.str("host").unwrap_or_default());
            let Ok(port) = u16::try_from(broker.i32("port")) else { continue };
            if id < 0 || host.is_empty() {
                continue;
            }
            let rack = broker.str("rack").map(str::to_owned);
            self.absorb_node(id, host, port, rack, asked, &mut changes);
        }
        if answer.structs("brokers").next().is_some() {
            for node in self.nodes.values_mut().filter(|node| node.listed < asked) {
                node.missing.get_or_insert(asked);
            }
        }
        if answer.i32("controller_id") >= 0 {
            self.controller = Some(answer.i32("controller_id"));
        }
        for topic in answer.structs("topics") {
            self.topics.absorb(topic, asked, &mut changes);
        }
        changes
    }

    fn absorb_node(
        &mut self,
        id: i32,
        host: &str,
        port: u16,
        rack: Option<String>,
        at: Instant,
        to: &mut Changes,
    ) {
        let Some(node) = self.nodes.get_mut(&id) else {
            let fresh = Node {
                host: host.to_owned(),
                port,
                rack,
                listed: at,
                missing: None,
                health: Health::Untried,
                versions: None,
            };
            self.nodes.insert(id, fresh);
            to.new_nodes.push(id);
            return;
        };
        if node.listed > at {
            return;
        }
        node.listed = at;
        node.missing = node.missing.filter(|since| *since > at);
        node.rack = rack;
        if node.host != host || node.port != port {
            host.clone_into(&mut node.host);
            node.port = port;
            to.moved_nodes.push(id);
        }
    }

    /// Takes in a hint (KIP-951): the current leader that an error in a Produce or Fetch answer names.
    pub fn absorb_hint(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        node: i32,
        epoch: i32,
        at: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        self.topics.absorb_hint(topic, partition, node, epoch, at, &mut changes);
        changes
    }

    /// Takes in the coordinator of a key (`kind` 0: group, 1: transaction).
    pub fn absorb_coordinator(&mut self, kind: i8, key: Bytes, node: i32, asked: Instant) {
        if node < 0 {
            return;
        }
        self.coordinators.insert((kind, key), (node, asked));
        if self.coordinators.len() > COORDINATORS_MAX {
            // The half that was asked for longest ago; whoever needs one of them asks again.
            let mut dates: Vec<Instant> = self.coordinators.values().map(|(_, asked)| *asked).collect();
            let middle = dates.len() / 2;
            let (_, median, _) = dates.select_nth_unstable(middle);
            let median = *median;
            self.coordinators.retain(|_, (_, asked)| *asked >= median);
        }
    }

    /// The name of a topic that is given by id, if it is known and not that of a topic that has been deleted.
    pub fn name_of(&self, topic: &TopicKey) -> Option<Bytes> {
        self.topics.name_of(topic)
    }

    /// The leader of a partition, if one is known (its node is −1 while there is none).
    pub fn leader(&self, topic: &TopicKey, partition: i32) -> Option<Leader> {
        self.topics.leader(topic, partition)
    }

    /// Up to `most` partitions that a node leads, as far as is known, one of each topic: the topic's name, and the number.
    pub fn led_by(&self, node: i32, most: usize) -> Vec<(Bytes, i32)> {
        self.topics.led_by(node).take(most).collect()
    }

    /// Whether a topic has been seen, and has not been missing for longer than a broker may be behind.
    pub fn knows(&self, topic: &TopicKey, now: Instant) -> bool {
        self.topics.knows(topic, now)
    }

    /// The error of a request that arrived at `arrived` for a topic that has been deleted since, or before; for a write
    /// that includes a topic of the same name that was made after it arrived.
    pub fn is_gone(&self, topic: &TopicKey, arrived: Instant, write: bool, now: Instant) -> Option<i16> {
        self.topics.is_gone(topic, arrived, write, now)
    }

    /// Whether any topic was found missing or made anew after `at`.
    pub fn topics_disturbed_since(&self, at: Instant) -> bool {
        self.topics.disturbed_since(at)
    }

    /// Topics, up to `most`, that no answer has told of for an hour: whether they are still there has to be asked, or they would stay
    /// in the books for ever.
    pub fn unheard_of(&mut self, now: Instant, most: usize) -> Vec<Bytes> {
        self.topics.unheard_of(now, most)
    }

    /// Forgets a topic that clients are told is gone.
    pub fn forget_topic(&mut self, name: &Bytes, now: Instant) {
        self.topics.forget(name, now);
    }

    /// The coordinator of a key and when it was asked for.
    pub fn coordinator(&self, kind: i8, key: &Bytes) -> Option<(i32, Instant)> {
        self.coordinators.get(&(kind, key.clone())).copied()
    }

    /// How many of the partitions seen each node leads.
    pub fn leaders_by_node(&self) -> BTreeMap<i32, u64> {
        let mut counts: BTreeMap<i32, u64> = self.nodes.keys().map(|&id| (id, 0)).collect();
        for leader in self.topics.leaders() {
            if leader.node >= 0 {
                *counts.entry(leader.node).or_default() += 1;
            }
        }
        counts
    }

    /// A node that can be asked anything: one that is up if there is one, else one not tried yet; not `except`, nor one
    /// that is drained, unless there is no other. `pick` spreads callers over the candidates.
    pub fn any_node(&self, except: Option<i32>, pick: usize) -> Option<i32> {
        let of = |wanted: Health, drained: bool| {
            let fits = |(id, node): &(&i32, &Node)| {
                node.health == wanted && Some(**id) != except && self.drained.contains(*id) == drained
            };
            self.nodes.iter().filter(fits).map(|(id, _)| *id).collect::<Vec<i32>>()
        };
        let order =
            [(Health::Up, false), (Health::Untried, false), (Health::Up, true), (Health::Untried, true)];
        let choices = order.into_iter().map(|(health, drained)| of(health, drained));
        let candidates = choices.into_iter().find(|some| !some.is_empty()).unwrap_or_default();
        let chosen = candidates.get(pick % candidates.len().max(1)).copied();
        let fallback = || except.filter(|id| self.is_up(*id));
        chosen.or_else(fallback)
    }

    /// Whether connections to a node work, as far as is known.
    pub fn is_up(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.health == Health::Up)
    }

    /// Whether a node is known to be down.
    pub fn is_down(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| matches!(node.health, Health::Down(_)))
    }

    /// Forgets nodes that metadata has not listed for `retention`, though it listed others, and what else has been gone for
    /// long; answers the nodes' ids. A node that was away together with all others is not meant.
    pub fn forget_stale(&mut self, now: Instant, retention: Duration) -> Vec<i32> {
        self.topics.prune(now);
        let stale =
            |node: &Node| node.missing.is_some_and(|since| now.saturating_duration_since(since) > retention);
        let gone: Vec<i32> = self.nodes.iter().filter(|(_, node)| stale(node)).map(|(id, _)| *id).collect();
        if gone.len() == self.nodes.len() {
            return Vec::new(); // never to zero brokers (librdkafka#5301)
        }
        self.nodes.retain(|id, _| !gone.contains(id));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire;

    fn listing(ids: &[i32]) -> Struct {
        let mut answer = wire::response(3).unwrap().new();
        for id in ids {
            let mut broker = answer.new_struct("brokers");
            broker.set_i32("node_id", *id);
            broker.set_str("host", "kafka");
            broker.set_i32("port", 9092);
            answer.push_struct("brokers", broker);
        }
        answer
    }

    #[test]
    fn coordinators_are_bounded_and_the_latest_stay() {
        let (mut view, start) = (View::default(), Instant::now());
        let key = |n: usize| Bytes::from(n.to_string());
        for n in 0..3 * COORDINATORS_MAX {
            view.absorb_coordinator(0, key(n), 1, start + Duration::from_millis(n as u64));
            assert!(view.coordinators.len() <= COORDINATORS_MAX + 1);
        }
        assert!(view.coordinator(0, &key(0)).is_none());
        assert!(view.coordinator(0, &key(3 * COORDINATORS_MAX - 1)).is_some());
    }

    #[test]
    fn a_node_is_forgotten_when_others_are_listed_without_it_for_long() {
        let (mut view, start, keep) = (View::default(), Instant::now(), Duration::from_secs(60));
        let at = |secs| start + Duration::from_secs(secs);
        view.absorb_metadata(&listing(&[1, 2, 3]), at(0));
        // An hour without any answer says nothing of anybody.
        assert!(view.forget_stale(at(3600), keep).is_empty());
        view.absorb_metadata(&listing(&[1]), at(3600));
        view.absorb_metadata(&listing(&[]), at(3630));
        assert!(view.forget_stale(at(3659), keep).is_empty());
        view.absorb_metadata(&listing(&[1, 2]), at(3640));
        view.absorb_metadata(&listing(&[1, 3]), at(3100)); // late, and no news
        assert_eq!(view.forget_stale(at(3661), keep), [3]);
        view.absorb_metadata(&listing(&[9]), at(3662));
        assert_eq!(view.forget_stale(at(9999), keep), [1, 2]);
        assert!(view.nodes.contains_key(&9), "never to zero brokers");
    }
}
