//! The checker: what a run recorded, against what is promised. Pure: it is given a [`Run`] and says what is wrong with it.
//!
//! - Writes of each node are linearizable: there is one order of them that fits all times and all outcomes, with those of
//!   unknown outcome in it or not (`search`). The same order stands in the servers' logs, and each verdict is true to it
//!   (`truth`): no write is in it twice, none that was refused, all that were told done.
//! - Sequential nodes have numbers that grow with time, each once, and are there under the path that was told (`sequence`).
//! - What a session reads never goes back, whichever server it reads from, and is what was there then (`sessions`, `truth`).
//! - A watch is told before anything newer is seen; nothing is told twice.
//! - No session ends that its client didn't end, and no ephemeral node before its session.
//! - Evenkeel's own counters tell the same story; connections are closed only as the lease demands.

mod search;
mod sequence;
mod sessions;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::BTreeMap;

use super::record::{Line, Run, Told};

pub use search::{Register, Undone, linearizable};

/// `BadVersion`, `NodeExists`, `NoNode`: what servers may answer to what the clients of a run ask.
pub const BAD_VERSION: i32 = -103;
/// See [`BAD_VERSION`].
pub const NODE_EXISTS: i32 = -110;
/// See [`BAD_VERSION`].
pub const NO_NODE: i32 = -101;

/// The judgement on a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Requests.
    pub asked: usize,
    /// Told done.
    pub done: usize,
    /// Told an error that says they were not.
    pub refused: usize,
    /// Answered CONNECTIONLOSS.
    pub unknown: usize,
    /// Of them, those that were done.
    pub unknown_done: usize,
    /// Cut off with their connection.
    pub cut: usize,
    /// Connections that ended, and of them those that the clients gave up.
    pub lost: usize,
    /// See `lost`.
    pub silent: usize,
    /// Sessions that the ensemble ended.
    pub expired: usize,
    /// Watch events told.
    pub events: usize,
    /// The longest time between two successes of a client that asked, in microseconds.
    pub stall_us: i64,
    /// What was promised and is not so.
    pub breaches: Vec<String>,
}

/// Judges a run.
pub fn check(run: &Run) -> Verdict {
    let mut found = Verdict::default();
    for op in run.ops() {
        found.asked += 1;
        match &op.told {
            Told::Done(_) => found.done += 1,
            Told::Refused(BAD_VERSION | NODE_EXISTS | NO_NODE) => found.refused += 1,
            Told::Refused(code) => {
                found.refused += 1;
                found.breaches.push(format!("error {code} for {op:?}"));
            }
            Told::Unknown if op.call.is_read() => {
                found.breaches.push(format!("an unknown outcome of a read: {op:?}"));
            }
            Told::Unknown => found.unknown += 1,
            Told::Cut => found.cut += 1,
        }
    }
    for (node, end) in &run.truth.nodes {
        let writes = search::of_node(run, node);
        if let Err(undone) = linearizable(&writes, &Register::of(end.as_ref())) {
            found.breaches.push(format!("{node} is not linearizable: {undone}"));
        }
    }
    sequence::check(run, &mut found);
    sessions::check(run, &mut found);
    truth::check(run, &mut found);
    account(run, &mut found);
    found
}

/// Connections, events of the run, and Evenkeel's counters.
#[allow(clippy::too_many_lines, reason = "a list of what must add up")]
fn account(run: &Run, found: &mut Verdict) {
    for line in run.clients.iter().flatten() {
        match line {
            Line::Lost { silent, .. } => {
                found.lost += 1;
                found.silent += usize::from(*silent);
            }
            Line::Expired { .. } => found.expired += 1,
            Line::Event { .. } => found.events += 1,
            Line::Disorder { at_us, what } => found.breaches.push(format!("at {at_us} µs: {what}")),
            Line::Op(_) | Line::Connected { .. } => {}
        }
    }
    for (number, lines) in run.clients.iter().enumerate() {
        let successes = lines.iter().filter_map(|line| match line {
            Line::Op(op) if matches!(op.told, Told::Done(_)) => Some(op.done_us),
            _ => None,
        });
        let successes: Vec<i64> = successes.collect();
        let longest = successes.iter().zip(successes.iter().skip(1)).map(|(one, next)| next - one).max();
        found.stall_us = found.stall_us.max(longest.unwrap_or(0));
        if successes.is_empty() {
            found.breaches.push(format!("client {number} never had a success"));
        }
    }
    for (number, lines) in run.clients.iter().enumerate() {
        let mut asked_us = None;
        for line in lines {
            match line {
                Line::Op(op) if matches!(op.told, Told::Done(_)) => asked_us = Some(op.sent_us),
                Line::Lost { at_us, .. } => {
                    // What was answered then proves the lease for two thirds of the time-out.
                    let bound = run.timeout_us * 2 / 3;
                    if asked_us.is_some_and(|asked| at_us - asked < bound) {
                        found.breaches.push(format!("client {number} was closed too soon, at {at_us} µs"));
                    }
                    asked_us = None;
                }
                _ => {}
            }
        }
    }
    for event in run.events.iter().filter(|event| event.served_us == 0) {
        found.breaches.push(format!("after {} a client was never served again", event.what));
    }
    let counted = run.counted;
    let number = |of: usize| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
    let (told, cut) = (number(found.unknown), number(found.cut));
    // What was answered to a connection that ended at that moment nobody heard.
    if counted.unknown < told || counted.unknown > told + cut {
        found.breaches.push(format!(
            "{} unknown outcomes were told, and {} counted; {} requests were cut off",
            found.unknown, counted.unknown, found.cut
        ));
    }
    if (counted.expired - number(found.expired)).abs() > 0.5 {
        found
            .breaches
            .push(format!("{} sessions were told expired, and {} counted", found.expired, counted.expired));
    }
    let closed = counted.closed_lease + counted.closed_unknown + counted.closed_other;
    // Those that a client gave up were ended from both sides at once.
    if closed < number(found.lost - found.silent) || closed > number(found.lost) {
        found.breaches.push(format!(
            "{} connections were ended by Evenkeel, and {closed} counted",
            found.lost - found.silent
        ));
    }
    if found.silent > 0 && counted.closed_lease < 0.5 {
        found.breaches.push(format!("{} clients heard nothing for two thirds of a time-out", found.silent));
    }
    if counted.closed_other + counted.closed_unknown > 0.5 {
        found.breaches.push(format!(
            "connections were closed for other reasons than the lease: {}",
            counted.closed_other + counted.closed_unknown
        ));
    }
    let mut soft: BTreeMap<&str, usize> = BTreeMap::new();
    for event in run.events.iter().filter(|event| event.soft) {
        let until = if event.served_us == 0 { i64::MAX } else { event.served_us };
        let during = |at: i64| (event.start_us..until).contains(&at);
        let unknown = run.ops().filter(|op| op.told == Told::Unknown && during(op.done_us)).count();
        let lost = run.clients.iter().flatten();
        let lost = lost.filter(|line| matches!(line, Line::Lost { at_us, .. } if during(*at_us))).count();
        *soft.entry(&event.what).or_default() += unknown + lost;
    }
    for (what, count) in soft.into_iter().filter(|(_, count)| *count > 0) {
        found
            .breaches
            .push(format!("{what}: {count} unknown outcomes or lost connections at a planned event"));
    }
}
