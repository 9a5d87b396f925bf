//! What is seen at one moment, and what is to be done: the words between the core and the world.

use crate::driver::event::{Event, How, Task};
use crate::driver::exit::Halt;
use crate::fleet::{GateSaid, Merged, Reason, Status, merge};
use crate::upgrade::{self, Gate};

/// A sidecar, as it was heard just now.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::driver) struct Sidecar {
    /// Its address.
    pub name: String,
    /// For how long nothing was heard of it.
    pub silent_ms: u64,
    /// What it says, or why it says nothing.
    pub said: Result<Status, String>,
}

/// What is seen of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::driver) enum RunSeen {
    /// Its process has not begun; whether it is one that this driver has just started.
    Unclaimed {
        /// It is.
        ours: bool,
    },
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// The end of its output.
        output: String,
    },
    /// It began, and is gone without having told its end.
    Vanished {
        /// The end of its output.
        output: String,
    },
}

/// A gate that is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Want {
    /// Which.
    pub gate: Gate,
    /// For which member.
    pub member: Option<String>,
    /// Whom.
    pub of: Vec<String>,
}

/// What was answered to a [`Want`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::driver) struct Asked {
    /// The question.
    pub want: Want,
    /// The answers.
    pub answers: Vec<(String, Result<GateSaid, String>)>,
}

impl Asked {
    /// What the fleet says.
    pub(in crate::driver) fn merged(&self) -> Merged {
        merge(self.answers.iter().map(|(name, said)| (name.as_str(), said.as_ref().map_err(String::as_str))))
    }
}

/// Everything that is seen at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::driver) struct Seen {
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// The sidecars.
    pub sidecars: Vec<Sidecar>,
    /// The command that has no end yet, if there is one.
    pub run: Option<RunSeen>,
    /// What the plan's check said of a command: its number and the exit code.
    pub check: Option<(u64, Option<i32>)>,
    /// Gates that were asked.
    pub gates: Vec<Asked>,
    /// Why the last step failed, if it did.
    pub trouble: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::driver) enum Step {
    /// Write this down: that is all.
    Write(Event),
    /// Tell sidecars the plan.
    Put {
        /// The plan.
        plan: Box<upgrade::Plan>,
        /// Whom.
        to: Vec<String>,
    },
    /// Look up and write down the replica orders that would change.
    SaveOrders(String),
    /// Move leaders away.
    MoveLeaders(String),
    /// Restore replica orders.
    RestoreLeaders(String),
    /// Make clients leave a member, or go on with it.
    Drain {
        /// The member.
        member: String,
        /// Where.
        to: Vec<String>,
    },
    /// The end of that.
    Undrain {
        /// The member.
        member: String,
        /// Where.
        to: Vec<String>,
    },
    /// Write a command down and start it.
    Start {
        /// What for.
        task: Task,
        /// Sidecars that say already that the member had a turn.
        had_turn: Vec<String>,
    },
    /// Make sure that a command that has not begun never does.
    Revoke {
        /// The command.
        run: u64,
        /// Its work is done all the same, and how that is known.
        did: Option<(How, String)>,
    },
    /// Kill a command that takes too long.
    Kill(u64),
    /// Ask the plan's check about a command.
    Check {
        /// The command.
        run: u64,
        /// The member.
        member: String,
    },
    /// Raise `metadata.version`.
    Raise,
    /// Tell sidecars that the roll is over, or given up.
    Close {
        /// Whom.
        to: Vec<String>,
        /// It is given up.
        abort: bool,
    },
    /// Nothing, for a moment.
    Wait(Vec<Reason>),
    /// Stop.
    Halt(Halt),
}
