//! What earlier requests stand in the way of, on one way through a connection's slots. Pure.
//!
//! Partitions go by a small number here ([`Lanes`]), so that looking at a thousand held requests hashes nothing.

use crate::kafka::cluster::{Producer, TopicKey};
use std::collections::HashMap;
use std::time::Instant;

/// A partition's number on one client connection.
pub(super) type Lane = u32;

/// The kind of whole Produce requests.
pub(super) const PRODUCES: u8 = 1;

/// How a batch is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// To this node.
    pub node: i32,
    /// Under this producer id and epoch, or none. A broker keeps batches of one producer and epoch in order, and those of two
    /// only as they come.
    pub producer: Producer,
}

/// The partitions that a client connection has written to in trouble, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    numbers: HashMap<(TopicKey, i32), Lane>,
    keys: Vec<(TopicKey, i32)>,
    moved: Vec<Option<Instant>>,
}

impl Lanes {
    /// The number of a partition; a new one gets the next.
    pub(super) fn number(&mut self, topic: TopicKey, partition: i32) -> Lane {
        let key = (topic, partition);
        if let Some(known) = self.numbers.get(&key) {
            return *known;
        }
        let next = Lane::try_from(self.keys.len()).unwrap_or(Lane::MAX);
        self.keys.push(key.clone());
        self.moved.push(None);
        self.numbers.insert(key, next);
        next
    }

    /// The partition of a number.
    pub(super) fn key(&self, lane: Lane) -> Option<&(TopicKey, i32)> {
        self.keys.get(lane as usize)
    }

    /// A batch of the partition is in its leader's log.
    pub(super) fn moves(&mut self, lane: Lane, now: Instant) {
        if let Some(moved) = self.moved.get_mut(lane as usize) {
            *moved = Some(now);
        }
    }

    /// When that was last so.
    pub(super) fn moved(&self, lane: Lane) -> Option<Instant> {
        *self.moved.get(lane as usize)?
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets all, when no slot goes by a number any more.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.keys.clear();
        self.moved.clear();
    }
}

/// What is undecided before a batch of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    #[default]
    Nothing,
    /// Batches that are all on this way.
    OnWay(Way),
    /// One that waits, or batches on several ways: nothing goes behind them.
    Stopped,
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    before: Before,
    /// One of them is in parts.
    parts: bool,
    /// Some of this producer wait at a gap: only those go on that may say more of it.
    gap: Option<Producer>,
}

/// What earlier requests stand in the way of.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Kinds of whole requests of which an earlier one waits.
    pub kinds: u8,
    lanes: Vec<Standing>,
    stopped: usize,
    in_parts: usize,
}

impl Ahead {
    /// Begins anew, with so many lanes.
    pub(super) fn clear(&mut self, lanes: usize) {
        self.kinds = 0;
        self.stopped = 0;
        self.in_parts = 0;
        self.lanes.clear();
        self.lanes.resize(lanes, Standing::default());
    }

    /// What is undecided before a batch of this partition.
    pub(super) fn before(&self, lane: Lane) -> Before {
        self.lanes.get(lane as usize).map_or(Before::Nothing, |standing| standing.before)
    }

    /// Whether an earlier batch of the partition is undecided in a request that goes in parts.
    pub(super) fn is_in_parts(&self, lane: Lane) -> bool {
        self.lanes.get(lane as usize).is_some_and(|standing| standing.parts)
    }

    fn standing(lanes: &mut Vec<Standing>, lane: Lane) -> Option<&mut Standing> {
        if lanes.len() <= lane as usize {
            lanes.resize(lane as usize + 1, Standing::default());
        }
        lanes.get_mut(lane as usize)
    }

    /// An earlier batch of a partition is undecided: on its way, unless it waits or went whole. `parts`: its request
    /// goes in parts.
    pub(super) fn undecided(&mut self, lane: Lane, way: Option<Way>, parts: bool) {
        let Some(standing) = Self::standing(&mut self.lanes, lane) else { return };
        let before = match (standing.before, way) {
            (Before::Nothing, Some(way)) => Before::OnWay(way),
            (Before::OnWay(known), Some(way)) if known == way => Before::OnWay(way),
            _ => Before::Stopped,
        };
        self.stopped += usize::from(before == Before::Stopped && standing.before != Before::Stopped);
        self.in_parts += usize::from(parts && !standing.parts);
        standing.before = before;
        standing.parts |= parts;
    }

    /// An earlier batch of a partition waits at a gap.
    pub(super) fn at_gap(&mut self, lane: Lane, producer: Producer) {
        let Some(standing) = Self::standing(&mut self.lanes, lane) else { return };
        standing.gap = Some(producer);
        self.in_parts += usize::from(!standing.parts);
        standing.parts = true;
    }

    /// Whose batches of the partition wait at a gap.
    pub(super) fn gap(&self, lane: Lane) -> Option<Producer> {
        self.lanes.get(lane as usize)?.gap
    }

    /// Whole requests of this kind, and batches of these partitions, wait behind one that waits whole.
    pub(super) fn stop(&mut self, kind: u8, lanes: &[Lane]) {
        self.kinds |= kind;
        for lane in lanes {
            self.undecided(*lane, None, false);
        }
    }

    /// Whether no later Produce can go, whatever it is: every partition is stopped, and so is what goes whole.
    pub(super) fn stops_every_produce(&self) -> bool {
        let all = self.lanes.len();
        all > 0 && self.stopped == all && (self.kinds & PRODUCES != 0 || self.in_parts == all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn way((node, id): (i32, i64)) -> Way {
        Way { node, producer: Producer { id, epoch: 0 } }
    }

    #[test]
    fn a_partition_is_on_its_way_only_if_all_its_batches_go_the_same_way() {
        let after = |sent: &[Option<(i32, i64)>]| {
            let mut ahead = Ahead::default();
            for to in sent {
                ahead.undecided(0, to.map(way), true);
            }
            ahead.before(0)
        };
        let (one, two) = (Some((1, 7)), Some((2, 7)));
        assert_eq!(after(&[]), Before::Nothing);
        assert_eq!(after(&[one, one]), Before::OnWay(way((1, 7))));
        assert_eq!(after(&[one, two]), Before::Stopped);
        assert_eq!(after(&[one, two, one]), Before::Stopped);
        assert_eq!(after(&[one, Some((1, 8))]), Before::Stopped, "another producer");
        let mut bumped = Ahead::default();
        for epoch in [0, 1] {
            bumped.undecided(0, Some(Way { node: 1, producer: Producer { id: 7, epoch } }), true);
        }
        assert_eq!(bumped.before(0), Before::Stopped, "another epoch");
        assert_eq!(after(&[None, one]), Before::Stopped);
        assert_eq!(after(&[one, None]), Before::Stopped);
    }

    #[test]
    fn nothing_more_can_go_when_every_partition_is_stopped_and_whole_requests_are_too() {
        let mut ahead = Ahead::default();
        ahead.clear(2);
        ahead.stop(0, &[0]);
        assert!(!ahead.stops_every_produce(), "the other partition is free");
        ahead.stop(0, &[1]);
        assert!(!ahead.stops_every_produce(), "a whole request may follow others that went whole");
        ahead.stop(PRODUCES, &[]);
        assert!(ahead.stops_every_produce());
        ahead.clear(1);
        assert!(!ahead.stops_every_produce());
        ahead.undecided(0, None, true);
        ahead.undecided(0, None, true);
        assert!(ahead.stops_every_produce(), "behind one in parts nothing goes whole");
        ahead.clear(0);
        ahead.stop(PRODUCES, &[]);
        assert!(!ahead.stops_every_produce(), "one that cannot be read has no partition");
    }

    #[test]
    fn partitions_keep_their_numbers() {
        let mut lanes = Lanes::default();
        let name = |name: &'static str| TopicKey::Name(Bytes::from_static(name.as_bytes()));
        let (a, b) = (lanes.number(name("t"), 0), lanes.number(name("t"), 1));
        assert_ne!(a, b);
        assert_eq!(lanes.number(name("t"), 0), a);
        assert_eq!(lanes.key(b), Some(&(name("t"), 1)));
        assert_eq!(lanes.len(), 2);
        let now = Instant::now();
        lanes.moves(b, now);
        assert_eq!([a, b].map(|lane| lanes.moved(lane)), [None, Some(now)]);
        lanes.clear();
        assert_eq!(lanes.moved(b), None);
    }
}
