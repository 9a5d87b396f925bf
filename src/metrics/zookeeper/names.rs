//! The closed lists of ZooKeeper names that may become label values: operations and errors.
//!
//! Data only. What isn't listed counts as `other`, so that no peer can make a label value. Sources: `ZooDefs.OpCode` and
//! `KeeperException.Code` of 3.4 to 3.9; an error is called as its exception is.

use crate::metrics::protocol::OTHER;

/// One operation: its number on the wire, its name, and whether its time is measured by itself.
pub(in crate::metrics) struct Operation {
    pub(in crate::metrics) opcode: i32,
    pub(in crate::metrics) name: &'static str,
    /// Whether `request_seconds` and `added_seconds` have a series of its own for it. Only for what applications
    /// send while they work: each costs some thirty lines of every scrape.
    pub(in crate::metrics) timed: bool,
}

const fn timed(opcode: i32, name: &'static str) -> Operation {
    Operation { opcode, name, timed: true }
}

const fn rare(opcode: i32, name: &'static str) -> Operation {
    Operation { opcode, name, timed: false }
}

/// Every operation that a client may send; a connect request counts as `createSession`, whose number it hasn't.
pub(in crate::metrics) const OPERATIONS: &[Operation] = &[
    timed(CLOSE_SESSION, "closeSession"),
    timed(CREATE_SESSION, "createSession"),
    timed(1, "create"),
    timed(2, "delete"),
    timed(3, "exists"),
    timed(4, "getData"),
    timed(5, "setData"),
    rare(6, "getACL"),
    rare(7, "setACL"),
    timed(8, "getChildren"),
    timed(9, "sync"),
    timed(11, "ping"),
    timed(12, "getChildren2"),
    rare(13, "check"),
    timed(14, "multi"),
    timed(15, "create2"),
    rare(16, "reconfig"),
    rare(17, "checkWatches"),
    rare(18, "removeWatches"),
    timed(19, "createContainer"),
    rare(20, "deleteContainer"),
    timed(21, "createTTL"),
    timed(22, "multiRead"),
    rare(100, "auth"),
    timed(101, "setWatches"),
    rare(102, "sasl"),
    rare(103, "getEphemerals"),
    rare(104, "getAllChildrenNumber"),
    timed(105, "setWatches2"),
    timed(106, "addWatch"),
    rare(107, "whoAmI"),
];

const CREATE_SESSION: i32 = -10;
const CLOSE_SESSION: i32 = -11;
/// The highest number of an operation, so far.
const HIGHEST: usize = 107;
/// How many slots a table indexed by operation has.
pub(super) const SLOTS: usize = HIGHEST + 3;

/// The slot of an operation in such a table; none for what can't be one. Any value is safe.
pub(super) fn slot(opcode: i32) -> Option<usize> {
    match opcode {
        CREATE_SESSION => Some(HIGHEST + 1),
        CLOSE_SESSION => Some(HIGHEST + 2),
        _ => usize::try_from(opcode).ok().filter(|slot| *slot <= HIGHEST),
    }
}

/// The name of an operation, `other` for a number that isn't listed.
pub fn operation_name(opcode: i32) -> &'static str {
    OPERATIONS.iter().find(|listed| listed.opcode == opcode).map_or(OTHER, |listed| listed.name)
}

/// Error codes that are counted by name: all that servers of 3.4 to 3.9 send, and the one that clients make themselves.
pub(in crate::metrics) const ERRORS: &[(i32, &str)] = &[
    (-127, "ThrottledOp"),
    (-125, "QuotaExceeded"),
    (-124, "SessionClosedRequireSaslAuth"),
    (-123, "ReconfigDisabled"),
    (-122, "RequestTimeout"),
    (-121, "NoWatcher"),
    (-120, "EphemeralOnLocalSession"),
    (-119, "NotReadOnly"),
    (-118, "SessionMoved"),
    (-115, "AuthFailed"),
    (-114, "InvalidACL"),
    (-112, "SessionExpired"),
    (-111, "NotEmpty"),
    (-110, "NodeExists"),
    (-108, "NoChildrenForEphemerals"),
    (-103, "BadVersion"),
    (-102, "NoAuth"),
    (-101, "NoNode"),
    (-14, "ReconfigInProgress"),
    (-13, "NewConfigNoQuorum"),
    (-8, "BadArguments"),
    (-7, "OperationTimeout"),
    (-6, "Unimplemented"),
    (-5, "MarshallingError"),
    (-4, "ConnectionLoss"),
    (-3, "DataInconsistency"),
    (-2, "RuntimeInconsistency"),
    (-1, "SystemError"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_ascending_and_every_operation_has_a_slot_of_its_own() {
        assert!(OPERATIONS.windows(2).all(|pair| pair[0].opcode < pair[1].opcode));
        assert!(ERRORS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let mut slots: Vec<usize> = OPERATIONS.iter().filter_map(|listed| slot(listed.opcode)).collect();
        assert!(slots.iter().all(|slot| *slot < SLOTS));
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), OPERATIONS.len());
        for odd in [-1, -12, 108, i32::MAX, i32::MIN] {
            assert_eq!((slot(odd), operation_name(odd)), (None, OTHER), "{odd}");
        }
        assert_eq!(operation_name(14), "multi");
    }
}
