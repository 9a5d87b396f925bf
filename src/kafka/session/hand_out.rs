//! Finished answers leave in the order of the requests that have any, and what their requests took is given back.

use super::slot::{Answer, Slot, State};
use super::{End, Session};
use crate::kafka::mistake::{Mistake, made};
use crate::net::recycle;
use std::time::Instant;

impl Session {
    /// Finished answers go to the client. Answers whether any did, or what was decided was put away.
    ///
    /// # Errors
    /// An answer that is none: the client's connection ends.
    pub(super) fn hand_out(&mut self, now: Instant) -> Result<bool, End> {
        let mut some = false;
        while let Some(Slot { state: State::Done(_), .. }) = self.slots.front() {
            self.release(self.base, now, None); // a ticket that is left ends here
            let Some(slot) = self.slots.pop_front() else { break };
            some = true;
            let has_gone = self.base < self.answered_to && !slot.silent;
            self.base += 1;
            self.held_bytes = self.held_bytes.saturating_sub(slot.charged);
            if !made(Mistake::BytesKept) {
                self.cluster.ledger.refund(slot.charged);
            }
            if slot.is_produce() {
                if slot.stamped {
                    self.injection
                        .decided_whole(slot.version, slot.frame.get(slot.body_at..).unwrap_or_default());
                }
                self.own.decided();
                if self.cluster.order.any_marked() {
                    self.cluster.wake_all();
                }
            }
            if !has_gone {
                self.note_decided(&slot, now);
            }
            self.on_answered(&slot);
            if let State::Done(answer) = slot.state {
                self.give(answer, now)?;
            }
            recycle(slot.frame);
        }
        if self.slots.front().is_some_and(|slot| slot.silent) {
            some |= self.pass_silent(now)?;
        }
        Ok(some)
    }

    /// Answers go past requests that have none: acks=0 that is undecided takes no place among them. The slots stay where they are.
    fn pass_silent(&mut self, now: Instant) -> Result<bool, End> {
        let mut some = false;
        self.answered_to = self.answered_to.max(self.base);
        while let Some(at) = self.at(self.answered_to) {
            let Some(slot) = self.slots.get(at) else { break };
            if !slot.silent {
                if !matches!(slot.state, State::Done(_)) {
                    break;
                }
                self.note_decided(slot, now);
                let done = State::Done(Answer::Nothing);
                let state = self.slots.get_mut(at).map(|slot| std::mem::replace(&mut slot.state, done));
                if let Some(State::Done(answer)) = state {
                    self.answered_to += 1;
                    self.give(answer, now)?;
                }
                some = true;
                continue;
            }
            self.answered_to += 1;
        }
        Ok(some)
    }

    /// What there is to say of a request that is decided.
    fn note_decided(&self, slot: &Slot, now: Instant) {
        let times = self.cluster.metrics.api(slot.op.key);
        let whole = now.saturating_duration_since(slot.arrived);
        times.requests.observe(whole.as_secs_f64());
        times.added.observe(whole.saturating_sub(slot.upstream).as_secs_f64());
        if !slot.is_produce() && slot.is_replayed() {
            self.unknown_settled(slot);
        }
    }

    /// An answer goes to the client, if that is there.
    fn give(&mut self, answer: Answer, now: Instant) -> Result<(), End> {
        if self.ended.is_some() {
            return Ok(());
        }
        let frame = match answer {
            Answer::Nothing => return Ok(()),
            Answer::Close(reason) => return Err(End::Closed(reason)),
            Answer::Leaders(frame, leaders) => {
                // Before the client can act on it: what is undecided for a partition that has moved comes first.
                self.cluster.order.tell(leaders, now);
                frame
            }
            Answer::Frame(frame) => frame,
        };
        self.out.push_frame([frame]).map_err(|error| End::Closed(error.to_string()))
    }
}
