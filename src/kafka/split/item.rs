//! One partition of a request in parts, and how it is decided.

use crate::kafka::cluster::{Producer, TopicKey};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::wire::Struct;
use std::time::Instant;

/// How far a partition has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// It waits to be sent.
    Waiting,
    /// It is in the part of this number.
    Sent(u32),
    /// This is its answer.
    Done(Box<Struct>),
}

/// Who refused a partition, and when: a leader that was known earlier is no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node.
    pub node: i32,
    /// When.
    pub at: Instant,
}

/// Why a partition is to be sent again, and when at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Not before this.
    pub not_before: Instant,
    /// The error that sends it round again; 0 if it was lost with its connection.
    pub code: i16,
    /// Whether it may have been applied, so that only its sequence protects it.
    pub doubt: bool,
    /// Where the broker had appended it, if it said so.
    pub appended: Option<i64>,
    /// Who refused it, if a node did.
    pub refused: Option<Refusal>,
    /// Whether an answer proved that it isn't in the log and that its sequence is of no more use.
    pub restamp: bool,
    /// Whether it met a gap though it may be in the log.
    pub gap: bool,
}

impl Again {
    /// Sent again not before `at`, with nothing else known.
    pub fn at(not_before: Instant) -> Self {
        Self { not_before, code: 0, doubt: false, appended: None, refused: None, restamp: false, gap: false }
    }
}

/// The decision on a partition.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// This is its answer.
    Done(Struct),
    /// It is sent again.
    Again(Again),
}

/// One partition of a request.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is known of it by itself")]
pub struct Item {
    /// Its topic, as the request calls it.
    pub topic: TopicKey,
    /// Its topic under the one name that it has in all books, however requests call it.
    pub key: TopicKey,
    /// Its number.
    pub partition: i32,
    /// What was asked of it.
    pub request: Struct,
    /// The producer id and epoch that its records carry, or none; of a Produce.
    pub producer: Producer,
    /// How far it has come.
    pub progress: Progress,
    /// The node of the part that it was put into last.
    pub sent_to: Option<i32>,
    /// An earlier attempt may have been applied.
    pub doubt: bool,
    /// Where a broker said that it had appended it, before its leadership moved.
    pub appended: Option<i64>,
    /// The last error that a broker gave, or 0.
    pub code: i16,
    /// Who refused it last.
    pub refused: Option<Refusal>,
    /// It isn't sent earlier than this.
    pub not_before: Instant,
    /// Its injected sequence met a gap: it is stamped anew before it goes again.
    pub restamp: bool,
    /// How often that happened.
    pub restamps: u8,
    /// It was sent again and met a gap, which proves nothing before those behind it have gone again, too.
    pub gap: bool,
    /// It was stamped as a part, and counts among the undecided batches of its partition.
    pub counted: bool,
    /// It went with acks=1 in place of acks=all, and what would have proven it did not land. Only while its answer is judged.
    pub unproven: bool,
    /// How often its connection was lost after it had been written.
    pub losses: u32,
}

impl Item {
    pub(super) fn new(topic: TopicKey, partition: i32, request: Struct, now: Instant) -> Self {
        Self {
            key: topic.clone(),
            topic,
            partition,
            request,
            producer: Producer::NONE,
            progress: Progress::Waiting,
            sent_to: None,
            doubt: false,
            appended: None,
            code: 0,
            refused: None,
            not_before: now,
            restamp: false,
            restamps: 0,
            gap: false,
            counted: false,
            unproven: false,
            losses: 0,
        }
    }

    /// Whether it waits to be sent.
    pub fn is_waiting(&self) -> bool {
        self.progress == Progress::Waiting
    }

    /// Whether it is on its way in the part of this number.
    pub fn is_in(&self, part: u32) -> bool {
        self.progress == Progress::Sent(part)
    }

    /// Its answer, if it is decided.
    pub fn answer(&self) -> Option<&Struct> {
        match &self.progress {
            Progress::Done(answer) => Some(answer),
            _ => None,
        }
    }

    /// Whether it is decided.
    pub fn is_done(&self) -> bool {
        matches!(self.progress, Progress::Done(_))
    }

    /// It goes again as it is, not before this.
    pub fn leave_gap(&mut self, not_before: Instant) {
        (self.gap, self.not_before) = (false, not_before);
    }

    /// It isn't in the log, and its sequence is of no more use.
    pub fn start_over(&mut self, not_before: Instant) {
        self.decide(Judgement::Again(Again { restamp: true, ..Again::at(not_before) }));
    }

    /// This is its answer.
    pub fn settle(&mut self, answer: Struct) {
        self.decide(Judgement::Done(answer));
    }

    pub(super) fn decide(&mut self, judgement: Judgement) {
        self.unproven = false;
        match judgement {
            Judgement::Done(answer) => {
                self.gap = false;
                self.progress = Progress::Done(Box::new(answer));
            }
            Judgement::Again(again) => {
                self.progress = Progress::Waiting;
                let before = self.doubt && !made(Mistake::DoubtForgotten);
                self.doubt = (before || again.doubt) && !again.restamp;
                self.appended = again.appended.or(self.appended).filter(|_| !again.restamp);
                self.gap = again.gap;
                self.restamp |= again.restamp;
                self.restamps = self.restamps.saturating_add(u8::from(again.restamp));
                self.not_before = again.not_before;
                if again.code != 0 {
                    self.code = again.code;
                }
                if again.refused.is_some() {
                    self.refused = again.refused;
                }
            }
        }
    }
}
