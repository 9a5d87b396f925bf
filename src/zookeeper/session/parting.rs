//! The end of a planned move: the old connection is heard out, and what both servers have told is told once.

use super::leases::OWN_XID;
use super::moving::{Asked, CATCH_UP, LISTEN, Step};
use super::upstream::{Event, Own, Who};
use super::{Moment, Phase, Session};
use crate::zookeeper::ensemble::has_reached;
use crate::zookeeper::wire::{build, xid};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Between pings to an old follower that has not caught up.
const AGAIN: Duration = Duration::from_millis(2);

impl Session {
    /// What the old server still has to tell.
    pub(super) fn poll_old(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        let Phase::Moving(moving) = &mut self.phase else { return false };
        let (Step::Watching { old, .. } | Step::Draining { old, .. }) = &mut moving.step else {
            return false;
        };
        match old.poll(cx, !self.out.is_full(), at.boot) {
            Poll::Ready(Event::Watch(header, frame)) => {
                moving.overlap.older(header.zxid, &frame, &self.watches);
                self.tell(frame);
                self.gauge(at);
                true
            }
            Poll::Ready(Event::Answer(due, header, _)) => {
                debug_assert_eq!(due.who, Who::Own(Own::Ping), "nothing else was under way");
                moving.overlap.older_answered(header.zxid);
                let Step::Draining { until, ping_at, .. } = &mut moving.step else { return true };
                if header.zxid < *until {
                    *ping_at = Some(at.now + AGAIN);
                } else if moving.overlap.is_whole() {
                    self.finish_move(at);
                } else {
                    self.catch_up(true, at);
                }
                true
            }
            Poll::Ready(Event::Lost(reason)) => {
                tracing::debug!(reason, "the old connection ended while it was drained");
                self.finish_early(true, at);
                true
            }
            Poll::Pending => {
                if let Step::Draining { ping_at, enough, asked, .. } = &mut moving.step
                    && let Some(Poll::Ready(reached)) = asked.as_mut().map(|asked| asked.as_mut().poll(cx))
                {
                    *asked = None;
                    moving.reached = reached;
                    if reached.is_some() {
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
                    self.gauge(at);
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
                    self.finish_early(false, at);
                }
                true
            }
        }
    }

    /// The new server is asked how far it has come, if that helps to tell what both have told: where the old one is a leader, which
    /// can't be asked so on its own connection.
    pub(super) fn gauge(&mut self, at: Moment) {
        let (Phase::Moving(moving), Some(upstream)) = (&mut self.phase, &mut self.upstream) else { return };
        let is_leader = matches!(moving.step, Step::Draining { enough: Some(_), .. });
        if is_leader && !moving.gauging && moving.overlap.has_nameless() {
            moving.gauging = true;
            upstream.ask(build::ping(), xid::PING, Own::Ping, at.boot);
        }
    }

    /// The old connection ends, or is given up, before it is known to have told everything. An old leader that saw nothing but
    /// silence closes by itself now and then; what it had to tell it has told. Otherwise it is as with an unplanned loss: what
    /// one-shot watches wait for the new server tells, and what persistent ones would have told is gone.
    pub(super) fn finish_early(&mut self, ended: bool, at: Moment) {
        let Phase::Moving(moving) = &self.phase else { return };
        let told_all = matches!(moving.step, Step::Draining { enough: Some(enough), .. } if enough <= at.now);
        if !told_all && self.may_miss_events() {
            return self.close_for_watches();
        }
        let Phase::Moving(moving) = &mut self.phase else { return };
        if !ended {
            moving.reached = None; // what it has told may not have been read
        }
        let asked = match &moving.step {
            // What the new one has yet to tell may look like what the old one told.
            Step::Draining { old, .. } if moving.overlap.has_nameless() => {
                let (ensemble, server) = (Arc::clone(&self.ensemble), old.place().at().clone());
                let of = |(peer, least)| Box::pin(has_reached(ensemble, server, peer, least)) as Asked;
                old.peer().zip(moving.reached).map(of)
            }
            _ => None,
        };
        moving.settle_by.get_or_insert(at.now + LISTEN * 4);
        self.gauge(at);
        self.catch_up(false, at);
        if let Phase::Moving(moving) = &mut self.phase
            && let Step::CatchingUp { asked: place, .. } = &mut moving.step
        {
            *place = asked;
        }
    }

    /// The new server learns of everything that the old one may have told. That one is let go, or kept: it may be asked again.
    pub(super) fn catch_up(&mut self, keep: bool, at: Moment) {
        let (Phase::Moving(moving), Some(upstream)) = (&mut self.phase, &mut self.upstream) else { return };
        let caught = Step::CatchingUp { old: None, asked: None, learnt: false };
        let before = std::mem::replace(&mut moving.step, caught);
        if let (Step::Draining { old: kept, until, .. }, Step::CatchingUp { old, .. }) =
            (before, &mut moving.step)
        {
            *old = keep.then_some((kept, until));
        }
        moving.deadline = at.now + CATCH_UP;
        upstream.ask(build::sync(OWN_XID, b"/"), OWN_XID, Own::CatchUp, at.boot);
    }

    /// The new server has learnt of it.
    pub(super) fn caught_up(&mut self, at: Moment) {
        if let Phase::Moving(moving) = &mut self.phase
            && let Step::CatchingUp { old, asked, learnt } = &mut moving.step
        {
            *learnt = true;
            if old.is_none() {
                moving.overlap.older_ended(moving.reached.unwrap_or(0), None);
            }
            if moving.overlap.is_settled() {
                *asked = None;
            }
        }
        self.finish_if_learnt(at);
    }

    /// The move is over if it is known what both servers have told; else an old follower is asked once more.
    pub(super) fn finish_if_learnt(&mut self, at: Moment) {
        let Phase::Moving(moving) = &mut self.phase else { return };
        let Step::CatchingUp { old, asked: None, learnt: true } = &mut moving.step else { return };
        let old = old.take();
        let settle_by = *moving.settle_by.get_or_insert(at.now + LISTEN);
        let Some((mut old, until)) = old.filter(|_| !moving.overlap.is_settled() && at.now < settle_by)
        else {
            return self.finish_move(at);
        };
        old.ask(build::ping(), xid::PING, Own::Ping, at.boot);
        moving.deadline = settle_by;
        // It has told what is needed: its end is as good as an answer.
        moving.step = Step::Draining { old, until, ping_at: None, enough: Some(at.now), asked: None };
    }
}
