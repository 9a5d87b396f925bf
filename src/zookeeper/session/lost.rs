//! The server is lost: what was under way gets its verdict, and the session looks for another server.

use super::slot::{Reply, State};
use super::upstream::{Own, Who};
use super::{End, Moment, Phase, Session};
use crate::config::PersistentWatches;
use crate::metrics::zookeeper::{
    CloseReason, FenceOutcome, HoldTrigger, MoveKind, MoveOutcome, ReplayVerdict,
};
use crate::metrics::{HoldEnd, ReleaseOutcome};
use crate::net::compact;
use crate::retry::Verdict;
use crate::zookeeper::ensemble::{Wish, attach};
use crate::zookeeper::operations::Loss;
use crate::zookeeper::wire::opcode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that was lost sooner, with nothing answered on it, is a sign that servers end it for what they are sent.
const SHORT: Duration = Duration::from_secs(1);
/// So many of them one after another, all with something unanswered that may be the reason, and the client is left to itself, as it
/// would be without Evenkeel.
const MOST_UNLUCKY: u32 = 6;
/// So many servers are lost with the same request, however long each one had it, and the client is left to itself, too.
const MOST_LOSSES: u8 = 5;

impl Session {
    /// The connection to the server is of no more use.
    pub(super) fn on_lost(&mut self, reason: &str, at: Moment) {
        self.lost_with(reason, None, at);
    }

    /// The same. `refused`: what the server has refused to this connection, so that the next one is asked it again. It counts as what was
    /// lost with the server does, or there would be no end to it.
    pub(super) fn lost_with(&mut self, reason: &str, refused: Option<Who>, at: Moment) {
        let Some(upstream) = self.upstream.take() else { return };
        let left = upstream.place().at().clone();
        tracing::debug!(server = %left, reason, "session has lost its server");
        self.lease_lost();
        self.set_writes(0);
        self.ensemble.look_now();
        if self.most_losses() == 0 {
            self.lost_since = None; // what was lost before has been decided
        }
        let mut demanded = refused.is_some_and(Who::is_demanding);
        let mut undecided = refused.is_some_and(Who::is_about_lost);
        if let Some(Who::Slot(number)) = refused {
            self.refused_slot(number);
        }
        for (due, verdict) in upstream.give_up() {
            let is_sent = verdict != Verdict::NotSent;
            demanded |= is_sent && due.who.is_demanding();
            undecided |= is_sent && due.who.is_about_lost();
            match due.who {
                Who::Ping => self.answer_ping(at),
                Who::Slot(number) => self.lost_slot(number, verdict),
                Who::Own(Own::Fence) => self.ensemble.metrics.fences.inc(FenceOutcome::Lost),
                Who::Own(_) => {}
            }
        }
        let has_run_out = self.count_losses(undecided, at);
        self.phase = Phase::Reattaching;
        self.attaching = None;
        if self.ending.is_some() {
            return; // nothing more is asked of a server
        }
        if self.slots.back().is_some_and(|slot| slot.code == opcode::CLOSE_SESSION && slot.is_done()) {
            return; // it was answered
        }
        if self.ensemble.is_bypassed() {
            return self.close("bypass is on, and its server was lost");
        }
        if let Some(why) = self.unrepeatable {
            self.lease_close(CloseReason::Auth);
            return self.close(why);
        }
        if self.may_miss_events() {
            return self.close_for_watches();
        }
        if has_run_out {
            self.lease_close(CloseReason::LostRequests);
            return self.close(
                "one server after another was lost with the same request, or refused what would settle it",
            );
        }
        if at.now < self.attached_at + SHORT {
            self.short += 1;
            self.unlucky += u32::from(demanded);
        } else {
            (self.short, self.unlucky) = (0, 0);
        }
        if self.unlucky > MOST_UNLUCKY {
            self.lease_close(CloseReason::LostRequests);
            return self.close("one server after another ended its connection: perhaps for what it asks");
        }
        self.under_way = Some(MoveKind::Unplanned);
        self.hold_all(at);
        let Some(request) = self.reattach_request() else { return };
        // A first loss is nobody's fault; what goes on like this must not become a storm.
        let pause = if self.short < 2 { Duration::ZERO } else { SHORT / 32 * (1 << self.short.min(5)) };
        let pause = pause.mul_f64(rand::random_range(0.5..=1.0));
        let wish = Wish { request, avoid: Some(left), only_other: false, pause };
        self.attaching = Some(Box::pin(attach(Arc::clone(&self.ensemble), wish)));
    }

    /// Whether a request was lost so often that it is given up. `undecided`: what was asked about those whose outcome isn't known was
    /// lost or refused, too.
    fn count_losses(&mut self, undecided: bool, at: Moment) -> bool {
        if undecided {
            for slot in self.slots.iter_mut().filter(|slot| matches!(slot.state, State::Unknown)) {
                slot.losses = slot.losses.saturating_add(1);
            }
        }
        let most = self.most_losses();
        if most > 0 {
            self.lost_since.get_or_insert(at.now);
        }
        most >= MOST_LOSSES
    }

    /// Of the requests that are not decided.
    fn most_losses(&self) -> u8 {
        let waiting = self.slots.iter().filter(|slot| !slot.is_done());
        waiting.map(|slot| slot.losses).max().unwrap_or(0)
    }

    /// When a request that was lost is given up if nothing but pings is answered until then, as a library without Evenkeel would give up its
    /// server: attaches alone, which keep the lease, are no progress.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        let (since, lease) = (self.lost_since?, self.lease.as_ref()?);
        // Never before L3 where no server takes the session: what the ensemble gives beyond the client's clock is added there, too.
        Some(since + lease.granted().saturating_sub(lease.told() / 3))
    }

    /// A server has answered more than a ping.
    pub(super) fn progressed(&mut self, at: Moment) {
        self.lost_since = self.lost_since.map(|_| at.now);
    }

    /// Gives up what was lost for too long.
    pub(super) fn give_up_what_is_lost(&mut self, at: Moment) -> bool {
        if self.gives_up_at().is_none_or(|when| at.now < when) {
            return false;
        }
        self.lost_since = None;
        let is_there = self.most_losses() > 0;
        if is_there {
            self.lease_close(CloseReason::LostRequests);
            self.close("servers take its session, and answer nothing but pings since a request was lost");
        }
        is_there
    }

    /// Whether a gap between two servers hides events that the client must not miss without a word.
    pub(super) fn may_miss_events(&self) -> bool {
        self.watches.has_persistent()
            && self.ensemble.settings().zookeeper.persistent_watches == PersistentWatches::Close
    }

    /// There was such a gap: the client has to look anew.
    pub(super) fn close_for_watches(&mut self) {
        self.lease_close(CloseReason::PersistentWatches);
        self.close("it has persistent watches, whose events in between nobody can tell");
    }

    /// A request has lost its server: what becomes of it by its row.
    pub(super) fn lost_slot(&mut self, number: u64, verdict: Verdict) {
        let metrics = Arc::clone(&self.ensemble.metrics);
        let (answered, inherits) = (self.answered, self.inherits);
        let Some(slot) = self.slot_mut(number) else { return };
        if slot.is_done() {
            return;
        }
        slot.losses = slot.losses.saturating_add(u8::from(verdict != Verdict::NotSent));
        slot.state = match (verdict, slot.loss()) {
            (Verdict::NotSent, _) => {
                metrics.replays.inc(ReplayVerdict::NotSent);
                State::Waiting
            }
            (_, Loss::Replay | Loss::AfterWatches | Loss::Credentials) => {
                metrics.replays.inc(ReplayVerdict::Unknown);
                State::Waiting
            }
            (_, Loss::Handshake) => State::Done(Reply::Close(
                "its authentication was cut off".to_owned(),
                Some(CloseReason::Auth),
            )),
            (_, Loss::Verify(_) | Loss::Reattach | Loss::Never | Loss::Refused) => {
                (slot.z0, slot.inherits) = (answered, inherits);
                State::Unknown
            }
        };
    }

    /// Its server has refused it to this connection, and done nothing: it waits for another one.
    fn refused_slot(&mut self, number: u64) {
        self.lost_slot(number, Verdict::NotSent);
        if let Some(slot) = self.slot_mut(number) {
            slot.losses = slot.losses.saturating_add(1);
        }
    }

    /// Ends the client's connection as a server that is lost would.
    pub(super) fn close(&mut self, reason: impl Into<String>) {
        if self.ending.is_none() {
            self.ending = Some(End::Closed(reason.into()));
            self.end_move(MoveOutcome::Closed, None);
        }
    }

    /// Its way to another server, if it is on one, has ended so. `took`: how long it had none that it could send to.
    pub(super) fn end_move(&mut self, outcome: MoveOutcome, took: Option<Duration>) {
        if let Some(kind) = self.under_way.take() {
            self.ensemble.count_move(kind, outcome, took);
        }
    }

    /// The client's connection has ended so, perhaps on the way.
    pub(super) fn left_under_way(&mut self, end: &End) {
        match end {
            End::Drained | End::Word => {}
            End::Closed(_) => self.end_move(MoveOutcome::Closed, None),
            End::Client | End::Broken(_) | End::Rejected(_) | End::Late(_) => {
                self.end_move(MoveOutcome::ClientGone, None);
            }
        }
    }

    /// Everything that waits is held from now on.
    fn hold_all(&mut self, at: Moment) {
        for number in self.base..self.base + self.slots.len() as u64 {
            if self.slot_mut(number).is_some_and(|slot| !slot.is_done()) {
                self.hold(number, HoldTrigger::Disconnect, at);
            }
        }
    }

    /// A request begins to be held.
    pub(super) fn hold(&mut self, number: u64, trigger: HoldTrigger, at: Moment) {
        let ensemble = Arc::clone(&self.ensemble);
        let Some(slot) = self.slot_mut(number).filter(|slot| slot.ticket.is_none()) else { return };
        slot.ticket = Some(ensemble.ledger.hold(at.now));
        // What is kept for long must not keep the whole buffer that it was read into.
        slot.frame = compact(std::mem::take(&mut slot.frame));
        ensemble.metrics.hold_started.inc(trigger);
        ensemble.metrics.hold_requests.inc();
    }

    /// A held request was sent again, and is held no longer: its time with the server is the server's.
    pub(super) fn sent_again(&mut self, number: u64, at: Moment) {
        self.release(number, ReleaseOutcome::Answered, at);
    }

    /// A held request is decided, or under way.
    pub(super) fn release(&mut self, number: u64, outcome: ReleaseOutcome, at: Moment) {
        let Some(ticket) = self.slot_mut(number).and_then(|slot| slot.ticket.take()) else { return };
        let metrics = &self.ensemble.metrics;
        let waited = ticket.release(at.now);
        metrics.hold_requests.dec();
        metrics.hold_ended.inc(HoldEnd::Released);
        metrics.hold_released.inc(outcome);
        metrics.hold_seconds.observe(waited.as_secs_f64());
    }

    /// The connection is over: what is still held is cancelled (the ledger counts a ticket that is dropped so).
    pub(super) fn cancel_holds(&mut self) {
        let waiting = self.slots.iter_mut().filter_map(|slot| slot.ticket.take()).count();
        self.ensemble.metrics.hold_requests.sub(i64::try_from(waiting).unwrap_or(0));
        self.ensemble.metrics.hold_ended.get(HoldEnd::Cancelled).inc_by(waiting as u64);
    }
}
