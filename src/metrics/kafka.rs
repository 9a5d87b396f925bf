//! The handles that a Kafka cluster and its brokers have beside those of every cluster.

mod catalogue;
mod closed;
pub(super) mod names;
mod versions;

use std::ops::Deref;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::Metrics;
use super::clients::ClientGuard;
use super::closed::Connects;
use super::cluster::{ApiMetrics, ClusterMetrics, MemberMetrics, Times};
use super::protocol::Protocol;
use super::series::{Members, Series};
use versions::ApiVersionFamily;

pub(super) use catalogue::CATALOGUE;
pub use closed::{
    ClientSasl, ClientSasls, Dropped, DroppedBy, GuardOutcome, Guarded, HoldStarted, HoldTrigger, Library,
    ReplayVerdict, Replays, SaslRenewal, SaslRenewals, UnknownAction, UnknownOutcomes,
};
pub use names::api_name;
pub use versions::ApiVersionsInUse;

/// The metrics of one Kafka cluster: those of every cluster, and Kafka's. Each field is the metric of that name.
#[derive(Debug)]
pub struct KafkaMetrics {
    common: ClusterMetrics,
    /// `hold_started_total`.
    pub hold_started: HoldStarted,
    /// `replays_total`.
    pub replays: Replays,
    /// `unknown_outcomes_total`.
    pub unknown_outcomes: UnknownOutcomes,
    /// `client_versions_dropped`.
    pub client_versions_dropped: Dropped,
    /// `upgrade_pin_active`.
    pub upgrade_pin_active: IntGauge,
    /// `kafka_injected_batches_total`.
    pub kafka_injected_batches: IntCounter,
    /// `kafka_raised_acks_total`.
    pub kafka_raised_acks: IntCounter,
    /// `kafka_offset_guard_total`.
    pub kafka_offset_guard: Guarded,
    /// `kafka_bootstrap_connect_total`.
    pub kafka_bootstrap_connects: Connects,
    /// `kafka_sasl_renewals_total`.
    pub kafka_sasl_renewals: Arc<SaslRenewals>,
    /// `kafka_client_sasl_total`.
    pub kafka_client_sasl: ClientSasls,
    /// `kafka_leader_changes_total`.
    pub kafka_leader_changes: IntCounter,
    /// `kafka_unavailable_seconds`.
    pub kafka_unavailable_seconds: Histogram,
    times: Times,
    api_versions: Arc<ApiVersionFamily>,
    members: Members<BrokerMetrics>,
}

impl Deref for KafkaMetrics {
    type Target = ClusterMetrics;

    fn deref(&self) -> &ClusterMetrics {
        &self.common
    }
}

impl KafkaMetrics {
    pub(super) fn new(metrics: &Arc<Metrics>, name: &str) -> Self {
        let protocol = Protocol::Kafka;
        let series = &Series::new(metrics, &[name, protocol.as_str()]);
        let timed = names::APIS.iter().filter(|api| api.timed);
        let api_versions = ApiVersionFamily {
            family: metrics.gauges("client_api_version").clone(),
            scope: [name.to_owned(), protocol.as_str().to_owned()],
        };
        Self {
            common: ClusterMetrics::new(metrics, series, name, protocol),
            hold_started: HoldStarted::new(series.counters("hold_started_total")),
            replays: Replays::new(series.counters("replays_total")),
            unknown_outcomes: UnknownOutcomes::new(series.counters("unknown_outcomes_total")),
            client_versions_dropped: Dropped::new(series.gauges("client_versions_dropped")),
            upgrade_pin_active: series.gauge("upgrade_pin_active"),
            kafka_injected_batches: series.counter("kafka_injected_batches_total"),
            kafka_raised_acks: series.counter("kafka_raised_acks_total"),
            kafka_offset_guard: Guarded::new(series.counters("kafka_offset_guard_total")),
            kafka_bootstrap_connects: Connects::new(series.counters("kafka_bootstrap_connect_total")),
            kafka_sasl_renewals: Arc::new(SaslRenewals::new(series.counters("kafka_sasl_renewals_total"))),
            kafka_client_sasl: ClientSasls::new(series.counters("kafka_client_sasl_total")),
            kafka_leader_changes: series.counter("kafka_leader_changes_total"),
            kafka_unavailable_seconds: series.histogram("kafka_unavailable_seconds"),
            times: Times::new(
                series,
                names::API_KEYS,
                timed.map(|api| (usize::try_from(api.key).ok(), api.name)),
            ),
            api_versions: Arc::new(api_versions),
            members: Members::new(metrics, name, protocol, BrokerMetrics::new),
        }
    }

    /// The times of an API by the key of the request header; any value is safe.
    pub fn api(&self, api_key: i16) -> &ApiMetrics {
        self.times.get(usize::try_from(api_key).ok())
    }

    /// Counts a connection by its client's library until the guard is dropped. `version` may be anything: what isn't
    /// plain text of at most 32 characters, or would be one too many, is counted as `other`.
    pub fn client(&self, library: Library, version: &str) -> ClientGuard {
        self.client_of(library.as_str(), version)
    }

    /// Notes the API versions that one client connection uses, until it is dropped.
    pub fn api_versions(&self) -> ApiVersionsInUse {
        ApiVersionsInUse::new(Arc::clone(&self.api_versions))
    }

    /// The metrics of a broker, by node id; made, with every series at zero, when it wasn't known. Takes a lock: get
    /// it when the broker becomes known and keep it.
    pub fn member(&self, id: &str) -> Arc<BrokerMetrics> {
        self.members.get(id)
    }

    /// Removes the series of a broker that the cluster no longer has. Handles still held count unseen.
    pub fn forget_member(&self, id: &str) {
        self.members.forget(id);
    }
}

/// The metrics of one broker: those of every member, and Kafka's. Each field is the metric of that name.
#[derive(Debug)]
pub struct BrokerMetrics {
    common: MemberMetrics,
    /// `kafka_leaders`.
    pub kafka_leaders: IntGauge,
}

impl Deref for BrokerMetrics {
    type Target = MemberMetrics;

    fn deref(&self) -> &MemberMetrics {
        &self.common
    }
}

impl BrokerMetrics {
    fn new(series: &Series<'_>) -> Self {
        Self { common: MemberMetrics::new(series), kafka_leaders: series.gauge("kafka_leaders") }
    }
}
