//! The rows of the operation table, by number, those of the session last. Data only.

use super::Forward::{AsIs, Checked, Refuse, RefuseAndClose};
use super::Kind::{Read, Session, Sync, Write};
use super::Loss::{AfterWatches, Credentials, Handshake, Never, Reattach, Refused, Replay, Verify as By};
use super::Watches::{Children, Data, Exists, Lists, None, Persistent, Remove};
use super::{Forward, Kind, Loss, Operation, Verify, Watches};
use crate::zookeeper::wire::{errors::UNIMPLEMENTED, opcode};

const fn row(
    (opcode, name, minor): (i32, &'static str, u8),
    (kind, forward, watches): (Kind, Forward, Watches),
    (loss, early): (Loss, bool),
    note: &'static str,
) -> Operation {
    Operation { opcode, name, since: (3, minor), kind, forward, watches, loss, early, note }
}

/// One line each: number, name, since 3.x; kind, how it is forwarded, watches; what a loss means; why.
macro_rules! rows {
    ($($opcode:ident $name:literal $minor:literal, $kind:ident $forward:expr, $watches:ident, $loss:expr $(, $early:ident)?; $note:literal)+) => {
        &[$(row((opcode::$opcode, $name, $minor), ($kind, $forward, $watches), ($loss, rows!(@ $($early)?)), $note)),+]
    };
    (@) => { false };
    (@ early) => { true };
}

const NEVER_FORWARD: Forward = Refuse(UNIMPLEMENTED);
const SERVERS_OWN: Forward = RefuseAndClose(UNIMPLEMENTED);

/// Every operation that servers of 3.4 to 3.9 know.
pub static OPERATIONS: &[Operation] = rows! {
    CREATE "create" 4, Write Checked, None, By(Verify::Create); "an ephemeral shows its owner, a sequential one only a unique part of its name"
    DELETE "delete" 4, Write Checked, None, By(Verify::Delete); "still there as it was: sent again. Gone: by whom is unknown"
    EXISTS "exists" 4, Read AsIs, Exists, Replay; "reads; sets its watch again"
    GET_DATA "getData" 4, Read AsIs, Data, Replay; "reads; sets its watch again"
    SET_DATA "setData" 4, Write Checked, None, By(Verify::SetData); "an expected version tells most; without one only an untouched node does"
    GET_ACL "getACL" 4, Read AsIs, None, Replay; "reads"
    SET_ACL "setACL" 4, Write Checked, None, By(Verify::SetAcl); "an expected version tells most; the list has no zxid of its own"
    GET_CHILDREN "getChildren" 4, Read AsIs, Children, Replay; "reads; sets its watch again"
    SYNC "sync" 4, Sync AsIs, None, Replay; "catches up with the leader; no fence"
    PING "ping" 4, Session AsIs, None, Never, early; "answered early within the lease only"
    GET_CHILDREN2 "getChildren2" 4, Read AsIs, Children, Replay; "reads; sets its watch again"
    CHECK "check" 4, Write NEVER_FORWARD, None, Refused; "alone it destroys an ensemble before 3.8.5 and 3.9.3 (ZOOKEEPER-2623); a part of a multi otherwise"
    MULTI "multi" 4, Write Checked, None, By(Verify::Multi); "all or none, so any part tells for all; only checks, or nothing: sent again"
    CREATE2 "create2" 5, Write Checked, None, By(Verify::Create); "as create"
    RECONFIG "reconfig" 5, Write Checked, None, By(Verify::Reconfig); "never sent again unless the configuration is older than it"
    CHECK_WATCHES "checkWatches" 5, Read AsIs, None, AfterWatches; "asks the server what watches it has: they must be back first"
    REMOVE_WATCHES "removeWatches" 5, Read AsIs, Remove, AfterWatches; "takes away what must be back first"
    CREATE_CONTAINER "createContainer" 5, Write Checked, None, By(Verify::Create); "as create"
    DELETE_CONTAINER "deleteContainer" 5, Write SERVERS_OWN, None, Refused; "a server's own; one that gets it from a client closes"
    CREATE_TTL "createTTL" 5, Write Checked, None, By(Verify::Create); "as create"
    MULTI_READ "multiRead" 6, Read AsIs, None, Replay; "reads; sets no watches, whatever its flags say"
    AUTH "auth" 4, Session AsIs, None, Credentials; "kept for every later server; the answers to Evenkeel's own sendings are swallowed"
    SET_WATCHES "setWatches" 4, Read AsIs, Lists, AfterWatches; "a client's own re-arming, after a reconnect to Evenkeel"
    SASL "sasl" 4, Session AsIs, None, Handshake; "a step with one server; another can't go on from there. With credentials of Evenkeel's own (`sasl.username`) it is answered here"
    GET_EPHEMERALS "getEphemerals" 6, Read AsIs, None, Replay; "reads"
    GET_ALL_CHILDREN_NUMBER "getAllChildrenNumber" 6, Read AsIs, None, Replay; "reads"
    SET_WATCHES2 "setWatches2" 6, Read AsIs, Lists, AfterWatches; "as setWatches, with persistent ones"
    ADD_WATCH "addWatch" 6, Read AsIs, Persistent, AfterWatches; "on a path that need not be there; the same one again is no change"
    WHO_AM_I "whoAmI" 7, Read AsIs, None, Replay; "reads, behind the credentials"
    CREATE_SESSION "createSession" 4, Session SERVERS_OWN, None, Refused; "a server's own; from a client it brings a bare connect response, out of step"
    CLOSE_SESSION "closeSession" 4, Session AsIs, None, Reattach; "never on a connection that the session has left: it isn't fenced there"
};
