//! The poison shield on real ensembles: which malformed requests stop all writes when they reach a server, and that none of
//! them does behind Evenkeel.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Bare, Due, Ensemble, Malformed, Met};
use crate::{Error, Result, wait};

/// The node that the others write to.
const NODE: &str = "/others";
/// How long a write may take before it counts as stopped. Without a stop it takes milliseconds.
const WRITE: Duration = Duration::from_secs(3);
/// For anything else.
const BOUND: Duration = Duration::from_secs(5);
/// For an ensemble to get well again.
const RECOVERY: Duration = Duration::from_secs(60);

/// What a malformed request did to an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// What its own client met.
    pub met: Met,
    /// Whether another client's write did not go through after it.
    pub stopped: bool,
    /// Whether no server served any more after it.
    pub ended: bool,
}

/// What became of one behind Evenkeel.
#[derive(Clone, Copy, Debug)]
pub struct Shielded {
    /// What its own client met.
    pub met: Met,
    /// Whether its connection was closed then.
    pub closed: bool,
    /// What another client's write met after it.
    pub write: Met,
    /// How long that took.
    pub took: Duration,
}

impl Shielded {
    /// What is not as it must be.
    pub fn breach(&self, of: &Malformed) -> Option<String> {
        let as_due = match of.due {
            Due::Refused => self.met == Met::Code(-5) && !self.closed,
            Due::Unapplied => self.met == Met::Code(-8) && !self.closed,
            Due::Unimplemented => self.met == Met::Code(-6) && !self.closed,
            Due::RefusedAndClosed => self.met == Met::Code(-6) && self.closed,
            Due::Closed => self.met == Met::Closed,
            Due::Servers => self.met != Met::Silence,
        };
        let name = format!("{}, {}", of.operation, of.wrong);
        if self.write != Met::Code(0) {
            return Some(format!("{name}: another client's write met {:?} after it", self.write));
        }
        (!as_due).then(|| format!("{name}: {self:?}, where {:?} is due", of.due))
    }
}

/// The time-out of every session here: the longest that the ensemble gives.
fn timeout(ensemble: &Ensemble) -> Duration {
    Duration::from_millis(u64::from(ensemble.spec().tick_ms) * 20)
}

/// A session that writes, and its node.
fn other(addr: SocketAddr, timeout: Duration) -> Result<Bare> {
    let mut other = Bare::connect(addr, timeout, BOUND)?;
    match other.create(NODE, b"", BOUND) {
        Met::Code(0 | -110) => Ok(other),
        met => Err(Error::program("zookeeper", format!("making {NODE} met {met:?}"))),
    }
}

/// The server that clients of this ensemble are on here: one that follows, if any does.
fn follower(ensemble: &Ensemble) -> SocketAddr {
    let leader = ensemble.leader();
    let id = ensemble.ids().into_iter().find(|id| Some(*id) != leader);
    ensemble.addr(id.or(leader).unwrap_or(1))
}

/// Throws each at a server of the ensemble, and sees whether others can still write. A leader that has stopped is killed and
/// started again; another ensemble takes the place of one that nobody serves any more.
pub fn stopped(
    ensemble: &mut Ensemble,
    requests: &[Malformed],
    mut say: impl FnMut(&str),
) -> Result<Vec<Stopped>> {
    let timeout = timeout(ensemble);
    let mut writer = well(ensemble, timeout)?;
    let mut all = Vec::new();
    for request in requests {
        if request.due == Due::Unapplied && request.operation == "setData" {
            quota(&mut writer)?;
        }
        let mut thrower = Bare::connect(follower(ensemble), timeout, BOUND)?;
        let met = thrower.throw(&request.bytes, WRITE);
        let stopped = writer.set(NODE, b"on", WRITE) != Met::Code(0);
        let ended = stopped && request.due == Due::Unapplied && ended(ensemble);
        let what = match (stopped, ended) {
            (_, true) => ", and no server serves any more",
            (true, false) => ", and all writes stop",
            (false, false) => "",
        };
        say(&format!("directly: {}, {}: {met:?}{what}", request.operation, request.wrong));
        if ended {
            *ensemble = Ensemble::with(ensemble.spec())?;
            writer = well(ensemble, timeout)?;
        } else if stopped {
            let leader = ensemble.leader().ok_or_else(|| Error::program("zookeeper", "has no leader"))?;
            ensemble.kill(leader)?;
            ensemble.start_server(leader)?;
            ensemble.wait_ready()?;
            writer = well(ensemble, timeout)?;
        }
        all.push(Stopped { met, stopped, ended });
    }
    Ok(all)
}

/// A quota of the node that others write to, which each of their writes is counted by.
fn quota(writer: &mut Bare) -> Result<()> {
    let folder = format!("/zookeeper/quota{NODE}");
    let limits = (format!("{folder}/zookeeper_limits"), "count=1000,bytes=-1");
    let stats = (format!("{folder}/zookeeper_stats"), "count=1,bytes=0");
    for (path, data) in [(folder, ""), limits, stats] {
        match writer.create(&path, data.as_bytes(), BOUND) {
            Met::Code(0 | -110) => {}
            met => return Err(Error::program("zookeeper", format!("making {path} met {met:?}"))),
        }
    }
    Ok(())
}

/// Whether no server is left that serves: each ends, or has nobody to follow, within moments.
fn ended(ensemble: &Ensemble) -> bool {
    let none = || ensemble.ids().into_iter().all(|id| ensemble.mode(id).is_none());
    wait::until("servers to end", BOUND, none).is_ok()
}

/// A session on an ensemble that takes writes, or will soon.
fn well(ensemble: &Ensemble, timeout: Duration) -> Result<Bare> {
    wait::poll("an ensemble that takes writes", RECOVERY, Duration::from_millis(100), || {
        Ok(other(follower(ensemble), timeout).ok())
    })
}

/// Throws each at Evenkeel, and lets another client write after each.
pub fn shielded(listen: SocketAddr, ensemble: &Ensemble, requests: &[Malformed]) -> Result<Vec<Shielded>> {
    let timeout = timeout(ensemble);
    let mut writer = other(listen, timeout)?;
    let each = requests.iter().map(|request| {
        let mut thrower = Bare::connect(listen, timeout, BOUND)?;
        let met = thrower.throw(&request.bytes, BOUND);
        let start = Instant::now();
        let write = writer.set(NODE, b"on", BOUND);
        let took = start.elapsed();
        // Whoever isn't closed can go on: with a node of its own, so that it is seen to write.
        let closed = met == Met::Closed || thrower.set(NODE, b"too", BOUND) != Met::Code(0);
        Ok(Shielded { met, closed, write, took })
    });
    each.collect()
}
