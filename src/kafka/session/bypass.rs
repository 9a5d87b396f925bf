//! Bypass: for the day on which something is wrong with Evenkeel. Nothing is held, stamped, sent elsewhere or spared; a
//! request goes to the broker that its client chose as the bytes it came in, and so does its answer, with only what the
//! topology needs: addresses become doors, and `ApiVersions` is answered here. A broker that is lost takes its clients'
//! connections with it.
//!
//! A connection follows the switch when nothing of it is under way, so that batches with an injected identity are never
//! mixed with bare ones: until then no more is read from it. What is held when bypass begins is sent if nothing speaks
//! against that, and else gets its true error at once.

use super::slot::{Answer, Slot, State};
use super::{FETCH, METADATA, PRODUCE, Session};
use crate::kafka::authenticate::AUTHENTICATE;
use crate::kafka::cluster::{API_VERSIONS, Cluster};
use crate::kafka::rewrite;
use crate::kafka::wire::{self, fetch, produce};
use crate::time::now;
use bytes::Bytes;
use std::time::Instant;

/// How a connection treats its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// As ever.
    Normal,
    /// As ever, but what is held was cut short: bypass begins when nothing is under way.
    Finishing,
    /// They pass as they are, until nothing is under way and bypass is off.
    Bypassed,
}

impl Mode {
    /// What a new connection begins with.
    pub(super) fn of(cluster: &Cluster) -> Self {
        if cluster.is_bypassed() { Self::Bypassed } else { Self::Normal }
    }
}

impl Session {
    /// Whether requests pass as they are.
    pub(super) fn is_bypassing(&self) -> bool {
        self.mode == Mode::Bypassed
    }

    /// Whether the switch has been moved and this connection has to finish first. Asked before each read, so that nothing
    /// is taken in under the old rule.
    pub(super) fn must_finish(&mut self) -> bool {
        if self.is_bypassing() != self.cluster.is_bypassed() && self.follow_bypass(now()) {
            self.wake_before(now());
        }
        self.is_bypassing() != self.cluster.is_bypassed()
    }

    /// Follows the switch of the cluster as soon as nothing is under way. Answers whether anything changed.
    pub(super) fn follow_bypass(&mut self, now: Instant) -> bool {
        let wanted = self.cluster.is_bypassed();
        if wanted == self.is_bypassing() {
            if self.mode == Mode::Finishing {
                self.mode = Mode::Normal; // it was switched off again before it began
            }
            return false;
        }
        if self.slots.is_empty() {
            // What was learned of partitions that are elsewhere is out of date by the time it is wanted again.
            self.stray = super::Strays::default();
            self.trusted.clear();
            self.moved.clear();
            if self.unpublish() {
                self.cluster.wake_all();
            }
            self.mode = Mode::of(&self.cluster);
            return true;
        }
        if !wanted || self.mode == Mode::Finishing {
            return false;
        }
        self.mode = Mode::Finishing;
        self.cut_holds_short(now);
        true
    }

    /// What is held goes out if nothing speaks against that; else its bound is over now.
    fn cut_holds_short(&mut self, now: Instant) {
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.slot(number) else { continue };
            let refused = |slot: &Slot| {
                let trouble = slot.trouble.as_ref();
                trouble.is_some_and(|trouble| {
                    trouble.refused.is_some() || trouble.replayed || trouble.last.is_some()
                })
            };
            let over = match &slot.state {
                State::Split(_) => true,
                State::Waiting => refused(slot) || self.home.node.is_none_or(|node| !self.usable(node)),
                State::Sent | State::Done(_) => false,
            };
            if over && let Some(trouble) = self.trouble(number, now) {
                (trouble.deadline, trouble.last_call) = (now, now);
            }
        }
    }

    /// Sends what waits to the client's own broker, in order. Answers whether anything changed.
    pub(super) fn advance_bypassed(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.slot(number) else { continue };
            if !matches!(slot.state, State::Waiting) {
                continue;
            }
            if slot.op.key == API_VERSIONS {
                self.answer_api_versions(number);
                moved |= self.slot(number).is_some_and(|slot| !slot.is_unsettled());
                continue;
            }
            if slot.op.key == AUTHENTICATE
                && let Some(asked) = self.waits_for_verdict(number, now)
            {
                return moved | asked; // the others come behind it
            }
            // On the bootstrap port the choice is made once: a broker is not exchanged for another unseen.
            let home = if self.home.port.is_none() && self.home.node.is_some() {
                self.home.node
            } else {
                self.home_node()
            };
            let Some(node) = home.filter(|node| self.usable(*node)) else {
                self.lose_client("its broker can't be reached, and bypass is on");
                return true;
            };
            if self.is_open(node) {
                moved |= self.put_on(number, node, now);
                continue;
            }
            return self.reach(node) | moved; // the others come behind it
        }
        moved
    }

    /// The client's connection ends behind the answers that are there, as its broker's has.
    pub(super) fn lose_client(&mut self, reason: &str) {
        self.lose_client_behind(self.base, reason);
    }

    /// The same, but what came before the request `first` is answered still.
    pub(super) fn lose_client_behind(&mut self, first: u64, reason: &str) {
        self.lost = Some(reason.to_owned());
        for number in first..self.base + self.slots.len() as u64 {
            if let Some(slot) = self.slot(number).filter(|slot| !matches!(slot.state, State::Done(_))) {
                self.closes(slot);
                self.set_state(number, State::Done(Answer::Close(reason.to_owned())));
            }
        }
    }

    /// The client's connection ends in the place of an answer: counted, or where there is none to come, said.
    pub(super) fn closes(&self, slot: &Slot) {
        if slot.silent {
            self.silent_left(slot);
        } else {
            self.cluster.metrics.client_errors.disconnected().inc();
        }
    }

    /// An answer passes, with doors instead of addresses.
    pub(super) fn on_bypassed_answer(&mut self, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (op, version) = (slot.op, slot.version);
        let body_at = wire::response_body_at(op.key, version, &frame).unwrap_or(frame.len());
        let body = frame.get(body_at..).unwrap_or_default();
        // Whether there are addresses is seen in fixed fields; an answer that can't be read can't be freed of them.
        let addressed = match op.key {
            PRODUCE => produce::scan_response(version, body, &mut |_| {})
                .map_or(true, |head| head.has_node_endpoints),
            FETCH => {
                fetch::scan_response(version, body, &mut |_| {}).map_or(true, |head| head.has_node_endpoints)
            }
            _ => !op.addresses.is_empty(),
        };
        if op.key == METADATA {
            self.show_metadata(number, &frame, now);
        } else if addressed {
            self.on_addresses(number, &frame, now);
        } else {
            self.pass(number, frame, now);
        }
    }

    /// Metadata as the broker gave it, with doors.
    fn show_metadata(&mut self, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        let shown = wire::decode_response(METADATA, version, frame).and_then(|(_, mut answer)| {
            self.cluster.learn_metadata(&answer, now);
            self.cluster.read(|view| rewrite::metadata(&mut answer, view, &self.doors()));
            wire::encode_response(METADATA, version, correlation, &answer)
        });
        let answer =
            shown.map_or_else(|error| Answer::Close(format!("a broker's Metadata: {error}")), Answer::Frame);
        self.set_state(number, State::Done(answer));
    }
}
