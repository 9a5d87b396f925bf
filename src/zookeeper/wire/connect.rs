//! The first frame in each direction: it opens a session or attaches to one.

use bytes::Bytes;

use super::jute::{Malformed, Reader, Writer};

/// What a client opens with: 44 bytes of frame with a password of 16, or 45 with the flag at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// 0 so far.
    pub protocol: i32,
    /// The highest zxid that the client has seen; a server that is behind it closes without a word.
    pub last_zxid: i64,
    /// The session timeout that is asked for, in milliseconds.
    pub timeout: i32,
    /// 0 for a new session.
    pub session: i64,
    /// The session's password; null is read as empty.
    pub password: Bytes,
    /// Whether a read-only server will do. `None`: the byte isn't there, as from clients before 3.4, and then isn't
    /// in the answer either.
    pub read_only: Option<bool>,
}

/// What a server answers: 36 bytes of frame, or 37.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// 0 so far.
    pub protocol: i32,
    /// The timeout that is granted, in milliseconds; 0: the session is no more.
    pub timeout: i32,
    /// The session's id; 0 if there is none.
    pub session: i64,
    /// The session's password.
    pub password: Bytes,
    /// Whether the server is read-only; the byte is there if it was in the request.
    pub read_only: Option<bool>,
}

/// The byte at the end that need not be there. What follows it is of no account, as to a server.
fn optional_flag(reader: &mut Reader<'_>) -> Option<bool> {
    reader.bool("readOnly").ok()
}

fn with_flag(writer: Writer, flag: Option<bool>) -> Bytes {
    match flag {
        Some(flag) => writer.bool(flag).finish(),
        None => writer.finish(),
    }
}

impl ConnectRequest {
    /// Reads a client's first frame. The password is copied: it is kept for as long as the session.
    ///
    /// # Errors
    /// The frame is cut short or has a negative length in it; a server would close.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        Ok(Self {
            protocol: reader.i32("protocolVersion")?,
            last_zxid: reader.i64("lastZxidSeen")?,
            timeout: reader.i32("timeOut")?,
            session: reader.i64("sessionId")?,
            password: Bytes::copy_from_slice(reader.buffer("passwd")?.unwrap_or_default()),
            read_only: optional_flag(&mut reader),
        })
    }

    /// The bytes to send, with their length in front.
    pub fn encode(&self) -> Bytes {
        let fixed =
            Writer::frame().i32(self.protocol).i64(self.last_zxid).i32(self.timeout).i64(self.session);
        with_flag(fixed.buffer(Some(&self.password)), self.read_only)
    }
}

impl ConnectResponse {
    /// Reads a server's first frame.
    ///
    /// # Errors
    /// The frame is cut short or has a negative length in it.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame);
        Ok(Self {
            protocol: reader.i32("protocolVersion")?,
            timeout: reader.i32("timeOut")?,
            session: reader.i64("sessionId")?,
            password: Bytes::copy_from_slice(reader.buffer("passwd")?.unwrap_or_default()),
            read_only: optional_flag(&mut reader),
        })
    }

    /// Whether the server says that the session is no more (or that the password is wrong, which looks the same).
    pub fn is_expired(&self) -> bool {
        self.timeout <= 0
    }

    /// The bytes to send, with their length in front.
    pub fn encode(&self) -> Bytes {
        let fixed = Writer::frame().i32(self.protocol).i32(self.timeout).i64(self.session);
        with_flag(fixed.buffer(Some(&self.password)), self.read_only)
    }
}
