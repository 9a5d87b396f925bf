//! One request of a client, from its arrival to its answer.

use crate::hold::Ticket;
use crate::metrics::zookeeper::CloseReason;
use crate::zookeeper::operations::{Loss, Operation};
use crate::zookeeper::tally::name_of;
use crate::zookeeper::wire::{opcode, request_payload};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// A request in its place in the order of answers. Pings have none.
pub(super) struct Slot {
    /// Its row of the operation table; nothing of an operation that there is none of.
    pub op: Option<&'static Operation>,
    /// The number of the operation.
    pub code: i32,
    /// What its answer must carry.
    pub xid: i32,
    /// The request as it came, header included; kept until it is answered.
    pub frame: Bytes,
    /// How far it has come.
    pub state: State,
    /// The highest zxid in the header of any answer before it was lost with its server: its own is higher. See
    /// [`Pending`](crate::zookeeper::outcome::Pending).
    pub z0: i64,
    /// Whether the session's earlier connections may have left behind what looks like its doing. See there, too.
    pub inherits: bool,
    /// So many servers that may have read it were lost before they answered, or before it was known what became of it; or refused it, or
    /// to say so, to a connection that was theirs no more.
    pub losses: u8,
    /// When it had been read.
    pub arrived: Instant,
    /// When it was sent last.
    pub sent: Instant,
    /// How long servers had it.
    pub upstream: Duration,
    /// Its place in the book while it is held.
    pub ticket: Option<Ticket>,
    /// Events that came behind its answer, while that can't go out.
    pub events: Vec<Bytes>,
}

/// How far a request has come.
#[derive(Debug)]
pub(super) enum State {
    /// It waits to be sent.
    Waiting,
    /// It is with the server.
    Sent,
    /// It was with a server that is gone, and may have been applied.
    Unknown,
    /// It is decided.
    Done(Reply),
}

/// What the client gets.
#[derive(Debug)]
pub(super) enum Reply {
    /// The server's frame, header included.
    Frame(Bytes),
    /// A frame of our own, its length in front.
    Made(Bytes),
    /// Nothing more: it has had its answer.
    Nothing,
    /// The end of its connection, for this reason; and how that is counted, if it is.
    Close(String, Option<CloseReason>),
}

impl Slot {
    /// The operation's name.
    pub(super) fn name(&self) -> &'static str {
        name_of(self.code)
    }

    /// What is done with it when its outcome is unknown.
    pub(super) fn loss(&self) -> Loss {
        self.op.map_or(Loss::Refused, |op| op.loss)
    }

    /// Whether a server answers it at once, and not in the order of the others (`ZooKeeperServer.processPacket`).
    pub(super) fn is_answered_at_once(&self) -> bool {
        matches!(self.code, opcode::AUTH | opcode::SASL)
    }

    /// Whether the leader has a part in it: what the leader's end makes unknown.
    pub(super) fn needs_leader(&self) -> bool {
        self.op.is_some_and(Operation::proves_leader)
    }

    /// What follows its header.
    pub(super) fn payload(&self) -> &[u8] {
        request_payload(&self.frame)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }
}
