//! What is known of a cluster: its nodes, partition leaders and coordinators. Pure; time is passed in.
//!
//! Fed by the cluster's own metadata looks and by answers that pass through. Everything is dated, so that a request
//! that was refused can tell knowledge that is newer than its refusal from what was already wrong.

use super::versions::Versions;
use crate::kafka::topic::TopicKey;
use crate::kafka::wire::Struct;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its node id, or −1 while there is none.
    pub node: i32,
    /// The leader epoch, or −1 where the answer had none.
    pub epoch: i32,
    /// When the question was asked that this answers.
    pub asked: Instant,
    /// Since when there has been no leader, if there is none.
    pub leaderless: Option<Instant>,
    /// The leader before, while there is none: its node id and epoch.
    pub before: Option<(i32, i32)>,
}

#[derive(Clone, Debug, Default)]
struct Topic {
    id: [u8; 16],
    partitions: HashMap<i32, Leader>,
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
    topics: HashMap<Bytes, Topic>,
    names: HashMap<[u8; 16], Bytes>,
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
        if answer.i32("controller_id") >= 0 {
            self.controller = Some(answer.i32("controller_id"));
        }
        for topic in answer.structs("topics") {
            self.absorb_topic(topic, asked, &mut changes);
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
        node.rack = rack;
        if node.host != host || node.port != port {
            host.clone_into(&mut node.host);
            node.port = port;
            to.moved_nodes.push(id);
        }
    }

    fn absorb_topic(&mut self, topic: &Struct, asked: Instant, changes: &mut Changes) {
        let Some(name) = topic.bytes_field("name").cloned() else { return };
        // UNKNOWN_TOPIC_OR_PARTITION: gone, or a broker that has just come back and doesn't know yet; what is known
        // stays, it does no harm.
        if topic.i16("error_code") != 0 && topic.structs("partitions").next().is_none() {
            return;
        }
        let id = topic.uuid("topic_id");
        let known = self.topics.entry(name.clone()).or_default();
        if id != [0; 16] && known.id != id {
            if known.id != [0; 16] {
                self.names.remove(&known.id);
                known.partitions.clear();
            }
            known.id = id;
            self.names.insert(id, name);
        }
        for partition in topic.structs("partitions") {
            let index = partition.i32("partition_index");
            let node = if partition.i16("error_code") == 5 { -1 } else { partition.i32("leader_id") };
            let epoch = if partition.has("leader_epoch") { partition.i32("leader_epoch") } else { -1 };
            set_leader(&mut known.partitions, index, node, epoch, asked, changes);
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
        if let Some(known) = self.name_of(topic).and_then(|name| self.topics.get_mut(&name)) {
            set_leader(&mut known.partitions, partition, node, epoch, at, &mut changes);
        }
        changes
    }

    /// Takes in the coordinator of a key (`kind` 0: group, 1: transaction).
    pub fn absorb_coordinator(&mut self, kind: i8, key: Bytes, node: i32, asked: Instant) {
        if node >= 0 {
            self.coordinators.insert((kind, key), (node, asked));
        }
    }

    /// The name of a topic that is given by id, if it is known.
    pub fn name_of(&self, topic: &TopicKey) -> Option<Bytes> {
        match topic {
            TopicKey::Name(name) => Some(name.clone()),
            TopicKey::Id(id) => self.names.get(id).cloned(),
        }
    }

    /// The leader of a partition, if one is known (its node is −1 while there is none).
    pub fn leader(&self, topic: &TopicKey, partition: i32) -> Option<Leader> {
        let topic = match topic {
            TopicKey::Name(name) => self.topics.get(name)?,
            TopicKey::Id(id) => self.topics.get(self.names.get(id)?)?,
        };
        topic.partitions.get(&partition).copied()
    }

    /// Whether a topic has been seen.
    pub fn knows(&self, topic: &TopicKey) -> bool {
        self.name_of(topic).is_some_and(|name| self.topics.contains_key(&name))
    }

    /// Forgets a topic that the cluster says is gone.
    pub fn forget_topic(&mut self, name: &Bytes) {
        if let Some(topic) = self.topics.remove(name) {
            self.names.remove(&topic.id);
        }
    }

    /// The coordinator of a key and when it was asked for.
    pub fn coordinator(&self, kind: i8, key: &Bytes) -> Option<(i32, Instant)> {
        self.coordinators.get(&(kind, key.clone())).copied()
    }

    /// How many of the partitions seen each node leads.
    pub fn leaders_by_node(&self) -> BTreeMap<i32, u64> {
        let mut counts: BTreeMap<i32, u64> = self.nodes.keys().map(|&id| (id, 0)).collect();
        for leader in self.topics.values().flat_map(|topic| topic.partitions.values()) {
            if leader.node >= 0 {
                *counts.entry(leader.node).or_default() += 1;
            }
        }
        counts
    }

    /// A node that can be asked anything: one that is up if there is one, else one not tried yet; not `except`
    /// unless there is no other. `pick` spreads callers over the candidates.
    pub fn any_node(&self, except: Option<i32>, pick: usize) -> Option<i32> {
        let of = |wanted: fn(Health) -> bool| {
            let fitting =
                |(id, node): (&i32, &Node)| (wanted(node.health) && Some(*id) != except).then_some(*id);
            self.nodes.iter().filter_map(fitting).collect::<Vec<i32>>()
        };
        let mut candidates = of(|health| health == Health::Up);
        if candidates.is_empty() {
            candidates = of(|health| health == Health::Untried);
        }
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

    /// Forgets nodes that metadata has not listed for `retention` and that are down; answers their ids.
    pub fn forget_stale(&mut self, now: Instant, retention: Duration) -> Vec<i32> {
        let stale = |node: &Node| {
            matches!(node.health, Health::Down(_)) && now.saturating_duration_since(node.listed) > retention
        };
        let gone: Vec<i32> = self.nodes.iter().filter(|(_, node)| stale(node)).map(|(id, _)| *id).collect();
        if gone.len() == self.nodes.len() {
            return Vec::new(); // never to zero brokers (librdkafka#5301)
        }
        self.nodes.retain(|id, _| !gone.contains(id));
        gone
    }
}

fn set_leader(
    partitions: &mut HashMap<i32, Leader>,
    index: i32,
    node: i32,
    epoch: i32,
    asked: Instant,
    changes: &mut Changes,
) {
    let leaderless = (node < 0).then_some(asked);
    let Some(known) = partitions.get_mut(&index) else {
        partitions.insert(index, Leader { node, epoch, asked, leaderless, before: None });
        return;
    };
    // An epoch orders answers of different brokers. An answer without one (Metadata before v7) is worth less than one
    // with; between two of that kind the later question decides.
    let newer = match (epoch >= 0, known.epoch >= 0) {
        (true, true) => epoch > known.epoch || (epoch == known.epoch && asked >= known.asked),
        (true, false) => true,
        (false, true) => false,
        (false, false) => asked >= known.asked,
    };
    if !newer {
        return;
    }
    if node >= 0 && known.node != node {
        changes.leaders += 1;
    }
    let since = known.leaderless;
    if let (Some(since), true) = (since, node >= 0) {
        changes.outages.push(asked.saturating_duration_since(since));
    }
    let before = match node {
        0.. => None,
        _ if known.node >= 0 => Some((known.node, known.epoch)),
        _ => known.before,
    };
    *known = Leader { node, epoch, asked, leaderless: leaderless.map(|now| since.unwrap_or(now)), before };
}
