//! What the server says: answers to the client's requests, to our own, and events; and what is handed to the client.

use super::slot::{Reply, Slot, State};
use super::upstream::{Due, Event, Own, Who};
use super::{End, KEEP_SLOTS, Moment, Phase, Session};
use crate::config::HostPort;
use crate::metrics::ReleaseOutcome;
use crate::metrics::zookeeper::{CloseReason, FenceOutcome, WatchKind};
use crate::net::{Seldom, Stream};
use crate::zookeeper::config_node;
use crate::zookeeper::ensemble::Ensemble;
use crate::zookeeper::lease::Frame;
use crate::zookeeper::operations::Watches;
use crate::zookeeper::watches::LISTS;
use crate::zookeeper::wire::{
    Reconfig, ReplyHeader, WatchEvent, build, errors, is_before_first, opcode, reply_body, request_payload,
};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::time::Duration;

/// So many authentications of a client (`addauth`) are kept to be repeated, and so many bytes of them.
const AUTHS: usize = 64;
const AUTH_BYTES: usize = 64 * 1024;
/// Why only the client itself can repeat what it has done.
const TOO_MANY: &str =
    "it has authenticated by more identities (addauth) than are kept to be repeated: 64, or 64 KiB";
/// The lines about clients with too many of them.
static LINES: Seldom = Seldom::new(1, Duration::from_secs(1));
const BY_SASL: &str = "it has authenticated by SASL, which only the client itself can repeat";

/// What the lists of watches are called in the metrics.
const KINDS: [WatchKind; 5] = [
    WatchKind::Data,
    WatchKind::Exist,
    WatchKind::Child,
    WatchKind::Persistent,
    WatchKind::PersistentRecursive,
];

impl Session {
    /// Something came of the connection to the server.
    pub(super) fn on_event(&mut self, event: Event, at: Moment) {
        match event {
            Event::Answer(due, header, frame) => self.on_answer(due, header, frame, at),
            Event::Watch(header, frame) => self.on_watch(header, frame, at),
            Event::Lost(reason) => self.on_lost(&reason, at),
        }
    }

    fn on_answer(&mut self, due: Due, header: ReplyHeader, frame: Bytes, at: Moment) {
        if header.err == errors::SESSION_MOVED {
            // Another connection of this session was attached later than this one; the server closes this one next. It has refused
            // this request, and nothing else is known of it.
            if due.who == Who::Own(Own::Fence) {
                self.ensemble.metrics.fences.inc(FenceOutcome::Refused);
            }
            return self.lost_with("the session is on another server", Some(due.who), at);
        }
        self.lease_answered(&due, header.err);
        self.answered = self.answered.max(header.zxid);
        // A fence is progress only if it stands.
        if !matches!(due.who, Who::Ping | Who::Own(Own::Ping | Own::Fence)) {
            self.progressed(at);
        }
        if let Phase::Moving(moving) = &mut self.phase {
            moving.answered(header.zxid);
        }
        // A request that is no ping is answered to the client at once, too, unless it waits behind just such an answer of ours.
        self.server_speaks = matches!(due.who, Who::Ping | Who::Slot(_));
        match due.who {
            Who::Ping => {
                // It shows nothing of the tree, and no other server could take a session that has seen this much.
                if !is_before_first(header.zxid) {
                    self.shown(header.zxid);
                }
                self.push_frame(frame);
            }
            Who::Own(Own::Ping) if self.is_leaving() && !is_before_first(header.zxid) => {
                self.shown(header.zxid);
            }
            Who::Own(Own::Ping | Own::Sync | Own::First) => {}
            Who::Own(own) => self.on_own(own, header, &frame, at),
            Who::Slot(number) => self.on_slot(number, header, frame, at),
        }
    }

    /// The answer to a request of the client's.
    fn on_slot(&mut self, number: u64, header: ReplyHeader, frame: Bytes, at: Moment) {
        self.shown(header.zxid);
        self.release(number, ReleaseOutcome::Answered, at);
        let Some(slot) = self.position(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let code = slot.code;
        let (wrote, mut watched) = (slot.lease_frame() == Frame::Write, false);
        slot.upstream += at.now.saturating_duration_since(slot.sent);
        let known = |auth: &Bytes| request_payload(auth) == slot.payload();
        let is_new = code == opcode::AUTH
            && header.err == 0
            && self.unrepeatable.is_none()
            && !self.auths.iter().any(known);
        if is_new {
            // Kept on its own: the frame may be a slice of a large buffer.
            self.auths.push(Bytes::copy_from_slice(&slot.frame));
            if self.auths.len() > AUTHS || self.auths.iter().map(Bytes::len).sum::<usize>() > AUTH_BYTES {
                // They are not kept, then: its connection ends with its server's.
                (self.auths, self.unrepeatable) = (Vec::new(), Some(TOO_MANY));
                if let Some(untold) = LINES.may() {
                    let session = self.identity.as_ref().map_or(0, |identity| identity.session);
                    tracing::warn!(session = format_args!("{session:#x}"), untold, "{TOO_MANY}");
                }
            }
        }
        if code == opcode::SASL && self.unrepeatable.replace(BY_SASL) != Some(BY_SASL) {
            self.ensemble.count_passed_sasl();
        }
        if slot.op.is_some_and(|op| !matches!(op.watches, Watches::None | Watches::Lists)) {
            self.watches.answered(code, slot.payload(), header.err);
            watched = true;
        }
        if header.err != 0 {
            self.ensemble.count_error(header.err);
        }
        let frame = if header.err == 0 && config_node::is_asked_for(code, slot.payload()) {
            show_config(code, slot.payload(), &frame, &self.client, &self.ensemble).unwrap_or(frame)
        } else {
            frame
        };
        let (at_once, refused) =
            (slot.is_answered_at_once(), header.err == errors::SESSION_CLOSED_REQUIRE_SASL_AUTH);
        if watched {
            self.count_watches();
        }
        if wrote {
            // It is the first of this connection, if none was before, and so behind all of those before this one.
            self.inherits &= header.err != 0;
            self.set_writes(self.writes.saturating_sub(1));
        }
        let Some(slot) = self.position(number).and_then(|at| self.slots.get_mut(at)) else { return };
        if at_once {
            // Libraries know these by their xid; the server sent it before what came earlier.
            slot.state = State::Done(Reply::Nothing);
            self.push_frame(frame);
        } else {
            slot.state = State::Done(Reply::Frame(frame));
            (self.short, self.unlucky) = (0, 0);
        }
        if refused {
            // Its server ends the connection behind this answer, and so would the next one.
            self.hand_out(at);
            self.lease_close(CloseReason::Auth);
            self.close("its server serves nobody who isn't authenticated by SASL");
        }
    }

    /// A watch fired.
    fn on_watch(&mut self, header: ReplyHeader, frame: Bytes, at: Moment) {
        if let Phase::Moving(moving) = &mut self.phase
            && moving.keeps(header, &frame, &self.watches)
        {
            return self.gauge(at);
        }
        self.tell(frame);
    }

    /// An event goes to the client.
    pub(super) fn tell(&mut self, frame: Bytes) {
        let Ok(event) = WatchEvent::decode(&frame) else {
            return self.close("a server's watch event can't be read");
        };
        self.watches.fired(&event);
        self.told_since = self.watches.has_persistent();
        self.count_watches();
        // What the server answered before it may wait behind something of our own that may not go out yet.
        let waiting = self.slots.iter().take_while(|slot| slot.is_done()).count();
        match waiting.checked_sub(1).and_then(|last| self.slots.get_mut(last)) {
            Some(slot) => slot.events.push(frame),
            None => self.push_frame(frame),
        }
    }

    /// Keeps the gauges of watches true.
    pub(super) fn count_watches(&mut self) {
        let gauges = &self.ensemble.metrics.watches;
        for ((list, kind), counted) in LISTS.into_iter().zip(KINDS).zip(&mut self.counted) {
            let now = self.watches.count(list);
            let (more, less) = (now.saturating_sub(*counted), counted.saturating_sub(now));
            gauges.get(kind).add(i64::try_from(more).unwrap_or(0) - i64::try_from(less).unwrap_or(0));
            *counted = now;
        }
    }

    /// (6) Finished answers, in the order of the requests.
    pub(super) fn hand_out(&mut self, at: Moment) -> bool {
        let mut some = false;
        while self.slots.front().is_some_and(Slot::is_done) {
            if matches!(self.slots.front(), Some(Slot { state: State::Done(Reply::Made(_)), .. }))
                && !self.may_make_up(at)
                && !self.may_go_along(at)
            {
                break;
            }
            let Some(slot) = self.drop_first(at) else { break };
            some = true;
            self.observe(&slot, at);
            match slot.state {
                State::Done(Reply::Frame(frame)) => self.push_frame(frame),
                State::Done(Reply::Made(frame)) => self.out.push(build::not_before(&frame, self.zxid)),
                State::Done(Reply::Close(reason, counted)) => {
                    if let Some(why) = counted.filter(|_| self.ending.is_none()) {
                        self.lease_close(why);
                    }
                    self.close(reason);
                    // It gets no answer, so that nothing may come behind it: that would be taken for its answer.
                    self.cancel_holds();
                    while self.drop_last() {}
                }
                _ => {}
            }
            for event in slot.events {
                self.push_frame(event);
            }
            if slot.code == opcode::CLOSE_SESSION && self.ending.is_none() {
                self.ending = Some(End::Client);
            }
        }
        some
    }

    /// Whether an answer that was made here may go out with what the server says at this moment, to which L1 doesn't apply: a client
    /// that hears both at once believes no longer in its session than one that hears the server alone, as it would without
    /// Evenkeel. Where half a tick leaves nothing of L1, that is the only way for it but for a while after an attach; clients ping,
    /// so that it is open every T/3 at least.
    fn may_go_along(&self, at: Moment) -> bool {
        self.server_speaks && self.eof.is_none() && self.may_write(at)
    }

    /// Takes the first slot out of the queue and of the account of what is held.
    pub(super) fn drop_first(&mut self, at: Moment) -> Option<Slot> {
        // What was found out was not sent again, and is held until here.
        self.release(self.base, ReleaseOutcome::Answered, at);
        let slot = self.slots.pop_front()?;
        if self.slots.is_empty() && self.slots.capacity() > KEEP_SLOTS {
            self.slots = VecDeque::new(); // a crowd has passed: who is idle keeps nothing of it
        }
        self.base += 1;
        self.next = self.next.max(self.base);
        self.held_bytes = self.held_bytes.saturating_sub(slot.frame.len());
        self.ensemble.ledger.refund(slot.frame.len());
        Some(slot)
    }

    /// Takes the last slot out of both.
    pub(super) fn drop_last(&mut self) -> bool {
        let Some(slot) = self.slots.pop_back() else { return false };
        self.held_bytes = self.held_bytes.saturating_sub(slot.frame.len());
        self.ensemble.ledger.refund(slot.frame.len());
        true
    }

    fn observe(&self, slot: &Slot, at: Moment) {
        self.ensemble.count_request(slot.code, at.now.saturating_duration_since(slot.arrived), slot.upstream);
    }

    /// The client is shown this zxid, in a server's answer.
    pub(super) fn shown(&mut self, zxid: i64) {
        self.zxid = self.zxid.max(zxid);
        self.told = self.told.max(zxid);
        // An answer to an authentication has none.
        self.told_since &= zxid <= 0;
    }

    /// Queues a frame that came without its length.
    pub(super) fn push_frame(&mut self, frame: Bytes) {
        // It came in a frame, so that it fits one.
        let _ = self.out.push_frame([frame]);
    }
}

/// Where this client is shown every server to be.
fn shown_at(client: &Stream, ensemble: &Ensemble) -> Option<HostPort> {
    let own = client.local_addr()?;
    let host = ensemble.settings().zookeeper.advertise.clone().unwrap_or_else(|| own.ip().to_string());
    Some(HostPort { host, port: own.port() })
}

impl Session {
    /// Whether a change of the members is refused, since it names this address as a server's.
    pub(super) fn sends_clients_here(&self, change: &Reconfig<'_>) -> bool {
        let at = shown_at(&self.client, &self.ensemble);
        let Some(here) = at.filter(|here| config_node::sends_clients_to(change, here)) else { return false };
        let text = "a reconfig is refused: it gives this sidecar's address, which stands in answers with /zookeeper/config, as a \
                    server's for its clients; name the servers' own, or reconfigure at a server itself";
        if let Some(untold) = self.ensemble.may_warn() {
            tracing::warn!(%here, untold, "{text}");
        } else {
            tracing::debug!(%here, "{text}");
        }
        true
    }
}

/// An answer with the ensemble's list of servers, as if each of them were here.
fn show_config(
    code: i32,
    asked: &[u8],
    frame: &Bytes,
    client: &Stream,
    ensemble: &Ensemble,
) -> Option<Bytes> {
    let body = config_node::shown(code, asked, reply_body(frame), &shown_at(client, ensemble)?)?;
    let mut shown = BytesMut::from(frame.get(..frame.len() - reply_body(frame).len())?);
    shown.extend_from_slice(&body);
    Some(shown.freeze())
}
