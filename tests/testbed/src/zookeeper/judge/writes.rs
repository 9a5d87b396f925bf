//! Whether writes were told truthfully. Every client has nodes of its own, so that nobody else's writes are among them.
//!
//! - The register: one write at a time, each with a value of its own and under the condition that the version is the one
//!   that is known. A write that was applied has made exactly one version; the versions up to the last must be those of
//!   writes that were told done, or of unknown ones.
//! - Sequential nodes, each with data of its own: told done is there once, under the path that was told; unknown is there
//!   once or not at all; refused is not there.
//! - Nodes that are made once and some of which are removed once: likewise. Nobody else makes or removes them, so that
//!   "exists already" and "is not there" are lies.

use std::collections::{BTreeMap, BTreeSet};

use crate::zookeeper::history::{Call, Op, Outcome};

/// What is in the ensemble at the end, below a client's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// The register's value and version.
    pub register: (String, i32),
    /// The sequential nodes: path and data.
    pub sequence: Vec<(String, String)>,
    /// Names of the nodes that are made and removed.
    pub nodes: BTreeSet<String>,
}

/// The judgement on a client's writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Writes asked for.
    pub asked: usize,
    /// Told done.
    pub done: usize,
    /// Told an error that leaves open whether they were done, by its name.
    pub unknown: BTreeMap<String, usize>,
    /// Unknown ones that were done.
    pub unknown_done: usize,
    /// Told an error that says they were not done, by its name.
    pub refused: BTreeMap<String, usize>,
    /// What was told and is not so.
    pub wrong: Vec<String>,
    /// The longest time without a success of one of the streams, in microseconds.
    pub longest_pause_us: i64,
    /// The longest time that a successful write took.
    pub slowest_us: i64,
}

impl Writes {
    /// The number of unknown outcomes.
    pub fn unknown(&self) -> usize {
        self.unknown.values().sum()
    }

    /// The number of refused writes.
    pub fn refused(&self) -> usize {
        self.refused.values().sum()
    }
}

/// Judges one client's writes by what is there at the end.
pub fn judge_writes(ops: &[Op], truth: &Truth) -> Writes {
    let mut found = Writes::default();
    for op in ops.iter().filter(|op| op.call != Call::Read) {
        found.asked += 1;
        match &op.outcome {
            Outcome::Done { .. } => {
                found.done += 1;
                found.slowest_us = found.slowest_us.max(op.done_us - op.sent_us);
            }
            Outcome::Unknown(name) => *found.unknown.entry(name.clone()).or_default() += 1,
            Outcome::Refused(text) => {
                let name = text.split(':').next().unwrap_or("").to_owned();
                *found.refused.entry(name).or_default() += 1;
            }
        }
    }
    register(ops, truth, &mut found);
    sequence(ops, truth, &mut found);
    nodes(ops, truth, &mut found);
    found.longest_pause_us = [
        |call: &Call| matches!(call, Call::Set { .. }),
        |call: &Call| matches!(call, Call::Sequence(_)),
        |call: &Call| matches!(call, Call::Create(_) | Call::Delete(_)),
    ]
    .into_iter()
    .map(|of_stream| longest_pause(ops, of_stream))
    .max()
    .unwrap_or(0);
    found
}

fn longest_pause(ops: &[Op], of_stream: fn(&Call) -> bool) -> i64 {
    let mut longest = 0;
    let mut last: Option<i64> = None;
    let mut end = 0;
    for op in ops.iter().filter(|op| of_stream(&op.call)) {
        end = op.done_us;
        if matches!(op.outcome, Outcome::Done { .. }) {
            longest = longest.max(last.map_or(0, |last| op.done_us - last));
            last = Some(op.done_us);
        }
    }
    longest.max(last.map_or(0, |last| end - last))
}

fn register(ops: &[Op], truth: &Truth, found: &mut Writes) {
    let sets = || {
        ops.iter().filter_map(|op| match &op.call {
            Call::Set { value, base } => Some((op, value, *base)),
            _ => None,
        })
    };
    let (last_value, last) = &truth.register;
    // Who made which version, as far as it was told.
    let mut made: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for (op, value, base) in sets() {
        let Outcome::Done { version: Some(version), .. } = op.outcome else { continue };
        if version != base + 1 {
            found.wrong.push(format!("set {value} on version {base} was told version {version}"));
        }
        if version > *last {
            found.wrong.push(format!("set {value} was told done as version {version}, the last is {last}"));
        }
        if !made.entry(version).or_default().insert(value) || made.get(&version).is_some_and(|m| m.len() > 1)
        {
            found.wrong.push(format!("version {version} was told done twice, at last for {value}"));
        }
    }
    // Versions that nobody was told of.
    for version in 1..=*last {
        if made.contains_key(&version) {
            continue;
        }
        let mut open = BTreeSet::new();
        let mut denied = BTreeSet::new();
        for (op, value, _) in sets().filter(|(.., base)| base + 1 == version) {
            match &op.outcome {
                Outcome::Unknown(_) => open.insert(value.as_str()),
                _ => denied.insert(value.as_str()),
            };
        }
        if open.is_empty() {
            found
                .wrong
                .push(format!("version {version} was made, but its writer was told otherwise: {denied:?}"));
        } else {
            found.unknown_done += 1;
        }
        made.insert(version, if open.is_empty() { denied } else { open });
    }
    // A refusal needs a version that is another one.
    for (op, value, base) in sets() {
        let later = sets().any(|(other, _, its)| {
            its == base && other.sent_us > op.done_us && matches!(other.outcome, Outcome::Done { .. })
        });
        if matches!(&op.outcome, Outcome::Refused(_)) && (later || base == *last) {
            found.wrong.push(format!("set {value} was refused although version {base} was there"));
        }
    }
    reads(ops, (last_value, *last), &made, found);
}

/// What reads must have found: each version's own value, and never an older version than one that was known.
fn reads(ops: &[Op], last: (&String, i32), made: &BTreeMap<i32, BTreeSet<&str>>, found: &mut Writes) {
    let fits = |version: i32, value: &str| match made.get(&version) {
        Some(values) => values.contains(value),
        // What it was made with.
        None => version == 0,
    };
    let mut known = 0;
    for op in ops {
        let (Call::Set { .. } | Call::Read, Outcome::Done { version: Some(version), text }) =
            (&op.call, &op.outcome)
        else {
            continue;
        };
        if *version < known {
            found.wrong.push(format!("version {version} was told after version {known}"));
        }
        known = known.max(*version);
        if op.call == Call::Read && !fits(*version, text) {
            found.wrong.push(format!("a read found {text} in version {version}, where nobody wrote it"));
        }
    }
    if !fits(last.1, last.0) {
        found.wrong.push(format!("the last version, {}, holds {}, which nobody wrote there", last.1, last.0));
    }
}

fn sequence(ops: &[Op], truth: &Truth, found: &mut Writes) {
    let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, value) in &truth.sequence {
        there.entry(value).or_default().push(path);
    }
    let mut highest: Option<(&str, i64)> = None;
    for op in ops {
        let Call::Sequence(value) = &op.call else { continue };
        let paths = there.remove(value.as_str()).unwrap_or_default();
        if paths.len() > 1 {
            found.wrong.push(format!("sequential {value} is there {} times", paths.len()));
            continue;
        }
        match &op.outcome {
            Outcome::Done { text: path, .. } => {
                if paths.first() != Some(&path.as_str()) {
                    found
                        .wrong
                        .push(format!("sequential {value} was told done as {path}; there is {paths:?}"));
                }
                if let Some((earlier, done_us)) = highest
                    && op.sent_us >= done_us
                    && path.as_str() <= earlier
                {
                    found.wrong.push(format!("sequential {path} came after {earlier}"));
                }
                highest = Some((path, op.done_us));
            }
            Outcome::Unknown(_) => found.unknown_done += paths.len(),
            Outcome::Refused(why) if !paths.is_empty() => {
                found.wrong.push(format!("sequential {value} was refused ({why}) and is there"));
            }
            Outcome::Refused(_) => {}
        }
    }
    for value in there.keys() {
        found.wrong.push(format!("sequential {value} is there and nobody asked for it"));
    }
}

fn nodes(ops: &[Op], truth: &Truth, found: &mut Writes) {
    let deletes: BTreeMap<&str, &Op> = ops
        .iter()
        .filter_map(|op| match &op.call {
            Call::Delete(name) => Some((name.as_str(), op)),
            _ => None,
        })
        .collect();
    let mut strangers: BTreeSet<&str> = truth.nodes.iter().map(String::as_str).collect();
    for op in ops {
        let Call::Create(name) = &op.call else { continue };
        let there = strangers.remove(name.as_str());
        let wrong = match (&op.outcome, deletes.get(name.as_str()).map(|op| &op.outcome)) {
            (Outcome::Done { .. }, None) if !there => Some("was told made and is not there".to_owned()),
            (Outcome::Done { .. }, Some(Outcome::Done { .. })) if there => {
                Some("was told removed and is there".to_owned())
            }
            // Nobody else makes or removes it.
            (Outcome::Done { .. }, Some(Outcome::Refused(why))) => {
                Some(format!("was there, and its removal was refused: {why}"))
            }
            (Outcome::Refused(why), _)
                if there || why.to_lowercase().replace('_', "").contains("nodeexists") =>
            {
                Some(format!("was new, and was refused: {why}"))
            }
            (Outcome::Unknown(_), _) => {
                found.unknown_done += usize::from(there);
                None
            }
            (Outcome::Done { .. }, Some(Outcome::Unknown(_))) => {
                found.unknown_done += usize::from(!there);
                None
            }
            _ => None,
        };
        found.wrong.extend(wrong.map(|what| format!("node {name} {what}")));
    }
    for name in strangers {
        found.wrong.push(format!("node {name} is there and nobody asked for it"));
    }
}
