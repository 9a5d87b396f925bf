//! What follows from a timeout and the servers' tick: how late touches come to the leader, how often something is sent, and how
//! late this process may be without having been frozen.

use super::Rules;
use crate::zookeeper::mistake::{Mistake, made};
use std::time::Duration;

/// How many frames are remembered in half a tick, at most.
pub(super) const IN_HALF_TICK: u32 = 24;

impl Rules {
    /// How late touches come to the leader: half a tick, which is how long the leader waits between its pings; an eighth more is
    /// for sending them. Nothing bounds it: sessions are granted two ticks at least (`minSessionTimeout`), but servers may be told
    /// to grant less, and then little or nothing is left of L1.
    pub(super) fn half_tick(&self, told: Duration) -> Duration {
        let half = self.tick / 2;
        let late = half + half / 8;
        if made(Mistake::HalfTickCapped) { late.min(told / 4) } else { late }
    }

    /// What that leaves of the third of L1 for everything else: C is as much behind as frames are apart, and twice what a frame
    /// and its answer take.
    fn room(&self, told: Duration) -> Duration {
        (told / 3).saturating_sub(self.half_tick(told))
    }

    /// Whether anything is left.
    pub(super) fn has_room(&self, told: Duration) -> bool {
        !self.room(told).is_zero()
    }

    /// How long nothing may be sent upstream: so short that C stays within L1. No shorter than a 96th of the timeout: where that is
    /// not enough, nothing is.
    pub(super) fn pace(&self, told: Duration) -> Duration {
        self.pace.unwrap_or_else(|| (told / 12).min(self.room(told) / 4).max(told / 96))
    }

    /// How far frames are apart that are remembered: as far as they are sent of themselves, or an eighth of half a tick if that is
    /// less.
    pub(super) fn spacing(&self, told: Duration) -> Duration {
        let half_tick = self.half_tick(told);
        (half_tick / 8).min(self.pace(told)).max(half_tick / IN_HALF_TICK)
    }

    /// How much later than it has to look again this process may run without having been frozen. What it reads then may have lain
    /// in the kernel for so long and the [pace](Self::pace), and its server may have died with touches of half a tick: a client that
    /// hears it waits 2T/3 more, so that all of that has to be within T/3.
    ///
    /// No less than a 24th of the timeout, for machines that are loaded: at two ticks, which is the shortest timeout that servers
    /// grant if nobody tells them otherwise, that is within T/3 but for the eighth in [`half_tick`](Self::half_tick).
    pub(super) fn lateness(&self, told: Duration) -> Duration {
        if made(Mistake::ShortFreezeIgnored) {
            return told / 12;
        }
        (told / 12).min(self.room(told) / 2).max(told / 24)
    }
}
