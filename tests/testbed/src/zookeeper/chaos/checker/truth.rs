//! Each verdict against what the servers wrote down: their transaction logs name the session and the number of the request
//! behind every transaction. What a session read is held against what was there.

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_NODE, Verdict};
use crate::zookeeper::chaos::record::{Call, Change, Found, Line, Op, Run, Told, Txn};

/// A state of a node, and the transaction that brought it.
type State<'a> = (i64, Option<(i32, &'a str)>);

pub(super) fn check(run: &Run, found: &mut Verdict) {
    for gap in &run.truth.gaps {
        found.breaches.push(format!("the servers' logs have a gap: {gap}"));
    }
    // What each request did. One that is in the logs twice was applied twice.
    let mut done: BTreeMap<(i64, i32), Vec<&Txn>> = BTreeMap::new();
    let mut states: BTreeMap<&str, Vec<State<'_>>> = BTreeMap::new();
    for txn in run.truth.log.iter().filter(|txn| !txn.changes.is_empty()) {
        done.entry((txn.session, txn.xid)).or_default().push(txn);
        for change in &txn.changes {
            let (path, state) = match change {
                Change::Made { path, value } => (path, Some((0, value.as_str()))),
                Change::Set { path, value, version } => (path, Some((*version, value.as_str()))),
                Change::Removed { path } => (path, None),
                Change::Ended => continue,
            };
            states.entry(path).or_default().push((txn.zxid, state));
        }
    }
    for op in run.ops() {
        if op.call.is_read() {
            read(op, &states, found);
        } else {
            let txns = done.get(&(op.session, op.xid)).map(Vec::as_slice).unwrap_or_default();
            written(op, txns, found);
        }
    }
    ended(run, found);
}

fn written(op: &Op, txns: &[&Txn], found: &mut Verdict) {
    if txns.len() > 1 {
        let zxids: Vec<String> = txns.iter().map(|txn| format!("{:#x}", txn.zxid)).collect();
        found.breaches.push(format!("applied {} times, in {}: {op:?}", txns.len(), zxids.join(", ")));
    }
    match (&op.told, txns.first()) {
        (Told::Done(_), None) => found.breaches.push(format!("told done, and never applied: {op:?}")),
        (Told::Refused(_), Some(txn)) => {
            found.breaches.push(format!("told refused, and applied in {:#x}: {op:?}", txn.zxid));
        }
        (Told::Unknown, Some(_)) => found.unknown_done += 1,
        (Told::Done(nodes), Some(txn)) => {
            let wrong = nodes.iter().any(|node| node.mzxid != txn.zxid);
            if wrong {
                found.breaches.push(format!("told another transaction than {:#x}: {op:?}", txn.zxid));
            }
            if let (Call::Sequence { .. }, Some(node), Some(Change::Made { path, .. })) =
                (&op.call, nodes.first(), txn.changes.first())
                && node.text != *path
            {
                found.breaches.push(format!("told {}, and made {path}: {op:?}", node.text));
            }
        }
        _ => {}
    }
}

/// A read must have found a state of some moment that is not before what its session knew, and not behind its own answer.
fn read(op: &Op, states: &BTreeMap<&str, Vec<State<'_>>>, found: &mut Verdict) {
    let Call::Get { path, .. } = &op.call else { return };
    let states = states.get(path.as_str()).map(Vec::as_slice).unwrap_or_default();
    let fits = |wanted: &dyn Fn(&State<'_>) -> bool| {
        let ends = states.iter().skip(1).map(|(zxid, _)| *zxid).chain([i64::MAX]);
        let mut spans = states.iter().zip(ends);
        spans.any(|(state, end)| wanted(state) && state.0 <= op.zxid && end > op.floor)
    };
    let right = match &op.told {
        Told::Done(nodes) => {
            let Some(Found { mzxid, version, text }) = nodes.first() else { return };
            fits(&|(zxid, state)| zxid == mzxid && *state == Some((*version, text.as_str())))
        }
        Told::Refused(NO_NODE) => fits(&|(_, state)| state.is_none()),
        _ => true,
    };
    if !right {
        found.breaches.push(format!("nothing like that was there between {:#x} and then: {op:?}", op.floor));
    }
}

/// Sessions that ended although their clients had not ended them.
fn ended(run: &Run, found: &mut Verdict) {
    let mine: BTreeSet<i64> = run
        .clients
        .iter()
        .flatten()
        .filter_map(|line| match line {
            Line::Connected { session, .. } => Some(*session),
            _ => None,
        })
        .collect();
    for txn in run.truth.log.iter().filter(|txn| txn.changes.contains(&Change::Ended)) {
        if mine.contains(&txn.session) {
            found.breaches.push(format!("session {:#x} was ended in {:#x}", txn.session, txn.zxid));
        }
    }
}
