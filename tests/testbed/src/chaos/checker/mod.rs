//! The checker: what a run recorded, against what is promised. Pure: it is given a [`Run`] and says what is wrong with it.
//!
//! - Nothing acknowledged is lost, nothing is in the log twice, each producer's records of a partition are in the order in
//!   which it sent them, and each is at the offset that its producer was told.
//! - No errors at soft events and outside of events. At a hard one an error is excused only where the partition could not
//!   take writes for longer than the client's request may be held.
//! - No client waits much longer for a partition than the cluster was unable to serve it.
//! - Readers get every record, as it is in the log, in order; in soft events once, and without a rebalance.
//! - Evenkeel's own counters tell the same story.

mod account;
mod readers;
mod writers;

use std::fmt;

use super::history::{Event, Run};
use super::schedule::Class;

pub use readers::Readers;
pub use writers::Writes;

/// Bounds of what is promised, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// For how long a request of the run's clients may be held.
    pub bound_us: i64,
    /// By how much an outage is told too short, at most: the monitor's steps, and the time that a new leader's followers
    /// take to acknowledge a first write.
    pub slack_us: i64,
    /// The longest wait of a client beyond the outage of its partition.
    pub stall_us: i64,
}

impl Default for Rules {
    /// `hold.max` by default; 0.8 of what the Java client, kafka-python and librdkafka wait is more.
    fn default() -> Self {
        Self { bound_us: 20_000_000, slack_us: 1_500_000, stall_us: 5_000_000 }
    }
}

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Acknowledged, and not in the log.
    Lost,
    /// More than once in the log.
    Repeated,
    /// Behind a later record of its producer and partition.
    Reordered,
    /// At another offset than its producer was told.
    Misplaced,
    /// In the log, and sent by nobody.
    Foreign,
    /// Begun by a producer, and never ended.
    Unended,
    /// An error without excuse.
    Error,
    /// A wait that no outage explains.
    Stall,
    /// In the log, and never given to a group of readers.
    Missed,
    /// Given to a group of readers more than once, and no rebalance at a hard event explains it.
    Twice,
    /// Given to a reader behind a later one of its partition.
    Backwards,
    /// Given to a reader otherwise than it is in the log.
    Garbled,
    /// A change of a group's assignment at a soft event or outside of events.
    Rebalance,
    /// A reader's call that failed without excuse.
    ReaderError,
    /// Evenkeel's counters don't agree with the history, or with each other.
    Counter,
    /// Evenkeel had an error inside.
    Panic,
    /// A client that was not served anew after an event.
    Unserved,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub kind: Kind,
    /// Who and what, in words, with the first case.
    pub text: String,
}

impl Breach {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// What the checker says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Of each producer.
    pub writes: Vec<Writes>,
    /// Of each group of readers.
    pub readers: Vec<Readers>,
    /// Broken promises; none means that all were kept.
    pub breaches: Vec<Breach>,
}

impl Verdict {
    /// Whether a promise of this kind was broken.
    pub fn has(&self, kind: Kind) -> bool {
        self.breaches.iter().any(|breach| breach.kind == kind)
    }
}

/// Judges a run.
pub fn check(run: &Run, rules: &Rules) -> Verdict {
    let mut verdict = Verdict::default();
    writers::check(run, rules, &mut verdict);
    readers::check(run, rules, &mut verdict);
    account::check(run, &mut verdict.breaches);
    for event in run.events.iter().filter(|event| event.skipped.is_none() && event.served_us == 0) {
        let text = format!("after \"{}\" a client was not served anew", event.what);
        verdict.breaches.push(Breach::new(Kind::Unserved, text));
    }
    verdict
}

/// The event that what happened from `from_us` to `to_us` belongs to: a hard one if it met one, since what that has done may
/// come to light later; else a soft one; else none.
fn event_of(run: &Run, from_us: i64, to_us: i64) -> Option<&Event> {
    let ends = |event: &Event| if event.served_us == 0 { i64::MAX } else { event.served_us };
    let met = run.events.iter().filter(|event| event.skipped.is_none());
    let met = met.filter(|event| event.start_us <= to_us && ends(event) >= from_us);
    // Of equals the last one wins: the later event.
    met.max_by_key(|event| event.class)
}

/// Where something happened, in words.
fn place(event: Option<&Event>) -> String {
    match event {
        None => "outside of events".to_owned(),
        Some(event) if event.class == Class::Soft => format!("at the soft event \"{}\"", event.what),
        Some(event) => format!("at the hard event \"{}\"", event.what),
    }
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests;
