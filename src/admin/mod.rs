//! The admin listener: HTTP/1.1 for people, probes and scrapers.
//!
//! May import every lower floor. It reads what others know, and changes nothing but what a route says; it must never make
//! clients' bytes wait: what takes long is computed on another thread, and every connection is bounded in time and number.

mod ask;
pub mod client;
mod response;
mod routes;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::lifecycle::Readiness;
use crate::metrics::Metrics;

pub use server::{Limits, serve};

/// One cluster, as the admin listener shows it.
pub trait ClusterStatus: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// What `GET /v1/clusters/{name}` answers: a JSON object. Called for each request; must not block.
    fn status(&self) -> serde_json::Value;

    /// Switches bypass on or off. Must not block.
    fn set_bypass(&self, on: bool);

    /// Makes clients leave a member, or ends that; says how far it has come. Idempotent. Must not block.
    fn drain(&self, member: &str, on: bool) -> MemberDrain;
}

/// How far the drain of a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberDrain {
    /// There is no such member.
    Unknown,
    /// Members of this protocol can't be drained (yet).
    Unsupported,
    /// It is not being drained.
    Off,
    /// So many sessions or connections are still there.
    Draining {
        /// How many.
        left: usize,
    },
    /// Nobody is there any more.
    Drained,
}

/// What the routes read.
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/v1/clusters`, in the order of the configuration.
    pub clusters: Vec<Arc<dyn ClusterStatus>>,
}
