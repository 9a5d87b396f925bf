//! Writes to the nodes of quotas that servers take, propose, and can't apply: the second half of the poison shield.
//!
//! A quota on `/a` is two nodes: `/zookeeper/quota/a/zookeeper_limits` with what is allowed, and `…/zookeeper_stats` with what is used. Everyone
//! may write there, and servers look at what was written only when a transaction is applied, where a fault of theirs ends the
//! process, or fails every later write under `/a`; it comes again when the log is read at the next start. Seen on the servers' own
//! `DataTree`, 3.5.9 to 3.9.6:
//!
//! - a `zookeeper_limits` without a path between `/zookeeper/quota` and itself can't be made, and one elsewhere in a node
//!   whose path begins with `/zookeeper` can't be deleted, be it with its session;
//! - limits that can't be read fail each write under their node (to 3.6), used amounts that can't be read on all versions. What
//!   a `zookeeper_stats` is made with doesn't matter: servers overwrite it at once.

use super::wire::{CreateMode, Op, Request};
use std::str::FromStr;

/// What quotas are kept under.
const QUOTAS: &[u8] = b"/zookeeper/quota/";
/// The server's own nodes; its test is on the text, so that `/zookeeper_x` is one of them.
const OWN: &[u8] = b"/zookeeper";
const LIMITS: &[u8] = b"zookeeper_limits";
const STATS: &[u8] = b"zookeeper_stats";

/// Why no server can apply this write, or why none could apply another after it.
pub(super) fn fault(request: &Request<'_>) -> Option<&'static str> {
    match *request {
        Request::Create(create) => of(&Op::Create(create)),
        Request::Delete { path, version } => of(&Op::Delete { path, version }),
        Request::SetData { path, data, version } => of(&Op::SetData { path, data, version }),
        Request::Multi(multi) => multi.iter().find_map(|op| of(&op)),
        _ => None,
    }
}

fn of(op: &Op<'_>) -> Option<&'static str> {
    let path = op.path()?.as_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (parent, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    if !parent.starts_with(OWN) {
        return None;
    }
    let is_of_quota = parent.strip_prefix(QUOTAS).is_some_and(|namespace| !namespace.is_empty());
    match op {
        // With a number behind its name it is another node.
        Op::Create(create) if create.mode().is_some_and(CreateMode::is_sequential) => None,
        Op::Create(_) | Op::Delete { .. } if name == LIMITS && !is_of_quota => {
            Some("limits of a quota that belong to no node")
        }
        Op::Create(create) if name == LIMITS && !is_amounts(create.data) => {
            Some("limits of a quota that can't be read")
        }
        Op::SetData { data, .. }
            if is_of_quota && (name == LIMITS || name == STATS) && !is_amounts(*data) =>
        {
            Some("amounts of a quota that can't be read")
        }
        _ => None,
    }
}

/// Whether servers of all versions can read this (`StatsTrack`): `count=…,bytes=…` to 3.6, which take the two numbers by their place, and
/// the first one for an `int`; from 3.7 on any keys, each with a `long`, with `,` or `;` between them, written so that older ones can read
/// it, too: `count=4,bytes=5=;countHardLimit=9`.
fn is_amounts(data: Option<&[u8]>) -> bool {
    let Some(data) = data else { return false };
    let [count, bytes] = split(data, |byte| byte == b',')[..] else { return false };
    if !number(count).is_some_and(is_number::<i32>) || !number(bytes).is_some_and(is_number::<i64>) {
        return false;
    }
    let mut pairs = data.split(|byte| matches!(byte, b',' | b';'));
    // Separators in a row are one; at the beginning they leave an empty key.
    pairs.next().is_some_and(is_pair) && pairs.filter(|pair| !pair.is_empty()).all(is_pair)
}

/// Java's `split`: without empty strings at the end.
fn split(text: &[u8], at: impl Fn(u8) -> bool) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = text.split(|byte| at(*byte)).collect();
    while parts.pop_if(|part| part.is_empty()).is_some() {}
    parts
}

/// What stands behind the first `=`, up to the next.
fn number(pair: &[u8]) -> Option<&[u8]> {
    split(pair, |byte| byte == b'=').get(1).copied()
}

fn is_pair(pair: &[u8]) -> bool {
    number(pair).is_some_and(|number| number.is_empty() || is_number::<i64>(number))
}

fn is_number<N: FromStr>(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<N>().is_ok())
}

#[cfg(test)]
mod tests;
