//! Whether watches were told what they had to be told.
//!
//! A one-shot watch is set on a state, known by the transaction that made it. The first change after that state must be told
//! to it: one event, of the change's kind. So:
//! - **missed**: the watch is set again and finds another state, or the end comes with another state, and no event came;
//! - **false**: an event before any change was asked for;
//! - **twice**: an event with no watch set since the event before it;
//! - **mistaken**: an event of another kind than the change.
//!
//! Who changes the nodes waits, but not for ever, until each change was told before the next one is made: so two changes
//! that cancel each other out, of which no server tells a watch that was set anew in between, are rare.
//!
//! A persistent recursive watch must be told of each change once, in order; of what may have happened in a gap, at most once.

use std::collections::BTreeMap;

use super::gaps::Gap;
use crate::zookeeper::history::{Kind, Line};

/// A change that somebody made at a watched node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Of what kind of watch it is the business.
    pub kind: Kind,
    /// The transaction.
    pub zxid: i64,
    /// When it was asked for, in microseconds since the epoch.
    pub sent_us: i64,
    /// When it was known to be made.
    pub done_us: i64,
    /// What a watch is told of it: created, deleted, changed, children.
    pub what: &'static str,
}

/// The judgement on a client's one-shot watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    /// How often one was set.
    pub armed: usize,
    /// Events that were due and came.
    pub told: usize,
    /// Changes that a watch was not told of.
    pub missed: Vec<String>,
    /// Events without a change.
    pub false_events: Vec<String>,
    /// Events without a watch that was set.
    pub twice: Vec<String>,
    /// Events of another kind than the change.
    pub mistaken: Vec<String>,
    /// Watches that the library dropped and said so.
    pub dropped: usize,
    /// The longest time from a change, or from the setting of the watch if that was later, to its event, in microseconds.
    pub slowest_us: i64,
}

/// Judges a client's one-shot watches. `changes` are in the order in which they were made, the last of them long enough ago.
pub fn judge_watches(lines: &[Line], changes: &[Made]) -> Watches {
    let mut found = Watches::default();
    for kind in Kind::ALL {
        let changes: Vec<&Made> = changes.iter().filter(|made| made.kind == kind).collect();
        one_kind(lines, kind, &changes, &mut found);
    }
    found
}

/// A watch that was set.
struct Armed {
    at_us: i64,
    state: i64,
    /// The first change that it must be told of is behind this transaction.
    since: i64,
}

fn one_kind(lines: &[Line], kind: Kind, changes: &[&Made], found: &mut Watches) {
    let word = kind.word();
    let mut watch: Option<Armed> = None;
    for line in lines {
        match line {
            Line::Armed { kind: of, at_us, state, .. } if *of == kind => {
                found.armed += 1;
                let armed =
                    Armed { at_us: *at_us, state: *state, since: since(kind, *state, *at_us, changes) };
                if let Some(before) = watch.take().filter(|before| before.state != armed.state) {
                    found.missed.push(format!(
                        "{word}: set on {:#x}, found {:#x} without an event",
                        before.state, armed.state
                    ));
                }
                watch = Some(armed);
            }
            Line::Event { kind: of, at_us, what } if *of == kind => {
                let Some(armed) = watch.take() else {
                    found.twice.push(format!("{word}: {what} at {at_us}"));
                    continue;
                };
                match changes.iter().find(|made| made.zxid > armed.since) {
                    Some(made) if made.sent_us <= *at_us => {
                        found.told += 1;
                        found.slowest_us = found.slowest_us.max(at_us - made.done_us.max(armed.at_us));
                        if made.what != what {
                            let text = format!("{word}: {what} for {} of {:#x}", made.what, made.zxid);
                            found.mistaken.push(text);
                        }
                    }
                    _ => found.false_events.push(format!("{word}: {what} at {at_us}")),
                }
            }
            Line::Dropped { kind: of, .. } if *of == kind => found.dropped += 1,
            _ => {}
        }
    }
    if let Some(armed) = watch
        && let Some(made) = changes.iter().find(|made| made.zxid > armed.since)
    {
        let later = changes.iter().filter(|made| made.zxid > armed.since).count();
        found.missed.push(format!(
            "{word}: set on {:#x}, never told of {:#x} ({later} changes since)",
            armed.state, made.zxid
        ));
    }
}

/// The transaction behind which changes are news to a watch. An absence has no transaction of its own: it is the last removal
/// that had been asked for (of a child: the last change of the list).
fn since(kind: Kind, state: i64, at_us: i64, changes: &[&Made]) -> i64 {
    if state != 0 {
        return state;
    }
    let before = changes.iter().filter(|made| made.sent_us <= at_us);
    let removals = before.filter(|made| kind != Kind::Exist || made.what == "deleted");
    removals.map(|made| made.zxid).max().unwrap_or(0)
}

/// A change below a node with a persistent recursive watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planting {
    /// The last part of the path; each node is made, written and removed once.
    pub node: String,
    /// created, changed, deleted.
    pub what: &'static str,
    /// When it was asked for, in microseconds since the epoch.
    pub sent_us: i64,
    /// When it was known to be made.
    pub done_us: i64,
}

/// The judgement on a persistent recursive watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Changes that were due.
    pub due: usize,
    /// Changes not told.
    pub missed: Vec<String>,
    /// Changes not told that are excused, since they may have happened in a gap; they are not among those that were due.
    pub hidden: usize,
    /// Told more than once.
    pub twice: Vec<String>,
    /// Told after a later change.
    pub disordered: Vec<String>,
    /// Told and never made.
    pub false_events: Vec<String>,
}

/// Judges a persistent recursive watch by the changes made below it, in their order. Those before it was first set don't count;
/// those in `gaps` count if they were told.
pub fn judge_tree(lines: &[Line], changes: &[Planting], gaps: &[Gap]) -> Tree {
    let planted = lines.iter().find_map(|line| match line {
        Line::Planted { at_us } => Some(*at_us),
        _ => None,
    });
    let Some(planted) = planted else { return Tree::default() };
    let places: BTreeMap<(&str, &str), usize> =
        changes.iter().enumerate().map(|(place, made)| ((made.node.as_str(), made.what), place)).collect();
    let mut seen = vec![0_usize; changes.len()];
    let mut found = Tree::default();
    let mut highest = 0;
    for line in lines {
        let Line::Tree { node, what, .. } = line else { continue };
        let name = || format!("{what} {node}");
        let Some(&place) = places.get(&(node.as_str(), what.as_str())) else {
            found.false_events.push(name());
            continue;
        };
        let Some(count) = seen.get_mut(place) else { continue };
        *count += 1;
        if *count > 1 {
            found.twice.push(name());
        } else if place < highest {
            found.disordered.push(name());
        }
        highest = highest.max(place);
    }
    for (made, count) in changes.iter().zip(seen).filter(|(made, _)| made.sent_us >= planted) {
        if count == 0 && gaps.iter().any(|gap| gap.touches(made.sent_us, made.done_us)) {
            found.hidden += 1;
            continue;
        }
        found.due += 1;
        if count == 0 {
            found.missed.push(format!("{} {}", made.what, made.node));
        }
    }
    found
}
