//! An upstream connection is lost or refused: what was unanswered gets its verdict from the operation table.

use super::link::{Event, Lost};
use super::slot::{Answer, Slot, State};
use super::unknown::Action;
use super::{FETCH, PRODUCE, Session};
use crate::kafka::cluster::DialError;
use crate::kafka::honest;
use crate::kafka::operations::Unknown;
use crate::kafka::split::{Again, Judgement};
use crate::kafka::wire;
use crate::metrics::{HoldTrigger, UnknownAction};
use crate::retry::Verdict;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer that is out for so long makes its broker suspect: a long poll of the common clients takes 500 ms.
const OVERDUE: Duration = Duration::from_secs(3);
/// A request whose connection is lost so often each time it was written is what brokers close connections for.
pub(super) const LOSSES_MAX: u32 = 5;

/// The pause before a part that was lost so often goes again.
pub(super) fn after_losses(losses: u32, now: Instant) -> Instant {
    now + Duration::from_millis(5) * (1 << losses.min(6))
}

impl Session {
    /// The client will send nothing more.
    pub(super) fn client_gone(&mut self) {
        if self.unsettled > 0 {
            self.abandon_held();
        } else if !self.slots.iter().any(Slot::goes_on_alone) {
            // What goes on may yet have to begin anew under the next epoch: nobody else may take that over.
            self.leave_identities();
        }
    }

    /// What is at brokers and undecided may be appended late: behind what its client sends on its next connection.
    pub(super) fn leave_identities(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.cluster.leave_producers(self.id, self.injection.left());
        }
    }

    /// A node can't be connected: what waits for it is routed anew.
    pub(super) fn on_refused(&mut self, node: i32, error: &DialError, message: u64) {
        tracing::debug!(client = %self.client_id, node, %error, "no connection to a broker");
        self.on_not_taken(node, error, message);
        if self.is_passing() && self.home.node == Some(node) {
            self.lose_client("its broker can't be connected, and nobody else can repeat its SASL exchange");
            return;
        }
        if matches!(error, DialError::UnknownNode(_))
            && self.home.port.is_none()
            && self.home.node == Some(node)
        {
            self.home.node = None;
        }
        if self.is_bypassing() && (self.home.node.is_none() || self.home.node == Some(node)) {
            self.lose_client("its broker can't be connected, and bypass is on");
        }
    }

    /// The connection to `node` is gone. `silent`: requests without an answer had been sent on it.
    pub(super) fn on_disconnect(
        &mut self,
        node: i32,
        reason: &str,
        lost: Vec<Lost>,
        silent: bool,
        now: Instant,
    ) {
        if silent {
            self.stray.doubt_silent(now);
        }
        if lost.is_empty() {
            // Brokers close idle connections (connections.max.idle.ms); the next request opens another.
            tracing::debug!(client = %self.client_id, node, reason, "an idle connection to a broker is gone");
        } else {
            tracing::info!(client = %self.client_id, node, reason, pending = lost.len(), "a connection to a broker is lost");
        }
        self.cluster.metrics.upstream_errors.disconnected().inc();
        self.cluster.suspect(node);
        self.tell_unproven(node, now);
        self.on_unjudged(node);
        self.trusted.retain(|_, trusted| trusted.node != node);
        if self.is_bypassing() && self.home.node == Some(node) {
            self.lose_client("its broker's connection is lost, and bypass is on");
            return;
        }
        if self.is_passing() && self.home.node == Some(node) {
            self.lose_client("its broker's connection is lost, and nobody else can repeat its SASL exchange");
            return;
        }
        for lost in self.lost_members(lost) {
            self.on_lost(lost, now);
        }
    }

    /// A peer that is stopped or cut off sends no end of file. When an answer is overdue its broker is looked at on a
    /// fresh connection; if that fails, the connection is given up and what it carried gets its verdict.
    pub(super) fn watch_links(&mut self, now: Instant) -> bool {
        if self.slots.front().is_none_or(|slot| now.saturating_duration_since(slot.arrived) < OVERDUE) {
            return false;
        }
        let mut dead = Vec::new();
        for link in &self.links {
            let Some(due) = link.oldest_due() else { continue };
            if now.saturating_duration_since(due.since) < OVERDUE {
                continue;
            }
            if self.cluster.read(|view| view.is_down(link.node)) {
                dead.push(link.node);
            } else if self
                .looked_at
                .get(&link.node)
                .is_none_or(|at| now.saturating_duration_since(*at) >= OVERDUE)
            {
                self.looked_at.insert(link.node, now);
                self.cluster.suspect(link.node);
            }
        }
        for &node in &dead {
            self.give_up(node, "no answer, and no new connection", now);
        }
        !dead.is_empty()
    }

    /// Gives the connection to a node up: what is on it is lost.
    pub(super) fn give_up(&mut self, node: i32, reason: &str, now: Instant) {
        let event = self.link_mut(node).map(|link| link.disconnect(reason.to_owned()));
        if let Some(Event::Disconnected { reason, lost, silent }) = event {
            self.on_disconnect(node, &reason, lost, silent, now);
        }
    }

    fn on_lost(&mut self, lost: Lost, now: Instant) {
        let Some(slot) = self.slot_mut(lost.slot) else { return };
        let (op, answered) = (slot.op, slot.is_answered());
        match &slot.state {
            State::Split(_) => self.part_lost(lost, now),
            State::Sent if lost.verdict == Verdict::NotSent => {
                self.set_state(lost.slot, State::Waiting);
                self.hold(lost.slot, HoldTrigger::Disconnect, now);
            }
            State::Sent if op.key == PRODUCE => {
                if !answered {
                    self.strays_of(lost.slot, now);
                }
                self.produce_lost(lost.slot, None, now);
            }
            State::Sent => self.whole_lost(lost.slot, now),
            State::Waiting | State::Done(_) => {}
        }
    }

    /// A request other than Produce was written whole and never answered.
    fn whole_lost(&mut self, number: u64, now: Instant) {
        let metrics = Arc::clone(&self.cluster.metrics);
        let Some(slot) = self.slot_mut(number) else { return };
        let (op, version, correlation, frame) = (slot.op, slot.version, slot.correlation, slot.frame.clone());
        let name = wire::api_name(op.key);
        match op.unknown {
            Unknown::Replay | Unknown::InOrder | Unknown::ReplayThen(_) | Unknown::Sequenced => {
                let not_before = self.pause(number, now, Duration::from_millis(5));
                let Some(trouble) = self.trouble(number, now) else { return };
                trouble.losses += 1;
                trouble.replayed = true;
                trouble.not_before = not_before;
                if trouble.losses >= LOSSES_MAX {
                    metrics.client_errors.disconnected().inc();
                    trouble.replayed = false;
                    let reason = format!("brokers close the connection at this {name} each time");
                    self.unknown_slot(number, Action::Disconnected, &reason);
                    self.set_state(number, State::Done(Answer::Close(reason)));
                    return;
                }
                metrics.unknown_outcomes.inc(UnknownAction::Replayed);
                self.set_state(number, State::Waiting);
                if op.key != FETCH {
                    self.hold(number, HoldTrigger::Disconnect, now);
                }
            }
            Unknown::Settle(code) => {
                metrics.client_errors.kafka(code).inc();
                self.unknown_slot(number, Action::Told(code), "its client's own protocol settles it");
                let answer = wire::decode_request(&frame).ok().and_then(|(_, request)| {
                    let answer = honest::error(op.key, version, &request, code)?;
                    wire::encode_response(op.key, version, correlation, &answer).ok()
                });
                let answer = answer.map_or_else(|| Answer::Close(format!("{name} was lost")), Answer::Frame);
                self.set_state(number, State::Done(answer));
            }
            Unknown::Disconnect => {
                metrics.client_errors.disconnected().inc();
                self.unknown_slot(number, Action::Disconnected, "no error would be true");
                let reason = format!("the broker was lost with a {name} whose outcome can't be known");
                self.set_state(number, State::Done(Answer::Close(reason)));
            }
        }
    }

    fn unknown_slot(&self, number: u64, action: Action, why: &str) {
        if let Some(slot) = self.slot(number) {
            self.unknown_request(slot, action, why);
        }
    }

    /// A part of a split request was lost.
    fn part_lost(&mut self, lost: Lost, now: Instant) {
        let Some(slot) = self.slot_mut(lost.slot) else { return };
        if slot.is_produce() && lost.verdict == Verdict::Unknown {
            self.produce_lost(lost.slot, Some(lost.part), now);
            return;
        }
        let fetch = slot.op.key == FETCH;
        if lost.verdict == Verdict::Unknown {
            self.cluster.metrics.unknown_outcomes.inc(UnknownAction::Replayed);
            if let Some(trouble) = self.trouble(lost.slot, now) {
                trouble.replayed = true;
            }
        }
        let Some(slot) = self.slot_mut(lost.slot) else { return };
        if let State::Split(split) = &mut slot.state {
            split.lose(lost.part, lost.verdict, &mut |item, _| {
                let not_before = after_losses(item.losses, now);
                Judgement::Again(Again::at(not_before))
            });
            if !fetch && split.items().iter().any(|item| item.losses >= LOSSES_MAX) {
                self.cluster.metrics.client_errors.disconnected().inc();
                let reason = "brokers close the connection at this request each time".to_owned();
                self.set_state(lost.slot, State::Done(Answer::Close(reason)));
                return;
            }
        }
        if !fetch {
            self.hold(lost.slot, HoldTrigger::Disconnect, now);
        }
    }

    /// A broker that isn't the leader closes the connection at a Produce with acks=0: its partitions are looked up anew.
    fn strays_of(&mut self, number: u64, now: Instant) {
        let Some(split) = self.taken_apart(number, now) else { return };
        for item in split.items() {
            self.stray.add(item.key.clone(), item.partition, now);
        }
    }
}
