//! Which of the frames that were answered the leader surely knows of.
//!
//! A follower records a touch when it submits a request, and its touches go to the leader every half tick; those that have
//! not gone yet die with it. So that a frame was answered proves nothing yet. It **counts** when a frame that was sent half a
//! tick or more after its answer has been answered too: in between, the follower has shipped what it had.
//!
//! (That A − h is safe, h being half a tick, holds only if frames are never further apart than h: of a client that pings
//! every T/3, the leader may know nothing newer than the ping before the last.)

use super::times::IN_HALF_TICK;
use crate::time::Boot;
use std::time::Duration;

/// How many are remembered: those of half a tick, and of what an answer takes.
const MOST: usize = IN_HALF_TICK as usize + 4;

/// A frame that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Touch {
    sent: Boot,
    answered: Boot,
}

/// Frames that were answered and don't count yet, oldest first, on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Touches(Vec<Touch>);

impl Touches {
    /// A frame was answered. It is not remembered if one was sent hardly earlier, or if there is no room: then those that
    /// are remembered count first.
    pub(super) fn add(&mut self, sent: Boot, answered: Boot, spacing: Duration) {
        let spaced = self.0.last().is_none_or(|newest| sent >= newest.sent + spacing);
        if spaced && self.0.len() < MOST {
            self.0.push(Touch { sent, answered });
        }
    }

    /// An answer proves that the server was alive, and joined to its leader, when it got a frame that was sent at `proof`:
    /// what counts by that, or the beginning of time. It is forgotten here.
    pub(super) fn counted_by(&mut self, proof: Boot, half_tick: Duration) -> Boot {
        let count = self.0.iter().take_while(|touch| touch.answered + half_tick <= proof).count();
        self.0.drain(..count).next_back().map(|touch| touch.sent).unwrap_or_default()
    }

    /// Nothing is remembered any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
impl Touches {
    /// Every moment, changed.
    pub(super) fn map(&mut self, change: impl Fn(Boot) -> Boot) {
        for touch in &mut self.0 {
            *touch = Touch { sent: change(touch.sent), answered: change(touch.answered) };
        }
    }
}
