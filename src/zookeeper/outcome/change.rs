//! The evidence for writes to nodes that are there: delete, setData, setACL, reconfig.

use super::evidence::{Absence, AclEntry, Evidence, Seen};
use super::{Case, Fact, Rivals, certain, paths};
use crate::zookeeper::wire::{AclList, Text, Writer, errors};

/// "Whatever version it has."
const ANY: i32 = -1;
/// The node that holds the ensemble's configuration.
const CONFIG: &[u8] = b"/zookeeper/config";

/// The node isn't there: if it has been away for long enough, the write was or would be rejected.
fn away(path: &[u8], found: u64, case: &Case<'_, '_>, evidence: &mut Evidence) -> Fact {
    match evidence.absence(path, found, case.floor) {
        Absence::Since(_) | Absence::WithParent => Fact::rejected(errors::NO_NODE),
        Absence::Unknown => Fact::UNKNOWN,
    }
}

pub(super) fn delete(
    path: Option<Text<'_>>,
    version: i32,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    let Some(path) = path.map(Text::as_bytes) else {
        return Fact::NOT;
    };
    let (seen, found) = evidence.stat(path);
    let stat = match seen {
        Seen::Hidden => return Fact::UNKNOWN,
        // Gone: it is done, but by whom?
        Seen::Absent => match away(path, found, case, evidence) {
            Fact::Unknown { .. } => return Fact::LIKELY,
            fact => return fact,
        },
        Seen::There(stat) if stat.czxid > case.floor => return Fact::UNKNOWN,
        Seen::There(stat) => stat,
    };
    let untouched = stat.mzxid <= case.floor;
    if untouched && version != ANY && version != stat.version {
        return Fact::rejected(errors::BAD_VERSION);
    }
    let acceptable = (version == ANY || untouched)
        && stat.num_children == 0
        && stat.pzxid <= case.floor
        && paths::is_plain(path)
        && paths::parent(path).is_some_and(|at| certain::allowed(at, certain::DELETE, case, evidence));
    Fact::Not { err: None, reached: !acceptable }
}

pub(super) fn set_data(
    path: Option<Text<'_>>,
    data: Option<&[u8]>,
    version: i32,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    let Some(path) = path.map(Text::as_bytes) else {
        return Fact::NOT;
    };
    let (seen, found) = evidence.data(path);
    let (bytes, stat) = match seen {
        Seen::Hidden => return Fact::UNKNOWN,
        Seen::Absent => return away(path, found, case, evidence),
        Seen::There(found) => found,
    };
    let same = bytes.as_deref() == data;
    if stat.mzxid <= case.floor {
        // Untouched since.
        if version != ANY && version != stat.version {
            return Fact::rejected(errors::BAD_VERSION);
        }
        let acceptable = paths::is_plain(path) && certain::allowed(path, certain::WRITE, case, evidence);
        return Fact::Not { err: None, reached: !acceptable };
    }
    if version == ANY || version < 0 || stat.czxid > case.floor {
        return if same { Fact::LIKELY } else { Fact::UNKNOWN };
    }
    // The same node; its version only grows.
    match i64::from(stat.version) - i64::from(version) {
        ..=0 => Fact::NOT,
        // Who took it from this version to the next wrote what is there.
        1 if !same => Fact::rejected(errors::BAD_VERSION),
        1 if case.rivals != Rivals::Same && case.flight.writers(path, data) == 1 => {
            Fact::Applied { body: stat.write(Writer::record()).finish(), zxid: stat.mzxid }
        }
        1 => Fact::LIKELY,
        _ => Fact::UNKNOWN,
    }
}

pub(super) fn set_acl(
    path: Option<Text<'_>>,
    acl: Option<AclList<'_>>,
    version: i32,
    case: &Case<'_, '_>,
    evidence: &mut Evidence,
) -> Fact {
    let Some(path) = path.map(Text::as_bytes) else {
        return Fact::NOT;
    };
    let (seen, found) = evidence.acl(path);
    let (list, stat) = match seen {
        Seen::Hidden => return Fact::UNKNOWN,
        Seen::Absent => return away(path, found, case, evidence),
        Seen::There(found) => found,
    };
    let same = same_list(acl, &list);
    if version < 0 || stat.czxid > case.floor {
        return Fact::Unknown { likely: same == Some(true) };
    }
    match (i64::from(stat.aversion) - i64::from(version), same) {
        (..=0, _) => Fact::NOT,
        (1, Some(false)) => Fact::rejected(errors::BAD_VERSION),
        // No zxid says when it was set, and the one before was often the same list: never proved.
        (1, Some(true)) => Fact::LIKELY,
        _ => Fact::UNKNOWN,
    }
}

/// Whether a list that was asked for is the one that was read; `None` where that can't be told: servers put identities
/// in the place of `auth`, and hide those of `digest` from who isn't an administrator of the node.
pub(super) fn same_list(wanted: Option<AclList<'_>>, found: &[AclEntry]) -> Option<bool> {
    let bytes = |text: Option<Text<'_>>| text.unwrap_or_default().as_bytes().to_vec();
    let wanted: Vec<AclEntry> =
        wanted?.iter().map(|acl| (acl.perms, bytes(acl.scheme), bytes(acl.id))).collect();
    if wanted == found {
        return Some(true);
    }
    let telling = |list: &[AclEntry]| {
        let distinct =
            list.iter().enumerate().all(|(at, entry)| !list.iter().skip(at + 1).any(|e| e == entry));
        distinct && list.iter().all(|(_, scheme, _)| scheme == b"world" || scheme == b"ip")
    };
    (telling(&wanted) && telling(found)).then_some(false)
}

/// The configuration's version is the zxid of the change that brought it.
pub(super) fn reconfig(case: &Case<'_, '_>, evidence: &mut Evidence) -> Fact {
    let Seen::There((data, stat)) = evidence.data(CONFIG).0 else {
        return Fact::UNKNOWN;
    };
    match data.as_deref().and_then(config_version) {
        Some(version) if version <= case.floor && stat.mzxid <= case.floor => Fact::NOT,
        Some(_) => Fact::LIKELY,
        None => Fact::UNKNOWN,
    }
}

/// The line `version=` of a configuration: hexadecimal, the last of it.
fn config_version(data: &[u8]) -> Option<i64> {
    let line = data.split(|byte| *byte == b'\n').rev().find_map(|line| line.strip_prefix(b"version="))?;
    i64::from_str_radix(std::str::from_utf8(line).ok()?.trim(), 16).ok()
}
