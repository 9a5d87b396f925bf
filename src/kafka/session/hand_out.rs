//! Finished answers leave in the order of the requests, and what their requests took is given back.

use super::slot::{Answer, Slot, State};
use super::{End, Session};
use crate::kafka::mistake::{Mistake, made};
use crate::net::recycle;
use std::time::Instant;

impl Session {
    /// Finished answers go to the client. Answers whether any did.
    ///
    /// # Errors
    /// An answer that is none: the client's connection ends.
    pub(super) fn hand_out(&mut self, now: Instant) -> Result<bool, End> {
        let mut some = false;
        while let Some(Slot { state: State::Done(_), .. }) = self.slots.front() {
            self.release(self.base, now, None); // a ticket that is left ends here
            let Some(slot) = self.slots.pop_front() else { break };
            some = true;
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
            let times = self.cluster.metrics.api(slot.op.key);
            let whole = now.saturating_duration_since(slot.arrived);
            times.requests.observe(whole.as_secs_f64());
            times.added.observe(whole.saturating_sub(slot.upstream).as_secs_f64());
            if !slot.is_produce() && slot.is_replayed() {
                self.unknown_settled(&slot);
            }
            match slot.state {
                State::Done(Answer::Leaders(frame, leaders)) => {
                    // Before the client can act on it: what is undecided for a partition that has moved comes first.
                    self.cluster.order.tell(leaders, now);
                    let pushed = self.out.push_frame([frame]);
                    pushed.map_err(|error| End::Closed(error.to_string()))?;
                }
                State::Done(Answer::Frame(frame)) => {
                    let pushed = self.out.push_frame([frame]);
                    pushed.map_err(|error| End::Closed(error.to_string()))?;
                }
                State::Done(Answer::Close(reason)) => return Err(End::Closed(reason)),
                _ => {}
            }
            recycle(slot.frame);
        }
        Ok(some)
    }
}
