//! Parts of several waiting Produce requests that go to one node in one request.
//!
//! A broker works at one request of a connection at a time, and with acks=all each takes it a round trip to its
//! followers. A backlog of small requests, sent one by one, would outlast its bound; gathered, every partition of a node
//! moves in the same round trip. Batches stay whole, a request never holds a partition twice, and a partition's batches
//! stay in order, since what is gathered goes out in order on one connection.

use super::ahead::Lane;
use super::link::Lost;
use super::slot::State;
use super::{PRODUCE, Session};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::split::{Part, Side};
use crate::kafka::wire::{self, Struct};
use crate::metrics::ReplayVerdict;
use bytes::{Bytes, BytesMut};
use std::time::Instant;

/// A gathered request holds no more parts.
const PARTS_MAX: usize = 64;
/// Nor more bytes of requests than this, but for a single part: brokers take 100 MiB, and a replay costs it again.
const BYTES_MAX: usize = 1 << 20;
/// Numbers of gathered requests, where slots have theirs.
const GATHERED: u64 = 1 << 63;

/// A part of a request: its slot and its number in there.
type Member = (u64, u32);

/// A request in the making.
#[derive(Debug)]
struct Request {
    node: i32,
    version: i16,
    /// The first member's; the answer carries its correlation id.
    header: Bytes,
    correlation: i32,
    body: Struct,
    lanes: Vec<Lane>,
    members: Vec<Member>,
    bytes: usize,
    doubt: bool,
}

/// What is gathered, and what was sent so and is not answered.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    requests: Vec<Request>,
    sent: Vec<(u64, Vec<Member>)>,
    count: u64,
}

impl Gathering {
    /// The members of a gathered request that is decided; its number stands for nothing afterwards.
    fn take(&mut self, number: u64) -> Vec<Member> {
        let at = self.sent.iter().position(|(known, _)| *known == number);
        at.map(|at| self.sent.swap_remove(at).1).unwrap_or_default()
    }
}

/// Whether a number on a link is that of a gathered request.
fn is_gathered(number: u64) -> bool {
    number & GATHERED != 0
}

/// What all parts of one request must have in common.
fn alike(request: &Request, body: &Struct) -> bool {
    request.body.i16("acks") == body.i16("acks") && request.body.i32("timeout_ms") == body.i32("timeout_ms")
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

impl Session {
    /// Takes a part of a Produce that is ready, to be sent with others. Parts that have to go alone are given back.
    pub(super) fn gather(&mut self, number: u64, part: Part) -> Option<Part> {
        let slot = self.at(number).and_then(|at| self.slots.get(at))?;
        let State::Split(split) = &slot.state else { return Some(part) };
        if slot.op.key != PRODUCE || slot.silent || split.template().bytes_field("transactional_id").is_some()
        {
            return Some(part);
        }
        let mut lanes = Vec::with_capacity(part.items);
        let mut alone = false;
        for (item, lane) in split.items().iter().zip(slot.lanes()) {
            if item.is_in(part.number) {
                // What has taken its connection with it before must not take others with it.
                alone |= item.losses > 0;
                lanes.push(*lane);
            }
        }
        let doubt = split.items().iter().any(|item| item.doubt);
        let gathering = &mut self.gathering;
        // Behind every request that has one of its partitions, or its batches would be out of order.
        let behind = |request: &Request| request.lanes.iter().any(|lane| lanes.contains(lane));
        let first = gathering.requests.iter().rposition(behind).map_or(0, |at| at + 1);
        let first = if made(Mistake::GatheredTwice) { 0 } else { first };
        let bytes = slot.charged;
        let fits = |request: &Request| {
            request.node == part.node
                && request.version == slot.version
                && request.members.len() < PARTS_MAX
                && request.bytes + bytes <= BYTES_MAX
                && !request.lanes.is_empty()
                && alike(request, &part.body)
        };
        let open = gathering.requests.iter_mut().skip(first).find(|request| !alone && fits(request));
        let member = (number, part.number);
        if let Some(request) = open {
            join(&split.shape().request, &mut request.body, part.body);
            request.members.push(member);
            request.lanes.extend(lanes);
            request.bytes += bytes;
            request.doubt |= doubt;
        } else {
            gathering.requests.push(Request {
                node: part.node,
                version: slot.version,
                header: slot.frame.slice(..slot.body_at.min(slot.frame.len())),
                correlation: slot.correlation,
                body: part.body,
                // One that goes alone is full.
                bytes: if alone { BYTES_MAX } else { bytes },
                lanes,
                members: vec![member],
                doubt,
            });
        }
        None
    }

    /// Sends what was gathered, in order.
    pub(super) fn send_gathered(&mut self, now: Instant) {
        let Some(message) = wire::request(PRODUCE) else { return };
        for request in std::mem::take(&mut self.gathering.requests) {
            let Request { node, version, header, correlation, body, members, doubt, .. } = request;
            let mut frame = BytesMut::from(&header[..]);
            let written = message.encode(version, &body, &mut frame);
            if let Err(error) = &written {
                tracing::error!(%error, "a part of a request can't be written");
            }
            let (number, part) = match members.as_slice() {
                [only] => *only,
                _ => {
                    self.gathering.count += 1;
                    (GATHERED | self.gathering.count, 0)
                }
            };
            let sent = written.is_ok()
                && self
                    .link_mut(node)
                    .is_some_and(|link| link.send(frame.freeze(), number, part, Some(correlation), now));
            if sent {
                let verdict = if doubt { ReplayVerdict::Unknown } else { ReplayVerdict::NotSent };
                for _ in &members {
                    self.cluster.metrics.replays.inc(verdict);
                }
                if is_gathered(number) {
                    self.gathering.sent.push((number, members));
                }
            } else {
                for (number, part) in members {
                    self.take_back(number, part);
                }
            }
        }
    }

    /// The members of a gathered request that is answered, or nothing if the number is a slot's.
    pub(super) fn answered_members(&mut self, number: u64) -> Option<Vec<Member>> {
        is_gathered(number).then(|| self.gathering.take(number))
    }

    /// Lost requests by slot, oldest first: gathered ones member by member.
    pub(super) fn lost_members(&mut self, lost: Vec<Lost>) -> Vec<Lost> {
        if !lost.iter().any(|lost| is_gathered(lost.slot)) {
            return lost;
        }
        let mut all = Vec::with_capacity(lost.len());
        for one in lost {
            if is_gathered(one.slot) {
                let members = self.gathering.take(one.slot);
                all.extend(members.into_iter().map(|(slot, part)| Lost { slot, part, verdict: one.verdict }));
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
        assert!(self.requests.is_empty());
        Self { requests: Vec::new(), sent: self.sent.clone(), count: self.count }
    }

    /// Prints what went together.
    pub(super) fn print(&self, print: &mut crate::kafka::model::print::Print) {
        print.unordered(self.sent.iter(), |(number, _)| *number, crate::kafka::model::print::Print::put);
    }
}
