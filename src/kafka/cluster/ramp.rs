//! How many connections to one broker are under way at a time, for all clients together. Imports nothing of the crate.
//!
//! A broker that comes back would meet every client of every sidecar at the same moment. Which moment it is differs from
//! sidecar to sidecar, since that finds out by probes with back-off and full jitter. Of one sidecar's clients a few go first,
//! and each that gets through makes room for two: what is held is released as fast as the broker takes connections, and no
//! faster.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
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
    permit: OwnedSemaphorePermit,
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
        Some(Turn { ramp: self, permit, waited })
    }

    fn widen(&self) {
        let wider = |width: usize| (width < MOST).then_some(width + 1);
        if self.width.fetch_update(Relaxed, Relaxed, wider).is_ok() {
            self.turns.add_permits(1);
        }
    }

    /// Gives the ramp up: nobody waits for it any more.
    pub(super) fn close(&self) {
        self.turns.close();
    }
}

impl Turn {
    /// Makes a connection. Then its turn goes to another, and there is one more. Of a slow one the turn goes to another after `bound`, and
    /// the one more is there all the same once it is made: that it is slow must not make each that follows wait for it.
    pub(super) async fn open<T, E>(
        self,
        bound: Option<Duration>,
        opening: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Self { ramp, permit, .. } = self;
        let mut opening = pin!(opening);
        let in_time = match bound {
            Some(bound) => tokio::time::timeout(bound, &mut opening).await.ok(),
            None => Some(opening.as_mut().await),
        };
        let opened = match in_time {
            Some(opened) => opened,
            None => {
                drop(permit);
                opening.await
            }
        };
        if opened.is_ok() {
            ramp.widen();
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    async fn takes<E>(millis: u64, end: Result<(), E>) -> Result<(), E> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        end
    }

    /// How many of `clients` begin in each 10 ms, which is how long a connection takes.
    async fn rounds(clients: usize) -> Vec<usize> {
        let ramp = Ramp::new();
        let mut tasks = tokio::task::JoinSet::new();
        let start = tokio::time::Instant::now();
        for _ in 0..clients {
            let ramp = Arc::clone(&ramp);
            tasks.spawn(async move {
                let turn = ramp.turn().await.unwrap();
                let round = start.elapsed().as_millis() / 10;
                turn.open(None, takes::<Infallible>(10, Ok(()))).await.unwrap();
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

    /// How long it takes until the last of so many has ended, each after 600 ms, where others need not wait for longer than 500 ms.
    async fn slow(clients: usize, end: Result<(), ()>) -> Duration {
        let (ramp, start) = (Ramp::new(), tokio::time::Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let ramp = Arc::clone(&ramp);
            tasks.spawn(async move {
                let turn = ramp.turn().await.unwrap();
                turn.open(Some(Duration::from_millis(500)), takes(600, end)).await
            });
        }
        assert!(tasks.join_all().await.iter().all(|ended| *ended == end));
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_ones_make_room_too_and_failures_do_not() {
        let took = slow(400, Ok(())).await;
        assert!(took < Duration::from_secs(6), "{took:?}");
        // Four in each half second.
        assert_eq!(slow(40, Err(())).await.as_millis() / 100, 51);
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
