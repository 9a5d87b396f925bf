//! So many connections at once, of which those that are only waited for give way to one that comes: silent peers take the place of nobody.
//!
//! Imports nothing of the crate. Must never: let who comes wait, or part with one that is at work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Turns {
    limit: usize,
    held: Mutex<Held>,
}

/// Who has a turn. There are never more than the limit.
#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// Those that are waited for, by when that began.
    waited_for: BTreeMap<u64, Arc<Notify>>,
    at_work: usize,
}

impl Held {
    fn wait_for(&mut self, lost: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.waited_for.insert(self.next, Arc::clone(lost));
        self.next
    }
}

impl Turns {
    /// So many at once.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// A turn for one more, which is waited for. If there are as many as there may be, the one that has been waited for longest loses its
    /// own; none if all are at work.
    pub fn take(self: &Arc<Self>) -> Option<Turn> {
        let mut held = self.lock();
        if held.waited_for.len() + held.at_work >= self.limit {
            let (_, longest) = held.waited_for.pop_first()?;
            longest.notify_one();
        }
        let lost = Arc::new(Notify::new());
        let place = AtomicU64::new(held.wait_for(&lost));
        drop(held);
        Some(Turn { turns: Arc::clone(self), place, lost })
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
        self.turns.lock().waited_for.remove(&self.place.load(Relaxed));
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
