//! The handles that a ZooKeeper ensemble and its servers have beside those of every cluster.

mod catalogue;
mod closed;
pub(super) mod names;

use std::ops::Deref;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::Metrics;
use super::clients::ClientGuard;
use super::cluster::{ApiMetrics, ClusterMetrics, MemberMetrics, Times};
use super::protocol::Protocol;
use super::series::{Members, Series};

pub(super) use catalogue::CATALOGUE;
pub use closed::{
    AttachOutcome, Attaches, CloseReason, Closes, FenceOutcome, Fences, HoldStarted, HoldTrigger, Library,
    MoveKind, MoveOutcome, Moved, PerKind, Poison, PoisonRefused, ReadbackVerdict, Readbacks, ReplayVerdict,
    Replays, SaslFate, Sasls, UnknownAction, UnknownOutcomes, WatchKind, Watches, WordFate, Words,
};
pub use names::operation_name;

/// The metrics of one `ZooKeeper` ensemble: those of every cluster, and `ZooKeeper`'s. Each field is the metric of that
/// name, which for most of them begins with `zookeeper_`.
#[derive(Debug)]
pub struct ZooKeeperMetrics {
    common: ClusterMetrics,
    /// `hold_started_total`.
    pub hold_started: HoldStarted,
    /// `replays_total`.
    pub replays: Replays,
    /// `unknown_outcomes_total`.
    pub unknown_outcomes: UnknownOutcomes,
    /// `zookeeper_session_moves_total`.
    pub session_moves: PerKind<Moved>,
    /// `zookeeper_session_move_seconds`.
    pub session_move_seconds: PerKind<Histogram>,
    /// `zookeeper_sessions_expired_total`.
    pub sessions_expired: IntCounter,
    /// `zookeeper_attaches_total`.
    pub attaches: Attaches,
    /// `zookeeper_attaching`.
    pub attaching: IntGauge,
    /// `zookeeper_attach_waiting`.
    pub attach_waiting: IntGauge,
    /// `zookeeper_attach_limit`.
    pub attach_limit: IntGauge,
    /// `zookeeper_lease_closes_total`.
    pub lease_closes: Closes,
    /// `zookeeper_lease_headroom_seconds`.
    pub lease_headroom_seconds: Histogram,
    /// `zookeeper_clients_refused_total`.
    pub clients_refused: IntCounter,
    /// `zookeeper_pings_answered_total`.
    pub pings_answered: IntCounter,
    /// `zookeeper_own_pings_total`.
    pub own_pings: IntCounter,
    /// `zookeeper_own_syncs_total`.
    pub own_syncs: IntCounter,
    /// `zookeeper_fences_total`.
    pub fences: Fences,
    /// `zookeeper_readbacks_total`.
    pub readbacks: Readbacks,
    /// `zookeeper_watches`.
    pub watches: Watches,
    /// `zookeeper_watches_rearmed_total`.
    pub watches_rearmed: IntCounter,
    /// `zookeeper_watch_events_dropped_total`.
    pub watch_events_dropped: IntCounter,
    /// `zookeeper_poison_refused_total`.
    pub poison_refused: PoisonRefused,
    /// `zookeeper_four_letter_words_total`.
    pub four_letter_words: Words,
    /// `zookeeper_client_sasl_total`.
    pub client_sasl: Sasls,
    times: Times,
    members: Members<ServerMetrics>,
}

impl Deref for ZooKeeperMetrics {
    type Target = ClusterMetrics;

    fn deref(&self) -> &ClusterMetrics {
        &self.common
    }
}

impl ZooKeeperMetrics {
    pub(super) fn new(metrics: &Arc<Metrics>, name: &str) -> Self {
        let protocol = Protocol::ZooKeeper;
        let series = &Series::new(metrics, &[name, protocol.as_str()]);
        let counter = |metric| series.counter(metric);
        let timed = names::OPERATIONS.iter().filter(|listed| listed.timed);
        let moved = |kind| Moved::new(series.with(kind).counters("zookeeper_session_moves_total"));
        Self {
            common: ClusterMetrics::new(metrics, series, name, protocol),
            hold_started: HoldStarted::new(series.counters("hold_started_total")),
            replays: Replays::new(series.counters("replays_total")),
            unknown_outcomes: UnknownOutcomes::new(series.counters("unknown_outcomes_total")),
            session_moves: PerKind::new(moved),
            session_move_seconds: PerKind::new(|kind| {
                series.with(kind).histogram("zookeeper_session_move_seconds")
            }),
            sessions_expired: counter("zookeeper_sessions_expired_total"),
            attaches: Attaches::new(series.counters("zookeeper_attaches_total")),
            attaching: series.gauge("zookeeper_attaching"),
            attach_waiting: series.gauge("zookeeper_attach_waiting"),
            attach_limit: series.gauge("zookeeper_attach_limit"),
            lease_closes: Closes::new(series.counters("zookeeper_lease_closes_total")),
            lease_headroom_seconds: series.histogram("zookeeper_lease_headroom_seconds"),
            clients_refused: counter("zookeeper_clients_refused_total"),
            pings_answered: counter("zookeeper_pings_answered_total"),
            own_pings: counter("zookeeper_own_pings_total"),
            own_syncs: counter("zookeeper_own_syncs_total"),
            fences: Fences::new(series.counters("zookeeper_fences_total")),
            readbacks: Readbacks::new(series.counters("zookeeper_readbacks_total")),
            watches: Watches::new(series.gauges("zookeeper_watches")),
            watches_rearmed: counter("zookeeper_watches_rearmed_total"),
            watch_events_dropped: counter("zookeeper_watch_events_dropped_total"),
            poison_refused: PoisonRefused::new(series.counters("zookeeper_poison_refused_total")),
            four_letter_words: Words::new(series.counters("zookeeper_four_letter_words_total")),
            client_sasl: Sasls::new(series.counters("zookeeper_client_sasl_total")),
            times: Times::new(
                series,
                names::SLOTS,
                timed.map(|listed| (names::slot(listed.opcode), listed.name)),
            ),
            members: Members::new(metrics, name, protocol, ServerMetrics::new),
        }
    }

    /// The times of an operation by its number; any value is safe. A connect request is -10.
    pub fn operation(&self, opcode: i32) -> &ApiMetrics {
        self.times.get(names::slot(opcode))
    }

    /// Counts a connection by its client's library until the guard is dropped.
    pub fn client(&self, library: Library) -> ClientGuard {
        // The protocol doesn't tell a version.
        self.client_of(library.as_str(), "")
    }

    /// The metrics of a server, by its address as it is shown; made, with every series at zero, when it wasn't known.
    /// Takes a lock: get it when the server becomes known and keep it.
    pub fn member(&self, id: &str) -> Arc<ServerMetrics> {
        self.members.get(id)
    }

    /// Removes the series of a server that the ensemble no longer has. Handles still held count unseen.
    pub fn forget_member(&self, id: &str) {
        self.members.forget(id);
    }
}

/// The metrics of one server: those of every member, and `ZooKeeper`'s. Each field is the metric of that name.
#[derive(Debug)]
pub struct ServerMetrics {
    common: MemberMetrics,
    /// `zookeeper_sessions`.
    pub sessions: IntGauge,
}

impl Deref for ServerMetrics {
    type Target = MemberMetrics;

    fn deref(&self) -> &MemberMetrics {
        &self.common
    }
}

impl ServerMetrics {
    fn new(series: &Series<'_>) -> Self {
        Self { common: MemberMetrics::new(series), sessions: series.gauge("zookeeper_sessions") }
    }
}
