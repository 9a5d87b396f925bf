//! Metrics: one table of all of them, and handles that are resolved beforehand.
//!
//! What both protocols have is here, what only one has in `kafka` and `zookeeper`: a cluster shows no series of the other.
//! Imports nothing of the crate: every floor may count. A count on the path of a request is one atomic addition on
//! a handle that was resolved when its cluster, member or connection became known; it must never look up, lock or
//! allocate. No label has values that a client can multiply.

mod catalogue;
mod clients;
mod closed;
mod cluster;
mod document;
mod fleet;
mod kafka;
mod process;
mod protocol;
mod series;
#[cfg(test)]
mod tests;
mod upgrade;
pub mod zookeeper;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use catalogue::{Kind, PREFIX, Scope, Spec};
pub use clients::ClientGuard;
pub use closed::{
    Bytes, ClientHandshake, ClientHandshakes, ClientRefusal, ClientRefusals, ConnectOutcome, Connects,
    Direction, ErrorCounters, FrameRejection, FramesRejected, HoldEnd, HoldEnded, HoldReleased,
    ReleaseOutcome, TlsHandshake, TlsHandshakes,
};
pub use cluster::{ApiMetrics, ClusterMetrics, MemberMetrics};
pub use document::markdown;
pub use fleet::{FleetMetrics, FleetOutcome, FleetOutcomes, FleetState, FleetStates};
pub use kafka::{
    ApiVersionsInUse, BrokerMetrics, ClientSasl, ClientSasls, Dropped, DroppedBy, GuardOutcome, Guarded,
    HoldStarted, HoldTrigger, KafkaMetrics, Library, ReplayVerdict, Replays, SaslRenewal, SaslRenewals,
    UnknownAction, UnknownOutcomes, api_name,
};
pub use process::{AdminMetrics, AdminRefusal, AdminRefusals, LimitMetrics};
pub use protocol::{DISCONNECTED, OTHER, Protocol, TIMEOUT};
pub use upgrade::{UpgradeGate, UpgradeGates, UpgradeMetrics, UpgradePhase, UpgradePhases};
pub use zookeeper::{ServerMetrics, ZooKeeperMetrics};

/// The content type of [`Metrics::render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of the process.
pub struct Metrics {
    /// `ready`.
    pub ready: IntGauge,
    registry: Registry,
    families: BTreeMap<&'static str, Family>,
    kafka: Mutex<BTreeMap<String, Arc<KafkaMetrics>>>,
    zookeeper: Mutex<BTreeMap<String, Arc<ZooKeeperMetrics>>>,
    before_render: Mutex<Vec<BeforeRender>>,
}

type BeforeRender = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

enum Family {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Fraction(GaugeVec),
    Histogram(HistogramVec),
}

impl Family {
    fn register(spec: &Spec, registry: &Registry) -> prometheus::Result<Self> {
        let name = format!("{PREFIX}{}", spec.name);
        // The exposition has no mark-up.
        let help = spec.help.replace('`', "");
        let labels = spec.labels();
        Ok(match spec.kind {
            Kind::Counter => {
                let family = IntCounterVec::new(Opts::new(name, help), &labels)?;
                registry.register(Box::new(family.clone()))?;
                Self::Counter(family)
            }
            Kind::Gauge => {
                let family = IntGaugeVec::new(Opts::new(name, help), &labels)?;
                registry.register(Box::new(family.clone()))?;
                Self::Gauge(family)
            }
            Kind::Fraction => {
                let family = GaugeVec::new(Opts::new(name, help), &labels)?;
                registry.register(Box::new(family.clone()))?;
                Self::Fraction(family)
            }
            Kind::Histogram(bounds) => {
                let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
                let family = HistogramVec::new(opts, &labels)?;
                registry.register(Box::new(family.clone()))?;
                Self::Histogram(family)
            }
        })
    }

    /// Removes one series; that there was none is no matter.
    fn remove(&self, values: &[&str]) {
        let _ = match self {
            Self::Counter(family) => family.remove_label_values(values),
            Self::Gauge(family) => family.remove_label_values(values),
            Self::Fraction(family) => family.remove_label_values(values),
            Self::Histogram(family) => family.remove_label_values(values),
        };
    }
}

impl Metrics {
    /// Registers every metric of the catalogue.
    ///
    /// # Panics
    /// When the catalogue has a name or label that Prometheus doesn't allow, or a name twice: never in a tested build.
    #[expect(
        clippy::expect_used,
        reason = "the catalogue is constant; a wrong entry fails every test of metrics"
    )]
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let families: BTreeMap<_, _> = catalogue::all()
            .map(|spec| {
                (
                    spec.name,
                    Family::register(spec, &registry).expect("a name or label of the catalogue is invalid"),
                )
            })
            .collect();
        let mut metrics = Self {
            ready: IntGauge::new("unused", "replaced below").expect("a valid name"),
            registry,
            families,
            kafka: Mutex::default(),
            zookeeper: Mutex::default(),
            before_render: Mutex::new(Vec::new()),
        };
        metrics.ready = metrics.gauges("ready").with_label_values::<&str>(&[]);
        metrics.gauges("build_info").with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Arc::new(metrics)
    }

    /// The metrics of a Kafka cluster, by its name in the configuration; made, with every series at zero, when it wasn't
    /// known. Takes a lock: get it once and keep it.
    pub fn kafka(self: &Arc<Self>, name: &str) -> Arc<KafkaMetrics> {
        let mut known = self.kafka.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = known.entry(name.to_owned()).or_insert_with(|| Arc::new(KafkaMetrics::new(self, name)));
        Arc::clone(cluster)
    }

    /// The same for a `ZooKeeper` ensemble.
    pub fn zookeeper(self: &Arc<Self>, name: &str) -> Arc<ZooKeeperMetrics> {
        let mut known = self.zookeeper.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster =
            known.entry(name.to_owned()).or_insert_with(|| Arc::new(ZooKeeperMetrics::new(self, name)));
        Arc::clone(cluster)
    }

    /// Calls `update` before each rendering: for gauges whose value changes by itself, such as an age.
    pub fn before_render(&self, update: impl Fn() + Send + Sync + 'static) {
        self.before_render.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(update));
    }

    /// The text exposition of everything, as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        for update in self.before_render.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            update();
        }
        let mut out = String::new();
        // It fails only for a family without series, and gather() leaves those out.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut out) {
            out.push_str("# incomplete: ");
            out.push_str(&error.to_string().replace('\n', " "));
            out.push('\n');
        }
        out
    }

    /// Removes all series of one member or cluster.
    fn remove(&self, scope: Scope, protocol: Protocol, at: &[&str]) {
        for spec in catalogue::of(protocol).filter(|spec| spec.scope == scope) {
            let Some(family) = self.families.get(spec.name) else { continue };
            for values in spec.combinations(protocol) {
                family.remove(&[at, &values].concat());
            }
        }
    }

    fn counters(&self, name: &str) -> &IntCounterVec {
        match self.families.get(name) {
            Some(Family::Counter(family)) => family,
            _ => not_in_the_catalogue(name),
        }
    }

    fn gauges(&self, name: &str) -> &IntGaugeVec {
        match self.families.get(name) {
            Some(Family::Gauge(family)) => family,
            _ => not_in_the_catalogue(name),
        }
    }

    fn fractions(&self, name: &str) -> &GaugeVec {
        match self.families.get(name) {
            Some(Family::Fraction(family)) => family,
            _ => not_in_the_catalogue(name),
        }
    }

    fn histograms(&self, name: &str) -> &HistogramVec {
        match self.families.get(name) {
            Some(Family::Histogram(family)) => family,
            _ => not_in_the_catalogue(name),
        }
    }
}

#[expect(
    clippy::panic,
    reason = "names are literals of this folder; the first use of a cluster in any test finds it"
)]
fn not_in_the_catalogue(name: &str) -> ! {
    panic!("no metric {name} of that type in the catalogue")
}
