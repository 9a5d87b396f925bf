//! How far one connection is, as its client's other connections see it.

use super::super::topic::TopicKey;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release, Ordering::SeqCst,
};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Waker;

/// How many Produce requests a connection has taken, and how many of them are decided.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) sent: AtomicU64,
    pub(super) decided: AtomicU64,
    pub(super) gone: AtomicBool,
    /// The client id of its requests, once one has come.
    pub(super) client: OnceLock<Option<Box<[u8]>>>,
    /// The node that it leads to.
    pub(super) home: OnceLock<i32>,
    /// While the connection holds something: the number of the oldest undecided Produce of each partition.
    pub(super) undecided: Mutex<Option<HashMap<(TopicKey, i32), u64>>>,
    /// How often others have asked whether all that lay in its socket is read, and up to where it has said so.
    pub(super) asks: AtomicU64,
    pub(super) answered: AtomicU64,
    /// Its task, which is the same one all the time.
    pub(super) task: OnceLock<Waker>,
}

impl Progress {
    /// Its requests carry this client id, and were meant for the node `home`, if that is known. A client's connections carry the same
    /// id, so that those with another are another client's, whose batches stand in nobody's way.
    pub fn belongs_to(&self, client: Option<&[u8]>, home: Option<i32>) {
        self.client.get_or_init(|| client.map(Into::into));
        if let Some(home) = home {
            self.home.get_or_init(|| home);
        }
    }

    pub(super) fn is_stranger_to(&self, other: &Self) -> bool {
        matches!((self.client.get(), other.client.get()), (Some(one), Some(two)) if one != two)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// Whether it has written, and may write more: only then there is something to ask.
    pub(super) fn has_written(&self) -> bool {
        self.client.get().is_some() && !self.is_gone()
    }

    /// Its task is the one behind `waker`. Said before it looks at what it was [asked](Self::asked).
    pub fn runs_as(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Asks whether all is read that lies in its socket now; the number of the question. Who has one before it to answer looks for
    /// more by itself.
    pub(super) fn ask(&self) -> u64 {
        let before = self.asks.fetch_add(1, SeqCst);
        if before <= self.answered.load(SeqCst) {
            self.wake();
        }
        before + 1
    }

    /// The number of the last question that is open, if one is. To be looked at before the socket is.
    pub fn asked(&self) -> Option<u64> {
        let asks = self.asks.load(SeqCst);
        (asks > self.answered.load(SeqCst)).then_some(asks)
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

    /// Whether what it had sent of a partition up to `mark` is decided.
    pub(super) fn has_passed(&self, mark: u64, key: &(TopicKey, i32)) -> bool {
        self.is_gone() || self.decided.load(Acquire) >= mark || {
            let undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
            undecided.as_ref().is_some_and(|held| held.get(key).is_none_or(|&oldest| oldest > mark))
        }
    }
}
