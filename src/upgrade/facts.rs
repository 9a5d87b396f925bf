//! What is known of a cluster at one moment: what gates are answered from.
//!
//! Gathered by the protocols from members, never from a controller. What could not be learned is an `Err` that says why, and
//! closes the gates that need it.

use std::sync::Arc;
use std::time::Duration;

pub use crate::upstream::DrainState;

/// A fact, or why it isn't known.
pub type Known<T> = Result<T, String>;

/// Whether a member can be reached from where clients are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody has tried yet.
    #[default]
    Untried,
    /// It answers, and is who was meant.
    Up,
    /// It doesn't.
    Down(String),
    /// Somebody else answers at its address.
    Wrong(String),
}

/// A member as it is seen from here.
#[derive(Clone, Debug)]
pub struct Member {
    /// As in the plan.
    pub id: String,
    /// Where it is.
    pub address: String,
    /// Its zone, if it has said so.
    pub zone: Option<String>,
    /// Whether the cluster lists it.
    pub listed: Known<bool>,
    /// Whether it can be reached.
    pub reach: Reach,
    /// How long it was away at the longest since its last drain was ordered, where that is known better than by looking now and then.
    pub was_away: Option<Duration>,
    /// Its own version, as far as it tells.
    pub version: Known<String>,
    /// Its drain.
    pub drain: DrainState,
    /// Requests under way to it.
    pub in_flight: u64,
    /// Sessions on it.
    pub sessions: u64,
}

/// What is held here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hold {
    /// Requests that wait.
    pub waiting: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that may be held.
    pub limit: u64,
}

/// A client that uses what a later broker doesn't speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its client id.
    pub client: String,
    /// Its library.
    pub library: String,
    /// The API.
    pub api: String,
    /// The version that it uses.
    pub version: i16,
    /// Whether Kafka 4.0 still has that (KIP-896).
    pub in_kafka_4: bool,
    /// The members that don't speak it.
    pub members: Vec<String>,
}

/// A partition.
#[derive(Clone, Debug)]
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
    /// `min.insync.replicas` of its topic.
    pub min_isr: Option<usize>,
}

/// A voter of the metadata quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: i32,
    /// Whether it has what the leader has, but for moments.
    pub caught_up: bool,
}

/// Who keeps a Kafka cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// A `KRaft` quorum: its leader is the active controller.
    Raft {
        /// The active controller; −1 if there is none.
        leader: i32,
        /// All voters.
        voters: Vec<Voter>,
    },
    /// `ZooKeeper`, and one of the brokers is the controller; −1 if there is none.
    ZooKeeper {
        /// The controller.
        controller: i32,
    },
}

/// What is known of a Kafka cluster.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// All partitions of all topics.
    pub partitions: Known<Arc<Vec<Partition>>>,
    /// Who keeps its metadata.
    pub quorum: Known<Quorum>,
    /// Partitions that are being moved to other brokers.
    pub reassigning: Known<Vec<String>>,
    /// Groups that are not stable.
    pub rebalancing: Known<Vec<String>>,
    /// Brokers that are loading what they coordinate.
    pub loading: Known<Vec<i32>>,
    /// The finalized level of `metadata.version`; 0 where there is none.
    pub finalized: Known<i16>,
    /// Whether the features of all members could be finalized (`UpdateFeatures` that only validates).
    pub upgrade_check: Known<()>,
    /// Whether the cluster's features could go back without a loss (the same).
    pub downgrade_check: Known<()>,
    /// Clients that use what later brokers don't speak.
    pub dropped: Vec<Dropped>,
}

/// What a `ZooKeeper` server is in its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It leads, or is alone.
    Leader,
    /// It follows and votes.
    Follower,
    /// It follows without a vote.
    Observer,
    /// It has lost its quorum.
    ReadOnly,
}

/// What is known of an ensemble.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    /// What each server says that it is.
    pub modes: Vec<(String, Known<Mode>)>,
    /// How many servers vote.
    pub voters: Known<usize>,
    /// Followers that are in sync with the leader (`zk_synced_followers` of the leader's `mntr`).
    pub synced_followers: Known<usize>,
    /// Syncs that wait at the leader (`zk_pending_syncs`).
    pub pending_syncs: Known<u64>,
}

/// What only one protocol has.
#[derive(Clone, Debug)]
pub enum Cluster {
    /// Kafka; why nothing is known of it, if so.
    Kafka(Known<Kafka>),
    /// `ZooKeeper`.
    ZooKeeper(Known<ZooKeeper>),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How long ago the cluster was asked; `None` if it never was.
    pub age: Option<Duration>,
    /// Every member that is known here.
    pub members: Vec<Member>,
    /// What is held here.
    pub hold: Hold,
    /// Errors that clients were shown since this process began, but for those that their own requests bring about.
    pub client_errors: u64,
    /// What only its protocol has.
    pub cluster: Cluster,
}

impl Facts {
    /// What is known of one member.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}
