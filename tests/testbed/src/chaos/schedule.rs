//! What happens to the cluster, and in which order: an endless sequence that a seed decides. Pure; imports nothing.
//!
//! Targets are roles where that is worse than a fixed broker (the leader of a partition, the active controller): who has
//! the role is found out when the event comes. Each kind of event comes once before any comes again, in an order of
//! the seed's.

use std::fmt;
use std::str::FromStr;

/// Whether a promise of no errors at all holds for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Planned: brokers are told before, or only move their leadership.
    Soft,
    /// Without warning.
    Hard,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGTERM, then started again.
    Restart,
    /// The same, and it comes back at another address under its name.
    Move,
    /// The same while the name server answers nothing.
    DeadDns,
    /// Every partition's preferred leader is elected.
    Elect,
    /// A partition loses a replica and its leader, and gets the replica back.
    Reassign,
    /// SIGKILL, then started again.
    Kill,
    /// SIGSTOP and SIGCONT within the broker's session.
    Freeze,
    /// SIGSTOP for longer than the session: the controller gives the broker up.
    LongFreeze,
    /// All connections to the broker's listener for clients are reset, some times in a row.
    Reset,
    /// Packets to and from the broker's listener for clients are dropped; the cluster sees nothing of it.
    CutClients,
    /// Packets to and from the listeners with which the other brokers reach it are dropped.
    CutPeers,
    /// Every broker is killed at once, and all are started again.
    Outage,
}

/// All faults, soft ones first.
pub const FAULTS: [Fault; 12] = [
    Fault::Restart,
    Fault::Move,
    Fault::DeadDns,
    Fault::Elect,
    Fault::Reassign,
    Fault::Kill,
    Fault::Freeze,
    Fault::LongFreeze,
    Fault::Reset,
    Fault::CutClients,
    Fault::CutPeers,
    Fault::Outage,
];

impl Fault {
    /// Whether it comes with a warning.
    pub fn class(self) -> Class {
        match self {
            Self::Restart | Self::Move | Self::DeadDns | Self::Elect | Self::Reassign => Class::Soft,
            _ => Class::Hard,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "SIGTERM and start",
            Self::Move => "SIGTERM and start at another address",
            Self::DeadDns => "SIGTERM and start, DNS dead",
            Self::Elect => "preferred leader election",
            Self::Reassign => "reassignment",
            Self::Kill => "SIGKILL and start",
            Self::Freeze => "SIGSTOP, shorter than the session",
            Self::LongFreeze => "SIGSTOP, longer than the session",
            Self::Reset => "connection resets",
            Self::CutClients => "cut off from clients",
            Self::CutPeers => "cut off from brokers",
            Self::Outage => "all brokers SIGKILLed and started",
        })
    }
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The broker with this id.
    Node(u8),
    /// The leader of this partition.
    Leader(u8),
    /// The active controller.
    Controller,
    /// The coordinator of the readers' group.
    Coordinator,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "broker {id}"),
            Self::Leader(partition) => write!(f, "leader of {partition}"),
            Self::Controller => f.write_str("controller"),
            Self::Coordinator => f.write_str("coordinator"),
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub fault: Fault,
    /// Whom; of no meaning for an election and an outage.
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
        match self.fault {
            Fault::Elect => write!(f, "{}", self.fault),
            Fault::Outage => write!(f, "{}, {} ms between", self.fault, self.lasts_ms),
            Fault::Restart | Fault::Move => write!(f, "{} of the {}", self.fault, self.target),
            Fault::Reset => write!(f, "{} of the {}, {} times", self.fault, self.target, self.times),
            _ => write!(f, "{} of the {}, {} ms", self.fault, self.target, self.lasts_ms),
        }
    }
}

/// Which events there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Soft ones.
    Soft,
    /// Hard ones.
    Hard,
    /// Both.
    All,
}

impl Events {
    /// Whether events of this class are among them.
    pub(crate) fn takes(self, class: Class) -> bool {
        match self {
            Self::Soft => class == Class::Soft,
            Self::Hard => class == Class::Hard,
            Self::All => true,
        }
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
            Self::All => "all",
        })
    }
}

impl FromStr for Events {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Soft, Self::Hard, Self::All]
            .into_iter()
            .find(|events| events.to_string() == text)
            .ok_or_else(|| format!("{text:?}: events are soft, hard or all"))
    }
}

/// The sequence of events of a seed. Never ends.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: Random,
    events: Events,
    session_ms: u64,
    partitions: u8,
    nodes: u8,
    bag: Vec<Fault>,
}

impl Schedule {
    /// The sequence for brokers with this session time-out, in milliseconds.
    pub fn new(seed: u64, events: Events, session_ms: u64, nodes: u8, partitions: u8) -> Self {
        Self { random: Random(seed), events, session_ms, partitions, nodes, bag: Vec::new() }
    }

    fn target(&mut self) -> Target {
        match self.random.below(8) {
            0..=1 => Target::Node(1 + self.random.below_u8(self.nodes)),
            2..=5 => Target::Leader(self.random.below_u8(self.partitions)),
            6 => Target::Controller,
            _ => Target::Coordinator,
        }
    }

    fn lasts_ms(&mut self, fault: Fault) -> u64 {
        let session = self.session_ms;
        let (least, most) = match fault {
            Fault::Freeze => (300, session * 6 / 10),
            // Long enough to be given up, and for a write of clients then to be held well below 20 s.
            Fault::LongFreeze => (session + 1000, session + 3000),
            Fault::CutClients | Fault::CutPeers => (1000, 8000),
            Fault::DeadDns => (2000, 6000),
            Fault::Kill | Fault::Outage => (0, 1500),
            Fault::Restart | Fault::Move | Fault::Elect | Fault::Reassign | Fault::Reset => (0, 0),
        };
        least + self.random.below(most - least + 1)
    }
}

impl Iterator for Schedule {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.bag.is_empty() {
            self.bag = FAULTS.into_iter().filter(|&fault| self.events.takes(fault.class())).collect();
            for left in (2..=self.bag.len()).rev() {
                let other = self.random.below(left as u64);
                self.bag.swap(left - 1, usize::try_from(other).unwrap_or(0));
            }
        }
        let fault = self.bag.pop()?;
        let (target, lasts_ms) = (self.target(), self.lasts_ms(fault));
        let pause_ms = 500 + self.random.below(2500);
        let times = 1 + self.random.below_u8(3);
        Some(Event { fault, target, lasts_ms, pause_ms, times })
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers on every machine and with every release.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` - 1; the bias for bounds as small as these is of no account.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn below_u8(&mut self, bound: u8) -> u8 {
        u8::try_from(self.below(u64::from(bound))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64, events: Events) -> Schedule {
        Schedule::new(seed, events, 9000, 3, 6)
    }

    #[test]
    fn random_numbers_are_the_published_ones() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_seed_gives_the_same_events_again_and_another_seed_others() {
        let events = |seed| schedule(seed, Events::All).take(100).collect::<Vec<_>>();
        assert_eq!(events(7), events(7));
        for other in [0, 8, u64::MAX] {
            assert_ne!(events(7), events(other));
        }
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        for seed in 0..50 {
            let all: Vec<Event> = schedule(seed, Events::All).take(FAULTS.len() * 3).collect();
            for round in all.chunks(FAULTS.len()) {
                let mut kinds: Vec<Fault> = round.iter().map(|event| event.fault).collect();
                kinds.sort_unstable();
                assert_eq!(kinds, FAULTS);
            }
        }
    }

    #[test]
    fn only_the_wanted_class_comes() {
        let classes = |events| schedule(3, events).take(30).map(|e| e.fault.class()).collect::<Vec<_>>();
        assert!(classes(Events::Soft).iter().all(|&class| class == Class::Soft));
        assert!(classes(Events::Hard).iter().all(|&class| class == Class::Hard));
        assert_eq!("hard".parse(), Ok(Events::Hard));
        assert!("wild".parse::<Events>().is_err());
    }

    #[test]
    fn durations_are_on_the_right_side_of_the_session() {
        for event in (0..200).flat_map(|seed| schedule(seed, Events::Hard).take(14)) {
            match event.fault {
                Fault::Freeze => assert!(event.lasts_ms < 9000),
                Fault::LongFreeze => assert!(event.lasts_ms > 9000),
                _ => assert!(event.lasts_ms <= 8000),
            }
            match event.target {
                Target::Node(id) => assert!((1..=3).contains(&id)),
                Target::Leader(partition) => assert!(partition < 6),
                Target::Controller | Target::Coordinator => {}
            }
        }
    }
}
