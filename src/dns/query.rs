//! One lookup of one name, uncached: the hosts file first, then DNS for both families at once.
//!
//! May import: [`super`]'s error. Must never: remember an answer; that is the caller's part.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{IntoName, Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::time::timeout;
use tracing::warn;

use super::DnsError;

/// Repeats of an unanswered query: datagrams get lost.
const REPEATS: u32 = 2;

/// With one family's addresses here, the other family's answer gets so much more time. Some resolvers never answer for
/// AAAA (RFC 8305 section 3 gives 50 ms before a first connect; this answer also has to last for a while).
const SECOND_FAMILY: Duration = Duration::from_millis(500);

/// What the lookup of one address family brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Family {
    Addrs {
        addrs: Vec<IpAddr>,
        ttl: Duration,
    },
    /// The server says that there are none.
    Nothing(String),
    /// No answer, or one that says nothing.
    Failed(String),
}

impl Family {
    pub(super) fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Addrs { ttl, .. } => Some(*ttl),
            _ => None,
        }
    }

    pub(super) fn failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Puts this family's addresses in place of the old ones, unless the lookup failed.
    pub(super) fn replace(&self, old: &mut Vec<IpAddr>) {
        match self {
            Self::Addrs { addrs, .. } => old.clone_from(addrs),
            Self::Nothing(_) => old.clear(),
            Self::Failed(_) => {}
        }
    }

    /// Why neither family (`self` is IPv6) has an address.
    pub(super) fn reason(&self, v4: &Self) -> String {
        match (self.text(), v4.text()) {
            (a, b) if a == b => a.to_owned(),
            (a, b) => format!("A: {b}; AAAA: {a}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Addrs { .. } => "found",
            Self::Nothing(s) | Self::Failed(s) => s,
        }
    }
}

/// The system's files, by path: tests have their own.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) hosts: PathBuf,
    pub(super) resolv_conf: PathBuf,
}

impl Files {
    pub(super) fn of_the_system() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into() }
    }
}

pub(super) struct Backend {
    servers: Vec<SocketAddr>,
    files: Files,
    live: Mutex<Live>,
}

struct Live {
    timeout: Duration,
    /// None: the system has no usable configuration (yet).
    client: Option<TokioResolver>,
}

impl Backend {
    pub(super) fn new(servers: Vec<SocketAddr>, timeout: Duration, files: Files) -> Result<Self, DnsError> {
        let client = match client(&servers, &files.resolv_conf, timeout) {
            Ok(client) => Some(client),
            Err(reason) if servers.is_empty() => {
                warn!(
                    reason,
                    "no usable DNS configuration; only the hosts file and literal addresses resolve"
                );
                None
            }
            Err(reason) => return Err(DnsError::Setup { reason }),
        };
        Ok(Self { servers, files, live: Mutex::new(Live { timeout, client }) })
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        let new = client(&self.servers, &self.files.resolv_conf, timeout);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.timeout = timeout;
        match new {
            Ok(client) => live.client = Some(client),
            Err(reason) => warn!(reason, "the DNS configuration can't be read; the one in use stays"),
        }
    }

    /// IPv6, IPv4. An error means that the name can't be one.
    pub(super) async fn lookup(&self, host: &str) -> Result<(Family, Family), DnsError> {
        let name = host
            .into_name()
            .map_err(|e| DnsError::InvalidName { host: host.to_owned(), reason: e.to_string() })?;
        if let Some(found) = self.lookup_hosts(&name) {
            return Ok(found);
        }
        let (client, limit) = match self.client() {
            Ok(found) => found,
            Err(reason) => {
                let failed =
                    Family::Failed(format!("not in the hosts file, and no DNS server is known ({reason})"));
                return Ok((failed.clone(), failed));
            }
        };
        let v6 = family(&client, name.clone(), RecordType::AAAA, limit);
        let v4 = family(&client, name, RecordType::A, limit);
        Ok(both(v6, v4).await)
    }

    fn client(&self) -> Result<(TokioResolver, Duration), String> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.client.is_none() {
            live.client = Some(client(&self.servers, &self.files.resolv_conf, live.timeout)?);
        }
        live.client.clone().map(|c| (c, live.timeout)).ok_or_else(String::new)
    }

    /// The file is read at each lookup: it is short, and it changes under long-running programs. As with the system's own
    /// resolver, a name in it is not asked for anywhere else.
    fn lookup_hosts(&self, name: &Name) -> Option<(Family, Family)> {
        let mut hosts = Hosts::default();
        if let Err(e) = std::fs::File::open(&self.files.hosts).and_then(|f| hosts.read_hosts_conf(f)) {
            tracing::debug!(file = %self.files.hosts.display(), error = %e, "the hosts file can't be read");
        }
        let find = |kind| {
            let found = hosts.lookup_static_host(&Query::query(name.clone(), kind));
            let records = found.iter().flat_map(Lookup::answers);
            let addrs: Vec<IpAddr> = records.filter_map(|r| r.data.ip_addr()).collect();
            if addrs.is_empty() {
                return Family::Nothing("not in the hosts file".to_owned());
            }
            Family::Addrs { addrs, ttl: Duration::ZERO }
        };
        let found = (find(RecordType::AAAA), find(RecordType::A));
        (found.0.ttl().is_some() || found.1.ttl().is_some()).then_some(found)
    }
}

fn client(servers: &[SocketAddr], resolv_conf: &Path, limit: Duration) -> Result<TokioResolver, String> {
    let (config, mut options) = if servers.is_empty() {
        let text = std::fs::read(resolv_conf).map_err(|e| format!("{}: {e}", resolv_conf.display()))?;
        system_conf::parse_resolv_conf(text).map_err(|e| format!("{}: {e}", resolv_conf.display()))?
    } else {
        let config = ResolverConfig::from_name_servers(servers.iter().map(name_server).collect());
        (config, ResolverOpts::default())
    };
    options.timeout = (limit / (REPEATS + 1)).max(Duration::from_millis(1));
    options.attempts = REPEATS as usize;
    // Answers are cached by the caller alone, and so is the hosts file's part.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|e| e.to_string())
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let with_port = |mut c: ConnectionConfig| {
        c.port = addr.port();
        c
    };
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(addr.ip(), true, connections)
}

async fn family(client: &TokioResolver, name: Name, kind: RecordType, limit: Duration) -> Family {
    let answer = match timeout(limit, client.lookup(name, kind)).await {
        Ok(Ok(lookup)) => lookup,
        Ok(Err(e)) if e.is_nx_domain() => return Family::Nothing("the name does not exist".to_owned()),
        Ok(Err(e)) if e.is_no_records_found() => return Family::Nothing("no address".to_owned()),
        Ok(Err(NetError::Timeout)) | Err(_) => {
            return Family::Failed(format!("no answer within {limit:?}"));
        }
        Ok(Err(e)) => return Family::Failed(e.to_string()),
    };
    // The chain to the addresses (CNAME) counts too: the answer is as good as its shortest-lived part.
    let ttl = answer.answers().iter().map(|r| r.ttl).min().unwrap_or(0);
    let addrs: Vec<IpAddr> = answer.answers().iter().filter_map(|r| r.data.ip_addr()).collect();
    if addrs.is_empty() {
        return Family::Nothing("no address".to_owned());
    }
    Family::Addrs { addrs, ttl: Duration::from_secs(u64::from(ttl)) }
}

/// Both answers; but once one has addresses the other is not waited for beyond [`SECOND_FAMILY`].
async fn both(v6: impl Future<Output = Family>, v4: impl Future<Output = Family>) -> (Family, Family) {
    tokio::pin!(v6, v4);
    tokio::select! {
        first = &mut v6 => {
            let second = second(&first, v4).await;
            (first, second)
        }
        first = &mut v4 => (second(&first, v6).await, first),
    }
}

async fn second(first: &Family, rest: impl Future<Output = Family>) -> Family {
    if first.ttl().is_none() {
        return rest.await;
    }
    let late = |_| Family::Failed(format!("no answer within {SECOND_FAMILY:?} of the other family's"));
    timeout(SECOND_FAMILY, rest).await.unwrap_or_else(late)
}
