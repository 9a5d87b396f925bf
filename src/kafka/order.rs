//! Order across a client's connections: a batch for a partition's new leader must not overtake one that is still
//! undecided on the connection to the old leader.
//!
//! Before an answer that shows a new leader is passed on, the partition is *marked* with a barrier: how far each
//! connection has sent. A Produce for a marked partition waits until all that was sent before the mark is decided, and
//! what of the partition has arrived since; it goes under the mark itself. A mark stands for a minute, since clients go on
//! sending to the old leader until they have read the news. A connection that holds something says of which partitions, so
//! that the others wait for those alone. What lies unread in a socket is asked for (`unread`).
//! In the steady state this costs two atomic counters for each Produce and one load.
//!
//! No deadlock: a request gets its barrier when it arrives, and a barrier covers only what arrived earlier, but for what others find
//! unread, of which `unread` says why it ends.

mod progress;
mod unread;

use super::mistake::{Mistake, made};
use super::topic::TopicKey;
pub use progress::Progress;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use unread::{Question, Questions};

/// How long after a change of leader clients may still be told of it for the first time: three times the metadata age
/// of the common clients (5 min).
const CHANGE_IS_NEWS: Duration = Duration::from_secs(900);

/// Fewer partitions than this are remembered whatever their age.
const TOLD_MIN: usize = 4096;

/// How long after the telling a client may go on sending to the old leader, at least: what it has sent there comes first. The
/// answer has to reach it and to be read, by a client that may get little of its processor.
const TELLING_TAKES: Duration = Duration::from_secs(60);

/// How far connections had sent.
type Sent = Vec<(Arc<Progress>, u64)>;

/// All that `own` has sent until now is among it.
fn put(sent: &mut Sent, own: &Arc<Progress>) {
    sent.retain(|(known, _)| !Arc::ptr_eq(known, own));
    sent.push((Arc::clone(own), own.sent_count()));
}

/// What has to be decided on a client's other connections before a Produce may go.
#[derive(Clone, Debug)]
pub struct Barrier {
    key: (TopicKey, i32),
    sent: Sent,
    /// Where others were asked whether they had read everything: what they have found comes in the place of `sent`.
    question: Option<Arc<Question>>,
}

impl Barrier {
    /// Whether everything of the partition that the client of `own` has sent on its other connections is decided (a
    /// connection keeps the order of its own by itself).
    pub fn has_passed(&self, own: &Arc<Progress>, now: Instant) -> bool {
        let not_own = |other: &Arc<Progress>| !Arc::ptr_eq(other, own) && !other.is_stranger_to(own);
        let sent = match &self.question {
            None => &self.sent,
            Some(question) => match question.before.get() {
                Some(before) => before,
                None if now < question.until => return false,
                None => &self.sent,
            },
        };
        sent.iter().all(|(other, mark)| !not_own(other) || other.has_passed(*mark, &self.key))
    }
}

/// The mark of one partition.
#[derive(Debug)]
struct Mark {
    /// What was sent before the telling, and what of the partition since then.
    sent: Sent,
    /// The leader that clients were told, and when they last were.
    leader: i32,
    told: Instant,
    /// The connections to that leader on which a batch has come since it leads: the first has asked the others.
    settled: Vec<Arc<Progress>>,
}

impl Mark {
    fn forget_passed(&mut self, key: &(TopicKey, i32)) {
        self.sent.retain(|(connection, mark)| !connection.has_passed(*mark, key));
    }

    fn is_settled(&self, own: &Arc<Progress>) -> bool {
        self.settled.iter().any(|known| Arc::ptr_eq(known, own))
    }

    /// Whether it is of no more use.
    fn is_over(&mut self, key: &(TopicKey, i32), now: Instant) -> bool {
        now.saturating_duration_since(self.told) >= TELLING_TAKES && {
            self.forget_passed(key);
            self.sent.is_empty()
        }
    }
}

/// How a Produce has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The node that its client has sent it to, if that is known.
    pub home: Option<i32>,
    /// Whether it lay in its socket already when other connections [asked](Progress::asked) what does.
    pub was_there: bool,
    /// How long its client can be expected to wait for it.
    pub bound: Duration,
    /// When it was read.
    pub at: Instant,
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
    questions: Questions,
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
        self.book().connections.push(Arc::clone(&progress));
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
                news.push((key, leader));
            }
        }
        if !news.is_empty() {
            // First the flag, then the counters; a Produce is counted first and looks at the flag then. So one of the two
            // sees the other.
            self.marked.fetch_max(1, SeqCst);
            let sent = book.snapshot();
            for (key, leader) in news {
                let before = book.marks.remove(&key).filter(|mark| mark.leader == leader);
                let mut settled = before.map(|mark| mark.settled).unwrap_or_default();
                settled.retain(|own| !own.is_gone());
                book.marks.insert(key, Mark { sent: sent.clone(), leader, told: now, settled });
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
        arrival: &Arrival,
    ) -> Option<Barrier> {
        let mut book = self.book();
        let Book { connections, marks, questions, .. } = &mut *book;
        let key = (topic.clone(), partition);
        let mark = marks.get_mut(&key)?;
        if mark.is_over(&key, arrival.at) {
            marks.remove(&key);
            self.marked.store(marks.len(), SeqCst);
            return None;
        }
        mark.forget_passed(&key);
        let (mut sent, mut question, leader) = (mark.sent.clone(), None, mark.leader);
        if let Some(before) = questions.found(&key, own, leader, arrival) {
            sent = before;
        } else if arrival.home == Some(leader)
            && !mark.is_settled(own)
            && !questions.is_asked(&key, own, leader)
        {
            mark.settled.push(Arc::clone(own));
            let others = connections.iter().filter(|other| !Arc::ptr_eq(other, own));
            question = questions.ask(&key, own, leader, others, &sent, arrival);
        }
        if !made(Mistake::BarrierAtTelling) {
            put(&mut mark.sent, own);
        }
        let barrier = Barrier { key, sent, question };
        (!barrier.has_passed(own, arrival.at)).then_some(barrier)
    }

    /// On this connection all is read that had lain in its socket when it was [asked](Progress::asked) for the `asked`th time, or
    /// nothing will be read any more.
    pub fn has_read(&self, own: &Arc<Progress>, asked: u64) {
        self.book().questions.read(own, asked);
    }

    /// A connection has ended: nothing of it is undecided any more, and nothing will be read.
    pub fn leave(&self, own: &Arc<Progress>) {
        own.gone();
        let mut book = self.book();
        book.questions.read(own, u64::MAX);
        book.connections.retain(|known| !Arc::ptr_eq(known, own));
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
            let all = progress.is_gone() || progress.decided.load(Acquire) >= sent;
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
mod tests;
