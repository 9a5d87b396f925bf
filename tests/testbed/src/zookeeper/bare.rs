//! A session on a bare connection: it sends what it is told to, right or wrong, and says what came of it. Never reconnects.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::wire::{Frames, In, Out};
use crate::{Error, Result};

const PING: i32 = 11;
const PING_XID: i32 = -2;
/// The xid of watch events.
const EVENT_XID: i32 = -1;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// An answer with this error code; 0 is success.
    Code(i32),
    /// The connection was closed, or broke.
    Closed,
    /// Nothing, for as long as was waited.
    Silence,
}

/// A session on a connection of its own.
#[derive(Debug)]
pub struct Bare {
    frames: Frames,
    session: i64,
    xid: i32,
    events: u64,
}

impl Bare {
    /// Connects and makes a session with this time-out; each step within `bound`.
    pub fn connect(addr: SocketAddr, timeout: Duration, bound: Duration) -> Result<Self> {
        let broken = || Error::io(format!("making a session at {addr}"));
        let mut frames = Frames::connect(addr, bound).map_err(broken())?;
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let hello = Out::default().int(0).long(0).int(timeout).long(0).buffer(&[0; 16]).flag(false);
        frames.send(&hello).map_err(broken())?;
        let mut answer = frames.receive().map_err(broken())?;
        let (_, granted, session) = (answer.int()?, answer.int()?, answer.long()?);
        if granted <= 0 {
            return Err(Error::program("zookeeper", "refuses a new session"));
        }
        Ok(Self { frames, session, xid: 0, events: 0 })
    }

    /// Its session's id.
    pub fn session(&self) -> i64 {
        self.session
    }

    /// How many watch events have come.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Sends these bytes, which need not be a frame, and waits for what comes of it.
    pub fn throw(&mut self, bytes: &[u8], bound: Duration) -> Met {
        if self.frames.send_bytes(bytes).is_err() {
            return Met::Closed;
        }
        self.answer(None, bound)
    }

    /// Whether the connection is closed within `bound`; nothing else may come.
    pub fn closes(&mut self, bound: Duration) -> bool {
        self.answer(None, bound) == Met::Closed
    }

    /// Gives a node other data, of whatever version it is.
    pub fn set(&mut self, path: &str, data: &[u8], bound: Duration) -> Met {
        self.ask(5, &Out::default().text(path).buffer(data).int(-1), bound)
    }

    /// Makes a persistent node that everyone may do everything with.
    pub fn create(&mut self, path: &str, data: &[u8], bound: Duration) -> Met {
        self.ask(1, &Out::default().text(path).buffer(data).open_acl().int(0), bound)
    }

    /// Reads a node and leaves a watch on its data.
    pub fn watch(&mut self, path: &str, bound: Duration) -> Met {
        self.ask(4, &Out::default().text(path).flag(true), bound)
    }

    /// Ends the session.
    pub fn close(mut self, bound: Duration) -> Met {
        self.ask(-11, &Out::default(), bound)
    }

    /// Sends a ping and doesn't wait.
    pub fn ping(&mut self) -> Met {
        match self.frames.send(&Out::default().int(PING_XID).int(PING)) {
            Ok(()) => Met::Code(0),
            Err(_) => Met::Closed,
        }
    }

    /// Waits for the answer to a ping; counts events that come before it.
    pub fn pong(&mut self, bound: Duration) -> Met {
        self.answer(Some(PING_XID), bound)
    }

    fn ask(&mut self, operation: i32, body: &Out, bound: Duration) -> Met {
        self.xid += 1;
        if self.frames.send(&Out::default().int(self.xid).int(operation).then(body)).is_err() {
            return Met::Closed;
        }
        self.answer(Some(self.xid), bound)
    }

    /// The next answer that is no event, with this xid where one is expected.
    fn answer(&mut self, expected: Option<i32>, bound: Duration) -> Met {
        if self.frames.bound(bound).is_err() {
            return Met::Closed;
        }
        loop {
            let header = self
                .frames
                .receive()
                .map(|mut answer: In| Ok::<_, Error>((answer.int()?, answer.long()?, answer.int()?)));
            match header {
                Ok(Ok((EVENT_XID, ..))) => self.events += 1,
                Ok(Ok((PING_XID, ..))) if expected.is_some_and(|xid| xid != PING_XID) => {}
                Ok(Ok((xid, _, code))) if expected.is_none_or(|expected| expected == xid) => {
                    return Met::Code(code);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Met::Silence;
                }
                // Broken, or out of step and so of no more use.
                Ok(_) | Err(_) => return Met::Closed,
            }
        }
    }
}
