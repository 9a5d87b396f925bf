//! What lies unread in the sockets of a client's other connections when a batch for a partition's new leader arrives.
//!
//! A client that is not read from (it is paced, or what is held is full) goes on writing, to the old leader and then to the new one.
//! So the first batch that comes to a new leader after a telling *asks* the client's other connections: each says when all is read
//! that lay in its socket then. What of the partition is found there was sent before, and goes before.
//!
//! No deadlock: of a partition's batches those that are found under a question come first, in the order in which they arrive, then the
//! one that asks, then all others as they arrive; each waits only for what is before it in this order. While a question about a
//! partition is open there is no second one of the same client. A request with batches for several partitions can be before another
//! in one of them and behind it in the other where a client contradicts itself; so a question is open for [`ASKS_FOR`] at most, and
//! who has asked then waits for what had arrived before it alone, as it did before there were questions.

use super::progress::Progress;
use super::{Sent, put};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::topic::TopicKey;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long a connection may take until it has read what it was asked about: one whose hold is full is not read before a killed
/// leader has a successor, which takes Kafka 9 s and an election by default.
const ASKS_FOR: Duration = Duration::from_secs(15);

/// What a batch that has asked waits for.
#[derive(Debug)]
pub(super) struct Question {
    /// Known once all have answered: what was sent before it.
    pub before: OnceLock<Sent>,
    /// From then on nobody waits for the answers.
    pub until: Instant,
}

/// A question that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub key: (TopicKey, i32),
    /// Who asks.
    pub by: Arc<Progress>,
    /// Who has not answered, and the number under which each was asked.
    pub waits: Vec<(Arc<Progress>, u64)>,
    /// What is before the batch that asks, as far as it is known.
    pub before: Sent,
    pub question: Arc<Question>,
}

/// The questions of one cluster that are open.
#[derive(Debug, Default)]
pub(super) struct Questions(pub Vec<Open>);

impl Questions {
    /// A batch has arrived on `own` while that is being read for another one: it was sent before that one. What it has to wait for
    /// then; `None` if that is not so.
    pub(super) fn found(&mut self, key: &(TopicKey, i32), own: &Arc<Progress>, now: Instant) -> Option<Sent> {
        self.0.retain(|open| now < open.question.until && !open.by.is_gone());
        let waits = |open: &Open| open.waits.iter().any(|(asked, _)| Arc::ptr_eq(asked, own));
        let open = self.0.iter_mut().find(|open| open.key == *key && waits(open))?;
        let before = open.before.clone();
        if !made(Mistake::FoundLate) {
            put(&mut open.before, own);
        }
        Some(before)
    }

    /// Whether a connection of the same client asks about the partition already.
    pub(super) fn is_asked(&self, key: &(TopicKey, i32), own: &Progress) -> bool {
        self.0.iter().any(|open| open.key == *key && !open.by.is_stranger_to(own))
    }

    /// Asks the other connections of the client of `own`. `None`: there are none to ask.
    pub(super) fn ask(
        &mut self,
        key: &(TopicKey, i32),
        own: &Arc<Progress>,
        connections: &[Arc<Progress>],
        before: &Sent,
        now: Instant,
    ) -> Option<Arc<Question>> {
        let others = connections
            .iter()
            .filter(|other| !Arc::ptr_eq(other, own) && other.has_written() && !other.is_stranger_to(own));
        let waits: Vec<_> = others.map(|other| (Arc::clone(other), other.ask())).collect();
        if waits.is_empty() || made(Mistake::Unasked) {
            return None;
        }
        let question = Arc::new(Question { before: OnceLock::new(), until: now + ASKS_FOR });
        self.0.push(Open {
            key: key.clone(),
            by: Arc::clone(own),
            waits,
            before: before.clone(),
            question: Arc::clone(&question),
        });
        Some(question)
    }

    /// All is read that had lain in the socket of `own` when it was asked for the `asked`th time.
    pub(super) fn read(&mut self, own: &Arc<Progress>, asked: u64) {
        own.answered.fetch_max(asked, Release);
        self.0.retain_mut(|open| {
            open.waits.retain(|(other, number)| !(Arc::ptr_eq(other, own) && *number <= asked));
            if !open.waits.is_empty() {
                return true;
            }
            drop(open.question.before.set(std::mem::take(&mut open.before)));
            open.by.wake();
            false
        });
    }
}
