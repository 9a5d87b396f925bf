//! How many connections to one broker are under way at a time, for all clients together. Imports nothing of the crate.
//!
//! A broker that comes back would meet every client of every sidecar at the same moment. Which moment it is differs from
//! sidecar to sidecar, since that finds out by probes with back-off and full jitter. Of one sidecar's clients a few go first,
//! and each that gets through makes room for two: what is held is released as fast as the broker takes connections, and no
//! faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many go first.
const FIRST: usize = 4;
/// Never more than this.
const MOST: usize = 64;

/// The connections to one broker that are under way.
#[derive(Debug)]
pub(super) struct Ramp {
    turns: Arc<Semaphore>,
    width: AtomicUsize,
}

/// Leave to connect.
pub(super) struct Turn {
    ramp: Arc<Ramp>,
    _permit: OwnedSemaphorePermit,
    /// Whether others had to go first.
    pub(super) waited: bool,
}

impl Ramp {
    /// Of a broker that has not been connected, or has just come back.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { turns: Arc::new(Semaphore::new(FIRST)), width: AtomicUsize::new(FIRST) })
    }

    /// Waits for a turn. `None` when this ramp has been given up for another.
    pub(super) async fn turn(self: Arc<Self>) -> Option<Turn> {
        let at_once = Arc::clone(&self.turns).try_acquire_owned().ok();
        let waited = at_once.is_none();
        let permit = match at_once {
            Some(permit) => permit,
            None => Arc::clone(&self.turns).acquire_owned().await.ok()?,
        };
        Some(Turn { ramp: self, _permit: permit, waited })
    }

    /// Gives the ramp up: nobody waits for it any more.
    pub(super) fn close(&self) {
        self.turns.close();
    }
}

impl Turn {
    /// The connection is there: its turn goes to another, and there is one more.
    pub(super) fn succeeded(self) {
        let width = &self.ramp.width;
        if width.fetch_update(Relaxed, Relaxed, |width| (width < MOST).then_some(width + 1)).is_ok() {
            self.ramp.turns.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many of `clients` connect in each 10 ms, which is how long a connection takes.
    async fn rounds(clients: usize) -> Vec<usize> {
        let ramp = Ramp::new();
        let mut tasks = tokio::task::JoinSet::new();
        let start = tokio::time::Instant::now();
        for _ in 0..clients {
            let ramp = Arc::clone(&ramp);
            tasks.spawn(async move {
                let turn = ramp.turn().await.unwrap();
                let round = start.elapsed().as_millis() / 10;
                tokio::time::sleep(Duration::from_millis(10)).await;
                turn.succeeded();
                usize::try_from(round).unwrap()
            });
        }
        let mut rounds = Vec::new();
        while let Some(round) = tasks.join_next().await {
            let round = round.unwrap();
            rounds.resize(rounds.len().max(round + 1), 0);
            rounds[round] += 1;
        }
        rounds
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_go_first_and_each_makes_room_for_two() {
        assert_eq!(rounds(3).await, [3]);
        assert_eq!(rounds(60).await, [4, 8, 16, 32]);
        assert_eq!(rounds(300).await, [4, 8, 16, 32, 64, 64, 64, 48]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_makes_no_more_room_and_nobody_waits_for_one_that_is_given_up() {
        let ramp = Ramp::new();
        let mut turns = Vec::new();
        for _ in 0..FIRST {
            turns.push(Arc::clone(&ramp).turn().await.unwrap());
        }
        assert!(turns.iter().all(|turn| !turn.waited));
        let next = tokio::spawn(Arc::clone(&ramp).turn());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!next.is_finished());
        drop(turns.pop()); // refused, or its client has gone
        assert!(next.await.unwrap().is_some_and(|turn| turn.waited));
        let first = Arc::clone(&ramp).turn().await;
        let last = tokio::spawn(Arc::clone(&ramp).turn());
        tokio::task::yield_now().await;
        ramp.close();
        assert!(first.is_some() && last.await.unwrap().is_none());
    }
}
