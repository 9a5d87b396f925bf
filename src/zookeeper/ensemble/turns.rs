//! Whose turn it is to make a planned move: as many at once as get on with each other, and the rest is served where it is.
//!
//! A move keeps its client waiting from its beginning on, and moves that wait for each other (for the servers, mostly) make each
//! other longer without ending the drain sooner. How many those are is learnt from how long moves take, as TCP Vegas learns how many
//! packets wait in a queue (Brakmo, O'Malley and Peterson, 1994): of `limit` moves at once that take `took` each where one takes
//! `alone`, `limit × (1 − alone / took)` wait.
//!
//! May import: `config`. Must never: hold a lock while somebody waits.

use crate::config::HostPort;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Moves at once, at least, and at first: so few hardly wait for each other, and one that gets nowhere doesn't keep all from moving.
const FEWEST: f64 = 2.0;
/// Moves at once, at most.
const MOST: f64 = 12.0;
/// Fewer than so many waiting: there is room for more.
const ROOM: f64 = 1.0;
/// More than so many waiting: there are too many.
const CROWDED: f64 = 2.0;

/// How many moves there may be at once.
#[derive(Debug)]
struct Pace {
    limit: f64,
    /// What a move takes that waits for no other, in seconds: the least that was seen.
    alone: f64,
}

impl Pace {
    const fn new() -> Self {
        Self { limit: FEWEST, alone: f64::INFINITY }
    }

    /// A move has taken so long.
    fn took(&mut self, took: Duration) {
        let took = took.as_secs_f64().max(1e-6);
        self.alone = self.alone.min(took);
        let waiting = self.limit * (1.0 - self.alone / took);
        if waiting < ROOM {
            self.limit = (self.limit + 1.0 / self.limit).min(MOST);
        } else if waiting > CROWDED {
            self.limit = (self.limit - 1.0 / self.limit).max(FEWEST);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between FEWEST and MOST")]
    const fn turns(&self) -> usize {
        self.limit as usize
    }
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// The server that was left last: a leader is left more slowly than a follower.
    left: Option<HostPort>,
    /// Turns that there are: given, or to be had.
    turns: usize,
}

/// The turns of an ensemble's planned moves.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The turn of a move; the next one's when it is dropped.
#[derive(Debug)]
pub struct Turn {
    of: Arc<Turns>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Nobody moves yet.
    pub(super) fn new() -> Arc<Self> {
        let pace = Pace::new();
        let turns = pace.turns();
        Arc::new(Self {
            free: Arc::new(Semaphore::new(turns)),
            state: Mutex::new(State { pace, left: None, turns }),
        })
    }

    /// Waits for a turn: first come, first served.
    pub(super) async fn next(self: Arc<Self>) -> Option<Turn> {
        // It is never closed.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        permit.map(|permit| Turn { of: self, permit: Some(permit) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The move away from this server is over, and took so long.
    pub(in crate::zookeeper) fn took(self, left: &HostPort, took: Duration) {
        let mut state = self.of.state();
        if state.left.as_ref() != Some(left) {
            state.left = Some(left.clone());
            state.pace.alone = f64::INFINITY;
        }
        state.pace.took(took);
        let wanted = state.pace.turns();
        if state.turns < wanted {
            self.of.free.add_permits(wanted - state.turns);
            state.turns = wanted;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.of.state();
        if state.turns > state.pace.turns()
            && let Some(permit) = self.permit.take()
        {
            state.turns -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers that get on with so many moves at once, each of `alone`; more of them share what there is.
    fn settle(pace: &mut Pace, at_once: f64, alone: f64, moves: usize) {
        for _ in 0..moves {
            let now = f64::from(u32::try_from(pace.turns()).unwrap());
            pace.took(Duration::from_secs_f64(alone * (now / at_once).max(1.0)));
        }
    }

    #[test]
    fn as_many_move_at_once_as_get_on_with_each_other() {
        for (at_once, alone) in [(3.0, 0.008), (1.0, 0.008), (3.0, 0.2), (5.0, 0.001)] {
            let mut pace = Pace::new();
            settle(&mut pace, at_once, alone, 500);
            let turns = f64::from(u32::try_from(pace.turns()).unwrap());
            assert!(turns >= at_once && turns <= at_once + 3.0, "{turns} for {at_once} of {alone} s");
        }
    }

    #[test]
    fn a_long_way_to_the_servers_is_no_queue() {
        let mut pace = Pace::new();
        settle(&mut pace, 1000.0, 0.3, 100);
        assert_eq!(pace.turns(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn each_server_is_learnt_anew() {
        let turns = Turns::new();
        for (host, ms, settled) in [("a", 5, 12), ("b", 50, 12), ("b", 200, 2), ("a", 200, 12)] {
            for _ in 0..200 {
                Arc::clone(&turns).next().await.unwrap().took(&server(host), Duration::from_millis(ms));
            }
            assert_eq!(turns.state().turns, settled, "{host} after moves of {ms} ms");
        }
    }

    fn server(host: &str) -> HostPort {
        HostPort { host: host.to_owned(), port: 2181 }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_follow_the_pace_and_none_is_lost() {
        let turns = Turns::new();
        let first = Arc::clone(&turns).next().await.unwrap();
        let second = Arc::clone(&turns).next().await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(1), Arc::clone(&turns).next());
        assert!(third.await.is_err(), "there are two at first");
        drop(second);
        first.took(&server("a"), Duration::from_millis(5));
        // As long as moves take no longer, there are more. One that was given up says nothing.
        for _ in 0..200 {
            Arc::clone(&turns).next().await.unwrap().took(&server("a"), Duration::from_millis(5));
            drop(Arc::clone(&turns).next().await.unwrap());
        }
        assert_eq!((turns.free.available_permits(), turns.state().turns), (12, 12));
        // All are taken, and take ten times as long: turns are given back to nobody until there are no more than there should be.
        let mut taken = Vec::new();
        for _ in 0..12 {
            taken.push(Arc::clone(&turns).next().await.unwrap());
        }
        for turn in taken {
            turn.took(&server("a"), Duration::from_millis(50));
        }
        let (free, there) = (turns.free.available_permits(), turns.state().turns);
        assert!(free == there && there < 12, "{free} free of {there}");
        for _ in 0..100 {
            Arc::clone(&turns).next().await.unwrap().took(&server("a"), Duration::from_millis(50));
        }
        assert_eq!((turns.free.available_permits(), turns.state().turns), (2, 2));
    }
}
