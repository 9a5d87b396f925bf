//! How long a client is waited for that does nothing: says nothing, leaves a frame half said, or takes no answer.
//!
//! May import: `config`, `metrics`, [`super::crowd`]. Must never: look at the clock by itself, or count time in which it is not the client's turn.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::crowd::Seldom;
use crate::config::Limits;
use crate::metrics::{ClientRefusal, ClientRefusals};

/// What a client is waited for; the number is another one when it has gone on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Its first request, whole, however slowly it comes; where it has to show who it is, all that comes before that is done.
    FirstRequest,
    /// The rest of a frame, of which so many bytes are here.
    Frame(usize),
    /// To take its answers: so many bytes of all have been taken.
    Reading(u64),
    /// Another request than the so many that it has had.
    Request(u64),
}

/// Why a client's connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It sent no whole request in time, or did not show who it is.
    FirstRequest,
    /// It stopped in the middle of a frame, or of taking an answer.
    Stalled,
    /// It asked for nothing any more.
    Idle,
}

impl Late {
    /// Counts it, and says so unless much was said already.
    pub fn tell(self, peer: SocketAddr, refused: &ClientRefusals) {
        static LINES: Seldom = Seldom::new(20, Duration::from_secs(1));
        refused.inc(match self {
            Self::FirstRequest => ClientRefusal::FirstRequest,
            Self::Stalled => ClientRefusal::Stall,
            Self::Idle => ClientRefusal::Idle,
        });
        if let Some(untold) = LINES.may() {
            tracing::info!(%peer, untold, "client connection closed: {self}");
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstRequest => "no whole request, or no proof of who it is where one is wanted, came within limits.first_request",
            Self::Stalled => "half a frame, or an answer that isn't taken, stood still for limits.stall",
            Self::Idle => "no request came within limits.idle",
        })
    }
}

/// The bounds, and how long has been waited. Costs a comparison where nothing is waited for.
#[derive(Debug)]
pub struct Patience {
    first_request: Duration,
    stall: Duration,
    idle: Duration,
    awaited: Option<Awaited>,
    since: Instant,
    /// How long the first request was waited for before something else was.
    first: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Patience {
    /// From now on. A bound of zero is none.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        let Limits { first_request, stall, idle, .. } = *limits;
        Self {
            first_request,
            stall,
            idle,
            awaited: None,
            since: now,
            first: Duration::ZERO,
            timer: None,
            armed: None,
        }
    }

    fn bound(&self, awaited: Awaited) -> Duration {
        match awaited {
            Awaited::FirstRequest => self.first_request,
            Awaited::Frame(_) | Awaited::Reading(_) => self.stall,
            Awaited::Request(_) => self.idle,
        }
    }

    /// Says what the client is waited for now, if it is; and whether that has taken too long. Wakes the task when it has.
    pub fn poll(&mut self, cx: &mut Context<'_>, awaited: Option<Awaited>, now: Instant) -> Option<Late> {
        if self.awaited != awaited {
            // The first request counts from the accept, and goes on where it was left.
            if self.awaited == Some(Awaited::FirstRequest) {
                self.first = now.saturating_duration_since(self.since);
            }
            if self.awaited.is_some() || awaited != Some(Awaited::FirstRequest) || !self.first.is_zero() {
                self.since = now;
            }
            if awaited == Some(Awaited::FirstRequest) {
                self.since = self.since.checked_sub(self.first).unwrap_or(self.since);
            }
            self.awaited = awaited;
        }
        let awaited = awaited?;
        let bound = Some(self.bound(awaited)).filter(|bound| !bound.is_zero())?;
        let until = self.since + bound;
        if now >= until {
            return Some(match awaited {
                Awaited::FirstRequest => Late::FirstRequest,
                Awaited::Frame(_) | Awaited::Reading(_) => Late::Stalled,
                Awaited::Request(_) => Late::Idle,
            });
        }
        // A timer that is armed for an earlier moment is let run: to set it anew each time would cost more than to look once too often.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        if self.armed.is_none_or(|armed| armed <= now || armed > until) {
            timer.as_mut().reset(until.into());
            self.armed = Some(until);
        }
        if matches!(timer.as_mut().poll(cx), Poll::Ready(())) {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(first_request: u64, stall: u64, idle: u64) -> Limits {
        let [first_request, stall, idle] = [first_request, stall, idle].map(Duration::from_secs);
        Limits { first_request, stall, idle, ..Limits::default() }
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Waits as a session does, for what `awaited` says at each look; after how long it was late, and how.
    async fn late(limits: &Limits, awaited: impl Fn(Duration) -> Option<Awaited>) -> (Duration, Late) {
        let start = now();
        let mut patience = Patience::new(limits, start);
        let mut ticks = tokio::time::interval(SECOND);
        let end = poll_fn(|cx| {
            // What a client does wakes the session as well.
            while ticks.poll_tick(cx).is_ready() {}
            let late = patience.poll(cx, awaited(now() - start), now());
            late.map_or(Poll::Pending, Poll::Ready)
        });
        let end = end.await;
        (now() - start, end)
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_waited_for_so_long() {
        let found = late(&limits(30, 60, 0), |_| Some(Awaited::FirstRequest)).await;
        assert_eq!(found, (30 * SECOND, Late::FirstRequest));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_wait_goes_on_where_it_was_left() {
        // Half of the time it is our turn.
        let awaited = |at: Duration| (at.as_secs() % 10 < 5).then_some(Awaited::FirstRequest);
        let (after, end) = late(&limits(30, 60, 0), awaited).await;
        assert_eq!(end, Late::FirstRequest);
        assert!((55 * SECOND..=60 * SECOND).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_begins_the_wait_anew() {
        // A byte in each of the first 100 s.
        let bytes = |at: Duration| usize::try_from(at.as_secs().min(100)).unwrap();
        let found = late(&limits(30, 60, 0), |at| Some(Awaited::Frame(bytes(at)))).await;
        assert_eq!(found, (160 * SECOND, Late::Stalled));
        let taken = |at: Duration| Some(Awaited::Reading(at.as_secs().min(7)));
        assert_eq!(late(&limits(30, 60, 0), taken).await, (67 * SECOND, Late::Stalled));
        let requests = |at: Duration| Some(Awaited::Request(at.as_secs().min(5)));
        assert_eq!(late(&limits(30, 60, 10), requests).await, (15 * SECOND, Late::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_waited_for_takes_no_time() {
        let awaited = |at: Duration| (at.as_secs() >= 1000).then_some(Awaited::Reading(1));
        assert_eq!(late(&limits(30, 60, 0), awaited).await, (1060 * SECOND, Late::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_bound() {
        let all = [Awaited::FirstRequest, Awaited::Frame(1), Awaited::Reading(1), Awaited::Request(1)];
        let none = limits(0, 0, 0);
        for awaited in all {
            let waits = late(&none, |_| Some(awaited));
            assert!(tokio::time::timeout(100_000 * SECOND, waits).await.is_err(), "{awaited:?}");
        }
    }
}
