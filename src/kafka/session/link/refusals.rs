//! How often a broker has refused, one answer after the other, what it is said to lead. Pure.
//!
//! Around a move of leadership a few are nothing out of the way; they are the sign, and never the proof, of another broker.

use super::{Link, State};
use crate::kafka::cluster::Peer;
use std::time::{Duration, Instant};

/// So many answers in a row with nothing but refusals make a connection doubtful.
const RUN: u32 = 3;
/// What was refused longer ago than this before the next refusal belongs to another story.
const STORY: Duration = Duration::from_secs(10);

/// The refusals of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    run: u32,
    last: Option<Instant>,
}

impl Refusals {
    fn add(&mut self, now: Instant) {
        let goes_on = self.last.is_some_and(|last| now.saturating_duration_since(last) < STORY);
        self.run = if goes_on { self.run.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    fn is_doubtful(&self) -> bool {
        self.run >= RUN
    }
}

impl Link {
    /// Who is at the other end, if it is open.
    pub(in crate::kafka::session) fn peer(&self) -> Option<Peer> {
        self.peer.filter(|_| matches!(self.state, State::Open(_)))
    }

    /// An answer came that refuses all it was asked. Whether that makes it doubtful that the right node answers here.
    pub(in crate::kafka::session) fn refused(&mut self, now: Instant) -> bool {
        self.refusals.add(now);
        self.is_doubtful()
    }

    /// Something was served.
    pub(in crate::kafka::session) fn served(&mut self) {
        self.refusals = Refusals::default();
    }

    /// Whether it is doubtful that the right node answers here.
    pub(in crate::kafka::session) fn is_doubtful(&self) -> bool {
        self.refusals.is_doubtful() && self.peer().is_some_and(|peer| !peer.proven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_of_one_story() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        for second in [0, 9, 20, 29] {
            refusals.add(start + Duration::from_secs(second));
            assert!(!refusals.is_doubtful(), "{second}");
        }
        refusals.add(start + Duration::from_secs(30));
        assert!(refusals.is_doubtful());
    }
}
