//! What kind of cluster is wanted. Pure data.

use std::fmt;
use std::str::FromStr;

use crate::cache::{self, JarSet};

/// A version of Kafka that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KafkaVersion {
    /// 2.8.2, with one `ZooKeeper` server.
    V2_8_2,
    /// 3.9.2, `KRaft`.
    V3_9_2,
    /// 4.3.1, `KRaft`.
    V4_3_1,
}

impl KafkaVersion {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2_8_2 => "2.8.2",
            Self::V3_9_2 => "3.9.2",
            Self::V4_3_1 => "4.3.1",
        }
    }

    pub(crate) fn jars(self) -> JarSet {
        match self {
            Self::V2_8_2 => cache::KAFKA_2_8_2,
            Self::V3_9_2 => cache::KAFKA_3_9_2,
            Self::V4_3_1 => cache::KAFKA_4_3_1,
        }
    }

    pub(crate) fn uses_zookeeper(self) -> bool {
        self == Self::V2_8_2
    }
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KafkaVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::V2_8_2, Self::V3_9_2, Self::V4_3_1]
            .into_iter()
            .find(|v| v.as_str() == text)
            .ok_or_else(|| format!("no Kafka {text:?} here: write 2.8.2, 3.9.2 or 4.3.1"))
    }
}

/// How soon the controller gives up on a broker that is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Kafka's own: 9 s. What users have.
    Default,
    /// 3 s, with a heartbeat every 500 ms: saves tests much time.
    Fast,
}

impl Session {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Default => "9 s",
            Self::Fast => "3 s",
        }
    }
}

/// A cluster to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The version of every node at first.
    pub version: KafkaVersion,
    /// Number of nodes, ids 1 to this; at most 9.
    pub nodes: u8,
    /// Number of controllers that are processes of their own, at most 9; 0: every node is broker and controller in one.
    pub controllers: u8,
    /// The session time-out.
    pub session: Session,
    /// Further or other broker settings.
    pub overrides: Vec<(String, String)>,
    /// Whether node ID is in a zone of its own, `zone-ID`.
    pub zones: bool,
    /// When set, node ID tells clients to connect to `kafka-ID.DOMAIN`; the test's own DNS has to know the name.
    pub domain: Option<String>,
}

impl Spec {
    /// Three nodes with the default session.
    pub fn new(version: KafkaVersion) -> Self {
        Self {
            version,
            nodes: 3,
            controllers: 0,
            session: Session::Default,
            overrides: Vec::new(),
            zones: false,
            domain: None,
        }
    }

    /// The same with [`Session::Fast`].
    #[must_use]
    pub fn fast(mut self) -> Self {
        self.session = Session::Fast;
        self
    }

    /// The same with another number of nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// The same with `controllers` processes that are controllers only, so that brokers can go without the quorum.
    #[must_use]
    pub fn controllers_apart(mut self, controllers: u8) -> Self {
        self.controllers = controllers;
        self
    }

    /// The same with a broker setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.overrides.push((key.to_owned(), value.to_string()));
        self
    }

    /// The same with each node in a zone of its own, `zone-ID`, and consumers sent to replicas of their zone (KIP-392).
    #[must_use]
    pub fn zones(mut self) -> Self {
        self.zones = true;
        self.set("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")
    }

    /// The same with names `kafka-ID.DOMAIN` for clients.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }
}
