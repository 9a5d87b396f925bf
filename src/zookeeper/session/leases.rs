//! The lease at work: what the session tells it, and what it says must be done. The rules are in `lease`.

use super::slot::{Slot, State};
use super::upstream::{Due, Own, Upstream, Who};
use super::{Moment, Phase, Session};
use crate::config::LeaseMode;
use crate::metrics::zookeeper::{CloseReason, MoveOutcome};
use crate::time::{Boot, boot};
use crate::zookeeper::lease::{self, Frame, Grant, Lease, Reattach, Rules};
use crate::zookeeper::operations::Kind;
use crate::zookeeper::wire::{build, errors, xid};
use std::time::Duration;

/// The shortest silence for which a server is given up.
const SILENCE: Duration = Duration::from_millis(500);

/// Between two looks at what is due at least.
const NO_SOONER: Duration = Duration::from_millis(5);

/// The xid of our own `sync`, and of what else is asked on a connection that answers in order.
pub(super) const OWN_XID: i32 = -1000;

impl Session {
    /// The session is granted, or resumed by its client.
    pub(super) fn start_lease(&mut self, sent: Boot, grant: Grant, told: Duration, at: Moment) {
        let zookeeper = &self.ensemble.settings().zookeeper;
        let rules = Rules {
            tick: zookeeper.tick_time,
            mode: match zookeeper.lease {
                LeaseMode::Direct => lease::Mode::Direct,
                LeaseMode::Strict => lease::Mode::Strict,
            },
            pace: None,
        };
        let lease = Lease::new(rules, told, grant, sent, at.boot);
        if !lease.has_room()
            && let Some(untold) = self.ensemble.may_warn()
        {
            tracing::warn!(
                untold,
                timeout_ms = told.as_millis(),
                tick_time_ms = zookeeper.tick_time.as_millis(),
                "a session's time-out is so short that the ensemble can't be spoken for while a server is away: is tick_time the servers' own?"
            );
        }
        self.lease = Some(lease);
    }

    /// (4) Closes what must be closed, and keeps the session alive as long as its client lives.
    pub(super) fn keep_lease(&mut self, at: Moment) -> bool {
        if let Phase::Opening(until) = self.phase
            && until <= at.now
        {
            self.close("no server took the session in time");
            return true;
        }
        let asks_another = matches!(&self.phase, Phase::Moving(moving) if moving.is_attaching());
        let Some(lease) = &mut self.lease else { return false };
        // An old leader takes any request for a reason to close.
        lease.mute(asks_another);
        lease.unanswered(self.upstream.as_ref().map_or(0, Upstream::own_frames));
        if lease.must_end_session(at.boot) {
            return self.end_session(at);
        }
        if lease.must_close(at.boot) {
            self.lease_close(CloseReason::LeaseOver);
            self.end_move(MoveOutcome::LeaseOver, None);
            self.close("its server is lost, and no client may believe in its session for longer");
            return true;
        }
        if self.is_lost_by_silent(at) {
            self.lease_close(CloseReason::SilentClient);
            self.close("its server is lost, and its client was silent for its whole time-out");
            return true;
        }
        if self.give_up_what_is_lost(at) {
            return true;
        }
        if self.silent_at().is_some_and(|when| when <= at.boot) {
            self.on_lost("the server has stopped answering", at);
            return true;
        }
        let Some(lease) = &self.lease else { return false };
        match (lease.own_frame(at.boot), &self.phase, &mut self.upstream) {
            (Some(own), phase, Some(upstream)) if phase.is_kept_alive() => {
                let metrics = &self.ensemble.metrics;
                let (frame, xid, own, count) = match own {
                    lease::Own::Ping => (build::ping(), xid::PING, Own::Ping, &metrics.own_pings),
                    lease::Own::Sync => (build::sync(OWN_XID, b"/"), OWN_XID, Own::Sync, &metrics.own_syncs),
                };
                upstream.ask(frame, xid, own, at.boot);
                count.inc();
                if let Some(lease) = &mut self.lease {
                    lease.own_sent(at.boot);
                }
                true
            }
            _ => false,
        }
    }

    /// When a server that doesn't answer is given up: one that is stopped or cut off closes nothing. What counts is the oldest
    /// unanswered request. A ping that nothing stands before it answers at once; a write or a sync takes as long as its quorum
    /// does, and what stands behind it, too: a direct client would wait for 2T/3. Nor is a server silent that has just answered
    /// something else, however long this has been waiting.
    fn silent_at(&self) -> Option<Boot> {
        if !matches!(self.phase, Phase::Serving | Phase::Settling(_)) {
            return None;
        }
        let told = self.lease.as_ref()?.told();
        let owed = self.upstream.as_ref()?.owed()?;
        let heard = owed.heard.max(owed.sent) + (told / 6).max(SILENCE);
        Some(if owed.alone { heard } else { heard.max(owed.sent + (told / 3).max(SILENCE)) })
    }

    /// Whether another server is looked for, though nothing has come from the client for so long that it is none of its doing any more
    /// (L6). What isn't read may have come.
    fn is_lost_by_silent(&self, at: Moment) -> bool {
        let may_attach = self.lease.as_ref().is_none_or(|lease| lease.may_attach(at.boot));
        !may_attach && matches!(self.phase, Phase::Reattaching) && self.eof.is_none() && self.takes_more()
    }

    /// The client was silent for its whole time-out, and the ensemble would wait for longer: it is told.
    fn end_session(&mut self, at: Moment) -> bool {
        if self.eof.is_some() {
            return false; // it is on its way
        }
        let reason = "its client was silent for longer than its time-out";
        self.lease_close(CloseReason::SilentClient);
        if let (Phase::Serving, Some(upstream)) = (&self.phase, &mut self.upstream) {
            upstream.ask(build::close_session(OWN_XID), OWN_XID, Own::Sync, at.boot);
            tracing::warn!(reason, "session is ended");
            // As if the client had gone with these words.
            self.eof = Some(at.now);
        } else {
            self.close(reason);
        }
        true
    }

    /// A request of the client's goes to the server.
    pub(super) fn lease_sent(&mut self, at: Moment) {
        if let Some(lease) = &mut self.lease {
            lease.client_sent(at.boot);
        }
    }

    /// Something is answered, with this error or none.
    pub(super) fn lease_answered(&mut self, due: &Due, err: i32) {
        let frame = match err {
            errors::OK => self.kind_of(due),
            errors::SESSION_EXPIRED => return, // the opposite of a proof
            // A server may have refused it all by itself: it is not authenticated, throttled (3.6), can't be read.
            _ => Frame::Request,
        };
        if let Some(lease) = &mut self.lease {
            // Not when this round began: in a freeze since then its server may have taken it.
            lease.answered(frame, due.sent, boot());
        }
    }

    pub(super) fn lease_lost(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.lost();
        }
    }

    pub(super) fn lease_client_heard(&mut self, at: Moment) {
        if let Some(lease) = &mut self.lease {
            lease.heard(at.boot);
        }
    }

    /// What a reattach came to.
    pub(super) fn lease_reattached(&mut self, grant: Grant, sent: Boot, at: Moment) -> Reattach {
        match &mut self.lease {
            Some(lease) => lease.reattached(grant, sent, at.boot),
            None => Reattach::Expired,
        }
    }

    /// Whether bytes that are made here may go to the client (L1). That there is a connection to a server proves nothing by
    /// itself: it may be silent already.
    pub(super) fn may_make_up(&self, at: Moment) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.may_make_up(at.boot))
    }

    /// Whether what is queued for the client may go out.
    pub(super) fn may_write(&self, at: Moment) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.may_pass(at.boot))
    }

    pub(super) fn lease_close(&self, reason: CloseReason) {
        self.ensemble.count_close(reason);
    }

    /// When this session has to look again though nothing happens.
    pub(super) fn plan_wakes(&mut self, at: Moment) {
        if let Phase::Opening(until) = self.phase {
            self.wake_before(until);
        }
        let times = match &self.lease {
            // Nothing is done any more but to hand out the last answer.
            Some(lease) if self.ending.is_some() => [Some(lease.closes_at()), None],
            lease => [lease.as_ref().map(Lease::deadline), self.silent_at()],
        };
        if let Some(first) = times.into_iter().flatten().min() {
            // What is due and can't be done now (no frame of ours goes out while another server is asked) is no reason to spin.
            self.wake_before(at.now + first.since(at.boot).max(NO_SOONER));
        }
        for when in [self.move_wake(), self.gives_up_at()].into_iter().flatten() {
            self.wake_before(when);
        }
    }

    fn kind_of(&self, due: &Due) -> Frame {
        match due.who {
            Who::Ping | Who::Own(Own::Ping) => Frame::Ping,
            Who::Own(Own::Sync) => Frame::Sync,
            Who::Own(Own::Fence | Own::First) => Frame::Write,
            Who::Own(_) => Frame::Request,
            Who::Slot(number) => {
                let slot = self.position(number).and_then(|at| self.slots.get(at));
                debug_assert!(slot.is_none_or(|slot| matches!(slot.state, State::Sent)));
                slot.map_or(Frame::Request, Slot::lease_frame)
            }
        }
    }
}

impl Phase {
    /// Whether frames of our own go to the server in it. While another one is asked they don't: an old leader takes any request
    /// for a reason to close.
    fn is_kept_alive(&self) -> bool {
        match self {
            Self::Serving | Self::Settling(_) => true,
            Self::Moving(moving) => !moving.is_attaching(),
            Self::Greeting | Self::Opening(_) | Self::Reattaching => false,
        }
    }
}

impl Slot {
    /// What it is to the lease.
    pub(super) fn lease_frame(&self) -> Frame {
        match self.op.map(|op| op.kind) {
            Some(Kind::Sync) => Frame::Sync,
            Some(Kind::Write) => Frame::Write,
            _ => Frame::Request,
        }
    }
}
