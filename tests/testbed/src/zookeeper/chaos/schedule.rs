//! What happens to the ensemble, and in which order: an endless sequence that a seed decides. Pure. Each kind of event comes
//! once before any comes again.

use std::fmt;

use crate::chaos::Events;
use crate::chaos::schedule::{Class, Random};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Drained, SIGTERM, started, undrained.
    DrainedRestart,
    /// Drained and undrained; the server goes on.
    Drain,
    /// SIGTERM without a word before, then started again.
    Restart,
    /// SIGKILL, then started again.
    Kill,
    /// SIGSTOP and SIGCONT, shorter than the others take to notice.
    Freeze,
    /// SIGSTOP for longer than `syncLimit`: a leader is replaced meanwhile.
    LongFreeze,
    /// All connections of clients (and of Evenkeel) to the server are reset, some times in a row.
    Reset,
    /// Packets to and from the address for clients are dropped.
    CutClients,
    /// Packets to and from the address for peers are dropped: a leader loses its followers.
    CutPeers,
    /// Packets between one follower and its leader are dropped; the follower goes on serving until it notices.
    CutFollower,
    /// Every server is killed at once, and all are started again.
    Outage,
}

/// All faults, soft ones first.
pub const FAULTS: [Fault; 11] = [
    Fault::DrainedRestart,
    Fault::Drain,
    Fault::Restart,
    Fault::Kill,
    Fault::Freeze,
    Fault::LongFreeze,
    Fault::Reset,
    Fault::CutClients,
    Fault::CutPeers,
    Fault::CutFollower,
    Fault::Outage,
];

impl Fault {
    /// Whether it comes with a warning. A SIGTERM is none: servers stop where they are.
    pub fn class(self) -> Class {
        match self {
            Self::DrainedRestart | Self::Drain => Class::Soft,
            _ => Class::Hard,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::DrainedRestart => "drain, SIGTERM and start",
            Self::Drain => "drain and undrain",
            Self::Restart => "SIGTERM and start",
            Self::Kill => "SIGKILL and start",
            Self::Freeze => "short SIGSTOP",
            Self::LongFreeze => "SIGSTOP, longer than syncLimit",
            Self::Reset => "connection resets",
            Self::CutClients => "cut off from clients",
            Self::CutPeers => "cut off from its peers",
            Self::CutFollower => "a follower cut off from its leader",
            Self::Outage => "all servers SIGKILLed and started",
        }
    }
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The server that leads when the event comes.
    Leader,
    /// The follower with the lowest or the highest id.
    Follower(u8),
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub fault: Fault,
    /// Whom; of no meaning for an outage.
    pub target: Target,
    /// For how long the fault lasts by itself, in milliseconds: frozen, cut off, or down before it is started again.
    pub lasts_ms: u64,
    /// The quiet before it, in milliseconds.
    pub pause_ms: u64,
    /// Repetitions, where it has any.
    pub times: u8,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.target {
            Target::Leader => "leader".to_owned(),
            Target::Follower(number) => format!("follower {number}"),
        };
        let text = self.fault.text();
        match self.fault {
            Fault::Outage => write!(f, "{text}, {} ms between", self.lasts_ms),
            Fault::CutFollower => write!(f, "{text}, {} ms", self.lasts_ms),
            Fault::Restart | Fault::DrainedRestart | Fault::Drain => write!(f, "{text} of the {whom}"),
            Fault::Reset => write!(f, "{text} of the {whom}, {} times", self.times),
            _ => write!(f, "{text} of the {whom}, {} ms", self.lasts_ms),
        }
    }
}

/// The sequence of events of a seed. Never ends.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: Random,
    events: Events,
    sync_ms: u64,
    bag: Vec<Fault>,
}

impl Schedule {
    /// The sequence for servers that notice a lost leader after this time, in milliseconds.
    pub fn new(seed: u64, events: Events, sync_ms: u64) -> Self {
        Self { random: Random::new(seed), events, sync_ms, bag: Vec::new() }
    }

    fn lasts_ms(&mut self, fault: Fault) -> u64 {
        let sync = self.sync_ms;
        let (least, most) = match fault {
            Fault::Freeze => (200, sync * 7 / 10),
            Fault::LongFreeze => (sync + 500, sync * 2),
            Fault::CutClients => (500, sync * 2),
            Fault::CutPeers | Fault::CutFollower => (sync / 2, sync * 2),
            Fault::Kill | Fault::Outage => (0, 1000),
            Fault::DrainedRestart | Fault::Drain | Fault::Restart | Fault::Reset => (0, 0),
        };
        least + self.random.below(most - least + 1)
    }
}

impl Iterator for Schedule {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.bag.is_empty() {
            self.bag = FAULTS.into_iter().filter(|fault| self.events.takes(fault.class())).collect();
            for left in (2..=self.bag.len()).rev() {
                let other = self.random.below(left as u64);
                self.bag.swap(left - 1, usize::try_from(other).unwrap_or(0));
            }
        }
        let fault = self.bag.pop()?;
        let target = match self.random.below(2) {
            0 => Target::Leader,
            _ => Target::Follower(self.random.below_u8(2)),
        };
        // A follower listens to nobody; and only one can be cut off from its leader.
        let target = if fault == Fault::CutPeers { Target::Leader } else { target };
        let lasts_ms = self.lasts_ms(fault);
        let pause_ms = 500 + self.random.below(2000);
        let times = 1 + self.random.below_u8(3);
        Some(Event { fault, target, lasts_ms, pause_ms, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64, events: Events) -> Schedule {
        Schedule::new(seed, events, 2000)
    }

    #[test]
    fn a_seed_gives_the_same_events_again_and_another_seed_others() {
        let events = |seed| schedule(seed, Events::All).take(100).collect::<Vec<_>>();
        assert_eq!(events(7), events(7));
        assert_ne!(events(7), events(8));
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for seed in 0..50 {
            let all: Vec<Event> = schedule(seed, Events::All).take(FAULTS.len() * 2).collect();
            for round in all.chunks(FAULTS.len()) {
                let mut kinds: Vec<Fault> = round.iter().map(|event| event.fault).collect();
                kinds.sort_unstable();
                assert_eq!(kinds, FAULTS);
            }
        }
        let soft = schedule(1, Events::Soft).take(9);
        assert!(soft.into_iter().all(|event| event.fault.class() == Class::Soft));
    }
}
