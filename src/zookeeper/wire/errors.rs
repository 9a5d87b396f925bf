//! The error codes, as in `KeeperException.Code` of 3.9.5.

/// It was done.
pub const OK: i32 = 0;
/// In a multi: a part that failed for another part's failure.
pub const RUNTIME_INCONSISTENCY: i32 = -2;
/// The connection is lost. Made by clients, and by Evenkeel where an outcome is unknown; servers never send it.
pub const CONNECTION_LOSS: i32 = -4;
/// The request can't be decoded.
pub const MARSHALLING_ERROR: i32 = -5;
/// The server doesn't know the operation, or doesn't offer it.
pub const UNIMPLEMENTED: i32 = -6;
/// The arguments are invalid.
pub const BAD_ARGUMENTS: i32 = -8;
/// No node of that path.
pub const NO_NODE: i32 = -101;
/// Not authorised.
pub const NO_AUTH: i32 = -102;
/// Another version than the expected one.
pub const BAD_VERSION: i32 = -103;
/// Ephemeral nodes have no children.
pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
/// The node is there already.
pub const NODE_EXISTS: i32 = -110;
/// The node has children.
pub const NOT_EMPTY: i32 = -111;
/// The session is gone.
pub const SESSION_EXPIRED: i32 = -112;
/// Authentication failed.
pub const AUTH_FAILED: i32 = -115;
/// The session is on another server by now.
pub const SESSION_MOVED: i32 = -118;
/// The server is read-only.
pub const NOT_READ_ONLY: i32 = -119;
/// No such watcher.
pub const NO_WATCHER: i32 = -121;

/// The server serves nobody who isn't authenticated by SASL, and ends the connection.
pub const SESSION_CLOSED_REQUIRE_SASL_AUTH: i32 = -124;

/// The name of a code, for logs and documents.
pub fn name(code: i32) -> &'static str {
    match code {
        0 => "Ok",
        -1 => "SystemError",
        -2 => "RuntimeInconsistency",
        -3 => "DataInconsistency",
        -4 => "ConnectionLoss",
        -5 => "MarshallingError",
        -6 => "Unimplemented",
        -7 => "OperationTimeout",
        -8 => "BadArguments",
        -12 => "UnknownSession",
        -13 => "NewConfigNoQuorum",
        -14 => "ReconfigInProgress",
        -100 => "ApiError",
        -101 => "NoNode",
        -102 => "NoAuth",
        -103 => "BadVersion",
        -108 => "NoChildrenForEphemerals",
        -110 => "NodeExists",
        -111 => "NotEmpty",
        -112 => "SessionExpired",
        -113 => "InvalidCallback",
        -114 => "InvalidAcl",
        -115 => "AuthFailed",
        -118 => "SessionMoved",
        -119 => "NotReadOnly",
        -120 => "EphemeralOnLocalSession",
        -121 => "NoWatcher",
        -122 => "RequestTimeout",
        -123 => "ReconfigDisabled",
        -124 => "SessionClosedRequireSaslAuth",
        -125 => "QuotaExceeded",
        -127 => "ThrottledOp",
        _ => "Unknown",
    }
}
