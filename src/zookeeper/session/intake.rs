//! What the client sends: read, looked at, and given its place.

use super::slot::{Reply, Slot, State};
use super::upstream::Who;
use super::{End, LAST_WORDS, Moment, Phase, Session};
use crate::metrics::HoldEnd;
use crate::metrics::zookeeper::HoldTrigger;
use crate::net::Awaited;
use crate::zookeeper::lease::Frame;
use crate::zookeeper::operations::{Forward, Operation, UNKNOWN, Watches, operation};
use crate::zookeeper::quota;
use crate::zookeeper::tally::name_of;
use crate::zookeeper::wire::{
    Request, RequestHeader, build, errors, opcode, request_header, request_payload, xid,
};
use bytes::Bytes;
use std::fmt::Display;
use std::task::{Context, Poll};
use std::time::Duration;

/// No client waits for more answers to pings than this.
const MOST_OWED: usize = 16;

impl Session {
    /// (7) The client's next requests.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>, at: Moment) -> Result<bool, End> {
        let mut some = false;
        while self.eof.is_none() && self.asking.is_none() && self.ending.is_none() && self.takes_more() {
            match self.reader.poll_frame(cx, &mut self.client) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(frame))) => {
                    some = true;
                    if matches!(self.phase, Phase::Greeting) {
                        self.greet(&frame, at)?;
                    } else {
                        self.take_request(frame, at)?;
                    }
                }
                Poll::Ready(Ok(None)) => {
                    self.client_ended(at);
                    some = true;
                }
                Poll::Ready(Err(error)) => {
                    if matches!(self.phase, Phase::Greeting) {
                        if self.word(&error) {
                            return Ok(true);
                        }
                        return Err(End::Rejected(error.to_string()));
                    }
                    return Err(match error {
                        crate::net::FrameError::Io(error) => End::Broken(error),
                        crate::net::FrameError::Truncated { .. } => End::Client,
                        other => End::Rejected(other.to_string()),
                    });
                }
            }
        }
        Ok(some)
    }

    /// Learns of the client's end though its socket isn't read, while something is held for it: before a server gets what it doesn't
    /// ask for any more, and may have asked for on another connection by now. Answers how the session ends, if it does.
    pub(super) fn notice_the_end(&mut self, cx: &mut Context<'_>, at: Moment) -> Option<End> {
        let is_known = self.eof.is_some() || self.ending.is_some();
        if is_known || !self.is_holding() || !self.client.is_read_closed() {
            return None;
        }
        // What it had said before, as far as there is room for it: perhaps that its session is over.
        if let Err(end) = self.poll_client(cx, at) {
            return Some(end);
        }
        if self.eof.is_none() && self.ending.is_none() {
            self.client_ended(at);
        }
        (self.eof.is_some() && !self.has_last_words(at)).then_some(End::Client)
    }

    /// Whether that has to be looked at, since nobody else tells: a socket that isn't read wakes nobody.
    pub(super) fn looks_for_the_end(&self) -> bool {
        self.eof.is_none() && self.is_holding() && !self.takes_more()
    }

    fn is_holding(&self) -> bool {
        match self.phase {
            Phase::Greeting => false,
            Phase::Serving => {
                let next = self.position(self.next).and_then(|at| self.slots.get(at));
                next.is_some_and(|slot| slot.ticket.is_some())
            }
            _ => true,
        }
    }

    /// The client sends nothing more. What is held for it and was never sent, or would be sent again, is dropped; but not the end of
    /// its session.
    fn client_ended(&mut self, at: Moment) {
        self.eof = Some(at.now);
        if let Some(lease) = &mut self.lease {
            lease.client_gone();
        }
        for number in self.base..self.base + self.slots.len() as u64 {
            let Some(slot) = self.slot_mut(number) else { break };
            let waits = matches!(slot.state, State::Waiting) && slot.code != opcode::CLOSE_SESSION;
            if waits && slot.ticket.take().is_some() {
                slot.state = State::Done(Reply::Nothing);
                self.ensemble.metrics.hold_requests.dec();
                self.ensemble.metrics.hold_ended.inc(HoldEnd::Cancelled);
            }
        }
    }

    /// Whether what the client sent before it went is still to be written: what goes out at once, and the end of its session,
    /// for which a server may have to be found first.
    pub(super) fn has_last_words(&self, at: Moment) -> bool {
        if self.ending.is_some() || self.eof.is_none_or(|since| since + LAST_WORDS <= at.now) {
            return false;
        }
        let ends = |slot: &Slot| {
            slot.code == opcode::CLOSE_SESSION && matches!(slot.state, State::Waiting | State::Unknown)
        };
        match self.phase {
            Phase::Greeting | Phase::Opening(_) => false,
            Phase::Serving if self.upstream.as_ref().is_some_and(|upstream| !upstream.is_flushed()) => true,
            _ => self.slots.iter().any(ends),
        }
    }

    /// What the client is waited for: nothing while it waits for us. A session that says nothing has a time-out of its own.
    pub(super) fn awaited(&self, at: Moment) -> Option<Awaited> {
        if self.eof.is_some() || self.asking.is_some() {
            return None;
        }
        // An answer to a four-letter word that nobody takes is no more than silence.
        if matches!(self.phase, Phase::Greeting) {
            return Some(Awaited::FirstRequest);
        }
        if !self.out.is_empty() {
            return self.may_write(at).then(|| Awaited::Reading(self.out.written_total()));
        }
        let part = self.reader.buffered();
        (part > 0 && self.slots.is_empty() && !self.is_draining).then_some(Awaited::Frame(part))
    }

    /// Whether the client's socket is read. What is held has bounds; a full one stops the reading and drops nothing.
    pub(super) fn takes_more(&self) -> bool {
        // What holds nothing is within every bound: on a good day the settings are not looked at.
        let room = self.slots.is_empty()
            || self.ensemble.look_at_settings(|settings| {
                self.slots.len() < settings.hold.requests
                    && self.held_bytes < settings.hold.connection_bytes
                    && !self.ensemble.ledger.is_full()
            });
        room && !self.is_draining
            && !self.out.is_full()
            && self.upstream.as_ref().is_none_or(|upstream| !upstream.is_full())
    }

    fn take_request(&mut self, frame: Bytes, at: Moment) -> Result<(), End> {
        let header = request_header(&frame).map_err(|error| End::Rejected(error.to_string()))?;
        self.lease_client_heard(at);
        if header.opcode == opcode::PING {
            self.on_ping(frame, at);
            return Ok(());
        }
        if self.prove(header, &frame, at) {
            return Ok(());
        }
        let op = operation(header.opcode);
        let state = match op.map_or(UNKNOWN, |op| op.forward) {
            Forward::AsIs => State::Waiting,
            Forward::Checked => match Request::decode(header.opcode, request_payload(&frame)) {
                Ok(Request::Reconfig(change)) if self.sends_clients_here(&change) => {
                    self.refuse(header.xid, errors::BAD_ARGUMENTS)
                }
                Ok(request) => match quota::fault(&request) {
                    None => State::Waiting,
                    Some(fault) => self.refuse_poison(header, &fault, errors::BAD_ARGUMENTS),
                },
                Err(fault) => self.refuse_poison(header, &fault, errors::MARSHALLING_ERROR),
            },
            Forward::Refuse(code) => {
                self.ensemble.count_poison(header.opcode);
                self.refuse(header.xid, code)
            }
            Forward::RefuseAndClose(code) => {
                // As a server does with an operation that it doesn't know.
                let state = self.refuse(header.xid, code);
                self.take(header, op, frame, state, at);
                let reason = format!("it sent an operation that there is none of: {}", header.opcode);
                self.take(header, op, Bytes::new(), State::Done(Reply::Close(reason, None)), at);
                return Ok(());
            }
        };
        self.take(header, op, frame, state, at);
        Ok(())
    }

    /// A write that stops ensembles goes no further than here.
    fn refuse_poison(&self, header: RequestHeader, fault: &dyn Display, code: i32) -> State {
        let (operation, text) = (
            name_of(header.opcode),
            "a write that servers can't decode or apply is refused here: it would stop an ensemble",
        );
        if let Some(untold) = self.ensemble.may_warn() {
            tracing::warn!(operation, %fault, untold, "{text}");
        } else {
            tracing::debug!(operation, %fault, "{text}");
        }
        self.ensemble.count_poison(header.opcode);
        self.refuse(header.xid, code)
    }

    pub(super) fn refuse(&self, xid: i32, code: i32) -> State {
        self.ensemble.count_error(code);
        State::Done(Reply::Made(build::error_reply(xid, self.zxid, code)))
    }

    /// Gives a request its place. In the steady state it goes on at once.
    pub(super) fn take(
        &mut self,
        header: RequestHeader,
        op: Option<&'static Operation>,
        frame: Bytes,
        state: State,
        at: Moment,
    ) {
        let waits = matches!(state, State::Waiting);
        self.held_bytes += frame.len();
        self.ensemble.ledger.charge(frame.len());
        let number = self.base + self.slots.len() as u64;
        self.slots.push_back(Slot {
            op,
            code: header.opcode,
            xid: header.xid,
            frame,
            state,
            z0: 0,
            inherits: false,
            losses: 0,
            arrived: at.now,
            ticket: None,
            sent: at.now,
            upstream: Duration::ZERO,
            events: Vec::new(),
        });
        if waits && !matches!(self.phase, Phase::Serving) {
            self.hold(number, HoldTrigger::Order, at);
        }
        self.advance(at);
    }

    /// A request goes to the server.
    pub(super) fn send_slot(&mut self, number: u64, at: Moment) {
        let Some(upstream) = &mut self.upstream else { return };
        let Some(slot) = number
            .checked_sub(self.base)
            .and_then(|at| usize::try_from(at).ok())
            .and_then(|at| self.slots.get_mut(at))
        else {
            return;
        };
        slot.state = State::Sent;
        slot.sent = at.now;
        let (frame, lists) = (slot.lease_frame(), slot.op.is_some_and(|op| op.watches == Watches::Lists));
        upstream.forward(
            slot.frame.clone(),
            slot.xid,
            Who::Slot(number),
            slot.is_answered_at_once(),
            at.boot,
        );
        if lists {
            // Its events come before its answer.
            self.watches.answered(slot.code, slot.payload(), 0);
            self.count_watches();
        }
        self.lease_sent(at);
        if frame == Frame::Write {
            self.set_writes(self.writes + 1);
        }
        self.sent_again(number, at);
    }

    /// The client's ping: to the server, or answered here as long as the lease allows for that. In silence otherwise.
    fn on_ping(&mut self, frame: Bytes, at: Moment) {
        if let (Phase::Serving, Some(upstream)) = (&self.phase, &mut self.upstream) {
            // Its answer has this xid, whatever the request's (`FinalRequestProcessor`).
            upstream.forward(frame, xid::PING, Who::Ping, true, at.boot);
            self.lease_sent(at);
        } else {
            self.answer_ping(at);
        }
    }

    /// A ping that no server answers. L1: only while the ensemble can't have expired the session before the client has given it
    /// up. Not behind bytes that wait: what is read later would say more than is known.
    ///
    /// What can't be answered now is when it can: some libraries (kazoo) miss each one.
    pub(super) fn answer_ping(&mut self, at: Moment) {
        self.owed_pings = (self.owed_pings + 1).min(MOST_OWED);
        self.pay_pings(at);
    }

    /// Answers what pings could not be answered before.
    pub(super) fn pay_pings(&mut self, at: Moment) -> bool {
        if self.owed_pings == 0 || !self.out.is_empty() || !self.may_make_up(at) {
            return false;
        }
        for _ in 0..std::mem::take(&mut self.owed_pings) {
            self.ensemble.metrics.pings_answered.inc();
            self.out.push(build::ping_reply(self.zxid));
        }
        true
    }
}
