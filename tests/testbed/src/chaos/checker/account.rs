//! Evenkeel's counters, against the history and each other. They are read when all clients have gone.

use super::{Breach, Kind};
use crate::chaos::history::{Run, Writer};
use crate::judge::Outcome;

/// Whether a line of Evenkeel's log is that of a batch whose outcome it can't know, and which its client was told so of.
fn is_told(line: &str) -> bool {
    ["evenkeel::unknown_outcome", "api=\"Produce\"", "action=\"told\""].iter().all(|part| line.contains(part))
}

pub(super) fn check(run: &Run, breaches: &mut Vec<Breach>) {
    let sum = |name: &str, label: &str| sum(run, name, label);
    let mut wrong = |good: bool, text: String| {
        if !good {
            breaches.push(Breach::new(Kind::Counter, text));
        }
    };
    let (started, ended, held) =
        (sum("hold_started_total", ""), sum("hold_ended_total", ""), sum("hold_requests", ""));
    wrong(
        same(started, ended + held),
        format!("{started} holds were started, {ended} ended, and {held} are under way"),
    );
    for name in ["hold_requests", "hold_bytes", "client_connections", "upstream_in_flight"] {
        let rest = sum(name, "");
        wrong(same(rest, 0.0), format!("with no client left {name} is {rest}"));
    }

    // Each batch of unknown outcome is logged, counted, and has one record or more.
    let logged = number(run.sidecar_log.iter().filter(|line| is_told(line)).count());
    let counted = sum("unknown_outcomes_total", "action=\"error\"");
    let seen = number(errors(run).filter(|(_, is_unknown)| *is_unknown).count());
    wrong(logged <= seen, format!("{logged} unknown outcomes are logged, and clients saw {seen}"));
    // librdkafka gets the same error for a batch that was never sent.
    let surely = run.writers.iter().filter(|writer| !writer.name.starts_with("confluent-kafka"));
    let surely = number(errors_of(surely).filter(|(_, is_unknown)| *is_unknown).count());
    wrong(logged >= surely, format!("clients saw {surely} unknown outcomes, and {logged} are logged"));
    wrong(counted >= logged, format!("{logged} unknown outcomes are logged, and {counted} counted"));
    let given = sum("client_errors_total", "code=\"REQUEST_TIMED_OUT\"");
    wrong(given <= seen, format!("{given} × REQUEST_TIMED_OUT was given, and clients saw {seen}"));

    // What the brokers or Evenkeel answered is counted by its code.
    for (code, names) in CODES {
        let told = errors(run).filter(|(outcome, _)| {
            outcome.result.as_ref().is_err_and(|error| names.contains(&error.class.as_str()))
        });
        let (told, given) = (number(told.count()), sum("client_errors_total", &format!("code=\"{code}\"")));
        wrong(told < 0.5 || given > 0.5, format!("clients saw {told} × {code}, and {given} was counted"));
    }

    // One record or more in each request; a client that repeats one by itself would break the premise of the run.
    let records = number(run.writers.iter().map(|writer| writer.outcomes.len()).sum());
    let requests = sum("request_seconds_count", "api=\"Produce\"");
    wrong(
        requests > 0.5 && requests <= records,
        format!("{requests} Produce requests for {records} records"),
    );
    // None of these producers has an identity of its own.
    let injected = sum("kafka_injected_batches_total", "");
    wrong(injected > 0.5, "no batch got an identity".to_owned());

    if let Some(line) = run.sidecar_log.iter().find(|line| line.contains("panicked")) {
        breaches.push(Breach::new(Kind::Panic, line.clone()));
    }
}

/// Codes with the names that the clients' libraries have for them. The one of time-outs is left out: libraries use its
/// name for their own clocks as well.
const CODES: &[(&str, &[&str])] = &[
    (
        "NOT_LEADER_OR_FOLLOWER",
        &["NotLeaderOrFollowerException", "NotLeaderForPartitionError", "NOT_LEADER_FOR_PARTITION"],
    ),
    (
        "LEADER_NOT_AVAILABLE",
        &["LeaderNotAvailableException", "LeaderNotAvailableError", "LEADER_NOT_AVAILABLE"],
    ),
    (
        "UNKNOWN_TOPIC_OR_PARTITION",
        &["UnknownTopicOrPartitionException", "UnknownTopicOrPartitionError", "UNKNOWN_TOPIC_OR_PART"],
    ),
    ("NOT_ENOUGH_REPLICAS", &["NotEnoughReplicasException", "NotEnoughReplicasError", "NOT_ENOUGH_REPLICAS"]),
    (
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        &[
            "NotEnoughReplicasAfterAppendException",
            "NotEnoughReplicasAfterAppendError",
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        ],
    ),
    (
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        &["OutOfOrderSequenceException", "OutOfOrderSequenceNumberError", "OUT_OF_ORDER_SEQUENCE_NUMBER"],
    ),
    ("CORRUPT_MESSAGE", &["CorruptRecordException", "CorruptRecordException", "INVALID_MSG"]),
    ("KAFKA_STORAGE_ERROR", &["KafkaStorageException", "KafkaStorageError", "KAFKA_STORAGE_ERROR"]),
];

/// Failed operations, each with whether it is the honest answer to an unknown outcome.
fn errors(run: &Run) -> impl Iterator<Item = (&Outcome, bool)> {
    errors_of(run.writers.iter())
}

fn errors_of<'a>(writers: impl Iterator<Item = &'a Writer>) -> impl Iterator<Item = (&'a Outcome, bool)> {
    let all = writers.flat_map(|writer| &writer.outcomes);
    all.filter_map(|outcome| Some((outcome, outcome.result.as_ref().err()?.is_honest_unknown())))
}

/// The sum of the series of a metric that carry a label; all of them for an empty one.
fn sum(run: &Run, name: &str, label: &str) -> f64 {
    let series = run.metrics.iter().filter(|(series, _)| {
        let rest = series.strip_prefix("evenkeel_").and_then(|series| series.strip_prefix(name));
        rest.is_some_and(|rest| (rest.is_empty() || rest.starts_with('{')) && rest.contains(label))
    });
    series.map(|(_, value)| value).sum()
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
