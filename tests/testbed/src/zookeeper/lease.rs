//! Whether clients believe in sessions that the ensemble has ended, and when the nodes of clients that are no more go.
//!
//! A client here is what the Java library is with nothing asked of it (`ClientCnxn.SendThread`): it pings after a third of its
//! time-out T without a frame of its own, and gives its connection up when it has heard nothing for 2T/3. It **believes** in
//! its session while it has a connection that it has not given up. When the ensemble ends a session is told by the log of
//! the server that leads then: "Expiring session".

mod verdict;

pub use verdict::{Fate, HEAD, breaches, rows};

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Ensemble;
use super::raw::{Hello, Raw};
use crate::chaos::net::{Cut, Powers, Way};
use crate::scene::micros;
use crate::{EnsembleSpec, Error, Result, Sidecar, ZooKeeperVersion, wait};

/// The sessions' time-out.
pub const TIMEOUT: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(500);
/// How long something may take that ought to happen within a few time-outs.
const PATIENCE: Duration = Duration::from_secs(60);

const LIVE: u8 = 0;
/// The socket ends without a word.
const DIE: u8 = 1;
/// Nothing is read or written any more, and the socket stays.
const FREEZE: u8 = 2;
const END: u8 = 3;

/// What happens to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Evenkeel is frozen.
    SidecarFrozen,
    /// Nothing reaches the servers' addresses for clients.
    Partitioned,
    /// The leader is frozen, and goes on just before its followers give it up.
    LeaderFrozen,
    /// The follower that serves all these clients is cut off from its leader.
    FollowerCut,
    /// The clients die.
    ClientsDie,
    /// The clients freeze.
    ClientsFreeze,
}

impl Trouble {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::SidecarFrozen,
        Self::Partitioned,
        Self::LeaderFrozen,
        Self::FollowerCut,
        Self::ClientsDie,
        Self::ClientsFreeze,
    ];

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::SidecarFrozen => "Evenkeel frozen",
            Self::Partitioned => "servers cut off from clients and from Evenkeel",
            Self::LeaderFrozen => "leader frozen, thawed before it is given up",
            Self::FollowerCut => "follower cut off from its leader",
            Self::ClientsDie => "clients die",
            Self::ClientsFreeze => "clients freeze",
        }
    }

    /// Why it can't be brought about with these powers, if it can't.
    pub fn hindrance(self, powers: &Powers) -> Option<String> {
        match (self, &powers.cut) {
            (Self::Partitioned | Self::FollowerCut, Err(why)) => Some(why.clone()),
            (Self::FollowerCut, Ok(way)) if *way != Way::Filter => {
                Some("single connections are cut by a packet filter (iptables) only".to_owned())
            }
            _ => None,
        }
    }

    /// Whether a server that is cut off from its leader answers here for sessions that the leader counts down.
    pub fn misleads(self) -> bool {
        matches!(self, Self::LeaderFrozen | Self::FollowerCut)
    }
}

/// Through what a client reaches its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Nothing.
    Direct,
    /// Evenkeel with its defaults.
    Default,
    /// Evenkeel with `lease = "strict"`.
    Strict,
}

impl Via {
    /// All.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Default, Self::Strict];

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Default => "Evenkeel",
            Self::Strict => "Evenkeel, strict",
        }
    }
}

/// A client at work.
struct Believer {
    via: Via,
    session: i64,
    phase: Arc<AtomicU8>,
    thread: JoinHandle<(Option<i64>, Option<i64>, i64)>,
}

impl Believer {
    fn start(way: Via, at: SocketAddr) -> Result<Self> {
        let raw = wait::poll("a session", PATIENCE, Duration::from_millis(50), || {
            Ok(match Raw::connect(at, TIMEOUT, None) {
                Hello::Granted(raw) => Some(raw),
                _ => None,
            })
        })?;
        if raw.timeout() != TIMEOUT {
            return Err(Error::program("zookeeper", format!("granted {:?}, not {TIMEOUT:?}", raw.timeout())));
        }
        let phase = Arc::new(AtomicU8::new(LIVE));
        let (session, own) = (raw.identity().session, Arc::clone(&phase));
        Ok(Self { via: way, session, phase, thread: std::thread::spawn(move || believe(*raw, &own)) })
    }
}

/// The life of a client: when it stopped believing, when it was gone, when its last frame was sent.
fn believe(mut raw: Raw, phase: &AtomicU8) -> (Option<i64>, Option<i64>, i64) {
    let clock = (Instant::now(), micros());
    let wall = |at: Instant| clock.1 + i64::try_from((at - clock.0).as_micros()).unwrap_or(0);
    loop {
        match phase.load(Ordering::Relaxed) {
            LIVE => {}
            END => return (None, None, wall(raw.sent)),
            how => {
                let (gone, sent) = (micros(), wall(raw.sent));
                if how == FREEZE {
                    while phase.load(Ordering::Relaxed) != END {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                return (Some(gone), Some(gone), sent);
            }
        }
        if raw.wait(Instant::now() + Duration::from_millis(20)).is_err() {
            // Closed: it knows now. Silent: it has known since then, whenever this thread got its turn.
            let silent = raw.heard + TIMEOUT * 2 / 3;
            return (Some(wall(silent.min(Instant::now()))), None, wall(raw.sent));
        }
    }
}

/// What happened to the clients of one round, in one trouble.
pub fn round(binary: &Path, version: ZooKeeperVersion, trouble: Trouble, each: usize) -> Result<Vec<Fate>> {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(version))?;
    let powers = Powers::find(ensemble.spare_ip());
    let leader = wait::poll("a leader", PATIENCE, Duration::from_millis(20), || Ok(ensemble.leader()))?;
    let follower = ensemble.ids().into_iter().find(|&id| id != leader);
    let follower = follower.ok_or_else(|| Error::program("the ensemble", "has no follower"))?;
    // Of one that is cut off, the worst is that there is no other; the same for those behind a frozen leader.
    let one = trouble.misleads();
    let servers = if one { ensemble.addr(follower).to_string() } else { ensemble.servers() };
    let start = |keys: &str| -> Result<(Sidecar, SocketAddr)> {
        let keys = format!("tick_time = \"{}ms\"\n{keys}", TICK.as_millis());
        let (mut sidecar, listen) = Sidecar::zookeeper(binary, &servers, "", &keys)?;
        sidecar.wait_ready(PATIENCE)?;
        Ok((sidecar, listen))
    };
    let (default, strict) = (start("")?, start("lease = \"strict\"")?);
    let mut believers = Vec::new();
    for _ in 0..each {
        for way in Via::ALL {
            let at = match way {
                Via::Direct => ensemble.addr(follower),
                Via::Default => default.1,
                Via::Strict => strict.1,
            };
            believers.push(Believer::start(way, at)?);
        }
        // So that their pings are not all of one moment.
        std::thread::sleep(TIMEOUT / 3 / u32::try_from(each).unwrap_or(1));
    }
    // Beyond what is special about a beginning.
    std::thread::sleep(TIMEOUT);
    let mut cut = None;
    match trouble {
        Trouble::SidecarFrozen => {
            for (sidecar, _) in [&default, &strict] {
                sidecar.signal(rustix::process::Signal::STOP)?;
            }
        }
        Trouble::Partitioned => {
            let way = powers.cut.clone().map_err(Error::Missing)?;
            let ips: Vec<_> = ensemble.ids().into_iter().filter_map(|id| ipv4(ensemble.addr(id))).collect();
            cut = Some(Cut::start(way, &ips)?);
        }
        Trouble::LeaderFrozen => {
            ensemble.freeze(leader)?;
            std::thread::sleep(
                (TICK * ensemble.spec().sync_limit).saturating_sub(Duration::from_millis(600)),
            );
            ensemble.thaw(leader)?;
        }
        Trouble::FollowerCut => cut = Some(ensemble.cut_follower(Some(follower))?),
        Trouble::ClientsDie | Trouble::ClientsFreeze => {
            let how = if trouble == Trouble::ClientsDie { DIE } else { FREEZE };
            for believer in &believers {
                believer.phase.store(how, Ordering::Relaxed);
            }
        }
    }
    // Long enough for every session that nobody keeps alive to end; those of direct clients of a healthy server don't.
    let ended = |believers: &[Believer]| {
        let log = log_of(&ensemble);
        let waiting = |b: &&Believer| trouble != Trouble::SidecarFrozen || b.via != Via::Direct;
        believers.iter().filter(waiting).all(|b| expiry(&log, b.session).is_some())
    };
    let _ = wait::until("the sessions' end", TIMEOUT * 5, || ended(&believers));
    std::thread::sleep(TIMEOUT);
    for believer in &believers {
        believer.phase.store(END, Ordering::Relaxed);
    }
    let log = log_of(&ensemble);
    let mut fates = Vec::new();
    for believer in believers {
        let (way, session) = (believer.via, believer.session);
        let ended = believer.thread.join().map_err(|_| Error::program("a client", "panicked"))?;
        let (believed_us, gone_us, sent_us) = ended;
        fates.push(Fate {
            via: way,
            session,
            believed_us,
            gone_us,
            sent_us,
            expired_us: expiry(&log, session),
        });
    }
    drop(cut);
    for (sidecar, _) in [&default, &strict] {
        // So that it can end.
        sidecar.signal(rustix::process::Signal::CONT)?;
    }
    Ok(fates)
}

fn ipv4(at: SocketAddr) -> Option<std::net::Ipv4Addr> {
    match at.ip() {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    }
}

/// The lines of all servers' logs that tell of an expiry.
fn log_of(ensemble: &Ensemble) -> Vec<String> {
    let mut lines = Vec::new();
    for id in ensemble.ids() {
        let text = std::fs::read(ensemble.log(id)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        lines.extend(text.lines().filter(|line| line.contains("Expiring session")).map(str::to_owned));
    }
    lines
}

/// When a session was ended, by the first line that says so, in microseconds since the epoch.
fn expiry(log: &[String], session: i64) -> Option<i64> {
    let name = format!("0x{session:x},");
    let times = log.iter().filter(|line| line.contains(&name)).filter_map(|line| moment(line, micros()));
    times.min()
}

/// The time of a line (hours, minutes, seconds and milliseconds, UTC) on the day that is nearest to `now_us`.
fn moment(line: &str, now_us: i64) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let time =
        line.split_whitespace().find(|word| word.len() == 12 && word.as_bytes().get(2) == Some(&b':'))?;
    let mut parts = time.split([':', '.', ',']).map(|part| part.parse::<i64>().ok());
    let mut part = || parts.next().flatten();
    let of_day = (((part()? * 60 + part()?) * 60 + part()?) * 1000 + part()?) * 1000;
    let today = now_us - now_us.rem_euclid(DAY) + of_day;
    [today - DAY, today, today + DAY].into_iter().min_by_key(|at| (at - now_us).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log_have_their_moment() {
        let day = 20_000 * 86_400_000_000;
        let line = "00:00:01.250 [SessionTracker] INFO o.a.z.s.ZooKeeperServer -- Expiring session 0x1, timeout of 4000ms exceeded";
        assert_eq!(moment(line, day + 5_000_000), Some(day + 1_250_000));
        assert_eq!(moment(line, day - 5_000_000), Some(day + 1_250_000));
        let other = "2026-11-21 23:59:59,750 INFO ZooKeeperServer Expiring session 0x1, timeout";
        assert_eq!(moment(other, day + 5_000_000), Some(day - 250_000));
        assert_eq!(expiry(&[line.to_owned()], 2), None);
    }
}
