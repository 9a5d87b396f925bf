//! Whether the writes of one node are linearizable: a search for an order of them that fits their times and outcomes, in the
//! manner of Wing and Gong (1993) with Lowe's memory of what was tried. Pure.
//!
//! Writes of unknown outcome are in the order or not. One that was answered CONNECTIONLOSS may be in it only before that
//! answer; one whose connection ended, at any later time. A write that changes nothing (it was refused) is taken as soon as
//! it fits: that can't be in the way of any other, unless it was asked when one of unknown outcome was decided already.
//!
//! The order in which the servers wrote them down is tried first. It is a hint and no more: an order counts only if it fits, and
//! if that one doesn't, all others are tried. Without it the orders of many writes whose connections ended are too many.
//!
//! Reads are no part of it: a server may answer them from the past. They are judged by `sessions` and `truth`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::{BAD_VERSION, NO_NODE, NODE_EXISTS};
use crate::zookeeper::chaos::record::{Call, Run, Told};

/// How many states are tried before it is given up.
const MOST: usize = 300_000;

/// What a node is: nothing, or a version with a value (by its number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register(Option<(i32, String)>);

impl Register {
    /// With this version and value.
    pub fn of(node: Option<&(i32, String)>) -> Self {
        Self(node.cloned())
    }
}

/// What a write would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another value, if the version is this one, or −1.
    Set(i32),
    /// A new node.
    Create,
    /// No node, if the version is this one, or −1.
    Delete(i32),
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What it would do.
    pub kind: Kind,
    /// The value that it writes.
    pub value: String,
    /// When it was asked.
    pub sent_us: i64,
    /// When its outcome was told.
    pub done_us: i64,
    /// `Ok`: done, with this version (none is told of a delete); `Err`: refused with this error; `None`: unknown.
    pub told: Option<Result<Option<i32>, i32>>,
    /// Of an unknown one: whether it was decided when that was told.
    pub decided: bool,
    /// The transaction that the servers' logs have for it.
    pub zxid: Option<i64>,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// None was found; this is the first write that never found its place, and what was there then.
    Contradiction(Write, Register),
    /// All found their place, and what is there at the end is something else.
    End(Register),
    /// It was not found out: so many states were tried.
    GivenUp(usize),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction(write, at) => {
                write!(f, "nothing goes on from {:?}, where {write:?} is due", at.0)
            }
            Self::End(end) => {
                write!(f, "all writes together lead to {:?}, which is not what is there", end.0)
            }
            Self::GivenUp(tried) => write!(f, "{tried} states were tried without a result"),
        }
    }
}

/// The writes of one node.
pub(super) fn of_node(run: &Run, node: &str) -> Vec<Write> {
    let txns = run.truth.log.iter().filter(|txn| !txn.changes.is_empty());
    let zxids: HashMap<_, _> = txns.map(|txn| ((txn.session, txn.xid), txn.zxid)).collect();
    let mut writes = Vec::new();
    for op in run.ops() {
        let (kind, value, place) = match &op.call {
            Call::Set { path, value, expect, .. } if path == node => (Kind::Set(*expect), value.clone(), 0),
            Call::Create { path, value } if path == node => (Kind::Create, value.clone(), 0),
            Call::Delete { path, expect } if path == node => (Kind::Delete(*expect), String::new(), 0),
            Call::Pair { paths, value } => match paths.iter().position(|path| path == node) {
                Some(place) => (Kind::Set(-1), value.clone(), place),
                None => continue,
            },
            _ => continue,
        };
        let told = match &op.told {
            Told::Done(found) => Some(Ok(found.get(place).map(|found| found.version))),
            Told::Refused(code) => Some(Err(*code)),
            Told::Unknown | Told::Cut => None,
        };
        let decided = op.told == Told::Unknown;
        let zxid = zxids.get(&(op.session, op.xid)).copied();
        writes.push(Write { kind, value, sent_us: op.sent_us, done_us: op.done_us, told, decided, zxid });
    }
    writes
}

impl Write {
    /// What comes of it, or its error.
    fn apply(&self, at: &Register) -> Result<Register, i32> {
        let value = self.value.clone();
        match (&self.kind, &at.0) {
            (Kind::Create, None) => Ok(Register(Some((0, value)))),
            (Kind::Create, Some(_)) => Err(NODE_EXISTS),
            (_, None) => Err(NO_NODE),
            (Kind::Set(expect) | Kind::Delete(expect), Some((version, _)))
                if *expect != -1 && expect != version =>
            {
                Err(BAD_VERSION)
            }
            (Kind::Set(_), Some((version, _))) => Ok(Register(Some((version + 1, value)))),
            (Kind::Delete(_), Some(_)) => Ok(Register(None)),
        }
    }

    /// Whether it may be next where `at` is there, and what is there then.
    fn step(&self, at: &Register) -> Option<Register> {
        match (self.apply(at), &self.told) {
            (Ok(next), None) => Some(next),
            (Ok(next), Some(Ok(version))) => {
                let fits = version.is_none() || *version == next.0.as_ref().map(|(version, _)| *version);
                fits.then_some(next)
            }
            (Err(code), Some(Err(told))) if code == *told => Some(at.clone()),
            _ => None,
        }
    }

    fn is_due(&self) -> bool {
        self.told.is_some()
    }

    /// The greater, the sooner the servers wrote it down; least if they didn't.
    fn written(&self) -> Option<Reverse<i64>> {
        self.zxid.map(Reverse)
    }
}

/// How far the order has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    /// All before it have their place, or will have none.
    base: usize,
    /// Those behind it that have theirs.
    beyond: Vec<usize>,
    /// Of those whose connection ended.
    open: Vec<usize>,
    there: Option<(i32, String)>,
    /// When the last of them was asked.
    asked_us: i64,
}

struct Search<'a> {
    /// In the order in which they were asked.
    closed: Vec<&'a Write>,
    /// Those that may come at any later time.
    open: Vec<&'a Write>,
}

/// An order of these writes that begins with a node of version 0 or none (whatever fits), and ends with `end`.
pub fn linearizable(writes: &[Write], end: &Register) -> Result<(), Undone> {
    linearizable_within(writes, end, MOST)
}

/// The same, given up after `most` states.
pub(super) fn linearizable_within(writes: &[Write], end: &Register, most: usize) -> Result<(), Undone> {
    let mut sorted: Vec<&Write> = writes.iter().collect();
    sorted.sort_by_key(|write| write.sent_us);
    let (open, closed) = sorted.into_iter().partition(|write| !write.is_due() && !write.decided);
    let search = Search { closed, open };
    let begin = Place {
        base: 0,
        beyond: Vec::new(),
        open: Vec::new(),
        there: Some((0, String::new())),
        asked_us: i64::MIN,
    };
    let mut stack = vec![begin];
    let mut tried = HashSet::new();
    let mut furthest: Option<Place> = None;
    let mut other_end = None;
    while let Some(place) = stack.pop() {
        let place = search.settled(place);
        if furthest.as_ref().is_none_or(|old| place.base >= old.base) {
            furthest = Some(place.clone());
        }
        if search.is_whole(&place) {
            if place.there == end.0 {
                return Ok(());
            }
            other_end = Some(Register(place.there.clone()));
        }
        if tried.len() > most {
            return Err(Undone::GivenUp(most));
        }
        if tried.insert(place.clone()) {
            search.go_on(&place, &mut stack);
        }
    }
    if let Some(other) = other_end {
        return Err(Undone::End(other));
    }
    let first = furthest.and_then(|place| {
        let rest = (place.base..).zip(search.closed.iter().skip(place.base));
        let due = rest.into_iter().find(|(at, write)| write.is_due() && !place.beyond.contains(at));
        due.map(|(_, write)| Undone::Contradiction((*write).clone(), Register(place.there)))
    });
    Err(first.unwrap_or(Undone::GivenUp(tried.len())))
}

impl Search<'_> {
    /// The latest moment at which the next write may have been asked: none may come behind one that was over before.
    fn horizon(&self, place: &Place) -> i64 {
        let mut horizon = i64::MAX;
        for (at, write) in (place.base..).zip(self.closed.iter().skip(place.base)) {
            if write.sent_us > horizon {
                break;
            }
            if write.is_due() && !place.beyond.contains(&at) {
                horizon = horizon.min(write.done_us);
            }
        }
        horizon
    }

    /// Those that may be next, oldest first.
    fn candidates<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = (usize, &'a Write)> {
        let horizon = self.horizon(place);
        (place.base..)
            .zip(self.closed.iter().skip(place.base))
            .take_while(move |(_, write)| write.sent_us <= horizon)
            .filter(|(at, write)| {
                // One that was decided unknown can't come behind what was asked later than that.
                !place.beyond.contains(at) && (write.is_due() || place.asked_us < write.done_us)
            })
            .map(|(at, write)| (at, *write))
    }

    /// Takes what changes nothing, and moves the base on.
    fn settled(&self, mut place: Place) -> Place {
        loop {
            let there = Register(place.there.clone());
            let undecided = self.candidates(&place).filter(|(_, write)| !write.is_due());
            let before = undecided.map(|(_, write)| write.done_us).min().unwrap_or(i64::MAX);
            let idle = self.candidates(&place).find(|(_, write)| {
                matches!(write.told, Some(Err(_))) && write.sent_us < before && write.step(&there).is_some()
            });
            let Some((at, write)) = idle else { break };
            place.asked_us = place.asked_us.max(write.sent_us);
            place.beyond.push(at);
            self.advance(&mut place);
        }
        self.advance(&mut place);
        place.beyond.sort_unstable();
        place.open.sort_unstable();
        place
    }

    fn advance(&self, place: &mut Place) {
        while let Some(write) = self.closed.get(place.base) {
            let base = place.base;
            let over = !write.is_due() && place.asked_us >= write.done_us;
            if !place.beyond.contains(&base) && !over {
                break;
            }
            place.beyond.retain(|at| *at != base);
            place.base += 1;
        }
    }

    /// Whether every write that needs a place has one.
    fn is_whole(&self, place: &Place) -> bool {
        let rest = (place.base..).zip(self.closed.iter().skip(place.base));
        rest.into_iter().all(|(at, write)| !write.is_due() || place.beyond.contains(&at))
    }

    /// What may come next, the likeliest last, since it is tried first.
    fn go_on(&self, place: &Place, stack: &mut Vec<Place>) {
        let there = Register(place.there.clone());
        let mut next = BTreeMap::new();
        let horizon = self.horizon(place);
        for (number, write) in self.open.iter().enumerate().filter(|(_, write)| write.sent_us <= horizon) {
            if !place.open.contains(&number)
                && let Some(then) = write.step(&there)
            {
                let mut after = place.after(write, then);
                after.open.push(number);
                next.insert((write.written(), 0, Reverse(write.done_us), number), after);
            }
        }
        for (at, write) in self.candidates(place) {
            if let Some(then) = write.step(&there) {
                let mut after = place.after(write, then);
                after.beyond.push(at);
                // What was written down first before the others, those that must have a place before those that need none, and
                // those whose time ends first before the others.
                let rank = if write.is_due() { 2 } else { 1 };
                next.insert((write.written(), rank, Reverse(write.done_us), at), after);
            }
        }
        stack.extend(next.into_values());
    }
}

impl Place {
    /// With this write in the order, after which this is there.
    fn after(&self, write: &Write, there: Register) -> Self {
        Self { there: there.0, asked_us: self.asked_us.max(write.sent_us), ..self.clone() }
    }
}
