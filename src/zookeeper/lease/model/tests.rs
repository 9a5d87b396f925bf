//! What is explored at every test, and what more with `TESTBED_MODEL_WIDE=1`.

use super::explore;
use super::scenario::{Budget, CALM, Kind, PLAIN, Scenario};
use crate::zookeeper::lease::Mode;
use crate::zookeeper::mistake::Mistake;
use std::collections::BTreeSet;
use std::time::Instant;

static LOSS: Scenario = Scenario { budget: Budget { losses: 1, deaths: 1, freezes: 1, ..CALM }, ..PLAIN };
static FREEZES: Scenario = Scenario { budget: Budget { freezes: 2, deaths: 1, ..CALM }, ..PLAIN };
static CUT: Scenario = Scenario { budget: Budget { cuts: 1, freezes: 1, ..CALM }, ..PLAIN };
static LEADER: Scenario = Scenario { budget: Budget { leaders: 1, freezes: 1, losses: 1, ..CALM }, ..PLAIN };
static LAZY: Scenario = Scenario {
    mode: Mode::Strict,
    client: Kind::Lazy,
    budget: Budget { deaths: 1, freezes: 1, ..CALM },
    ..PLAIN
};
static TIMERLESS: Scenario = Scenario {
    client: Kind::Timerless,
    budget: Budget { deaths: 1, losses: 1, freezes: 1, ..CALM },
    ..PLAIN
};
static ANSWERS: Scenario =
    Scenario { budget: Budget { losses: 1, others: 1, shorter: 1, deaths: 1, ..CALM }, ..PLAIN };
static CLIENTS: Scenario = Scenario { budget: Budget { clients: 1, ..CALM }, ..PLAIN };
/// A client that is silent, and servers that let it go one after another.
static LET_GO: Scenario = Scenario { budget: Budget { clients: 1, losses: 2, ..CALM }, ..PLAIN };
static LONG: Scenario = Scenario { granted: 8, budget: Budget { deaths: 1, freezes: 1, ..CALM }, ..PLAIN };
static LONG_END: Scenario = Scenario { granted: 8, budget: Budget { clients: 1, ..CALM }, ..PLAIN };
/// Twelve units, half a tick of one, and a unit for a frame and its answer.
static FINE: Scenario = Scenario {
    told: 12,
    granted: 12,
    delay: Some(1),
    budget: Budget { freezes: 1, deaths: 1, ..CALM },
    ..PLAIN
};
static EVENTS: Scenario =
    Scenario { events: true, budget: Budget { freezes: 1, deaths: 1, losses: 1, ..CALM }, ..PLAIN };
/// As `FREEZES`, with the shortest timeout that servers grant if nobody tells them otherwise: two ticks.
static TIGHT: Scenario = Scenario {
    told: 12,
    granted: 12,
    half_tick: 3,
    budget: Budget { freezes: 2, deaths: 1, ..CALM },
    ..PLAIN
};
/// The same with one freeze: evenkeel goes on to close what must be closed.
static TIGHT_ONCE: Scenario = Scenario { budget: Budget { freezes: 1, deaths: 1, ..CALM }, ..TIGHT };
/// A timeout that is hardly longer than a tick, which servers may be told to grant.
static LONG_TICK: Scenario = Scenario {
    told: 12,
    granted: 12,
    half_tick: 5,
    mode: Mode::Strict,
    budget: Budget { freezes: 1, deaths: 1, ..CALM },
    ..PLAIN
};
/// What the client waits for first lay in the kernel, for as long as its timeout at most.
static OPENING: Scenario = Scenario { opening: 6, budget: Budget { freezes: 1, deaths: 1, ..CALM }, ..PLAIN };
static STRICT_DEATH: Scenario = Scenario {
    mode: Mode::Strict,
    delay: None,
    events: true,
    budget: Budget { freezes: 1, cuts: 1, deaths: 1, ..CALM },
    ..PLAIN
};
static STRICT: Scenario =
    Scenario { mode: Mode::Strict, delay: None, budget: Budget { freezes: 1, cuts: 1, ..CALM }, ..PLAIN };

/// Every state is visited, nothing is wrong, and there are at least so many: one that explores little proves little.
fn is_right(scenario: &'static Scenario, at_least: usize) {
    let start = Instant::now();
    let explored = explore(scenario, None);
    println!("{} states, {:?}", explored.states, start.elapsed());
    assert_eq!(explored.found, None, "{scenario:?}");
    assert!(explored.states >= at_least, "{} states", explored.states);
}

/// Beyond what a test run has time for: `make model`.
fn is_right_wide(scenario: &'static Scenario, at_least: usize) {
    if std::env::var_os("TESTBED_MODEL_WIDE").is_some() {
        is_right(scenario, at_least);
    }
}

#[test]
fn a_server_that_dies_with_what_it_has_not_shipped() {
    is_right(&LOSS, 40_000);
    is_right(&FREEZES, 50_000);
}

#[test]
fn timeouts_of_hardly_more_than_a_tick() {
    is_right(&TIGHT_ONCE, 650_000);
    is_right_wide(&TIGHT, 4_400_000);
    is_right(&LONG_TICK, 300_000);
}

#[test]
fn an_answer_to_the_clients_own_attach_that_is_read_late() {
    is_right(&OPENING, 26_000);
}

#[test]
fn a_follower_that_is_cut_off() {
    is_right(&CUT, 60_000);
    is_right(&STRICT, 100_000);
    is_right_wide(&STRICT_DEATH, 2_000_000);
}

#[test]
fn a_leader_that_dies() {
    is_right(&LEADER, 270_000);
}

#[test]
fn clients_that_send_when_they_like_and_clients_without_a_timer() {
    is_right(&LAZY, 137_000);
    is_right(&TIMERLESS, 198_000);
}

#[test]
fn other_answers_to_an_attach() {
    is_right(&ANSWERS, 15_000);
}

#[test]
fn clients_that_die_or_are_frozen() {
    is_right(&CLIENTS, 1000);
    is_right(&LET_GO, 1000);
    is_right(&LONG_END, 1600);
    is_right(&LONG, 1000);
}

#[test]
fn events_and_a_finer_clock_with_delays() {
    is_right_wide(&FINE, 2_490_000);
    is_right(&EVENTS, 85_000);
}

/// Each mistake, and where it shows.
static MISTAKES: &[(Mistake, &Scenario)] = &[
    (Mistake::HalfTickIgnored, &LOSS),
    (Mistake::ArrivalForSending, &STRICT),
    (Mistake::TwoThirds, &LOSS),
    (Mistake::GapIgnored, &LAZY),
    (Mistake::HalfTickCapped, &LONG_TICK),
    (Mistake::OldBytesPassed, &FREEZES),
    (Mistake::ShortFreezeIgnored, &TIGHT),
    (Mistake::LateGrantTrusted, &OPENING),
    (Mistake::ClosedAtSilence, &ANSWERS),
    (Mistake::NeverClosed, &TIMERLESS),
    (Mistake::AnotherAccepted, &ANSWERS),
    (Mistake::ShorterAccepted, &ANSWERS),
    (Mistake::ExpiryInvented, &LOSS),
    (Mistake::GoneForgotten, &CLIENTS),
    (Mistake::SilentForgotten, &CLIENTS),
    (Mistake::AttachedForSilent, &LET_GO),
    (Mistake::EndForgotten, &LONG_END),
    (Mistake::LossStopsClock, &LOSS),
    (Mistake::FollowerTrusted, &STRICT),
];

#[test]
fn every_mistake_is_found() {
    let named: BTreeSet<_> = MISTAKES.iter().map(|(mistake, _)| *mistake).collect();
    assert_eq!((named.len(), MISTAKES.len()), (Mistake::COUNT, Mistake::COUNT), "each once");
    let missed: Vec<Mistake> = MISTAKES
        .iter()
        .filter(|(mistake, scenario)| {
            let explored = explore(scenario, Some(*mistake));
            println!("{mistake:?}: {} states: {:?}", explored.states, explored.found);
            explored.found.is_none()
        })
        .map(|(mistake, _)| *mistake)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
