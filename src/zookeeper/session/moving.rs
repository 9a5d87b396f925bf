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
//!
//! What both have told is known by its zxid; where events have none (before 3.9), by the zxids of answers (see [`Overlap`]). If those
//! don't settle it yet, a follower is asked again, and the new server behind it, until they do. An old leader has answered nothing since
//! it was left: what it says of itself on another connection before and behind its end says what it may have told.

use super::leases::OWN_XID;
use super::upstream::{Own, Upstream};
use super::{Moment, Phase, Session};
use crate::config::HostPort;
use crate::metrics::zookeeper::{CloseReason, MoveKind, MoveOutcome};
use crate::zookeeper::ensemble::{self, Attached, Wish, attach, has_reached};
use crate::zookeeper::lease::{Grant, Lease, Reattach};
use crate::zookeeper::watches::{Overlap, Watches};
use crate::zookeeper::wire::{ConnectResponse, ReplyHeader, build, is_before_first, xid};
use crate::zookeeper::words::Mode;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What is under way must be answered, and another server found, within this; else the session stays and tries again later.
const BOUND: Duration = Duration::from_secs(1);
/// How long an old leader is listened to that doesn't say how far it has come.
pub(super) const LISTEN: Duration = Duration::from_millis(50);
/// How long an old server may take to catch up, as far as it says how far it is.
pub(super) const CATCH_UP: Duration = Duration::from_secs(1);
/// Who has to be closed at a drain is, so much later than others begin to move at most, and then in turn.
const LAST: Duration = Duration::from_secs(3);
/// Before another try, at least; twice that at most.
const LATER: Duration = Duration::from_secs(1);

/// The turn of a move, waited for.
pub(super) type Turn = Pin<Box<dyn Future<Output = Option<ensemble::Turn>> + Send>>;

/// How far an old leader has come, asked until it is far enough.
pub(super) type Asked = Pin<Box<dyn Future<Output = Option<i64>> + Send>>;

/// How far a move has come.
pub(super) enum Step {
    /// What is under way is to be answered; then, if need be, so much is asked of the old server, one after the other.
    Quiet { told_since: bool, ask: &'static [Own] },
    /// Another server is asked.
    Attaching,
    /// The new server has the session and is setting its watches: so many answers are due.
    Watching { old: Box<Upstream>, due: usize, newest: i64 },
    /// The old connection is drained until it has reached this zxid; from a moment on, if it may lead, its end is as good.
    Draining {
        old: Box<Upstream>,
        until: i64,
        ping_at: Option<Instant>,
        enough: Option<Instant>,
        asked: Option<Asked>,
    },
    /// The old server may have told what the new one has yet to learn. The old connection is gone, or is not listened to; how far it
    /// had come at most is asked.
    CatchingUp { old: Option<(Box<Upstream>, i64)>, asked: Option<Asked>, learnt: bool },
}

/// A planned move.
pub(super) struct Move {
    pub(super) step: Step,
    started: Instant,
    /// When this step must be over.
    pub(super) deadline: Instant,
    /// What both connections have told.
    pub(super) overlap: Overlap,
    /// How far an old leader said that it had come, before it was asked for its end.
    pub(super) reached: Option<i64>,
    /// The new server is being asked how far it has come.
    pub(super) gauging: bool,
    /// Until then it is found out what both servers have told, if need be.
    pub(super) settle_by: Option<Instant>,
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
    pub(super) fn keeps(&mut self, header: ReplyHeader, frame: &Bytes, watches: &Watches) -> bool {
        match self.step {
            // Up to here the old one will be listened to.
            Step::Watching { .. } => self.overlap.again(header.zxid, frame.clone()),
            Step::Draining { .. } | Step::CatchingUp { .. } => {
                self.overlap.newer(header.zxid, frame.clone(), watches);
            }
            Step::Quiet { .. } | Step::Attaching => {
                // The old server's: the new one may not have it yet, and will tell it.
                self.overlap.older(header.zxid, frame, watches);
                return false;
            }
        }
        true
    }

    /// The server that counts answered something.
    pub(super) fn answered(&mut self, zxid: i64) {
        match self.step {
            Step::Quiet { .. } | Step::Attaching => self.overlap.older_answered(zxid),
            Step::Watching { .. } => {}
            Step::Draining { .. } | Step::CatchingUp { .. } => {
                self.overlap.newer_answered(zxid);
                self.gauging = false;
            }
        }
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
        if self.is_bound_to(upstream.place().at()) {
            return false;
        }
        // Who has to be closed goes last: behind all that had turns to wait for by then.
        let last = if self.unrepeatable.is_some() {
            LAST.mul_f64(rand::random_range(0.5..=1.0))
        } else {
            Duration::ZERO
        };
        let ensemble = Arc::clone(&self.ensemble);
        self.turn = Some(Box::pin(async move {
            if !last.is_zero() {
                tokio::time::sleep(last).await;
            }
            ensemble.turn_to_move().await
        }));
        true
    }

    /// Whether it goes on where it is since only the client itself could authenticate it elsewhere: its server is to be left, and isn't
    /// drained.
    fn is_bound_to(&self, at: &HostPort) -> bool {
        self.unrepeatable.is_some() && !self.ensemble.is_drained(at)
    }

    /// It has authenticated to a server that is drained in a way that nobody can repeat elsewhere, and that server's end would close its
    /// connection: so does the drain, when what was under way is answered, or there will be no end to it.
    fn close_for_drain(&mut self) -> bool {
        self.lease_close(CloseReason::Auth);
        let why = self.unrepeatable.unwrap_or_default();
        self.close(format!("its server is drained, and {why}"));
        true
    }

    /// The same for one that has something under way, which is waited for as long as for what is held.
    fn closes_unanswered(&self, at: Moment) -> bool {
        let longest = self.ensemble.settings().hold.max;
        let drain =
            self.upstream.as_ref().and_then(|upstream| self.ensemble.drained_since(upstream.place().at()));
        self.unrepeatable.is_some() && drain.is_some_and(|since| since + longest <= at.now)
    }

    /// Whether a move has begun, and no other server been asked.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(&self.phase, Phase::Moving(moving) if moving.is_quiet())
    }

    /// It is this session's turn, unless things have changed meanwhile.
    fn begin_move(&mut self, turn: ensemble::Turn, at: Moment) -> bool {
        self.unlooked = true;
        let (Phase::Serving, Some(upstream)) = (&self.phase, &self.upstream) else { return false };
        let server = upstream.place().at();
        if !self.ensemble.is_left(server) || self.is_bound_to(server) {
            return true;
        }
        self.unlooked = false;
        let left = upstream.place().at().clone();
        self.under_way = Some(MoveKind::Planned);
        self.phase = Phase::Moving(Box::new(Move {
            left,
            step: Step::Quiet { told_since: self.told_since, ask: &[Own::Ping, Own::First] },
            started: at.now,
            deadline: at.now + BOUND,
            overlap: Overlap::default(),
            reached: None,
            gauging: false,
            settle_by: None,
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
                    if moving.deadline <= at.now && self.closes_unanswered(at) {
                        return self.close_for_drain();
                    }
                    return self.give_up_if_late(at);
                };
                if self.unrepeatable.is_some() {
                    // It may have become so just now; and the drain may be over, or its server only be listed no more.
                    return if self.ensemble.is_drained(upstream.place().at()) {
                        self.close_for_drain()
                    } else {
                        self.stay(at)
                    };
                }
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
            Step::CatchingUp { asked: asked @ Some(_), .. } => {
                let most = match asked.as_mut().map(|asked| asked.as_mut().poll(cx)) {
                    Some(Poll::Ready(most)) => most,
                    _ if moving.settle_by.is_none_or(|when| when <= at.now) => None,
                    _ => return self.lose_if_late(at),
                };
                *asked = None;
                if most.is_some() {
                    moving.overlap.older_ended(moving.reached.unwrap_or(0), most);
                }
                self.finish_if_learnt(at);
                true
            }
            Step::CatchingUp { .. } => self.lose_if_late(at),
        }
    }

    /// The new server has the session, and doesn't get on.
    fn lose_if_late(&mut self, at: Moment) -> bool {
        if !matches!(&self.phase, Phase::Moving(moving) if moving.deadline <= at.now) {
            return false;
        }
        self.on_lost("the new server does not catch up", at);
        true
    }

    /// It takes too long.
    fn give_up_if_late(&mut self, at: Moment) -> bool {
        let is_late = matches!(&self.phase, Phase::Moving(moving) if moving.deadline <= at.now);
        is_late && self.stay(at)
    }

    /// The session stays where it is, for now.
    fn stay(&mut self, at: Moment) -> bool {
        self.attaching = None;
        self.phase = Phase::Serving;
        self.next = self.base;
        let jitter: f64 = rand::random();
        self.not_before = Some(at.now + LATER.mul_f64(1.0 + jitter));
        self.end_move(MoveOutcome::Stayed, None);
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
        let due = self.restore(&mut new, at);
        self.upstream = Some(new);
        let told = self.lease.as_ref().map_or(Duration::ZERO, Lease::told);
        let Phase::Moving(moving) = &mut self.phase else { return };
        // As long as a server may take for what follows an attach: many watches take a while.
        moving.deadline = at.now + BOUND.max(told / 3);
        moving.step = Step::Watching { old: Box::new(old), due, newest: 0 };
        if due == 0 {
            self.catch_up(false, at);
        }
    }

    /// Authentications and watches, again, on a new connection. Answers how many answers about watches are due.
    pub(super) fn restore(&self, upstream: &mut Upstream, at: Moment) -> usize {
        self.authenticate(upstream, at);
        let frames = self.watches.rearm(self.told);
        let due = frames.len();
        for frame in frames {
            upstream.ask(frame, xid::SET_WATCHES, Own::Watches, at.boot);
        }
        due
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
        let Step::Watching { mut old, due, newest } = step else {
            moving.step = step;
            return;
        };
        let newest = newest.max(header.zxid);
        if due > 1 {
            moving.step = Step::Watching { old, due: due - 1, newest };
            return;
        }
        moving.overlap.newer_answered(newest);
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

    /// The move is over: what the new server has told meanwhile follows, and what is held goes on.
    pub(super) fn finish_move(&mut self, at: Moment) {
        let Phase::Moving(moving) = std::mem::replace(&mut self.phase, Phase::Serving) else { return };
        let took = at.now.saturating_duration_since(moving.started);
        moving.turn.took(&moving.left, took);
        let (left, dropped) = moving.overlap.left(&self.watches);
        self.ensemble.metrics.watch_events_dropped.inc_by(dropped as u64);
        for (_, frame) in left {
            self.tell(frame);
        }
        self.next = self.base;
        self.end_move(MoveOutcome::Moved, Some(took));
    }

    /// When the move has to be looked at again.
    pub(super) fn move_wake(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Moving(moving) => {
                let ping = match &moving.step {
                    Step::Draining { ping_at, .. } => *ping_at,
                    Step::CatchingUp { asked: Some(_), .. } => moving.settle_by,
                    _ => None,
                };
                Some(ping.map_or(moving.deadline, |ping| ping.min(moving.deadline)))
            }
            Phase::Serving => self.not_before,
            _ => None,
        }
    }
}
