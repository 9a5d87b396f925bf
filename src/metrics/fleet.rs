//! What the fan-out to a fleet shows. Only `evenkeel upgrade --serve` has these series.

use prometheus::{Histogram, IntCounter};

use super::Metrics;
use super::catalogue::{Extra, Kind, REQUEST, Scope, Spec, m};
use super::closed::closed_set;
use super::series::Series;
use super::upgrade::{UpgradeGate, UpgradeGates};

closed_set! {
    /// How a sidecar is.
    FleetState shown by FleetStates {
        /// It answers.
        Answering answering = "answering",
        /// It says nothing, and everything waits for it.
        Silent silent = "silent",
        /// It has said nothing for too long, and is gone on without.
        LeftOut left_out = "left_out",
    }
}

closed_set! {
    /// What became of a question to a sidecar.
    FleetOutcome counted by FleetOutcomes {
        /// It was answered.
        Answered answered = "answered",
        /// It was refused.
        Refused refused = "refused",
        /// It wasn't answered.
        Silent silent = "silent",
        /// The answer could not be read.
        Garbled garbled = "garbled",
    }
}

/// The fan-out's part of the table.
pub(super) const CATALOGUE: &[Spec] = &[
    m(
        "fleet_sidecars",
        Kind::Gauge,
        Scope::Process,
        Extra::Closed(&[("state", |_| FleetState::LABELS.to_vec())]),
        "Sidecars, by how they are. `silent`: everything waits for it; `left_out`: it has been silent for too long, and is gone on without.",
    ),
    m(
        "fleet_questions_total",
        Kind::Counter,
        Scope::Process,
        Extra::Closed(&[("outcome", |_| FleetOutcome::LABELS.to_vec())]),
        "Questions and orders to sidecars, by what became of them.",
    ),
    m(
        "fleet_question_seconds",
        Kind::Histogram(REQUEST),
        Scope::Process,
        Extra::None,
        "From a question to all sidecars until the last one had answered.",
    ),
    m(
        "fleet_caught_up_total",
        Kind::Counter,
        Scope::Process,
        Extra::None,
        "Plans and drains that were given to sidecars that came after the order, or had lost it.",
    ),
    m(
        "fleet_gate_ok",
        Kind::Gauge,
        Scope::Process,
        Extra::Closed(&[("gate", |_| UpgradeGate::LABELS.to_vec())]),
        "1 if the gate was open at all sidecars when it was last asked.",
    ),
];

/// Each field is the metric of that name.
#[derive(Debug)]
pub struct FleetMetrics {
    /// `fleet_sidecars`.
    pub sidecars: FleetStates,
    /// `fleet_question_seconds`.
    pub question_seconds: Histogram,
    /// `fleet_caught_up_total`.
    pub caught_up: IntCounter,
    /// `fleet_gate_ok`.
    pub gates: UpgradeGates,
    /// `fleet_questions_total`.
    pub questions: FleetOutcomes,
}

impl FleetMetrics {
    /// Makes the series, all at zero.
    pub fn new(metrics: &Metrics) -> Self {
        let series = Series::new(metrics, &[]);
        Self {
            sidecars: FleetStates::new(series.gauges("fleet_sidecars")),
            question_seconds: series.histogram("fleet_question_seconds"),
            caught_up: series.counter("fleet_caught_up_total"),
            gates: UpgradeGates::new(series.gauges("fleet_gate_ok")),
            questions: FleetOutcomes::new(series.counters("fleet_questions_total")),
        }
    }
}
