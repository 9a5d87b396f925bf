//! The evidence for a create.

use bytes::Bytes;

use super::evidence::{Absence, Evidence, Seen};
use super::{Case, Fact, Rivals, certain, change, paths};
use crate::zookeeper::wire::{Create, Stat, Writer, errors, opcode};

/// How many siblings are looked at, newest first, for one that is ours. A lock has as many as it has waiters.
const SIBLINGS: usize = 64;

pub(super) fn judge(create: &Create<'_>, case: &Case<'_, '_>, evidence: &mut Evidence) -> Fact {
    // Without a path, or of a kind that there isn't, no server applies it.
    let (Some(path), Some(mode)) = (create.path, create.mode()) else {
        return Fact::NOT;
    };
    let path = path.as_bytes();
    if mode.is_sequential() {
        return sequential(create, path, mode.is_ephemeral(), case, evidence);
    }
    let (seen, found) = evidence.stat(path);
    match seen {
        Seen::Hidden => Fact::UNKNOWN,
        Seen::Absent => absent(create, path, found, case, evidence),
        // It was there before, and has been since.
        Seen::There(stat) if stat.czxid <= case.floor => Fact::rejected(errors::NODE_EXISTS),
        Seen::There(stat) if mode.is_ephemeral() => {
            // Only this session makes nodes that it owns.
            if stat.ephemeral_owner == case.session && case.flight.makers(path) == 1 {
                applied(create, path, &stat)
            } else if stat.ephemeral_owner == case.session {
                Fact::LIKELY
            } else {
                Fact::UNKNOWN
            }
        }
        Seen::There(stat) => alike(create, path, &stat, case, evidence),
    }
}

fn absent(
    create: &Create<'_>,
    path: &[u8],
    found: u64,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    match evidence.absence(path, found, case.floor) {
        Absence::Since(parent) => {
            Fact::Not { err: None, reached: !was_acceptable(create, path, &parent, case, evidence) }
        }
        Absence::WithParent => Fact::rejected(errors::NO_NODE),
        Absence::Unknown => Fact::UNKNOWN,
    }
}

/// Whether it would have been applied if it had been reached. `parent` hasn't been touched since.
fn was_acceptable(
    create: &Create<'_>,
    path: &[u8],
    parent: &Stat,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> bool {
    let plain = matches!(create.opcode, opcode::CREATE | opcode::CREATE2) && create.flags < 4;
    plain
        && parent.czxid <= case.floor
        && parent.ephemeral_owner == 0
        && certain::can_be_made(path, create.acl)
        && paths::parent(path).is_some_and(|at| certain::allowed(at, certain::CREATE, case, evidence))
}

/// A node that stays, is new, and may be another client's.
fn alike(
    create: &Create<'_>,
    path: &[u8],
    stat: &Stat,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    let same_data = match evidence.data(path).0 {
        Seen::There((data, now)) => {
            now.czxid == stat.czxid && now.version == 0 && data.as_deref() == create.data
        }
        _ => false,
    };
    let same_list = match evidence.acl(path).0 {
        Seen::There((list, now)) => {
            now.czxid == stat.czxid
                && now.aversion == 0
                && change::same_list(create.acl, &list) != Some(false)
        }
        _ => false,
    };
    if !(same_data && same_list) || stat.ephemeral_owner != 0 {
        return Fact::UNKNOWN;
    }
    if case.rivals == Rivals::None && case.flight.makers(path) == 1 {
        applied(create, path, stat)
    } else {
        Fact::LIKELY
    }
}

fn sequential(
    create: &Create<'_>,
    path: &[u8],
    ephemeral: bool,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    let Some(parent) = paths::parent(path) else {
        return Fact::UNKNOWN;
    };
    let (siblings, stat) = match evidence.children(parent) {
        (Seen::There(found), _) => found,
        (Seen::Absent, found) => {
            return match evidence.absence(parent, found, case.floor) {
                Absence::Unknown => Fact::UNKNOWN,
                Absence::Since(_) | Absence::WithParent => Fact::rejected(errors::NO_NODE),
            };
        }
        (Seen::Hidden, _) => return Fact::UNKNOWN,
    };
    if stat.pzxid <= case.floor {
        let reached = !was_acceptable(create, path, &stat, case, evidence);
        return Fact::Not { err: None, reached };
    }
    let prefix = paths::name(path);
    // One that stays is known by its name alone, so that the name must be nobody else's, and only one.
    if case.flight.twins(path) != 1 || !(ephemeral || unique_id(prefix).is_some()) {
        return Fact::UNKNOWN;
    }
    let mut numbered: Vec<Vec<u8>> = siblings
        .numbered(prefix)
        .map(|name| paths::child(parent, name))
        .filter(|child| case.flight.named(child) == 0)
        .collect();
    if !ephemeral && numbered.len() > 1 {
        return Fact::UNKNOWN;
    }
    numbered.sort_unstable_by(|a, b| b.cmp(a));
    let mut fact = Fact::UNKNOWN;
    for child in numbered.iter().take(SIBLINGS) {
        let Seen::There(stat) = evidence.stat(child).0 else { continue };
        let ours = if ephemeral { stat.ephemeral_owner == case.session } else { stat.ephemeral_owner == 0 };
        if ours && stat.czxid > case.floor {
            fact = applied(create, child, &stat);
        }
    }
    fact
}

/// The unique part that Curator puts into the name of a protected node: `_c_`, a UUID, `-`.
fn unique_id(name: &[u8]) -> Option<&[u8]> {
    let id = name.strip_prefix(b"_c_")?.get(..36)?;
    let is_uuid = id.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then_some(id)
}

/// It was applied, and made this node.
fn applied(create: &Create<'_>, path: &[u8], now: &Stat) -> Fact {
    Fact::Applied { body: body(create, path, now), zxid: now.czxid }
}

fn body(create: &Create<'_>, path: &[u8], now: &Stat) -> Bytes {
    let path = Writer::record().text(path);
    if create.opcode == opcode::CREATE { path.finish() } else { newborn(create, now).write(path).finish() }
}

/// The stat that a node had when it was made, from what it has now.
pub(super) fn newborn(create: &Create<'_>, now: &Stat) -> Stat {
    Stat {
        czxid: now.czxid,
        mzxid: now.czxid,
        ctime: now.ctime,
        mtime: now.ctime,
        ephemeral_owner: now.ephemeral_owner,
        data_length: create.data.map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
        pzxid: now.czxid,
        ..Stat::default()
    }
}
