//! Rules that are broken on purpose, and where that shows: a model that finds nothing proves nothing.

use super::explore;
use super::pairs::{APART_MOVE, BACKLOG, BACKLOG_PARTLY, LATER_OWN_LOSS};
use super::scenario::Scenario;
use super::tests::{
    BACKLOG_BARE, BACKLOG_LOSS, BACKLOG_MOVE, BACKLOG_SHORT, BARE, DENIED, DOUBT, EXPIRY, GAP, LATE_ID,
    LATE_ID_MOVES, LOSS, MANY, MOVE, MOVE_3, MOVE_LOSS, MOVES, ONE, OWN_BEHIND, OWN_LOSS, OWN_LOST, RAISED,
    REFUSED, REFUSED_TWICE, RESTART, SETTLES, UNTRUSTED,
};
use super::unread::UNREAD;
use crate::kafka::mistake::Mistake;
use std::collections::BTreeSet;

/// Each mistake, and where it shows.
static MISTAKES: &[(Mistake, &Scenario)] = &[
    (Mistake::ChecksumLeft, &LOSS),
    (Mistake::NewSequenceForUnknown, &LOSS),
    (Mistake::OtherIdBehindGap, &GAP),
    (Mistake::EpochKept, &GAP),
    (Mistake::GapTakenForGood, &GAP),
    (Mistake::GapProvesAlone, &RESTART),
    (Mistake::TicketLost, &LOSS),
    (Mistake::BytesKept, &LOSS),
    (Mistake::UnsequencedRepeated, &BARE),
    (Mistake::WrittenTakenForUnsent, &BARE),
    (Mistake::BarrierIgnored, &MOVE),
    (Mistake::BarrierAtTelling, &MOVE),
    (Mistake::Unasked, &UNREAD),
    (Mistake::FoundLate, &UNREAD),
    (Mistake::FollowsAnybody, &OWN_BEHIND),
    (Mistake::FollowsUntrusted, &UNTRUSTED),
    (Mistake::FollowsOthers, &LATE_ID_MOVES),
    (Mistake::FollowsUnnamed, &LATE_ID_MOVES),
    (Mistake::StampedLate, &LATE_ID),
    (Mistake::SecondOvertaken, &LATER_OWN_LOSS),
    (Mistake::SecondUnbarred, &APART_MOVE),
    (Mistake::FirstProvesAll, &BACKLOG_PARTLY),
    (Mistake::ProofOfAnother, &BACKLOG),
    (Mistake::WindowIgnored, &MANY),
    (Mistake::ProofUnjoined, &BACKLOG_BARE),
    (Mistake::GivenBackAlways, &DENIED),
    (Mistake::GivenBackUnderOthers, &REFUSED),
    (Mistake::GivenBackOfAnyEpoch, &REFUSED_TWICE),
    (Mistake::PartOvertakes, &OWN_LOSS),
    (Mistake::WholeOvertakes, &OWN_LOST),
    (Mistake::GatheredTwice, &MOVE_3),
    (Mistake::LastLowered, &BACKLOG_MOVE),
    (Mistake::LeaderTakenForAll, &BACKLOG_MOVE),
    (Mistake::ProofUnread, &BACKLOG_MOVE),
    (Mistake::UnprovenTakenForUnsent, &BACKLOG_SHORT),
    (Mistake::KeptAnswerForgotten, &BACKLOG_LOSS),
    (Mistake::FirstNotAlone, &MOVES),
    (Mistake::StampedTwice, &MOVE_LOSS),
    (Mistake::AppendedTakenForRefused, &EXPIRY),
    (Mistake::LateTakenForRefused, &DOUBT),
    (Mistake::DoubtForgotten, &DOUBT),
    (Mistake::GapTakenForLanded, &ONE),
    (Mistake::CapacityPassedOn, &RAISED),
    (Mistake::RaisedForEver, &RAISED),
];

#[test]
fn every_mistake_is_found() {
    let named: BTreeSet<_> = MISTAKES.iter().map(|(mistake, _)| *mistake).collect();
    assert_eq!((named.len(), MISTAKES.len()), (Mistake::COUNT, Mistake::COUNT), "each once");
    let only = std::env::var("TESTBED_MISTAKE").ok();
    let missed: Vec<Mistake> = MISTAKES
        .iter()
        .filter(|(mistake, _)| only.as_ref().is_none_or(|only| *only == format!("{mistake:?}")))
        .filter(|(mistake, scenario)| {
            let explored = explore(scenario, Some(*mistake), SETTLES);
            println!("{mistake:?}: {} states: {:?}", explored.states, explored.found);
            explored.found.is_none()
        })
        .map(|(mistake, _)| *mistake)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
