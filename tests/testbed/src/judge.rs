//! The judge: what producers and consumers experienced, against what the topic really holds.
//!
//! Pure: it is given histories and the topic's content, read directly from the brokers. The programs write their name,
//! the partition and a sequence number that grows by one for each record of a partition into every value, so that
//! each record of the log can be told.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::admin::Record;

/// What became of one record, as the application saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The partition that it was sent to.
    pub partition: i32,
    /// Its number among this producer's records of the partition, from 0.
    pub seq: i64,
    /// When it was handed to the library, in microseconds since the epoch.
    pub sent_us: i64,
    /// When the library told the outcome, likewise.
    pub done_us: i64,
    /// The offset that the broker gave, or the error.
    pub result: Result<i64, ClientError>,
}

/// An error as the client library showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The error's class, or its name in the protocol, as the library has it.
    pub class: String,
    /// Its text.
    pub message: String,
}

impl ClientError {
    /// Whether it is the protocol's own "request timed out" (7) sent by a broker, or by a proxy that can't know a record's
    /// fate: the honest answer to an unknown outcome. What a client makes of its own clock has another text.
    pub fn is_honest_unknown(&self) -> bool {
        match self.class.as_str() {
            "TimeoutException" => self.message == "The request timed out.",
            "REQUEST_TIMED_OUT" => true,
            // kafka-python gives its own expiry the same class, with words after it.
            "RequestTimedOutError" => self.message == "[Error 7] RequestTimedOutError",
            _ => false,
        }
    }
}

/// All that one producer experienced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The name that it wrote into its records.
    pub producer: String,
    /// One for each record sent, in the order in which they became known.
    pub outcomes: Vec<Outcome>,
}

/// The judgement on producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were handed to the libraries.
    pub sent: usize,
    /// Records that were acknowledged.
    pub acked: usize,
    /// Records that ended with an error; each of them may or may not be in the log.
    pub errors: usize,
    /// Errors that are the honest answer to an unknown outcome, contained in `errors`.
    pub unknown: usize,
    /// Errors by class and text.
    pub by_class: BTreeMap<String, usize>,
    /// Acknowledged and not in the log: producer, partition, sequence.
    pub lost: Vec<(String, i32, i64)>,
    /// More than once in the log.
    pub repeated: Vec<(String, i32, i64)>,
    /// In the log after a later one of the same producer and partition (first copies only).
    pub reordered: Vec<(String, i32, i64)>,
    /// Records in the log that no producer sent, or in another partition than sent: always a fault of the harness or worse.
    pub foreign: usize,
    /// Errors whose record is in the log all the same.
    pub errors_in_log: usize,
    /// The longest time between two successive successes of one producer, in microseconds.
    pub longest_pause_us: i64,
    /// The same for each partition by itself: what a writer to one partition goes through.
    pub longest_partition_pause_us: i64,
    /// The longest time from sending to success, in microseconds.
    pub max_latency_us: i64,
}

impl Verdict {
    /// Whether nothing was lost, repeated, reordered or foreign. Errors are another matter.
    pub fn is_exact(&self) -> bool {
        self.lost.is_empty() && self.repeated.is_empty() && self.reordered.is_empty() && self.foreign == 0
    }

    /// Errors that are not the honest answer to an unknown outcome.
    pub fn dishonest_errors(&self) -> usize {
        self.errors - self.unknown
    }
}

/// Judges producers by the content of their topic. `log` must have each partition in offset order.
pub fn judge_producers(histories: &[History], log: &[Record]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut seen: HashMap<(&str, i32), Seen> = HashMap::new();
    let producers: HashSet<&str> = histories.iter().map(|h| h.producer.as_str()).collect();
    for record in log {
        match record.value.as_deref().and_then(parse) {
            Some((producer, partition, seq))
                if partition == record.partition && producers.contains(producer) =>
            {
                let seen = seen.entry((producer, partition)).or_default();
                if !seen.present.insert(seq) {
                    verdict.repeated.push((producer.to_owned(), partition, seq));
                } else if seq < seen.highest {
                    verdict.reordered.push((producer.to_owned(), partition, seq));
                } else {
                    seen.highest = seq;
                }
            }
            _ => verdict.foreign += 1,
        }
    }
    for history in histories {
        let mut successes = Vec::with_capacity(history.outcomes.len());
        for outcome in &history.outcomes {
            verdict.sent += 1;
            let in_log = seen
                .get(&(history.producer.as_str(), outcome.partition))
                .is_some_and(|s| s.present.contains(&outcome.seq));
            match &outcome.result {
                Ok(_) => {
                    verdict.acked += 1;
                    successes.push((outcome.partition, outcome.done_us));
                    verdict.max_latency_us = verdict.max_latency_us.max(outcome.done_us - outcome.sent_us);
                    if !in_log {
                        verdict.lost.push((history.producer.clone(), outcome.partition, outcome.seq));
                    }
                }
                Err(error) => {
                    verdict.errors += 1;
                    verdict.unknown += usize::from(error.is_honest_unknown());
                    verdict.errors_in_log += usize::from(in_log);
                    *verdict.by_class.entry(error.class.clone()).or_default() += 1;
                }
            }
        }
        verdict.longest_pause_us = verdict.longest_pause_us.max(longest_gap(successes.iter().map(|s| s.1)));
        let partitions: HashSet<i32> = successes.iter().map(|s| s.0).collect();
        for partition in partitions {
            let gap = longest_gap(successes.iter().filter(|s| s.0 == partition).map(|s| s.1));
            verdict.longest_partition_pause_us = verdict.longest_partition_pause_us.max(gap);
        }
    }
    verdict
}

/// The longest time between two neighbours, once they are sorted.
fn longest_gap(times: impl Iterator<Item = i64>) -> i64 {
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable();
    times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a).max().unwrap_or(0)
}

#[derive(Default)]
struct Seen {
    present: HashSet<i64>,
    highest: i64,
}

/// The producer, partition and sequence number that a value carries.
pub fn parse(value: &str) -> Option<(&str, i32, i64)> {
    let mut parts = value.split('|');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What a group member went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// A record was handed to the application.
    Record {
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
    /// Partitions were assigned, in this generation of the group.
    Assigned {
        /// The partitions.
        partitions: Vec<i32>,
        /// The group's generation.
        generation: i32,
    },
    /// Partitions were taken back, by the rules.
    Revoked(Vec<i32>),
    /// Partitions were lost: the group went on without this member.
    Lost(Vec<i32>),
    /// A call failed.
    Failed {
        /// `poll`, `commit` or `close`.
        call: String,
        /// How.
        error: ClientError,
    },
    /// A commit succeeded.
    Committed,
}

/// The judgement on the members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerVerdict {
    /// Records delivered, repeats included.
    pub delivered: usize,
    /// In the log and never delivered: partition, offset.
    pub missed: Vec<(i32, i64)>,
    /// Delivered more than once.
    pub twice: Vec<(i32, i64)>,
    /// Delivered at an offset at which the log has nothing.
    pub foreign: usize,
    /// Delivered by one member after a later record of the partition (first deliveries only).
    pub backwards: usize,
    /// Assignments beyond each member's first, and losses of partitions.
    pub rebalances: usize,
    /// Calls that failed, by class.
    pub errors: BTreeMap<String, usize>,
    /// Commits that succeeded.
    pub commits: usize,
}

/// Judges a group's members by what each was delivered, against the whole content of the topic.
pub fn judge_consumer(members: &[Vec<ConsumerEvent>], log: &[Record]) -> ConsumerVerdict {
    let mut verdict = ConsumerVerdict::default();
    let there: HashSet<(i32, i64)> = log.iter().map(|r| (r.partition, r.offset)).collect();
    let mut delivered: HashSet<(i32, i64)> = HashSet::new();
    for events in members {
        let mut at: HashMap<i32, i64> = HashMap::new();
        let mut assignments = 0usize;
        for event in events {
            match event {
                ConsumerEvent::Record { partition, offset } => {
                    let place = (*partition, *offset);
                    verdict.delivered += 1;
                    if !there.contains(&place) {
                        verdict.foreign += 1;
                    } else if !delivered.insert(place) {
                        verdict.twice.push(place);
                    } else {
                        let last = at.entry(*partition).or_insert(-1);
                        verdict.backwards += usize::from(offset < last);
                        *last = (*last).max(*offset);
                    }
                }
                ConsumerEvent::Assigned { .. } => assignments += 1,
                ConsumerEvent::Revoked(_) => {}
                ConsumerEvent::Lost(_) => verdict.rebalances += 1,
                ConsumerEvent::Failed { call, error } => {
                    *verdict.errors.entry(format!("{call}: {}", error.class)).or_default() += 1;
                }
                ConsumerEvent::Committed => verdict.commits += 1,
            }
        }
        verdict.rebalances += assignments.saturating_sub(1);
    }
    verdict.missed = there.difference(&delivered).copied().collect();
    verdict.missed.sort_unstable();
    verdict
}

#[cfg(test)]
mod tests;
