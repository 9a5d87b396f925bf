//! Order across a client's connections: a batch for a partition's new leader must not overtake one that is still
//! undecided on the connection to the old leader.
//!
//! Before an answer that shows a new leader is passed on, the partition is *marked* with a barrier: how far each
//! connection has sent. A Produce for a marked partition waits until all that was sent before the mark is decided, and
//! what of the partition has arrived since; it goes under the mark itself. A mark stands for a minute, since clients go on
//! sending to the old leader until they have read the news. A connection that holds something says of which partitions, so
//! that the others wait for those alone. What lies unread in a socket is not known here.
//! In the steady state this costs two atomic counters for each Produce and one load.
//!
//! No deadlock: a request gets its barrier when it arrives, and a barrier covers only what arrived earlier.

use super::mistake::{Mistake, made};
use super::topic::TopicKey;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
    Ordering::SeqCst,
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long after a change of leader clients may still be told of it for the first time: three times the metadata age
/// of the common clients (5 min).
const CHANGE_IS_NEWS: Duration = Duration::from_secs(900);

/// Fewer partitions than this are remembered whatever their age.
const TOLD_MIN: usize = 4096;

/// How long after the telling a client may go on sending to the old leader, at least: what it has sent there comes first. The
/// answer has to reach it and to be read, by a client that may get little of its processor.
const TELLING_TAKES: Duration = Duration::from_secs(60);

/// How many Produce requests a connection has taken, and how many of them are decided.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    decided: AtomicU64,
    gone: AtomicBool,
    /// The client id of its requests, once one has come.
    client: OnceLock<Option<Box<[u8]>>>,
    /// While the connection holds something: the number of the oldest undecided Produce of each partition.
    undecided: Mutex<Option<HashMap<(TopicKey, i32), u64>>>,
}

impl Progress {
    /// Its requests carry this client id. A client's connections carry the same, so that those with another are another
    /// client's, whose batches stand in nobody's way.
    pub fn belongs_to(&self, client: Option<&[u8]>) {
        self.client.get_or_init(|| client.map(Into::into));
    }

    fn is_stranger_to(&self, other: &Self) -> bool {
        matches!((self.client.get(), other.client.get()), (Some(one), Some(two)) if one != two)
    }

    /// A Produce has arrived.
    pub fn sent(&self) {
        self.sent.fetch_add(1, SeqCst);
    }

    /// The oldest undecided Produce is decided.
    pub fn decided(&self) {
        self.decided.fetch_add(1, AcqRel);
    }

    /// The connection has ended: nothing of it is undecided any more.
    pub fn gone(&self) {
        self.gone.store(true, Release);
    }

    /// How many Produce requests have arrived.
    pub fn sent_count(&self) -> u64 {
        self.sent.load(Acquire)
    }

    /// How many Produce requests are decided.
    pub fn decided_count(&self) -> u64 {
        self.decided.load(Acquire)
    }

    /// A connection that holds requests says which is the oldest undecided of each partition, 0 for none; what it does
    /// not name is as it said before. Without this, one partition without a leader would stop every other that has moved.
    pub fn publish(&self, news: impl IntoIterator<Item = ((TopicKey, i32), u64)>) {
        let mut undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
        let undecided = undecided.get_or_insert_default();
        for (key, oldest) in news {
            if oldest == 0 {
                undecided.remove(&key);
            } else {
                undecided.insert(key, oldest);
            }
        }
    }

    /// It holds nothing any more, or can't say what.
    pub fn unpublish(&self) {
        *self.undecided.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn has_passed(&self, mark: u64, key: &(TopicKey, i32)) -> bool {
        self.gone.load(Acquire) || self.decided.load(Acquire) >= mark || {
            let undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
            undecided.as_ref().is_some_and(|held| held.get(key).is_none_or(|&oldest| oldest > mark))
        }
    }
}

/// How far connections had sent.
type Sent = Vec<(Arc<Progress>, u64)>;

/// What has to be decided on a client's other connections before a Produce may go.
#[derive(Clone, Debug)]
pub struct Barrier {
    key: (TopicKey, i32),
    sent: Sent,
}

impl Barrier {
    /// Whether everything of the partition that the client of `own` has sent on its other connections is decided (a
    /// connection keeps the order of its own by itself).
    pub fn has_passed(&self, own: &Arc<Progress>) -> bool {
        let not_own = |other: &Arc<Progress>| !Arc::ptr_eq(other, own) && !other.is_stranger_to(own);
        self.sent.iter().all(|(other, mark)| !not_own(other) || other.has_passed(*mark, &self.key))
    }
}

/// The mark of one partition.
#[derive(Debug)]
struct Mark {
    /// What was sent before the telling, and what of the partition since then.
    sent: Sent,
    /// When clients were last told.
    told: Instant,
}

impl Mark {
    fn forget_passed(&mut self, key: &(TopicKey, i32)) {
        self.sent.retain(|(connection, mark)| !connection.has_passed(*mark, key));
    }

    /// Whether it is of no more use.
    fn is_over(&mut self, key: &(TopicKey, i32), now: Instant) -> bool {
        now.saturating_duration_since(self.told) >= TELLING_TAKES && {
            self.forget_passed(key);
            self.sent.is_empty()
        }
    }
}

/// What clients were told of a partition.
#[derive(Clone, Copy, Debug)]
struct Told {
    leader: i32,
    /// When they were first told of this leader after another one.
    changed: Option<Instant>,
    /// When they were last told of it.
    at: Instant,
}

#[derive(Debug, Default)]
struct Book {
    connections: Vec<Arc<Progress>>,
    told: HashMap<(TopicKey, i32), Told>,
    /// So many entries make it worth a look for those that nobody remembers.
    look_at: usize,
    marks: HashMap<(TopicKey, i32), Mark>,
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
        let mut news = Vec::new();
        for (topic, partition, leader) in leaders {
            let key = (topic, partition);
            let changed = match book.told.get(&key) {
                None => None,
                Some(told) if told.leader != leader && told.leader >= 0 => Some(now),
                Some(told) => told.changed,
            };
            book.told.insert(key.clone(), Told { leader, changed, at: now });
            if changed.is_some_and(|at| now.saturating_duration_since(at) < CHANGE_IS_NEWS) {
                news.push(key);
            }
        }
        if !news.is_empty() {
            // First the flag, then the counters; a Produce is counted first and looks at the flag then. So one of the two
            // sees the other.
            self.marked.fetch_max(1, SeqCst);
            let sent = book.snapshot();
            for key in news {
                book.marks.insert(key, Mark { sent: sent.clone(), told: now });
            }
        }
        book.forget_old(now);
        book.marks.retain(|key, mark| !mark.is_over(key, now));
        self.marked.store(book.marks.len(), SeqCst);
    }

    /// Whether any partition is marked: the one question of the steady path.
    pub fn any_marked(&self) -> bool {
        self.marked.load(SeqCst) > 0
    }

    /// The barrier that a Produce for this partition, which has just arrived and been counted as sent, must wait for, if
    /// there is one that has not passed. It goes under the mark itself: those that come later wait for it.
    pub fn barrier(
        &self,
        topic: &TopicKey,
        partition: i32,
        own: &Arc<Progress>,
        now: Instant,
    ) -> Option<Barrier> {
        let mut book = self.book();
        let key = (topic.clone(), partition);
        let mark = book.marks.get_mut(&key)?;
        if mark.is_over(&key, now) {
            book.marks.remove(&key);
            self.marked.store(book.marks.len(), SeqCst);
            return None;
        }
        mark.forget_passed(&key);
        let barrier = Barrier { key, sent: mark.sent.clone() };
        if !made(Mistake::BarrierAtTelling) {
            mark.sent.retain(|(known, _)| !Arc::ptr_eq(known, own));
            mark.sent.push((Arc::clone(own), own.sent_count()));
        }
        (!barrier.has_passed(own)).then_some(barrier)
    }
}

impl Book {
    /// Forgets what clients were told so long ago that they have asked again since, or don't use it any more.
    fn forget_old(&mut self, now: Instant) {
        if self.told.len() < self.look_at.max(TOLD_MIN) {
            return;
        }
        self.told.retain(|_, told| now.saturating_duration_since(told.at) < CHANGE_IS_NEWS);
        self.look_at = self.told.len() * 2;
    }

    fn snapshot(&self) -> Sent {
        let undecided = self.connections.iter().filter_map(|progress| {
            let sent = progress.sent.load(SeqCst);
            let all = progress.gone.load(Acquire) || progress.decided.load(Acquire) >= sent;
            (!all).then(|| (Arc::clone(progress), sent))
        });
        undecided.collect()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(in crate::kafka) use model::Copies;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn p(name: &'static str) -> TopicKey {
        TopicKey::Name(Bytes::from_static(name.as_bytes()))
    }

    const LATER: Duration = Duration::from_secs(2);

    /// A Produce arrives.
    fn arrives(order: &Order, partition: i32, own: &Arc<Progress>, now: Instant) -> Option<Barrier> {
        own.sent();
        order.barrier(&p("t"), partition, own, now)
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
        assert!(arrives(&order, 1, &b, now).is_none(), "another partition passes");
        let barrier = arrives(&order, 0, &b, now + LATER).expect("a is undecided");
        a.sent(); // of another partition, later than the mark: not waited for
        a.decided();
        assert!(barrier.has_passed(&b));
        assert!(arrives(&order, 0, &b, now + LATER).is_none(), "b keeps its own order");
        (0..3).for_each(|_| b.decided());
        assert!(order.any_marked(), "clients may still send to the old leader");
        assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_none());
        assert!(!order.any_marked(), "a passed mark is removed");
    }

    #[test]
    fn what_is_still_sent_to_the_old_leader_while_the_client_is_being_told_comes_first() {
        let (order, now) = (Order::default(), Instant::now());
        let (a, b) = (order.connection(), order.connection());
        order.tell([(p("t"), 0, 1)], now);
        order.tell([(p("t"), 0, 2)], now);
        assert!(
            arrives(&order, 0, &a, now + LATER).is_none(),
            "after the telling, before the client has read it"
        );
        let barrier = arrives(&order, 0, &b, now + TELLING_TAKES / 2).expect("a is undecided");
        assert!(arrives(&order, 0, &a, now + TELLING_TAKES / 2).is_some(), "b is earlier, too");
        a.decided();
        assert!(barrier.has_passed(&b));
        assert!(arrives(&order, 0, &b, now + TELLING_TAKES / 2).is_some(), "a's second");
        // However long that takes.
        assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_some());
        a.decided();
        assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_none());
    }

    #[test]
    fn a_connection_that_holds_another_partition_is_not_waited_for() {
        let (order, now) = (Order::default(), Instant::now());
        let (a, b) = (order.connection(), order.connection());
        order.tell([(p("t"), 0, 1), (p("t"), 1, 1)], now);
        a.sent();
        a.sent();
        order.tell([(p("t"), 0, 2), (p("t"), 1, 2)], now);
        let barrier = |partition| arrives(&order, partition, &b, now + LATER).unwrap();
        let (zero, one) = (barrier(0), barrier(1));
        a.publish([((p("t"), 1), 2)]);
        assert!(zero.has_passed(&b) && !one.has_passed(&b));
        a.publish([((p("t"), 1), 3)]);
        assert!(one.has_passed(&b), "what arrived after the mark is not waited for");
        a.unpublish();
        assert!(!zero.has_passed(&b), "a connection that says nothing is waited for");
    }

    #[test]
    fn what_was_told_long_ago_is_forgotten() {
        let (order, now) = (Order::default(), Instant::now());
        let told = || order.book().told.len();
        let all = |from: usize| (from..from + TOLD_MIN).map(|n| (p("t"), i32::try_from(n).unwrap(), 1));
        order.tell(all(0), now);
        order.tell(all(TOLD_MIN), now + CHANGE_IS_NEWS / 2);
        assert_eq!(told(), 2 * TOLD_MIN, "nothing is old yet");
        order.tell(all(2 * TOLD_MIN), now + CHANGE_IS_NEWS);
        order.tell(all(3 * TOLD_MIN), now + CHANGE_IS_NEWS);
        assert_eq!(told(), 3 * TOLD_MIN);
        assert!(order.book().told.contains_key(&(p("t"), i32::try_from(TOLD_MIN).unwrap())));
    }

    #[test]
    fn a_client_with_another_name_is_not_waited_for() {
        let (order, now) = (Order::default(), Instant::now());
        let (a, b, c) = (order.connection(), order.connection(), order.connection());
        a.belongs_to(Some(b"one"));
        b.belongs_to(Some(b"two"));
        c.belongs_to(Some(b"one"));
        order.tell([(p("t"), 0, 1)], now);
        a.sent();
        order.tell([(p("t"), 0, 2)], now);
        assert!(arrives(&order, 0, &b, now + LATER).is_none());
        let nameless = order.connection();
        nameless.belongs_to(None);
        assert!(arrives(&order, 0, &nameless, now + LATER).is_none(), "no name is a name, too");
        assert!(arrives(&order, 0, &c, now + LATER).is_some());
        assert!(arrives(&order, 0, &order.connection(), now + LATER).is_some(), "it may be anybody's");
    }

    #[test]
    fn another_client_that_is_told_later_is_protected_too() {
        let (order, now) = (Order::default(), Instant::now());
        let (_old, b) = (order.connection(), order.connection());
        order.tell([(p("t"), 0, 1)], now);
        order.tell([(p("t"), 0, 2)], now);
        let late = order.connection();
        late.sent();
        let then = now + Duration::from_secs(60);
        order.tell([(p("t"), 0, 2)], then);
        assert!(arrives(&order, 0, &b, then + LATER).is_some(), "the change is still news to late's client");
        late.gone();
        assert!(arrives(&order, 0, &b, then + LATER).is_none());
        b.gone();
        order.connection().sent();
        order.tell([(p("t"), 0, 2)], now + CHANGE_IS_NEWS);
        assert!(!order.any_marked(), "after a while it is no news");
    }
}
