//! The model check: real sessions between a modelled client and modelled brokers, explored exhaustively at small bounds.
//! No reachable state may hold a lost, repeated or reordered record, an error for no need, or a book that does not balance;
//! and from each everything gets decided once nothing goes wrong any more.
//!
//! Tests only. `ARCHITECTURE.md`, *Model check*, says what is explored and what is not.

mod action;
mod client;
mod copy;
mod scenario;
mod traffic;
mod world;

use crate::kafka::mistake::{self, Mistake};
use action::Action;
use scenario::{Budget, CALM, Identity, PLAIN, Scenario};
use stateright::{Checker, Model, Property};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use world::World;

impl super::Session {
    /// The nodes that it is connected to, in the order of its links.
    fn open_nodes(&self) -> Vec<i32> {
        self.links.iter().filter(|link| link.is_open()).map(|link| link.node).collect()
    }
}

/// A state with its print.
#[derive(Clone)]
struct State {
    print: u64,
    broken: Option<String>,
    world: Arc<Mutex<World>>,
}

impl State {
    fn new(world: World) -> Self {
        Self { print: world.print(), broken: world.broken.clone(), world: Arc::new(Mutex::new(world)) }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

/// A scenario, and the rule that isn't kept in it.
struct Check {
    scenario: &'static Scenario,
    mistake: Option<Mistake>,
    /// From one state in so many everything is seen to get decided.
    settles: u64,
}

impl Model for Check {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        mistake::make(self.mistake);
        vec![State::new(World::new(self.scenario))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        mistake::make(self.mistake);
        if state.broken.is_none() {
            state.world.lock().unwrap().actions(actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        mistake::make(self.mistake);
        let mut world = last.world.lock().unwrap().copy();
        world.act(action);
        let mut state = State::new(world);
        if state.broken.is_none() && state.print % self.settles == 0 {
            state.broken = state.world.lock().unwrap().copy().settle();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing is wrong", |_, state: &State| state.broken.is_none())]
    }
}

/// What an exploration came to: how many states there are, and how the first that is wrong is reached.
fn explore(scenario: &'static Scenario, mistake: Option<Mistake>, settles: u64) -> (usize, Option<String>) {
    let checker = Check { scenario, mistake, settles }.checker().spawn_dfs().join();
    let found = checker.discovery("nothing is wrong").map(|path| {
        let what = path.last_state().broken.clone().unwrap_or_default();
        format!("{what}\n{:?}", path.into_actions())
    });
    (checker.unique_state_count(), found)
}

static LOSS: Scenario = Scenario { requests: &[&[0], &[0]], budget: Budget { losses: 1, ..CALM }, ..PLAIN };
static MOVE: Scenario = Scenario { requests: &[&[0], &[0]], budget: Budget { moves: 1, ..CALM }, ..PLAIN };
static BARE: Scenario = Scenario {
    requests: &[&[0], &[0]],
    identity: Identity::None,
    budget: Budget { moves: 1, losses: 1, ..CALM },
    ..PLAIN
};
static ONE: Scenario = Scenario { acks: 1, raise: false, budget: Budget { moves: 1, ..CALM }, ..PLAIN };
static RAISED: Scenario = Scenario {
    acks: 1,
    min_in_sync: 2,
    stays_short: true,
    budget: Budget { shrinks: 1, time_outs: 1, ..CALM },
    ..PLAIN
};
fn is_right(scenario: &'static Scenario) {
    let (states, found) = explore(scenario, None, 40);
    println!("{states} states");
    assert_eq!(found, None, "{scenario:?}");
    assert!(states > 50, "{states} states: nothing was explored");
}

#[test]
fn a_lost_connection() {
    is_right(&LOSS);
}

#[test]
fn a_move_of_leadership() {
    is_right(&MOVE);
}

#[test]
fn without_an_identity() {
    is_right(&BARE);
}

#[test]
fn acks_1_as_it_is() {
    is_right(&ONE);
}

#[test]
fn acks_1_raised_and_followers_missing() {
    is_right(&RAISED);
}

/// Each mistake, and where it shows.
static MISTAKES: &[(Mistake, &Scenario)] = &[
    (Mistake::ChecksumLeft, &LOSS),
    (Mistake::NewSequenceForUnknown, &LOSS),
    (Mistake::TicketLost, &LOSS),
    (Mistake::BytesKept, &LOSS),
    (Mistake::UnsequencedRepeated, &BARE),
    (Mistake::WrittenTakenForUnsent, &BARE),
    (Mistake::BarrierIgnored, &MOVE),
    (Mistake::BarrierAtTelling, &MOVE),
    (Mistake::CapacityPassedOn, &RAISED),
    (Mistake::RaisedForEver, &RAISED),
];

#[test]
fn every_mistake_is_found() {
    let only = std::env::var("TESTBED_MISTAKE").ok();
    let missed: Vec<Mistake> = MISTAKES
        .iter()
        .filter(|(mistake, _)| only.as_ref().is_none_or(|only| *only == format!("{mistake:?}")))
        .filter(|(mistake, scenario)| {
            let (states, found) = explore(scenario, Some(*mistake), 8);
            println!("{mistake:?}: {states} states: {found:?}");
            found.is_none()
        })
        .map(|(mistake, _)| *mistake)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
