//! Sequential nodes: each number once, growing with time, and each node there under the path that was told.

use std::collections::BTreeMap;

use super::Verdict;
use crate::zookeeper::chaos::record::{Call, Op, Run, Told};

/// The number at the end of a sequential node's path.
fn number(path: &str) -> Option<u64> {
    path.get(path.len().checked_sub(10)?..)?.parse().ok()
}

pub(super) fn check(run: &Run, found: &mut Verdict) {
    let breaches = &mut found.breaches;
    let mut there: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, value) in &run.truth.sequence {
        there.entry(value).or_default().push(path);
    }
    let mut told: Vec<(&Op, u64)> = Vec::new();
    for op in run.ops() {
        let Call::Sequence { value, ephemeral } = &op.call else { continue };
        let paths = there.get(value.as_str()).map(Vec::as_slice).unwrap_or_default();
        if paths.len() > 1 {
            breaches.push(format!("sequential {value} is there {} times", paths.len()));
        }
        match &op.told {
            Told::Done(node) => {
                let path = node.first().map_or("", |node| node.text.as_str());
                let Some(number) = number(path) else {
                    breaches.push(format!("sequential {value} was told to be {path:?}"));
                    continue;
                };
                told.push((op, number));
                // An ephemeral one ends with its session; whether that was right is judged elsewhere.
                let gone = paths.is_empty() && *ephemeral;
                if paths.first() != Some(&path) && !gone {
                    breaches.push(format!("sequential {value} was told to be {path}; there is {paths:?}"));
                }
            }
            Told::Refused(code) if !paths.is_empty() => {
                breaches.push(format!("sequential {value} was refused ({code}) and is there: {paths:?}"));
            }
            _ => {}
        }
    }
    // By number: whoever has a higher one must not have been told before a lower one was asked for.
    told.sort_by_key(|(_, number)| *number);
    for pair in told.windows(2) {
        if let [(one, number), (other, same)] = pair
            && number == same
        {
            breaches.push(format!("sequential number {number} twice: {:?} and {:?}", one.call, other.call));
        }
    }
    let mut latest: Option<(&Op, u64)> = None;
    for (op, number) in told.iter().rev() {
        // Those seen so far have higher numbers; the first of them to be told:
        if let Some((higher, its)) = latest
            && higher.done_us < op.sent_us
        {
            breaches.push(format!("number {its} was told before {number} was asked for: {op:?}"));
        }
        if latest.is_none_or(|(old, _)| op.done_us < old.done_us) {
            latest = Some((op, *number));
        }
    }
}
