//! What the journal holds: one event for each thing that was decided, before it is done, and for each thing that was done.

use serde::{Deserialize, Serialize};

use super::plan::Protocol;
use crate::upgrade::PlanMember;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// A member's turn.
    Member(String),
    /// The cluster's version.
    Finalize,
}

/// How the end of a command is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// It has told its exit code.
    Told,
    /// It took too long and was killed.
    Killed,
    /// It vanished without a word, and facts show what it did.
    Judged,
    /// A person has said so.
    Said,
}

/// The replica order of a partition, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The nodes, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The first line: whose journal it is.
    Begun {
        /// The plan.
        plan_id: String,
        /// The cluster.
        cluster: String,
        /// Its protocol.
        protocol: Protocol,
        /// Its members, with their versions.
        members: Vec<PlanMember>,
    },
    /// A driver has been started.
    Started {
        /// Its process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// Sidecars are told this generation, with these members, from now on.
    Generation {
        /// The generation.
        generation: u64,
        /// Members that it lists.
        members: Vec<String>,
        /// For how long all must have been back before the end.
        soak_s: u64,
        /// Why.
        why: String,
    },
    /// The roll goes back from here.
    Rollback {
        /// The members that are to go back.
        members: Vec<String>,
    },
    /// A member's turn begins.
    Turn {
        /// The member.
        member: String,
    },
    /// Replica orders that are about to be changed.
    Orders {
        /// Because of this member.
        member: String,
        /// As they were.
        partitions: Vec<Order>,
    },
    /// The member leads nothing any more.
    Moved {
        /// The member.
        member: String,
    },
    /// Its clients are about to be made to leave.
    Drain {
        /// The member.
        member: String,
    },
    /// Its turn is given up before anything was done to it: its order comes later.
    GiveUp {
        /// The member.
        member: String,
        /// Why.
        why: String,
    },
    /// … and everything is as it was.
    GivenUp {
        /// The member.
        member: String,
    },
    /// A command is about to be started. The number of this line is the command's.
    Command {
        /// What for.
        task: Task,
        /// Sidecars that said beforehand that the member had a turn.
        had_turn: Vec<String>,
    },
    /// A command has ended.
    CommandEnded {
        /// Its number.
        run: u64,
        /// It did its work.
        ok: bool,
        /// Its exit code, if it had one.
        code: Option<i32>,
        /// How that is known.
        how: How,
        /// The end of its output, or the facts.
        output: String,
    },
    /// A command never began, or did nothing: it is to be started again.
    Again {
        /// Its number.
        run: u64,
        /// How that is known.
        why: String,
    },
    /// The member is back, and may be used again.
    Back {
        /// The member.
        member: String,
    },
    /// Replica orders are as they were.
    Restored {
        /// The member.
        member: String,
    },
    /// The member's turn is over.
    Done {
        /// The member.
        member: String,
    },
    /// `metadata.version` has been raised.
    Raised {
        /// To this level.
        level: i16,
    },
    /// All sidecars know that the roll is over.
    Finalized,
    /// A sidecar is gone on without.
    GoneOnWithout {
        /// The sidecar.
        sidecar: String,
        /// What it last said.
        why: String,
    },
    /// The driver stops.
    Stopped {
        /// Its exit code.
        code: u8,
        /// Why.
        why: String,
    },
}
