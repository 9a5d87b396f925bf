//! An answer arrives: passed on as the bytes it came in, unless it says "not here", or carries an address.

use super::link::Due;
use super::slot::{Answer, State};
use super::{FETCH, FIND_COORDINATOR, METADATA, PRODUCE, Session};
use crate::kafka::operations::{Operation, Route, Unknown};
use crate::kafka::rewrite;
use crate::kafka::wire;
use crate::metrics::ReleaseOutcome;
use bytes::Bytes;
use std::time::Instant;

impl Session {
    /// An answer from `node`.
    pub(super) fn on_answer(&mut self, node: i32, due: Due, frame: Bytes, now: Instant) {
        if self.on_gathered(node, due, &frame, now) {
            return;
        }
        let bypassing = self.is_bypassing();
        let Some(slot) = self.slot_mut(due.slot) else { return }; // decided without it
        slot.upstream += now.saturating_duration_since(due.since);
        match &slot.state {
            State::Sent if bypassing => self.on_bypassed_answer(due.slot, frame, now),
            State::Sent => self.on_whole_answer(node, due.slot, frame, now),
            State::Split(_) => self.on_part_answer(node, due.slot, due.part, &frame, now),
            State::Waiting | State::Done(_) => {}
        }
    }

    fn on_whole_answer(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let op = slot.op;
        match (op.key, op.route) {
            (PRODUCE, _) => self.on_produced(node, number, frame, now),
            (FETCH, _) => self.on_fetched(node, number, frame, now),
            (METADATA, _) => self.on_metadata(node, number, frame, now),
            (FIND_COORDINATOR, _) => self.on_coordinator(node, number, &frame, now),
            (_, Route::Leader) => self.on_leader_answer(node, number, frame, now),
            _ if !op.absorbs.is_empty() => self.on_routed_answer(node, number, frame, now),
            _ if !op.addresses.is_empty() => self.on_addresses(number, &frame, now),
            _ => {
                self.count_errors_in(op.key, slot.version, &frame);
                self.pass(number, frame, now);
            }
        }
    }

    /// Passes an answer on as it came.
    pub(super) fn pass(&mut self, number: u64, frame: Bytes, now: Instant) {
        self.release(number, now, None);
        self.set_state(number, State::Done(Answer::Frame(frame)));
    }

    /// `ListOffsets` and the like: partitions that are led elsewhere are asked there.
    fn on_leader_answer(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (op, version) = (slot.op, slot.version);
        let Ok((_, answer)) = wire::decode_response(op.key, version, &frame) else {
            self.pass(number, frame, now);
            return;
        };
        let mut stale = false;
        answer.visit_errors(&mut |code| stale |= op.absorbed(code).is_some());
        if !stale {
            self.count_errors(&answer);
            self.pass(number, frame, now);
            return;
        }
        let Some(mut split) = self.taken_apart(number, now) else { return };
        let part = split.was_sent_whole();
        self.set_state(number, State::Split(Box::new(split)));
        self.on_part_answer(node, number, part, &frame, now);
    }

    /// Whatever goes whole: "not here" sends it to where it belongs, "not yet" to the same place again.
    fn on_routed_answer(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (op, version, correlation) = (slot.op, slot.version, slot.correlation);
        let replayed = slot.trouble.as_ref().is_some_and(|trouble| trouble.replayed);
        let Ok((_, mut answer)) = wire::decode_response(op.key, version, &frame) else {
            self.pass(number, frame, now);
            return;
        };
        let (mut stale, mut error) = (None, false);
        answer.visit_errors(&mut |code| {
            error |= code != 0;
            if op.goes_again(code, replayed) {
                stale = Some(code);
            }
        });
        if let Some(code) = stale.filter(|_| self.may_go_again(number, &answer)) {
            if let Some(trouble) = self.trouble(number, now) {
                trouble.last = Some(frame);
            }
            self.refuse(number, node, code, now);
            return;
        }
        if self.slot_mut(number).is_some_and(|slot| slot.trouble.is_some()) {
            let outcome = if error { ReleaseOutcome::Error } else { ReleaseOutcome::Answered };
            self.release(number, now, Some(outcome));
        }
        if let Unknown::ReplayThen(done) = op.unknown
            && replayed
            && error
            && !self.only_validates(number)
        {
            let metrics = &self.cluster.metrics;
            answer.map_errors(&mut |code| {
                if done.contains(&code) {
                    metrics.masked_errors.kafka(code).inc();
                    return 0;
                }
                code
            });
            if let Ok(frame) = wire::encode_response(op.key, version, correlation, &answer) {
                self.set_state(number, State::Done(Answer::Frame(frame)));
                return;
            }
        }
        self.count_errors(&answer);
        self.set_state(number, State::Done(Answer::Frame(frame)));
    }

    /// Whether a request changes nothing: an error that it gets after a replay is its own.
    fn only_validates(&self, number: u64) -> bool {
        let request = self.slot(number).and_then(|slot| wire::decode_request(&slot.frame).ok());
        request.is_some_and(|(_, request)| request.has("validate_only") && request.bool("validate_only"))
    }

    /// Whether a request that was refused as misrouted goes again. Not one about several groups of which some were
    /// answered: no one coordinator can answer all of them, and the client asks again for the rest.
    fn may_go_again(&self, number: u64, answer: &wire::Struct) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let op: &Operation = slot.op;
        let (mut codes, mut good) = (0, 0);
        for array in ["groups", "results", "transaction_states"] {
            if answer.has(array) {
                for entry in answer.structs(array).filter(|entry| entry.has("error_code")) {
                    codes += 1;
                    good += usize::from(op.absorbed(entry.i16("error_code")).is_none());
                }
            }
        }
        codes < 2 || good == 0
    }

    /// An answer that carries addresses and nothing else of interest.
    pub(super) fn on_addresses(&mut self, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (key, version, correlation) = (slot.op.key, slot.version, slot.correlation);
        let shown = wire::decode_response(key, version, frame).and_then(|(_, mut answer)| {
            self.count_errors(&answer);
            if let Some(message) = wire::response(key) {
                rewrite::addresses(message, version, &mut answer, &self.doors());
            }
            wire::encode_response(key, version, correlation, &answer)
        });
        self.release(number, now, None);
        // An answer that can't be read can't be freed of addresses: it must not pass.
        let answer =
            shown.map_or_else(|error| Answer::Close(format!("a broker's answer: {error}")), Answer::Frame);
        self.set_state(number, State::Done(answer));
    }

    /// The same of an answer that passes as it came, as far as it can be read.
    pub(super) fn count_errors_in(&self, key: i16, version: i16, frame: &Bytes) {
        if let Ok((_, answer)) = wire::decode_response(key, version, frame) {
            self.count_errors(&answer);
        }
    }

    /// Counts the errors of an answer that the client will see.
    pub(super) fn count_errors(&self, answer: &wire::Struct) {
        let metrics = &self.cluster.metrics;
        answer.visit_errors(&mut |code| {
            if code != 0 {
                metrics.client_errors.kafka(code).inc();
            }
        });
    }
}
