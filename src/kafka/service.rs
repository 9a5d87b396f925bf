//! One configured cluster, from its listeners to what the admin listener shows of it.

use super::cluster::{Cluster, Settings, end_drains, watch};
use super::listener::{Listeners, ports};
use crate::config::Config;
use crate::dns::Resolver;
use crate::hold::Ledger;
use crate::lifecycle::{Block, Drain};
use crate::metrics::KafkaMetrics;
use crate::net::{Crowd, ListenError};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A cluster that is bound and not yet served.
pub struct Service {
    cluster: Arc<Cluster>,
    listeners: Listeners,
}

/// The settings of the `index`th `[[kafka]]` of a configuration.
pub fn settings(config: &Config, index: usize) -> Option<Settings> {
    let kafka = config.kafka.get(index)?.clone();
    Some(Settings {
        net: config.net.clone(),
        limits: config.limits,
        hold: config.hold.clone(),
        retry: config.retry.clone(),
        kafka,
    })
}

impl Service {
    /// Binds a cluster's listeners. `all`: the clients of all clusters.
    ///
    /// # Errors
    /// The first address that can't be bound.
    pub fn bind(
        settings: Settings,
        state_dir: Option<&std::path::Path>,
        resolver: Resolver,
        metrics: Arc<KafkaMetrics>,
        ledger: Arc<Ledger>,
        all: Arc<Crowd>,
        not_ready: Block,
    ) -> Result<Self, ListenError> {
        let listeners = Listeners::bind(&settings, all)?;
        metrics.client_connections_limit.set(gauge(settings.limits.cluster_connections));
        metrics.hold_limit_bytes.set(gauge(ledger.limit()));
        let ports = ports(&settings, state_dir);
        let cluster = Cluster::new(settings, ports, resolver, metrics, ledger, not_ready);
        Ok(Self { cluster, listeners })
    }

    /// The shared state, for the admin listener and reloads.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster)
    }

    /// Where its bootstrap listeners are.
    pub fn bootstrap_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.bootstrap_addrs()
    }

    /// Serves clients until the process drains, and watches the cluster until the answer is dropped.
    pub fn start(self, drain: &Drain) -> JoinSet<()> {
        self.listeners.serve(&self.cluster, drain);
        let mut tasks = JoinSet::new();
        tasks.spawn(end_drains(Arc::clone(&self.cluster)));
        tasks.spawn(watch(self.cluster));
        tasks
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
