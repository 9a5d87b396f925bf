//! What lies unread in the sockets of a client's other connections when a batch for a partition's new leader arrives.
//!
//! A client that is not read from (it is paced, or what is held is full) goes on writing, to the old leader and then to the new one.
//! So the first batch that comes to a new leader after a telling *asks* the client's other connections: each notes how far its
//! client's stream has come, and says when it is read up to there. What of the partition is found on the way was sent before, and
//! goes before. Connections to that leader itself aren't asked: nothing was written to them before their client knew of it.
//!
//! No deadlock: of a partition's batches those that are found under a question come first, in the order in which they arrive, then the
//! one that asks, then all others as they arrive; each waits only for what is before it in this order. While a question about a
//! partition and a leader is open there is no second one of the same client. A request with batches for several partitions can be before
//! another in one of them and behind it in the other where a client contradicts itself; so a question is open for [`ASKS_FOR`] at most,
//! and for a third of what its client waits. Who has asked then waits for what had arrived before it alone, as it did before there
//! were questions.

use super::progress::Progress;
use super::{Arrival, Sent, put};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::topic::TopicKey;
use std::sync::atomic::Ordering::SeqCst;
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
    /// Who leads it, by what clients were told.
    pub leader: i32,
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
    /// then; `None` if that is not so. What came after the question may all the same have been written before, where the client's own
    /// socket was full; but not where it knows of another leader by now.
    pub(super) fn found(
        &mut self,
        key: &(TopicKey, i32),
        own: &Arc<Progress>,
        leader: i32,
        arrival: &Arrival,
    ) -> Option<Sent> {
        self.0.retain(|open| arrival.at < open.question.until && !open.by.is_gone());
        let waits = |open: &Open| open.waits.iter().any(|(asked, _)| Arc::ptr_eq(asked, own));
        let is_before = |open: &Open| arrival.was_there || open.leader == leader;
        let open = self.0.iter_mut().find(|open| open.key == *key && waits(open) && is_before(open))?;
        let before = open.before.clone();
        if !made(Mistake::FoundLate) {
            put(&mut open.before, own);
        }
        Some(before)
    }

    /// Whether a connection of the same client asks about the partition and this leader already.
    pub(super) fn is_asked(&self, key: &(TopicKey, i32), own: &Progress, leader: i32) -> bool {
        self.0.iter().any(|open| open.key == *key && open.leader == leader && !open.by.is_stranger_to(own))
    }

    /// Asks those of the `others` that are the same client's and lead elsewhere. `None`: there are none.
    pub(super) fn ask<'a>(
        &mut self,
        key: &(TopicKey, i32),
        own: &Arc<Progress>,
        leader: i32,
        others: impl Iterator<Item = &'a Arc<Progress>>,
        before: &Sent,
        arrival: &Arrival,
    ) -> Option<Arc<Question>> {
        let others = others.filter(|other| {
            other.has_written() && !other.is_stranger_to(own) && other.home.get() != Some(&leader)
        });
        let waits: Vec<_> = others.map(|other| (Arc::clone(other), other.ask())).collect();
        if waits.is_empty() || made(Mistake::Unasked) {
            return None;
        }
        let until = arrival.at + ASKS_FOR.min(arrival.bound / 3);
        let question = Arc::new(Question { before: OnceLock::new(), until });
        self.0.push(Open {
            key: key.clone(),
            leader,
            by: Arc::clone(own),
            waits,
            before: before.clone(),
            question: Arc::clone(&question),
        });
        Some(question)
    }

    /// All is read that had lain in the socket of `own` when it was asked for the `asked`th time.
    pub(super) fn read(&mut self, own: &Arc<Progress>, asked: u64) {
        own.answered.fetch_max(asked, SeqCst);
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
