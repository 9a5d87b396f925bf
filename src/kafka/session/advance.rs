//! What waits is looked at again, oldest first: sent where it can go by now, held on, or decided when its bound is
//! reached. Nothing overtakes an earlier request of the same key.

use super::Session;
use super::ahead::{Ahead, PRODUCES, Way};
use super::intake::Sent;
use super::link::Link;
use super::route::Target;
use super::slot::{Slot, State};
use super::{FETCH, PRODUCE};
use crate::kafka::authenticate::AUTHENTICATE;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::operations::Route;
use crate::metrics::{HoldTrigger, ReplayVerdict};
use std::time::{Duration, Instant};

/// How soon a waiting request is looked at again when there is no news: what it wants has to be said again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The kinds whose requests must not overtake each other.
fn kind(slot: &Slot) -> u8 {
    match slot.op.route {
        Route::Leader if slot.op.key == PRODUCE => PRODUCES,
        Route::Leader | Route::Local | Route::Any | Route::Internal => 0,
        Route::Group(_) => 2,
        Route::Transaction(_) => 4,
        Route::Controller => 8,
        Route::Node => 16,
    }
}

impl Session {
    /// Looks at what waits. Answers whether anything changed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        self.stray.prune(now);
        self.number_lanes();
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.clear(self.lanes.len());
        let mut moved = false;
        let end = self.base + self.slots.len() as u64;
        let mut number = self.base;
        while number < end {
            // What is behind can't go, whatever it is; so a long queue costs no more than a short one.
            if self.unsettled_others == 0 && ahead.stops_every_produce() {
                break;
            }
            self.pass_barriers(number, now);
            let Some(slot) = self.slot(number) else { break };
            match &slot.state {
                State::Done(_) => {}
                State::Sent => ahead.add_whole(slot),
                State::Waiting => moved |= self.advance_whole(number, &mut ahead, now),
                State::Split(_) => moved |= self.advance_split(number, &mut ahead, now),
            }
            number += 1;
        }
        self.send_gathered(now);
        // What has not been looked at is held all the same, and so is what a full pipeline had kept back.
        let paced = self.paced.filter(|paced| *paced >= number);
        for behind in (number.max(self.looked_to)..end).chain(paced) {
            if self.slot(behind).is_some_and(|slot| matches!(slot.state, State::Waiting)) {
                self.hold(behind, HoldTrigger::Order, now);
            }
        }
        self.looked_to = end;
        self.ahead = ahead;
        self.publish_undecided();
        moved
    }

    fn advance_whole(&mut self, number: u64, ahead: &mut Ahead, now: Instant) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let kind = kind(slot);
        if slot.op.key == AUTHENTICATE
            && let Some(moved) = self.waits_for_verdict(number, now)
        {
            self.stop(number, ahead);
            return moved;
        }
        let Some(slot) = self.slot(number) else { return false };
        if slot.op.key == FETCH {
            // Never held, whatever it waits for.
            let bound = slot.arrived + self.max_wait(number);
            if now >= bound {
                self.expire_fetch(number, now);
                return true;
            }
            self.wake_before(bound);
        }
        let Some(slot) = self.slot(number) else { return false };
        if let Some((deadline, trouble)) = self.deadline(slot).zip(slot.trouble.as_ref()) {
            let not_before = trouble.not_before;
            if now >= deadline {
                self.expire(number, now);
                return true;
            }
            if slot.is_held() {
                self.wake_before(deadline);
            }
            if now < not_before {
                self.wake_before(not_before);
                self.stop(number, ahead);
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
            self.stop(number, ahead);
            return false;
        }
        match self.target(number, ahead, now) {
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
                        self.stop(number, ahead);
                        return self.reach(node);
                    }
                    Sent::Unstamped => {}
                }
                self.stop(number, ahead);
                let produce = self.slot(number).filter(|slot| slot.is_produce());
                if produce.is_some_and(|slot| self.injection.lacks_id(slot.version)) {
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
                self.note_held_by_drain(number, home, now);
                self.wake_before(now + LOOK_AGAIN);
                self.stop(number, ahead);
                false
            }
        }
    }

    /// A request waits: later ones of its kind do, too, and so do later batches of its partitions.
    fn stop(&self, number: u64, ahead: &mut Ahead) {
        if let Some(slot) = self.slot(number) {
            ahead.stop(kind(slot), slot.lanes());
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

    /// Whether what the client has sent on its other connections for the same partitions is decided.
    pub(super) fn barriers_passed(&self, number: u64) -> bool {
        self.slot(number).is_none_or(|slot| slot.barriers.is_empty())
    }

    /// Looks whether that is so by now. Then the line on this connection has got on.
    fn pass_barriers(&mut self, number: u64, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let passed = || slot.barriers.iter().all(|barrier| barrier.has_passed(&self.own, now));
        if !slot.barriers.is_empty() && (made(Mistake::BarrierIgnored) || passed()) {
            slot.barriers.clear();
            for lane in slot.lanes() {
                self.lanes.moves(*lane, now);
            }
        }
    }

    /// Begins to connect to a node, if that has not begun. Answers whether it was begun now.
    pub(super) fn reach(&mut self, node: i32) -> bool {
        if !self.links.iter().any(|link| link.node == node) {
            self.links.push(Link::new(&self.cluster, node));
        }
        self.open_link(node)
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
        let deadline = self.deadline(slot);
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
        let at_gap = key == PRODUCE && split.items().iter().any(|item| item.gap);
        let is_waiting = split.is_waiting();
        let mut moved = at_gap && self.close_gaps(number, now);
        moved |= is_waiting && self.dispatch(number, ahead, now);
        let Some(slot) = self.slot(number) else { return moved };
        let State::Split(split) = &slot.state else { return moved };
        if split.is_waiting() {
            self.wake_before(bound.min(now + LOOK_AGAIN));
        } else if moved {
            self.release(number, now, None);
        }
        if key == PRODUCE
            && let Some(slot) = self.slot(number)
            && let State::Split(split) = &slot.state
        {
            for (item, lane) in split.items().iter().zip(slot.lanes()).filter(|(item, _)| !item.is_done()) {
                if item.gap {
                    ahead.at_gap(*lane, item.producer);
                    continue;
                }
                let node = item.sent_to.filter(|_| !item.is_waiting());
                ahead.undecided(*lane, node.map(|node| Way { node, producer: item.producer }), true);
            }
        }
        moved
    }
}

impl Ahead {
    /// A request is at a node: until it is answered, later batches of its partitions wait, unless they go there whole, too.
    fn add_whole(&mut self, slot: &Slot) {
        for lane in slot.lanes() {
            self.undecided(*lane, None, false);
        }
    }
}
