//! So many connections at once, of which those that are only waited for give way to one that comes: silent peers take the place of nobody.
//!
//! May import: `time`. Must never: let who comes wait, unless that is asked for, or part with one that is at work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::time::now;

/// See the module.
#[derive(Debug)]
pub struct Turns {
    limit: usize,
    held: Mutex<Held>,
    /// Those who wait for a turn stand in line, and the first of them looks.
    line: tokio::sync::Mutex<()>,
    /// A turn has come free.
    freed: Notify,
}

/// Who has a turn. There are never more than the limit.
#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// Those that are waited for, by when that began.
    waited_for: BTreeMap<u64, WaitedFor>,
    at_work: usize,
}

#[derive(Debug)]
struct WaitedFor {
    since: Instant,
    lost: Arc<Notify>,
}

impl Held {
    fn wait_for(&mut self, lost: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.waited_for.insert(self.next, WaitedFor { since: now(), lost: Arc::clone(lost) });
        self.next
    }

    /// For how much longer the one that has been waited for longest may keep its turn, if each may keep it for `least`; none if there
    /// is no such one.
    fn keeps(&self, least: Duration) -> Option<Duration> {
        let (_, longest) = self.waited_for.first_key_value()?;
        Some(least.saturating_sub(now().saturating_duration_since(longest.since)))
    }
}

impl Turns {
    /// So many at once.
    pub fn new(limit: usize) -> Arc<Self> {
        let (held, line, freed) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Arc::new(Self { limit, held, line, freed })
    }

    /// A turn for one more, which is waited for. If there are as many as there may be, the one that has been waited for longest loses its
    /// own; none if all are at work.
    pub fn take(self: &Arc<Self>) -> Option<Turn> {
        self.take_of(Duration::ZERO).ok()
    }

    /// As [`take`](Self::take), but who comes waits until one is free, or was waited for `least` long and so loses its own: those who are
    /// quick lose none to a crowd. In the order in which they come. Cancel-safe.
    pub async fn wait(self: &Arc<Self>, least: Duration) -> Turn {
        let _first = self.line.lock().await;
        loop {
            match self.take_of(least) {
                Ok(turn) => return turn,
                Err(Some(keeps)) => drop(timeout(keeps, self.freed.notified()).await),
                Err(None) => self.freed.notified().await,
            }
        }
    }

    /// Or else when there may be one.
    fn take_of(self: &Arc<Self>, least: Duration) -> Result<Turn, Option<Duration>> {
        let mut held = self.lock();
        if held.waited_for.len() + held.at_work >= self.limit {
            match held.keeps(least) {
                Some(Duration::ZERO) => {}
                keeps => return Err(keeps),
            }
            if let Some((_, longest)) = held.waited_for.pop_first() {
                longest.lost.notify_one();
            }
        }
        let lost = Arc::new(Notify::new());
        let place = AtomicU64::new(held.wait_for(&lost));
        drop(held);
        Ok(Turn { turns: Arc::clone(self), place, lost })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one, until it is dropped or lost.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    place: AtomicU64,
    lost: Arc<Notify>,
}

impl Turn {
    /// Waits until it is lost: its connection is to be closed then.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Keeps it until the answer is dropped; from then on it is waited for anew. None if it is lost already, or is kept.
    pub fn work(&self) -> Option<Work<'_>> {
        let mut held = self.turns.lock();
        held.waited_for.remove(&self.place.load(Relaxed))?;
        held.at_work += 1;
        Some(Work(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let held = self.turns.lock().waited_for.remove(&self.place.load(Relaxed));
        if held.is_some() {
            self.turns.freed.notify_one();
        }
    }
}

/// Something is done for the one whose turn it is.
#[derive(Debug)]
pub struct Work<'t>(&'t Turn);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let mut held = self.0.turns.lock();
        held.at_work -= 1;
        self.0.place.store(held.wait_for(&self.0.lost), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_lost(turn: &Turn) -> bool {
        let lost = pin!(turn.lost());
        lost.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn the_one_that_was_waited_for_longest_gives_way() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take().unwrap(), turns.take().unwrap());
        assert!(!is_lost(&first) && !is_lost(&second));
        // It was waited for anew, so that the other one gives way.
        drop(first.work().unwrap());
        let third = turns.take().unwrap();
        assert!(is_lost(&second) && second.work().is_none());
        // A turn that was lost frees no other.
        drop(second);
        let fourth = turns.take().unwrap();
        assert!(is_lost(&first) && !is_lost(&third) && !is_lost(&fourth));
        drop(third);
        let fifth = turns.take().unwrap();
        assert!(!is_lost(&fourth) && !is_lost(&fifth), "there was a free one");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_comes_in_its_turn_and_takes_none_that_is_young() {
        const LEAST: Duration = Duration::from_secs(2);
        let (turns, began) = (Turns::new(2), now());
        let (first, second) = (turns.wait(LEAST).await, turns.wait(LEAST).await);
        assert_eq!(now(), began);
        let waiting = |number: u64| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { (turns.wait(LEAST).await, number, now()) })
        };
        let gone = waiting(0);
        tokio::task::yield_now().await;
        let (third, fourth, fifth) = (waiting(3), waiting(4), waiting(5));
        tokio::time::sleep(LEAST / 4).await;
        assert!(!is_lost(&first) && !is_lost(&second) && !gone.is_finished());
        // One that waits no more keeps no place in the line.
        gone.abort();
        drop(second);
        let (third, _, at) = third.await.unwrap();
        assert_eq!(at - began, LEAST / 4);
        let (fourth, _, at) = fourth.await.unwrap();
        assert_eq!(at - began, LEAST);
        assert!(is_lost(&first) && !is_lost(&third));
        // What was lost is not free.
        drop(first);
        let (_fifth, number, at) = fifth.await.unwrap();
        assert_eq!((number, at - began), (5, LEAST / 4 + LEAST));
        assert!(is_lost(&third) && !is_lost(&fourth));
    }

    #[test]
    fn who_is_at_work_stays() {
        let turns = Turns::new(2);
        let (first, second) = (turns.take().unwrap(), turns.take().unwrap());
        let (work, other) = (first.work().unwrap(), second.work().unwrap());
        assert!(first.work().is_none() && turns.take().is_none());
        drop(work);
        let third = turns.take().unwrap();
        assert!(is_lost(&first) && !is_lost(&second));
        drop(other);
        drop((first, second, third));
        let held = turns.lock();
        assert_eq!((held.waited_for.len(), held.at_work), (0, 0));
        assert!(Turns::new(0).take().is_none());
    }
}
