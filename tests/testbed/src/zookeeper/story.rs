//! An ensemble is rolled while clients of many libraries hold ephemeral nodes and watches and write all the time.

use std::time::Duration;

use super::changer::{Changer, Changes};
use super::history::{Call, Line, Outcome};
use super::judge::{
    Excuse, Gap, Sessions, Stop, Tree, Truth, Watches, Writes, gaps, judge_sessions, judge_tree,
    judge_watches, judge_writes,
};
use super::observer::{Ephemerals, Observer};
use super::programs::{Client, ClientSpec, Told, ZooKeeperLibrary, start_all};
use super::{Direct, Ensemble};
use crate::scene::micros;
use crate::{Error, Result, Roll, Sidecar, wait};

/// What a sidecar logs.
pub(super) const LOG: &str = "[log]\nlevel = \"info,evenkeel::zookeeper=debug\"\n";
/// How long a client may take to go on after a restart.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The clients of a story and what they do.
#[derive(Clone, Debug)]
pub struct Load {
    /// One client of each.
    pub libraries: Vec<ZooKeeperLibrary>,
    /// The sessions' time-out in milliseconds.
    pub timeout_ms: u32,
    /// Steps in a second of each of a client's three streams of writes.
    pub rate: f64,
    /// The time between two changes at nodes that a client watches.
    pub change_every: Duration,
    /// Whether clients whose library has persistent recursive watches set one.
    pub trees: bool,
    /// Whether clients whose program can authenticate themselves (digest), and make nodes that are only for those that they are.
    pub own: bool,
    /// Whether clients whose library can prove by SASL that they are the ensemble's one user. Only for an ensemble that has one.
    pub login: bool,
}

impl Load {
    /// Sessions of 6 s, 10 steps in a second of each stream, 10 changes in a second for each client.
    pub fn new(libraries: &[ZooKeeperLibrary]) -> Self {
        Self {
            libraries: libraries.to_vec(),
            timeout_ms: 6000,
            rate: 10.0,
            change_every: Duration::from_millis(100),
            trees: true,
            own: false,
            login: false,
        }
    }
}

/// What one client went through.
#[derive(Clone, Debug)]
pub struct Row {
    /// Library and version.
    pub title: String,
    /// Its session.
    pub sessions: Sessions,
    /// Its ephemeral nodes.
    pub ephemerals: Ephemerals,
    /// Ephemeral nodes that were still there long after it had ended.
    pub left_behind: Vec<String>,
    /// Its writes.
    pub writes: Writes,
    /// Its one-shot watches.
    pub watches: Watches,
    /// Changes for which its watch was not set in time.
    pub unwatched: usize,
    /// Its persistent recursive watch, if its library has such.
    pub tree: Option<Tree>,
    /// After which restarts (from 1) it did not go on in time; the end counts as one more.
    pub stuck: Vec<usize>,
    /// Everything that it told, for a closer look.
    pub lines: Vec<Line>,
}

/// Clients at work. [`Running::finish`] judges them.
#[derive(Debug)]
pub struct Running {
    clients: Vec<Client>,
    changers: Vec<Changer>,
    observer: Observer,
    direct: Direct,
    restarts: usize,
    stuck: Vec<Vec<usize>>,
    stops: Vec<Stop>,
    excuse: Excuse,
}

fn root(name: &str) -> String {
    format!("/bed/{name}")
}

impl Running {
    /// Makes the clients' nodes, starts the clients, which connect to `servers`, and those who watch over them.
    pub fn start(ensemble: &Ensemble, load: &Load, servers: &str) -> Result<Self> {
        Self::start_spread(ensemble, load, &[servers.to_owned()])
    }

    /// The same with clients that connect in turn to these places, such as several sidecars.
    pub fn start_spread(ensemble: &Ensemble, load: &Load, servers: &[String]) -> Result<Self> {
        let timeout = Duration::from_millis(u64::from(ensemble.spec().tick_ms) * 20);
        let mut direct = ensemble.direct(timeout)?;
        direct.create("/bed", b"")?;
        let login = load.login.then(|| ensemble.client_login()).transpose()?;
        let specs: Vec<ClientSpec> = load
            .libraries
            .iter()
            .map(|&library| ClientSpec {
                name: library.slug(),
                library,
                timeout_ms: load.timeout_ms,
                rate: load.rate,
                tree: load.trees && library.plants(),
                own: load.own && library.owns(),
                login: login.clone().filter(|_| library.logs_in()),
            })
            .collect();
        for spec in &specs {
            let root = root(&spec.name);
            for node in
                ["", "/register", "/seq", "/nodes", "/live", "/watch", "/watch/data", "/watch/child", "/tree"]
            {
                direct.create(&format!("{root}{node}"), b"start")?;
            }
        }
        let clients = start_all(&specs, servers)?;
        let changers = clients.iter().map(|client| {
            let tree = client.spec().tree.then(|| ensemble.direct(timeout)).transpose()?;
            let root = root(&client.spec().name);
            Ok(Changer::start(&root, client.told(), ensemble.direct(timeout)?, tree, load.change_every))
        });
        let changers = changers.collect::<Result<Vec<_>>>()?;
        let watched = clients.iter().map(|client| (root(&client.spec().name), client.told())).collect();
        let observer = Observer::start(watched, ensemble.direct(timeout)?);
        let stuck = vec![Vec::new(); clients.len()];
        let (stops, excuse) = (Vec::new(), Excuse::Nothing);
        let mut running = Self { clients, changers, observer, direct, restarts: 0, stuck, stops, excuse };
        running.go_on()?;
        if let Some(title) = running.stuck.iter().position(|stuck| !stuck.is_empty()) {
            return Err(Error::program("the story", format!("client {title} never got to work")));
        }
        Ok(running)
    }

    /// What the stop of a leader ([`Running::restart`]) excuses for clients with persistent watches; else, nothing.
    pub fn excuse(&mut self, excuse: Excuse) {
        self.excuse = excuse;
    }

    /// Waits until each client had a success in each of its streams with something that it asked after this call. Those that
    /// have none in a minute are noted as stuck.
    pub fn go_on(&mut self) -> Result<()> {
        let from = micros();
        let tolds: Vec<Told> = self.clients.iter().map(Client::told).collect();
        let waiting = || tolds.iter().map(|told| !goes_on(told, from));
        // One that hangs must not hinder the story: it is noted.
        let _ = wait::until("clients that go on", PATIENCE, || !waiting().any(|waits| waits));
        for (stuck, waits) in self.stuck.iter_mut().zip(waiting()) {
            if waits {
                stuck.push(self.restarts);
            }
        }
        // The session of this thread's own client lives by what it asks.
        self.direct.exists("/bed").map(drop)
    }

    /// Restarts every server, followers first, and lets the clients go on after each.
    pub fn roll(&mut self, ensemble: &mut Ensemble, how: Roll) -> Result<()> {
        let mut done = Vec::new();
        while let Some(id) = ensemble.next_to_roll(&done) {
            self.restart(ensemble, id, how)?;
            done.push(id);
        }
        Ok(())
    }

    /// The same, and each server is drained before it is stopped.
    pub fn roll_drained(&mut self, ensemble: &mut Ensemble, how: Roll, sidecar: &Sidecar) -> Result<()> {
        let mut done = Vec::new();
        while let Some(id) = ensemble.next_to_roll(&done) {
            let path = format!("/v1/clusters/bed/members/{}/drain", ensemble.known_as(id));
            wait::until("the end of a drain", PATIENCE, || {
                matches!(sidecar.ask("PUT", &path), Ok((200, _)))
            })?;
            self.restart(ensemble, id, how)?;
            sidecar.ask("DELETE", &path)?;
            done.push(id);
        }
        Ok(())
    }

    /// Restarts one server and lets the clients go on.
    pub fn restart(&mut self, ensemble: &mut Ensemble, id: u8, how: Roll) -> Result<()> {
        let (led, from_us) = (ensemble.leader() == Some(id), micros());
        ensemble.restart(id, how)?;
        self.changed()?;
        self.stops.push(Stop { led, from_us, until_us: micros() });
        Ok(())
    }

    /// Something was done to a server: lets the clients go on.
    pub fn changed(&mut self) -> Result<()> {
        self.restarts += 1;
        self.go_on()
    }

    /// Ends the changes, then the clients, and judges by what is in the ensemble.
    pub fn finish(mut self) -> Result<Vec<Row>> {
        let changes = self.changers.into_iter().map(Changer::stop).collect::<Result<Vec<Changes>>>()?;
        for (client, changes) in self.clients.iter().zip(&changes) {
            settle(&client.told(), changes);
        }
        let ephemerals = self.observer.stop()?;
        let until_us = micros();
        let mut rows = Vec::new();
        let clients = self.clients.into_iter().zip(changes).zip(ephemerals).zip(self.stuck);
        for (((client, changes), ephemerals), mut stuck) in clients {
            let (spec, told) = (client.spec().clone(), client.told());
            let lines = client.stop().unwrap_or_else(|_| {
                stuck.push(self.restarts + 1);
                told.look(<[Line]>::to_vec)
            });
            let root = root(&spec.name);
            let left_behind = left_behind(&mut self.direct, &root, spec.timeout_ms)?;
            let truth = truth(&mut self.direct, &root)?;
            let excuse = if spec.tree { self.excuse } else { Excuse::Nothing };
            let gaps = gaps(excuse, &lines, &self.stops);
            rows.push(judge(&spec, lines, &changes, until_us, &gaps, &truth, ephemerals, left_behind, stuck));
        }
        Ok(rows)
    }
}

#[allow(clippy::too_many_arguments, reason = "all that there is to judge by, in the one place that does")]
fn judge(
    spec: &ClientSpec,
    lines: Vec<Line>,
    changes: &Changes,
    until_us: i64,
    gaps: &[Gap],
    truth: &Truth,
    ephemerals: Ephemerals,
    left_behind: Vec<String>,
    stuck: Vec<usize>,
) -> Row {
    let ops: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Op(op) => Some(op.clone()),
            _ => None,
        })
        .collect();
    // What its own end brings is no event that was due.
    let before_end: Vec<Line> = lines.iter().filter(|line| at(line) <= until_us).cloned().collect();
    Row {
        title: spec.library.title(),
        sessions: judge_sessions(&lines, until_us, gaps),
        ephemerals,
        left_behind,
        writes: judge_writes(&ops, truth),
        watches: judge_watches(&before_end, &changes.made),
        unwatched: changes.unwatched,
        tree: spec.tree.then(|| judge_tree(&before_end, &changes.planted, gaps)),
        stuck,
        lines,
    }
}

fn at(line: &Line) -> i64 {
    match line {
        Line::Op(op) => op.done_us,
        Line::Session { at_us, .. }
        | Line::Armed { at_us, .. }
        | Line::Event { at_us, .. }
        | Line::Dropped { at_us, .. }
        | Line::Live { at_us, .. }
        | Line::Planted { at_us }
        | Line::Tree { at_us, .. }
        | Line::Recipe { at_us, .. } => *at_us,
    }
}

/// Whether each stream had a success with something asked after `from`.
fn goes_on(told: &Told, from: i64) -> bool {
    told.look(|lines| {
        let fresh = lines.iter().rev().take_while(|line| at(line) >= from).filter_map(|line| match line {
            Line::Op(op) if op.sent_us >= from && matches!(op.outcome, Outcome::Done { .. }) => {
                Some(&op.call)
            }
            _ => None,
        });
        let mut seen = [false; 3];
        for call in fresh {
            match call {
                Call::Set { .. } => seen[0] = true,
                Call::Sequence(_) => seen[1] = true,
                Call::Create(_) => seen[2] = true,
                Call::Read | Call::Delete(_) => {}
            }
        }
        seen == [true; 3]
    })
}

/// Waits until a client was told of the last changes. What is missing after a generous time is missed.
fn settle(told: &Told, changes: &Changes) {
    let last = |kind| changes.made.iter().rev().find(|made| made.kind == kind);
    let planted = changes.planted.last().map(|made| (made.node.clone(), made.what));
    let _ = wait::until("the last events", Duration::from_secs(20), || {
        let watched = super::history::Kind::ALL.into_iter().all(|kind| {
            last(kind).is_none_or(|made| {
                let on = told.armed_on(kind);
                on == Some(made.zxid) || (on == Some(0) && made.what != "created" && made.what != "changed")
            })
        });
        let tree = planted.as_ref().is_none_or(|(node, what)| {
            told.look(|lines| {
                lines
                    .iter()
                    .rev()
                    .any(|line| matches!(line, Line::Tree { node: n, what: w, .. } if n == node && w == what))
            })
        });
        watched && tree
    });
}

/// The ephemeral nodes that a client that has ended leaves behind for good. One that closed its session leaves none; one
/// that didn't leaves them until its session expires, and a change of leaders may give that its full time anew.
fn left_behind(direct: &mut Direct, root: &str, timeout_ms: u32) -> Result<Vec<String>> {
    let path = format!("{root}/live");
    let bound = Duration::from_millis(u64::from(timeout_ms)) * 3;
    match wait::poll("the end of ephemeral nodes", bound, Duration::from_millis(100), || {
        direct.sync()?;
        Ok(direct.children(&path)?.is_empty().then_some(()))
    }) {
        Ok(()) => Ok(Vec::new()),
        Err(Error::Timeout { .. }) => direct.children(&path),
        Err(error) => Err(error),
    }
}

/// What a client's writes left.
fn truth(direct: &mut Direct, root: &str) -> Result<Truth> {
    direct.sync()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let missing = || Error::program("zookeeper", format!("{root}/register is gone"));
    let (value, stat) = direct.get(&format!("{root}/register"))?.ok_or_else(missing)?;
    let mut sequence = Vec::new();
    for child in direct.children(&format!("{root}/seq"))? {
        let path = format!("{root}/seq/{child}");
        if let Some((data, _)) = direct.get(&path)? {
            sequence.push((path, text(data)));
        }
    }
    let nodes = direct.children(&format!("{root}/nodes"))?.into_iter().collect();
    Ok(Truth { register: (text(value), stat.version), sequence, nodes })
}
