//! The book of everything held: a byte budget for the process, and an account of each request that waited.
//!
//! Invariant, asserted in tests and visible in the metrics: started = released + expired + cancelled + waiting.
//! It holds by construction: a [`Ticket`] is taken when a wait starts and each way of giving it up counts once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts what is held in the whole process. Cheap to share.
#[derive(Debug, Default)]
pub struct Ledger {
    limit: AtomicUsize,
    bytes: AtomicUsize,
    waiting: AtomicU64,
    started: AtomicU64,
    released: AtomicU64,
    expired: AtomicU64,
    cancelled: AtomicU64,
    /// When the waits began that have not ended, by number. Only requests in trouble come here.
    began: Mutex<BTreeMap<u64, Instant>>,
}

/// The account at one moment, in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Waits that have begun.
    pub started: u64,
    /// Waits that ended with the request on its way again.
    pub released: u64,
    /// Waits that ended with the bound.
    pub expired: u64,
    /// Waits that ended because their client went.
    pub cancelled: u64,
    /// Requests that wait now.
    pub waiting: u64,
}

impl Ledger {
    /// A book with a budget of `limit` bytes for requests held or kept for a replay.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), ..Self::default() })
    }

    /// Changes the byte budget; what is held stays held.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// The byte budget.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Bytes of requests held or in flight now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Counts `bytes` of a request that has been read and is not yet answered.
    pub fn charge(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Gives back what [`charge`](Self::charge) took.
    pub fn refund(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Whether the budget is spent, so that clients' sockets are no longer read.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.limit()
    }

    /// Begins a wait.
    pub fn hold(self: &Arc<Self>, now: Instant) -> Ticket {
        let number = self.started.fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, Relaxed);
        self.began().insert(number, now);
        Ticket { ledger: Arc::clone(self), number, since: now, ended: false }
    }

    fn began(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the oldest wait has lasted, if anything waits.
    pub fn oldest(&self, now: Instant) -> Option<Duration> {
        self.began().first_key_value().map(|(_, since)| now.saturating_duration_since(*since))
    }

    /// The account now.
    pub fn account(&self) -> Account {
        Account {
            started: self.started.load(Relaxed),
            released: self.released.load(Relaxed),
            expired: self.expired.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
        }
    }
}

/// One request's wait. Dropped without a word (its client went), it counts as cancelled.
#[derive(Debug)]
pub struct Ticket {
    ledger: Arc<Ledger>,
    number: u64,
    since: Instant,
    ended: bool,
}

impl Ticket {
    /// When the wait began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The request is on its way again; answers how long it waited.
    pub fn release(self, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since);
        let ledger = Arc::clone(&self.ledger);
        self.end(&ledger.released);
        waited
    }

    /// The bound was reached; answers how long it waited.
    pub fn expire(self, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since);
        let ledger = Arc::clone(&self.ledger);
        self.end(&ledger.expired);
        waited
    }

    fn end(mut self, counter: &AtomicU64) {
        self.ended = true;
        self.ledger.began().remove(&self.number);
        self.ledger.waiting.fetch_sub(1, Relaxed);
        counter.fetch_add(1, Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.ledger.began().remove(&self.number);
            self.ledger.waiting.fetch_sub(1, Relaxed);
            self.ledger.cancelled.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_account_is_always_balanced(steps in proptest::collection::vec(0u8..4, 0..200)) {
            let ledger = Ledger::new(1000);
            let mut tickets = Vec::new();
            let now = Instant::now();
            for step in steps {
                match (step, tickets.pop()) {
                    (1, Some(ticket)) => { Ticket::release(ticket, now); }
                    (2, Some(ticket)) => { Ticket::expire(ticket, now); }
                    (3, Some(ticket)) => drop(ticket),
                    (_, ticket) => { tickets.extend(ticket); tickets.push(ledger.hold(now)); }
                }
                let a = ledger.account();
                prop_assert_eq!(a.started, a.released + a.expired + a.cancelled + a.waiting);
                prop_assert_eq!(a.waiting, tickets.len() as u64);
                prop_assert_eq!(ledger.oldest(now).is_some(), a.waiting > 0);
            }
        }
    }

    #[test]
    fn the_budget_is_full_at_its_limit_and_free_below() {
        let ledger = Ledger::new(10);
        ledger.charge(9);
        assert!(!ledger.is_full());
        ledger.charge(1);
        assert!(ledger.is_full());
        ledger.refund(10);
        assert_eq!(ledger.bytes(), 0);
    }
}
