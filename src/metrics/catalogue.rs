//! The table of all metrics: the source of what is registered and of `docs/metrics.md`.
//!
//! A metric is added here, or in its protocol's part of the table, and nowhere else; the handles look it up by name.

use super::closed::{
    ClientHandshake, ClientRefusal, ConnectOutcome, Direction, FrameRejection, HoldEnd, ReleaseOutcome,
    TlsHandshake,
};
use super::protocol::Protocol;
use super::upgrade::{UpgradeGate, UpgradePhase};
use super::{fleet, kafka, process, zookeeper};

/// What every name begins with.
pub(super) const PREFIX: &str = "evenkeel_";

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    /// A gauge that holds whole numbers.
    Gauge,
    /// A gauge that holds fractions (seconds).
    Fraction,
    /// A histogram with its upper bounds, in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Fraction => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What a series belongs to; it gives the first labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Process,
    Cluster,
    /// One member of a cluster: there from when the member becomes known until it is forgotten.
    Member,
}

impl Scope {
    const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Process => &[],
            Self::Cluster => &["cluster", "protocol"],
            Self::Member => &["cluster", "protocol", "member"],
        }
    }
}

/// A label, and the closed set of values that it has where that protocol is spoken.
pub(super) type Closable = (&'static str, fn(Protocol) -> Vec<&'static str>);

/// Labels beside those of the scope, and the values that they can have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extra {
    None,
    /// Closed sets of values, each combination present from the start.
    Closed(&'static [Closable]),
    /// Labels that appear with the first client that shows them, bounded as the help says.
    Seen(&'static [&'static str]),
}

/// One metric.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) scope: Scope,
    pub(super) extra: Extra,
    pub(super) help: &'static str,
}

impl Spec {
    /// All label names, in the order in which values are given.
    pub(super) fn labels(&self) -> Vec<&'static str> {
        let mut labels = self.scope.labels().to_vec();
        match self.extra {
            Extra::None => {}
            Extra::Closed(more) => labels.extend(more.iter().map(|(label, _)| *label)),
            Extra::Seen(more) => labels.extend(more),
        }
        labels
    }

    /// The values of closed labels in every combination: one without values where there is no such label.
    pub(super) fn combinations(&self, protocol: Protocol) -> Vec<Vec<&'static str>> {
        let mut all = vec![Vec::new()];
        if let Extra::Closed(labels) = self.extra {
            for (_, values) in labels {
                let values = values(protocol);
                all = all
                    .iter()
                    .flat_map(|before| values.iter().map(|value| [before.as_slice(), &[*value]].concat()))
                    .collect();
            }
        }
        all
    }
}

/// A row of the table.
pub(super) const fn m(
    name: &'static str,
    kind: Kind,
    scope: Scope,
    extra: Extra,
    help: &'static str,
) -> Spec {
    Spec { name, kind, scope, extra, help }
}

use Extra::{Closed, None as Plain, Seen};
use Kind::{Counter, Fraction, Gauge, Histogram};
use Scope::{Cluster, Member, Process};

/// From a hand-shake on the same host to one that a SYN had to be repeated for.
const CONNECT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a broker on the same host to a long poll or a hold at its bound.
pub(super) const REQUEST: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From an undisturbed request to one that was held.
const ADDED: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0];
/// A soft roll ends in the first half, a lost controller in the second.
const HOLD: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0];
/// Small values are the alarming ones.
const HEADROOM: &[f64] = &[0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0];

/// Who has a part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Every cluster, and the process.
    Common,
    /// The process: its limits.
    Process,
    /// Clusters of one protocol.
    Of(Protocol),
    /// The fan-out to a fleet.
    Fleet,
}

/// The parts of the table: what both protocols have, then what one has, in the order of the documentation.
pub(super) const PARTS: [(Part, &[Spec]); 5] = [
    (Part::Common, COMMON),
    (Part::Process, process::CATALOGUE),
    (Part::Of(Protocol::Kafka), kafka::CATALOGUE),
    (Part::Of(Protocol::ZooKeeper), zookeeper::CATALOGUE),
    (Part::Fleet, fleet::CATALOGUE),
];

/// Every metric.
pub(super) fn all() -> impl Iterator<Item = &'static Spec> {
    PARTS.into_iter().flat_map(|(_, specs)| specs)
}

/// Every metric that a cluster of a protocol has, and those of the process.
pub(super) fn of(protocol: Protocol) -> impl Iterator<Item = &'static Spec> {
    let parts = PARTS.into_iter().filter(move |(part, _)| [Part::Common, Part::Of(protocol)].contains(part));
    parts.flat_map(|(_, specs)| specs)
}

const COMMON: &[Spec] = &[
    m("build_info", Gauge, Process, Seen(&["version"]), "Always 1; the label is the version of evenkeel."),
    m("ready", Gauge, Process, Plain, "1 while `/readyz` says ready, else 0."),
    m("upstream_up", Gauge, Member, Plain, "1 while the last attempt to reach the member succeeded, else 0."),
    m("upstream_connections", Gauge, Member, Plain, "Open connections to the member."),
    m("upstream_in_flight", Gauge, Member, Plain, "Requests written to the member and not answered yet."),
    m(
        "upstream_connect_total",
        Counter,
        Member,
        Closed(&[("outcome", |_| ConnectOutcome::LABELS.to_vec())]),
        "Attempts to connect to the member, by how they ended. `wrong_node`: the address answered as another node or \
         another cluster. Of the looks at a ZooKeeper server (`srvr`) those that failed.",
    ),
    m(
        "upstream_handshakes_total",
        Counter,
        Member,
        Closed(&[("kind", |_| TlsHandshake::LABELS.to_vec())]),
        "Connections to the member that were encrypted: with a full handshake, or with the session of an earlier one, which costs \
         both sides less.",
    ),
    m(
        "upstream_connect_seconds",
        Histogram(CONNECT),
        Member,
        Plain,
        "Time from the look-up of the name to a usable connection, successful attempts only.",
    ),
    m(
        "upstream_bytes_total",
        Counter,
        Member,
        Closed(&[("direction", |_| Direction::LABELS.to_vec())]),
        "Bytes on connections to the member, seen from evenkeel.",
    ),
    m(
        "upstream_errors_total",
        Counter,
        Cluster,
        Closed(&[("code", Protocol::codes)]),
        "What went wrong at members. So far only lost connections are counted (`disconnected`); errors that members \
         answered are in `masked_errors_total` and `client_errors_total`.",
    ),
    m(
        "dns_changes_total",
        Counter,
        Cluster,
        Plain,
        "Times a member's name resolved to other addresses than before.",
    ),
    m(
        "retry_budget_exhausted_total",
        Counter,
        Member,
        Plain,
        "Attempts to find out whether the member is back that were put off since its retry budget was spent.",
    ),
    m(
        "hold_bytes",
        Gauge,
        Cluster,
        Plain,
        "Bytes of requests held, with the copies of requests in flight. The budget is the process's: all clusters \
         show it.",
    ),
    m(
        "hold_limit_bytes",
        Gauge,
        Cluster,
        Plain,
        "Bytes that the process may hold; at the limit a client that has a request under way is not read from.",
    ),
    m("hold_requests", Gauge, Cluster, Plain, "Requests held now."),
    m(
        "hold_oldest_seconds",
        Fraction,
        Cluster,
        Plain,
        "Age of the oldest request held now, 0 if there is none.",
    ),
    m(
        "hold_started_total",
        Counter,
        Cluster,
        Closed(&[("trigger", Protocol::hold_triggers)]),
        "Requests that began to be held, by cause. Equals `hold_ended_total` of all reasons plus `hold_requests`.",
    ),
    m(
        "hold_ended_total",
        Counter,
        Cluster,
        Closed(&[("reason", |_| HoldEnd::LABELS.to_vec())]),
        "Requests that stopped being held. `expired`: the bound was over first, and the client got the true error.",
    ),
    m(
        "hold_released_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| ReleaseOutcome::LABELS.to_vec())]),
        "Requests that had been in trouble and were answered by a member after all, by what it answered. Counted for \
         requests in parts, Produce, and those to coordinators and controllers.",
    ),
    m("hold_seconds", Histogram(HOLD), Cluster, Plain, "How long requests were held."),
    m(
        "hold_headroom_seconds",
        Histogram(HEADROOM),
        Cluster,
        Plain,
        "How much of its bound a request had left when it was released. Small values: the next longer outage will be \
         seen by clients.",
    ),
    m("client_connections", Gauge, Cluster, Plain, "Open connections of clients."),
    m("client_connections_limit", Gauge, Cluster, Plain, "The bound on that, `limits.cluster_connections`."),
    m(
        "client_refused_total",
        Counter,
        Cluster,
        Closed(&[("reason", |_| ClientRefusal::LABELS.to_vec())]),
        "Connections of clients that were closed at a bound of `[limits]`, by its key.",
    ),
    m(
        "client_handshakes_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| ClientHandshake::LABELS.to_vec())]),
        "Handshakes of clients on encrypted listeners, by how they ended: `full` and `resumed` are let in.",
    ),
    m(
        "client_errors_total",
        Counter,
        Cluster,
        Closed(&[("code", Protocol::codes)]),
        "Errors that clients were given, the members' own and those that evenkeel had to answer.",
    ),
    m(
        "masked_errors_total",
        Counter,
        Cluster,
        Closed(&[("code", Protocol::codes)]),
        "Errors that clients were spared.",
    ),
    m(
        "replays_total",
        Counter,
        Cluster,
        Closed(&[("verdict", Protocol::replay_verdicts)]),
        "Requests sent again. `not_sent`: it is proved that the first was not applied; `unknown`: repeating is \
         harmless or recognised by the member; `verified`: what was read afterwards proves that the first was not \
         applied.",
    ),
    m(
        "unknown_outcomes_total",
        Counter,
        Cluster,
        Closed(&[("action", Protocol::unknown_actions)]),
        "Requests whose outcome can't be known, by what was done. `error`: the client was told so. `dropped`: \
         known not to be written, and nobody waits for an answer.",
    ),
    m(
        "request_seconds",
        Histogram(REQUEST),
        Cluster,
        Closed(&[("api", Protocol::timed)]),
        "Time from a whole request read to its answer handed out, holds included.",
    ),
    m(
        "added_seconds",
        Histogram(ADDED),
        Cluster,
        Closed(&[("api", Protocol::timed)]),
        "Evenkeel's own share of that: all but the time for which a member had the request.",
    ),
    m(
        "client_info",
        Gauge,
        Cluster,
        Seen(&["library", "version"]),
        "Open connections by client library and its version. `library` is one of a closed set; at most 32 pairs are \
         told apart at a time, further versions count as `other`. A ZooKeeper client does not say its library, which is told by how it speaks, nor \
         its version.",
    ),
    m(
        "bypass",
        Gauge,
        Cluster,
        Plain,
        "1 while bypass is on: nothing is held, stamped, sent elsewhere or spared.",
    ),
    m(
        "client_frames_rejected_total",
        Counter,
        Cluster,
        Closed(&[("reason", |_| FrameRejection::LABELS.to_vec())]),
        "Bytes of clients that are no request, and for which the connection was closed.",
    ),
    m(
        "upgrade_plan_info",
        Gauge,
        Cluster,
        Seen(&["plan", "phase"]),
        "Always 1: the plan that lives (`rolling`, `dry_run`) or that ended last, dry runs aside (`finalized`, `aborted`, \
         `expired`). One series for a cluster.",
    ),
    m(
        "upgrade_member_phase",
        Gauge,
        Member,
        Closed(&[("phase", |_| UpgradePhase::LABELS.to_vec())]),
        "1 for the phase in which the member is, the others 0.",
    ),
    m(
        "upgrade_member_version_info",
        Gauge,
        Member,
        Seen(&["version"]),
        "Always 1: the member's own version, as far as it tells, while a plan lives. One series for a member. A Kafka broker \
         tells its release line only.",
    ),
    m(
        "upgrade_cluster_version_info",
        Gauge,
        Cluster,
        Seen(&["version"]),
        "Always 1: the version that the cluster as a whole has, while a plan lives: what Kafka has finalized, the lowest of an \
         ensemble.",
    ),
    m(
        "upgrade_gate_ok",
        Gauge,
        Cluster,
        Closed(&[("gate", |_| UpgradeGate::LABELS.to_vec())]),
        "1 if the gate was open when it was last asked.",
    ),
    m(
        "upgrade_drain_seconds",
        Histogram(HOLD),
        Cluster,
        Plain,
        "From the order to drain a member until nobody was there any more.",
    ),
];
