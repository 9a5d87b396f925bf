//! The headers of requests and answers, read without a look at what follows.

use super::jute::{Malformed, Reader};

/// Whether a zxid is the beginning of an epoch, before its first transaction. Only the leader has it, and says so in its answers
/// (`Leader.startZkServer`); a follower still has the last one of the epoch before, and refuses a session that has seen more.
pub fn is_before_first(zxid: i64) -> bool {
    zxid > 0 && zxid.trailing_zeros() >= 32
}

/// Xids with a meaning. Requests aren't recognised by them: clients differ in which they use for what.
pub mod xid {
    /// Of a watch's event, which no request asked for.
    pub const NOTIFICATION: i32 = -1;
    /// Of a ping's answer, whatever xid the ping had.
    pub const PING: i32 = -2;
    /// Of `auth`, from Java, C and kazoo.
    pub const AUTH: i32 = -4;
    /// Of `setWatches`, from Java and C.
    pub const SET_WATCHES: i32 = -8;
}

/// The bytes of a request's header.
const REQUEST: usize = 8;
/// The bytes of an answer's header.
const REPLY: usize = 16;

/// What each request begins with, but for the connect request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number for it, which the answer repeats.
    pub xid: i32,
    /// Which operation, see [`opcode`](super::opcode).
    pub opcode: i32,
}

/// What each answer and each event begins with, but for the connect response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// That of the request, or one of [`xid`].
    pub xid: i32,
    /// The last transaction that the server had applied; of an event on 3.9 the transaction that caused it, before
    /// that −1. 0 in the answer to `auth`.
    pub zxid: i64,
    /// 0, or one of [`errors`](super::errors).
    pub err: i32,
}

/// The header of a request's frame.
///
/// # Errors
/// The frame is shorter than a header.
pub fn request_header(frame: &[u8]) -> Result<RequestHeader, Malformed> {
    let mut reader = Reader::new(frame);
    Ok(RequestHeader { xid: reader.i32("xid")?, opcode: reader.i32("type")? })
}

/// What follows the header of a request's frame; nothing if the frame is too short.
pub fn request_payload(frame: &[u8]) -> &[u8] {
    frame.get(REQUEST..).unwrap_or_default()
}

/// The header of an answer's or event's frame.
///
/// # Errors
/// The frame is shorter than a header.
pub fn reply_header(frame: &[u8]) -> Result<ReplyHeader, Malformed> {
    let mut reader = Reader::new(frame);
    Ok(ReplyHeader { xid: reader.i32("xid")?, zxid: reader.i64("zxid")?, err: reader.i32("err")? })
}

/// What follows the header of an answer's frame; nothing if the frame is too short.
pub fn reply_body(frame: &[u8]) -> &[u8] {
    frame.get(REPLY..).unwrap_or_default()
}
