//! What producers went through, against the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Breach, Kind, Rules, Verdict, event_of, place, seconds};
use crate::chaos::history::{Run, Writer};
use crate::chaos::outages::share_us;
use crate::chaos::schedule::Class;
use crate::judge::{ClientError, History, Outcome, judge_producers, parse};

/// The figures of one producer. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Its name.
    pub name: String,
    /// Records sent.
    pub sent: usize,
    /// Records acknowledged.
    pub acked: usize,
    /// Errors at soft events.
    pub soft_errors: usize,
    /// Errors at hard events without excuse.
    pub hard_errors: usize,
    /// Errors at hard events while the partition was away for longer than a request may be held.
    pub excused: usize,
    /// Errors outside of events.
    pub other_errors: usize,
    /// Acknowledged and not in the log.
    pub lost: usize,
    /// Surplus copies in the log.
    pub repeated: usize,
    /// Behind a later one.
    pub reordered: usize,
    /// The longest time without a success in one partition.
    pub stall_us: i64,
    /// How much of that the cluster could not serve the partition.
    pub outage_us: i64,
    /// The longest such time, outages taken off, of any partition and time.
    pub excess_us: i64,
}

pub(super) fn check(run: &Run, rules: &Rules, verdict: &mut Verdict) {
    let mut parts: HashMap<&str, Vec<_>> = HashMap::new();
    let mut strangers = Vec::new();
    let known: HashSet<&str> = run.writers.iter().map(|writer| writer.name.as_str()).collect();
    for record in &run.log {
        match record.value.as_deref().and_then(parse) {
            Some((name, partition, _)) if known.contains(name) && partition == record.partition => {
                parts.entry(name).or_default().push(record.clone());
            }
            _ => strangers.push(record),
        }
    }
    if let Some(first) = strangers.first() {
        let text = format!("{} records, the first: {first:?}", strangers.len());
        verdict.breaches.push(Breach::new(Kind::Foreign, text));
    }
    let at: HashMap<(i32, i64), &str> = run
        .log
        .iter()
        .filter_map(|record| Some(((record.partition, record.offset), record.value.as_deref()?)))
        .collect();
    for writer in &run.writers {
        let history = History { producer: writer.name.clone(), outcomes: writer.outcomes.clone() };
        let part = parts.remove(writer.name.as_str()).unwrap_or_default();
        let judged = judge_producers(&[history], &part);
        let breaches = &mut verdict.breaches;
        for (kind, cases) in [
            (Kind::Lost, &judged.lost),
            (Kind::Repeated, &judged.repeated),
            (Kind::Reordered, &judged.reordered),
        ] {
            if let Some((_, partition, seq)) = cases.first() {
                let (name, first) = (&writer.name, outcome_of(writer, *partition, *seq));
                breaches.push(Breach::new(
                    kind,
                    format!(
                        "{} of {name}, the first: partition {partition}, number {seq}; {first}",
                        cases.len()
                    ),
                ));
            }
        }
        begun_and_ended(writer, &part, breaches);
        misplaced(writer, &at, &judged.lost, breaches);
        let mut writes = Writes {
            name: writer.name.clone(),
            sent: judged.sent,
            acked: judged.acked,
            lost: judged.lost.len(),
            repeated: judged.repeated.len(),
            reordered: judged.reordered.len(),
            ..Writes::default()
        };
        errors(run, rules, writer, &mut writes, breaches);
        stalls(run, rules, writer, &mut writes, breaches);
        verdict.writes.push(writes);
    }
}

fn outcome_of(writer: &Writer, partition: i32, seq: i64) -> String {
    match writer.outcomes.iter().find(|o| o.partition == partition && o.seq == seq) {
        Some(outcome) => format!("sent {}, done {}, {:?}", outcome.sent_us, outcome.done_us, outcome.result),
        None => "its outcome was never told".to_owned(),
    }
}

/// Every operation that was begun has one end, and nothing is in the log that was never begun.
fn begun_and_ended(writer: &Writer, part: &[crate::admin::Record], breaches: &mut Vec<Breach>) {
    let name = &writer.name;
    let ended: HashSet<(i32, i64)> = writer.outcomes.iter().map(|o| (o.partition, o.seq)).collect();
    let count = i64::try_from(writer.outcomes.len()).unwrap_or(i64::MAX);
    if writer.sent != Some(count) || ended.len() != writer.outcomes.len() {
        let text = match writer.sent {
            None => format!("{name} didn't come to an end; {count} operations ended"),
            Some(sent) => {
                format!("{name} began {sent} operations; {count} ended, of {} records", ended.len())
            }
        };
        breaches.push(Breach::new(Kind::Unended, text));
    }
    let in_log = part.iter().filter_map(|record| parse(record.value.as_deref()?));
    let strange: Vec<_> = in_log.filter(|(_, partition, seq)| !ended.contains(&(*partition, *seq))).collect();
    // What a producer that was ended by force had under way is no stranger.
    if let Some((_, partition, seq)) = strange.first().filter(|_| writer.sent.is_some()) {
        let text = format!(
            "{} of {name} that it never sent, the first: partition {partition}, number {seq}",
            strange.len()
        );
        breaches.push(Breach::new(Kind::Foreign, text));
    }
}

/// An acknowledgement names the offset at which the record is.
fn misplaced(
    writer: &Writer,
    at: &HashMap<(i32, i64), &str>,
    lost: &[(String, i32, i64)],
    breaches: &mut Vec<Breach>,
) {
    let lost: HashSet<(i32, i64)> = lost.iter().map(|(_, partition, seq)| (*partition, *seq)).collect();
    let is_there = |outcome: &&Outcome| match &outcome.result {
        Ok(offset) if !lost.contains(&(outcome.partition, outcome.seq)) => {
            let there = at.get(&(outcome.partition, *offset)).and_then(|value| parse(value));
            there != Some((writer.name.as_str(), outcome.partition, outcome.seq))
        }
        _ => false,
    };
    let wrong: Vec<&Outcome> = writer.outcomes.iter().filter(is_there).collect();
    if let Some(first) = wrong.first() {
        let there = first.result.as_ref().ok().and_then(|offset| at.get(&(first.partition, *offset)));
        let text =
            format!("{} of {}, the first: {first:?}, where the log has {there:?}", wrong.len(), writer.name);
        breaches.push(Breach::new(Kind::Misplaced, text));
    }
}

fn errors(run: &Run, rules: &Rules, writer: &Writer, figures: &mut Writes, breaches: &mut Vec<Breach>) {
    // By place and class, with the first case.
    let mut bad: BTreeMap<(String, &str), (usize, &Outcome, &ClientError)> = BTreeMap::new();
    for outcome in &writer.outcomes {
        let Err(error) = &outcome.result else { continue };
        let event = event_of(run, outcome.sent_us, outcome.done_us);
        match event.map(|event| event.class) {
            Some(Class::Hard) if is_excused(run, rules, outcome) => {
                figures.excused += 1;
                continue;
            }
            Some(Class::Hard) => figures.hard_errors += 1,
            Some(Class::Soft) => figures.soft_errors += 1,
            None => figures.other_errors += 1,
        }
        bad.entry((place(event), error.class.as_str())).or_insert((0, outcome, error)).0 += 1;
    }
    for ((place, class), (count, first, error)) in bad {
        let outages = run.outages.get(&first.partition).map_or(&[][..], Vec::as_slice);
        let longest = outages.iter().filter(|(start, end)| *start <= first.done_us && *end >= first.sent_us);
        let longest = longest.map(|(start, end)| end - start).max().unwrap_or(0);
        let text = format!(
            "{count} × {class} of {} {place}; the first: partition {}, number {}, sent {}, failed after {}: {:?}; the \
             partition was away for {}",
            writer.name,
            first.partition,
            first.seq,
            first.sent_us,
            seconds(first.done_us - first.sent_us),
            error.message,
            seconds(longest),
        );
        breaches.push(Breach::new(Kind::Error, text));
    }
}

/// Whether the record's partition was away for as long as a request may be held, and the error came when that was over.
fn is_excused(run: &Run, rules: &Rules, outcome: &Outcome) -> bool {
    let least = rules.bound_us - rules.slack_us;
    let outages = run.outages.get(&outcome.partition).map_or(&[][..], Vec::as_slice);
    outages.iter().any(|&(start, end)| {
        end - start >= least && outcome.sent_us <= end && outcome.done_us >= start + least
    })
}

fn stalls(run: &Run, rules: &Rules, writer: &Writer, figures: &mut Writes, breaches: &mut Vec<Breach>) {
    let mut moments: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut span: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for outcome in &writer.outcomes {
        let (first, last) = span.entry(outcome.partition).or_insert((outcome.sent_us, outcome.sent_us));
        *first = outcome.sent_us.min(*first);
        *last = outcome.sent_us.max(*last);
        if outcome.result.is_ok() {
            moments.entry(outcome.partition).or_default().push(outcome.done_us);
        }
    }
    let mut worst: Option<(i64, i32, i64, i64)> = None;
    for (partition, (first, last)) in span {
        let mut moments = moments.remove(&partition).unwrap_or_default();
        moments.extend([first, last]);
        moments.sort_unstable();
        let outages = outages(run, partition);
        for (&from, &to) in moments.iter().zip(moments.iter().skip(1)) {
            let outage = share_us(&outages, from, to);
            if to - from > figures.stall_us {
                (figures.stall_us, figures.outage_us) = (to - from, outage);
            }
            let excess = to - from - outage;
            figures.excess_us = figures.excess_us.max(excess);
            if excess > rules.stall_us && worst.is_none_or(|(known, ..)| excess > known) {
                worst = Some((excess, partition, from, to));
            }
        }
    }
    if let Some((excess, partition, from, to)) = worst {
        let text = format!(
            "{} had no success in partition {partition} for {} from {from} on, {} beyond the partition's own outage, {}",
            writer.name,
            seconds(to - from),
            seconds(excess),
            place(event_of(run, from, to)),
        );
        breaches.push(Breach::new(Kind::Stall, text));
    }
}

/// The outages of a partition. Metadata doesn't show that a leader's followers can't reach it; and when they can again, TCP
/// tries only after as long once more, since its pauses double.
fn outages(run: &Run, partition: i32) -> Vec<(i64, i64)> {
    let mut all = run.outages.get(&partition).cloned().unwrap_or_default();
    let cuts = run
        .events
        .iter()
        .filter(|event| event.skipped.is_none() && event.what.starts_with("cut off from brokers"));
    all.extend(cuts.map(|cut| (cut.start_us, cut.end_us + (cut.end_us - cut.start_us))));
    all.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}
