//! What connected clients are and what they speak: gauges that follow open connections, with bounded labels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntGauge, IntGaugeVec};

use super::closed::Library;
use super::names::{API_KEYS, OTHER, api_name};

/// How many (library, version) pairs are told apart at a time.
const MAX_PAIRS: usize = 32;
/// The longest version text that becomes a label.
const MAX_VERSION_LEN: usize = 32;
/// The highest API version that has a label of its own; the bit above it is `other`.
const MAX_API_VERSION: u8 = 30;

/// The pairs of `client_info`. A pair that no open connection has gives way when room is needed.
#[derive(Debug)]
pub(super) struct ClientInfo {
    family: IntGaugeVec,
    scope: [String; 2],
    pairs: Mutex<BTreeMap<(Library, String), IntGauge>>,
}

impl ClientInfo {
    pub(super) fn new(family: IntGaugeVec, scope: [String; 2]) -> Self {
        Self { family, scope, pairs: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn connected(&self, library: Library, version: &str) -> ClientGuard {
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
            let _ = self.family.remove_label_values(&[cluster, protocol, idle.0.as_str(), &idle.1]);
        }
        let gauge = self.gauge(library, version);
        pairs.insert(key, gauge.clone());
        // Counted while the lock is held, so that no other connection can take the pair for idle.
        ClientGuard::new(gauge)
    }

    fn gauge(&self, library: Library, version: &str) -> IntGauge {
        let [cluster, protocol] = &self.scope;
        self.family.with_label_values(&[cluster, protocol, library.as_str(), version])
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

/// `client_api_version` of one cluster.
#[derive(Debug)]
pub(super) struct ApiVersionFamily {
    pub(super) family: IntGaugeVec,
    pub(super) scope: [String; 2],
}

impl ApiVersionFamily {
    fn gauge(&self, slot: usize, version: u8) -> IntGauge {
        let api = i16::try_from(slot).map_or(OTHER, api_name);
        let [cluster, protocol] = &self.scope;
        if version > MAX_API_VERSION {
            self.family.with_label_values(&[cluster.as_str(), protocol, api, OTHER])
        } else {
            self.family.with_label_values(&[cluster.as_str(), protocol, api, &version.to_string()])
        }
    }
}

/// The API versions that one client connection has used; each counts once while the connection is open.
///
/// Noting a version that was noted before is a bit test.
#[derive(Debug)]
pub struct ApiVersionsInUse {
    family: Arc<ApiVersionFamily>,
    /// One word for each API key, one bit for each version; the last word is for unknown keys.
    seen: Box<[u32; API_KEYS + 1]>,
}

impl ApiVersionsInUse {
    pub(super) fn new(family: Arc<ApiVersionFamily>) -> Self {
        Self { family, seen: Box::new([0; API_KEYS + 1]) }
    }

    /// Notes that a request with this header came; any values are safe. Answers whether it is the first of its version.
    pub fn note(&mut self, api_key: i16, api_version: i16) -> bool {
        let slot = usize::try_from(api_key).map_or(API_KEYS, |key| key.min(API_KEYS));
        let version = u8::try_from(api_version).map_or(MAX_API_VERSION + 1, |v| v.min(MAX_API_VERSION + 1));
        let bit = 1_u32 << version;
        if let Some(seen) = self.seen.get_mut(slot)
            && *seen & bit == 0
        {
            *seen |= bit;
            self.family.gauge(slot, version).inc();
            return true;
        }
        false
    }
}

impl Drop for ApiVersionsInUse {
    fn drop(&mut self) {
        for (slot, bits) in self.seen.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            for version in 0..=MAX_API_VERSION + 1 {
                if bits & (1_u32 << version) != 0 {
                    self.family.gauge(slot, version).dec();
                }
            }
        }
    }
}
