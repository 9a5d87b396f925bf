//! The handles that a cluster and its members have whatever their protocol, resolved once when they become known.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::Metrics;
use super::clients::{ClientGuard, ClientInfo};
use super::closed::{
    Bytes, ClientHandshakes, ClientRefusals, ConnectOutcome, Connects, Direction, ErrorCounters,
    FramesRejected, HoldEnded, HoldReleased, TlsHandshake, TlsHandshakes,
};
use super::protocol::{OTHER, Protocol};
use super::series::Series;
use super::upgrade::{UpgradeMetrics, UpgradePhases};

/// The times of one API.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    /// `request_seconds`: from a whole request read to its whole answer written.
    pub requests: Histogram,
    /// `added_seconds`: evenkeel's own share of it.
    pub added: Histogram,
}

impl ApiMetrics {
    fn new(series: &Series<'_>, api: &'static str) -> Self {
        let of = series.with(api);
        Self { requests: of.histogram("request_seconds"), added: of.histogram("added_seconds") }
    }
}

/// The times of every API of a protocol, by a slot that the protocol gives it.
#[derive(Debug)]
pub(super) struct Times {
    /// APIs without series of their own share those of `other`.
    slots: Box<[ApiMetrics]>,
    other: ApiMetrics,
}

impl Times {
    /// For so many slots, of which those that are named have series of their own.
    pub(super) fn new(
        series: &Series<'_>,
        slots: usize,
        named: impl Iterator<Item = (Option<usize>, &'static str)>,
    ) -> Self {
        let other = ApiMetrics::new(series, OTHER);
        let mut slots = vec![other.clone(); slots].into_boxed_slice();
        for (slot, name) in named {
            if let Some(slot) = slot.and_then(|slot| slots.get_mut(slot)) {
                *slot = ApiMetrics::new(series, name);
            }
        }
        Self { slots, other }
    }

    pub(super) fn get(&self, slot: Option<usize>) -> &ApiMetrics {
        slot.and_then(|slot| self.slots.get(slot)).unwrap_or(&self.other)
    }
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
    /// `client_connections_limit`.
    pub client_connections_limit: IntGauge,
    /// `client_refused_total`.
    pub client_refused: ClientRefusals,
    /// `client_handshakes_total`.
    pub client_handshakes: ClientHandshakes,
    /// `client_errors_total`.
    pub client_errors: ErrorCounters,
    /// `masked_errors_total`.
    pub masked_errors: ErrorCounters,
    /// `bypass`.
    pub bypass: IntGauge,
    /// `client_frames_rejected_total`.
    pub frames_rejected: FramesRejected,
    /// What an upgrade shows.
    pub upgrade: UpgradeMetrics,
    client_info: ClientInfo,
}

impl ClusterMetrics {
    pub(super) fn new(m: &Metrics, series: &Series<'_>, name: &str, protocol: Protocol) -> Self {
        let errors = |metric| ErrorCounters::new(protocol, series.counters(metric));
        let scope = [name.to_owned(), protocol.as_str().to_owned()];
        Self {
            upstream_errors: errors("upstream_errors_total"),
            dns_changes: series.counter("dns_changes_total"),
            hold_bytes: series.gauge("hold_bytes"),
            hold_limit_bytes: series.gauge("hold_limit_bytes"),
            hold_requests: series.gauge("hold_requests"),
            hold_oldest_seconds: series.fraction("hold_oldest_seconds"),
            hold_ended: HoldEnded::new(series.counters("hold_ended_total")),
            hold_released: HoldReleased::new(series.counters("hold_released_total")),
            hold_seconds: series.histogram("hold_seconds"),
            hold_headroom_seconds: series.histogram("hold_headroom_seconds"),
            client_connections: series.gauge("client_connections"),
            client_connections_limit: series.gauge("client_connections_limit"),
            client_refused: ClientRefusals::new(series.counters("client_refused_total")),
            client_handshakes: ClientHandshakes::new(series.counters("client_handshakes_total")),
            client_errors: errors("client_errors_total"),
            masked_errors: errors("masked_errors_total"),
            bypass: series.gauge("bypass"),
            frames_rejected: FramesRejected::new(series.counters("client_frames_rejected_total")),
            upgrade: UpgradeMetrics::new(m, series, &scope),
            client_info: ClientInfo::new(m.gauges("client_info").clone(), scope),
        }
    }

    /// Counts a connection by its client's library, one of a closed set, until the guard is dropped.
    pub(super) fn client_of(&self, library: &'static str, version: &str) -> ClientGuard {
        self.client_info.connected(library, version)
    }

    /// Counts one client connection in `client_connections` until the guard is dropped.
    pub fn client_connection(&self) -> ClientGuard {
        ClientGuard::new(self.client_connections.clone())
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
    /// `upstream_handshakes_total`.
    pub handshakes: TlsHandshakes,
    /// `upstream_connect_seconds`.
    pub connect_seconds: Histogram,
    /// `upstream_bytes_total{direction="sent"}`.
    pub bytes_sent: IntCounter,
    /// `upstream_bytes_total{direction="received"}`.
    pub bytes_received: IntCounter,
    /// `retry_budget_exhausted_total`.
    pub retry_budget_exhausted: IntCounter,
    /// `upgrade_member_phase`.
    pub upgrade_phase: UpgradePhases,
}

impl MemberMetrics {
    pub(super) fn new(series: &Series<'_>) -> Self {
        let bytes = Bytes::new(series.counters("upstream_bytes_total"));
        Self {
            up: series.gauge("upstream_up"),
            connections: series.gauge("upstream_connections"),
            in_flight: series.gauge("upstream_in_flight"),
            connects: Connects::new(series.counters("upstream_connect_total")),
            handshakes: TlsHandshakes::new(series.counters("upstream_handshakes_total")),
            connect_seconds: series.histogram("upstream_connect_seconds"),
            bytes_sent: bytes.get(Direction::Sent).clone(),
            bytes_received: bytes.get(Direction::Received).clone(),
            retry_budget_exhausted: series.counter("retry_budget_exhausted_total"),
            upgrade_phase: UpgradePhases::new(series.gauges("upgrade_member_phase")),
        }
    }

    /// Counts how a connection became encrypted, if it did.
    pub fn handshake(&self, kind: Option<TlsHandshake>) {
        if let Some(kind) = kind {
            self.handshakes.inc(kind);
        }
    }

    /// Counts one attempt to connect.
    pub fn connect(&self, outcome: ConnectOutcome) {
        self.connects.inc(outcome);
    }
}
