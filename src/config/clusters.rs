//! The clusters of a configuration, of both kinds, and what they are made of: plain data.
//!
//! The defaults of a cluster's keys live here and nowhere else (`Default`). Imports std only.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sasl::Sasl;

/// One Kafka cluster.
///
/// [`Default`] has no name, no listener and no bootstrap server: those are required in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// Its name in metrics, logs and the admin API; letters, digits, `_`, `.`, `-`; unique.
    pub name: String,
    /// Where applications connect first; port 0 takes any free port. The broker ports are bound on each
    /// of these hosts.
    pub listen: Vec<SocketAddr>,
    /// Brokers to ask first, in this order.
    pub bootstrap: Vec<HostPort>,
    /// One port for each broker node id; the whole range is bound at the start.
    pub broker_ports: PortRange,
    /// Ports fixed by hand: node id to a port inside `broker_ports`.
    pub node_ports: BTreeMap<i32, u16>,
    /// The host that clients are told, instead of the address that they connected to.
    pub advertise: Option<String>,
    /// `client.id` of Evenkeel's own requests.
    pub client_id: String,
    /// The pause between looks at the metadata when all is well.
    pub metadata_refresh: Duration,
    /// The pause between looks at the metadata while a leader is sought.
    pub leader_poll: Duration,
    /// How long a broker that is missing from the metadata stays listed to clients.
    pub member_retention: Duration,
    /// How long all brokers must have shared newer API versions before new clients are offered them.
    pub version_quiet: Duration,
    /// Check the cluster id and the node id after each connect.
    pub verify_node: bool,
    /// The zone (the brokers' `broker.rack`) in which consumers are that name none.
    pub zone: Option<String>,
    /// Whether producers that have no producer id get one.
    pub idempotence: Idempotence,
    /// Which acks of such producers are raised to all.
    pub raise_acks: RaiseAcks,
    /// How connections to brokers are encrypted.
    pub tls: Tls,
    /// How connections to brokers prove who they are from.
    pub sasl: Sasl,
    /// How clients' connections are encrypted.
    pub listen_tls: ListenTls,
}

/// How connections to the members of a cluster are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Encrypt them, and check that a member's certificate is for the name by which it was looked up.
    pub enabled: bool,
    /// Certificates of the authorities that a member's may be issued by (PEM); none: those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate, and those between it and its authority (PEM); together with `key`.
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM, not encrypted).
    pub key: Option<PathBuf>,
}

/// How the connections of clients are encrypted: with a certificate and its key, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenTls {
    /// The listeners' certificate, and those between it and its authority (PEM); together with `key`.
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM, not encrypted).
    pub key: Option<PathBuf>,
    /// Certificates of the authorities one of which must have issued a client's (PEM); none: no client is asked for one.
    pub client_ca: Option<PathBuf>,
}

impl ListenTls {
    /// The files of a listener, if it is encrypted.
    pub fn files(&self) -> Option<Tls> {
        (self.certificate.is_some() && self.key.is_some()).then(|| Tls {
            enabled: true,
            ca: self.client_ca.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
        })
    }
}

/// Whether producers without a producer id get one from Evenkeel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotence {
    /// Each of their batches is stamped, so that brokers recognise a repeat.
    Inject,
    /// Their batches pass as they are.
    Off,
}

/// Which acks of producers with an injected identity are raised to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaiseAcks {
    /// 1 is sent as all, with a fallback to 1; 0 stays.
    Acks1,
    /// 0 as well; its answers end here.
    All,
    /// None.
    Off,
}

/// One ZooKeeper ensemble.
///
/// [`Default`] has no name, no listener and no server: those are required in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ZooKeeper {
    /// Its name in metrics, logs and the admin API; letters, digits, `_`, `.`, `-`; unique.
    pub name: String,
    /// Where applications connect; port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
    /// The servers of the ensemble.
    pub servers: Vec<HostPort>,
    /// The servers' own `tickTime`: touches of sessions reach the leader up to half of it late.
    pub tick_time: Duration,
    /// Which answers prove that a session lives.
    pub lease: LeaseMode,
    /// What is asked of the ensemble for each session.
    pub session: ZooKeeperSession,
    /// The longest frame accepted from a client, in bytes, its length field not counted; at most `i32::MAX`. Answers, which
    /// servers don't bound, may be as long, and 64 MiB in any case.
    pub jute_maxbuffer: usize,
    /// What an unplanned loss means for a client with persistent watches.
    pub persistent_watches: PersistentWatches,
    /// What a client is told of an operation whose outcome can't be known.
    pub unknown_outcome: UnknownOutcome,
    /// Four-letter words that are forwarded besides `isro`, `ruok` and `srvr`; each is one of the servers' own.
    pub four_letter_words: Vec<String>,
    /// Follow `/zookeeper/config` for the list of servers.
    pub follow_config: bool,
    /// The host that clients are shown for every server in `/zookeeper/config`, instead of the address that they
    /// connected to.
    pub advertise: Option<String>,
    /// How long a server may take to answer an attach before another is tried.
    pub attach_timeout: Duration,
    /// Sessions of the whole process that attach at once, at least 1.
    pub reattach_concurrency: usize,
    /// How connections to servers are encrypted.
    pub tls: Tls,
    /// How clients' connections are encrypted.
    pub listen_tls: ListenTls,
    /// As whom sessions authenticate themselves.
    pub sasl: ZooKeeperSasl,
}

/// As whom sessions on `ZooKeeper` servers authenticate themselves, by SASL with DIGEST-MD5. Both keys, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZooKeeperSasl {
    /// The name that the servers know.
    pub username: Option<String>,
    /// The file that holds its password; read at each use.
    pub password_file: Option<PathBuf>,
}

impl ZooKeeperSasl {
    /// Both of them, if sessions are to authenticate themselves.
    pub fn held(&self) -> Option<(&str, &Path)> {
        self.username.as_deref().zip(self.password_file.as_deref())
    }
}

/// What is asked of a ZooKeeper ensemble for each session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZooKeeperSession {
    /// Ask for at least this session timeout, while the client is told its own.
    pub min_upstream_timeout: Option<Duration>,
}

/// Which answers prove that a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseMode {
    /// Any answer of the server, as for a client without Evenkeel.
    Direct,
    /// Only an answer that the leader had a part in: a server that is cut off from its leader proves nothing.
    Strict,
}

/// What an unplanned loss means for a client with persistent watches, of which no server tells what happened in the gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersistentWatches {
    /// Its connection is closed, so that it looks anew.
    Close,
    /// It keeps its connection, and may have missed events.
    Keep,
}

/// What a client is told of an operation whose outcome can't be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// The error CONNECTIONLOSS for that operation alone where its library copes with that, else its connection is closed.
    Error,
    /// Its connection is closed.
    Close,
}

/// A host (a name or a literal address, an IPv6 one without its brackets) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or a literal address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// A range of TCP ports, both ends included; `first` ≥ 1 and `first` ≤ `last` when it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// The ports, lowest first.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        self.ports().contains(&port)
    }

    /// How many ports: 1 to 65535 for a range that was loaded.
    #[allow(clippy::len_without_is_empty, reason = "a range that was loaded is never empty")]
    pub fn len(self) -> usize {
        self.ports().len()
    }

    /// Whether the two share a port.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Display for HostPort {
    /// As in a file: `kafka-1:9092`, `[::1]:9092`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            broker_ports: PortRange { first: 19092, last: 19191 },
            node_ports: BTreeMap::new(),
            advertise: None,
            client_id: "evenkeel".to_owned(),
            metadata_refresh: Duration::from_secs(30),
            leader_poll: Duration::from_millis(20),
            member_retention: Duration::from_secs(600),
            version_quiet: Duration::from_secs(600),
            verify_node: true,
            zone: None,
            idempotence: Idempotence::Inject,
            raise_acks: RaiseAcks::Acks1,
            tls: Tls::default(),
            sasl: Sasl::default(),
            listen_tls: ListenTls::default(),
        }
    }
}

impl Default for ZooKeeper {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: Vec::new(),
            servers: Vec::new(),
            tick_time: Duration::from_secs(2),
            lease: LeaseMode::Direct,
            session: ZooKeeperSession::default(),
            jute_maxbuffer: 1024 * 1024,
            persistent_watches: PersistentWatches::Close,
            unknown_outcome: UnknownOutcome::Error,
            four_letter_words: Vec::new(),
            follow_config: false,
            advertise: None,
            attach_timeout: Duration::from_secs(1),
            reattach_concurrency: 64,
            tls: Tls::default(),
            listen_tls: ListenTls::default(),
            sasl: ZooKeeperSasl::default(),
        }
    }
}
