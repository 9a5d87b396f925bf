//! Floor 2, `dns`: names to addresses, anew for each connect.
//!
//! What it is: [`Resolver`], a small cache in front of DNS (`query.rs`) and of the hosts file. It reports addresses and
//! never health.
//!
//! May import: `config`, `metrics`, `telemetry`, `lifecycle`.
//!
//! Must never: forget a name's last known good addresses because DNS fails. A pod's name is NXDOMAIN for some seconds
//! while the pod restarts; that is an outage of the answer, not the removal of the member.

mod query;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use query::{Backend, Family, Files};

/// Names come from configurations and from members' metadata. Beyond so many, those that are out of date and not in use
/// are forgotten.
const MAX_NAMES: usize = 1024;

/// How names are resolved.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// The servers to ask, with no search domains; empty: those of the system's configuration, with its search domains.
    pub servers: Vec<SocketAddr>,
    /// The least time for which an answer is used, whatever its TTL says.
    pub min_ttl: Duration,
    /// The most time for one lookup, retries included.
    pub timeout: Duration,
}

/// A name's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Both families, IPv6 first, each in the order of the answer. Never empty.
    pub addrs: Vec<IpAddr>,
    /// DNS fails now; these are the last known good addresses.
    pub stale: bool,
}

/// Why a name has no address. Only a name that never had one ends up here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Not a host name.
    #[error("\"{host}\" is not a host name: {reason}")]
    InvalidName {
        /// The name as it was asked for.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No family gave an address.
    #[error("can't resolve \"{host}\": {reason}")]
    Failed {
        /// The name as it was asked for.
        host: String,
        /// What each family's lookup said.
        reason: String,
    },
    /// The resolver itself can't be set up.
    #[error("can't set up name resolution: {reason}")]
    Setup {
        /// What went wrong.
        reason: String,
    },
}

/// Called with a name, its old and its new addresses, when they differ as sets.
pub type OnChange = Arc<dyn Fn(&str, &[IpAddr], &[IpAddr]) + Send + Sync>;

/// Resolves names. A clone shares everything.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    min_ttl: Mutex<Duration>,
    names: Mutex<HashMap<String, Arc<Entry>>>,
    changes: AtomicU64,
    on_change: Option<OnChange>,
}

#[derive(Default)]
struct Entry {
    /// Lookups that were finished. A caller that waited while one finished shares its outcome.
    finished: AtomicU64,
    /// Locked for the whole of a lookup: concurrent lookups of a name are one.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    v6: Vec<IpAddr>,
    v4: Vec<IpAddr>,
    /// Until then no new lookup is made.
    good_until: Option<Instant>,
    /// The last lookup failed; `v6` and `v4` are older.
    error: Option<DnsError>,
}

impl State {
    fn addrs(&self) -> Vec<IpAddr> {
        self.v6.iter().chain(&self.v4).copied().collect()
    }

    fn outcome(&self, host: &str) -> Result<Resolution, DnsError> {
        let addrs = self.addrs();
        if addrs.is_empty() {
            let never = || DnsError::Failed { host: host.to_owned(), reason: "no address".to_owned() };
            return Err(self.error.clone().unwrap_or_else(never));
        }
        Ok(Resolution { addrs, stale: self.error.is_some() })
    }
}

impl Resolver {
    /// A system without a usable DNS configuration is no error: the hosts file and literal addresses still work, a
    /// warning is logged, and the configuration is looked for again when a name needs it.
    ///
    /// # Errors
    /// [`DnsError::Setup`] when the named servers can't be used.
    pub fn new(options: DnsOptions, on_change: Option<OnChange>) -> Result<Self, DnsError> {
        Self::with_files(options, on_change, Files::of_the_system())
    }

    fn with_files(options: DnsOptions, on_change: Option<OnChange>, files: Files) -> Result<Self, DnsError> {
        let min_ttl = Mutex::new(options.min_ttl);
        let backend = Backend::new(options.servers, options.timeout, files)?;
        let (names, changes) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { inner: Arc::new(Inner { backend, min_ttl, names, changes, on_change }) })
    }

    /// The addresses of a name, or of a literal address. Fresh for as long as its TTL says, but at least `min_ttl`.
    ///
    /// With DNS failing, the last known good answer comes back as stale; another try is made after `min_ttl`, or after
    /// as long as the failed one took if that is more. Cancel-safe.
    ///
    /// # Errors
    /// When there never was an answer.
    pub async fn resolve(&self, host: &str) -> Result<Resolution, DnsError> {
        if let Ok(ip) = host.parse() {
            return Ok(Resolution { addrs: vec![ip], stale: false });
        }
        let entry = self.entry(host);
        let seen = entry.finished.load(Ordering::Acquire);
        let mut state = entry.state.lock().await;
        let start = Instant::now();
        let shared = entry.finished.load(Ordering::Acquire) != seen;
        if shared || state.good_until.is_some_and(|t| t > start) {
            return state.outcome(host);
        }
        let (v6, v4) = self.inner.backend.lookup(host).await?;
        self.note(host, &mut state, &v6, &v4, start);
        entry.finished.fetch_add(1, Ordering::Release);
        state.outcome(host)
    }

    /// How often a name's set of addresses has changed, over all names.
    pub fn changes_total(&self) -> u64 {
        self.inner.changes.load(Ordering::Relaxed)
    }

    /// Takes new bounds; also reads the system's configuration anew, if that is what is used.
    pub fn set_options(&self, min_ttl: Duration, timeout: Duration) {
        *self.inner.min_ttl.lock().unwrap_or_else(PoisonError::into_inner) = min_ttl;
        self.inner.backend.set_timeout(timeout);
    }

    fn entry(&self, host: &str) -> Arc<Entry> {
        let mut names = self.inner.names.lock().unwrap_or_else(PoisonError::into_inner);
        let key = host.to_ascii_lowercase();
        if !names.contains_key(&key) && names.len() >= MAX_NAMES {
            let now = Instant::now();
            let current = |s: &State| s.good_until.is_some_and(|t| t > now);
            names.retain(|_, e| Arc::strong_count(e) > 1 || e.state.try_lock().is_ok_and(|s| current(&s)));
        }
        names.entry(key).or_default().clone()
    }

    /// Takes over what a lookup brought, family by family: one that failed keeps what it had.
    fn note(&self, host: &str, state: &mut State, v6: &Family, v4: &Family, start: Instant) {
        let now = Instant::now();
        let min_ttl = *self.inner.min_ttl.lock().unwrap_or_else(PoisonError::into_inner);
        let (ttl6, ttl4) = (v6.ttl(), v4.ttl());
        let Some(ttl) = [ttl6, ttl4].into_iter().flatten().min() else {
            let reason = v6.reason(v4);
            if state.error.is_none() && !state.addrs().is_empty() {
                warn!(host, reason, "DNS fails; the last known addresses stay in use");
            }
            state.error = Some(DnsError::Failed { host: host.to_owned(), reason });
            // Without an old answer the next caller asks at once; with one, a silent server must not cost each connect
            // the whole timeout.
            let pause = min_ttl.max(now - start);
            state.good_until = (!state.addrs().is_empty()).then(|| now + pause);
            return;
        };
        let old = state.addrs();
        v6.replace(&mut state.v6);
        v4.replace(&mut state.v4);
        let ttl = if v6.failed() || v4.failed() { min_ttl } else { ttl.max(min_ttl) };
        state.good_until = now.checked_add(ttl);
        if state.error.take().is_some() && !old.is_empty() {
            info!(host, "DNS answers again");
        }
        let new = state.addrs();
        if !old.is_empty() && sorted(&old) != sorted(&new) {
            self.inner.changes.fetch_add(1, Ordering::Relaxed);
            info!(host, ?old, ?new, "a name's addresses have changed");
            if let Some(hook) = &self.inner.on_change {
                hook(host, &old, &new);
            }
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("changes", &self.changes_total()).finish_non_exhaustive()
    }
}

fn sorted(addrs: &[IpAddr]) -> Vec<IpAddr> {
    let mut addrs = addrs.to_vec();
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

#[cfg(test)]
mod tests;
