//! The handles of one cluster and of its members, resolved once when they become known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::Metrics;
use super::catalogue::Scope;
use super::clients::{ApiVersionFamily, ApiVersionsInUse, ClientGuard, ClientInfo};
use super::closed::{
    Bytes, ConnectOutcome, Connects, Direction, Dropped, ErrorCounters, FramesRejected, Guarded, HoldEnded,
    HoldReleased, HoldStarted, Library, Replays, UnknownOutcomes,
};
use super::names::{API_KEYS, APIS, OTHER};

/// The times of one API.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    /// `request_seconds`: from a whole request read to its whole answer written.
    pub requests: Histogram,
    /// `added_seconds`: evenkeel's own share of it.
    pub added: Histogram,
}

/// The metrics of one configured cluster. Each field is the metric of that name.
#[derive(Debug)]
pub struct ClusterMetrics {
    /// `upstream_errors_total`.
    pub upstream_errors: ErrorCounters,
    /// `dns_changes_total`.
    pub dns_changes: IntCounter,
    /// `hold_bytes`.
    pub hold_bytes: IntGauge,
    /// `hold_limit_bytes`.
    pub hold_limit_bytes: IntGauge,
    /// `hold_requests`.
    pub hold_requests: IntGauge,
    /// `hold_oldest_seconds`; set it from [`Metrics::before_render`], since it grows by itself.
    pub hold_oldest_seconds: Gauge,
    /// `hold_started_total`.
    pub hold_started: HoldStarted,
    /// `hold_ended_total`.
    pub hold_ended: HoldEnded,
    /// `hold_released_total`.
    pub hold_released: HoldReleased,
    /// `hold_seconds`.
    pub hold_seconds: Histogram,
    /// `hold_headroom_seconds`.
    pub hold_headroom_seconds: Histogram,
    /// `client_connections`.
    pub client_connections: IntGauge,
    /// `client_errors_total`.
    pub client_errors: ErrorCounters,
    /// `masked_errors_total`.
    pub masked_errors: ErrorCounters,
    /// `replays_total`.
    pub replays: Replays,
    /// `unknown_outcomes_total`.
    pub unknown_outcomes: UnknownOutcomes,
    /// `client_versions_dropped`.
    pub client_versions_dropped: Dropped,
    /// `bypass`.
    pub bypass: IntGauge,
    /// `upgrade_pin_active`.
    pub upgrade_pin_active: IntGauge,
    /// `client_frames_rejected_total`.
    pub frames_rejected: FramesRejected,
    /// `kafka_injected_batches_total`.
    pub kafka_injected_batches: IntCounter,
    /// `kafka_raised_acks_total`.
    pub kafka_raised_acks: IntCounter,
    /// `kafka_offset_guard_total`.
    pub kafka_offset_guard: Guarded,
    /// `kafka_leader_changes_total`.
    pub kafka_leader_changes: IntCounter,
    /// `kafka_unavailable_seconds`.
    pub kafka_unavailable_seconds: Histogram,
    /// By API key; keys without a series of their own share that of `other`.
    apis: Box<[ApiMetrics]>,
    api_other: ApiMetrics,
    client_info: ClientInfo,
    api_versions: Arc<ApiVersionFamily>,
    name: String,
    protocol: String,
    members: Mutex<BTreeMap<String, Arc<MemberMetrics>>>,
    metrics: Weak<Metrics>,
}

impl ClusterMetrics {
    pub(super) fn new(metrics: &Arc<Metrics>, name: &str, protocol: &str) -> Self {
        let m = &**metrics;
        let at = [name, protocol];
        let counter = |metric, value| m.counters(metric).with_label_values(&[name, protocol, value]);
        let histogram = |metric, value| m.histograms(metric).with_label_values(&[name, protocol, value]);
        let api = |value| ApiMetrics {
            requests: histogram("request_seconds", value),
            added: histogram("added_seconds", value),
        };
        let api_other = api(OTHER);
        let mut apis = vec![api_other.clone(); API_KEYS].into_boxed_slice();
        for listed in APIS.iter().filter(|listed| listed.timed) {
            if let Some(slot) = usize::try_from(listed.key).ok().and_then(|key| apis.get_mut(key)) {
                *slot = api(listed.name);
            }
        }
        let scope = [name.to_owned(), protocol.to_owned()];
        Self {
            upstream_errors: ErrorCounters::new(|code| counter("upstream_errors_total", code)),
            dns_changes: m.counters("dns_changes_total").with_label_values(&at),
            hold_bytes: m.gauges("hold_bytes").with_label_values(&at),
            hold_limit_bytes: m.gauges("hold_limit_bytes").with_label_values(&at),
            hold_requests: m.gauges("hold_requests").with_label_values(&at),
            hold_oldest_seconds: m.fractions("hold_oldest_seconds").with_label_values(&at),
            hold_started: HoldStarted::new(|v| counter("hold_started_total", v)),
            hold_ended: HoldEnded::new(|v| counter("hold_ended_total", v)),
            hold_released: HoldReleased::new(|v| counter("hold_released_total", v)),
            hold_seconds: m.histograms("hold_seconds").with_label_values(&at),
            hold_headroom_seconds: m.histograms("hold_headroom_seconds").with_label_values(&at),
            client_connections: m.gauges("client_connections").with_label_values(&at),
            client_errors: ErrorCounters::new(|code| counter("client_errors_total", code)),
            masked_errors: ErrorCounters::new(|code| counter("masked_errors_total", code)),
            replays: Replays::new(|v| counter("replays_total", v)),
            unknown_outcomes: UnknownOutcomes::new(|v| counter("unknown_outcomes_total", v)),
            client_versions_dropped: Dropped::new(|by| {
                m.gauges("client_versions_dropped").with_label_values(&[name, protocol, by])
            }),
            bypass: m.gauges("bypass").with_label_values(&at),
            upgrade_pin_active: m.gauges("upgrade_pin_active").with_label_values(&at),
            frames_rejected: FramesRejected::new(|v| counter("client_frames_rejected_total", v)),
            kafka_injected_batches: m.counters("kafka_injected_batches_total").with_label_values(&at),
            kafka_raised_acks: m.counters("kafka_raised_acks_total").with_label_values(&at),
            kafka_offset_guard: Guarded::new(|v| counter("kafka_offset_guard_total", v)),
            kafka_leader_changes: m.counters("kafka_leader_changes_total").with_label_values(&at),
            kafka_unavailable_seconds: m.histograms("kafka_unavailable_seconds").with_label_values(&at),
            apis,
            api_other,
            client_info: ClientInfo::new(m.gauges("client_info").clone(), scope.clone()),
            api_versions: Arc::new(ApiVersionFamily {
                family: m.gauges("client_api_version").clone(),
                scope,
            }),
            name: name.to_owned(),
            protocol: protocol.to_owned(),
            members: Mutex::new(BTreeMap::new()),
            metrics: Arc::downgrade(metrics),
        }
    }

    /// The times of an API by the key of the request header; any value is safe.
    pub fn api(&self, api_key: i16) -> &ApiMetrics {
        usize::try_from(api_key).ok().and_then(|key| self.apis.get(key)).unwrap_or(&self.api_other)
    }

    /// Counts a connection by its client's library until the guard is dropped. `version` may be anything: what isn't
    /// plain text of at most 32 characters, or would be one too many, is counted as `other`.
    pub fn client(&self, library: Library, version: &str) -> ClientGuard {
        self.client_info.connected(library, version)
    }

    /// Counts one client connection in `client_connections` until the guard is dropped.
    pub fn client_connection(&self) -> ClientGuard {
        ClientGuard::new(self.client_connections.clone())
    }

    /// Notes the API versions that one client connection uses, until it is dropped.
    pub fn api_versions(&self) -> ApiVersionsInUse {
        ApiVersionsInUse::new(Arc::clone(&self.api_versions))
    }

    /// The metrics of a member, by node id; made, with every series at zero, when it wasn't known. Takes a lock: get
    /// it when the member becomes known and keep it.
    pub fn member(&self, id: &str) -> Arc<MemberMetrics> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(id) {
            return Arc::clone(member);
        }
        // Without the registry (the process is going down) the handles still work; nobody reads them.
        let metrics = self.metrics.upgrade().unwrap_or_else(Metrics::new);
        let member = Arc::new(MemberMetrics::new(&metrics, &[&self.name, &self.protocol, id]));
        members.insert(id.to_owned(), Arc::clone(&member));
        member
    }

    /// Removes the series of a member that the cluster no longer has. Handles still held count unseen.
    pub fn forget_member(&self, id: &str) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if members.remove(id).is_some()
            && let Some(metrics) = self.metrics.upgrade()
        {
            metrics.remove(Scope::Member, &[&self.name, &self.protocol, id]);
        }
    }
}

/// The metrics of one member of a cluster. Each field is the metric of that name.
#[derive(Debug)]
pub struct MemberMetrics {
    /// `upstream_up`.
    pub up: IntGauge,
    /// `upstream_connections`.
    pub connections: IntGauge,
    /// `upstream_in_flight`.
    pub in_flight: IntGauge,
    /// `upstream_connect_total`.
    pub connects: Connects,
    /// `upstream_connect_seconds`.
    pub connect_seconds: Histogram,
    /// `upstream_bytes_total{direction="sent"}`.
    pub bytes_sent: IntCounter,
    /// `upstream_bytes_total{direction="received"}`.
    pub bytes_received: IntCounter,
    /// `retry_budget_exhausted_total`.
    pub retry_budget_exhausted: IntCounter,
    /// `kafka_leaders`.
    pub kafka_leaders: IntGauge,
}

impl MemberMetrics {
    fn new(m: &Metrics, at: &[&str; 3]) -> Self {
        let [name, protocol, id] = *at;
        let counter = |metric, value| m.counters(metric).with_label_values(&[name, protocol, id, value]);
        let bytes = Bytes::new(|v| counter("upstream_bytes_total", v));
        Self {
            up: m.gauges("upstream_up").with_label_values(at),
            connections: m.gauges("upstream_connections").with_label_values(at),
            in_flight: m.gauges("upstream_in_flight").with_label_values(at),
            connects: Connects::new(|v| counter("upstream_connect_total", v)),
            connect_seconds: m.histograms("upstream_connect_seconds").with_label_values(at),
            bytes_sent: bytes.get(Direction::Sent).clone(),
            bytes_received: bytes.get(Direction::Received).clone(),
            retry_budget_exhausted: m.counters("retry_budget_exhausted_total").with_label_values(at),
            kafka_leaders: m.gauges("kafka_leaders").with_label_values(at),
        }
    }

    /// Counts one attempt to connect.
    pub fn connect(&self, outcome: ConnectOutcome) {
        self.connects.inc(outcome);
    }
}
