//! The configuration as the rest of the program sees it: plain data, checked before anyone gets it.
//!
//! The defaults live here and nowhere else (`Default`); `config/full.toml` repeats them for people and a
//! test compares the two. Imports std only. Never reads a file, the environment or a clock.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The whole configuration. [`Default`] holds the default of every key, and no cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder for what outlives a restart (the port of each node id); `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// Threads that move bytes, 1 to 1024.
    pub worker_threads: usize,
    /// The HTTP listener for people, probes and scrapers.
    pub admin: Admin,
    /// What is logged and how.
    pub log: Log,
    /// How names become addresses.
    pub dns: Dns,
    /// Sockets, frames and queues.
    pub net: Net,
    /// Bounds on what is held for clients.
    pub hold: Hold,
    /// Reconnects and repeated attempts.
    pub retry: Retry,
    /// The orderly end.
    pub shutdown: Shutdown,
    /// The clusters served; never empty in a configuration that was loaded.
    pub kafka: Vec<Kafka>,
}

/// The admin listener: metrics, probes, the HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Where it listens; port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
}

/// Logging.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// One line of text or one JSON object for each event.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`: `info`, `info,evenkeel::kafka=debug`.
    pub level: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors: one object a line.
    Json,
}

/// Name resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// Servers to ask; empty means those of the system.
    pub servers: Vec<SocketAddr>,
    /// The least time an answer is believed, whatever its TTL says.
    pub min_ttl: Duration,
    /// Bound on one lookup, all servers and attempts together.
    pub timeout: Duration,
}

/// Sockets, frames and queues.
#[derive(Debug, Clone, PartialEq)]
pub struct Net {
    /// Bound on connecting to one member, all of its addresses together.
    pub connect_timeout: Duration,
    /// Head start of each address over the next one (RFC 8305, "Connection Attempt Delay").
    pub connect_stagger: Duration,
    /// Silence after which the kernel probes the peer (`TCP_KEEPIDLE`); whole seconds on Linux.
    pub keepalive: Duration,
    /// How long written bytes may stay unacknowledged before the kernel gives the peer up
    /// (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Connections that the kernel queues on a listener before they are accepted.
    pub backlog: u32,
    /// The longest frame accepted from either side, in bytes, at most `i32::MAX`.
    pub max_frame: usize,
    /// Bytes queued towards one peer before the other side is no longer read.
    pub write_queue: usize,
}

/// Bounds on requests that are held or in flight.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// The longest that one request is held; zero holds nothing.
    pub max: Duration,
    /// Bytes held by the whole process.
    pub bytes: usize,
    /// Bytes held for one client connection; at most `bytes`.
    pub connection_bytes: usize,
    /// Requests in flight and held for one client connection before its socket is no longer read.
    pub requests: usize,
}

/// Reconnects and repeated attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The first back-off; at most `max`.
    pub min: Duration,
    /// The back-off's ceiling.
    pub max: Duration,
    /// Attempts for each member in each second.
    pub budget: u32,
}

/// The orderly end.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// Time for answers in flight after the first signal.
    pub grace: Duration,
}

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
    /// None.
    Off,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: None,
            worker_threads: 1,
            admin: Admin::default(),
            log: Log::default(),
            dns: Dns::default(),
            net: Net::default(),
            hold: Hold::default(),
            retry: Retry::default(),
            shutdown: Shutdown::default(),
            kafka: Vec::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)] }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), min_ttl: Duration::from_secs(1), timeout: Duration::from_secs(2) }
    }
}

impl Default for Net {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            connect_stagger: Duration::from_millis(250),
            keepalive: Duration::from_secs(10),
            user_timeout: Duration::from_secs(20),
            backlog: 1024,
            max_frame: 100 * MIB,
            write_queue: MIB,
        }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self { max: Duration::from_secs(20), bytes: 64 * MIB, connection_bytes: 16 * MIB, requests: 1000 }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { min: Duration::from_millis(50), max: Duration::from_secs(1), budget: 20 }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: Duration::from_secs(10) }
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
        }
    }
}
