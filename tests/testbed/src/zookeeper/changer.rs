//! Somebody else who changes the nodes that a client watches, straight at the servers, and knows what was changed when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::history::Kind;
use super::judge::{Made, Planting};
use super::programs::Told;
use super::{Change, Direct};
use crate::scene::micros;
use crate::{Error, Result};

/// How long a change waits for a client's watch. Longer than any outage that a client should see.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// At nodes with one-shot watches.
    pub made: Vec<Made>,
    /// Below the node with a persistent recursive watch.
    pub planted: Vec<Planting>,
    /// Changes that were made although the watch was not set on the state before, for longer than one should have to wait.
    pub unwatched: usize,
}

/// Two threads, one for each kind of watch, until they are told to stop.
#[derive(Debug)]
pub(crate) struct Changer {
    stop: Arc<AtomicBool>,
    watched: JoinHandle<Result<Changes>>,
    tree: Option<JoinHandle<Result<Vec<Planting>>>>,
}

impl Changer {
    /// Changes the nodes below `root`, whose client tells what it sees to `told`; one change each `every`. `tree` is a second
    /// session, for a client with a persistent recursive watch.
    pub(crate) fn start(
        root: &str,
        told: Told,
        mut direct: Direct,
        tree: Option<Direct>,
        every: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (own, folder) = (Arc::clone(&stop), format!("{root}/watch"));
        let watched = std::thread::spawn(move || watched(&folder, &told, &mut direct, every, &own));
        let tree = tree.map(|mut direct| {
            let (own, folder) = (Arc::clone(&stop), format!("{root}/tree"));
            std::thread::spawn(move || plant(&folder, &mut direct, every, &own))
        });
        Self { stop, watched, tree }
    }

    pub(crate) fn stop(self) -> Result<Changes> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = || Error::program("a changer", "panicked");
        let mut changes = self.watched.join().map_err(|_| ended())??;
        if let Some(tree) = self.tree {
            changes.planted = tree.join().map_err(|_| ended())??;
        }
        Ok(changes)
    }
}

/// Where the nodes of a kind are, and how far the changes have got.
#[derive(Default)]
struct Node {
    version: i32,
    there: Option<String>,
    /// On what a client's watch is set once it has seen everything; `None` before the first change.
    state: Option<i64>,
    count: usize,
}

impl Node {
    /// Whether a watch that was set on this state has seen everything. A removal may be told as 0.
    fn is_seen(&self, on: i64) -> bool {
        self.state.is_none_or(|state| on == state || (on == 0 && self.there.is_none()))
    }

    fn change(&mut self, kind: Kind, folder: &str, direct: &mut Direct) -> Result<(Change, &'static str)> {
        let path = format!("{folder}/{}", kind.word());
        self.count += 1;
        if kind == Kind::Data {
            let change = direct.set(&path, self.count.to_string().as_bytes(), self.version)?;
            self.version += 1;
            self.state = Some(change.zxid);
            return Ok((change, "changed"));
        }
        let child = kind == Kind::Child;
        let (change, what) = if let Some(path) = self.there.take() {
            (direct.delete(&path)?, "deleted")
        } else {
            let path = if child { format!("{path}/c-{}", self.count) } else { path };
            let change = direct.create(&path, b"")?;
            self.there = Some(path);
            (change, "created")
        };
        self.state = Some(if child || what == "created" { change.zxid } else { 0 });
        Ok((change, if child { "children" } else { what }))
    }
}

fn watched(
    folder: &str,
    told: &Told,
    direct: &mut Direct,
    every: Duration,
    stop: &AtomicBool,
) -> Result<Changes> {
    let mut nodes = Kind::ALL.map(|kind| (kind, Node::default()));
    let mut changes = Changes::default();
    'all: loop {
        for (kind, node) in &mut nodes {
            std::thread::sleep(every);
            let start = Instant::now();
            while !told.armed_on(*kind).is_some_and(|on| node.is_seen(on)) {
                if start.elapsed() > PATIENCE {
                    changes.unwatched += 1;
                    break;
                }
                if stop.load(Ordering::Relaxed) {
                    break 'all;
                }
                // The session lives by what is asked.
                direct.exists(folder)?;
                std::thread::sleep(Duration::from_millis(5));
            }
            if stop.load(Ordering::Relaxed) {
                break 'all;
            }
            let (Change { zxid, sent_us, done_us }, what) = node.change(*kind, folder, direct)?;
            changes.made.push(Made { kind: *kind, zxid, sent_us, done_us, what });
        }
    }
    Ok(changes)
}

/// Makes, writes and removes nodes, whether or not anybody sees it.
fn plant(folder: &str, direct: &mut Direct, every: Duration, stop: &AtomicBool) -> Result<Vec<Planting>> {
    let mut all = Vec::new();
    for n in 0_u64.. {
        let node = format!("t-{n}");
        let path = format!("{folder}/{node}");
        for what in ["created", "changed", "deleted"] {
            if stop.load(Ordering::Relaxed) {
                return Ok(all);
            }
            let sent_us = micros();
            match what {
                "created" => direct.create(&path, b"")?,
                "changed" => direct.set(&path, b"x", 0)?,
                _ => direct.delete(&path)?,
            };
            all.push(Planting { node: node.clone(), what, sent_us, done_us: micros() });
            std::thread::sleep(every);
        }
    }
    Ok(all)
}
