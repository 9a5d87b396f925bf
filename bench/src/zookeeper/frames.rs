//! Requests and answers of `ZooKeeper`, made once and then sent again and again with another xid. Source: zookeeper.jute.

use bytes::BufMut;

/// Where the xid is, in bytes from the start of a frame with its length; of an answer too.
const XID_AT: usize = 4;
/// The xid of pings.
const PING_XID: i32 = -2;
/// Operations.
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const PING: i32 = 11;
/// A session time-out, in milliseconds: so long that nobody has to ping for its own sake while it is measured.
const TIMEOUT_MS: i32 = 40_000;
/// The node with 100 bytes, and the one with 1 kB.
const SMALL: &[u8] = b"/benchmark/a";
const LARGE: &[u8] = b"/benchmark/b";

/// A request of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// getData of 100 bytes.
    Get,
    /// getData of 1 kB.
    GetKb,
    /// setData of 100 bytes.
    Set,
    /// A ping.
    Ping,
}

/// A frame with its length in front, ready to be written.
#[derive(Clone)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    fn new(fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = vec![0; XID_AT];
        fill(&mut bytes);
        let length = u32::try_from(bytes.len() - XID_AT).unwrap_or(0);
        if let Some(place) = bytes.first_chunk_mut::<4>() {
            *place = length.to_be_bytes();
        }
        Self(bytes)
    }

    /// Its bytes, with this xid.
    pub(crate) fn with_xid(&mut self, xid: i32) -> &[u8] {
        if let Some(place) = self.0.get_mut(XID_AT..XID_AT + 4) {
            place.copy_from_slice(&xid.to_be_bytes());
        }
        &self.0
    }

    /// Its bytes as they are.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(0));
    out.put_slice(bytes);
}

fn put_stat(out: &mut Vec<u8>) {
    for long in [100, 200, 1_700_000_000_000, 1_700_000_000_001] {
        out.put_i64(long);
    }
    for int in [7, 0, 0] {
        out.put_i32(int);
    }
    out.put_i64(0); // no ephemeral
    out.put_i32(100);
    out.put_i32(0);
    out.put_i64(100);
}

/// The first frame of a connection: a new session, as clients since 3.4 ask for it.
pub(crate) fn connect_request() -> Frame {
    Frame::new(|out| {
        out.put_i32(0);
        out.put_i64(0);
        out.put_i32(TIMEOUT_MS);
        out.put_i64(0);
        put_buffer(out, &[0; 16]);
        out.put_u8(0);
    })
}

/// The answer to it.
pub(crate) fn connect_response(session: i64) -> Frame {
    Frame::new(|out| {
        out.put_i32(0);
        out.put_i32(TIMEOUT_MS);
        out.put_i64(session);
        put_buffer(out, &[7; 16]);
        out.put_u8(0);
    })
}

/// A request.
pub(crate) fn request(ask: Ask) -> Frame {
    Frame::new(|out| {
        let operation = match ask {
            Ask::Get | Ask::GetKb => GET_DATA,
            Ask::Set => SET_DATA,
            Ask::Ping => PING,
        };
        out.put_i32(if ask == Ask::Ping { PING_XID } else { 0 });
        out.put_i32(operation);
        match ask {
            Ask::Get | Ask::GetKb => {
                put_buffer(out, if ask == Ask::Get { SMALL } else { LARGE });
                out.put_u8(0); // no watch
            }
            Ask::Set => {
                put_buffer(out, SMALL);
                put_buffer(out, &[b'x'; 100]);
                out.put_i32(-1);
            }
            Ask::Ping => {}
        }
    })
}

/// The xid of an answer, given without its length.
pub(crate) fn xid(answer: &[u8]) -> Option<i32> {
    answer.first_chunk::<4>().map(|xid| i32::from_be_bytes(*xid))
}

/// The answers of the server.
pub(crate) struct Answers {
    got: [Frame; 2],
    set: Frame,
    pong: Frame,
    zxid: i64,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let header = |out: &mut Vec<u8>| {
            out.put_i32(0);
            out.put_i64(1);
            out.put_i32(0);
        };
        let got = |size: usize| {
            Frame::new(|out| {
                header(out);
                put_buffer(out, &vec![b'x'; size]);
                put_stat(out);
            })
        };
        let set = Frame::new(|out| {
            header(out);
            put_stat(out);
        });
        Self { got: [got(100), got(1000)], set, pong: Frame::new(header), zxid: 1 }
    }

    /// The answer to a request, given without its length; none to what no load asks.
    pub(crate) fn to(&mut self, request: &[u8]) -> Option<&[u8]> {
        let (xid, rest) = request.split_first_chunk::<4>()?;
        let (operation, rest) = rest.split_first_chunk::<4>()?;
        let xid = i32::from_be_bytes(*xid);
        Some(match i32::from_be_bytes(*operation) {
            GET_DATA => {
                let [small, large] = &mut self.got;
                let is_large = rest.get(4..4 + LARGE.len()) == Some(LARGE);
                (if is_large { large } else { small }).with_xid(xid)
            }
            SET_DATA => {
                self.zxid += 1;
                if let Some(place) = self.set.0.get_mut(XID_AT + 4..XID_AT + 12) {
                    place.copy_from_slice(&self.zxid.to_be_bytes());
                }
                self.set.with_xid(xid)
            }
            PING => self.pong.with_xid(PING_XID),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::zookeeper::wire::{ConnectRequest, ConnectResponse, Request, reply_header, request_header};

    /// The project's own decoder, which was held against real servers, reads all of it.
    #[test]
    fn frames_are_what_zookeeper_speaks() {
        let hello =
            ConnectRequest::decode(&bytes::Bytes::copy_from_slice(&connect_request().0[4..])).unwrap();
        assert_eq!((hello.timeout, hello.session, hello.password.len()), (TIMEOUT_MS, 0, 16));
        let welcome = bytes::Bytes::copy_from_slice(&connect_response(5).0[4..]);
        assert_eq!(ConnectResponse::decode(&welcome).unwrap().session, 5);
        let mut answers = Answers::new();
        for (ask, size) in [(Ask::Get, 188), (Ask::GetKb, 1088), (Ask::Set, 84), (Ask::Ping, 16)] {
            let mut frame = request(ask);
            let sent = if ask == Ask::Ping { frame.bytes() } else { frame.with_xid(77) }[4..].to_vec();
            let header = request_header(&sent).unwrap();
            assert!(Request::decode(header.opcode, &sent[8..]).is_ok(), "{ask:?}");
            let answer = answers.to(&sent).unwrap();
            assert_eq!(answer.len(), size + 4, "{ask:?}");
            assert_eq!(answer[..4], u32::try_from(size).unwrap().to_be_bytes());
            let told = reply_header(&answer[4..]).unwrap();
            assert_eq!((told.xid, told.err), (header.xid, 0));
            assert_eq!(xid(&answer[4..]), Some(header.xid));
        }
        assert!(answers.to(&[0; 8]).is_none());
    }
}
