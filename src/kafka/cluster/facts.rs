//! What the gates of an upgrade need to know, asked of the brokers by ordinary requests: one gathering at a time, shared by
//! all who ask, with a bound on its time. Nothing is asked unless somebody wants it.
//!
//! What a broker doesn't answer, or isn't allowed to, stays unknown; nothing here judges.

mod ask;
mod broker;
mod read;
#[cfg(test)]
mod tests;

pub(super) use broker::features;

use super::dial::{DialError, Opened, open_node};
use super::{Cluster, lock};
use crate::time::now;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// For one gathering.
const BOUND: Duration = Duration::from_secs(8);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(4);

/// A fact, or why it isn't known.
pub type Known<T> = Result<T, String>;

/// A partition, with `min.insync.replicas` of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub index: i32,
    /// Its leader; −1 if it has none.
    pub leader: i32,
    /// The nodes that shall have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
    /// How many must be in sync for acks=all.
    pub min_isr: Option<usize>,
}

/// Who keeps the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// A `KRaft` quorum (KIP-595): its leader, and each voter with whether it has caught up.
    Raft {
        /// The active controller; −1 if there is none.
        leader: i32,
        /// Node ids, and whether they have caught up.
        voters: Vec<(i32, bool)>,
    },
    /// `ZooKeeper`; one of the brokers is the controller.
    ZooKeeper {
        /// The controller; −1 if there is none.
        controller: i32,
    },
}

/// Why a broker was not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It doesn't answer.
    Down(String),
    /// Another node answers at its address.
    Wrong(String),
}

/// What one broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The highest `metadata.version` that it supports; `None` where it has no features.
    pub level: Option<i16>,
    /// The finalized level that it knows of.
    pub finalized: Option<i16>,
    /// It is loading what it coordinates.
    pub loading: bool,
    /// Groups that it coordinates and that are not stable.
    pub rebalancing: Known<Vec<String>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the cluster was asked.
    pub asked: Instant,
    /// The brokers that the cluster lists.
    pub listed: Known<BTreeSet<i32>>,
    /// Every broker that is known here.
    pub brokers: BTreeMap<i32, Result<Broker, Unreached>>,
    /// All partitions.
    pub partitions: Known<Arc<Vec<Partition>>>,
    /// Who keeps the metadata.
    pub quorum: Known<Quorum>,
    /// Partitions that are being moved.
    pub reassigning: Known<Vec<String>>,
    /// Whether the level that all brokers support could be finalized; only if it was asked for.
    pub upgrade: Known<()>,
    /// Whether the cluster could go back to the level that was asked for.
    pub downgrade: Known<()>,
}

/// What is asked for besides: things that a controller has to look into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether the features of all brokers could be finalized.
    pub upgrade: bool,
    /// Whether features could go back to this level.
    pub downgrade: Option<i16>,
}

/// What lasts between two gatherings.
#[derive(Default)]
pub(super) struct Asking {
    /// Connections that are kept while somebody asks.
    channels: BTreeMap<i32, Opened>,
    minimums: read::Minimums,
}

impl Cluster {
    /// What was gathered last.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        lock(&self.facts).clone().map(|(facts, _)| facts)
    }

    /// Nobody asks any more: the connections are closed.
    pub async fn forget_facts(&self) {
        self.asking.lock().await.channels.clear();
    }

    /// Gathers facts, unless those that are there are not older than `fresh` and have what is wished for. Who comes while
    /// others gather waits for theirs.
    pub async fn gather(self: &Arc<Self>, fresh: Duration, wish: Wish) -> Arc<Facts> {
        // Whoever began before me asks for me, too.
        let mut asking = self.asking.lock().await;
        if let Some((facts, has)) = lock(&self.facts).clone()
            && now().saturating_duration_since(facts.asked) <= fresh
            && (has.upgrade || !wish.upgrade)
            && (wish.downgrade.is_none() || wish.downgrade == has.downgrade)
        {
            return facts;
        }
        let asked = now();
        // A gathering that is dropped half-way takes its connections with it: answers could be under way on them.
        let channels = std::mem::take(&mut asking.channels);
        let gathering = Gathering { cluster: Arc::clone(self), asked, wish };
        let found = tokio::time::timeout(BOUND, gathering.run(channels, &mut asking.minimums)).await;
        let (mut facts, channels) =
            found.unwrap_or_else(|_| (unknown(asked, "no answers within 8 s"), BTreeMap::new()));
        asking.channels = channels;
        // Who has just been answered more than others ask for still finds it.
        if let Some((before, had)) = lock(&self.facts).clone()
            && asked.saturating_duration_since(before.asked) <= BOUND
        {
            if had.upgrade && !wish.upgrade {
                facts.upgrade.clone_from(&before.upgrade);
            }
            if had.downgrade.is_some() && wish.downgrade.is_none() {
                facts.downgrade.clone_from(&before.downgrade);
            }
        }
        let facts = Arc::new(facts);
        *lock(&self.facts) = Some((Arc::clone(&facts), wish));
        facts
    }
}

fn unknown(asked: Instant, why: &str) -> Facts {
    let why = || why.to_owned();
    Facts {
        asked,
        listed: Err(why()),
        brokers: BTreeMap::new(),
        partitions: Err(why()),
        quorum: Err(why()),
        reassigning: Err(why()),
        upgrade: Err("the controller was not asked".to_owned()),
        downgrade: Err("the controller was not asked".to_owned()),
    }
}

struct Gathering {
    cluster: Arc<Cluster>,
    asked: Instant,
    wish: Wish,
}

impl Gathering {
    /// Each broker of itself, all at once; then one of them of the cluster.
    async fn run(
        self,
        mut channels: BTreeMap<i32, Opened>,
        minimums: &mut read::Minimums,
    ) -> (Facts, BTreeMap<i32, Opened>) {
        let nodes: Vec<i32> = self.cluster.read(|view| view.nodes.keys().copied().collect());
        let mut asked = JoinSet::new();
        for node in nodes {
            let (cluster, opened) = (Arc::clone(&self.cluster), channels.remove(&node));
            asked.spawn(async move { (node, broker::ask(&cluster, node, opened).await) });
        }
        let mut brokers = BTreeMap::new();
        let mut open = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            let Ok((node, answer)) = answer else { continue };
            let answer = answer.map(|(broker, opened)| {
                open.insert(node, opened);
                broker
            });
            brokers.insert(node, answer);
        }
        let mut facts = unknown(self.asked, "no broker answers");
        let levels = brokers.values().filter_map(|broker| broker.as_ref().ok()?.level);
        let highest = levels.min();
        let finalized = brokers.values().filter_map(|broker| broker.as_ref().ok()?.finalized).max();
        facts.brokers = brokers;
        // Any of them will do: the first one that answers.
        let mut candidates: Vec<i32> = open.keys().copied().collect();
        // Not the same one for each of a thousand sidecars.
        candidates.shuffle(&mut rand::rng());
        for node in candidates {
            let Some(mut opened) = open.remove(&node) else { continue };
            match read::cluster(&mut opened, minimums, &mut facts).await {
                Ok(false) => break,
                Ok(true) => {
                    ask::features(&mut opened, self.wish, highest, finalized, &mut facts).await;
                    open.insert(node, opened);
                    break;
                }
                Err(error) => tracing::debug!(node, %error, "no facts from this broker"),
            }
        }
        (facts, open)
    }
}

/// A connection to a broker that is known to be this one.
async fn reach(cluster: &Arc<Cluster>, node: i32) -> Result<Opened, Unreached> {
    open_node(cluster, node).await.map_err(|error| match error {
        DialError::WrongNode { .. } => Unreached::Wrong(error.to_string()),
        error => Unreached::Down(error.to_string()),
    })
}
