//! What a client of a chaos run went through, and what the servers have at the end. Data only.
//!
//! Times are microseconds since the beginning of the run, on one clock for all.

use std::collections::{BTreeMap, BTreeSet};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// getData, with a watch or without.
    Get {
        /// Of this node.
        path: String,
        /// Whether a watch is set.
        watch: bool,
    },
    /// setData.
    Set {
        /// Of this node.
        path: String,
        /// No other write has it.
        value: String,
        /// The version that it must have; −1: any.
        expect: i32,
        /// Whether it stands behind a check of that version in a multi.
        checked: bool,
    },
    /// create.
    Create {
        /// Of this node.
        path: String,
        /// No other write has it.
        value: String,
    },
    /// delete.
    Delete {
        /// Of this node.
        path: String,
        /// The version that it must have; −1: any.
        expect: i32,
    },
    /// A multi that sets two nodes, whatever their versions.
    Pair {
        /// Both.
        paths: [String; 2],
        /// No other write has it.
        value: String,
    },
    /// create of a sequential node.
    Sequence {
        /// No other has it.
        value: String,
        /// Whether it ends with the session.
        ephemeral: bool,
    },
    /// create of an ephemeral node whose name nobody else has.
    Ephemeral {
        /// The node.
        path: String,
    },
}

impl Call {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. })
    }
}

/// What a node was found or left to be, as far as an answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The transaction of its last change; 0: not told.
    pub mzxid: i64,
    /// Its version.
    pub version: i32,
    /// The value that was read, or the path that was made.
    pub text: String,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Done; one entry for each node (none for a delete).
    Done(Vec<Found>),
    /// An error that says that it was not done.
    Refused(i32),
    /// CONNECTIONLOSS as an answer: it was done by now, or never will be.
    Unknown,
    /// The connection ended without an answer.
    Cut,
}

/// A request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The session.
    pub session: i64,
    /// Its number in the session.
    pub xid: i32,
    /// What was asked.
    pub call: Call,
    /// When.
    pub sent_us: i64,
    /// When the outcome was known.
    pub done_us: i64,
    /// The highest zxid that the session had been told when it was sent.
    pub floor: i64,
    /// The zxid of the answer's header.
    pub zxid: i64,
    /// The outcome.
    pub told: Told,
}

/// What a client noted, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A request is over.
    Op(Op),
    /// A one-shot watch was told.
    Event {
        /// When.
        at_us: i64,
        /// The type on the wire: 1 created, 2 deleted, 3 changed.
        kind: i32,
        /// Of which node.
        path: String,
    },
    /// The session has a connection.
    Connected {
        /// When.
        at_us: i64,
        /// The session.
        session: i64,
        /// Whether it had one before.
        resumed: bool,
    },
    /// The connection ended.
    Lost {
        /// When.
        at_us: i64,
        /// Whether this client gave it up, being told nothing for two thirds of its time-out.
        silent: bool,
    },
    /// The ensemble said that the session is over.
    Expired {
        /// When.
        at_us: i64,
        /// Which.
        session: i64,
    },
    /// An answer that was not due.
    Disorder {
        /// When.
        at_us: i64,
        /// What.
        what: String,
    },
}

/// One transaction of the servers' logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Its id, and its place in the order of all.
    pub zxid: i64,
    /// The session that asked for it.
    pub session: i64,
    /// The number of the request in the session.
    pub xid: i32,
    /// What it changed; nothing, if it was refused.
    pub changes: Vec<Change>,
}

/// A change of one node, or the end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made, with this value.
    Made {
        /// The node.
        path: String,
        /// Its value.
        value: String,
    },
    /// Given this value.
    Set {
        /// The node.
        path: String,
        /// Its value.
        value: String,
        /// Its version from then on.
        version: i32,
    },
    /// Removed.
    Removed {
        /// The node.
        path: String,
    },
    /// The session was ended, and its ephemeral nodes with it.
    Ended,
}

/// What is there at the end, read from the servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Each node that clients write to: version and value; `None`: it isn't there.
    pub nodes: BTreeMap<String, Option<(i32, String)>>,
    /// Sequential nodes, path and value.
    pub sequence: BTreeMap<String, String>,
    /// Ephemeral nodes, not those of the sequence.
    pub ephemerals: BTreeSet<String>,
    /// Servers that lost what their peers have, and what. Of no other server's or client's making.
    pub diverged: Vec<String>,
    /// All transactions that servers wrote down and kept, in order.
    pub log: Vec<Txn>,
    /// Gaps in the log: what it doesn't have.
    pub gaps: Vec<String>,
}

/// What Evenkeel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Answers CONNECTIONLOSS.
    pub unknown: f64,
    /// Sessions that the ensemble said are over.
    pub expired: f64,
    /// Connections of clients that were closed for an outcome that nobody knows.
    pub closed_unknown: f64,
    /// Connections of clients that were closed since the lease was over.
    pub closed_lease: f64,
    /// For other reasons.
    pub closed_other: f64,
}

/// An event as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done, and to whom.
    pub what: String,
    /// Whether a promise of no unknown outcomes at all holds for it.
    pub soft: bool,
    /// When it began.
    pub start_us: i64,
    /// When the ensemble was whole again.
    pub whole_us: i64,
    /// When each client had been served anew after that; 0: one of them never was.
    pub served_us: i64,
    /// Why it was left out, if it was.
    pub skipped: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What each client noted.
    pub clients: Vec<Vec<Line>>,
    /// What was done, in order.
    pub events: Vec<Event>,
    /// What is there at the end.
    pub truth: Truth,
    /// What Evenkeel counted.
    pub counted: Counted,
    /// The sessions' time-out.
    pub timeout_us: i64,
}

impl Run {
    /// All requests, client by client.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.clients.iter().flatten().filter_map(|line| match line {
            Line::Op(op) => Some(op),
            _ => None,
        })
    }
}
