//! What a controller does to a cluster through the protocol: replica orders, preferred leaders, features. Nobody's client passes
//! here: connections are made for one thing and closed.
//!
//! Orders are computed in [`orders`], which is pure. Must never add or remove a replica: only their order is changed, and only where the
//! cluster still has the very replicas that were expected.

pub mod orders;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::authenticate::Credentials;
use super::channel::{Channel, ChannelError, Question};
use super::cluster::versions::Versions;
use super::wire::{self, Struct};
use crate::config;
use crate::dns::Resolver;
use crate::net::{ConnectError, ConnectOptions, Secure, connect};
use crate::sasl::Keeper;
use crate::tls::Tls;
use orders::Layout;

const METADATA: i16 = 3;
const METADATA_NEWEST: i16 = 9;
const API_VERSIONS: i16 = 18;
const ELECT_LEADERS: i16 = 43;
/// The first one that names the kind of election.
const ELECT_LEADERS_VERSION: i16 = 1;
const REASSIGN: i16 = 45;
const UPDATE_FEATURES: i16 = 57;
const UPDATE_FEATURES_VERSION: i16 = 1;
const UPGRADE: i8 = 1;
/// For one answer. Brokers pass orders on to the controller, and wait for what it does.
const ANSWER: Duration = Duration::from_secs(20);
/// What an order is told to wait for at most, below [`ANSWER`].
const WAIT_MS: i32 = 15_000;
/// Partitions in one order.
const AT_ONCE: usize = 1000;
const MAX_FRAME: usize = 100 << 20;
const CONNECT: ConnectOptions = ConnectOptions {
    timeout: Duration::from_secs(3),
    stagger: Duration::from_millis(250),
    keepalive: Duration::from_secs(10),
    user_timeout: Duration::from_secs(20),
};
/// `ELECTION_NOT_NEEDED`: who is preferred leads already.
const ELECTION_NOT_NEEDED: i16 = 84;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// No broker could be reached.
    #[error("no broker answers: {0}")]
    Unreachable(String),
    /// A broker's connection broke, or its answer makes no sense.
    #[error("{address}: {error}")]
    Broken {
        /// The broker.
        address: String,
        /// How.
        error: ChannelError,
    },
    /// The cluster refuses.
    #[error("{api}: {what}")]
    Refused {
        /// What was asked.
        api: &'static str,
        /// What it said.
        what: String,
    },
    /// Brokers don't have it.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// How brokers are reached: encrypted or not, and with which credentials.
pub struct Access {
    resolver: Resolver,
    tls: Tls,
    options: config::Tls,
    credentials: Credentials,
}

impl Access {
    /// As a sidecar of this configuration reaches them; as the default does, in plain text and without credentials.
    pub fn new(resolver: Resolver, kafka: &config::Kafka) -> Self {
        let keeper = Keeper::new(kafka.sasl.clone(), resolver.clone(), CONNECT);
        Self { resolver, tls: Tls::new(), options: kafka.tls.clone(), credentials: Credentials::Held(keeper) }
    }
}

/// One connection to some broker of a cluster.
pub struct Manager {
    address: String,
    channel: Channel,
    versions: Versions,
    features: Struct,
}

impl Manager {
    /// Connects to the first of these brokers that answers.
    ///
    /// # Errors
    /// What each of them said.
    pub async fn connect(access: &Access, brokers: &[(String, u16)]) -> Result<Self, ManageError> {
        let mut why = Vec::new();
        for (host, port) in brokers {
            match Self::to(access, host, *port).await {
                Ok(manager) => return Ok(manager),
                Err(error) => why.push(error.to_string()),
            }
        }
        Err(ManageError::Unreachable(why.join("; ")))
    }

    async fn to(access: &Access, host: &str, port: u16) -> Result<Self, ManageError> {
        let secure = Secure { tls: &access.tls, options: &access.options };
        let connected = connect(&access.resolver, host, port, &CONNECT, secure)
            .await
            .map_err(|error: ConnectError| ManageError::Unreachable(error.to_string()))?;
        let address = format!("{host}:{port}");
        let mut channel = Channel::new(connected.stream, MAX_FRAME, "evenkeel-upgrade");
        let answer = async {
            channel.authenticate(&access.credentials, CONNECT.timeout).await?;
            let mut body = new(API_VERSIONS)?;
            body.set_str("client_software_name", "evenkeel");
            body.set_str("client_software_version", env!("CARGO_PKG_VERSION"));
            channel.ask(Question { key: API_VERSIONS, version: 3, body: &body }, CONNECT.timeout).await
        };
        let features =
            answer.await.map_err(|error| ManageError::Broken { address: address.clone(), error })?;
        Ok(Self { address, channel, versions: Versions::new(features.clone()), features })
    }

    async fn ask(&mut self, key: i16, version: i16, body: &Struct) -> Result<Struct, ManageError> {
        let answer = self.channel.ask(Question { key, version, body }, ANSWER).await;
        answer.map_err(|error| ManageError::Broken { address: self.address.clone(), error })
    }

    fn message(&self, key: i16) -> Result<Struct, ManageError> {
        new(key).map_err(|error| ManageError::Broken { address: self.address.clone(), error })
    }

    /// Brokers with their addresses, and all partitions.
    ///
    /// # Errors
    /// It doesn't answer, or can't describe a topic.
    pub async fn layout(&mut self) -> Result<Layout, ManageError> {
        let mut body = self.message(METADATA)?;
        body.set_null("topics");
        body.set_bool("allow_auto_topic_creation", false);
        let version = self.versions.highest(METADATA, METADATA_NEWEST);
        let answer = self.ask(METADATA, version, &body).await?;
        orders::read(&answer).map_err(|what| ManageError::Refused { api: "Metadata", what })
    }

    /// Changes replica orders. What has moved or gone meanwhile is the caller's to find out: the orders must be of now.
    ///
    /// # Errors
    /// One of them was refused.
    pub async fn reorder(&mut self, orders: &[orders::Order]) -> Result<(), ManageError> {
        for some in orders.chunks(AT_ONCE) {
            let mut body = self.message(REASSIGN)?;
            body.set_i32("timeout_ms", WAIT_MS);
            let topics = by_topic(some).into_iter().map(|(name, partitions)| {
                let mut topic = body.new_struct("topics");
                topic.set_str("name", name);
                let partitions = partitions.into_iter().map(|order| {
                    let mut partition = topic.new_struct("partitions");
                    partition.set_i32("partition_index", order.partition);
                    partition.set_i32s("replicas", &order.replicas);
                    partition
                });
                let partitions = partitions.collect();
                topic.set_structs("partitions", partitions);
                topic
            });
            let topics = topics.collect();
            body.set_structs("topics", topics);
            let answer = self.ask(REASSIGN, 0, &body).await?;
            refused(
                "AlterPartitionReassignments",
                &answer,
                "responses",
                "name",
                "partitions",
                "partition_index",
                &[],
            )?;
        }
        Ok(())
    }

    /// Has the preferred leaders of partitions elected (KIP-460).
    ///
    /// # Errors
    /// One of them can't lead.
    pub async fn elect(&mut self, of: &[orders::Order]) -> Result<(), ManageError> {
        for some in of.chunks(AT_ONCE) {
            let mut body = self.message(ELECT_LEADERS)?;
            body.set_i8("election_type", 0);
            body.set_i32("timeout_ms", WAIT_MS);
            let topics = by_topic(some).into_iter().map(|(name, partitions)| {
                let mut topic = body.new_struct("topic_partitions");
                topic.set_str("topic", name);
                let numbers: Vec<i32> = partitions.iter().map(|order| order.partition).collect();
                topic.set_i32s("partitions", &numbers);
                topic
            });
            let topics = topics.collect();
            body.set_structs("topic_partitions", topics);
            let answer = self.ask(ELECT_LEADERS, ELECT_LEADERS_VERSION, &body).await?;
            refused(
                "ElectLeaders",
                &answer,
                "replica_election_results",
                "topic",
                "partition_result",
                "partition_id",
                &[ELECTION_NOT_NEEDED],
            )?;
        }
        Ok(())
    }

    /// The range of `metadata.version` that this broker supports, and the finalized level.
    pub fn levels(&self) -> Option<(i16, i16)> {
        let named = |row: &&Struct| row.str("name") == Some("metadata.version");
        let supported = self.features.structs("supported_features").find(named)?.i16("max_version");
        let finalized = self.features.structs("finalized_features").find(named);
        Some((supported, finalized.map_or(0, |row| row.i16("max_version_level"))))
    }

    /// Raises `metadata.version` (KIP-584).
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn raise(&mut self, level: i16) -> Result<(), ManageError> {
        if !self.versions.speaks(UPDATE_FEATURES, UPDATE_FEATURES_VERSION) {
            return Err(ManageError::Unsupported("the brokers have no features that could be raised"));
        }
        let mut body = self.message(UPDATE_FEATURES)?;
        body.set_i32("timeout_ms", WAIT_MS);
        let mut update = body.new_struct("feature_updates");
        update.set_str("feature", "metadata.version");
        update.set_i16("max_version_level", level);
        update.set_i8("upgrade_type", UPGRADE);
        body.set_structs("feature_updates", vec![update]);
        let answer = self.ask(UPDATE_FEATURES, UPDATE_FEATURES_VERSION, &body).await?;
        for part in std::iter::once(&answer).chain(answer.structs("results")) {
            said("UpdateFeatures", "", part, &[])?;
        }
        Ok(())
    }
}

fn new(key: i16) -> Result<Struct, ChannelError> {
    wire::request(key).map(wire::Message::new).ok_or(ChannelError::Closed)
}

fn by_topic(orders: &[orders::Order]) -> BTreeMap<&str, Vec<&orders::Order>> {
    let mut topics: BTreeMap<&str, Vec<&orders::Order>> = BTreeMap::new();
    for order in orders {
        topics.entry(&order.topic).or_default().push(order);
    }
    topics
}

/// The first error of an answer, if there is one that is not among `fine`.
fn said(api: &'static str, what: &str, part: &Struct, fine: &[i16]) -> Result<(), ManageError> {
    let code = part.i16("error_code");
    if code == 0 || fine.contains(&code) {
        return Ok(());
    }
    let text = part.str("error_message").unwrap_or_default();
    let what = format!("{what} {} {text}", wire::errors::name(code));
    Err(ManageError::Refused { api, what: what.trim().to_owned() })
}

fn refused(
    api: &'static str,
    answer: &Struct,
    topics: &str,
    name: &str,
    partitions: &str,
    index: &str,
    fine: &[i16],
) -> Result<(), ManageError> {
    let code = answer.i16("error_code");
    if code != 0 {
        return Err(ManageError::Refused { api, what: wire::errors::name(code).to_string() });
    }
    for topic in answer.structs(topics) {
        for partition in topic.structs(partitions) {
            let what = format!("{}-{}", topic.str(name).unwrap_or_default(), partition.i32(index));
            said(api, &what, partition, fine)?;
        }
    }
    Ok(())
}
