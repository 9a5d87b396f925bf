//! One request of a client, from its arrival to its answer.

use super::ahead::Lane;
use crate::hold::Ticket;
use crate::kafka::cluster::TopicKey;
use crate::kafka::operations::Operation;
use crate::kafka::order::Barrier;
use crate::kafka::split::{Refusal, Split};
use crate::net::compact;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What a request costs beside its frame, in bytes, roughly: its slot, its trouble, and its parts. Small ones that are held by the
/// thousand cost that more than their frames.
pub(super) const REQUEST_COST: usize = 1024;

/// A client's request in its place in the order of answers.
pub(super) struct Slot {
    /// Its row of the operation table.
    pub op: &'static Operation,
    /// The version that it is in.
    pub version: i16,
    /// What its answer must carry.
    pub correlation: i32,
    /// Where its body begins in the frame.
    pub body_at: usize,
    /// The request as it came; kept until it is decided, for a replay. Of a Produce that was taken apart before it was
    /// stamped its head alone: each partition keeps its own records, as they are stamped, and only once.
    pub frame: Bytes,
    /// How many bytes of it count as held: the frame's, and [`REQUEST_COST`].
    pub charged: usize,
    /// Whether its client expects no answer (Produce with acks=0), whatever it goes with: see [`Slot::is_answered`].
    pub silent: bool,
    /// Whether it was stamped with an injected identity as a whole.
    pub stamped: bool,
    /// Whether it went whole without that: then it is not stamped any more. A later one may have taken its sequence since, and that one
    /// would wait for this one, and this one for the room that it takes.
    pub as_it_is: bool,
    /// Whether its acks were raised, and whether that was taken back. Of an acks=0 anything but [`Raised::No`] means that brokers answer.
    pub raised: Raised,
    /// The time-out that its client gave, in milliseconds, where a shorter one was written into the frame.
    pub own_timeout: Option<i32>,
    /// When it had been read.
    pub arrived: Instant,
    /// How long brokers had it.
    pub upstream: Duration,
    /// How far it has come.
    pub state: State,
    /// What must be decided on other connections first: of a Produce for a partition whose leader is news.
    pub barriers: Vec<Barrier>,
    /// The partitions of a Produce, in its order; numbered in trouble only, and not where it can't be read.
    pub lanes: Option<Box<[Lane]>>,
    /// What went wrong with it so far; nothing in the steady state.
    pub trouble: Option<Box<Trouble>>,
}

/// What became of a client's acks=1, or of its acks=0 where that is raised, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// Nothing.
    No,
    /// It goes as acks=all.
    Up,
    /// It goes as acks=1, since followers are missing or slow: it went as acks=all before, or is an acks=0 that was lowered at once.
    Down,
}

/// How far a request has come.
pub(super) enum State {
    /// It waits to be sent as it is.
    Waiting,
    /// It is at a node as it came.
    Sent,
    /// It goes to several leaders in parts.
    Split(Box<Split>),
    /// It is decided.
    Done(Answer),
}

/// What the client gets.
#[derive(Clone)]
pub(super) enum Answer {
    /// This frame.
    Frame(Bytes),
    /// This frame, which tells the client of these leaders.
    Leaders(Bytes, Vec<(TopicKey, i32, i32)>),
    /// Nothing: it asked for no answer.
    Nothing,
    /// The end of its connection, for this reason.
    Close(String),
}

/// What went wrong with a request.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Its place in the book while it is held.
    pub ticket: Option<Ticket>,
    /// When it must be decided, one way or the other, if nothing before it gets on.
    pub deadline: Instant,
    /// When it must be decided although its line moves; not before `deadline`.
    pub last_call: Instant,
    /// Who refused it last.
    pub refused: Option<Refusal>,
    /// It isn't sent earlier than this.
    pub not_before: Instant,
    /// How often its connection was lost after it had been written.
    pub losses: u32,
    /// How often it was refused.
    pub refusals: u32,
    /// Whether it was sent again though an earlier attempt may have been applied.
    pub replayed: bool,
    /// The last true answer, for when the bound is reached.
    pub last: Option<Bytes>,
}

impl Slot {
    /// It will be kept for longer: a small frame is freed of the buffer that it was read in.
    pub(super) fn compact(&mut self) {
        self.frame = compact(std::mem::take(&mut self.frame));
    }

    /// Whether brokers answer it as it goes. An answer that its client doesn't expect ends here.
    pub(super) fn is_answered(&self) -> bool {
        !self.silent || self.raised != Raised::No
    }

    /// Whether it goes on when its client is gone, and can be sent again: acks=0 that goes with more.
    pub(super) fn goes_on_alone(&self) -> bool {
        self.silent && self.is_answered()
    }

    /// Whether something is still to be done about it.
    pub(super) fn is_unsettled(&self) -> bool {
        matches!(self.state, State::Waiting | State::Split(_))
    }

    /// Whether it is held.
    pub(super) fn is_held(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.ticket.is_some())
    }

    /// Whether it was sent again though an earlier attempt may have been applied.
    pub(super) fn is_replayed(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.replayed)
    }

    /// The numbers of its partitions, as far as they are known.
    pub(super) fn lanes(&self) -> &[Lane] {
        self.lanes.as_deref().unwrap_or_default()
    }

    /// Whether it is a Produce.
    pub(super) fn is_produce(&self) -> bool {
        self.op.key == super::PRODUCE
    }
}
