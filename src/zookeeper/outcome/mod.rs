//! What became of the writes that were sent and not answered: decided behind the fence, from what is read back.
//!
//! The caller has reattached the session and has the fence's answer, so that nothing of the old connection can still be
//! applied. It calls [`decide`] with the writes in the order in which they were sent; as long as that asks for reads, it
//! sends them ([`Read::frame`]), lets [`Evidence`] learn the answers in the order in which they come, and calls again.
//!
//! Imports [`wire`](super::wire) only. Never guesses: a verdict other than [`Verdict::Unknown`] is proved, whatever other
//! clients do meanwhile (but see [`Rivals`]).
//!
//! Three facts carry it. Writes of one session are applied in the order in which they were sent, up to some one of them
//! and none behind it. A write that is not answered has a higher zxid than any **answer** that came on its connection (but
//! not than any event: its own come first). And a node whose zxids aren't higher than that hasn't been touched since.
//!
//! "Not applied" is less than "not reached": a server may have rejected the one write (`NoAuth`) and applied the next. So
//! a write that wasn't applied says of those behind it only that they weren't either if it could not have been rejected
//! (`certain.rs`).

mod certain;
mod change;
mod create;
mod evidence;
mod flight;
mod multi;
mod paths;

pub use evidence::{Evidence, Read};
use flight::Flight;

use bytes::Bytes;

use super::wire::{CreateMode, Op, Request, errors};

/// A write that was sent and not answered.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'a> {
    /// What was asked.
    pub request: Request<'a>,
    /// The highest zxid in the header of any answer that came on its connection before that was lost, or of any before
    /// that. Answers to what was sent behind it count (a ping's); events don't, since its own come before its answer.
    ///
    /// The highest that was seen before it was *sent* is not enough where another write was answered in between: that
    /// one's traces would be taken for this one's.
    pub z0: i64,
    /// Whether writes of the session's earlier connections, which nobody here knows of, may have been applied behind `z0`: the
    /// client came with a session that it had, and no write was answered since (that one would be behind them all). Then
    /// what looks like this one's doing may be theirs, and proves nothing.
    pub inherits: bool,
}

/// What other clients are supposed to do. Evidence that is of identity (owners, names, zxids) needs no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rivals {
    /// They may write the same bytes to the same version of the same node at the same moment: a counter that two clients raise by
    /// compare-and-set is such a node. Nothing else can be relied on.
    #[default]
    Same,
    /// They may write to the same nodes, but not the same bytes over the same version.
    Distinct,
    /// None writes to the nodes that this session writes to.
    None,
}

/// What is known of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was applied: answered with this body, without an error.
    Applied {
        /// What follows the header of the answer.
        body: Bytes,
        /// Its transaction. The header of the answer needs the last zxid that is known, which is at least this.
        zxid: i64,
    },
    /// It was not applied, and would be rejected if it were sent again: answered with this error.
    Rejected(i32),
    /// It was not applied: sent again, in its order among those that are.
    Replay,
    /// Neither can be proved. Answered by policy; never sent again.
    Unknown {
        /// Whether the evidence, though no proof, is for its having been applied. For the log.
        likely: bool,
    },
}

/// What [`decide`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These are to be read first, in this order.
    Read(Vec<Read>),
    /// One verdict for each write, in their order.
    Decided(Vec<Verdict>),
}

/// What the evidence says of one write by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Applied {
        body: Bytes,
        zxid: i64,
    },
    /// Not applied. `err`: what it was or would be rejected with, if that is certain. `reached`: whether it may have been
    /// reached and rejected; if not, nothing behind it was reached.
    Not {
        err: Option<i32>,
        reached: bool,
    },
    Unknown {
        likely: bool,
    },
}

impl Fact {
    const UNKNOWN: Self = Self::Unknown { likely: false };
    const LIKELY: Self = Self::Unknown { likely: true };
    const NOT: Self = Self::Not { err: None, reached: true };

    fn rejected(err: i32) -> Self {
        Self::Not { err: Some(err), reached: true }
    }
}

/// What a write is judged by.
#[derive(Debug, Clone, Copy)]
struct Case<'a, 'b> {
    /// What all that were in flight come to, this one too: its traces and theirs may be alike.
    flight: &'b Flight<'a>,
    session: i64,
    rivals: Rivals,
    /// A lower bound below its zxid: what isn't newer was so before it was applied, if it was.
    floor: i64,
    /// Whether it is worth while to know that it can't have been rejected.
    others_behind: bool,
}

/// The operations of a write that leave traces: itself, or its parts.
fn parts(request: Request<'_>) -> impl Iterator<Item = Op<'_>> {
    let (one, several) = match request {
        Request::Create(create) => (Some(Op::Create(create)), None),
        Request::Delete { path, version } => (Some(Op::Delete { path, version }), None),
        Request::SetData { path, data, version } => (Some(Op::SetData { path, data, version }), None),
        Request::Multi(multi) => (None, Some(multi)),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flat_map(|multi| multi.iter()))
}

/// The verdicts on the writes in flight, or what must be read first.
///
/// `pending`: in the order in which they were sent, without those that were answered. What isn't a write is replayed.
/// `session`: its id. A few rounds at most: the first asks for the nodes, the next for the parents of those that aren't
/// there and for the siblings that may be ours.
pub fn decide(pending: &[Pending<'_>], session: i64, rivals: Rivals, evidence: &mut Evidence) -> Step {
    let flight = Flight::new(pending);
    let mut facts = Vec::with_capacity(pending.len());
    let mut floor = i64::MIN;
    for (index, one) in pending.iter().enumerate() {
        floor = floor.max(one.z0);
        let others_behind = index + 1 < pending.len();
        let case = Case { flight: &flight, session, rivals, floor, others_behind };
        let fact = match judge(one.request, &case, evidence) {
            Fact::Applied { .. } if one.inherits => Fact::LIKELY,
            fact => fact,
        };
        if let Fact::Applied { zxid, .. } = fact {
            // The next ones come behind it, so their zxids are higher.
            floor = floor.max(zxid);
        }
        facts.push(fact);
    }
    match evidence.take_missing() {
        missing if missing.is_empty() => Step::Decided(in_order(facts)),
        missing => Step::Read(missing),
    }
}

fn judge(request: Request<'_>, case: &Case<'_, '_>, evidence: &mut Evidence) -> Fact {
    match request {
        Request::Create(create) => create::judge(&create, case, evidence),
        Request::Delete { path, version } => change::delete(path, version, case, evidence),
        Request::SetData { path, data, version } => change::set_data(path, data, version, case, evidence),
        Request::SetAcl { path, acl, version } => change::set_acl(path, acl, version, case, evidence),
        Request::Multi(multi) => multi::judge(&multi, case, evidence),
        Request::Reconfig(_) => change::reconfig(case, evidence),
        // Whatever else is in flight changes no node.
        _ => Fact::NOT,
    }
}

/// What the facts mean together, since writes are reached in their order.
fn in_order(facts: Vec<Fact>) -> Vec<Verdict> {
    let last_applied = facts.iter().rposition(|fact| matches!(fact, Fact::Applied { .. }));
    let mut replaying = false;
    let mut unreached = false;
    let mut verdicts = Vec::with_capacity(facts.len());
    for (index, fact) in facts.into_iter().enumerate() {
        // One behind it was applied, so this was reached, and is not to come behind that one now.
        let reached = last_applied.is_some_and(|last| index < last);
        let verdict = match fact {
            Fact::Applied { body, zxid } => Verdict::Applied { body, zxid },
            _ if unreached => Verdict::Replay,
            Fact::Not { err: Some(err), .. } if reached => Verdict::Rejected(err),
            Fact::Not { .. } if reached => Verdict::Unknown { likely: false },
            // What it was judged by may be changed by those that are sent again before it.
            Fact::Not { err: Some(err), .. } if !replaying => Verdict::Rejected(err),
            Fact::Not { reached, .. } => {
                unreached = !reached;
                Verdict::Replay
            }
            Fact::Unknown { likely } => Verdict::Unknown { likely },
        };
        replaying |= verdict == Verdict::Replay;
        verdicts.push(verdict);
    }
    verdicts
}

/// The errors that a verdict can carry, for documents and tests.
pub const REJECTIONS: &[i32] = &[errors::NODE_EXISTS, errors::BAD_VERSION, errors::NO_NODE];

#[cfg(test)]
mod tests;
