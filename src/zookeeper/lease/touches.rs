//! Which of the frames that were answered the leader surely knows of.
//!
//! A follower records a touch when it submits a request, and its touches go to the leader every half tick; those that have
//! not gone yet die with it. So that a frame was answered proves nothing yet. It **counts** when a frame that was sent half a
//! tick or more after its answer has been answered too: in between, the follower has shipped what it had.
//!
//! (That A − h is safe, h being half a tick, holds only if frames are never further apart than h: of a client that pings
//! every T/3, the leader may know nothing newer than the ping before the last.)

use crate::time::Boot;
use std::time::Duration;

/// How many frames are remembered in half a tick: what counts is at most an eighth of it older than it could be.
const IN_HALF_TICK: u32 = 8;
/// How many are remembered.
const MOST: usize = 12;

/// A frame that was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Touch {
    sent: Boot,
    answered: Boot,
}

/// Frames that were answered and don't count yet, oldest first, on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Touches {
    kept: [Touch; MOST],
    len: usize,
}

impl Touches {
    fn newest(&self) -> Option<Touch> {
        self.kept.get(self.len.checked_sub(1)?).copied()
    }

    /// A frame was answered. It is not remembered if one was sent hardly earlier, or if there is no room: then those that
    /// are remembered count first.
    pub(super) fn add(&mut self, sent: Boot, answered: Boot, half_tick: Duration) {
        let spaced = self.newest().is_none_or(|newest| sent >= newest.sent + half_tick / IN_HALF_TICK);
        if spaced && let Some(free) = self.kept.get_mut(self.len) {
            *free = Touch { sent, answered };
            self.len += 1;
        }
    }

    /// An answer proves that the server was alive, and joined to its leader, when it got a frame that was sent at `proof`:
    /// what counts by that, or the beginning of time. It is forgotten here.
    pub(super) fn counted_by(&mut self, proof: Boot, half_tick: Duration) -> Boot {
        let live = self.kept.get(..self.len).unwrap_or_default();
        let count = live.iter().take_while(|touch| touch.answered + half_tick <= proof).count();
        let counted = count.checked_sub(1).and_then(|at| live.get(at)).map(|touch| touch.sent);
        self.kept.rotate_left(count);
        self.len -= count;
        if let Some(free) = self.kept.get_mut(self.len..) {
            // So that equal ones are equal.
            free.fill(Touch::default());
        }
        counted.unwrap_or_default()
    }
}

#[cfg(test)]
impl Touches {
    /// Every moment, changed.
    pub(super) fn map(&mut self, change: impl Fn(Boot) -> Boot) {
        for touch in self.kept.iter_mut().take(self.len) {
            *touch = Touch { sent: change(touch.sent), answered: change(touch.answered) };
        }
    }
}
