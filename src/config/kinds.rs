//! The kinds of clusters, and what the machinery needs to know of one: its table, its keys, where it lives.
//!
//! A third kind is one more `impl`, and a line in [`KINDS`], [`faces`], `parse` and `reload`. Imports files of this
//! folder only.

use std::net::SocketAddr;

use super::clusters::{HostPort, Kafka, PortRange, ZooKeeper};
use super::keys::{KAFKA, Key, Need, Row, ZOOKEEPER, rows};
use super::types::Config;

/// A cluster of one kind.
pub(super) trait Cluster: Clone + Default + Sized + 'static {
    /// What it is called in messages, in front of its name and its index.
    const TABLE: &'static str;
    const KEYS: &'static [Key<Self>];
    /// The key that lists whom to connect to.
    const SERVERS: &'static str;
    /// What one of them is called.
    const MEMBER: &'static str;
    /// The kind itself.
    const KIND: &'static Kind = &Kind { table: Self::TABLE, rows: rows_of::<Self> };

    fn all(config: &Config) -> &[Self];
    fn all_mut(config: &mut Config) -> &mut Vec<Self>;
    fn name(&self) -> &str;
    fn listen(&self) -> &[SocketAddr];
    fn servers(&self) -> &[HostPort];
    /// The range that is bound on each host of `listen`, by its key.
    fn ports(&self) -> Option<(&'static str, PortRange)>;
}

impl Cluster for Kafka {
    const TABLE: &'static str = "kafka";
    const KEYS: &'static [Key<Self>] = KAFKA;
    const SERVERS: &'static str = "bootstrap";
    const MEMBER: &'static str = "broker";

    fn all(config: &Config) -> &[Self] {
        &config.kafka
    }

    fn all_mut(config: &mut Config) -> &mut Vec<Self> {
        &mut config.kafka
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    fn servers(&self) -> &[HostPort] {
        &self.bootstrap
    }

    fn ports(&self) -> Option<(&'static str, PortRange)> {
        Some(("broker_ports", self.broker_ports))
    }
}

impl Cluster for ZooKeeper {
    const TABLE: &'static str = "zookeeper";
    const KEYS: &'static [Key<Self>] = ZOOKEEPER;
    const SERVERS: &'static str = "servers";
    const MEMBER: &'static str = "server";

    fn all(config: &Config) -> &[Self] {
        &config.zookeeper
    }

    fn all_mut(config: &mut Config) -> &mut Vec<Self> {
        &mut config.zookeeper
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    fn servers(&self) -> &[HostPort] {
        &self.servers
    }

    fn ports(&self) -> Option<(&'static str, PortRange)> {
        None
    }
}

/// A kind of clusters, for what needs no cluster of it.
#[derive(Debug)]
pub(super) struct Kind {
    /// `kafka`.
    pub(super) table: &'static str,
    rows: fn() -> Vec<&'static Row>,
}

/// All kinds.
pub(super) const KINDS: [&Kind; 2] = [Kafka::KIND, ZooKeeper::KIND];

impl Kind {
    /// What is said of its keys.
    pub(super) fn rows(&self) -> Vec<&'static Row> {
        (self.rows)()
    }

    /// The paths of the keys that must be written, for a sentence: `name, listen and servers`.
    pub(super) fn required(&self) -> String {
        let required = self.rows().into_iter().filter(|row| row.need == Need::Required);
        let paths: Vec<&str> = required.map(|row| row.path).collect();
        match paths.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => paths.concat(),
        }
    }
}

fn rows_of<T: Cluster>() -> Vec<&'static Row> {
    rows(T::KEYS)
}

/// What rules between keys look at in a cluster, whatever its kind.
pub(super) struct Face<'a> {
    /// `kafka[0]`.
    pub(super) path: String,
    pub(super) name: &'a str,
    pub(super) listen: &'a [SocketAddr],
    /// The path of the key that lists whom to connect to, and what it says.
    pub(super) servers: (String, &'a [HostPort]),
    /// What one of them is called.
    pub(super) member: &'static str,
    /// The path of the range that is bound on each host of `listen`, and the range.
    pub(super) ports: Option<(String, PortRange)>,
}

/// Every cluster, one kind after the other.
pub(super) fn faces(config: &Config) -> Vec<Face<'_>> {
    faces_of::<Kafka>(config).chain(faces_of::<ZooKeeper>(config)).collect()
}

fn faces_of<T: Cluster>(config: &Config) -> impl Iterator<Item = Face<'_>> {
    T::all(config).iter().enumerate().map(|(index, cluster)| {
        let path = format!("{}[{index}]", T::TABLE);
        Face {
            name: cluster.name(),
            listen: cluster.listen(),
            servers: (format!("{path}.{}", T::SERVERS), cluster.servers()),
            member: T::MEMBER,
            ports: cluster.ports().map(|(key, range)| (format!("{path}.{key}"), range)),
            path,
        }
    })
}
