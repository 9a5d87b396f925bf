//! What connected clients are: gauges that follow open connections, with bounded labels.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntGauge, IntGaugeVec};

use super::protocol::OTHER;

/// How many (library, version) pairs are told apart at a time.
const MAX_PAIRS: usize = 32;
/// The longest version text that becomes a label.
const MAX_VERSION_LEN: usize = 32;

/// The pairs of `client_info`. A pair that no open connection has gives way when room is needed.
#[derive(Debug)]
pub(super) struct ClientInfo {
    family: IntGaugeVec,
    scope: [String; 2],
    /// A library is one of a closed set.
    pairs: Mutex<BTreeMap<(&'static str, String), IntGauge>>,
}

impl ClientInfo {
    pub(super) fn new(family: IntGaugeVec, scope: [String; 2]) -> Self {
        Self { family, scope, pairs: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn connected(&self, library: &'static str, version: &str) -> ClientGuard {
        let version = if is_plain(version) { version } else { OTHER };
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (library, version.to_owned());
        if let Some(gauge) = pairs.get(&key) {
            return ClientGuard::new(gauge.clone());
        }
        if version != OTHER && pairs.keys().filter(|(_, v)| v != OTHER).count() >= MAX_PAIRS {
            let Some(idle) =
                pairs.iter().find(|((_, v), gauge)| v != OTHER && gauge.get() == 0).map(|(k, _)| k.clone())
            else {
                let gauge = self.gauge(library, OTHER);
                pairs.insert((library, OTHER.to_owned()), gauge.clone());
                return ClientGuard::new(gauge);
            };
            pairs.remove(&idle);
            let [cluster, protocol] = &self.scope;
            // An error says that there is no such series, which is what is wanted.
            let _ = self.family.remove_label_values(&[cluster, protocol, idle.0, &idle.1]);
        }
        let gauge = self.gauge(library, version);
        pairs.insert(key, gauge.clone());
        // Counted while the lock is held, so that no other connection can take the pair for idle.
        ClientGuard::new(gauge)
    }

    fn gauge(&self, library: &'static str, version: &str) -> IntGauge {
        let [cluster, protocol] = &self.scope;
        self.family.with_label_values(&[cluster, protocol, library, version])
    }
}

/// Whether a version that a client sent may become a label value.
fn is_plain(version: &str) -> bool {
    (1..=MAX_VERSION_LEN).contains(&version.len())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
}

/// Counts one open connection in a gauge for as long as it is held.
#[derive(Debug)]
pub struct ClientGuard(IntGauge);

impl ClientGuard {
    pub(super) fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
