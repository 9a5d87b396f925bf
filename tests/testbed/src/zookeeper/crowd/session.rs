//! One of the crowd: a session with an ephemeral node and a watch of every kind, which asks something small on a steady beat.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::Frames;
use super::judge::Told;
use super::{Group, Kind, Member, State, hello, lock};
use crate::zookeeper::direct::{CLOSE, CREATE, EXISTS, GET_CHILDREN2, GET_DATA, NO_NODE, stat};
use crate::zookeeper::wire::{In, Out};
use crate::{Error, Result};

const ADD_WATCH: i32 = 106;
const EPHEMERAL: i32 = 1;
/// For what a session asks before it is of the crowd.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an answer that is due belongs to.
enum Due {
    /// The beat, which was due then.
    Beat(Instant),
    Armed(Kind),
    Made,
}

pub(super) struct Session<'a> {
    frames: Frames,
    state: &'a State,
    group: &'a Group,
    member: &'a Member,
    xid: i32,
    due: VecDeque<(i32, Due)>,
    /// The highest transaction that an answer knew of.
    seen: i64,
}

impl<'a> Session<'a> {
    /// Connects, makes its ephemeral node and sets its watches.
    pub(super) async fn start(
        server: SocketAddr,
        state: &'a State,
        group: &'a Group,
        member: &'a Member,
    ) -> Result<Self> {
        let io = || Error::io("connecting one of the crowd");
        let mut frames = Frames::connect(server).await.map_err(io())?;
        frames.send(&hello()).await.map_err(io())?;
        let greeted = timeout(PATIENCE, frames.receive()).await;
        let mut answer = greeted.map_err(|_| silent())?.map_err(io())?;
        let (_, granted, id) = (answer.int()?, answer.int()?, answer.long()?);
        if granted <= 0 {
            return Err(Error::program("one of the crowd", "it got no session"));
        }
        member.session.store(id, Relaxed);
        let mut session = Self { frames, state, group, member, xid: 0, due: VecDeque::new(), seen: 0 };
        let root = &group.root;
        let make = Out::default().text(&state.live(member.number)).buffer(b"").open_acl().int(EPHEMERAL);
        session.ask(CREATE, &make, Due::Made).await?;
        session.ask(ADD_WATCH, &Out::default().text(&format!("{root}/node")).int(0), Due::Made).await?;
        session.ask(ADD_WATCH, &Out::default().text(&format!("{root}/tree")).int(1), Due::Made).await?;
        for kind in Kind::ALL {
            session.arm(kind).await?;
        }
        while !session.due.is_empty() {
            let answer = timeout(PATIENCE, session.frames.receive()).await.map_err(|_| silent())?;
            session.heard(answer.map_err(io())?).await?;
        }
        Ok(session)
    }

    /// Lives until the crowd ends; then it closes its session. An error: its connection did not live that long.
    pub(super) async fn live(mut self, mut end: watch::Receiver<bool>) -> Result<()> {
        let io = || Error::io("one of the crowd");
        // Beats don't come all at once.
        let every = self.member.beat;
        let part = f64::from(u8::try_from(self.member.number % 97).unwrap_or(0)) / 97.0;
        let mut beat = Instant::now() + every.mul_f64(part);
        let mut waits = false;
        loop {
            tokio::select! {
                came = self.frames.receive() => {
                    waits &= !self.heard(came.map_err(io())?).await?;
                }
                () = sleep_until(beat), if !waits => {
                    waits = true;
                    self.ask(EXISTS, &Out::default().text(&self.state.root).flag(false), Due::Beat(beat)).await?;
                    // One that is late doesn't make the next ones come sooner than on the beat.
                    let now = Instant::now();
                    while beat <= now {
                        beat += every;
                    }
                }
                _ = end.wait_for(|ends| *ends) => break,
            }
        }
        self.ask(CLOSE, &Out::default(), Due::Made).await?;
        // Whatever comes before the end; the connection ends behind the last answer, or with it.
        let _ = timeout(PATIENCE, async { while self.frames.receive().await.is_ok() {} }).await;
        Ok(())
    }

    async fn ask(&mut self, op: i32, body: &Out, due: Due) -> Result<()> {
        self.xid += 1;
        self.due.push_back((self.xid, due));
        let sent = self.frames.send(&Out::default().int(self.xid).int(op).then(body)).await;
        sent.map_err(Error::io("one of the crowd"))
    }

    async fn arm(&mut self, kind: Kind) -> Result<()> {
        let path = format!("{}/{}", self.group.root, kind.word());
        let op = match kind {
            Kind::Data => GET_DATA,
            Kind::Child => GET_CHILDREN2,
            Kind::Exist => EXISTS,
        };
        self.ask(op, &Out::default().text(&path).flag(true), Due::Armed(kind)).await
    }

    /// Something came. Answers whether it was the answer to a beat.
    async fn heard(&mut self, mut frame: In) -> Result<bool> {
        let (xid, zxid, code) = (frame.int()?, frame.long()?, frame.int()?);
        if xid == -1 {
            let (what, _, path) = (frame.int()?, frame.int()?, frame.text()?);
            let root = &self.group.root;
            let of = Kind::ALL.into_iter().find(|kind| path.strip_prefix(root.as_str()) == Some(kind.path()));
            let told = Told { what, path, zxid, after: self.seen };
            lock(&self.member.told).push(told);
            if let Some(kind) = of {
                // Not on anything that is there, until it is set again.
                self.member.armed.of(kind).store(-1, Relaxed);
                self.arm(kind).await?;
            }
            return Ok(false);
        }
        let Some((expected, due)) = self.due.pop_front().filter(|(expected, _)| *expected == xid) else {
            return Err(Error::program(
                "one of the crowd",
                format!("an answer to {xid} that is out of order"),
            ));
        };
        if zxid < self.seen {
            return Err(Error::program("one of the crowd", format!("{zxid:#x} after {:#x}", self.seen)));
        }
        self.seen = zxid;
        match due {
            Due::Beat(since) => {
                let took = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
                self.member.answered(self.state.window.load(Relaxed), took);
                return Ok(true);
            }
            Due::Armed(kind) if code == 0 || (code == NO_NODE && kind == Kind::Exist) => {
                let state = if code == 0 { kind.state(&mut frame)? } else { 0 };
                self.member.armed.of(kind).store(state, Relaxed);
            }
            Due::Made if code == 0 => {}
            Due::Made | Due::Armed(_) => {
                return Err(Error::program(
                    "one of the crowd",
                    format!("request {expected} got error {code}"),
                ));
            }
        }
        Ok(false)
    }
}

impl Kind {
    /// The transaction on whose outcome a watch was set.
    fn state(self, answer: &mut In) -> Result<i64> {
        match self {
            Self::Data => drop(answer.buffer()?),
            Self::Child => {
                for _ in 0..answer.int()? {
                    answer.text()?;
                }
            }
            Self::Exist => {}
        }
        let stat = stat(answer)?;
        Ok(match self {
            Self::Data => stat.mzxid,
            Self::Child => stat.pzxid,
            Self::Exist => stat.czxid,
        })
    }
}

fn silent() -> Error {
    Error::program("one of the crowd", "a server that says nothing")
}
