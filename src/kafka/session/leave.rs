//! Leaving a broker that is drained: its connection is closed as soon as nothing is on its way there. Answers are waited for;
//! long polls, which can be answered here, only for as long as most of them take.

use super::link::Event;
use super::slot::State;
use super::{FETCH, Session};
use std::time::{Duration, Instant};

/// A Fetch that is out for so long at a broker that is drained is taken back: `fetch.max.wait.ms` is 500 by default, and some
/// clients ask for minutes.
const LONG_POLL: Duration = Duration::from_secs(1);

impl Session {
    /// Closes links to drained brokers that have nothing left to say. Answers whether anything changed.
    pub(super) fn leave_drained(&mut self, now: Instant) -> bool {
        if !self.cluster.any_drained() || self.is_bypassing() {
            return false;
        }
        let open = self.links.iter().filter(|link| link.is_open()).map(|link| link.node);
        let drained: Vec<i32> = open.filter(|node| self.cluster.is_drained(*node)).collect();
        let mut moved = false;
        for node in drained {
            moved |= self.leave(node, "its broker is drained", now);
        }
        moved
    }

    /// Closes a link that has nothing left to say. Answers whether it did.
    pub(super) fn leave(&mut self, node: i32, why: &str, now: Instant) -> bool {
        let Some(link) = self.links.iter().find(|link| link.node == node) else { return false };
        if !link.is_idle() {
            let Some(oldest) = link.oldest_due() else { return false };
            let is_fetch = |slot| self.slot(slot).is_some_and(|slot| slot.op.key == FETCH);
            if !link.all_due().all(|due| is_fetch(due.slot)) {
                return false;
            }
            let bound = oldest.since + LONG_POLL;
            if now < bound {
                self.wake_before(bound);
                return false;
            }
        }
        let event = self.link_mut(node).map(|link| link.disconnect(why.to_owned()));
        let Some(Event::Disconnected { lost, .. }) = event else { return false };
        tracing::debug!(client = %self.client_id, node, why, polls = lost.len(), "left a broker");
        self.trusted.retain(|_, trusted| trusted.node != node);
        for poll in lost {
            match self.slot(poll.slot).map(|slot| &slot.state) {
                Some(State::Split(_)) => self.take_back(poll.slot, poll.part),
                Some(State::Sent) => self.set_state(poll.slot, State::Waiting),
                _ => {}
            }
        }
        true
    }

    /// A part of a request waits for a leader, which may be a drained node.
    pub(super) fn note_part_held_by_drain(&self, number: u64, at: usize, now: Instant) {
        if !self.cluster.any_drained() {
            return;
        }
        let Some(State::Split(split)) = self.slot(number).map(|slot| &slot.state) else { return };
        let Some(item) = split.items().get(at) else { return };
        let leader = self.cluster.read(|view| view.leader(&item.topic, item.partition));
        self.note_held_by_drain(number, leader.map(|leader| leader.node), now);
    }

    /// A request is held because `node` is drained, if it is: the drain ends before the request has to be decided.
    pub(super) fn note_held_by_drain(&self, number: u64, node: Option<i32>, now: Instant) {
        let Some(node) = node.filter(|node| self.cluster.is_drained(*node)) else { return };
        if let Some(deadline) = self.slot(number).and_then(|slot| self.deadline(slot)) {
            self.cluster.held_by_drain(node, deadline, now);
        }
    }
}
