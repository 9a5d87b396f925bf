//! One session of a chaos run: up to three requests under way at once, none asked twice, every outcome noted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::record::{Call, Found, Line, Op, Told};
use crate::chaos::schedule::Random;
use crate::zookeeper::direct::stat;
use crate::zookeeper::raw::{Heard, Hello, Identity, Raw, opcode};
use crate::zookeeper::wire::{In, Out};
use crate::{Error, Result};

/// Below it is everything.
pub(super) const ROOT: &str = "/chaos";
/// Nodes that are only written to.
pub(super) const REGISTERS: [&str; 4] = ["/chaos/r0", "/chaos/r1", "/chaos/r2", "/chaos/r3"];
/// Nodes that are made and removed.
pub(super) const NODES: [&str; 2] = ["/chaos/n0", "/chaos/n1"];
/// The parents of sequential and of ephemeral nodes.
pub(super) const SEQUENCE: &str = "/chaos/q";
pub(super) const EPHEMERALS: &str = "/chaos/e";

const CONNECTION_LOSS: i32 = -4;
/// "Another part of the multi failed."
const ANOTHER_PART: i32 = -2;

/// What clients are to do.
pub(super) const WORK: u8 = 0;
/// Finish, look at every node once more, and go on living.
pub(super) const REST: u8 = 1;
/// End the session.
pub(super) const END: u8 = 2;

/// What a client is started as.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) number: usize,
    pub(super) seed: u64,
    pub(super) servers: SocketAddr,
    pub(super) timeout: Duration,
    /// The longest pause between two rounds of requests, in milliseconds.
    pub(super) pause_ms: u64,
    pub(super) epoch: Instant,
}

/// A running client.
#[derive(Debug)]
pub(super) struct Client {
    thread: JoinHandle<Vec<Line>>,
    last: Arc<AtomicI64>,
    resting: Arc<AtomicU8>,
}

impl Client {
    pub(super) fn start(spec: Spec, phase: Arc<AtomicU8>) -> Self {
        let (last, resting) = (Arc::new(AtomicI64::new(-1)), Arc::new(AtomicU8::new(0)));
        let work = Work {
            // Streams of numbers that have nothing to do with each other.
            random: Random::new(spec.seed ^ (spec.number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            spec,
            phase,
            last: Arc::clone(&last),
            resting: Arc::clone(&resting),
            lines: Vec::new(),
            due: VecDeque::new(),
            known: BTreeMap::new(),
            watched: BTreeSet::new(),
            made: 0,
        };
        Self { thread: std::thread::spawn(move || work.run()), last, resting }
    }

    /// When a request that was asked for last and succeeded was asked, in microseconds of the run; −1: none yet.
    pub(super) fn last_success_us(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether it has looked at everything once more.
    pub(super) fn rests(&self) -> bool {
        self.resting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn finish(self) -> Result<Vec<Line>> {
        self.thread.join().map_err(|_| Error::program("a client", "panicked"))
    }
}

struct Due {
    xid: i32,
    call: Call,
    sent_us: i64,
    floor: i64,
}

struct Work {
    spec: Spec,
    random: Random,
    phase: Arc<AtomicU8>,
    last: Arc<AtomicI64>,
    resting: Arc<AtomicU8>,
    lines: Vec<Line>,
    due: VecDeque<Due>,
    /// The version of each node that it was told last.
    known: BTreeMap<String, i32>,
    /// Nodes with a watch, or one that is asked for.
    watched: BTreeSet<String>,
    /// How many values it has made up.
    made: u64,
}

impl Work {
    fn now(&self) -> i64 {
        i64::try_from(self.spec.epoch.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn run(mut self) -> Vec<Line> {
        let mut session: Option<(Identity, i32)> = None;
        while self.phase.load(Ordering::Relaxed) < END {
            let old = session.as_ref().map(|(identity, _)| identity);
            match Raw::connect(self.spec.servers, self.spec.timeout, old) {
                Hello::Nothing => std::thread::sleep(Duration::from_millis(50)),
                Hello::Expired => {
                    if let Some((old, _)) = session.take() {
                        self.lines.push(Line::Expired { at_us: self.now(), session: old.session });
                    }
                }
                Hello::Granted(mut raw) => {
                    let resumed = session.is_some();
                    raw.count_from(session.as_ref().map_or(0, |(_, xid)| *xid));
                    let id = raw.identity().session;
                    self.lines.push(Line::Connected { at_us: self.now(), session: id, resumed });
                    if let Err(error) = self.live(&mut raw) {
                        self.cut(&raw, error.kind() == std::io::ErrorKind::TimedOut);
                    }
                    session = Some((raw.identity().clone(), raw.last_xid()));
                }
            }
        }
        self.lines
    }

    /// The connection ended; nothing is known of what was under way.
    fn cut(&mut self, raw: &Raw, silent: bool) {
        let at_us = self.now();
        let session = raw.identity().session;
        while let Some(due) = self.due.pop_front() {
            let Due { xid, call, sent_us, floor } = due;
            let told = Told::Cut;
            self.lines.push(Line::Op(Op {
                session,
                xid,
                call,
                sent_us,
                done_us: at_us,
                floor,
                zxid: 0,
                told,
            }));
        }
        self.watched.clear();
        self.lines.push(Line::Lost { at_us, silent });
    }

    /// Rounds of requests on one connection, until the end of it (an error) or of the run.
    fn live(&mut self, raw: &mut Raw) -> std::io::Result<()> {
        self.resting.store(0, Ordering::Relaxed);
        while self.phase.load(Ordering::Relaxed) == WORK {
            for _ in 0..=self.random.below(3) {
                let call = self.choose();
                self.ask(raw, call)?;
            }
            self.answers(raw)?;
            let pause = Duration::from_millis(self.random.below(self.spec.pause_ms));
            self.listen(raw, Instant::now() + pause)?;
        }
        // What its server doesn't know yet may be news of its watches.
        raw.send(opcode::SYNC, &Out::default().text("/"))?;
        while !matches!(self.heard(raw, Instant::now() + self.spec.timeout)?, Some(Heard::Answer { .. })) {}
        for path in REGISTERS.iter().chain(&NODES) {
            self.ask(raw, Call::Get { path: (*path).to_owned(), watch: false })?;
        }
        self.answers(raw)?;
        self.resting.store(1, Ordering::Relaxed);
        while self.phase.load(Ordering::Relaxed) < END {
            self.listen(raw, Instant::now() + Duration::from_millis(50))?;
        }
        raw.send(opcode::CLOSE, &Out::default())?;
        // Its answer, or the end of the connection: it is the same now.
        let _ = self.heard(raw, Instant::now() + self.spec.timeout);
        Ok(())
    }

    fn value(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.spec.number, self.made)
    }

    fn choose(&mut self) -> Call {
        let all: Vec<&str> = REGISTERS.into_iter().chain(NODES).collect();
        let pick = |random: &mut Random, from: &[&str]| {
            let at = usize::try_from(random.below(from.len() as u64)).unwrap_or(0);
            from.get(at).copied().unwrap_or_default().to_owned()
        };
        let random = &mut self.random;
        let path = pick(random, &all);
        let known = self.known.get(&path).copied().unwrap_or(0);
        match random.below(100) {
            0..35 => {
                let watch = !self.watched.contains(&path);
                if watch {
                    self.watched.insert(path.clone());
                }
                Call::Get { path, watch }
            }
            35..55 => {
                let checked = random.below(3) == 0;
                Call::Set { path, value: self.value(), expect: known, checked }
            }
            55..65 => Call::Set { path, value: self.value(), expect: -1, checked: false },
            65..73 => {
                let first = usize::try_from(random.below(4)).unwrap_or(0);
                let paths = [first, (first + 1) % 4];
                let paths = paths.map(|at| REGISTERS.get(at).copied().unwrap_or_default().to_owned());
                Call::Pair { paths, value: self.value() }
            }
            73..82 => Call::Create { path: pick(random, &NODES), value: self.value() },
            82..92 => {
                let path = pick(random, &NODES);
                let expect = self.known.get(&path).copied().filter(|_| random.below(2) == 0).unwrap_or(-1);
                Call::Delete { path, expect }
            }
            92..97 => {
                let ephemeral = random.below(4) == 0;
                Call::Sequence { value: self.value(), ephemeral }
            }
            _ => Call::Ephemeral { path: format!("{EPHEMERALS}/{}", self.value()) },
        }
    }

    fn ask(&mut self, raw: &mut Raw, call: Call) -> std::io::Result<()> {
        let (op, body) = request(&call);
        let floor = raw.identity().seen;
        let sent_us = self.now();
        // In the list before it is sent: it may be sent in part.
        self.due.push_back(Due { xid: raw.last_xid() + 1, call, sent_us, floor });
        raw.send(op, &body).map(drop)
    }

    /// Waits until nothing is due.
    fn answers(&mut self, raw: &mut Raw) -> std::io::Result<()> {
        while !self.due.is_empty() {
            self.listen(raw, Instant::now() + Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Takes in what comes until then.
    fn listen(&mut self, raw: &mut Raw, until: Instant) -> std::io::Result<()> {
        let waiting = !self.due.is_empty();
        while self.heard(raw, until)?.is_some() {
            if Instant::now() >= until || (waiting && self.due.is_empty()) {
                break;
            }
        }
        Ok(())
    }

    /// The next frame, noted if it is an event or the answer to something that is recorded.
    fn heard(&mut self, raw: &mut Raw, until: Instant) -> std::io::Result<Option<Heard>> {
        let heard = raw.wait(until)?;
        let at_us = self.now();
        match heard {
            Some(Heard::Event { kind, path }) => {
                self.watched.remove(&path);
                self.lines.push(Line::Event { at_us, kind, path: path.clone() });
                Ok(Some(Heard::Event { kind, path }))
            }
            Some(Heard::Answer { xid, zxid, err, body }) => {
                match self.due.front() {
                    Some(due) if due.xid == xid => self.answered(raw.identity().session, zxid, err, body),
                    None => return Ok(Some(Heard::Answer { xid, zxid, err, body })),
                    Some(due) => {
                        let what = format!("an answer to {xid}, where {} is due", due.xid);
                        self.lines.push(Line::Disorder { at_us, what: what.clone() });
                        return Err(std::io::Error::other(what));
                    }
                }
                Ok(Some(Heard::Pong))
            }
            other => Ok(other),
        }
    }

    fn answered(&mut self, session: i64, zxid: i64, err: i32, body: In) {
        let Some(Due { xid, call, sent_us, floor }) = self.due.pop_front() else { return };
        let done_us = self.now();
        let told = match err {
            0 => answer(&call, body).unwrap_or_else(|error| {
                self.lines.push(Line::Disorder { at_us: done_us, what: format!("{call:?}: {error}") });
                Told::Cut
            }),
            CONNECTION_LOSS => Told::Unknown,
            err => Told::Refused(err),
        };
        match (&call, &told) {
            (
                Call::Get { path, .. } | Call::Set { path, .. } | Call::Create { path, .. },
                Told::Done(found),
            ) => {
                let version = found.first().map_or(0, |found| found.version);
                self.known.insert(path.clone(), version);
            }
            (Call::Pair { paths, .. }, Told::Done(found)) => {
                let versions = found.iter().map(|found| found.version);
                self.known.extend(paths.iter().cloned().zip(versions));
            }
            // No node, no watch.
            (Call::Get { path, watch: true }, _) => {
                self.watched.remove(path);
            }
            _ => {}
        }
        if matches!(told, Told::Done(_)) {
            self.last.store(sent_us, Ordering::Relaxed);
        }
        self.lines.push(Line::Op(Op { session, xid, call, sent_us, done_us, floor, zxid, told }));
    }
}

/// The request of a call.
fn request(call: &Call) -> (i32, Out) {
    let part = |op: i32| Out::default().int(op).flag(false).int(-1);
    let end = || Out::default().int(-1).flag(true).int(-1);
    let create = |path: &str, value: &str, flags: i32| {
        (opcode::CREATE2, Out::default().text(path).text(value).open_acl().int(flags))
    };
    match call {
        Call::Get { path, watch } => (opcode::GET_DATA, Out::default().text(path).flag(*watch)),
        Call::Set { path, value, expect, checked } => {
            let set = Out::default().text(path).text(value).int(*expect);
            if *checked {
                let check = part(opcode::CHECK).text(path).int(*expect);
                (opcode::MULTI, check.then(&part(opcode::SET_DATA)).then(&set).then(&end()))
            } else {
                (opcode::SET_DATA, set)
            }
        }
        Call::Create { path, value } => create(path, value, 0),
        Call::Delete { path, expect } => (opcode::DELETE, Out::default().text(path).int(*expect)),
        Call::Pair { paths: [one, other], value } => {
            let set = |path: &str| part(opcode::SET_DATA).text(path).text(value).int(-1);
            (opcode::MULTI, set(one).then(&set(other)).then(&end()))
        }
        Call::Sequence { value, ephemeral } => {
            create(&format!("{SEQUENCE}/s-"), value, if *ephemeral { 3 } else { 2 })
        }
        Call::Ephemeral { path } => create(path, "", 1),
    }
}

/// What an answer without an error says. The answer to a multi says by its parts what it is.
fn answer(call: &Call, mut body: In) -> Result<Told> {
    let found = |body: &mut In, text: String| {
        stat(body).map(|stat| Found { mzxid: stat.mzxid, version: stat.version, text })
    };
    Ok(match call {
        Call::Get { .. } => {
            let value = String::from_utf8_lossy(&body.buffer()?).into_owned();
            Told::Done(vec![found(&mut body, value)?])
        }
        Call::Set { checked: true, .. } | Call::Pair { .. } => parts(&mut body)?,
        Call::Set { .. } => Told::Done(vec![found(&mut body, String::new())?]),
        Call::Create { .. } | Call::Sequence { .. } | Call::Ephemeral { .. } => {
            let path = body.text()?;
            Told::Done(vec![found(&mut body, path)?])
        }
        Call::Delete { .. } => Told::Done(Vec::new()),
    })
}

/// The parts of a multi's answer; of one that was refused the part that is to blame.
fn parts(body: &mut In) -> Result<Told> {
    let mut all = Vec::new();
    let mut refused = None;
    loop {
        let (kind, done, _err) = (body.int()?, body.flag()?, body.int()?);
        if done {
            break;
        }
        match kind {
            opcode::SET_DATA => {
                let stat = stat(body)?;
                all.push(Found { mzxid: stat.mzxid, version: stat.version, text: String::new() });
            }
            opcode::ERROR => {
                let code = body.int()?;
                if code != 0 && code != ANOTHER_PART {
                    refused = refused.or(Some(code));
                }
            }
            _ => {}
        }
    }
    Ok(refused.map_or(Told::Done(all), Told::Refused))
}
