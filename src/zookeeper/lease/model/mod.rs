//! The model check: the real lease between a modelled client and a modelled ensemble, explored exhaustively at small bounds.
//!
//! No client may believe in a session that the ensemble has ended; no dead client's session may be kept alive; no socket may
//! be closed earlier than a native client would close it; no expiry may be invented. Time goes in units, of which T has six
//! or twelve; the states don't hold the time of day, so that there is no end to how long a run may be.
//!
//! Tests only. What is modelled: the client with its two timers, or with none; evenkeel, which may be frozen at any moment
//! and go on at any other; the connection, with its delays; the follower, which ships its touches within half a tick, may be
//! cut off from its leader, and may die with what it has not shipped; the leader, which may end a session any time after its
//! timeout, and whose successor tracks all of them anew.

mod action;
mod scenario;
mod tests;
mod world;

use crate::zookeeper::mistake::{self, Mistake};
use action::Action;
use scenario::Scenario;
use stateright::{Checker, Model, Property};
use world::World;

/// A scenario, and the rule that isn't kept in it.
struct Check {
    scenario: &'static Scenario,
    mistake: Option<Mistake>,
}

impl Model for Check {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        mistake::make(self.mistake);
        (0..=self.scenario.opening).map(|age| World::new(self.scenario, age)).collect()
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        mistake::make(self.mistake);
        if state.broken.is_none() {
            state.actions(self.scenario, actions);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        mistake::make(self.mistake);
        let mut world = last.clone();
        world.act(self.scenario, action);
        world.broken = world.broken.or_else(|| world.check(self.scenario));
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing is wrong", |_, state: &World| state.broken.is_none())]
    }
}

/// What an exploration came to.
struct Explored {
    /// How many states there are, or were visited before one was wrong.
    states: usize,
    /// How the first state that is wrong is reached.
    found: Option<String>,
}

/// Visits every state, or stops at the first that is wrong. With the shortest way to it, if it is to be read.
fn explore(scenario: &'static Scenario, mistake: Option<Mistake>) -> Explored {
    let checker = Check { scenario, mistake }.checker().spawn_bfs().join();
    let found = checker.discovery("nothing is wrong").map(|path| {
        let what = path.last_state().broken.unwrap_or_default();
        format!("{what}\n{:?}", path.into_actions())
    });
    Explored { states: checker.unique_state_count(), found }
}
