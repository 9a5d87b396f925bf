//! What Evenkeel itself sends, upstream and to clients. Every frame has its length in front.

use bytes::{Bytes, BytesMut};

use super::header::xid;
use super::jute::Writer;
use super::opcode;

/// Where the zxid of an answer is: behind its length and its xid.
const ZXID_AT: usize = 8;

fn request(xid: i32, opcode: i32) -> Writer {
    Writer::frame().i32(xid).i32(opcode)
}

/// A frame that came without its length, with it.
pub fn framed(frame: &[u8]) -> Bytes {
    Writer::frame().raw(frame).finish()
}

/// A request of the client's with another xid, or another payload: for what is sent again.
pub fn again(xid: i32, opcode: i32, payload: &[u8]) -> Bytes {
    request(xid, opcode).raw(payload).finish()
}

/// A ping.
pub fn ping() -> Bytes {
    request(xid::PING, opcode::PING).finish()
}

/// The fence: a multi of no parts. It is a transaction of its own, so its answer proves that the leader has dealt with
/// every write of the session's former connection, or never will (see [`is_fence_answer`](super::reply::is_fence_answer)).
pub fn fence(xid: i32) -> Bytes {
    request(xid, opcode::MULTI).i32(-1).bool(true).i32(-1).finish()
}

/// `sync`, which is answered when the server has caught up with its leader. It is no fence.
pub fn sync(xid: i32, path: &[u8]) -> Bytes {
    request(xid, opcode::SYNC).text(path).finish()
}

/// Ends the session.
pub fn close_session(xid: i32) -> Bytes {
    request(xid, opcode::CLOSE_SESSION).finish()
}

/// `exists` without a watch.
pub fn exists(xid: i32, path: &[u8]) -> Bytes {
    request(xid, opcode::EXISTS).text(path).bool(false).finish()
}

/// `getData` without a watch.
pub fn get_data(xid: i32, path: &[u8]) -> Bytes {
    request(xid, opcode::GET_DATA).text(path).bool(false).finish()
}

/// `getACL`.
pub fn get_acl(xid: i32, path: &[u8]) -> Bytes {
    request(xid, opcode::GET_ACL).text(path).finish()
}

/// `getChildren2` without a watch.
pub fn get_children2(xid: i32, path: &[u8]) -> Bytes {
    request(xid, opcode::GET_CHILDREN2).text(path).bool(false).finish()
}

/// `getEphemerals` of the session, below a prefix. Since 3.6.
pub fn get_ephemerals(xid: i32, prefix: &[u8]) -> Bytes {
    request(xid, opcode::GET_EPHEMERALS).text(prefix).finish()
}

/// `addWatch`: mode 0 is persistent, 1 persistent and recursive. Since 3.6.
pub fn add_watch(xid: i32, path: &[u8], mode: i32) -> Bytes {
    request(xid, opcode::ADD_WATCH).text(path).i32(mode).finish()
}

/// An answer that was made a while ago, with this zxid if its own is lower: what a client sees must not go back.
pub fn not_before(reply: &[u8], zxid: i64) -> Bytes {
    let mut reply = BytesMut::from(reply);
    let field = reply.get_mut(ZXID_AT..).and_then(<[u8]>::first_chunk_mut::<8>);
    if let Some(field) = field.filter(|field| i64::from_be_bytes(**field) < zxid) {
        *field = zxid.to_be_bytes();
    }
    reply.freeze()
}

/// An answer to a client. `zxid` must be the last real one that the client was shown, or newer.
pub fn reply(xid: i32, zxid: i64, err: i32, body: &[u8]) -> Bytes {
    Writer::frame().i32(xid).i64(zxid).i32(err).raw(body).finish()
}

/// An answer that is an error: a header and nothing else.
pub fn error_reply(xid: i32, zxid: i64, err: i32) -> Bytes {
    reply(xid, zxid, err, &[])
}

/// The answer to a ping.
pub fn ping_reply(zxid: i64) -> Bytes {
    reply(xid::PING, zxid, 0, &[])
}
