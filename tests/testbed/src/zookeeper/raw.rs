//! A session as libraries have it, without any of their help: one socket, requests that may be under way together, answers in
//! order, pings, watch events. Nothing is ever asked twice. Knows the wire, and nothing of who uses it.

use std::io::{Error as IoError, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::wire::{Frames, In, Out};
use crate::Result;

/// The numbers of the operations (`ZooDefs.OpCode`).
pub(super) mod opcode {
    pub(in crate::zookeeper) const CREATE: i32 = 1;
    pub(in crate::zookeeper) const DELETE: i32 = 2;
    pub(in crate::zookeeper) const GET_DATA: i32 = 4;
    pub(in crate::zookeeper) const SET_DATA: i32 = 5;
    pub(in crate::zookeeper) const SYNC: i32 = 9;
    pub(in crate::zookeeper) const PING: i32 = 11;
    pub(in crate::zookeeper) const CHECK: i32 = 13;
    pub(in crate::zookeeper) const MULTI: i32 = 14;
    pub(in crate::zookeeper) const CREATE2: i32 = 15;
    pub(in crate::zookeeper) const CLOSE: i32 = -11;
    pub(in crate::zookeeper) const ERROR: i32 = -1;
}

const EVENT_XID: i32 = -1;
const PING_XID: i32 = -2;

/// How long a server may take to answer a `ConnectRequest`.
const GREETING: Duration = Duration::from_secs(5);

/// What a session is resumed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) session: i64,
    pub(super) password: Vec<u8>,
    /// The highest zxid that it was told.
    pub(super) seen: i64,
}

/// What came of an attempt to connect.
pub(super) enum Hello {
    /// The session is there.
    Granted(Box<Raw>),
    /// The ensemble says that the session is over.
    Expired,
    /// Nobody said anything.
    Nothing,
}

/// Something that came.
pub(super) enum Heard {
    /// The answer to a ping.
    Pong,
    /// A watch event: its type and its path.
    Event {
        kind: i32,
        path: String,
    },
    Answer {
        xid: i32,
        zxid: i64,
        err: i32,
        body: In,
    },
}

/// A connection with a session on it.
#[derive(Debug)]
pub(super) struct Raw {
    frames: Frames,
    identity: Identity,
    /// The time-out that was granted.
    timeout: Duration,
    xid: i32,
    /// When the last byte went out, and when the last frame came.
    pub(super) sent: Instant,
    pub(super) heard: Instant,
}

impl Raw {
    /// Connects to `addr`, with a new session that asks for this time-out, or an old one.
    pub(super) fn connect(addr: SocketAddr, timeout: Duration, resume: Option<&Identity>) -> Hello {
        Self::attempt(addr, timeout, resume).unwrap_or(Hello::Nothing)
    }

    fn attempt(addr: SocketAddr, timeout: Duration, resume: Option<&Identity>) -> Result<Hello> {
        let lost = || crate::Error::io("connecting a session");
        let mut frames = Frames::connect(addr, GREETING).map_err(lost())?;
        let (session, seen) = resume.map_or((0, 0), |old| (old.session, old.seen));
        let password = resume.map_or_else(|| vec![0; 16], |old| old.password.clone());
        let asked = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let hello = Out::default().int(0).long(seen).int(asked).long(session).buffer(&password).flag(false);
        frames.send(&hello).map_err(lost())?;
        let Some(mut answer) = frames.next(Instant::now() + GREETING).map_err(lost())? else {
            return Ok(Hello::Nothing);
        };
        let (_, granted) = (answer.int()?, answer.int()?);
        let Some(granted) = u64::try_from(granted).ok().filter(|granted| *granted > 0) else {
            return Ok(Hello::Expired);
        };
        let identity = Identity { session: answer.long()?, password: answer.buffer()?, seen };
        let timeout = Duration::from_millis(granted);
        let now = Instant::now();
        Ok(Hello::Granted(Box::new(Self { frames, identity, timeout, xid: 0, sent: now, heard: now })))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Numbers of requests go on after this one, so that none comes twice in a session.
    pub(super) fn count_from(&mut self, xid: i32) {
        self.xid = xid;
    }

    /// The number of the last request.
    pub(super) fn last_xid(&self) -> i32 {
        self.xid
    }

    /// Sends a request and gives its number.
    pub(super) fn send(&mut self, op: i32, body: &Out) -> std::io::Result<i32> {
        self.xid += 1;
        self.write(&Out::default().int(self.xid).int(op).then(body))?;
        Ok(self.xid)
    }

    pub(super) fn ping(&mut self) -> std::io::Result<()> {
        self.write(&Out::default().int(PING_XID).int(opcode::PING))
    }

    fn write(&mut self, body: &Out) -> std::io::Result<()> {
        self.frames.send(body)?;
        self.sent = Instant::now();
        Ok(())
    }

    /// What comes next, until then.
    pub(super) fn next(&mut self, until: Instant) -> std::io::Result<Option<Heard>> {
        let Some(frame) = self.frames.next(until)? else { return Ok(None) };
        self.heard = Instant::now();
        self.open(frame).map(Some).map_err(IoError::other)
    }

    /// As libraries do it: pings after a third of the time-out without a word of its own, and gives the connection up (an
    /// error) after two thirds without one from the other side. Nothing came if `until` is reached.
    pub(super) fn wait(&mut self, until: Instant) -> std::io::Result<Option<Heard>> {
        loop {
            let now = Instant::now();
            if self.heard + self.timeout * 2 / 3 <= now {
                return Err(ErrorKind::TimedOut.into());
            }
            if self.sent + self.timeout / 3 <= now {
                self.ping()?;
            }
            let first = until.min(self.sent + self.timeout / 3).min(self.heard + self.timeout * 2 / 3);
            if let Some(heard) = self.next(first)? {
                return Ok(Some(heard));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    fn open(&mut self, mut frame: In) -> Result<Heard> {
        let (xid, zxid, err) = (frame.int()?, frame.long()?, frame.int()?);
        if xid == EVENT_XID {
            let (kind, _state) = (frame.int()?, frame.int()?);
            return Ok(Heard::Event { kind, path: frame.text()? });
        }
        if xid == PING_XID {
            return Ok(Heard::Pong);
        }
        self.identity.seen = self.identity.seen.max(zxid);
        Ok(Heard::Answer { xid, zxid, err, body: frame })
    }
}
