//! The evidence for a multi: all of its parts were applied or none, so any part tells for all.

use std::collections::HashMap;

use super::evidence::{Evidence, Seen};
use super::{Case, Fact, change, create};
use crate::zookeeper::wire::{CreateMode, Multi, Op, Writer, opcode};

pub(super) fn judge(multi: &Multi<'_>, case: &Case<'_, '_>, evidence: &mut Evidence) -> Fact {
    // It may have been rejected for any other part, so nothing follows for those behind it.
    let case = &Case { others_behind: false, ..*case };
    let mut traces = false;
    let mut likely = false;
    let mut zxid = None;
    for op in multi.iter() {
        let fact = match op {
            Op::Create(create) => create::judge(&create, case, evidence),
            Op::Delete { path, version } => change::delete(path, version, case, evidence),
            Op::SetData { path, data, version } => change::set_data(path, data, version, case, evidence),
            // No trace. (Reads among them make it an error.)
            Op::Check { .. } | Op::GetChildren { .. } | Op::GetData { .. } => continue,
        };
        traces = true;
        match fact {
            // Sent again it gets the true answer, with the error of each part.
            Fact::Not { .. } => return Fact::NOT,
            Fact::Applied { zxid: own, .. } => zxid = Some(own),
            Fact::Unknown { likely: hint } => likely |= hint,
        }
    }
    match zxid {
        None if !traces => Fact::NOT,
        None => Fact::Unknown { likely },
        Some(zxid) => answer(multi, zxid, evidence).unwrap_or(Fact::LIKELY),
    }
}

/// The answer of a multi that was applied in this transaction, if all of it can be known. Containers and nodes with a time to
/// live are answered as `create2`, whichever of the opcodes made them (seen on 3.8.6 and 3.9.5).
fn answer(multi: &Multi<'_>, zxid: i64, evidence: &mut Evidence) -> Option<Fact> {
    let head = |w: Writer, kind: i32| w.i32(kind).bool(false).i32(0);
    let mut times = HashMap::<_, usize>::new();
    for op in multi.iter() {
        *times.entry(op.path()).or_default() += 1;
    }
    let mut body = Writer::record();
    for op in multi.iter() {
        let path = op.path()?.as_bytes();
        body = match op {
            Op::Create(create) => match create.mode()? {
                CreateMode::Persistent | CreateMode::Ephemeral if create.opcode == opcode::CREATE => {
                    head(body, opcode::CREATE).text(path)
                }
                // Which number it got is known only of the one that proved it.
                mode if mode.is_sequential() => return None,
                _ => {
                    let Seen::There(now) = evidence.stat(path).0 else { return None };
                    (now.czxid == zxid).then_some(())?;
                    create::newborn(&create, &now).write(head(body, opcode::CREATE2).text(path))
                }
            },
            Op::Delete { .. } => head(body, opcode::DELETE),
            Op::Check { .. } => head(body, opcode::CHECK),
            Op::SetData { .. } => {
                let Seen::There((_, now)) = evidence.data(path).0 else { return None };
                let alone = times.get(&op.path()) == Some(&1);
                (now.mzxid == zxid && alone).then_some(())?;
                now.write(head(body, opcode::SET_DATA))
            }
            Op::GetChildren { .. } | Op::GetData { .. } => return None,
        };
    }
    let body = body.i32(-1).bool(true).i32(-1).finish();
    Some(Fact::Applied { body, zxid })
}
