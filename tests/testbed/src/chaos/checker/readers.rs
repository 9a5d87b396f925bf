//! What groups of readers went through, against the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Breach, Kind, Rules, Verdict, event_of, place};
use crate::chaos::history::{Event, Reader, Run, Seen};
use crate::chaos::schedule::Class;
use crate::judge::{ConsumerEvent, judge_consumer, parse};

/// The figures of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// Its name.
    pub group: String,
    /// Members.
    pub members: usize,
    /// Records delivered, repeats included.
    pub delivered: usize,
    /// In the log and never delivered.
    pub missed: usize,
    /// Delivered again, wherever it was.
    pub twice: usize,
    /// Changes of the assignment since the first event.
    pub rebalances: usize,
    /// Of them at soft events or outside of events.
    pub soft_rebalances: usize,
    /// Calls that failed.
    pub errors: usize,
    /// Commits.
    pub commits: usize,
}

pub(super) fn check(run: &Run, rules: &Rules, verdict: &mut Verdict) {
    let mut groups: BTreeMap<&str, Vec<&Reader>> = BTreeMap::new();
    for reader in &run.readers {
        groups.entry(&reader.group).or_default().push(reader);
    }
    for (name, members) in groups {
        let group = one(run, rules, name, &members, &mut verdict.breaches);
        verdict.readers.push(group);
    }
}

fn one(run: &Run, rules: &Rules, name: &str, members: &[&Reader], breaches: &mut Vec<Breach>) -> Readers {
    let events: Vec<Vec<ConsumerEvent>> =
        members.iter().map(|m| m.events.iter().map(|seen| seen.event.clone()).collect()).collect();
    let judged = judge_consumer(&events, &run.log);
    if let Some((partition, offset)) = judged.missed.first() {
        let text =
            format!("{} by {name}, the first: partition {partition}, offset {offset}", judged.missed.len());
        breaches.push(Breach::new(Kind::Missed, text));
    }
    for (kind, count, what) in [
        (Kind::Garbled, judged.foreign, "at offsets at which the log has nothing"),
        (Kind::Backwards, judged.backwards, "behind a later one of the partition"),
    ] {
        if count > 0 {
            breaches.push(Breach::new(kind, format!("{count} given to {name} {what}")));
        }
    }
    let mut group = Readers {
        group: name.to_owned(),
        members: members.len(),
        delivered: judged.delivered,
        missed: judged.missed.len(),
        twice: judged.twice.len(),
        errors: judged.errors.values().sum(),
        commits: judged.commits,
        ..Readers::default()
    };
    garbled(run, name, members, breaches);
    twice(run, name, members, breaches);
    rebalances(run, name, members, &mut group, breaches);
    failures(run, rules, name, members, breaches);
    group
}

/// A record is given as it is in the log: another one at its offset would be an answer for somebody else.
fn garbled(run: &Run, name: &str, members: &[&Reader], breaches: &mut Vec<Breach>) {
    let log: HashMap<(i32, i64), _> = run
        .log
        .iter()
        .map(|record| ((record.partition, record.offset), record.value.as_deref().and_then(parse)))
        .collect();
    let mut wrong = seen(members).filter_map(|seen| match seen.event {
        ConsumerEvent::Record { partition, offset } => {
            let there = log.get(&(partition, offset))?;
            (*there != parse(&seen.value)).then_some((partition, offset, &seen.value, there))
        }
        _ => None,
    });
    if let Some(first) = wrong.next() {
        let text = format!(
            "{} given to {name}, the first (partition, offset, given, log): {first:?}",
            wrong.count() + 1
        );
        breaches.push(Breach::new(Kind::Garbled, text));
    }
}

fn seen<'a>(members: &[&'a Reader]) -> impl Iterator<Item = &'a Seen> {
    let mut all: Vec<&Seen> = members.iter().flat_map(|member| &member.events).collect();
    all.sort_by_key(|seen| seen.at_us);
    all.into_iter()
}

/// A member keeps its position by itself: only one that takes a partition over from a member that could not commit gives a
/// record again. That takes a rebalance, and no soft event causes one.
fn twice(run: &Run, name: &str, members: &[&Reader], breaches: &mut Vec<Breach>) {
    let mut given = HashSet::new();
    let mut rebalanced_us = i64::MIN;
    let mut bad: BTreeMap<String, (usize, i32, i64)> = BTreeMap::new();
    for seen in seen(members) {
        match seen.event {
            ConsumerEvent::Assigned { .. } | ConsumerEvent::Lost(_) => rebalanced_us = seen.at_us,
            ConsumerEvent::Record { partition, offset } if !given.insert((partition, offset)) => {
                let event = event_of(run, seen.at_us, seen.at_us);
                let excused = |event: &Event| event.class == Class::Hard && event.start_us <= rebalanced_us;
                if !event.is_some_and(excused) {
                    bad.entry(place(event)).or_insert((0, partition, offset)).0 += 1;
                }
            }
            _ => {}
        }
    }
    for (place, (count, partition, offset)) in bad {
        let text = format!(
            "{count} given again to {name} {place}, without a rebalance, the first: partition {partition}, offset {offset}"
        );
        breaches.push(Breach::new(Kind::Twice, text));
    }
}

/// When the first member left at the end: all had been delivered, and it was assigned nothing any more. Those that end after it may be
/// given what it had.
fn left_us(members: &[&Reader]) -> Option<i64> {
    let records = seen(members).filter(|seen| matches!(seen.event, ConsumerEvent::Record { .. }));
    let delivered = records.map(|seen| seen.at_us).max()?;
    let ends = members.iter().filter_map(|member| member.events.last());
    let left = ends.filter(|seen| matches!(seen.event, ConsumerEvent::Revoked(_)) && seen.at_us >= delivered);
    left.map(|seen| seen.at_us).min()
}

fn rebalances(run: &Run, name: &str, members: &[&Reader], group: &mut Readers, breaches: &mut Vec<Breach>) {
    // Until the first event the group's members come one after another.
    let Some(first) = run.events.iter().map(|event| event.start_us).min() else { return };
    let left = left_us(members);
    for seen in seen(members).filter(|seen| seen.at_us >= first && left.is_none_or(|left| seen.at_us < left))
    {
        let what = match &seen.event {
            ConsumerEvent::Assigned { partitions, .. } => format!("assigned {partitions:?}"),
            ConsumerEvent::Lost(partitions) => format!("lost {partitions:?}"),
            _ => continue,
        };
        group.rebalances += 1;
        let event = event_of(run, seen.at_us, seen.at_us);
        if event.is_none_or(|event| event.class == Class::Soft) {
            group.soft_rebalances += 1;
            let text = format!("{name} {} at {}: {what}", place(event), seen.at_us);
            breaches.push(Breach::new(Kind::Rebalance, text));
        }
    }
}

/// Which partition a call needed isn't known: at a hard event any long outage excuses it.
fn failures(run: &Run, rules: &Rules, name: &str, members: &[&Reader], breaches: &mut Vec<Breach>) {
    let least = rules.bound_us - rules.slack_us;
    let mut bad: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for seen in seen(members) {
        let ConsumerEvent::Failed { call, error } = &seen.event else { continue };
        let event = event_of(run, seen.at_us, seen.at_us);
        let long = |&(start, end): &(i64, i64)| {
            end - start >= least && event.is_some_and(|e| start >= e.start_us) && start <= seen.at_us
        };
        let hard = event.is_some_and(|event| event.class == Class::Hard);
        if hard && run.outages.values().flatten().any(long) {
            continue;
        }
        let first = format!("{call} at {}: {}: {}", seen.at_us, error.class, error.message);
        bad.entry(place(event)).or_insert((0, first)).0 += 1;
    }
    for (place, (count, first)) in bad {
        breaches
            .push(Breach::new(Kind::ReaderError, format!("{count} of {name} {place}; the first: {first}")));
    }
}
