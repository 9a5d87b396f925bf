//! What is explored: the timeouts, the client, and how much may go wrong.

use super::super::{Mode, Rules};
use std::time::Duration;

/// A unit of the model's time.
pub(super) const UNIT: Duration = Duration::from_secs(1);

/// How a client knows when to give up, and when to send something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Like Java, kazoo, go and C: gives up 2T/3 after it last heard something, sends something every T/3.
    Native,
    /// Gives up after 2T/3, but sends something only when it likes.
    Lazy,
    /// Like node: sends something every T/3 and never gives up by itself.
    Timerless,
}

/// How often each thing may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Evenkeel is frozen.
    pub freezes: u8,
    /// The follower is cut off from its leader.
    pub cuts: u8,
    /// The follower dies, or is frozen, with what it has not shipped.
    pub deaths: u8,
    /// The connection is lost.
    pub losses: u8,
    /// The leader dies.
    pub leaders: u8,
    /// A server answers an attach with another session.
    pub others: u8,
    /// A server answers an attach with a shorter timeout.
    pub shorter: u8,
    /// The client is frozen, or dies.
    pub clients: u8,
}

/// One exploration. Times are in units.
#[derive(Debug)]
pub(super) struct Scenario {
    /// T.
    pub told: u8,
    /// G.
    pub granted: u8,
    /// Two of them are a tick.
    pub half_tick: u8,
    /// Whose answers count.
    pub mode: Mode,
    /// What the client is like.
    pub client: Kind,
    /// How old a frame may be when its answer comes, at most; `None`: as old as it likes.
    pub delay: Option<u8>,
    /// Whether servers send events of watches.
    pub events: bool,
    /// How long, at most, the answer to the client's own attach has lain in the kernel. Nothing: it was passed on at once.
    pub opening: u8,
    /// What may go wrong.
    pub budget: Budget,
}

/// Nothing goes wrong.
pub(super) const CALM: Budget =
    Budget { freezes: 0, cuts: 0, deaths: 0, losses: 0, leaders: 0, others: 0, shorter: 0, clients: 0 };

/// A native client, T = 6 units, a tick of two, answers at once.
pub(super) const PLAIN: Scenario = Scenario {
    told: 6,
    granted: 6,
    half_tick: 1,
    mode: Mode::Direct,
    client: Kind::Native,
    delay: Some(0),
    events: false,
    opening: 0,
    budget: CALM,
};

impl Scenario {
    /// The rules that the lease gets.
    pub(super) fn rules(&self) -> Rules {
        // What the lease adds to half a tick is left out, since here touches are never later than that.
        let tick = units(self.half_tick * 2) * 8 / 9;
        Rules { tick, mode: self.mode, pace: Some(UNIT) }
    }

    /// More units than anything minds.
    pub(super) fn ages(&self) -> u8 {
        self.granted * 2 + 1
    }
}

/// So many units.
pub(super) fn units(count: u8) -> Duration {
    UNIT * u32::from(count)
}
