//! Order across a client's connections: a batch for a partition's new leader must not overtake one that is still
//! undecided on the connection to the old leader.
//!
//! Before an answer that shows a new leader is passed on, the partition is *marked* with a barrier: how far each
//! connection has sent. A Produce for a marked partition waits until all that was sent before the mark is decided.
//! In the steady state this costs two atomic counters for each Produce and one load.
//!
//! No deadlock: a request gets its barrier when it arrives, and a barrier covers only what arrived earlier.

use super::cluster::TopicKey;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a change of leader clients may still be told of it for the first time: three times the metadata age
/// of the common clients (5 min).
const CHANGE_IS_NEWS: Duration = Duration::from_secs(900);

/// How many Produce requests a connection has taken, and how many of them are decided.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    decided: AtomicU64,
    gone: AtomicBool,
}

impl Progress {
    /// A Produce has arrived.
    pub fn sent(&self) {
        self.sent.fetch_add(1, AcqRel);
    }

    /// The oldest undecided Produce is decided.
    pub fn decided(&self) {
        self.decided.fetch_add(1, AcqRel);
    }

    /// The connection has ended: nothing of it is undecided any more.
    pub fn gone(&self) {
        self.gone.store(true, Release);
    }

    fn has_passed(&self, mark: u64) -> bool {
        self.gone.load(Acquire) || self.decided.load(Acquire) >= mark
    }
}

/// What has to be decided before a marked partition may be written to.
#[derive(Debug)]
pub struct Barrier(Vec<(Arc<Progress>, u64)>);

impl Barrier {
    /// Whether everything but what `own` has sent is decided (a connection keeps the order of its own by itself).
    pub fn has_passed(&self, own: &Arc<Progress>) -> bool {
        self.0.iter().all(|(other, mark)| Arc::ptr_eq(other, own) || other.has_passed(*mark))
    }
}

#[derive(Debug, Default)]
struct Book {
    connections: Vec<Arc<Progress>>,
    told: HashMap<(TopicKey, i32), (i32, Option<Instant>)>,
    marks: HashMap<(TopicKey, i32), Arc<Barrier>>,
}

/// The marks of one cluster.
#[derive(Debug, Default)]
pub struct Order {
    book: Mutex<Book>,
    marked: AtomicUsize,
}

impl Order {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection's counters.
    pub fn connection(&self) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        let mut book = self.book();
        book.connections.retain(|known| !known.gone.load(Acquire));
        book.connections.push(Arc::clone(&progress));
        progress
    }

    /// Clients are about to be told these leaders: marks the partitions whose leader is news to some of them.
    pub fn tell(&self, leaders: impl IntoIterator<Item = (TopicKey, i32, i32)>, now: Instant) {
        let mut book = self.book();
        let mut barrier: Option<Arc<Barrier>> = None;
        for (topic, partition, leader) in leaders {
            let key = (topic, partition);
            let changed = match book.told.get(&key) {
                None => None,
                Some((told, _)) if *told != leader && *told >= 0 => Some(now),
                Some((_, changed)) => *changed,
            };
            book.told.insert(key.clone(), (leader, changed));
            if changed.is_none_or(|at| now.saturating_duration_since(at) >= CHANGE_IS_NEWS) {
                continue;
            }
            let barrier = barrier.get_or_insert_with(|| Arc::new(book.snapshot()));
            if !barrier.0.is_empty() {
                let barrier = Arc::clone(barrier);
                book.marks.insert(key, barrier);
            }
        }
        book.marks.retain(|_, barrier| !barrier.0.iter().all(|(other, mark)| other.has_passed(*mark)));
        self.marked.store(book.marks.len(), Release);
    }

    /// Whether any partition is marked: the one question of the steady path.
    pub fn any_marked(&self) -> bool {
        self.marked.load(Acquire) > 0
    }

    /// The barrier that a Produce for this partition must wait for, if there is one that has not passed.
    pub fn barrier(&self, topic: &TopicKey, partition: i32, own: &Arc<Progress>) -> Option<Arc<Barrier>> {
        let mut book = self.book();
        let key = (topic.clone(), partition);
        let barrier = Arc::clone(book.marks.get(&key)?);
        if !barrier.has_passed(own) {
            return Some(barrier);
        }
        // Passed for this connection; for others it may still stand while this one has undecided batches.
        if barrier.0.iter().all(|(other, mark)| other.has_passed(*mark)) {
            book.marks.remove(&key);
            self.marked.store(book.marks.len(), Release);
        }
        None
    }
}

impl Book {
    fn snapshot(&self) -> Barrier {
        let undecided = self.connections.iter().filter_map(|progress| {
            let sent = progress.sent.load(Acquire);
            (!progress.has_passed(sent)).then(|| (Arc::clone(progress), sent))
        });
        Barrier(undecided.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn p(name: &'static str) -> TopicKey {
        TopicKey::Name(Bytes::from_static(name.as_bytes()))
    }

    #[test]
    fn a_batch_for_the_new_leader_waits_for_the_undecided_one_at_the_old_leader() {
        let (order, now) = (Order::default(), Instant::now());
        let (a, b) = (order.connection(), order.connection());
        order.tell([(p("t"), 0, 1)], now);
        a.sent();
        assert!(!order.any_marked(), "the first telling is no change");
        order.tell([(p("t"), 0, 2)], now);
        assert!(order.any_marked());
        let barrier = order.barrier(&p("t"), 0, &b).expect("a is undecided");
        assert!(order.barrier(&p("t"), 1, &b).is_none(), "another partition passes");
        assert!(order.barrier(&p("t"), 0, &a).is_none(), "a keeps its own order");
        a.sent(); // later than the mark: not waited for
        a.decided();
        assert!(barrier.has_passed(&b));
        assert!(order.barrier(&p("t"), 0, &b).is_none());
        assert!(!order.any_marked(), "a passed mark is removed");
    }

    #[test]
    fn another_client_that_is_told_later_is_protected_too() {
        let (order, now) = (Order::default(), Instant::now());
        let (_old, b) = (order.connection(), order.connection());
        order.tell([(p("t"), 0, 1)], now);
        order.tell([(p("t"), 0, 2)], now);
        let late = order.connection();
        late.sent();
        order.tell([(p("t"), 0, 2)], now + Duration::from_secs(60));
        assert!(order.barrier(&p("t"), 0, &b).is_some(), "the change is still news to late's client");
        late.gone();
        assert!(order.barrier(&p("t"), 0, &b).is_none());
        order.connection().sent();
        order.tell([(p("t"), 0, 2)], now + CHANGE_IS_NEWS);
        assert!(!order.any_marked(), "after a while it is no news");
    }
}
