//! One configured ensemble, from its listeners to what the admin listener shows of it.

use super::ensemble::{Ensemble, Settings, follow_config, watch};
use super::listener::Listeners;
use crate::config::Config;
use crate::dns::Resolver;
use crate::hold::Ledger;
use crate::lifecycle::{Block, Drain};
use crate::metrics::ZooKeeperMetrics;
use crate::net::{Crowd, ListenError};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// An ensemble that is bound and not yet served.
pub struct Service {
    ensemble: Arc<Ensemble>,
    listeners: Listeners,
}

/// The settings of the `index`th `[[zookeeper]]` of a configuration.
pub fn settings(config: &Config, index: usize) -> Option<Settings> {
    let zookeeper = config.zookeeper.get(index)?.clone();
    Some(Settings {
        net: config.net.clone(),
        limits: config.limits,
        hold: config.hold.clone(),
        retry: config.retry.clone(),
        zookeeper,
    })
}

impl Service {
    /// Binds an ensemble's listeners. `all`: the clients of all clusters.
    ///
    /// # Errors
    /// The first address that can't be bound.
    pub fn bind(
        settings: Settings,
        resolver: Resolver,
        metrics: Arc<ZooKeeperMetrics>,
        ledger: Arc<Ledger>,
        all: Arc<Crowd>,
        not_ready: Block,
    ) -> Result<Self, ListenError> {
        let listeners = Listeners::bind(&settings, all)?;
        metrics.client_connections_limit.set(gauge(settings.limits.cluster_connections));
        metrics.hold_limit_bytes.set(gauge(ledger.limit()));
        let ensemble = Ensemble::new(settings, resolver, metrics, ledger, not_ready);
        Ok(Self { ensemble, listeners })
    }

    /// The shared state, for the admin listener and reloads.
    pub fn ensemble(&self) -> Arc<Ensemble> {
        Arc::clone(&self.ensemble)
    }

    /// Where its listeners are.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.addrs()
    }

    /// Serves clients until the process drains, and watches the servers until the answer is dropped.
    pub fn start(self, drain: &Drain) -> JoinSet<()> {
        self.listeners.serve(&self.ensemble, drain);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_config(Arc::clone(&self.ensemble)));
        tasks.spawn(watch(self.ensemble));
        tasks
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
