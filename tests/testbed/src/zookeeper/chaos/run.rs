//! A run: the ensemble, Evenkeel in front of it, the sessions, the events of a seed, and the records of it all. Between two
//! events every session must be served again, so that each outage is never longer than one event makes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::checker::{Verdict, check};
use super::client::{self, Client, EPHEMERALS, NODES, REGISTERS, ROOT, SEQUENCE};
use super::ends;
use super::record::{Counted, Event, Run};
use super::schedule::{self, Fault, Schedule, Target};
use crate::chaos::Events;
use crate::chaos::net::{self, Cut, Powers, Way};
use crate::chaos::schedule::Class;
use crate::zookeeper::{Ensemble, EnsembleSpec, ZooKeeperVersion};
use crate::{Error, Result, Sidecar, wait};

/// How long a session may take to be served again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The sessions' time-out: the longest with a tick of 500 ms.
const TIMEOUT: Duration = Duration::from_secs(10);
/// `syncLimit` in ticks, and in milliseconds.
const SYNC_LIMIT: u32 = 4;
const SYNC_MS: u64 = 2000;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Six sessions.
    Short,
    /// Sixteen.
    Full,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// Decides the events, and what clients ask.
    pub seed: u64,
    /// For how long events begin.
    pub lasts: Duration,
    /// Of the servers.
    pub version: ZooKeeperVersion,
    /// Which events.
    pub events: Events,
    /// How much.
    pub size: Size,
    /// Evenkeel's binary.
    pub binary: PathBuf,
    /// The level of Evenkeel's log.
    pub log: String,
}

/// Single events, on an ensemble of any size: what an [`Order`] comes to, and what can be ordered beside it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what clients ask.
    pub seed: u64,
    /// The servers.
    pub spec: EnsembleSpec,
    /// The sessions' time-out.
    pub timeout: Duration,
    /// How many sessions.
    pub sessions: usize,
    /// What happens.
    pub events: Vec<schedule::Event>,
    /// For how long events begin.
    pub lasts: Duration,
    /// Evenkeel's binary.
    pub binary: PathBuf,
    /// The level of Evenkeel's log.
    pub log: String,
}

impl Order {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            spec: EnsembleSpec::new(self.version).sync_limit(SYNC_LIMIT),
            timeout: TIMEOUT,
            sessions: if self.size == Size::Short { 6 } else { 16 },
            // More than there is time for.
            events: self
                .schedule()
                .take(usize::try_from(self.lasts.as_secs()).unwrap_or(usize::MAX))
                .collect(),
            lasts: self.lasts,
            binary: self.binary.clone(),
            log: self.log.clone(),
        }
    }

    /// Its events, as many as one likes.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.seed, self.events, SYNC_MS)
    }

    /// The command that does the same again.
    pub fn replay(&self) -> String {
        let short = if self.size == Size::Short { " SHORT=1" } else { "" };
        format!(
            "make chaos SEED={} MINUTES={} ZOOKEEPER={} EVENTS={}{short}",
            self.seed,
            self.lasts.as_secs_f64() / 60.0,
            self.version,
            self.events
        )
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was recorded.
    pub run: Run,
    /// What the checker says.
    pub verdict: Verdict,
}

/// Carries an order out and judges it. If a promise was broken, or the run could not be carried through, the records and logs
/// are kept in a folder, and `say` is told which, and the command that replays it.
pub fn prove(order: &Order, keep: bool, say: &dyn Fn(&str)) -> Result<Outcome> {
    let outcome = carry_out(&order.plan(), keep, say);
    if !outcome.as_ref().is_ok_and(|outcome| outcome.verdict.breaches.is_empty()) {
        say(&format!("seed {} is replayed by: {}", order.seed, order.replay()));
    }
    outcome
}

/// The same for single events.
pub fn carry_out(plan: &Plan, keep: bool, say: &dyn Fn(&str)) -> Result<Outcome> {
    let folder = fresh(plan.seed);
    fs::create_dir_all(&folder).map_err(Error::io(format!("creating {}", folder.display())))?;
    let place = folder.display().to_string();
    say(&format!("seed {}; everything is recorded in {place}", plan.seed));
    let judged = run(plan, &folder, say).and_then(|run| {
        let verdict = check(&run);
        note(&folder, &run, &verdict)?;
        Ok(Outcome { run, verdict })
    });
    if !judged.as_ref().is_ok_and(|outcome| outcome.verdict.breaches.is_empty()) {
        say(&format!("seed {} FAILED; its records are in {place}", plan.seed));
    } else if !keep {
        let _ = fs::remove_dir_all(&folder);
    }
    judged
}

/// A folder that no earlier run has.
fn fresh(seed: u64) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let base = root.join("target/chaos");
    (1..100_000u32)
        .map(|number| base.join(format!("zookeeper-seed-{seed}-{number}")))
        .find(|path| !path.exists())
        .unwrap_or(base)
}

/// Everything in words: each client's lines, the transactions, the verdict.
fn note(folder: &Path, run: &Run, verdict: &Verdict) -> Result<()> {
    let write = |name: String, text: String| {
        fs::write(folder.join(&name), text).map_err(Error::io(format!("writing {name}")))
    };
    let lines = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join("\n");
    for (number, client) in run.clients.iter().enumerate() {
        write(format!("client-{number}.txt"), lines(&mut client.iter().map(|line| format!("{line:?}"))))?;
    }
    write("transactions.txt".to_owned(), lines(&mut run.truth.log.iter().map(|txn| format!("{txn:?}"))))?;
    write("verdict.txt".to_owned(), format!("{:#?}\n{verdict:#?}\n{:#?}", run.events, run.counted))
}

/// What events act on.
struct Ground<'a> {
    ensemble: Ensemble,
    sidecar: &'a Sidecar,
    powers: Powers,
}

fn run(plan: &Plan, folder: &Path, say: &dyn Fn(&str)) -> Result<Run> {
    let ensemble = Ensemble::with(plan.spec)?;
    let mut direct = ensemble.direct(TIMEOUT)?;
    for path in [ROOT, SEQUENCE, EPHEMERALS].iter().chain(&REGISTERS).chain(&NODES) {
        direct.create(path, b"")?;
    }
    drop(direct);
    let powers = Powers::find(ensemble.spare_ip());
    for hindrance in [powers.reset.as_ref().err(), powers.cut.as_ref().err()].into_iter().flatten() {
        say(&format!("some events will be left out: {hindrance}"));
    }
    let log = format!("[log]\nlevel = \"info,evenkeel={}\"\n", plan.log);
    let keys = format!("tick_time = \"{}ms\"\n", plan.spec.tick_ms);
    let (mut sidecar, listen) = Sidecar::zookeeper(&plan.binary, &ensemble.servers(), &log, &keys)?;
    sidecar.wait_ready(PATIENCE)?;
    let mut ground = Ground { ensemble, sidecar: &sidecar, powers };
    let done = clients(plan, listen, say, &mut ground);
    let keep = |from: &Path, to: &str| drop(fs::copy(from, folder.join(to)));
    keep(&sidecar.log(), "evenkeel.log");
    for id in ground.ensemble.ids() {
        keep(&ground.ensemble.log(id), &format!("zookeeper-{id}.log"));
    }
    done
}

fn clients(
    plan: &Plan,
    listen: std::net::SocketAddr,
    say: &dyn Fn(&str),
    ground: &mut Ground<'_>,
) -> Result<Run> {
    let (phase, epoch) = (Arc::new(AtomicU8::new(client::WORK)), Instant::now());
    let start = |number| {
        let (seed, timeout) = (plan.seed, plan.timeout);
        let spec = client::Spec { number, seed, servers: listen, timeout, pause_ms: 200, epoch };
        Client::start(spec, Arc::clone(&phase))
    };
    let clients: Vec<Client> = (0..plan.sessions).map(start).collect();
    let events = events(plan, say, ground, &clients, epoch);
    // Whatever happened, the clients are ended.
    phase.store(client::REST, Ordering::Relaxed);
    let rested = wait::until("clients at rest", PATIENCE, || clients.iter().all(Client::rests));
    let truth = ends::truth(&ground.ensemble, TIMEOUT);
    let counted = counted(ground.sidecar);
    phase.store(client::END, Ordering::Relaxed);
    let clients = clients.into_iter().map(Client::finish).collect::<Result<Vec<_>>>()?;
    rested?;
    let timeout_us = i64::try_from(plan.timeout.as_micros()).unwrap_or(i64::MAX);
    Ok(Run { clients, events: events?, truth: truth?, counted: counted?, timeout_us })
}

fn micros(epoch: Instant) -> i64 {
    i64::try_from(epoch.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Waits until each client had a success with something that it asked from now on.
fn served(clients: &[Client], epoch: Instant) -> Result<()> {
    let since = micros(epoch);
    wait::until("clients that are served", PATIENCE, || clients.iter().all(|c| c.last_success_us() >= since))
}

fn events(
    plan: &Plan,
    say: &dyn Fn(&str),
    ground: &mut Ground<'_>,
    clients: &[Client],
    epoch: Instant,
) -> Result<Vec<Event>> {
    served(clients, epoch)?;
    let mut all = Vec::new();
    let start = Instant::now();
    for event in plan.events.iter().take_while(|_| start.elapsed() < plan.lasts) {
        std::thread::sleep(Duration::from_millis(event.pause_ms));
        let id = ground.aim(event.target)?;
        let start_us = micros(epoch);
        let mut done = Event {
            what: format!("{event} (server {id})"),
            soft: event.fault.class() == Class::Soft,
            start_us,
            whole_us: start_us,
            served_us: start_us,
            skipped: ground.hindrance(event.fault),
        };
        if let Some(why) = &done.skipped {
            say(&format!("left out: {}: {why}", done.what));
            all.push(done);
            continue;
        }
        say(&done.what);
        ground.strike(event, id)?;
        ground.ensemble.wait_ready()?;
        done.whole_us = micros(epoch);
        let again = served(clients, epoch);
        done.served_us = if again.is_ok() { micros(epoch) } else { 0 };
        all.push(done);
        if let Err(error) = again {
            // The checker will say so; what comes after it would only hide it.
            say(&format!("no further events: {error}"));
            break;
        }
    }
    Ok(all)
}

impl Ground<'_> {
    /// Why this can't be carried out here, if it can't.
    fn hindrance(&self, fault: Fault) -> Option<String> {
        match fault {
            Fault::Reset => self.powers.reset.clone().err(),
            Fault::CutClients | Fault::CutPeers => self.powers.cut.clone().err(),
            Fault::CutFollower if self.powers.cut != Ok(Way::Filter) => {
                Some("single connections are cut by a packet filter only".to_owned())
            }
            _ => None,
        }
    }

    fn leader(&self) -> Result<u8> {
        wait::poll("a leader", PATIENCE, Duration::from_millis(20), || Ok(self.ensemble.leader()))
    }

    fn aim(&self, target: Target) -> Result<u8> {
        let leader = self.leader()?;
        let number = match target {
            Target::Leader => return Ok(leader),
            Target::Follower(number) => usize::from(number),
        };
        let followers: Vec<u8> = self.ensemble.ids().into_iter().filter(|&id| id != leader).collect();
        Ok(followers.get(number % followers.len().max(1)).copied().unwrap_or(leader))
    }

    fn drain(&self, id: u8, method: &str) -> Result<()> {
        let path = format!("/v1/clusters/bed/members/{}/drain", self.ensemble.addr(id));
        wait::until("the end of a drain", PATIENCE, || {
            matches!(self.sidecar.ask(method, &path), Ok((200, _)))
        })
    }

    /// Carries the event out on server `id`; afterwards every server runs, and nothing is frozen or cut off.
    fn strike(&mut self, event: &schedule::Event, id: u8) -> Result<()> {
        let lasts = Duration::from_millis(event.lasts_ms);
        match event.fault {
            Fault::DrainedRestart => {
                self.drain(id, "PUT")?;
                self.ensemble.stop(id)?;
                self.ensemble.start_server(id)?;
                self.ensemble.wait_ready()?;
                self.drain(id, "DELETE")
            }
            Fault::Drain => {
                self.drain(id, "PUT")?;
                self.drain(id, "DELETE")
            }
            Fault::Restart => {
                self.ensemble.stop(id)?;
                self.ensemble.start_server(id)
            }
            Fault::Kill => {
                self.ensemble.kill(id)?;
                std::thread::sleep(lasts);
                self.ensemble.start_server(id)
            }
            Fault::Freeze | Fault::LongFreeze => {
                self.ensemble.freeze(id)?;
                std::thread::sleep(lasts);
                self.ensemble.thaw(id)
            }
            Fault::Reset => {
                for time in 0..event.times {
                    if time > 0 {
                        // Into the settling of the one before.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    net::reset(self.ensemble.addr(id))?;
                }
                Ok(())
            }
            Fault::CutClients | Fault::CutPeers => {
                let way = self.powers.cut.clone().map_err(Error::Missing)?;
                let ip = match self.ensemble.addr(id).ip() {
                    std::net::IpAddr::V4(ip) if event.fault == Fault::CutClients => ip,
                    _ => self.ensemble.peer_ip(id),
                };
                let cut = Cut::start(way, &[ip])?;
                std::thread::sleep(lasts);
                drop(cut);
                Ok(())
            }
            Fault::CutFollower => {
                let leads = self.ensemble.leader() == Some(id);
                let cut = self.ensemble.cut_follower((!leads).then_some(id))?;
                std::thread::sleep(lasts);
                drop(cut);
                Ok(())
            }
            Fault::Outage => {
                let ids = self.ensemble.ids();
                for &id in &ids {
                    self.ensemble.kill(id)?;
                }
                std::thread::sleep(lasts);
                ids.into_iter().try_for_each(|id| self.ensemble.start_server(id))
            }
        }
    }
}

fn counted(sidecar: &Sidecar) -> Result<Counted> {
    let closes = |labels: &[&str]| sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", labels);
    let (lease, unknown) = (closes(&["reason=\"lease_over\""])?, closes(&["reason=\"unknown_outcome\""])?);
    Ok(Counted {
        unknown: sidecar.metric_sum("evenkeel_unknown_outcomes_total", &["action=\"error\""])?,
        expired: sidecar.metric_sum("evenkeel_zookeeper_sessions_expired_total", &[])?,
        closed_unknown: unknown,
        closed_lease: lease,
        closed_other: closes(&[])? - lease - unknown,
    })
}
