//! The test bed's own client: one session, one request at a time, straight to the servers. When a connection is lost it moves
//! its session to another server, and what became of a write in flight is always found out, so that what it says it changed
//! is what was changed, once.
//!
//! It sends no pings: whoever has one asks it something more often than its session's time-out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{Frames, In, Out};
use crate::scene::micros;
use crate::{Error, Result};

/// How long one answer may take before another server is tried.
const ANSWER: Duration = Duration::from_secs(3);
/// How long an ensemble may serve nobody.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) const CREATE: i32 = 1;
pub(super) const DELETE: i32 = 2;
pub(super) const EXISTS: i32 = 3;
pub(super) const GET_DATA: i32 = 4;
pub(super) const SET_DATA: i32 = 5;
const SYNC: i32 = 9;
pub(super) const GET_CHILDREN2: i32 = 12;
const MULTI: i32 = 14;
const RECONFIG: i32 = 16;
pub(super) const CLOSE: i32 = -11;

pub(super) const NO_NODE: i32 = -101;

/// Of a node's Stat what judges ask for. Transaction ids are the ensemble's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that made the node.
    pub czxid: i64,
    /// The last one that changed its data.
    pub mzxid: i64,
    /// How often its data was changed.
    pub version: i32,
    /// The session that it ends with; 0: none.
    pub owner: i64,
    /// The last transaction that changed its list of children.
    pub pzxid: i64,
}

/// A change that was made, whatever happened in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its transaction id.
    pub zxid: i64,
    /// When it was asked for at first, in microseconds since the epoch.
    pub sent_us: i64,
    /// When it was known to be made.
    pub done_us: i64,
}

/// Where an ensemble's servers are now; servers may move while clients live.
pub type Places = Arc<Mutex<Vec<SocketAddr>>>;

/// What a server said.
enum Answer {
    Yes(i64, In),
    No(i32),
}

/// A session that outlives servers.
#[derive(Debug)]
pub struct Direct {
    servers: Places,
    next: usize,
    timeout: Duration,
    session: i64,
    password: Vec<u8>,
    seen: i64,
    xid: i32,
    frames: Option<Frames>,
    /// Whether it proves whose it is.
    proves: bool,
}

impl Direct {
    /// Makes a session with this time-out on one of the servers.
    pub fn connect(servers: Places, timeout: Duration) -> Result<Self> {
        Self::connect_as(servers, timeout, false)
    }

    /// The same with servers that want it to be proved whose the session is.
    pub(super) fn connect_as(servers: Places, timeout: Duration, proves: bool) -> Result<Self> {
        let mut direct = Self {
            servers,
            next: 0,
            timeout,
            session: 0,
            password: vec![0; 16],
            seen: 0,
            xid: 0,
            frames: None,
            proves,
        };
        direct.attached(Instant::now())?;
        Ok(direct)
    }

    /// Its session's id.
    pub fn session(&self) -> i64 {
        self.session
    }

    /// Makes a persistent node that only this client makes.
    pub fn create(&mut self, path: &str, data: &[u8]) -> Result<Change> {
        let body = || Out::default().text(path).buffer(data).open_acl().int(0);
        self.settled(CREATE, body, |direct| Ok(direct.exists(path)?.map(|stat| stat.czxid)))
    }

    /// Gives a node that only this client writes other data, if it has this version.
    pub fn set(&mut self, path: &str, data: &[u8], version: i32) -> Result<Change> {
        let body = || Out::default().text(path).buffer(data).int(version);
        self.settled(SET_DATA, body, |direct| {
            Ok(direct.exists(path)?.filter(|stat| stat.version > version).map(|stat| stat.mzxid))
        })
    }

    /// Removes a node, of whatever version, that nobody else removes, and under whose parent nobody else makes or removes one.
    pub fn delete(&mut self, path: &str) -> Result<Change> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let parent = if parent.is_empty() { "/" } else { parent };
        let body = || Out::default().text(path).int(-1);
        self.settled(DELETE, body, |direct| {
            if direct.exists(path)?.is_some() {
                return Ok(None);
            }
            Ok(direct.exists(parent)?.map(|stat| stat.pzxid))
        })
    }

    /// A node's Stat, if it is there.
    pub fn exists(&mut self, path: &str) -> Result<Option<Stat>> {
        match self.read(EXISTS, || Out::default().text(path).flag(false))? {
            Answer::Yes(_, mut body) => stat(&mut body).map(Some),
            Answer::No(NO_NODE) => Ok(None),
            Answer::No(code) => Err(refused("exists", path, code)),
        }
    }

    /// A node's data and Stat, if it is there.
    pub fn get(&mut self, path: &str) -> Result<Option<(Vec<u8>, Stat)>> {
        match self.read(GET_DATA, || Out::default().text(path).flag(false))? {
            Answer::Yes(_, mut body) => Ok(Some((body.buffer()?, stat(&mut body)?))),
            Answer::No(NO_NODE) => Ok(None),
            Answer::No(code) => Err(refused("getData", path, code)),
        }
    }

    /// The names of a node's children; none if it is not there.
    pub fn children(&mut self, path: &str) -> Result<Vec<String>> {
        match self.read(GET_CHILDREN2, || Out::default().text(path).flag(false))? {
            Answer::Yes(_, mut body) => (0..body.int()?).map(|_| body.text()).collect(),
            Answer::No(NO_NODE) => Ok(Vec::new()),
            Answer::No(code) => Err(refused("getChildren", path, code)),
        }
    }

    /// Makes the server that it reads from catch up with its leader.
    pub fn sync(&mut self) -> Result<()> {
        match self.read(SYNC, || Out::default().text("/"))? {
            Answer::Yes(..) => Ok(()),
            Answer::No(code) => Err(refused("sync", "/", code)),
        }
    }

    /// Changes the members of an ensemble that is made for it. Each of `joining` is a line of settings. A member that joins
    /// again at the same place, or leaves again, changes nothing: a reconfig of unknown outcome is asked for again.
    pub fn reconfig(&mut self, joining: &str, leaving: &str) -> Result<()> {
        let none = |body: Out, list: &str| if list.is_empty() { body.int(-1) } else { body.text(list) };
        let body = || none(none(Out::default(), joining), leaving).int(-1).long(-1);
        match self.read(RECONFIG, body)? {
            Answer::Yes(..) => Ok(()),
            Answer::No(code) => Err(refused("reconfig", joining, code)),
        }
    }

    /// Asks something that may be asked again, until there is an answer.
    fn read(&mut self, op: i32, body: impl Fn() -> Out) -> Result<Answer> {
        let start = Instant::now();
        loop {
            self.attached(start)?;
            match self.ask(op, &body()) {
                Ok(answer) => return Ok(answer),
                Err(_) => self.frames = None,
            }
        }
    }

    /// Makes a change. When its answer is lost, `made` tells from what is there whether it was made, and by which transaction;
    /// if not it is asked for again.
    fn settled(
        &mut self,
        op: i32,
        body: impl Fn() -> Out,
        made: impl Fn(&mut Self) -> Result<Option<i64>>,
    ) -> Result<Change> {
        let (start, sent_us) = (Instant::now(), micros());
        let mut lost = false;
        loop {
            self.attached(start)?;
            // Attached again, and so fenced: the old connection's request was applied by now or never will be.
            if lost && let Some(zxid) = made(self)? {
                return Ok(Change { zxid, sent_us, done_us: micros() });
            }
            match self.ask(op, &body()) {
                Ok(Answer::Yes(zxid, _)) => return Ok(Change { zxid, sent_us, done_us: micros() }),
                Ok(Answer::No(code)) => return Err(refused("a change", "", code)),
                Err(_) => {
                    self.frames = None;
                    lost = true;
                }
            }
        }
    }

    /// Sees to a connection with the session on it. A session that was given up begins anew.
    fn attached(&mut self, start: Instant) -> Result<()> {
        while self.frames.is_none() {
            if start.elapsed() > PATIENCE {
                let what = "a server that takes a session".to_owned();
                return Err(Error::Timeout { what, seconds: PATIENCE.as_secs() });
            }
            let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.next += 1;
            if let Some(&server) = servers.get(self.next % servers.len().max(1))
                && self.attach(server).is_some()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn attach(&mut self, server: SocketAddr) -> Option<()> {
        let known = self.session != 0;
        let mut frames = Frames::connect(server, ANSWER).ok()?;
        let timeout = i32::try_from(self.timeout.as_millis()).ok()?;
        let hello = Out::default().int(0).long(self.seen).int(timeout).long(self.session);
        frames.send(&hello.buffer(&self.password).flag(false)).ok()?;
        let mut answer = frames.receive().ok()?;
        let (_, granted) = (answer.int().ok()?, answer.int().ok()?);
        let (session, password) = (answer.long().ok()?, answer.buffer().ok()?);
        if granted <= 0 {
            (self.session, self.password) = (0, vec![0; 16]);
            return None;
        }
        if self.proves {
            super::sasl::prove(&mut frames).ok()?;
        }
        (self.session, self.password, self.frames) = (session, password, Some(frames));
        if known {
            // The fence: an empty multi.
            let fence = self.ask(MULTI, &Out::default().int(-1).flag(true).int(-1));
            if !matches!(fence, Ok(Answer::Yes(..))) {
                self.frames = None;
                return None;
            }
        }
        Some(())
    }

    /// One request and its answer on the connection that there is.
    fn ask(&mut self, op: i32, body: &Out) -> Result<Answer> {
        let lost = || Error::io("asking a ZooKeeper server");
        let none = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.xid += 1;
        let frames = self.frames.as_mut().ok_or_else(none).map_err(lost())?;
        frames.send(&Out::default().int(self.xid).int(op).then(body)).map_err(lost())?;
        let mut answer = frames.receive().map_err(lost())?;
        let (xid, zxid, code) = (answer.int()?, answer.long()?, answer.int()?);
        if xid != self.xid {
            return Err(Error::program("zookeeper", format!("an answer to {xid}, not to {}", self.xid)));
        }
        self.seen = self.seen.max(zxid);
        Ok(if code == 0 { Answer::Yes(zxid, answer) } else { Answer::No(code) })
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        if self.frames.is_some() {
            let _ = self.ask(CLOSE, &Out::default());
        }
    }
}

fn refused(what: &str, path: &str, code: i32) -> Error {
    Error::program("zookeeper", format!("{what} {path}: error {code}"))
}

pub(super) fn stat(body: &mut In) -> Result<Stat> {
    let (czxid, mzxid) = (body.long()?, body.long()?);
    let _times = (body.long()?, body.long()?);
    let version = body.int()?;
    let _versions = (body.int()?, body.int()?);
    let owner = body.long()?;
    let _sizes = (body.int()?, body.int()?);
    Ok(Stat { czxid, mzxid, version, owner, pzxid: body.long()? })
}
