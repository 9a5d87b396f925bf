//! Reading the client's socket: as long as what is held for it stays within its bounds, and only frames.

use super::link::Link;
use super::slot::{Slot, State};
use super::{End, Session};
use crate::metrics::FrameRejection;
use crate::net::{Awaited, FrameError};
use crate::time::now;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

impl Session {
    /// (4) The client's next requests, as long as what is held for it stays within its bounds.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        let (mut some, mut is_read) = (false, false);
        self.notice_the_end();
        self.look_at_question();
        while !self.eof && !self.is_draining && self.has_room() {
            match self.reader.poll_frame_mut(cx, &mut self.client) {
                Poll::Pending => {
                    is_read = true;
                    break;
                }
                Poll::Ready(Ok(Some(frame))) => {
                    some = true;
                    self.take(frame, now).map_err(|why| self.reject(why))?;
                    self.look_at_question();
                }
                Poll::Ready(Ok(None)) => {
                    some = true;
                    self.eof = true;
                }
                Poll::Ready(Err(error)) => return Err(self.frame_error(error)),
            }
        }
        self.answer_question(is_read);
        Ok(some)
    }

    /// A client that has closed its connection while it isn't read is not waited with until it is read again: it may have
    /// sent what is held for it elsewhere by now. What it had sent besides, unread, goes with it: it came after that.
    fn notice_the_end(&mut self) {
        let holds = |slot: &Slot| slot.is_held() && !slot.silent;
        if !self.eof
            && self.unsettled > 0
            && self.slots.iter().any(holds)
            && !self.has_room()
            && self.client.is_read_closed()
        {
            self.eof = true;
        }
    }

    /// Backpressure: a full budget stops reading the client's socket. One request is always let in.
    pub(super) fn has_room(&mut self) -> bool {
        if self.lost.is_some() || self.must_finish() {
            return false;
        }
        if self.slots.is_empty() {
            return true;
        }
        if let Some(number) = self.paced {
            // Once it is held there is more the matter than a full pipeline, and so there is when another connection of the
            // client's asks what lies unread here: it is read then, within the bounds of what is held.
            let waits = self.slot(number);
            let is_paced = waits.is_some_and(|slot| matches!(slot.state, State::Waiting) && !slot.is_held());
            if is_paced && self.question.is_none() {
                return false;
            }
            self.paced = None;
        }
        let settings = self.cluster.settings();
        if self.cluster.ledger.is_full() {
            // Others' bytes: nobody wakes this session when they are freed.
            self.wake_before(now() + Duration::from_millis(20));
            return false;
        }
        self.slots.len() < settings.hold.requests
            && self.held_bytes < settings.hold.connection_bytes
            && !self.out.is_full()
            && !self.links.iter().any(Link::is_full)
    }

    /// What the client is waited for: nothing while it waits for us.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        let nothing_yet = self.base == 0 && self.slots.is_empty();
        // Who has to show who it is, and doesn't, is nobody yet, whatever else it asks.
        if nothing_yet || self.must_show() && (self.slots.is_empty() || !self.out.is_empty()) {
            return Some(Awaited::FirstRequest);
        }
        if !self.out.is_empty() {
            return Some(Awaited::Reading(self.out.written_total()));
        }
        let all_answered = self.slots.is_empty() && !self.eof;
        all_answered.then(|| match self.reader.buffered() {
            0 => Awaited::Request(self.base),
            part => Awaited::Frame(part),
        })
    }

    fn frame_error(&self, error: FrameError) -> End {
        let (rejection, hint) = match error {
            FrameError::Io(error) => return End::Broken(error),
            FrameError::Truncated { .. } => (FrameRejection::Truncated, ""),
            FrameError::TooLarge { .. } | FrameError::Negative { .. } => (
                FrameRejection::TooLarge,
                "; a Kafka client's first bytes are a small length (is this HTTP or TLS?)",
            ),
        };
        self.cluster.metrics.frames_rejected.inc(rejection);
        End::Rejected(format!("{error}{hint}"))
    }

    fn reject(&self, why: String) -> End {
        self.cluster.metrics.frames_rejected.inc(FrameRejection::Malformed);
        End::Rejected(why)
    }
}
