//! A planned move, make before break: the session is on the new server before the old one is let go, and no event is lost.
//!
//! When it is its turn, new requests are held; what is under way is answered; the session attaches elsewhere and sets its watches;
//! the old connection is drained until it has told everything that happened before they were set; it is closed, and what is held
//! goes on. How it is drained decides whether events are lost (seen on 3.8.7 and 3.9.6, 90 moves under writes): closed at once 1 to 2 % of
//! them were; pinged until its answers have caught up with the answer to the watches, none. An old leader takes any request for
//! a reason to close, a ping too. So it is listened to, and asked on another connection how far it has come (`srvr`): when it has
//! applied what the new one has, a ping ends the old connection, and the end comes behind everything that was to be told
//! (`NIOServerCnxn` queues it there). One that doesn't say how far it is, is listened to for a while.
//!
//! The old server may have been ahead of the new one, too: what it told would be told again, and a read behind an event would show
//! what was before it. So the new one catches up with the leader (`sync`), unless the old one is known to have told nothing that the
//! new one did not have. And before the new one is asked, if a persistent watch was told something since the last answer, a ping to
//! the old one finds out how far that was: no server that hasn't come so far takes the session then, and tells it again.

use super::leases::OWN_XID;
use super::upstream::{Event, Own, Upstream, Who};
use super::{Moment, Phase, Session};
use crate::config::HostPort;
use crate::metrics::zookeeper::{CloseReason, MoveKind, MoveOutcome};
use crate::net::PREFIX;
use crate::zookeeper::ensemble::{self, Attached, Wish, attach, has_reached};
use crate::zookeeper::lease::{Grant, Lease, Reattach};
use crate::zookeeper::watches::Overlap;
use crate::zookeeper::wire::{
    ConnectResponse, ReplyHeader, build, is_before_first, opcode, request_header, xid,
};
use crate::zookeeper::words::Mode;
use bytes::Bytes;
use std::cmp::Ordering;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What is under way must be answered, and another server found, within this; else the session stays and tries again later.
const BOUND: Duration = Duration::from_secs(1);
/// How long an old leader is listened to that doesn't say how far it has come.
const LISTEN: Duration = Duration::from_millis(50);
/// How long an old server may take to catch up, as far as it says how far it is.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Between pings to an old follower that has not caught up.
const AGAIN: Duration = Duration::from_millis(2);
/// Before another try, at least; twice that at most.
const LATER: Duration = Duration::from_secs(1);

/// The turn of a move, waited for.
pub(super) type Turn = Pin<Box<dyn Future<Output = Option<ensemble::Turn>> + Send>>;

/// Whether an old leader has come far enough, asked.
type Asked = Pin<Box<dyn Future<Output = bool> + Send>>;

/// How far a move has come.
enum Step {
    /// What is under way is to be answered; then, if need be, so much is asked of the old server, one after the other.
    Quiet { told_since: bool, ask: &'static [Own] },
    /// Another server is asked.
    Attaching,
    /// The new server has the session and is setting its watches: so many answers are due, and so many of those to requests with
    /// one-shot watches.
    Watching { old: Box<Upstream>, due: usize, ones: usize, newest: i64 },
    /// The old connection is drained until it has reached this zxid; from a moment on, if it may lead, its end is as good.
    Draining {
        old: Box<Upstream>,
        until: i64,
        ping_at: Option<Instant>,
        enough: Option<Instant>,
        asked: Option<Asked>,
    },
    /// The old connection is gone, and may have told what the new server has yet to learn.
    CatchingUp,
}

/// A planned move.
pub(super) struct Move {
    step: Step,
    started: Instant,
    /// When this step must be over.
    deadline: Instant,
    /// What both connections have told.
    overlap: Overlap,
    /// All watches were set in one request, so that what is known of the new server is of one moment.
    at_once: bool,
    /// The server that is left.
    left: HostPort,
    /// Its turn; the next one's when it is over.
    turn: ensemble::Turn,
}

impl Move {
    /// Whether another server is being asked.
    pub(super) fn is_attaching(&self) -> bool {
        matches!(self.step, Step::Attaching)
    }

    /// Whether the old server is still the one that counts.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.step, Step::Quiet { .. })
    }

    /// An event of the server that counts. The new one's waits until the old one has told everything. Answers whether it does.
    pub(super) fn keeps(&mut self, header: ReplyHeader, frame: &Bytes) -> bool {
        match self.step {
            Step::Watching { ones: 1.., .. } => self.overlap.again(header.zxid, frame.clone()),
            Step::Watching { .. } | Step::Draining { .. } | Step::CatchingUp => {
                self.overlap.newer(header.zxid, frame.clone());
            }
            Step::Quiet { .. } | Step::Attaching => {
                // The old server's: the new one may not have it yet, and will tell it.
                self.overlap.older(header.zxid, frame);
                return false;
            }
        }
        true
    }
}

impl Session {
    /// News of servers: one that is drained, or listed no more, is left.
    pub(super) fn follow_servers(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        let news = self.ensemble.news();
        if self.heard != Some(news) {
            // First the waker, then the look: what changes in between wakes.
            self.ensemble.wake_on_news(self.id, cx.waker());
            self.heard = Some(news);
            self.unlooked = true;
        }
        if self.not_before.take_if(|when| *when <= at.now).is_some() {
            self.unlooked = true;
        }
        if let Some(turn) = &mut self.turn {
            let Poll::Ready(turn) = turn.as_mut().poll(cx) else { return false };
            self.turn = None;
            return turn.is_some_and(|turn| self.begin_move(turn, at));
        }
        if !self.unlooked || self.not_before.is_some() {
            return false; // on a good day no lock is taken here
        }
        let (Phase::Serving, Some(upstream)) = (&self.phase, &self.upstream) else { return false };
        self.unlooked = false;
        if !self.ensemble.is_left(upstream.place().at()) {
            return false;
        }
        if self.sasl {
            return false; // it can't be authenticated elsewhere
        }
        self.turn = Some(Box::pin(Arc::clone(&self.ensemble).turn_to_move()));
        true
    }

    /// Whether a move has begun, and no other server been asked.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(&self.phase, Phase::Moving(moving) if moving.is_quiet())
    }

    /// It is this session's turn, unless things have changed meanwhile.
    fn begin_move(&mut self, turn: ensemble::Turn, at: Moment) -> bool {
        self.unlooked = true;
        let (Phase::Serving, Some(upstream)) = (&self.phase, &self.upstream) else { return false };
        if !self.ensemble.is_left(upstream.place().at()) || self.sasl {
            return true;
        }
        self.unlooked = false;
        let left = upstream.place().at().clone();
        self.phase = Phase::Moving(Box::new(Move {
            left,
            step: Step::Quiet { told_since: self.told_since, ask: &[Own::Ping, Own::First] },
            started: at.now,
            deadline: at.now + BOUND,
            overlap: Overlap::default(),
            at_once: false,
            turn,
        }));
        true
    }

    /// The move goes on.
    pub(super) fn poll_move(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        let Phase::Moving(moving) = &mut self.phase else { return false };
        match &mut moving.step {
            Step::Quiet { told_since, ask } => {
                let Some(upstream) = self.upstream.as_mut().filter(|upstream| upstream.is_idle()) else {
                    return self.give_up_if_late(at);
                };
                // What is told from here on is told again, and known for what it is.
                if std::mem::take(told_since) && self.told_since {
                    upstream.ask(build::ping(), xid::PING, Own::Ping, at.boot);
                    return true;
                }
                // Nobody else would take it yet. A ping may show that there has been a transaction meanwhile, else one is made.
                if is_before_first(self.zxid)
                    && self.answered <= self.zxid
                    && let Some((own, rest)) = ask.split_first()
                {
                    *ask = rest;
                    let (frame, xid) = match own {
                        Own::Ping => (build::ping(), xid::PING),
                        _ => (build::fence(OWN_XID), OWN_XID),
                    };
                    upstream.ask(frame, xid, *own, at.boot);
                    return true;
                }
                let left = upstream.place().at().clone();
                moving.step = Step::Attaching;
                let Some(request) = self.reattach_request() else { return false };
                let wish = Wish { request, avoid: Some(left), only_other: true, pause: Duration::ZERO };
                self.attaching = Some(Box::pin(attach(Arc::clone(&self.ensemble), wish)));
                true
            }
            Step::Attaching => self.give_up_if_late(at),
            Step::Watching { .. } | Step::Draining { .. } => self.poll_old(cx, at),
            Step::CatchingUp if at.now < moving.deadline => false,
            Step::CatchingUp => {
                self.on_lost("the new server does not catch up", at);
                true
            }
        }
    }

    /// It takes too long: the session stays where it is, for now.
    fn give_up_if_late(&mut self, at: Moment) -> bool {
        let Phase::Moving(moving) = &self.phase else { return false };
        if at.now < moving.deadline {
            return false;
        }
        self.attaching = None;
        self.phase = Phase::Serving;
        self.next = self.base;
        let jitter: f64 = rand::random();
        self.not_before = Some(at.now + LATER.mul_f64(1.0 + jitter));
        self.ensemble.count_move(MoveKind::Planned, MoveOutcome::Stayed, None);
        true
    }

    /// The new server answered.
    pub(super) fn moved(&mut self, attached: Attached, response: &ConnectResponse, at: Moment) {
        let timeout = Duration::from_millis(u64::try_from(response.timeout).unwrap_or(0));
        let grant = Grant { session: response.session, timeout };
        let (mut new, _, sent) = Upstream::new(attached, self.ensemble.settings().net.write_queue);
        match self.lease_reattached(grant, sent, at) {
            Reattach::Held => {}
            Reattach::Expired => return self.gone(at),
            Reattach::Shorter => return self.refuse_grant(CloseReason::TimeoutShortened),
            Reattach::Another => return self.refuse_grant(CloseReason::OtherSession),
        }
        let Some(old) = self.upstream.take() else { return };
        let (due, ones) = self.restore(&mut new, at);
        self.upstream = Some(new);
        let told = self.lease.as_ref().map_or(Duration::ZERO, Lease::told);
        let Phase::Moving(moving) = &mut self.phase else { return };
        // As long as a server may take for what follows an attach: many watches take a while.
        moving.deadline = at.now + BOUND.max(told / 3);
        moving.at_once = due <= 1;
        moving.step = Step::Watching { old: Box::new(old), due, ones, newest: 0 };
        if due == 0 {
            self.catch_up(at);
        }
    }

    /// Authentications and watches, again, on a new connection. Answers how many answers about watches are due, and of those how
    /// many until all one-shot ones are set: they come first, and the request in which persistent ones begin may have both.
    pub(super) fn restore(&self, upstream: &mut Upstream, at: Moment) -> (usize, usize) {
        self.authenticate(upstream, at);
        let frames = self.watches.rearm(self.told);
        let due = frames.len();
        let has_persistent = |frame: &Bytes| {
            frame
                .get(PREFIX..)
                .and_then(|frame| request_header(frame).ok())
                .is_some_and(|header| header.opcode == opcode::SET_WATCHES2)
        };
        let ones = frames.iter().position(has_persistent).map_or(due, |at| at + 1);
        for frame in frames {
            upstream.ask(frame, xid::SET_WATCHES, Own::Watches, at.boot);
        }
        (due, ones)
    }

    /// The client's authentications, again.
    pub(super) fn authenticate(&self, upstream: &mut Upstream, at: Moment) {
        for frame in &self.auths {
            let number = frame.first_chunk::<4>().map_or(xid::AUTH, |bytes| i32::from_be_bytes(*bytes));
            upstream.ask(build::framed(frame), number, Own::Auth, at.boot);
        }
    }

    /// The new server has set a chunk of the watches.
    pub(super) fn watches_moved(&mut self, header: ReplyHeader, at: Moment) {
        let Phase::Moving(moving) = &mut self.phase else { return };
        let step = std::mem::replace(&mut moving.step, Step::Attaching);
        let Step::Watching { mut old, due, ones, newest } = step else {
            moving.step = step;
            return;
        };
        let newest = newest.max(header.zxid);
        if due > 1 {
            moving.step = Step::Watching { old, due: due - 1, ones: ones.saturating_sub(1), newest };
            return;
        }
        let mode = self.ensemble.read(|servers| servers.get(old.place().at()).and_then(|server| server.mode));
        let (bound, ping_at, enough) = match mode {
            Some(Mode::Leader | Mode::Standalone) => (LISTEN, None, Some(at.now)),
            Some(_) => {
                old.ask(build::ping(), xid::PING, Own::Ping, at.boot);
                (CATCH_UP, None, None)
            }
            // Nobody has said: first as a leader, then as a follower.
            None => (CATCH_UP, Some(at.now + LISTEN), Some(at.now + LISTEN)),
        };
        let (bound, asked) = match (ping_at, enough, old.peer()) {
            (None, Some(_), Some(peer)) => {
                let (ensemble, server) = (Arc::clone(&self.ensemble), old.place().at().clone());
                (CATCH_UP, Some(Box::pin(has_reached(ensemble, server, peer, newest)) as Asked))
            }
            _ => (bound, None),
        };
        moving.deadline = at.now + bound;
        moving.step = Step::Draining { old, until: newest, ping_at, enough, asked };
    }

    /// What the old server still has to tell.
    fn poll_old(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        let Phase::Moving(moving) = &mut self.phase else { return false };
        let (Step::Watching { old, .. } | Step::Draining { old, .. }) = &mut moving.step else {
            return false;
        };
        match old.poll(cx, !self.out.is_full()) {
            Poll::Ready(Event::Watch(header, frame)) => {
                moving.overlap.older(header.zxid, &frame);
                self.tell(frame);
                true
            }
            Poll::Ready(Event::Answer(due, header, _)) => {
                debug_assert_eq!(due.who, Who::Own(Own::Ping), "nothing else was under way");
                let Step::Draining { until, ping_at, .. } = &mut moving.step else { return true };
                match header.zxid.cmp(until) {
                    Ordering::Equal => {
                        if moving.at_once {
                            moving.overlap.are_apart();
                        }
                        self.finish_move(at);
                    }
                    Ordering::Greater => self.catch_up(at),
                    Ordering::Less => *ping_at = Some(at.now + AGAIN),
                }
                true
            }
            Poll::Ready(Event::Lost(reason)) => {
                tracing::debug!(reason, "the old connection ended while it was drained");
                self.finish_early(at);
                true
            }
            Poll::Pending => {
                if let Step::Draining { ping_at, enough, asked, .. } = &mut moving.step
                    && let Some(Poll::Ready(reached)) = asked.as_mut().map(|asked| asked.as_mut().poll(cx))
                {
                    *asked = None;
                    if reached {
                        // Whatever there was to tell is under way, and the answer, or the end, behind it.
                        *ping_at = Some(at.now);
                    } else if let Some(began) = *enough {
                        moving.deadline = began + LISTEN;
                    }
                }
                if let Step::Draining { old, ping_at, .. } = &mut moving.step
                    && ping_at.is_some_and(|when| when <= at.now)
                {
                    *ping_at = None;
                    old.ask(build::ping(), xid::PING, Own::Ping, at.boot);
                    return true;
                }
                if at.now < moving.deadline {
                    return false;
                }
                if let Step::Draining { asked: Some(_), enough, .. } = &mut moving.step {
                    *enough = None; // it is behind, or says nothing at all
                }
                if matches!(moving.step, Step::Watching { .. }) {
                    self.on_lost("the new server does not set the watches", at);
                } else {
                    self.finish_early(at);
                }
                true
            }
        }
    }

    /// The old connection ends, or is given up, before it is known to have told everything. An old leader that saw nothing but
    /// silence closes by itself now and then; what it had to tell it has told. Otherwise it is as with an unplanned loss: what
    /// one-shot watches wait for the new server tells, and what persistent ones would have told is gone.
    fn finish_early(&mut self, at: Moment) {
        let Phase::Moving(moving) = &self.phase else { return };
        let told_all = matches!(moving.step, Step::Draining { enough: Some(enough), .. } if enough <= at.now);
        if !told_all && self.may_miss_events() {
            return self.close_for_watches();
        }
        self.catch_up(at);
    }

    /// The old connection is let go, and the new server learns of everything that it may have told.
    fn catch_up(&mut self, at: Moment) {
        let (Phase::Moving(moving), Some(upstream)) = (&mut self.phase, &mut self.upstream) else { return };
        moving.step = Step::CatchingUp;
        moving.deadline = at.now + CATCH_UP;
        upstream.ask(build::sync(OWN_XID, b"/"), OWN_XID, Own::CatchUp, at.boot);
    }

    /// The new server has learnt of it.
    pub(super) fn caught_up(&mut self, at: Moment) {
        if matches!(&self.phase, Phase::Moving(moving) if matches!(moving.step, Step::CatchingUp)) {
            self.finish_move(at);
        }
    }

    /// The move is over: what the new server has told meanwhile follows, and what is held goes on.
    fn finish_move(&mut self, at: Moment) {
        let Phase::Moving(moving) = std::mem::replace(&mut self.phase, Phase::Serving) else { return };
        let took = at.now.saturating_duration_since(moving.started);
        moving.turn.took(&moving.left, took);
        let (left, dropped) = moving.overlap.left(&self.watches);
        self.ensemble.metrics.watch_events_dropped.inc_by(dropped as u64);
        for (_, frame) in left {
            self.tell(frame);
        }
        self.next = self.base;
        self.ensemble.count_move(MoveKind::Planned, MoveOutcome::Moved, Some(took));
    }

    /// When the move has to be looked at again.
    pub(super) fn move_wake(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Moving(moving) => {
                let ping = match &moving.step {
                    Step::Draining { ping_at, .. } => *ping_at,
                    _ => None,
                };
                Some(ping.map_or(moving.deadline, |ping| ping.min(moving.deadline)))
            }
            Phase::Serving => self.not_before,
            _ => None,
        }
    }
}
