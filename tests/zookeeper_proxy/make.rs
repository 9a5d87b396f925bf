//! Requests, made short: what follows their header.

use bytes::Bytes;
use evenkeel::zookeeper::wire::Writer;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const SET_ACL: i32 = 7;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const GET_CHILDREN2: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const RECONFIG: i32 = 16;
pub const AUTH: i32 = 100;
pub const SET_WATCHES: i32 = 101;
pub const SASL: i32 = 102;
pub const SET_WATCHES2: i32 = 105;
pub const ADD_WATCH: i32 = 106;
pub const CLOSE_SESSION: i32 = -11;

/// Flags of a create.
pub const EPHEMERAL: i32 = 1;
pub const SEQUENTIAL: i32 = 2;

fn record() -> Writer {
    Writer::record()
}

pub fn open_acl(writer: Writer) -> Writer {
    writer.i32(1).i32(31).text(b"world").text(b"anyone")
}

pub fn create(path: &str, data: &str, flags: i32) -> Bytes {
    open_acl(record().text(path.as_bytes()).text(data.as_bytes())).i32(flags).finish()
}

pub fn delete(path: &str, version: i32) -> Bytes {
    record().text(path.as_bytes()).i32(version).finish()
}

pub fn set_data(path: &str, data: &str, version: i32) -> Bytes {
    record().text(path.as_bytes()).text(data.as_bytes()).i32(version).finish()
}

pub fn set_acl(path: &str, version: i32) -> Bytes {
    open_acl(record().text(path.as_bytes())).i32(version).finish()
}

/// Of `exists`, `getData`, `getChildren`.
pub fn read(path: &str, watch: bool) -> Bytes {
    record().text(path.as_bytes()).bool(watch).finish()
}

/// Of `sync`, `getACL` and others: a path and nothing else.
pub fn path(path: &str) -> Bytes {
    record().text(path.as_bytes()).finish()
}

/// Of `checkWatches`, `removeWatches`, `addWatch`, and a check in a multi.
pub fn path_and(path: &str, number: i32) -> Bytes {
    record().text(path.as_bytes()).i32(number).finish()
}

pub fn auth(identity: &str) -> Bytes {
    record().i32(0).text(b"digest").text(identity.as_bytes()).finish()
}

pub fn sasl() -> Bytes {
    record().text(b"token").finish()
}

/// Of `multi` and `multiRead`: kind and payload of each part.
pub fn multi(parts: &[(i32, Bytes)]) -> Bytes {
    let each =
        parts.iter().fold(record(), |w, (kind, payload)| w.i32(*kind).bool(false).i32(-1).raw(payload));
    each.i32(-1).bool(true).i32(-1).finish()
}

pub fn reconfig(members: &str) -> Bytes {
    record().i32(-1).i32(-1).text(members.as_bytes()).i64(-1).finish()
}

/// Three lists, or five.
pub fn set_watches(zxid: i64, lists: &[&[&str]]) -> Bytes {
    let head = record().i64(zxid);
    lists.iter().fold(head, |w, list| w.names(list.iter().map(|path| path.as_bytes()))).finish()
}
