//! What the process as a whole shows of its limits: the admin listener's, and those of all clients together.

use prometheus::{IntCounter, IntGauge};

use super::Metrics;
use super::catalogue::{Extra, Kind, Scope, Spec, m};
use super::closed::closed_set;
use super::series::Series;

closed_set! {
    /// Why a request or a connection of the admin listener was refused.
    AdminRefusal counted by AdminRefusals {
        /// It had no credential where one is needed, or a wrong one.
        Credential credential = "credential",
        /// It was for a host that isn't this one.
        Host host = "host",
        /// A page of another site asked for a change.
        Origin origin = "origin",
        /// Its head, its path or its body is too long.
        Length length = "length",
        /// Its body is of another type than JSON.
        Type type_ = "type",
        /// Its body did not come, or not in time.
        Time time = "time",
        /// So many connections are served already.
        Full full = "full",
        /// It was only waited for, and gave way to another one.
        GaveWay gave_way = "gave_way",
        /// It could not be encrypted.
        Handshake handshake = "handshake",
    }
}

/// The process's part of the table.
pub(super) const CATALOGUE: &[Spec] = &[
    m(
        "admin_connections",
        Kind::Gauge,
        Scope::Process,
        Extra::None,
        "Connections of the admin listeners that are served.",
    ),
    m(
        "admin_refused_total",
        Kind::Counter,
        Scope::Process,
        Extra::Closed(&[("reason", |_| AdminRefusal::LABELS.to_vec())]),
        "Requests and connections that the admin listeners refused. `credential`: none, or a wrong one; `host`: asked for by a name that \
         isn't ours; `origin`: a change that a page of another site asked for; `length`: head, path or body too long; `type`: a body that \
         isn't JSON; `time`: a body that didn't come in time; `full`: too many connections; `gave_way`: closed while it was \
         waited for, since another one came and there was no room; `handshake`: it could not be encrypted.",
    ),
    m(
        "all_client_connections",
        Kind::Gauge,
        Scope::Process,
        Extra::None,
        "Open connections of the clients of all clusters.",
    ),
    m(
        "all_client_connections_limit",
        Kind::Gauge,
        Scope::Process,
        Extra::None,
        "The bound on that, `limits.connections`.",
    ),
    m(
        "open_files",
        Kind::Gauge,
        Scope::Process,
        Extra::None,
        "Descriptors that are in use; 0 where the system doesn't tell.",
    ),
    m(
        "open_files_limit",
        Kind::Gauge,
        Scope::Process,
        Extra::None,
        "How many there may be (RLIMIT_NOFILE, raised at the start as far as allowed).",
    ),
    m(
        "accept_failures_total",
        Kind::Counter,
        Scope::Process,
        Extra::None,
        "Connections that could not be accepted, for want of descriptors or memory; they wait in the kernel, and are tried again.",
    ),
];

/// Bounds of the process. Each field is the metric of that name.
#[derive(Debug)]
pub struct LimitMetrics {
    /// `all_client_connections`.
    pub connections: IntGauge,
    /// `all_client_connections_limit`.
    pub connections_limit: IntGauge,
    /// `open_files`.
    pub open_files: IntGauge,
    /// `open_files_limit`.
    pub open_files_limit: IntGauge,
    accept_failures: IntCounter,
}

impl LimitMetrics {
    /// Makes the series, all at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let series = Series::new(metrics, &[]);
        Self {
            connections: series.gauge("all_client_connections"),
            connections_limit: series.gauge("all_client_connections_limit"),
            open_files: series.gauge("open_files"),
            open_files_limit: series.gauge("open_files_limit"),
            accept_failures: series.counter("accept_failures_total"),
        }
    }

    /// So many accepts have failed since the process began.
    pub fn accepts_failed(&self, all: u64) {
        self.accept_failures.inc_by(all.saturating_sub(self.accept_failures.get()));
    }
}

/// Each field is the metric of that name.
#[derive(Debug)]
pub struct AdminMetrics {
    /// `admin_connections`.
    pub connections: IntGauge,
    /// `admin_refused_total`.
    pub refused: AdminRefusals,
}

impl AdminMetrics {
    /// Makes the series, all at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let series = Series::new(metrics, &[]);
        Self {
            connections: series.gauge("admin_connections"),
            refused: AdminRefusals::new(series.counters("admin_refused_total")),
        }
    }
}
