//! What the client sends: read, looked at, and given its place.

use super::slot::{Reply, Slot, State};
use super::upstream::Who;
use super::{End, Moment, Phase, Session};
use crate::metrics::zookeeper::HoldTrigger;
use crate::net::Awaited;
use crate::zookeeper::lease::Frame;
use crate::zookeeper::operations::{Forward, Operation, UNKNOWN, Watches, operation};
use crate::zookeeper::tally::name_of;
use crate::zookeeper::wire::{
    Request, RequestHeader, build, errors, opcode, request_header, request_payload, xid,
};
use bytes::Bytes;
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
                    self.eof = Some(at.now);
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
    fn takes_more(&self) -> bool {
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
                Ok(_) => State::Waiting,
                Err(fault) => {
                    let (operation, text) = (
                        name_of(header.opcode),
                        "a write that no server can decode is refused here: it would stop a 3.9 ensemble",
                    );
                    if let Some(untold) = self.ensemble.may_warn() {
                        tracing::warn!(operation, %fault, untold, "{text}");
                    } else {
                        tracing::debug!(operation, %fault, "{text}");
                    }
                    self.ensemble.count_poison(header.opcode);
                    self.refuse(header.xid, errors::MARSHALLING_ERROR)
                }
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
