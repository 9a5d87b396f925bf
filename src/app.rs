//! The whole application: binds everything, runs it, stops it. Wiring only.
//!
//! The one file that sees every floor. What can be decided without the others belongs to them.

pub mod check;
mod doors;
pub mod files;
mod kafka;
mod limits;
mod zookeeper;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, Admin, ClusterStatus, Door};
use crate::config::{self, Config, Problems};
use crate::dns::{DnsError, DnsOptions, Resolver};
use crate::hold::Ledger;
use crate::kafka::cluster::Cluster;
use crate::kafka::service::{self, Service};
use crate::lifecycle::{DrainOutcome, DrainTrigger, Readiness, ServiceManager, Signal, Signals, drain};
use crate::metrics::{LimitMetrics, Metrics};
use crate::net::{Crowd, ListenError};
use crate::telemetry::Telemetry;
use crate::zookeeper::ensemble::Ensemble;
use crate::zookeeper::service as ensembles;

/// The time that answers of the admin listener get at the very end.
const ADMIN_GRACE: Duration = Duration::from_secs(2);

/// Why evenkeel can't start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener can't be bound.
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        /// The key in the configuration.
        key: String,
        /// The address there.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A cluster's listener can't be bound.
    #[error("{key}: {error}")]
    Cluster {
        /// The table in the configuration.
        key: String,
        /// What is wrong.
        error: ListenError,
    },
    /// Nobody can be let in at the admin listener: a file for it can't be used.
    #[error("{0}")]
    Admin(String),
    /// Names can't be resolved.
    #[error("dns: {0}")]
    Dns(#[from] DnsError),
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// After a drain, whether or not everyone had finished within its bound.
    Drained,
    /// By a second signal, at once.
    Forced(Signal),
}

impl Exit {
    /// The exit code of the process: 0, or 128 and the signal's number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::Forced(signal) => signal.exit_code(),
        }
    }
}

/// Reads the configuration again, and looks at the files that it names ([`files::check`]).
pub type Load = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// What SIGHUP does.
#[derive(Clone, Default)]
pub struct Reload {
    /// How to read the configuration again; without it the signal only logs a line.
    pub load: Option<Load>,
    /// Where a new log level goes.
    pub telemetry: Option<Telemetry>,
}

/// Everything bound and not yet served.
pub struct App {
    /// What is in effect; parts that can change live hold a receiver.
    config: watch::Sender<Arc<Config>>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    admin: Vec<(TcpListener, Arc<Door>)>,
    kafka: Vec<Service>,
    zookeeper: Vec<ensembles::Service>,
    shared: Shared,
}

/// What all clusters share.
#[derive(Clone)]
struct Shared {
    ledger: Arc<Ledger>,
    clients: Arc<Crowd>,
    resolver: Resolver,
}

/// What is served, for those who follow its configuration.
struct Served {
    clusters: Vec<Arc<Cluster>>,
    ensembles: Vec<Arc<Ensemble>>,
}

impl App {
    /// Binds every listener. Nothing is answered before [`App::run`]; connections wait in the kernel until then.
    ///
    /// Errors: the first address that can't be bound, with its key; or an ensemble, which is not served yet.
    pub async fn bind(config: Config) -> Result<Self, AppError> {
        let metrics = Metrics::new();
        let readiness = Readiness::new();
        let admin = doors::listeners(&config.admin).await?;
        let ledger = Ledger::new(config.hold.bytes);
        let handles: Vec<_> = config.kafka.iter().map(|kafka| metrics.kafka(&kafka.name)).collect();
        let ensembles: Vec<_> = config.zookeeper.iter().map(|zk| metrics.zookeeper(&zk.name)).collect();
        let changes = handles.iter().map(|handle| handle.dns_changes.clone());
        let counters: Vec<_> = changes.chain(ensembles.iter().map(|e| e.dns_changes.clone())).collect();
        // One resolver serves all clusters: a change of a name counts for each of them.
        let on_change: crate::dns::OnChange =
            Arc::new(move |_, _, _| counters.iter().for_each(prometheus::IntCounter::inc));
        let resolver = Resolver::new(dns(&config), Some(on_change))?;
        let shared = Shared { ledger, clients: Crowd::new(), resolver };
        let mut kafka = Vec::new();
        for (index, handle) in handles.into_iter().enumerate() {
            let Some(settings) = service::settings(&config, index) else { continue };
            let block = readiness.block(format!("kafka {}: no broker reached yet", settings.kafka.name));
            let Shared { ledger, clients, resolver } = shared.clone();
            let bound = Service::bind(
                settings,
                config.state_dir.as_deref(),
                resolver,
                handle,
                ledger,
                clients,
                block,
            );
            kafka.push(bound.map_err(|error| AppError::Cluster { key: format!("kafka[{index}]"), error })?);
        }
        let mut zookeeper = Vec::new();
        for (index, handle) in ensembles.into_iter().enumerate() {
            let Some(settings) = ensembles::settings(&config, index) else { continue };
            let name = &settings.zookeeper.name;
            let block = readiness.block(format!("zookeeper {name}: no server reached yet"));
            let Shared { ledger, clients, resolver } = shared.clone();
            let bound = ensembles::Service::bind(settings, resolver, handle, ledger, clients, block);
            let key = format!("zookeeper[{index}]");
            zookeeper.push(bound.map_err(|error| AppError::Cluster { key, error })?);
        }
        let (config, _) = watch::channel(Arc::new(config));
        metrics.before_render({
            let limits = LimitMetrics::new(&metrics);
            let (clients, config) = (Arc::clone(&shared.clients), config.subscribe());
            let (metrics, readiness) = (Arc::downgrade(&metrics), readiness.clone());
            let clusters: Vec<_> = kafka.iter().map(Service::cluster).collect();
            let ensembles: Vec<_> = zookeeper.iter().map(ensembles::Service::ensemble).collect();
            move || {
                for cluster in &clusters {
                    cluster.before_render();
                }
                for ensemble in &ensembles {
                    ensemble.before_render();
                }
                limits::show(&limits, &config.borrow().limits, &clients);
                if let Some(metrics) = metrics.upgrade() {
                    metrics.ready.set(i64::from(readiness.is_ready()));
                }
            }
        });
        Ok(Self { config, metrics, readiness, admin, kafka, zookeeper, shared })
    }

    /// Where the admin listener is, one address for each of `admin.listen` and then of `admin.metrics_listen`: with the real ports where
    /// those were 0.
    pub fn admin_addrs(&self) -> Vec<SocketAddr> {
        self.admin.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// Where the bootstrap listeners of each Kafka cluster are, in the order of the configuration.
    pub fn kafka_addrs(&self) -> Vec<Vec<SocketAddr>> {
        self.kafka.iter().map(Service::bootstrap_addrs).collect()
    }

    /// Where the listeners of each `ZooKeeper` ensemble are, in the order of the configuration.
    pub fn zookeeper_addrs(&self) -> Vec<Vec<SocketAddr>> {
        self.zookeeper.iter().map(ensembles::Service::addrs).collect()
    }

    /// Whether evenkeel serves.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until a signal says to stop.
    ///
    /// The first one drains: not ready, no new clients, answers in flight go out within `shutdown.grace`. Metrics and
    /// probes are answered until that is over. A second one ends at once.
    pub async fn run(self, mut signals: Signals, reload: Reload) -> Exit {
        let service = ServiceManager;
        let (clients, holder) = drain::new();
        let (admin_end, admin_holder) = drain::new();
        for address in self.admin_addrs() {
            tracing::info!(%address, "admin listens");
        }
        let served = Served {
            clusters: self.kafka.iter().map(Service::cluster).collect(),
            ensembles: self.zookeeper.iter().map(ensembles::Service::ensemble).collect(),
        };
        let admin = Admin::new(Arc::clone(&self.metrics), self.readiness.clone(), served.shown());
        let _hooks = admin.watch();
        for (listener, door) in self.admin {
            let limits = admin::Limits::default();
            tokio::spawn(admin::serve(listener, Arc::clone(&admin), door, limits, admin_holder.clone()));
        }
        drop(admin_holder);
        // Ended when this function is: what is held while clients are let finish may still find its broker.
        let _watches: Vec<_> = self.kafka.into_iter().map(|service| service.start(&holder)).collect();
        let _looks: Vec<_> = self.zookeeper.into_iter().map(|service| service.start(&holder)).collect();
        drop(holder);
        tokio::spawn(follow_config(self.config.subscribe(), served, self.shared));
        tokio::spawn(tell_readiness(self.readiness.clone(), service));
        if let Some(every) = service.watchdog() {
            tokio::spawn(keep_alive(service, every));
        }
        service.ready(&readiness_text(&self.readiness));

        let first = loop {
            match signals.next().await {
                Signal::Reload => reload_config(&self.config, &reload, &self.readiness, service).await,
                stop => break stop,
            }
        };
        let grace = self.config.borrow().shutdown.grace;
        tracing::info!(
            signal = first.name(),
            ?grace,
            "stopping: answers in flight go out, a second signal ends at once"
        );
        let _stopping = self.readiness.block("stopping");
        service.stopping("stopping");
        stop(&mut signals, &clients, &admin_end, grace).await
    }
}

impl Served {
    fn shown(&self) -> Vec<Arc<dyn ClusterStatus>> {
        let clusters = self.clusters.iter().map(kafka::shown);
        let ensembles = self.ensembles.iter().map(zookeeper::shown);
        clusters.chain(ensembles).collect()
    }
}

/// How names are resolved.
fn dns(config: &Config) -> DnsOptions {
    let config::Dns { servers, min_ttl, timeout } = config.dns.clone();
    DnsOptions { servers, min_ttl, timeout }
}

/// Whether what was gathered then still says something of members: long ago another one may have been down.
fn is_fresh(asked: std::time::Instant) -> bool {
    crate::time::now().saturating_duration_since(asked) <= crate::upgrade::FACTS_LAST
}

/// Lets the clients finish, then the readers of metrics and probes, unless another signal comes.
async fn stop(signals: &mut Signals, clients: &DrainTrigger, admin: &DrainTrigger, grace: Duration) -> Exit {
    let mut drained = pin!(async {
        match clients.drain(grace).await {
            DrainOutcome::Drained => tracing::info!("every client was let finish"),
            DrainOutcome::TimedOut { left } => {
                tracing::warn!(left, ?grace, "shutdown.grace is over, clients are cut off");
            }
        }
        // Whoever reads metrics loses nothing by being cut off.
        let _ = admin.drain(ADMIN_GRACE).await;
    });
    loop {
        tokio::select! {
            () = &mut drained => return Exit::Drained,
            signal = signals.next() => match signal {
                Signal::Reload => tracing::info!("SIGHUP is ignored while stopping"),
                second => {
                    tracing::warn!(signal = second.name(), "a second signal: ending at once");
                    return Exit::Forced(second);
                }
            }
        }
    }
}

/// Takes over from a new configuration what can change live, and names the rest. A broken one, or one that names a file that can't be
/// used, changes nothing.
async fn reload_config(
    live: &watch::Sender<Arc<Config>>,
    reload: &Reload,
    readiness: &Readiness,
    service: ServiceManager,
) {
    let Some(load) = reload.load.clone() else {
        tracing::warn!("SIGHUP: there is no configuration file to read again");
        return;
    };
    service.reloading();
    // A file may be on a slow disk.
    let old = Arc::clone(&live.borrow());
    let read = move || {
        let new = load()?;
        let warnings = config::warnings(&config::merge_live(&old, &new));
        Ok::<_, Problems>((new, warnings))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok((new, warnings))) => {
            apply(live, &new, reload.telemetry.as_ref());
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        Ok(Err(problems)) => {
            for problem in &problems {
                tracing::error!("{problem}");
            }
            tracing::error!(problems = problems.len(), "the configuration was refused; nothing has changed");
        }
        Err(error) => tracing::error!(%error, "the configuration could not be read; nothing has changed"),
    }
    service.ready(&readiness_text(readiness));
}

fn apply(live: &watch::Sender<Arc<Config>>, new: &Config, telemetry: Option<&Telemetry>) {
    let old = Arc::clone(&live.borrow());
    let changes = config::changes(&old, new);
    if changes.is_empty() {
        tracing::info!("configuration read again: nothing has changed");
        return;
    }
    let merged = config::merge_live(&old, new);
    if merged.log.level != old.log.level
        && let Some(telemetry) = telemetry
        && let Err(error) = telemetry.set_filter(&merged.log.level)
    {
        tracing::error!(%error, "log.level stays as it was");
    }
    live.send_replace(Arc::new(merged));
    for change in changes {
        if change.live {
            tracing::info!(key = change.path, "configuration changed: {}", change.note);
        } else {
            tracing::warn!(key = change.path, "configuration not changed yet: {}", change.note);
        }
    }
}

/// Logs each change of readiness, and tells the service manager.
async fn tell_readiness(mut readiness: Readiness, service: ServiceManager) {
    let mut last = None;
    loop {
        let ready = readiness.is_ready();
        let text = readiness_text(&readiness);
        service.status(&text);
        if last != Some(ready) {
            tracing::info!(ready, "{text}");
            last = Some(ready);
        }
        readiness.changed().await;
    }
}

fn readiness_text(readiness: &Readiness) -> String {
    let reasons = readiness.reasons();
    if reasons.is_empty() { "ready".to_owned() } else { format!("not ready: {}", reasons.join("; ")) }
}

/// The service manager's watchdog: this stops when the loop that moves bytes stands still.
async fn keep_alive(service: ServiceManager, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        service.alive();
    }
}

/// Gives each cluster its part of every new configuration.
async fn follow_config(mut config: watch::Receiver<Arc<Config>>, served: Served, shared: Shared) {
    while config.changed().await.is_ok() {
        let config = Arc::clone(&config.borrow_and_update());
        shared.ledger.set_limit(config.hold.bytes);
        shared.resolver.set_options(config.dns.min_ttl, config.dns.timeout);
        for (index, cluster) in served.clusters.iter().enumerate() {
            cluster.metrics.client_connections_limit.set(limits::gauge(config.limits.cluster_connections));
            cluster.metrics.hold_limit_bytes.set(i64::try_from(config.hold.bytes).unwrap_or(i64::MAX));
            if let Some(settings) = service::settings(&config, index) {
                cluster.set_settings(settings);
            }
        }
        for (index, ensemble) in served.ensembles.iter().enumerate() {
            ensemble.metrics.client_connections_limit.set(limits::gauge(config.limits.cluster_connections));
            ensemble.metrics.hold_limit_bytes.set(i64::try_from(config.hold.bytes).unwrap_or(i64::MAX));
            if let Some(settings) = ensembles::settings(&config, index) {
                ensemble.set_settings(settings);
            }
        }
    }
}
