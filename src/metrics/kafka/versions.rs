//! Which API versions connected clients use: gauges that follow open connections, with bounded labels.

use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec};

use super::names::{API_KEYS, api_name};
use crate::metrics::protocol::OTHER;

/// The highest API version that has a label of its own; the bit above it is `other`.
const MAX_API_VERSION: u8 = 30;

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
