//! Which parts go in which request, in which order, and which of them need not wait for the followers. Pure.
//!
//! A broker works at one request of a connection at a time and takes one batch of a partition in each, so with acks=all a
//! partition moves by one batch in a round trip to its followers. But a log is copied from its beginning: when the last of
//! several batches has been acknowledged by all, so have those before it. So they go with acks=1, the last one with acks=all,
//! and `confirm` tells the client of none before that one's answer. What makes the last one's success prove the
//! others is the broker's check of sequences: it takes a batch only right behind the one before, unless it doesn't know the
//! producer at all. So only batches whose sequences join go like this, of a producer that the node has taken from for all.

use super::ahead::Lane;
use super::inject::{REMEMBERED, after};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::wire::batch::BatchHeader;
use std::collections::HashMap;

/// A gathered request holds no more parts.
const PARTS_MAX: usize = 64;
/// Nor more bytes of requests than this, but for a single part: brokers take 100 MiB, and a replay costs it again.
const BYTES_MAX: usize = 1 << 20;

/// The sequence of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    producer: i64,
    epoch: i16,
    first: i32,
    next: i32,
}

impl Stretch {
    /// That of a batch which has one.
    pub(super) fn of(header: &BatchHeader) -> Option<Self> {
        header.is_sequenced().then(|| Self {
            producer: header.producer_id,
            epoch: header.producer_epoch,
            first: header.base_sequence,
            next: after(header.base_sequence, header.last_offset_delta),
        })
    }

    fn is_right_before(&self, next: &Self) -> bool {
        (self.producer, self.epoch, self.next) == (next.producer, next.epoch, next.first)
    }
}

/// A partition of a part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub lane: Lane,
    /// If its one batch has a sequence, and the node has acknowledged one of the same producer, for all.
    pub stretch: Option<Stretch>,
}

/// A part as it is packed.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub node: i32,
    pub version: i16,
    pub acks: i16,
    pub timeout_ms: i32,
    pub rows: Vec<Row>,
    /// Of its client's request.
    pub bytes: usize,
    /// What has taken its connection with it before must not take others with it.
    pub alone: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// The places of its parts.
    pub loads: Vec<usize>,
    /// It goes with acks=1: a later one proves it.
    pub lowered: bool,
}

/// How a part stands to the others of its node.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The longest row of parts before it, and behind it, that share a partition each with the next.
    before: usize,
    behind: usize,
    lowered: bool,
}

/// Packs parts, which are given in the order of their requests. The requests that come out are to be sent in their order:
/// so each partition's batches stay in theirs.
pub(super) fn pack(loads: &[Load]) -> Vec<Packed> {
    let mut places = vec![Place::default(); loads.len()];
    let mut nodes: Vec<i32> = Vec::new();
    // By node and partition, the nearest part on that side.
    let mut near: HashMap<(i32, Lane), usize> = HashMap::new();
    for (at, load) in loads.iter().enumerate() {
        if !nodes.contains(&load.node) {
            nodes.push(load.node);
        }
        let before = load.rows.iter().filter_map(|row| near.insert((load.node, row.lane), at));
        let before: Vec<usize> = before.collect();
        let level = before.iter().filter_map(|at| places.get(*at)).map(|place| place.before + 1).max();
        if let Some(place) = places.get_mut(at) {
            place.before = level.unwrap_or(0);
        }
    }
    near.clear();
    for (at, load) in loads.iter().enumerate().rev() {
        let mut place = places.get(at).copied().unwrap_or_default();
        let mut proven = load.acks == -1 && !load.rows.is_empty();
        for row in &load.rows {
            let next = near.insert((load.node, row.lane), at);
            let behind = next.and_then(|next| places.get(next)).map_or(0, |place| place.behind + 1);
            place.behind = place.behind.max(behind);
            let is_first = load.rows.first().is_some_and(|first| first.lane == row.lane);
            proven &= next.and_then(|next| loads.get(next)).is_some_and(|next| is_proven_by(row, next))
                || (!is_first && made(Mistake::FirstProvesAll));
        }
        // A broker knows five again. Longer rows are proven now and then.
        place.lowered = (proven || made(Mistake::LastLowered)) && place.behind < REMEMBERED as usize;
        if let Some(known) = places.get_mut(at) {
            *known = place;
        }
    }
    nodes.into_iter().flat_map(|node| pack_node(loads, &places, node)).collect()
}

/// Whether the next batch of the partition can only be taken if this one is in the log.
fn is_proven_by(row: &Row, next: &Load) -> bool {
    let Some(next) = next.rows.iter().find(|other| other.lane == row.lane) else { return false };
    matches!((&row.stretch, &next.stretch), (Some(one), Some(two)) if one.is_right_before(two))
        || made(Mistake::ProofUnjoined)
}

fn pack_node(loads: &[Load], places: &[Place], node: i32) -> Vec<Packed> {
    let of_node = loads.iter().zip(places).enumerate().filter(|(_, (load, _))| load.node == node);
    let mut order: Vec<(usize, &Load, &Place)> =
        of_node.map(|(at, (load, place))| (at, load, place)).collect();
    // Where some are lowered, the last batches of all partitions come together at the end, however many each has: one round
    // trip to the followers for all of them. Otherwise each goes as early as it can.
    let lowers = order.iter().any(|(_, _, place)| place.lowered);
    let level = |place: &Place| if lowers { usize::MAX - place.behind } else { place.before };
    order.sort_by_key(|(_, _, place)| level(place));
    let mut requests: Vec<(Packed, &Load, usize, usize)> = Vec::new();
    for (at, load, place) in order {
        let of = if made(Mistake::GatheredTwice) { 0 } else { level(place) };
        let fits = |(packed, first, of_level, bytes): &&mut (Packed, &Load, usize, usize)| {
            *of_level == of
                && (packed.lowered == place.lowered || made(Mistake::GatheredTwice))
                && packed.loads.len() < PARTS_MAX
                && *bytes + load.bytes <= BYTES_MAX
                && !load.alone
                && (first.version, first.acks, first.timeout_ms) == (load.version, load.acks, load.timeout_ms)
        };
        match requests.iter_mut().find(fits) {
            Some((packed, _, _, bytes)) => {
                packed.loads.push(at);
                *bytes += load.bytes;
            }
            None => {
                let packed = Packed { loads: vec![at], lowered: place.lowered };
                // One that goes alone is full.
                requests.push((packed, load, of, if load.alone { BYTES_MAX } else { load.bytes }));
            }
        }
    }
    requests.into_iter().map(|(packed, ..)| packed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: i32 = 1;

    fn stretch(first: i32) -> Stretch {
        Stretch { producer: 7, epoch: 0, first, next: first + 1 }
    }

    fn load(rows: &[(Lane, Option<Stretch>)]) -> Load {
        let rows = rows.iter().map(|(lane, stretch)| Row { lane: *lane, stretch: *stretch }).collect();
        Load { node: NODE, version: 9, acks: -1, timeout_ms: 1000, rows, bytes: 100, alone: false }
    }

    /// Batches of one partition, with the sequences 0, 1, …
    fn lane(lane: Lane, count: i32) -> Vec<Load> {
        (0..count).map(|n| load(&[(lane, Some(stretch(n)))])).collect()
    }

    fn packed(loads: &[Load]) -> Vec<(Vec<usize>, bool)> {
        pack(loads).into_iter().map(|packed| (packed.loads, packed.lowered)).collect()
    }

    #[test]
    fn all_but_the_last_batch_of_a_partition_are_lowered() {
        assert_eq!(packed(&lane(0, 1)), [(vec![0], false)]);
        assert_eq!(packed(&lane(0, 3)), [(vec![0], true), (vec![1], true), (vec![2], false)]);
    }

    #[test]
    fn the_last_batches_of_all_partitions_go_together() {
        // Two of partition 0, one of partition 1, three of partition 2.
        let loads = [lane(0, 2), lane(1, 1), lane(2, 3)].concat();
        assert_eq!(packed(&loads), [(vec![3], true), (vec![0, 4], true), (vec![1, 2, 5], false)]);
    }

    #[test]
    fn a_part_with_a_last_batch_in_it_is_not_lowered() {
        let both = load(&[(0, Some(stretch(0))), (1, Some(stretch(0)))]);
        assert_eq!(
            packed(&[both.clone(), load(&[(0, Some(stretch(1)))])]),
            [(vec![0], false), (vec![1], false)]
        );
        let next = load(&[(0, Some(stretch(1))), (1, Some(stretch(1)))]);
        assert_eq!(packed(&[both.clone(), next]), [(vec![0], true), (vec![1], false)]);
        let ends = [both, load(&[(0, Some(stretch(1)))]), load(&[(1, Some(stretch(1)))])];
        assert_eq!(packed(&ends), [(vec![0], true), (vec![1, 2], false)]);
    }

    #[test]
    fn what_the_next_one_does_not_prove_is_not_lowered() {
        let of = |producer, epoch, first| Some(Stretch { producer, epoch, first, next: first + 1 });
        let behind = |next| packed(&[load(&[(0, of(7, 2, 4))]), load(&[(0, next)])])[0].1;
        assert!(behind(of(7, 2, 5)));
        assert!(!behind(of(7, 2, 6)), "a gap");
        assert!(!behind(of(8, 2, 5)), "another producer");
        assert!(!behind(of(7, 3, 5)), "another epoch");
        assert!(!behind(None), "no sequence, or a producer that is new to the node");
        let mut elsewhere = lane(0, 2);
        elsewhere[1].node = 2;
        assert_eq!(packed(&elsewhere), [(vec![0], false), (vec![1], false)]);
        let mut weak = lane(0, 2);
        for load in &mut weak {
            load.acks = 1;
        }
        assert_eq!(packed(&weak), [(vec![0], false), (vec![1], false)], "it is what the client asked for");
    }

    #[test]
    fn a_long_row_is_proven_now_and_then() {
        let lowered: Vec<bool> = packed(&lane(0, 7)).into_iter().map(|(_, lowered)| lowered).collect();
        assert_eq!(lowered, [false, false, true, true, true, true, false]);
    }

    #[test]
    fn without_a_sequence_each_goes_as_early_as_it_can() {
        let bare = |lane| load(&[(lane, None)]);
        let loads = [bare(0), bare(0), bare(1), bare(0)];
        assert_eq!(packed(&loads), [(vec![0, 2], false), (vec![1], false), (vec![3], false)]);
    }

    #[test]
    fn a_request_is_no_larger_than_it_may_be() {
        let mut many: Vec<Load> = (0..70).map(|lane| load(&[(lane, None)])).collect();
        assert_eq!(packed(&many).iter().map(|(loads, _)| loads.len()).collect::<Vec<_>>(), [64, 6]);
        many.truncate(3);
        many[0].bytes = BYTES_MAX - 100;
        assert_eq!(packed(&many), [(vec![0, 1], false), (vec![2], false)]);
        many[1].alone = true;
        assert_eq!(packed(&many), [(vec![0, 2], false), (vec![1], false)]);
        many[1].timeout_ms = 1;
        many[1].alone = false;
        assert_eq!(packed(&many), [(vec![0, 2], false), (vec![1], false)]);
        many[1].node = 2;
        assert_eq!(packed(&many), [(vec![0, 2], false), (vec![1], false)]);
    }
}
