//! A line of batches, and how long each may stand in it. Not explored, but walked through: real sessions, and a clock that is set.

use super::action::Action;
use super::scenario::{Budget, CALM, PLAIN, Scenario};
use super::world::{RUNTIME, World};
use crate::config::HOLD_MAX;
use crate::time;
use std::time::Duration;

/// More batches of a partition than may be undecided, behind a producer's first, which goes alone.
static LINE: Scenario = Scenario {
    requests: &[ONE; 9],
    held_for: HOLD_MAX,
    budget: Budget { moves: 1, kills: 1, ..CALM },
    ..PLAIN
};
const ONE: &[usize] = &[0];
/// How long each batch takes: all of them more than twice as long as a request is held.
const EACH: Duration = Duration::from_secs(5);

fn pass(world: &mut World, time: Duration) {
    let _entered = RUNTIME.enter();
    world.now += time;
    time::fix(world.now);
    world.run();
}

/// One thing after another, and before each answer some time, for so many answers.
fn go_slowly(world: &mut World, answers: usize) {
    let mut given = 0;
    for _ in 0..200 {
        let mut actions = Vec::new();
        world.actions(&mut actions);
        let rank = |action: &Action| match action {
            Action::Serve(_) | Action::Follow(_) | Action::Confirm(_) => Some(0),
            Action::Deliver(_) => Some(1),
            Action::Look => Some(2),
            Action::Soon => Some(3),
            _ => None,
        };
        let next = actions.into_iter().filter_map(|action| Some((rank(&action)?, action)));
        let Some((_, action)) = next.min_by_key(|(rank, _)| *rank) else { return };
        if matches!(action, Action::Deliver(_)) {
            if given == answers {
                return;
            }
            given += 1;
            pass(world, EACH);
        }
        world.act(action);
        assert_eq!(world.broken, None);
    }
}

fn undecided(world: &World) -> usize {
    world.sessions.iter().map(|session| session.slots.len()).sum()
}

#[test]
fn a_line_that_moves_fails_nobody() {
    let mut world = World::new(&LINE);
    for _ in LINE.requests {
        world.act(Action::Send);
    }
    let began = world.now;
    go_slowly(&mut world, usize::MAX);
    assert!(world.now > began + 2 * HOLD_MAX);
    assert_eq!((undecided(&world), world.check()), (0, None));
    assert_eq!(world.partitions[0].log.len(), LINE.requests.len());
}

/// The line is on the connection to the old leader, and moves; what has come on that to the new one stands behind it.
#[test]
fn behind_a_line_on_another_connection_nobody_fails_while_it_moves() {
    let mut world = World::new(&LINE);
    for _ in 1..LINE.requests.len() {
        world.act(Action::Send);
    }
    // The old leader refuses what it has; from then on the session reads all that its client has sent, and knows what there is.
    world.act(Action::Move(0));
    while let Some(at) = world.wires.iter().position(|wire| wire.node == 1 && !wire.connection.is_idle()) {
        world.act(Action::Serve(at));
        world.act(Action::Deliver(at));
    }
    assert_eq!(undecided(&world), LINE.requests.len() - 1);
    for action in [Action::Tell, Action::Learn, Action::Send] {
        world.act(action);
    }
    let began = world.now;
    assert_eq!(world.sessions[1].slots.len(), 1);
    go_slowly(&mut world, usize::MAX);
    assert!(world.now > began + 2 * HOLD_MAX);
    assert_eq!((undecided(&world), world.check()), (0, None));
    assert_eq!(world.partitions[0].log.len(), LINE.requests.len());
}

/// Nothing of the partition lands any more: what waits has its bound from the last that did.
#[test]
fn a_line_that_stops_is_over_in_time() {
    let mut world = World::new(&LINE);
    for _ in LINE.requests {
        world.act(Action::Send);
    }
    go_slowly(&mut world, 2);
    world.act(Action::Kill(1));
    let left = undecided(&world);
    assert_eq!(left, LINE.requests.len() - 2);
    pass(&mut world, HOLD_MAX.mul_f64(0.95));
    assert_eq!(undecided(&world), left);
    world.client.expired = true;
    pass(&mut world, HOLD_MAX.mul_f64(0.05));
    assert_eq!((undecided(&world), world.check()), (0, None));
}
