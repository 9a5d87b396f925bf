//! The sequence of one partition, and how many batches of it are undecided. Pure.

use super::REMEMBERED;
use crate::kafka::cluster::Producer;
use crate::kafka::mistake::{Mistake, made};
use std::time::Instant;

/// The sequence of one partition.
#[derive(Clone, Copy, Debug)]
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
    /// Until then its batches go with their own acks=1: raised ones were refused, or came too late, for want of followers.
    pub(super) lowered: Option<Instant>,
}

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
            lowered: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.undecided >= if self.opening && !made(Mistake::FirstNotAlone) { 1 } else { REMEMBERED }
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

    /// Brokers may have forgotten the producer: they take any sequence as its first.
    pub(super) fn open_again(&mut self) {
        (self.opening, self.older) = (true, self.undecided);
    }
}
