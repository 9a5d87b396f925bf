//! The model check: real sessions between a modelled client and modelled brokers, explored exhaustively at small bounds.
//! No reachable state may hold a lost, repeated or reordered record, an error for no need, or a book that does not balance;
//! and from each everything gets decided once nothing goes wrong any more.
//!
//! Tests only. `ARCHITECTURE.md`, *Model check*, says what is explored and what is not.

mod action;
mod client;
mod copy;
mod line;
mod mistakes;
mod pairs;
mod scenario;
mod tests;
mod traffic;
mod unread;
mod world;

use crate::kafka::mistake::{self, Mistake};
use action::Action;
use scenario::Scenario;
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
        if state.broken.is_none() && state.print.is_multiple_of(self.settles) {
            state.broken = state.world.lock().unwrap().copy().settle();
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing is wrong", |_, state: &State| state.broken.is_none())]
    }
}

/// What an exploration came to.
struct Explored {
    /// How many states there are, or were visited before one was wrong.
    states: usize,
    /// How the first state that is wrong is reached.
    found: Option<String>,
}

/// Visits every state, or stops at the first that is wrong. From one state in `settles` everything is seen to get decided.
fn explore(scenario: &'static Scenario, mistake: Option<Mistake>, settles: u64) -> Explored {
    let checker = Check { scenario, mistake, settles }.checker().spawn_dfs().join();
    let found = checker.discovery("nothing is wrong").map(|path| {
        let what = path.last_state().broken.clone().unwrap_or_default();
        format!("{what}\n{:?}", path.into_actions())
    });
    Explored { states: checker.unique_state_count(), found }
}
