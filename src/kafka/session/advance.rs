//! What waits is looked at again, oldest first: sent where it can go by now, held on, or decided when its bound is
//! reached. Nothing overtakes an earlier request of the same key.

use super::inject::producer_of;
use super::intake::Sent;
use super::link::Link;
use super::produce::owned;
use super::route::Target;
use super::slot::{Slot, State};
use super::{FETCH, PRODUCE, Session};
use crate::kafka::cluster::TopicKey;
use crate::kafka::operations::Route;
use crate::kafka::wire::produce;
use crate::metrics::{HoldTrigger, ReplayVerdict};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How soon a waiting request is looked at again when there is no news: what it wants has to be said again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What earlier requests, seen on one way through the slots, stand in the way of.
#[derive(Default)]
pub(super) struct Ahead {
    /// Kinds of whole requests of which an earlier one waits.
    kinds: u8,
    /// Partitions of which an earlier batch is undecided, with their way if all of those are on the same.
    pub partitions: HashMap<(TopicKey, i32), Option<Way>>,
}

/// How a batch is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// To this node.
    pub node: i32,
    /// Under this producer id, or −1. A broker keeps batches of one producer in order, and those of two only as they come.
    pub producer: i64,
}

/// The kinds whose requests must not overtake each other.
fn kind(slot: &Slot) -> u8 {
    match slot.op.route {
        Route::Leader if slot.op.key == PRODUCE => 1,
        Route::Leader | Route::Local | Route::Any | Route::Internal => 0,
        Route::Group(_) => 2,
        Route::Transaction(_) => 4,
        Route::Controller => 8,
        Route::Node => 16,
    }
}

impl Session {
    /// Looks at all that waits. Answers whether anything changed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        self.stray.prune(now);
        let mut ahead = Ahead::default();
        let mut moved = false;
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.slot(number) else { break };
            match &slot.state {
                State::Done(_) => {}
                State::Sent => ahead.add_whole(slot),
                State::Waiting => moved |= self.advance_whole(number, &mut ahead, now),
                State::Split(_) => moved |= self.advance_split(number, &mut ahead, now),
            }
        }
        self.publish_undecided();
        moved
    }

    /// Tells the other connections which partitions this one has undecided batches of, as long as it holds something.
    fn publish_undecided(&mut self) {
        let holds = self.slots.iter().any(|slot| slot.is_produce() && slot.is_unsettled());
        if !holds {
            if self.unpublish() {
                self.cluster.wake_all();
            }
            return;
        }
        if !self.cluster.order.any_marked() {
            // What was told is about to be out of date, and an old word would let a later batch overtake.
            self.unpublish();
            return;
        }
        let mut undecided = HashMap::new();
        let produces = self.slots.iter().filter(|slot| slot.is_produce());
        for (slot, number) in produces.zip(self.own.decided_count() + 1..) {
            if matches!(slot.state, State::Done(_)) {
                continue;
            }
            let body = slot.frame.get(slot.body_at..).unwrap_or_default();
            let scanned = produce::scan_request(slot.version, body, &mut |row| {
                undecided.entry((owned(row.topic), row.partition)).or_insert(number);
            });
            if scanned.is_err() {
                self.unpublish(); // it will be refused; until then nothing is promised
                return;
            }
        }
        self.own.publish(Some(undecided));
        if !std::mem::replace(&mut self.published, true) {
            self.cluster.wake_all();
        }
    }

    /// Takes back what the others were told; from here on they wait for everything that was sent here. Answers whether
    /// anything had been told.
    pub(super) fn unpublish(&mut self) -> bool {
        let told = std::mem::take(&mut self.published);
        if told {
            self.own.publish(None);
        }
        told
    }

    fn advance_whole(&mut self, number: u64, ahead: &mut Ahead, now: Instant) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let kind = kind(slot);
        let frame = slot.is_produce().then(|| (slot.version, slot.body_at, slot.frame.clone()));
        if let Some(trouble) = &slot.trouble {
            let (deadline, not_before) = (trouble.deadline, trouble.not_before);
            if now >= deadline {
                self.expire(number, now);
                return true;
            }
            if trouble.ticket.is_some() {
                self.wake_before(deadline);
            }
            if now < not_before {
                self.wake_before(not_before);
                ahead.stop(kind, frame.as_ref());
                return false;
            }
        }
        if self.is_overtaken(number) {
            self.give_up_overtaken(number, now);
            return true;
        }
        if ahead.kinds & kind != 0 || !self.barriers_passed(number) || self.may_be_overtaken(number) {
            self.hold(number, HoldTrigger::Order, now);
            self.wake_before(now + LOOK_AGAIN);
            ahead.stop(kind, frame.as_ref());
            return false;
        }
        match self.target(number, now) {
            Target::Decided => true,
            Target::Node(node) => {
                match self.send_whole(number, node, now) {
                    Sent::Yes => {
                        self.sent_again(number, now);
                        if let Some(slot) = self.slot(number) {
                            ahead.add_whole(slot);
                        }
                        return true;
                    }
                    Sent::NoLink => {
                        ahead.stop(kind, frame.as_ref());
                        return self.reach(node);
                    }
                    Sent::Unstamped => {}
                }
                ahead.stop(kind, frame.as_ref());
                if frame.as_ref().is_some_and(|(version, ..)| self.injection.lacks_id(*version)) {
                    self.hold(number, HoldTrigger::Coordinator, now);
                    self.wake_before(now + LOOK_AGAIN);
                }
                false
            }
            Target::Leaders => {
                if self.split(number, now) {
                    self.advance_split(number, ahead, now);
                }
                true
            }
            Target::Wait => {
                let home = self.home.node;
                let trigger = match home {
                    None => HoldTrigger::UnknownNode,
                    Some(_) => HoldTrigger::Refused,
                };
                self.hold(number, trigger, now);
                self.wake_before(now + LOOK_AGAIN);
                ahead.stop(kind, frame.as_ref());
                false
            }
        }
    }

    /// A request that had been in trouble is on its way.
    fn sent_again(&mut self, number: u64, now: Instant) {
        let Some(trouble) = self.slot_mut(number).and_then(|slot| slot.trouble.as_deref_mut()) else {
            return;
        };
        let verdict = if trouble.replayed { ReplayVerdict::Unknown } else { ReplayVerdict::NotSent };
        self.cluster.metrics.replays.inc(verdict);
        self.release(number, now, None);
    }

    fn barriers_passed(&self, number: u64) -> bool {
        let slot = self.slot(number);
        slot.is_none_or(|slot| slot.barriers.iter().all(|barrier| barrier.has_passed(&self.own)))
    }

    /// Begins to connect to a node, if that has not begun. Answers whether it was begun now.
    pub(super) fn reach(&mut self, node: i32) -> bool {
        if !self.links.iter().any(|link| link.node == node) {
            self.links.push(Link::new(&self.cluster, node));
        }
        let cluster = std::sync::Arc::clone(&self.cluster);
        match self.link_mut(node) {
            Some(link) if link.is_closed() => {
                link.connect(&cluster);
                true
            }
            _ => false,
        }
    }

    /// A request in parts: what has a leader goes to it.
    fn advance_split(&mut self, number: u64, ahead: &mut Ahead, now: Instant) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let (key, arrived) = (slot.op.key, slot.arrived);
        let State::Split(split) = &slot.state else { return false };
        if split.is_done() {
            self.finish_split(number, now);
            return true;
        }
        let deadline = slot.trouble.as_ref().map(|trouble| trouble.deadline);
        let bound = if key == FETCH {
            let end = arrived + self.max_wait(number);
            deadline.map_or(end, |deadline| deadline.min(end))
        } else {
            deadline.unwrap_or_else(|| arrived + self.cluster.settings().hold.max)
        };
        if split.is_waiting() && now >= bound {
            if key == FETCH {
                self.settle_fetch(number);
            } else {
                self.expire_split(number, now);
            }
            let done =
                matches!(self.slot_mut(number).map(|slot| &slot.state), Some(State::Split(s)) if s.is_done());
            if done {
                self.finish_split(number, now);
            }
            return true;
        }
        let moved = if split.is_waiting() { self.dispatch(number, ahead, now) } else { false };
        let Some(slot) = self.slot(number) else { return moved };
        let State::Split(split) = &slot.state else { return moved };
        if split.is_waiting() {
            self.wake_before(bound.min(now + LOOK_AGAIN));
        } else if moved {
            self.release(number, now, None);
        }
        if key == PRODUCE
            && let Some(State::Split(split)) = self.slot(number).map(|slot| &slot.state)
        {
            let undecided = split.items().iter().filter(|item| !item.is_done());
            for item in undecided {
                let producer = producer_of(item.request.bytes_field("records"));
                let way = item.sent_to.filter(|_| !item.is_waiting()).map(|node| Way { node, producer });
                ahead.undecided((item.topic.clone(), item.partition), way);
            }
        }
        moved
    }
}

impl Ahead {
    /// An earlier batch of a partition is undecided, and on its way unless it waits.
    fn undecided(&mut self, key: (TopicKey, i32), way: Option<Way>) {
        let all = self.partitions.entry(key).or_insert(way);
        *all = all.filter(|known| Some(*known) == way);
    }

    /// A request waits: later ones of its kind do, too, and so do later batches of its partitions.
    fn stop(&mut self, kind: u8, produce: Option<&(i16, usize, Bytes)>) {
        self.kinds |= kind;
        if let Some((version, body_at, frame)) = produce {
            self.add_partitions(*version, frame.get(*body_at..).unwrap_or_default());
        }
    }

    /// A request is at a node: until it is answered, later batches of its partitions wait.
    fn add_whole(&mut self, slot: &Slot) {
        if slot.is_produce() {
            self.add_partitions(slot.version, slot.frame.get(slot.body_at..).unwrap_or_default());
        }
    }

    fn add_partitions(&mut self, version: i16, body: &[u8]) {
        let scanned = produce::scan_request(version, body, &mut |row| {
            self.undecided((owned(row.topic), row.partition), None);
        });
        if let Err(error) = scanned {
            tracing::debug!(%error, "a Produce that can't be read stands in nobody's way");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_on_its_way_only_if_all_its_batches_go_the_same_way() {
        let key = (TopicKey::Id([1; 16]), 0);
        let way = |(node, producer)| Way { node, producer };
        let after = |sent: &[Option<(i32, i64)>]| {
            let mut ahead = Ahead::default();
            for to in sent {
                ahead.undecided(key.clone(), to.map(way));
            }
            ahead.partitions.get(&key).copied()
        };
        let (one, two) = (Some((1, 7)), Some((2, 7)));
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[one, one]), Some(one.map(way)));
        assert_eq!(after(&[one, two]), Some(None));
        assert_eq!(after(&[one, two, one]), Some(None));
        assert_eq!(after(&[one, Some((1, 8))]), Some(None), "another producer");
        assert_eq!(after(&[None, one]), Some(None));
        assert_eq!(after(&[one, None]), Some(None));
    }
}
