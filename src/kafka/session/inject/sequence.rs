//! The sequence of one partition, and how many batches of it are undecided. Pure.

use super::{REMEMBERED, after};
use crate::kafka::cluster::Producer;
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::wire::batch::BatchHeader;
use std::time::{Duration, Instant};

/// How many sequences later what has landed is forgotten: far more than any batches have that are undecided at a time, and less than
/// half of the round, from which on a later one counts as earlier.
const FORGOTTEN: i64 = 1 << 29;

/// The sequence of one partition.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is known of it by itself")]
pub(super) struct Sequence {
    pub(super) producer: Producer,
    pub(super) next: i32,
    pub(super) undecided: u32,
    /// The id took the place of another, and no batch under it is in the log yet: a broker that doesn't know a producer
    /// takes any sequence as its first, so a second batch would not be kept behind the first.
    pub(super) unproven: bool,
    /// The same of the partition's first id, and of a topic that was made anew: its first batch goes alone.
    pub(super) opening: bool,
    /// Of the undecided ones, those that were sent before it was opened again.
    pub(super) older: u32,
    /// A part found no room. Those that wait go together when all that are out are decided, up to five in a row that needs one
    /// round trip to the followers; one for one, as room is made, each would need its own.
    pub(super) crowded: bool,
    /// The sequence behind the last batch that its client was told to be unknown, until a later one is known to be in the log.
    pub(super) given_up: Option<i32>,
    /// The first sequence of the last batch that is known to be in the log; noted only while others are in trouble.
    pub(super) landed: Option<i32>,
    /// A batch that isn't in the log came to its bound and took its sequence along: the next one begins anew, when no other is undecided.
    /// Else each batch of a backlog would meet the gap in turn, and come to its own bound in the pause that follows.
    pub(super) broken: bool,
    /// Until then its batches go with their own acks=1: raised ones were refused, or came too late, for want of followers.
    pub(super) lowered: Option<Instant>,
    /// Since when followers had been too slow, and how long each answer that came too late kept it so.
    pub(super) slow: Option<(Instant, Duration)>,
}

/// How long acks=1 stays as it is after followers were missing (19, 20).
const LOWERED_FOR_MISSING: Duration = Duration::from_secs(1);
/// How long after they were too slow (7), at first and at most. A follower that was killed counts among the in-sync ones until it is fenced
/// (9 s by default), so the first is over soon: what is acknowledged meanwhile is lost with the next leader that is killed.
const LOWERED_FOR_SLOW: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

impl Sequence {
    pub(super) fn new(producer: Producer) -> Self {
        Self {
            producer,
            next: 0,
            undecided: 0,
            unproven: false,
            opening: true,
            older: 0,
            crowded: false,
            given_up: None,
            landed: None,
            broken: false,
            lowered: None,
            slow: None,
        }
    }

    /// A raised batch had to fall back with this error: for a while the others don't try, since a slow follower costs each of them
    /// [`RAISED_TIMEOUT_MS`](super::raise::RAISED_TIMEOUT_MS), and a missing one a round trip. For followers that stay slow that grows.
    pub(super) fn lower(&mut self, code: i16, now: Instant) {
        let lasts = if code == REQUEST_TIMED_OUT {
            let [first, most] = LOWERED_FOR_SLOW;
            let lately = self.lowered.is_some_and(|until| now < until + most);
            let (_, lasts) = match self.slow {
                // A connection's requests are answered one after another, each as late as the one before.
                Some((since, lasts)) if now < since + most => (since, lasts),
                Some((_, lasts)) if lately => *self.slow.insert((now, (lasts * 2).min(most))),
                _ => *self.slow.insert((now, first)),
            };
            lasts
        } else {
            LOWERED_FOR_MISSING
        };
        self.lowered = self.lowered.max(Some(now + lasts));
    }

    pub(super) fn is_full(&self) -> bool {
        let alone = (self.opening && !made(Mistake::FirstNotAlone)) || self.broken;
        let room = if made(Mistake::WindowIgnored) { u32::MAX } else { REMEMBERED };
        self.undecided >= if alone { 1 } else { room }
    }

    /// Whether a part has to wait for those that are out.
    pub(super) fn keeps_back(&mut self) -> bool {
        self.crowded |= self.is_full();
        self.crowded
    }

    pub(super) fn is_lowered(&self, now: Instant) -> bool {
        self.lowered.is_some_and(|until| now < until)
    }

    pub(super) fn decided(&mut self) {
        self.undecided = self.undecided.saturating_sub(1);
        self.crowded &= self.undecided > 0;
        if self.older > 0 {
            self.older -= 1;
        } else {
            // One that was refused has given its sequence back.
            self.opening &= self.next == 0;
        }
    }

    /// The next batch takes its sequences; answers the first one.
    pub(super) fn take(&mut self, last_offset_delta: i32) -> i32 {
        let base = self.next;
        self.next = after(base, last_offset_delta);
        // Sequences wrap: an old one would be taken for one that is to come.
        self.landed = self.landed.filter(|landed| distance(*landed, base) < FORGOTTEN);
        base
    }

    /// The partition begins anew under this producer.
    pub(super) fn begin_anew(&mut self, producer: Producer) {
        (self.producer, self.next, self.unproven) = (producer, 0, true);
        (self.given_up, self.landed, self.broken) = (None, None, false);
    }

    /// Whether something is open that a batch in the log would settle.
    pub(super) fn is_open(&self) -> bool {
        self.unproven || self.given_up.is_some()
    }

    /// A batch with these sequences is in the log under its producer: so is what was given up before it.
    pub(super) fn landed(&mut self, base: i32) {
        self.unproven = false;
        if self.landed.is_none_or(|known| is_at_or_behind(base, known)) {
            self.landed = Some(base);
        }
        self.given_up = self.given_up.filter(|behind| !is_at_or_behind(base, *behind));
    }

    /// Whether a batch behind one with this first sequence is known to be in the log: then that one is, too.
    pub(super) fn has_landed_behind(&self, base: i32) -> bool {
        self.landed.is_some_and(|landed| landed != base && is_at_or_behind(landed, base))
    }

    /// A batch is given up though it may be in the log yet; `behind`: the sequence behind it.
    pub(super) fn give_up(&mut self, behind: i32) {
        if self.given_up.is_none_or(|known| is_at_or_behind(behind, known)) {
            self.given_up = Some(behind);
        }
    }

    /// A batch ends that isn't in the log and never will be. `behind_gap`: its sequence had been refused.
    pub(super) fn end(&mut self, batch: &BatchHeader, behind_gap: bool) {
        if !behind_gap && self.next == after(batch.base_sequence, batch.last_offset_delta) {
            self.next = batch.base_sequence;
        } else {
            self.broken = true;
        }
    }

    /// Brokers may have forgotten the producer: they take any sequence as its first.
    pub(super) fn open_again(&mut self) {
        (self.opening, self.older) = (true, self.undecided);
    }
}

/// Whether a sequence is another or comes after it, where both are of batches that are undecided at about the same time.
fn is_at_or_behind(sequence: i32, other: i32) -> bool {
    distance(other, sequence) < 1 << 30
}

/// How many sequences lie from one to another that comes after it.
fn distance(from: i32, to: i32) -> i64 {
    (i64::from(to) - i64::from(from)).rem_euclid(1 << 31)
}
