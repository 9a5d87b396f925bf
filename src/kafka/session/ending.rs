//! How a session ends. Where its client's connection ends first, however that was, what came with acks=0 is finished alone: nobody sends
//! it again, and nobody would hear that it was lost.

use super::Session;
use super::slot::{Answer, State};
use crate::kafka::split::{Item, Judgement, error_for};
use crate::kafka::wire;
use crate::metrics::HoldEnd;
use crate::net::{Late, Stream};
use std::task::Context;

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The client closed, and nothing of it is left.
    Client,
    /// The process drains, and all answers are out.
    Drained,
    /// The connection broke.
    Broken(std::io::Error),
    /// What the client sent is no Kafka request.
    Rejected(String),
    /// A request could not be answered truthfully; its connection is closed as its broker's was.
    Closed(String),
    /// The client did nothing for too long.
    Late(Late),
}

impl Session {
    /// Whether something is undecided that came with acks=0.
    pub(super) fn is_owed(&self) -> bool {
        self.slots.iter().any(|slot| slot.silent && !matches!(slot.state, State::Done(_)))
    }

    /// The client's connection ends so, now. Answers how the session does, unless something of acks=0 is to be finished first: then it goes
    /// on as for a client that has closed, and no answer goes anywhere.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, end: End) -> Option<End> {
        if self.ended.is_none() {
            // What was answered before goes out first, as far as the client takes it at once.
            let _ = self.out.poll_write(cx, &mut self.client);
        }
        let end = self.ended.take().unwrap_or(end);
        if !self.is_owed() {
            return Some(end);
        }
        tracing::debug!(client = %self.client_id, ?end, "a client's connection has ended, and what it sent with acks=0 is finished");
        self.out.clear();
        self.client = Stream::ended();
        (self.eof, self.ended) = (true, Some(end));
        None
    }
    /// The client is gone: what is held for it is not sent any more. It may already have sent it again elsewhere, or told
    /// somebody that it failed.
    pub(super) fn abandon_held(&mut self) {
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.slot(number).filter(|slot| slot.is_held() && !slot.silent) else {
                continue;
            };
            let (over, waits) = match &slot.state {
                State::Waiting => (true, true),
                State::Split(split) => (!split.is_out(), split.is_waiting()),
                State::Sent | State::Done(_) => (false, false),
            };
            if !waits {
                continue; // what is out of it is finished
            }
            self.unknown_abandoned(slot);
            self.abandon_sequences(number, over);
            if over {
                self.cancel(number);
                self.set_state(number, State::Done(Answer::Nothing));
            } else if let Some(State::Split(split)) = self.slot_mut(number).map(|slot| &mut slot.state) {
                let (shape, key) = (split.shape(), split.shape().key);
                let Some(message) = wire::response(key) else { continue };
                split.settle(&mut |item| Judgement::Done(error_for(shape, message, item.partition, -1)));
            }
        }
    }

    /// Batches that were stamped are not sent any more: those of acks=0 that came behind them are. `over`: nothing of their request is out.
    fn abandon_sequences(&mut self, number: u64, over: bool) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)).filter(|slot| slot.is_produce())
        else {
            return;
        };
        match &slot.state {
            State::Waiting if slot.stamped => {
                self.injection.end_whole(slot.version, slot.frame.get(slot.body_at..).unwrap_or_default());
            }
            State::Split(split) => {
                let ours = |item: &&Item| item.is_waiting() && (slot.stamped || item.counted);
                for item in split.items().iter().filter(ours) {
                    let records = item.request.bytes_field("records");
                    if item.doubt {
                        self.injection.give_up(&item.topic, item.partition, records);
                    } else {
                        self.injection.end(&item.topic, item.partition, records, item.restamp);
                    }
                }
                for item in split.items().iter().filter(|item| over && item.counted) {
                    self.injection.decided_item(&item.topic, item.partition);
                }
            }
            _ => {}
        }
    }

    /// A wait ends because nobody waits for it any more.
    fn cancel(&mut self, number: u64) {
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        let trouble = self.slot_mut(number).and_then(|slot| slot.trouble.as_deref_mut());
        if let Some(ticket) = trouble.and_then(|trouble| trouble.ticket.take()) {
            drop(ticket);
            metrics.hold_requests.dec();
            metrics.hold_ended.inc(HoldEnd::Cancelled);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.unknown_left();
        self.leave_identities();
        self.cluster.order.leave(&self.own);
        self.cluster.forget_waker(self.id);
        self.cluster.forget_producer(self.id);
        self.cluster.forget_client(self.id);
        self.cluster.ledger.refund(self.held_bytes);
        let waiting = self.slots.iter().filter_map(|slot| slot.trouble.as_ref()?.ticket.as_ref()).count();
        self.cluster.metrics.hold_requests.sub(i64::try_from(waiting).unwrap_or(0));
        self.cluster.metrics.hold_ended.get(HoldEnd::Cancelled).inc_by(waiting as u64);
        if self.cluster.order.any_marked() {
            self.cluster.wake_all();
        }
    }
}
