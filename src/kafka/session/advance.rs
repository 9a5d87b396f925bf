//! What waits is looked at again, oldest first: sent where it can go by now, held on, or decided when its bound is
//! reached. Nothing overtakes an earlier request of the same key.

use super::link::Link;
use super::route::Target;
use super::slot::{Slot, State};
use super::{FETCH, PRODUCE, Session};
use crate::kafka::cluster::TopicKey;
use crate::kafka::operations::Route;
use crate::metrics::{HoldTrigger, ReplayVerdict};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How soon a waiting request is looked at again when there is no news: what it wants has to be said again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What earlier requests, seen on one way through the slots, stand in the way of.
#[derive(Default)]
pub(super) struct Ahead {
    /// Kinds of whole requests of which an earlier one waits.
    kinds: u8,
    /// An earlier Produce is at a node, or waits, as it came.
    pub whole_produce: bool,
    /// Partitions of which an earlier batch is undecided, with the node if all of those are on their way to that one.
    pub partitions: HashMap<(TopicKey, i32), Option<i32>>,
}

/// The kinds whose requests must not overtake each other.
fn kind(slot: &Slot) -> u8 {
    match slot.op.route {
        Route::Leader if slot.op.key == PRODUCE => 1,
        Route::Leader | Route::Local | Route::Any => 0,
        Route::Group(_) => 2,
        Route::Transaction(_) => 4,
        Route::Controller => 8,
        Route::Node => 16,
    }
}

impl Session {
    /// Looks at all that waits. Answers whether anything changed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let mut ahead = Ahead::default();
        let mut moved = false;
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { break };
            match &slot.state {
                State::Done(_) => {}
                State::Sent => ahead.whole_produce |= slot.is_produce(),
                State::Waiting => moved |= self.advance_whole(number, &mut ahead, now),
                State::Split(_) => moved |= self.advance_split(number, &mut ahead, now),
            }
        }
        moved
    }

    fn advance_whole(&mut self, number: u64, ahead: &mut Ahead, now: Instant) -> bool {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return false };
        let (kind, produce) = (kind(slot), slot.is_produce());
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
                ahead.stop(kind, produce);
                return false;
            }
        }
        if ahead.kinds & kind != 0 || !self.barriers_passed(number) {
            self.hold(number, HoldTrigger::Order, now);
            self.wake_before(now + LOOK_AGAIN);
            ahead.stop(kind, produce);
            return false;
        }
        match self.target(number, now) {
            Target::Decided => true,
            Target::Node(node) => {
                if self.send_whole(number, node, now) {
                    self.sent_again(number, now);
                    ahead.whole_produce |= produce;
                    return true;
                }
                ahead.stop(kind, produce);
                self.reach(node)
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
                ahead.stop(kind, produce);
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
        let slot = self.at(number).and_then(|at| self.slots.get(at));
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
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return false };
        let (key, arrived) = (slot.op.key, slot.arrived);
        let State::Split(split) = &slot.state else { return false };
        if split.is_done() {
            self.finish_split(number, now);
            return true;
        }
        let mut bound = slot.trouble.as_ref().map_or(arrived, |trouble| trouble.deadline);
        if key == FETCH {
            bound = bound.min(arrived + self.max_wait(number));
        }
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
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return moved };
        let State::Split(split) = &slot.state else { return moved };
        if split.is_waiting() {
            self.wake_before(bound.min(now + LOOK_AGAIN));
        } else if moved {
            self.release(number, now, None);
        }
        if key == PRODUCE
            && let Some(State::Split(split)) =
                self.at(number).and_then(|at| self.slots.get(at)).map(|slot| &slot.state)
        {
            let undecided = split.items().iter().filter(|item| !item.is_done());
            for item in undecided {
                let to = item.sent_to.filter(|_| !item.is_waiting());
                ahead.undecided((item.topic.clone(), item.partition), to);
            }
        }
        moved
    }
}

impl Ahead {
    /// An earlier batch of a partition is undecided, and on its way to this node unless it waits.
    fn undecided(&mut self, key: (TopicKey, i32), to: Option<i32>) {
        let all = self.partitions.entry(key).or_insert(to);
        *all = all.filter(|node| Some(*node) == to);
    }

    fn stop(&mut self, kind: u8, produce: bool) {
        self.kinds |= kind;
        self.whole_produce |= produce;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_on_its_way_only_if_all_its_batches_go_to_one_node() {
        let key = (TopicKey::Id([1; 16]), 0);
        let after = |sent: &[Option<i32>]| {
            let mut ahead = Ahead::default();
            for to in sent {
                ahead.undecided(key.clone(), *to);
            }
            ahead.partitions.get(&key).copied()
        };
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[Some(1), Some(1)]), Some(Some(1)));
        assert_eq!(after(&[Some(1), Some(2)]), Some(None));
        assert_eq!(after(&[Some(1), Some(2), Some(1)]), Some(None));
        assert_eq!(after(&[None, Some(1)]), Some(None));
        assert_eq!(after(&[Some(1), None]), Some(None));
    }
}
