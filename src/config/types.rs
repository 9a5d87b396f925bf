//! The configuration as the rest of the program sees it: plain data, checked before anyone gets it.
//!
//! The defaults live here and nowhere else (`Default`); `config/full.toml` repeats them for people and a
//! test compares the two. Clusters are in `clusters`, which alone is imported. Never reads a file, the environment or a clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::clusters::{Kafka, ZooKeeper};

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
    /// Bounds on clients' connections.
    pub limits: Limits,
    /// Bounds on what is held for clients.
    pub hold: Hold,
    /// Reconnects and repeated attempts.
    pub retry: Retry,
    /// The orderly end.
    pub shutdown: Shutdown,
    /// The Kafka clusters served. A configuration that was loaded has a cluster of one kind or the other.
    pub kafka: Vec<Kafka>,
    /// The ZooKeeper ensembles served.
    pub zookeeper: Vec<ZooKeeper>,
}

/// The admin listener: metrics, probes, the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
    /// Where metrics and probes are open to everyone, and nothing else is; may be empty.
    pub metrics_listen: Vec<SocketAddr>,
    /// Bearer tokens, one a line, that let peers from elsewhere in.
    pub token_file: Option<PathBuf>,
    /// Whether peers on this host are let in without a credential.
    pub trust_loopback: bool,
    /// Names, besides addresses and localhost, by which peers without a credential may ask for it.
    pub hosts: Vec<String>,
    /// How it is encrypted, if it is.
    pub tls: AdminTls,
}

/// How the admin listener is encrypted: with a certificate and its key, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminTls {
    /// Its certificate, and those between it and its authority (PEM); together with `key`.
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM, not encrypted).
    pub key: Option<PathBuf>,
    /// Certificates of the authorities whose clients are let in (PEM); none: no client's certificate counts.
    pub ca: Option<PathBuf>,
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

/// Bounds on clients' connections. A duration of zero is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all clients.
    pub connections: usize,
    /// Connections of the clients of one cluster.
    pub cluster_connections: usize,
    /// Time from the accept to the first whole request.
    pub first_request: Duration,
    /// Time for which a frame may be half said, or an answer half taken, without a byte of progress.
    pub stall: Duration,
    /// Time without a request while nothing is unanswered (Kafka).
    pub idle: Duration,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: None,
            worker_threads: 1,
            admin: Admin::default(),
            log: Log::default(),
            dns: Dns::default(),
            net: Net::default(),
            limits: Limits::default(),
            hold: Hold::default(),
            retry: Retry::default(),
            shutdown: Shutdown::default(),
            kafka: Vec::new(),
            zookeeper: Vec::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)],
            metrics_listen: Vec::new(),
            token_file: None,
            trust_loopback: true,
            hosts: Vec::new(),
            tls: AdminTls::default(),
        }
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            cluster_connections: 20_000,
            first_request: Duration::from_secs(30),
            stall: Duration::from_secs(600),
            idle: Duration::ZERO,
        }
    }
}

/// The default of [`Hold::max`].
pub const HOLD_MAX: Duration = Duration::from_secs(20);

impl Default for Hold {
    fn default() -> Self {
        Self { max: HOLD_MAX, bytes: 64 * MIB, connection_bytes: 16 * MIB, requests: 1000 }
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
