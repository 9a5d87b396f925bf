//! Who changes a group's nodes, straight at a server, and knows what was changed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::frames::Frames;
use super::judge::{CHANGED, CHILDREN, CREATED, DELETED, Made};
use super::{Group, Kind, State, lock};
use crate::zookeeper::direct::{CREATE, DELETE, EXISTS, SET_DATA};
use crate::zookeeper::wire::Out;
use crate::{Error, Result};

/// A node that is changed again and again: on 3.8 one of its events looks like the other.
pub(super) const HOT: &str = "/tree/hot";

/// How long a change waits for the one-shot watches of its group, before it is made all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session of the test bed's own. It lives by what it asks.
pub(super) struct Writer {
    frames: Frames,
    xid: i32,
}

impl Writer {
    pub(super) async fn connect(server: SocketAddr) -> Result<Self> {
        let io = || Error::io("connecting a writer");
        let mut frames = Frames::connect(server).await.map_err(io())?;
        frames.send(&super::hello()).await.map_err(io())?;
        frames.receive().await.map_err(io())?;
        Ok(Self { frames, xid: 0 })
    }

    /// One request and its answer; gives the transaction.
    pub(super) async fn ask(&mut self, op: i32, body: &Out) -> Result<i64> {
        let io = || Error::io("a writer's request");
        self.xid += 1;
        self.frames.send(&Out::default().int(self.xid).int(op).then(body)).await.map_err(io())?;
        let mut answer = self.frames.receive().await.map_err(io())?;
        match (answer.int()?, answer.long()?, answer.int()?) {
            (xid, zxid, 0) if xid == self.xid => Ok(zxid),
            other => Err(Error::program("a writer", format!("its request {op} got {other:?}"))),
        }
    }

    pub(super) async fn create(&mut self, path: &str) -> Result<i64> {
        self.ask(CREATE, &Out::default().text(path).buffer(b"").open_acl().int(0)).await
    }

    async fn set(&mut self, path: &str) -> Result<i64> {
        self.ask(SET_DATA, &Out::default().text(path).buffer(b"x").int(-1)).await
    }

    async fn delete(&mut self, path: &str) -> Result<i64> {
        self.ask(DELETE, &Out::default().text(path).int(-1)).await
    }

    /// Changes the nodes of a group one after another, one change each `every`, until it is told to stop; and between any two of them
    /// one node that is always the same, below the recursive watch.
    pub(super) async fn run(mut self, state: &State, group: &Group, every: Duration) -> Result<()> {
        let root = &group.root;
        while !state.begun.load(Relaxed) {
            // Its session lives by what it asks.
            self.ask(EXISTS, &Out::default().text(root).flag(false)).await?;
            if state.ends.load(Relaxed) {
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
        // Writers don't write all at once.
        let first = group.members.first().map_or(0, |member| member.number);
        let part = f64::from(u8::try_from(first * 7 % 100).unwrap_or(0)) / 100.0;
        let mut due = Instant::now() + every.mul_f64(part);
        for n in 0_u64.. {
            let odd = n % 2 == 1;
            let steps = [
                (Some(Kind::Data), SET_DATA, format!("{root}/data"), CHANGED, format!("{root}/data")),
                (None, SET_DATA, format!("{root}/node"), CHANGED, format!("{root}/node")),
                (None, CREATE, format!("{root}/tree/{n}"), CREATED, format!("{root}/tree/{n}")),
                (
                    Some(Kind::Child),
                    if odd { DELETE } else { CREATE },
                    format!("{root}/child/x"),
                    CHILDREN,
                    format!("{root}/child"),
                ),
                (None, SET_DATA, format!("{root}/tree/{n}"), CHANGED, format!("{root}/tree/{n}")),
                (
                    Some(Kind::Exist),
                    if odd { DELETE } else { CREATE },
                    format!("{root}/exist"),
                    if odd { DELETED } else { CREATED },
                    format!("{root}/exist"),
                ),
                (
                    None,
                    if odd { DELETE } else { CREATE },
                    format!("{root}/node/x"),
                    CHILDREN,
                    format!("{root}/node"),
                ),
                (None, DELETE, format!("{root}/tree/{n}"), DELETED, format!("{root}/tree/{n}")),
            ];
            for (kind, op, path, what, told) in steps {
                due = (due + every / 2).max(Instant::now());
                sleep_until(due).await;
                if state.hot {
                    let hot = format!("{root}{HOT}");
                    let zxid = self.set(&hot).await?;
                    lock(&group.made).push(Made { zxid, what: CHANGED, path: hot });
                }
                due = (due + every / 2).max(Instant::now());
                sleep_until(due).await;
                if let Some(kind) = kind {
                    group.armed(state, kind).await;
                }
                if state.ends.load(Relaxed) {
                    return Ok(());
                }
                let zxid = match op {
                    CREATE => self.create(&path).await?,
                    DELETE => self.delete(&path).await?,
                    _ => self.set(&path).await?,
                };
                if let Some(kind) = kind {
                    let is_gone = kind == Kind::Exist && op == DELETE;
                    group.states.of(kind).store(if is_gone { 0 } else { zxid }, Relaxed);
                }
                let mut made = lock(&group.made);
                made.push(Made { zxid, what, path: told });
            }
        }
        Ok(())
    }
}

impl Group {
    /// Waits until every session of the group has its watch set on what is there.
    async fn armed(&self, state: &State, kind: Kind) {
        let start = Instant::now();
        let there = self.states.of(kind).load(Relaxed);
        while self.members.iter().any(|member| member.armed.of(kind).load(Relaxed) != there) {
            if state.ends.load(Relaxed) || start.elapsed() > PATIENCE {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}
