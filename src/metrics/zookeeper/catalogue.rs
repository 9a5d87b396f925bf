//! ZooKeeper's part of the table of metrics.

use super::closed::{
    AttachOutcome, CloseReason, FenceOutcome, MoveKind, MoveOutcome, Poison, ReadbackVerdict, SaslFate,
    WatchKind, WordFate,
};
use crate::metrics::catalogue::Extra::{Closed, None as Plain};
use crate::metrics::catalogue::Kind::{Counter, Gauge, Histogram};
use crate::metrics::catalogue::Scope::{Cluster, Member};
use crate::metrics::catalogue::{Closable, Spec, m};

/// From a planned move within one host to an ensemble that is restarted as a whole.
const MOVE: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0];
/// Small values are the alarming ones.
const HEADROOM: &[f64] = &[0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0];

const KIND: Closable = ("kind", |_| MoveKind::LABELS.to_vec());

/// What only a ZooKeeper ensemble has.
pub(in crate::metrics) const CATALOGUE: &[Spec] = &[
    m("zookeeper_sessions", Gauge, Member, Plain, "Sessions of clients that are attached to the member."),
    m(
        "zookeeper_session_moves_total",
        Counter,
        Cluster,
        Closed(&[KIND, ("outcome", |_| MoveOutcome::LABELS.to_vec())]),
        "Sessions that went to another server, or back to their own, by how it ended. `planned`: for a drain, the new \
         connection before the old one ends; `unplanned`: the connection was lost. `stayed`: nobody else took it. \
         `lease_over`, `closed`: the client's connection was closed on the way.",
    ),
    m(
        "zookeeper_session_move_seconds",
        Histogram(MOVE),
        Cluster,
        Closed(&[KIND]),
        "For how long a session that was moved had no server that it could send to: what its client may have noticed.",
    ),
    m(
        "zookeeper_sessions_expired_total",
        Counter,
        Cluster,
        Plain,
        "Sessions that the ensemble said are over. Evenkeel never says so by itself.",
    ),
    m(
        "zookeeper_attaches_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| AttachOutcome::LABELS.to_vec())]),
        "Attempts to attach a session to a server it is not attached to, by how they ended. `closed`: the server closed \
         the connection without an answer, being behind what the client has seen, or without a quorum.",
    ),
    m("zookeeper_attaching", Gauge, Cluster, Plain, "Sessions that are being attached now."),
    m(
        "zookeeper_attach_waiting",
        Gauge,
        Cluster,
        Plain,
        "Sessions that wait for their turn, since `zookeeper_attach_limit` others are being attached.",
    ),
    m("zookeeper_attach_limit", Gauge, Cluster, Plain, "`reattach_concurrency`."),
    m(
        "zookeeper_lease_closes_total",
        Counter,
        Cluster,
        Closed(&[("reason", |_| CloseReason::LABELS.to_vec())]),
        "Connections of clients that evenkeel closed though the client had not asked for it. `lease_over`: nothing proved \
         the session for two thirds of its timeout; the client may still come back in time.",
    ),
    m(
        "zookeeper_lease_headroom_seconds",
        Histogram(HEADROOM),
        Cluster,
        Plain,
        "How much of its lease a session had left when a lost connection was made good. Small values: the next longer \
         outage will be seen by clients.",
    ),
    m(
        "zookeeper_clients_refused_total",
        Counter,
        Cluster,
        Plain,
        "New connections of clients that were refused, since no server had been reached for longer than sessions last.",
    ),
    m(
        "zookeeper_pings_answered_total",
        Counter,
        Cluster,
        Plain,
        "Pings of clients that evenkeel answered, within the lease, while there was no server.",
    ),
    m(
        "zookeeper_own_pings_total",
        Counter,
        Cluster,
        Plain,
        "Pings that evenkeel sent by itself, for clients that wait for an answer.",
    ),
    m(
        "zookeeper_own_syncs_total",
        Counter,
        Cluster,
        Plain,
        "Syncs that evenkeel sent by itself, with `lease = \"strict\"`.",
    ),
    m(
        "zookeeper_fences_total",
        Counter,
        Cluster,
        Closed(&[("outcome", |_| FenceOutcome::LABELS.to_vec())]),
        "Empty multis sent on a session's new connection, behind whose answer nothing of the old one can be applied any \
         more.",
    ),
    m(
        "zookeeper_readbacks_total",
        Counter,
        Cluster,
        Closed(&[("verdict", |_| ReadbackVerdict::LABELS.to_vec())]),
        "Operations in flight on a lost connection that were looked up behind the fence, by what was found. `failed`: it \
         can only have failed, and the client gets its error.",
    ),
    m(
        "zookeeper_watches",
        Gauge,
        Cluster,
        Closed(&[("kind", |_| WatchKind::LABELS.to_vec())]),
        "Watches of connected clients.",
    ),
    m(
        "zookeeper_watches_rearmed_total",
        Counter,
        Cluster,
        Plain,
        "Watches that were set again on another connection.",
    ),
    m(
        "zookeeper_watch_events_dropped_total",
        Counter,
        Cluster,
        Plain,
        "Watch events that came from both servers of a planned move, and were passed on once.",
    ),
    m(
        "zookeeper_poison_refused_total",
        Counter,
        Cluster,
        Closed(&[("operation", |_| Poison::LABELS.to_vec())]),
        "Requests that were answered with an error and not forwarded, since servers can't decode or apply them, or must \
         not get them (a `check` alone): on some versions one such request stops all writes of the ensemble.",
    ),
    m(
        "zookeeper_four_letter_words_total",
        Counter,
        Cluster,
        Closed(&[("fate", |_| WordFate::LABELS.to_vec())]),
        "Four-letter words of clients, by what was done with them.",
    ),
    m(
        "zookeeper_client_sasl_total",
        Counter,
        Cluster,
        Closed(&[("fate", |_| SaslFate::LABELS.to_vec())]),
        "Clients that authenticated themselves by SASL. `answered`: with the credentials that evenkeel holds, checked here. \
         `refused`: with others, while it holds some. `passed`: on to their server, with whose loss their connections end.",
    ),
];
