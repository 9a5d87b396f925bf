//! Planned moves of a thousand sessions: server after server of a real ensemble is drained under a crowd, and each session must
//! be told every event once. And what a client waits: moved alone, and in the crowd.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, Crowded, Events, Size};
use super::{Ensemble, EnsembleSpec, Mode, ZooKeeperVersion};
use crate::{Error, Result, Sidecar, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be moved, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    /// The ensemble.
    pub spec: EnsembleSpec,
    /// Moves of a session that is alone.
    pub alone: usize,
    /// The crowd.
    pub size: Size,
    /// Drains of a server under the crowd, at least.
    pub drains: usize,
    /// Events that are due before it ends, at least.
    pub events: usize,
}

/// A drain of a server.
#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// What the server was.
    pub mode: Mode,
    /// Sessions on it.
    pub sessions: usize,
    /// From the command until nobody was left.
    pub took: Duration,
}

/// How long clients waited for the answer to something small while they were moved, in microseconds, the shortest first.
#[derive(Clone, Debug, Default)]
pub struct Pauses(Vec<u32>);

/// What became of them.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The session that is alone: its pauses, from followers and from the leader, and its longest answers in windows as long
    /// without a move.
    pub alone: [Pauses; 3],
    /// The crowd's pauses.
    pub crowd: Pauses,
    /// The longest answers of the same clients while nobody was moved.
    pub otherwise: Pauses,
    /// The drains under the crowd.
    pub drains: Vec<Drained>,
    /// Events of both.
    pub events: Events,
    /// Moves of the crowd, as Evenkeel counts them.
    pub moves: f64,
    /// What was broken.
    pub breaches: Vec<String>,
}

/// What was measured, as Markdown.
pub fn moves_table(moved: &Moved) -> String {
    let mut text = "| pauses, ms | moves | p50 | p99 | max |\n|---|---:|---:|---:|---:|\n".to_owned();
    let [followers, leader, unmoved] = &moved.alone;
    let rows = [
        ("moved alone, from a follower", followers),
        ("moved alone, from the leader", leader),
        ("(alone, not moved)", unmoved),
        ("moved in the crowd", &moved.crowd),
        ("(in the crowd, nobody is moved)", &moved.otherwise),
    ];
    for (what, pauses) in rows {
        let [half, most, longest] = [50, 99, 100].map(|percent| pauses.percentile(percent));
        let _ = writeln!(text, "| {what} | {} | {half:.1} | {most:.1} | {longest:.1} |", pauses.count());
    }
    let Events { due, seen, lost, twice, disordered } = moved.events;
    let _ = writeln!(
        text,
        "\nWatch events: {due} due, {seen} told, {lost} lost, {twice} twice or false, {disordered} out of order. Planned moves in the crowd: {}.\n",
        moved.moves
    );
    text.push_str("| drain | server was | sessions on it | time, ms |\n|---:|---|---:|---:|\n");
    for (number, drain) in (1..).zip(&moved.drains) {
        let mode = format!("{:?}", drain.mode).to_lowercase();
        let _ = writeln!(text, "| {number} | {mode} | {} | {} |", drain.sessions, drain.took.as_millis());
    }
    text
}

impl Pauses {
    fn of(mut all: Vec<u32>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The shortest pause that so many per cent of all are not above, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        f64::from(self.micros(percent)) / 1000.0
    }

    fn micros(&self, percent: usize) -> u32 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or(0)
    }
}

/// A sidecar before an ensemble.
struct Bed {
    ensemble: Ensemble,
    sidecar: Sidecar,
    listen: SocketAddr,
}

impl Moves {
    /// A thousand sessions in groups of twenty, of which one in fifty has its pauses measured; 150 moves of a session that is
    /// alone; 18 drains and 20,000 events at least. One change of each group in two seconds, and 4,500 small requests a second: at
    /// three times as many the clients wait for two cores, whether they are moved or not (their longest answers 40 ms on the
    /// average, seen).
    pub fn thousand(version: ZooKeeperVersion) -> Self {
        let size = Size {
            sessions: 1000,
            group: 20,
            change_every: Duration::from_secs(2),
            beat: Duration::from_secs(2),
            one_in: 50,
            hot: version == ZooKeeperVersion::V3_9_6,
        };
        Self { spec: EnsembleSpec::new(version), alone: 150, size, drains: 18, events: 20_000 }
    }

    /// Goes through it from beginning to end. `say` hears of each step.
    pub fn run(&self, binary: &Path, mut say: impl FnMut(&str)) -> Result<Moved> {
        raise_limit();
        let ensemble = Ensemble::with(self.spec)?;
        let keys = format!("tick_time = \"{}ms\"\n", self.spec.tick_ms);
        let (mut sidecar, listen) = Sidecar::zookeeper(binary, &ensemble.servers(), "", &keys)?;
        sidecar.wait_ready(PATIENCE)?;
        let bed = Bed { ensemble, sidecar, listen };
        bed.known()?;
        let mut breaches = Vec::new();
        let (alone, mut events) = bed.alone(self.alone, self.size.hot, &mut breaches)?;
        say(&format!("{} moves of a session that is alone", self.alone));

        let before = bed.counted("outcome=\"moved\"")?;
        let crowd = Crowd::start(self.size, bed.listen, &bed.addrs())?;
        say(&format!("{} sessions are there", self.size.sessions));
        let (mut drains, mut windows) = (Vec::new(), Vec::new());
        while drains.len() < self.drains || crowd.due() < self.events {
            let ids = bed.ensemble.ids();
            let turn = ids.get(drains.len() % ids.len().max(1)).copied();
            let id = turn.ok_or_else(|| Error::program("moves", "an ensemble without servers"))?;
            let here = bed.sessions_on(id, &crowd.sessions())?;
            let window = crowd.window();
            let drained = bed.drain(id, here.len())?;
            let end = crowd.window();
            bed.undrain(id)?;
            say(&format!(
                "{:?} left by {} sessions in {} ms; {} events due",
                drained.mode,
                drained.sessions,
                drained.took.as_millis(),
                crowd.due()
            ));
            drains.push(drained);
            windows.push((window, end, here));
            // As long again nobody is moved: what clients wait then is for comparison.
            std::thread::sleep(drained.took.max(Duration::from_millis(300)));
        }
        let moves = bed.counted("outcome=\"moved\"")? - before;
        let crowded = bed.finish(crowd, &mut breaches)?;
        events = events.and(crowded.events);
        let longest = |window: usize, moved: Option<&[i64]>| {
            let some = crowded.longest.iter().filter(move |(id, _)| moved.is_none_or(|ids| ids.contains(id)));
            some.filter_map(move |(_, windows)| windows.get(window).copied()).collect::<Vec<u32>>()
        };
        let pauses = windows.iter().flat_map(|(window, _, here)| longest(*window, Some(here)));
        let otherwise = windows.iter().flat_map(|(_, end, _)| longest(*end, None));
        breaches.extend(bed.breaches()?);
        breaches.extend(broken(&events));
        Ok(Moved {
            alone,
            crowd: Pauses::of(pauses.collect()),
            otherwise: Pauses::of(otherwise.collect()),
            drains,
            events,
            moves,
            breaches,
        })
    }
}

impl Bed {
    fn addrs(&self) -> Vec<SocketAddr> {
        self.ensemble.ids().into_iter().map(|id| self.ensemble.addr(id)).collect()
    }

    /// Waits until Evenkeel knows what each server is: which way a session leaves it depends on that.
    fn known(&self) -> Result<()> {
        wait::until("all servers' modes", PATIENCE, || {
            let Ok((200, status)) = self.sidecar.get("/v1/clusters/bed") else { return false };
            let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
            let members = status.get("members").and_then(serde_json::Value::as_array);
            members.is_some_and(|all| {
                all.iter().all(|m| m.get("mode").is_some_and(serde_json::Value::is_string))
            })
        })
    }

    /// Moves a session that is alone, again and again. Gives its pauses, from followers and from the leader, and what it waits otherwise.
    fn alone(&self, moves: usize, hot: bool, breaches: &mut Vec<String>) -> Result<([Pauses; 3], Events)> {
        let change_every = Duration::from_millis(10);
        let size = Size { sessions: 1, group: 1, change_every, beat: change_every, one_in: 1, hot };
        let crowd = Crowd::start(size, self.listen, &self.addrs())?;
        let (mut windows, mut quiet) = (Vec::new(), Vec::new());
        for _ in 0..moves {
            let ids = crowd.sessions();
            let mut on = None;
            for id in self.ensemble.ids() {
                if !self.sessions_on(id, &ids)?.is_empty() {
                    on = Some(id);
                }
            }
            let id = on.ok_or_else(|| Error::program("moves", "the session is on no server"))?;
            let window = crowd.window();
            let drained = self.drain(id, 1)?;
            windows.push((window, drained.mode));
            // The answer that waited comes at once; it belongs to this window.
            std::thread::sleep(Duration::from_millis(20));
            let after = crowd.window();
            std::thread::sleep(drained.took + Duration::from_millis(20));
            quiet.push(after);
            crowd.window();
            self.undrain(id)?;
        }
        let crowded = self.finish(crowd, breaches)?;
        let longest: Vec<u32> =
            crowded.longest.first().map(|(_, windows)| windows.clone()).unwrap_or_default();
        let of = |leads: bool| {
            let some = windows.iter().filter(|(_, mode)| (*mode == Mode::Leader) == leads);
            Pauses::of(some.filter_map(|(window, _)| longest.get(*window).copied()).collect())
        };
        let unmoved = quiet.iter().filter_map(|window| longest.get(*window).copied()).collect();
        Ok(([of(false), of(true), Pauses::of(unmoved)], crowded.events))
    }

    /// Those of `sessions` that are on server `id`, by its own word.
    fn sessions_on(&self, id: u8, sessions: &[i64]) -> Result<Vec<i64>> {
        let text = self.ensemble.ask(id, "cons")?;
        let ids = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("sid=0x")?;
            i64::from_str_radix(rest.split(',').next()?, 16).ok()
        });
        let here: std::collections::HashSet<i64> = ids.collect();
        Ok(sessions.iter().copied().filter(|session| here.contains(session)).collect())
    }

    fn path(&self, id: u8) -> String {
        format!("/v1/clusters/bed/members/{}/drain", self.ensemble.addr(id))
    }

    fn drain(&self, id: u8, sessions: usize) -> Result<Drained> {
        let mode =
            self.ensemble.mode(id).ok_or_else(|| Error::program("moves", "a server that serves nobody"))?;
        let (path, start) = (self.path(id), Instant::now());
        let every = Duration::from_millis(10);
        wait::poll("the end of a drain", PATIENCE, every, || {
            Ok(matches!(self.sidecar.ask("PUT", &path)?, (200, _)).then_some(()))
        })?;
        Ok(Drained { mode, sessions, took: start.elapsed() })
    }

    fn undrain(&self, id: u8) -> Result<()> {
        self.sidecar.ask("DELETE", &self.path(id)).map(drop)
    }

    fn finish(&self, crowd: Crowd, breaches: &mut Vec<String>) -> Result<Crowded> {
        let mut direct = self.ensemble.direct(Duration::from_secs(10))?;
        direct.sync()?;
        let crowded = crowd.finish(|path| Ok(direct.exists(path)?.map(|stat| stat.owner)))?;
        if !crowded.failures.is_empty() {
            let first: Vec<&str> = crowded.failures.iter().take(3).map(String::as_str).collect();
            breaches.push(format!(
                "{} connections ended early: {}",
                crowded.failures.len(),
                first.join("; ")
            ));
        }
        if crowded.ephemerals_lost > 0 {
            breaches.push(format!("{} ephemeral nodes lost", crowded.ephemerals_lost));
        }
        Ok(crowded)
    }

    /// Moves of sessions with these labels.
    fn counted(&self, label: &str) -> Result<f64> {
        self.sidecar.metric_sum("evenkeel_zookeeper_session_moves_total", &[label])
    }

    /// What Evenkeel itself counts and must not.
    fn breaches(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let expired = self.sidecar.metric_sum("evenkeel_zookeeper_sessions_expired_total", &[])?;
        for (what, count) in
            [("sessions expired", expired), ("unplanned moves", self.counted("kind=\"unplanned\"")?)]
        {
            if count > 0.5 {
                found.push(format!("{count} {what}"));
            }
        }
        Ok(found)
    }
}

fn broken(events: &Events) -> Vec<String> {
    let counts = [
        ("events lost", events.lost),
        ("events twice or false", events.twice),
        ("events out of order", events.disordered),
    ];
    counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect()
}

/// A thousand sessions, and what is started here after this, need more files than some systems allow at first.
fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let pauses = Pauses::of((1..=200).rev().collect());
        assert_eq!([50, 99, 100].map(|percent| pauses.micros(percent)), [100, 198, 200]);
        assert_eq!(Pauses::of(vec![7]).micros(99), 7);
        assert_eq!((Pauses::default().micros(99), Pauses::default().count()), (0, 0));
    }
}
