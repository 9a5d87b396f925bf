//! Two partitions: their batches come in one Produce or in several, are taken apart where leaders differ, go together where they
//! don't, and each request gets one answer.

use super::scenario::{BOTH_BEHIND_A_MOVE, Budget, CALM, Identity, KILLED, MOVED, PLAIN, Scenario, TOGETHER};
use super::tests::{is_right, is_right_wide};

/// Requests for two partitions, one of which is moved: they are taken apart, and their answers put together. One of the moves is the
/// prelude's.
const PAIR: Scenario = Scenario {
    requests: &[&[0, 1], &[0, 1]],
    prelude: &[TOGETHER],
    budget: Budget { moves: 2, ..CALM },
    ..PLAIN
};
static PAIR_MOVE: Scenario = PAIR;
static PAIR_LOSS: Scenario = Scenario { budget: Budget { moves: 1, losses: 1, ..CALM }, ..PAIR };
static PAIR_KILL: Scenario =
    Scenario { requests: &[&[0, 1], &[1]], budget: Budget { moves: 1, kills: 1, ..CALM }, ..PAIR };
static PAIR_MOVE_LOSS: Scenario =
    Scenario { requests: &[&[0, 1], &[1]], budget: Budget { moves: 2, losses: 1, ..CALM }, ..PAIR };

/// Three batches in two requests, the first of which has one for each partition; both are led by the first node. One thing goes wrong.
const ONE: Scenario = Scenario { requests: &[&[0, 1], &[0]], together: true, ..PLAIN };
/// The second request is the one that has one for each.
const LATER: Scenario = Scenario { requests: &[&[1], &[0, 1]], together: true, ..PLAIN };
/// Each batch in a request of its own.
const SEVERAL: Scenario = Scenario { requests: &[&[0], &[1], &[0]], together: true, ..PLAIN };
/// Each node leads a partition, so that a client that knows better takes the second request apart itself.
const APART: Scenario = Scenario { together: false, ..LATER };

const MOVE: Budget = Budget { moves: 1, ..CALM };
const LOSS: Budget = Budget { losses: 1, ..CALM };
const KILL: Budget = Budget { kills: 1, ..CALM };
const SHRINK: Budget = Budget { shrinks: 1, ..CALM };
const LATE: Budget = Budget { time_outs: 1, ..CALM };
const DENIAL: Budget = Budget { denials: 1, ..CALM };
/// A bound is reached where something waits.
const EXPIRY: Budget = Budget { moves: 1, expiries: 1, ..CALM };
/// Metadata is behind where something has moved.
const BEHIND: Budget = Budget { moves: 1, behind: 1, ..CALM };

static ONE_MOVE: Scenario = Scenario { budget: MOVE, ..ONE };
static ONE_LOSS: Scenario = Scenario { budget: LOSS, ..ONE };
static ONE_KILL: Scenario = Scenario { budget: KILL, ..ONE };
static ONE_KILLED: Scenario = Scenario { prelude: &[KILLED], ..ONE_KILL };
static ONE_SHRINK: Scenario = Scenario { min_in_sync: 2, budget: SHRINK, ..ONE };
static ONE_LATE: Scenario = Scenario { budget: LATE, ..ONE };
static ONE_DENIAL: Scenario = Scenario { budget: DENIAL, ..ONE };
static ONE_EXPIRY: Scenario = Scenario { budget: EXPIRY, ..ONE };
static ONE_BEHIND: Scenario = Scenario { budget: BEHIND, ..ONE };
static ONE_OWN_MOVE: Scenario = Scenario { identity: Identity::Own, ..ONE_MOVE };
static ONE_OWN_LOSS: Scenario = Scenario { identity: Identity::Own, ..ONE_LOSS };
static ONE_OWN_LATE: Scenario = Scenario { identity: Identity::Own, ..ONE_LATE };
static ONE_BARE_MOVE: Scenario = Scenario { identity: Identity::None, ..ONE_MOVE };
static ONE_BARE_LOSS: Scenario = Scenario { identity: Identity::None, ..ONE_LOSS };

static LATER_MOVE: Scenario = Scenario { budget: MOVE, ..LATER };
static LATER_LOSS: Scenario = Scenario { budget: LOSS, ..LATER };
pub(super) static LATER_OWN_LOSS: Scenario = Scenario { identity: Identity::Own, ..LATER_LOSS };

static SEVERAL_MOVE: Scenario = Scenario { budget: MOVE, ..SEVERAL };
static SEVERAL_LOSS: Scenario = Scenario { budget: LOSS, ..SEVERAL };
static SEVERAL_KILLED: Scenario = Scenario { prelude: &[KILLED], budget: KILL, ..SEVERAL };
static SEVERAL_SHRINK: Scenario = Scenario { min_in_sync: 2, budget: SHRINK, ..SEVERAL };
static SEVERAL_LATE: Scenario = Scenario { budget: LATE, ..SEVERAL };
static SEVERAL_DENIAL: Scenario = Scenario { budget: DENIAL, ..SEVERAL };
static SEVERAL_EXPIRY: Scenario = Scenario { budget: EXPIRY, ..SEVERAL };
static SEVERAL_BEHIND: Scenario = Scenario { budget: BEHIND, ..SEVERAL };
static SEVERAL_OWN_MOVE: Scenario = Scenario { identity: Identity::Own, ..SEVERAL_MOVE };
static SEVERAL_OWN_LOSS: Scenario = Scenario { identity: Identity::Own, ..SEVERAL_LOSS };

pub(super) static APART_MOVE: Scenario = Scenario { budget: MOVE, ..APART };
static APART_MOVED: Scenario = Scenario { prelude: &[MOVED], ..APART_MOVE };
static APART_LOSS: Scenario = Scenario { budget: LOSS, ..APART };
static APART_KILLED: Scenario = Scenario { prelude: &[KILLED], budget: KILL, ..APART };
static APART_SHRINK: Scenario = Scenario { min_in_sync: 2, budget: SHRINK, ..APART };
static APART_LATE: Scenario = Scenario { budget: LATE, ..APART };
static APART_DENIAL: Scenario = Scenario { budget: DENIAL, ..APART };
static APART_EXPIRY: Scenario = Scenario { budget: EXPIRY, ..APART };
static APART_BEHIND: Scenario = Scenario { budget: BEHIND, ..APART };

/// A backlog of both partitions: what proves a batch of one goes together with a batch of the other.
pub(super) static BACKLOG: Scenario = Scenario {
    requests: &[&[0, 1], &[0], &[0], &[1]],
    together: true,
    prelude: &[BOTH_BEHIND_A_MOVE],
    budget: Budget { moves: 3, ..CALM },
    ..PLAIN
};
/// Of a request with a batch for each partition the next one proves one.
pub(super) static BACKLOG_PARTLY: Scenario =
    Scenario { requests: &[&[0, 1], &[0, 1], &[0], &[0]], ..BACKLOG };
static BACKLOG_LOSS: Scenario = Scenario { budget: Budget { moves: 2, losses: 1, ..CALM }, ..BACKLOG };

#[test]
fn a_request_for_both_partitions() {
    is_right(&ONE_MOVE, 4900);
    is_right(&ONE_LOSS, 210);
    is_right(&ONE_KILLED, 6400);
    is_right(&ONE_SHRINK, 570);
    is_right(&ONE_LATE, 270);
    is_right(&ONE_DENIAL, 49);
    is_right(&ONE_EXPIRY, 7600);
    is_right(&LATER_LOSS, 280);
    is_right_wide(&ONE_BEHIND, 13_700);
    is_right_wide(&ONE_KILL, 41_900);
    is_right_wide(&LATER_MOVE, 11_100);
}

#[test]
fn a_request_for_both_partitions_with_an_identity_of_its_clients_own_or_none() {
    is_right(&ONE_OWN_MOVE, 7100);
    is_right(&ONE_OWN_LOSS, 320);
    is_right(&ONE_OWN_LATE, 450);
    is_right(&LATER_OWN_LOSS, 380);
    is_right(&ONE_BARE_MOVE, 3700);
    is_right(&ONE_BARE_LOSS, 130);
}

#[test]
fn a_request_for_each_partition() {
    is_right(&SEVERAL_MOVE, 18_400);
    is_right(&SEVERAL_LOSS, 940);
    is_right(&SEVERAL_SHRINK, 1700);
    is_right(&SEVERAL_LATE, 450);
    is_right(&SEVERAL_DENIAL, 110);
    is_right(&SEVERAL_OWN_LOSS, 1000);
    is_right_wide(&SEVERAL_OWN_MOVE, 17_500);
    is_right_wide(&SEVERAL_EXPIRY, 27_500);
    is_right_wide(&SEVERAL_BEHIND, 56_300);
    is_right_wide(&SEVERAL_KILLED, 174_000);
}

#[test]
fn partitions_that_are_led_apart() {
    is_right(&APART_MOVED, 200);
    is_right(&APART_LOSS, 1200);
    is_right(&APART_SHRINK, 3100);
    is_right(&APART_LATE, 760);
    is_right(&APART_DENIAL, 230);
    is_right_wide(&APART_MOVE, 39_800);
    is_right_wide(&APART_EXPIRY, 60_600);
    is_right_wide(&APART_BEHIND, 128_400);
    is_right_wide(&APART_KILLED, 100);
}

#[test]
fn a_backlog_of_both_partitions() {
    is_right(&BACKLOG_LOSS, 2900);
    is_right(&BACKLOG, 8700);
    is_right_wide(&BACKLOG_PARTLY, 30_800);
}

#[test]
fn requests_for_both_partitions() {
    is_right(&PAIR_LOSS, 920);
    is_right(&PAIR_MOVE, 15_900);
    is_right_wide(&PAIR_KILL, 1000);
    is_right_wide(&PAIR_MOVE_LOSS, 1000);
}
