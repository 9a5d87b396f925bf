//! Whether a write that was not applied can have been reached and rejected, or can't have been reached at all.
//!
//! The state that it would have met is known where nothing has touched it since: what is left is permission (a list that
//! was never changed, and gives the right to everyone), quotas (there are none), and the throttle for requests that have
//! waited too long (`throttledOpWaitTime`, off by default), which is not looked into.

use super::Case;
use super::evidence::{Evidence, Seen};
use super::paths;
use crate::zookeeper::wire::AclList;

/// `Perms.WRITE`.
pub(super) const WRITE: i32 = 2;
/// `Perms.CREATE`.
pub(super) const CREATE: i32 = 4;
/// `Perms.DELETE`.
pub(super) const DELETE: i32 = 8;

/// Whether everyone has had this right to the node ever since `floor`, and no quota can be in the way.
pub(super) fn allowed(path: &[u8], right: i32, case: &Case<'_, '_>, evidence: &mut Evidence) -> bool {
    if !case.others_behind {
        return false; // nothing would follow from it, and the reads are saved
    }
    let everyone = match evidence.acl(path).0 {
        // A list that was changed since has no zxid; one that was never changed is as old as its node.
        Seen::There((list, stat)) if stat.aversion == 0 && stat.czxid <= case.floor => {
            list.iter().any(|(perms, scheme, id)| perms & right != 0 && scheme == b"world" && id == b"anyone")
        }
        _ => false,
    };
    everyone && no_quota(case, evidence)
}

fn no_quota(case: &Case<'_, '_>, evidence: &mut Evidence) -> bool {
    match evidence.stat(b"/zookeeper/quota").0 {
        Seen::There(stat) => stat.num_children == 0 && stat.pzxid <= case.floor,
        _ => false,
    }
}

/// Whether servers certainly take a new node's path and list.
pub(super) fn can_be_made(path: &[u8], acl: Option<AclList<'_>>) -> bool {
    paths::is_plain(path) && acl.is_some_and(|acl| acl.is_open())
}
