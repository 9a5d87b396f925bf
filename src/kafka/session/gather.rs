//! Parts of several waiting Produce requests that go to one node in one request.
//!
//! A broker works at one request of a connection at a time, and with acks=all each takes it a round trip to its
//! followers. A backlog of small requests, sent one by one, would outlast its bound; gathered, every partition of a node
//! moves in the same round trip, by up to five batches (`pack`). Batches stay whole, a request never holds a partition
//! twice, and a partition's batches stay in order, since what is gathered goes out in order on one connection.

use super::ahead::{Lane, Way};
use super::confirm::{Lowered, Proof};
use super::link::Lost;
use super::pack::{Load, Packed, Row, Stretch, pack};
use super::slot::{REQUEST_COST, State};
use super::{PRODUCE, Session};
use crate::kafka::split::{Part, Side};
use crate::kafka::wire::{self, Struct, batch};
use crate::metrics::ReplayVerdict;
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Numbers of gathered requests, where slots have theirs.
const GATHERED: u64 = 1 << 63;

/// A part of a request: its slot and its number in there.
pub(super) type Member = (u64, u32);

/// A part that waits for the others of this pass.
#[derive(Debug)]
struct Waiting {
    node: i32,
    version: i16,
    member: Member,
    /// Its client's; the answer carries its correlation id.
    header: Bytes,
    correlation: i32,
    body: Struct,
    doubt: bool,
}

/// A gathered request that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gathered {
    pub number: u64,
    pub node: i32,
    pub members: Vec<Member>,
    /// What becomes of it where it went with acks=1 in place of acks=all.
    pub lowered: Option<Lowered>,
}

/// What is gathered, and what was sent so and is not decided.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    waiting: Vec<(Load, Waiting)>,
    /// Oldest first.
    pub(super) sent: Vec<Gathered>,
    count: u64,
}

impl Gathering {
    /// A gathered request that is decided; its number stands for nothing afterwards.
    pub(super) fn take(&mut self, number: u64) -> Option<Gathered> {
        let at = self.sent.iter().position(|known| known.number == number)?;
        Some(self.sent.remove(at))
    }
}

/// Whether a number on a link is that of a gathered request.
pub(super) fn is_gathered(number: u64) -> bool {
    number & GATHERED != 0
}

/// Puts the topics of a part into a request.
fn join(side: &Side, into: &mut Struct, mut part: Struct) {
    let mut topics = into.take_structs(side.topics);
    for mut topic in part.take_structs(side.topics) {
        let key = side.key(&topic);
        match topics.iter_mut().find(|known| side.key(known) == key) {
            Some(known) => {
                for partition in topic.take_structs(side.partitions) {
                    known.push_struct(side.partitions, partition);
                }
            }
            None => topics.push(topic),
        }
    }
    into.set_structs(side.topics, topics);
}

/// What becomes of requests that go with acks=1: each of their partitions is proven by the nearest request behind with
/// acks=all that has it.
fn lowered(loads: &[Load], requests: &[Packed], number: &dyn Fn(usize) -> u64) -> Vec<Option<Lowered>> {
    let mut behind: HashMap<(i32, Lane), u64> = HashMap::new();
    let of = |(at, packed): (usize, &Packed)| {
        let loads = packed.loads.iter().filter_map(|at| loads.get(*at));
        let rows = loads.flat_map(|load| load.rows.iter().map(|row| (load.node, row.lane)));
        if !packed.lowered {
            behind.extend(rows.map(|row| (row, number(at))));
            return None;
        }
        let proof = |row: (i32, Lane)| behind.get(&row).map(|by| Proof { lane: row.1, by: *by });
        Some(Lowered::new(rows.filter_map(proof).collect()))
    };
    let mut found: Vec<_> = requests.iter().enumerate().rev().map(of).collect();
    found.reverse();
    found
}

impl Session {
    /// Takes a part of a Produce that is ready, to be sent with others. Parts that have to go alone are given back.
    pub(super) fn gather(&mut self, number: u64, part: Part) -> Option<Part> {
        let slot = self.at(number).and_then(|at| self.slots.get(at))?;
        let State::Split(split) = &slot.state else { return Some(part) };
        if slot.op.key != PRODUCE
            || !slot.is_answered()
            || split.template().bytes_field("transactional_id").is_some()
        {
            return Some(part);
        }
        let mut rows = Vec::with_capacity(part.items);
        let mut alone = false;
        for (item, lane) in split.items().iter().zip(slot.lanes()) {
            if item.is_in(part.number) {
                alone |= item.losses > 0;
                let mut headers = item.request.bytes_field("records").map(|records| batch::headers(records));
                let only = headers.as_mut().and_then(|headers| {
                    let only = headers.next()?;
                    (headers.next().is_none() && headers.rest() == 0).then_some(only)
                });
                let trusted = self.trusted.get(&(item.key.clone(), item.partition));
                let known = trusted == Some(&Way { node: part.node, producer: item.producer });
                let stretch = only.filter(|_| known).and_then(|header| Stretch::of(&header));
                rows.push(Row { lane: *lane, stretch });
            }
        }
        let load = Load {
            node: part.node,
            version: slot.version,
            acks: part.body.i16("acks"),
            timeout_ms: part.body.i32("timeout_ms"),
            rows,
            bytes: slot.charged.saturating_sub(REQUEST_COST),
            alone,
        };
        let waiting = Waiting {
            node: part.node,
            version: slot.version,
            member: (number, part.number),
            header: slot.frame.slice(..slot.body_at.min(slot.frame.len())),
            correlation: slot.correlation,
            body: part.body,
            doubt: split.items().iter().any(|item| item.doubt),
        };
        self.gathering.waiting.push((load, waiting));
        None
    }

    /// Sends what was gathered, in order.
    pub(super) fn send_gathered(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.gathering.waiting);
        if waiting.is_empty() {
            return;
        }
        let (loads, mut parts): (Vec<Load>, Vec<Option<Waiting>>) =
            waiting.into_iter().map(|(load, waiting)| (load, Some(waiting))).unzip();
        let requests = pack(&loads);
        if self.gathering.sent.is_empty() {
            self.gathering.count = 0;
        }
        // What proves others must be known by its number before it is sent.
        let first = self.gathering.count + 1;
        self.gathering.count += requests.len() as u64;
        let number = |at: usize| GATHERED | (first + at as u64);
        let lowered = lowered(&loads, &requests, &number);
        for (at, (packed, lowered)) in requests.iter().zip(lowered).enumerate() {
            let members = packed.loads.iter().filter_map(|at| parts.get_mut(*at)?.take()).collect();
            self.send_packed(members, number(at), lowered, now);
        }
    }

    fn send_packed(&mut self, parts: Vec<Waiting>, number: u64, lowered: Option<Lowered>, now: Instant) {
        let Some(side) = crate::kafka::split::shape(PRODUCE).map(|shape| &shape.request) else { return };
        let members: Vec<Member> = parts.iter().map(|part| part.member).collect();
        let doubt = parts.iter().any(|part| part.doubt);
        let mut parts = parts.into_iter();
        let Some(Waiting { node, version, header, correlation, mut body, .. }) = parts.next() else { return };
        for part in parts {
            join(side, &mut body, part.body);
        }
        if lowered.is_some() {
            body.set_i16("acks", 1);
        }
        let head = BytesMut::from(&header[..]);
        let written = wire::request(PRODUCE).map(|message| message.encode_pieces(version, &body, head));
        if let Some(Err(error)) = &written {
            tracing::error!(%error, "a part of a request can't be written");
        }
        let sent = match written {
            Some(Ok(pieces)) => {
                self.link_mut(node).is_some_and(|link| link.send(pieces, number, 0, Some(correlation), now))
            }
            _ => false,
        };
        if sent {
            let verdict = if doubt { ReplayVerdict::Unknown } else { ReplayVerdict::NotSent };
            for _ in &members {
                self.cluster.metrics.replays.inc(verdict);
            }
            self.gathering.sent.push(Gathered { number, node, members, lowered });
        } else {
            self.gathering.prove(number, &HashSet::new());
            for (number, part) in members {
                self.take_back(number, part);
            }
        }
    }

    /// Lost requests by slot, oldest first: gathered ones member by member.
    pub(super) fn lost_members(&mut self, lost: Vec<Lost>) -> Vec<Lost> {
        if !lost.iter().any(|lost| is_gathered(lost.slot)) {
            return lost;
        }
        let mut all = Vec::with_capacity(lost.len());
        for one in lost {
            if is_gathered(one.slot) {
                let members = self.gathering.take(one.slot).map(|gathered| gathered.members);
                let members = members.into_iter().flatten();
                all.extend(members.map(|(slot, part)| Lost { slot, part, verdict: one.verdict }));
            } else {
                all.push(one);
            }
        }
        all.sort_by_key(|lost| lost.slot);
        all
    }
}

#[cfg(test)]
impl Gathering {
    /// A copy, for the model check; between two polls nothing is in the making.
    pub(super) fn copy(&self) -> Self {
        assert!(self.waiting.is_empty());
        Self { waiting: Vec::new(), sent: self.sent.clone(), count: self.count }
    }

    /// Prints what went together.
    pub(super) fn print(&self, print: &mut crate::kafka::model::print::Print) {
        for gathered in &self.sent {
            print.put(&(gathered.number, gathered.node, &gathered.members, gathered.lowered.is_some()));
            if let Some(lowered) = &gathered.lowered {
                lowered.print(print);
            }
        }
    }
}
