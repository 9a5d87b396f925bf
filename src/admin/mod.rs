//! The admin listener: HTTP/1.1 for people, probes, scrapers and controllers of upgrades.
//!
//! May import every lower floor. It reads what others know, and changes nothing but what a route says; it must never make
//! clients' bytes wait: what takes long is computed on another thread, and every connection is bounded in time and number.

mod ask;
pub mod client;
mod connector;
mod control;
mod door;
mod hook;
mod hour;
mod local;
mod openapi;
mod orders;
pub mod prestop;
mod response;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod tokens;
mod ui;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::lifecycle::Readiness;
use crate::metrics::{AdminMetrics, Metrics, UpgradeMetrics, UpgradePhase};
use crate::upgrade::{DrainState, Facts};
use hook::Hook;

pub use control::{Control, DrainOrder, Problem, Said, Told};
pub use door::Door;
pub use hour::ErrorCounts;
pub use server::{Limits, serve};

/// Something that a cluster is asked for and that takes its time.
pub type Asked<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What is to be known of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What is known may be so old.
    pub fresh: Duration,
    /// Whether the features of all members could be finalized.
    pub upgrade: bool,
    /// Whether the cluster could go back to this version.
    pub downgrade: Option<String>,
}

/// One cluster, as the admin listener shows it.
pub trait ClusterStatus: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// What `GET /v1/clusters/{name}` answers: a JSON object. Called for each request; must not block.
    fn status(&self) -> serde_json::Value;

    /// Switches bypass on or off. Must not block.
    fn set_bypass(&self, on: bool);

    /// Makes clients leave a member, for at most `lasts` unless it is said again, or ends that; says how far it has come.
    /// Idempotent. `None`: there is no such member. Must not block.
    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState>;

    /// How far the drain of a member has come. `None`: there is no such member. Must not block.
    fn drain_state(&self, member: &str) -> Option<DrainState>;

    /// Everything that is known now. Asks nobody; must not block.
    fn facts(&self) -> Facts;

    /// The version that the cluster as a whole has, as far as that is known.
    fn version(&self) -> Option<String>;

    /// Asks the cluster for what isn't known, or is too old. Bounded in time; who asks meanwhile shares the answer.
    fn gather(&self, wish: Wish) -> Asked<'_>;

    /// Nobody asks any more: connections for that are closed.
    fn rest(&self) -> Asked<'_>;

    /// Clients are offered no more than now, or again as without a plan.
    fn hold_pin(&self, held: bool);

    /// Clients are offered at once what all members speak.
    fn lift_pin(&self);

    /// Errors that clients saw, and were spared, since the process began.
    fn errors(&self) -> ErrorCounts;

    /// Where an upgrade is counted.
    fn upgrade_metrics(&self) -> &UpgradeMetrics;

    /// Shows the phase of a member in its metrics.
    fn show_phase(&self, member: &str, phase: UpgradePhase);
}

/// What the routes read.
pub struct Admin {
    /// For `/metrics`.
    metrics: Arc<Metrics>,
    /// What is said of its own limits.
    own: AdminMetrics,
    /// For `/readyz`.
    readiness: Readiness,
    /// For `/v1/clusters`, in the order of the configuration.
    clusters: Vec<Arc<dyn Control>>,
    /// Those of them that are watched here.
    hooks: Vec<Arc<Hook>>,
}

impl Admin {
    /// What is served of one sidecar. Plans and drains that are ordered live in it, so through a reload.
    pub fn new(
        metrics: Arc<Metrics>,
        readiness: Readiness,
        clusters: Vec<Arc<dyn ClusterStatus>>,
    ) -> Arc<Self> {
        let hooks: Vec<Arc<Hook>> = clusters.into_iter().map(Hook::new).collect();
        let clusters = hooks.iter().map(|hook| Arc::clone(hook) as Arc<dyn Control>).collect();
        Arc::new(Self { own: AdminMetrics::new(&metrics), metrics, readiness, clusters, hooks })
    }

    /// The same routes for clusters that are looked after elsewhere: those of a fleet.
    pub fn of_fleet(
        metrics: Arc<Metrics>,
        readiness: Readiness,
        clusters: Vec<Arc<dyn Control>>,
    ) -> Arc<Self> {
        Arc::new(Self { own: AdminMetrics::new(&metrics), metrics, readiness, clusters, hooks: Vec::new() })
    }

    /// Watches upgrades until the answer is dropped.
    pub fn watch(&self) -> JoinSet<()> {
        self.hooks.iter().map(|hook| Arc::clone(hook).run()).collect()
    }
}
