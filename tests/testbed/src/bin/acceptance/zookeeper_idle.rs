//! Ten thousand idle sessions: what each costs in memory, and what a roll of the ensemble makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use testbed::zookeeper::{Bare, Direct, Idlers, Lost, Met};
use testbed::{Ensemble, EnsembleSpec, Error, Result, Roll, Sidecar, ZooKeeperVersion, wait};

use super::garbage::resident_kib;
use super::{Bench, Finding, PATIENCE};

const VERSION: ZooKeeperVersion = ZooKeeperVersion::V3_9_5;
const WANTED: usize = 10_000;
/// Files that a process needs beside two for each session: listeners, and a third one for each that moves.
const SPARE: usize = 200;
/// Sessions that come and go before memory is looked at: what is kept for later is there then.
const WARM: usize = 200;
const TICK_MS: u32 = 1500;
const TIMEOUT: Duration = Duration::from_secs(30);
const WATCHES: usize = 5;
/// Between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    if bench.direct {
        return Ok(Finding {
            figures: "(nothing to be seen without Evenkeel)\n".to_owned(),
            ..Finding::default()
        });
    }
    // Evenkeel is started by this process and has its limit.
    let most = getrlimit(Resource::Nofile).maximum;
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let count = WANTED.min(most.saturating_sub(SPARE) / 2);
    let mut ensemble = Ensemble::with(EnsembleSpec::new(VERSION).tick_ms(TICK_MS))?;
    let nodes: Vec<String> = (0..WATCHES).map(|at| format!("/idle-watched-{at}")).collect();
    let mut direct = ensemble.direct(TIMEOUT)?;
    for node in &nodes {
        direct.create(node, b"")?;
    }
    drop(direct);
    let keys = format!("tick_time = \"{TICK_MS}ms\"");
    let (mut sidecar, listen) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", &keys)?;
    sidecar.wait_ready(PATIENCE)?;
    let (crowd, mut figures) = grown(bench, &sidecar, listen, count, &nodes)?;
    if count < WANTED {
        let _ = writeln!(
            figures,
            "\nNot {WANTED}, since a process may have {most} files open here, and each session takes two in Evenkeel.\n"
        );
    }
    let idle = Idle { bench, sidecar, crowd, count };
    let beat = Beat::start(ensemble.direct(TIMEOUT)?);
    let course = idle.rolled(&mut ensemble)?;
    let written = beat.stop()?;
    let _ = writeln!(
        figures,
        "Beside them another client, which knows the servers, wrote {written} times: without any write after an election followers refuse \
         whoever has seen the new leader, with or without Evenkeel.\n"
    );
    let limit = idle.sidecar.metric_sum("evenkeel_zookeeper_attach_limit", &[])?;
    figures += "| step | took | attached | most attached to one server in a second | most at once | most waiting | slowest answer to a \
                ping, at most |\n|---|---:|---:|---:|---:|---:|---:|\n";
    let mut breaches = Vec::new();
    for (title, seen) in &course {
        let _ = writeln!(
            figures,
            "| {title} | {:.1} s | {} | {} | {} | {} | {:.0} ms |",
            seen.took.as_secs_f64(),
            seen.attached(),
            seen.per_second(),
            seen.attaching,
            seen.waiting,
            seen.slowest.as_secs_f64() * 1000.0
        );
        if seen.attaching > limit {
            breaches.push(format!("{title}: {} were attached at once, {limit} may be", seen.attaching));
        }
    }
    let _ = writeln!(
        figures,
        "\nAttaches at once are bounded by `reattach_concurrency`, {limit}. Attached to each server, second by second:\n"
    );
    for (title, seen) in &course {
        let _ = writeln!(figures, "- {title}: {}", seen.by_second());
    }
    let end = idle.end(listen, &nodes)?;
    figures += &end.figures;
    breaches.extend(end.breaches);
    Ok(Finding { figures, breaches })
}

/// Sessions come, and then their watches: what each costs.
fn grown(
    bench: &Bench,
    sidecar: &Sidecar,
    listen: SocketAddr,
    count: usize,
    nodes: &[String],
) -> Result<(Idlers, String)> {
    drop(Idlers::gather(listen, WARM, TIMEOUT)?);
    settled(sidecar, 0)?;
    let empty = resident_kib(sidecar)?;
    let start = Instant::now();
    let crowd = Idlers::gather(listen, count, TIMEOUT)?;
    let took = start.elapsed().as_secs_f64();
    bench.say(&format!("{count} sessions in {took:.1} s; {empty} KiB resident without any"));
    crowd.ping()?;
    settled(sidecar, count)?;
    let idle = resident_kib(sidecar)?;
    crowd.watch(nodes)?;
    crowd.ping()?;
    let watching = resident_kib(sidecar)?;
    bench.say(&format!("{idle} KiB with them, {watching} KiB with {WATCHES} watches each"));
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2⁵³")]
    let each = |kib: u64| kib.saturating_sub(empty) as f64 / count as f64;
    let figures = format!(
        "ZooKeeper {VERSION}, three servers, {count} sessions of {} s through one Evenkeel process, made in {took:.1} s. Resident memory: \
         {empty} KiB without sessions (after {WARM} had come and gone), {idle} KiB with them, **{:.2} KiB each**; {watching} KiB when \
         each had {WATCHES} watches, **{:.2} KiB each**.\n\n",
        TIMEOUT.as_secs(),
        each(idle),
        each(watching)
    );
    Ok((crowd, figures))
}

/// Someone who writes now and then, to the servers themselves.
///
/// A new leader shows the first number of its epoch to who pings it, and followers have none of that epoch before its first
/// transaction: until then they close on who has seen it. Ensembles that nobody writes to for that long are none.
struct Beat {
    over: Sender<()>,
    thread: JoinHandle<Result<u32>>,
}

impl Beat {
    fn start(mut direct: Direct) -> Self {
        let (over, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            direct.create("/idle-beat", b"")?;
            let mut version = 0;
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                direct.set("/idle-beat", b"", version)?;
                (version, written) = (version + 1, written + 1);
            }
            Ok(written)
        });
        Self { over, thread }
    }

    fn stop(self) -> Result<u32> {
        drop(self.over);
        self.thread.join().map_err(|_| Error::program("a writer", "panicked"))?
    }
}

/// Sessions that do nothing, and what they are behind.
struct Idle<'b> {
    bench: &'b Bench,
    sidecar: Sidecar,
    crowd: Idlers,
    count: usize,
}

impl Idle<'_> {
    /// Every server is drained and restarted; then one is killed, and then the leader.
    fn rolled(&self, ensemble: &mut Ensemble) -> Result<Vec<(String, Seen)>> {
        let (mut course, mut done) = (Vec::new(), Vec::new());
        while let Some(id) = ensemble.next_to_roll(&done) {
            let member = ensemble.addr(id).to_string();
            course.push(self.step(format!("drain and restart of server {id}"), || {
                drained(&self.sidecar, &member)?;
                ensemble.restart(id, Roll::Soft)?;
                let path = format!("/v1/clusters/bed/members/{member}/drain");
                self.sidecar.ask("DELETE", &path).map(drop)
            })?);
            done.push(id);
        }
        let leader = ensemble.leader().ok_or_else(|| Error::program("zookeeper", "has no leader"))?;
        let busiest = busiest(&self.sidecar, ensemble, leader)?;
        let title = format!("SIGKILL of server {busiest}, a follower");
        course.push(self.step(title, || ensemble.restart(busiest, Roll::Hard))?);
        let title = format!("SIGKILL of server {leader}, the leader: every server lets its clients go");
        course.push(self.step(title, || ensemble.restart(leader, Roll::Hard))?);
        Ok(course)
    }

    fn step(&self, title: String, act: impl FnOnce() -> Result<()>) -> Result<(String, Seen)> {
        let _ = self.crowd.slowest();
        let mut seen = watched(&self.sidecar, || {
            act()?;
            // Who is lost is told at the end, and is not waited for.
            wait::poll("sessions that have settled", PATIENCE, LOOK, || {
                self.crowd.ping()?;
                Ok(is_settled(&self.sidecar, self.count - self.crowd.lost().closed)?.then_some(()))
            })
        })?;
        seen.slowest = self.crowd.slowest();
        self.bench.say(&format!("{title}: {seen:?}, {:?}", self.crowd.lost()));
        Ok((title, seen))
    }

    /// The watches are still there, and each tells once; nobody was lost.
    fn end(&self, listen: SocketAddr, nodes: &[String]) -> Result<Finding> {
        let mut breaches = Vec::new();
        let mut writer = Bare::connect(listen, TIMEOUT, PATIENCE)?;
        for node in nodes {
            if writer.set(node, b"changed", PATIENCE) != Met::Code(0) {
                breaches.push(format!("{node} could not be changed"));
            }
        }
        let due = (self.count * nodes.len()) as u64;
        let _ = wait::poll("the last event", PATIENCE, LOOK, || {
            self.crowd.ping()?;
            Ok((self.crowd.events() >= due).then_some(()))
        });
        let (lost, events) = (self.crowd.lost(), self.crowd.events());
        let expired = self.sidecar.metric_sum("evenkeel_zookeeper_sessions_expired_total", &[])?;
        let closes = self.sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", &[])?;
        if lost != Lost::default() || expired > 0.0 || closes > 0.0 {
            breaches.push(format!("{lost:?}, {expired} sessions expired, {closes} closed for their lease"));
        }
        if events != due {
            breaches.push(format!("{events} watch events came, {due} were due"));
        }
        let figures = format!(
            "\nConnections lost: {}, pings without an answer: {}, sessions expired: {expired}, closed for their lease: {closes}. After all \
             that each of the {} watched nodes was changed: {events} events came, {due} were due.\n",
            lost.closed,
            lost.silent,
            nodes.len()
        );
        Ok(Finding { figures, breaches })
    }
}

/// Waits until so many sessions are on servers, and none is on its way.
fn settled(sidecar: &Sidecar, count: usize) -> Result<()> {
    wait::poll("sessions that have settled", PATIENCE, LOOK, || Ok(is_settled(sidecar, count)?.then_some(())))
}

fn is_settled(sidecar: &Sidecar, count: usize) -> Result<bool> {
    let (_, body) = sidecar.get("/metrics")?;
    let sum = |name| sum(&body, name, "").values().sum::<f64>();
    let on_their_way = sum("evenkeel_zookeeper_attaching") + sum("evenkeel_zookeeper_attach_waiting");
    let clients = sum("evenkeel_client_connections");
    let (on_servers, open) = (sum("evenkeel_zookeeper_sessions"), sum("evenkeel_upstream_connections"));
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let whole = [clients, on_servers, open].iter().all(|have| (have - count).abs() < 0.5);
    Ok(whole && on_their_way < 0.5)
}

fn drained(sidecar: &Sidecar, member: &str) -> Result<()> {
    let path = format!("/v1/clusters/bed/members/{member}/drain");
    wait::poll("the end of a drain", PATIENCE, LOOK, || {
        Ok(matches!(sidecar.ask("PUT", &path), Ok((200, _))).then_some(()))
    })
}

/// The server with the most sessions, but for one.
fn busiest(sidecar: &Sidecar, ensemble: &Ensemble, but: u8) -> Result<u8> {
    let (_, body) = sidecar.get("/metrics")?;
    let on = sum(&body, "evenkeel_zookeeper_sessions", "");
    let sessions = |id: &u8| on.get(&ensemble.addr(*id).to_string()).copied().unwrap_or(0.0);
    let ids = ensemble.ids().into_iter().filter(|id| *id != but);
    let most = ids.max_by(|a, b| sessions(a).total_cmp(&sessions(b)));
    most.ok_or_else(|| Error::program("the ensemble", "has one server"))
}

/// The series of a metric with this in their labels, added up for each member.
fn sum(metrics: &str, name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(name).filter(|rest| rest.starts_with('{') && rest.contains(label))
        else {
            continue;
        };
        let member =
            rest.split_once("member=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(m, _)| m);
        let value = rest.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()).unwrap_or(0.0);
        *sums.entry(member.to_owned()).or_default() += value;
    }
    sums
}

/// What the metrics showed while something happened.
#[derive(Debug, Default)]
struct Seen {
    took: Duration,
    /// Attaches, by server and second.
    attaches: BTreeMap<String, Vec<f64>>,
    attaching: f64,
    waiting: f64,
    /// The longest that a ping waited for its answer, at most.
    slowest: Duration,
}

impl Seen {
    fn attached(&self) -> f64 {
        self.attaches.values().flatten().sum()
    }

    fn per_second(&self) -> f64 {
        self.attaches.values().flatten().copied().fold(0.0, f64::max)
    }

    fn by_second(&self) -> String {
        let each = self.attaches.iter().filter(|(_, seconds)| seconds.iter().any(|n| *n > 0.0)).map(
            |(member, seconds)| {
                let from = seconds.iter().position(|n| *n > 0.0).unwrap_or(0);
                let to = seconds.iter().rposition(|n| *n > 0.0).unwrap_or(0);
                let counts: Vec<String> =
                    seconds.get(from..=to).unwrap_or_default().iter().map(|n| format!("{n:.0}")).collect();
                format!("{member} from second {from}: {}", counts.join(" "))
            },
        );
        let text = each.collect::<Vec<_>>().join("; ");
        if text.is_empty() { "none".to_owned() } else { text }
    }
}

/// Does something and looks at the metrics meanwhile.
fn watched(sidecar: &Sidecar, act: impl FnOnce() -> Result<()>) -> Result<Seen> {
    let over = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = Seen::default();
            let mut last: Option<BTreeMap<String, f64>> = None;
            loop {
                let at_end = over.load(Relaxed);
                // One that has no time for it now is asked again.
                if let Ok((200, body)) = sidecar.get("/metrics") {
                    let now = sum(&body, "evenkeel_upstream_connect_total", "outcome=\"ok\"");
                    let second = usize::try_from(start.elapsed().as_secs()).unwrap_or(0);
                    for (member, count) in &now {
                        let before = last.as_ref().and_then(|last| last.get(member)).copied();
                        let seconds = seen.attaches.entry(member.clone()).or_default();
                        seconds.resize(seconds.len().max(second + 1), 0.0);
                        if let (Some(place), Some(before)) = (seconds.get_mut(second), before) {
                            *place += count - before;
                        }
                    }
                    last = Some(now);
                    let one = |name| sum(&body, name, "").values().sum::<f64>();
                    seen.attaching = seen.attaching.max(one("evenkeel_zookeeper_attaching"));
                    seen.waiting = seen.waiting.max(one("evenkeel_zookeeper_attach_waiting"));
                }
                if at_end {
                    return seen;
                }
                std::thread::sleep(LOOK);
            }
        });
        let acted = act();
        let took = start.elapsed();
        over.store(true, Relaxed);
        let mut seen = looking.join().map_err(|_| Error::program("a look at metrics", "panicked"))?;
        seen.took = took;
        acted.map(|()| seen)
    })
}
