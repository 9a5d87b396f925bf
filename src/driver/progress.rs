//! How far a roll has come: what the lines of its journal add up to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, How, Line, Order, Task};
use super::plan::Direction;

/// A command, from the line that announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Its number.
    pub n: u64,
    /// When it was announced.
    pub at_ms: u64,
    /// Sidecars that said beforehand that the member had a turn.
    pub had_turn: Vec<String>,
    /// Its end.
    pub end: Option<End>,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The line that tells it.
    pub n: u64,
    /// When.
    pub at_ms: u64,
    /// It did its work.
    pub ok: bool,
    /// Its exit code.
    pub code: Option<i32>,
    /// How that is known.
    pub how: How,
    /// The end of its output.
    pub output: String,
}

/// A member's turn that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a line of the journal that is there or not")]
pub(super) struct Turn {
    /// The member.
    pub member: String,
    /// When it began.
    pub at_ms: u64,
    /// It leads nothing any more.
    pub moved: bool,
    /// Its drain was ordered.
    pub drain: bool,
    /// It is being given up.
    pub given_up: bool,
    /// Its command.
    pub run: Option<Run>,
    /// It is back.
    pub back: bool,
}

/// What sidecars were told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The generation.
    pub generation: u64,
    /// Members that it lists.
    pub members: Vec<String>,
    /// For how long all must have been back.
    pub soak_s: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Which way members go.
    pub direction: Direction,
    /// What sidecars were told last; generation 0 before anything.
    pub told: Told,
    /// Members whose command was begun on the way forward.
    pub begun: BTreeSet<String>,
    /// The members that go back.
    pub going_back: Vec<String>,
    /// Members whose turn is over.
    pub done: Vec<String>,
    /// The turn that is not over.
    pub turn: Option<Turn>,
    /// Replica orders that are to be restored, by the member for whose sake they were changed.
    pub orders: BTreeMap<String, Vec<Order>>,
    /// The level to which `metadata.version` was raised.
    pub raised: Option<i16>,
    /// The command that raises the cluster's version.
    pub finalize: Option<Run>,
    /// The roll is over.
    pub finalized: bool,
    /// When the last member was back.
    pub last_back_ms: Option<u64>,
    /// How long each turn took, in milliseconds.
    pub took_ms: Vec<u64>,
}

impl Progress {
    /// Of all lines.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut progress = Self::default();
        for line in lines {
            progress.take(line);
        }
        progress
    }

    /// The run that has no end yet.
    pub(super) fn running(&self) -> Option<(&Run, Task)> {
        let of_turn = self.turn.as_ref().and_then(|turn| {
            let run = turn.run.as_ref()?;
            Some((run, Task::Member(turn.member.clone())))
        });
        let of_end = self.finalize.as_ref().map(|run| (run, Task::Finalize));
        of_turn.into_iter().chain(of_end).find(|(run, _)| run.end.is_none())
    }

    fn run_mut(&mut self, n: u64) -> Option<&mut Run> {
        let of_turn = self.turn.as_mut().and_then(|turn| turn.run.as_mut());
        of_turn.into_iter().chain(self.finalize.as_mut()).find(|run| run.n == n)
    }

    /// The turn of this member.
    fn turn_of(&mut self, member: &str) -> Option<&mut Turn> {
        self.turn.as_mut().filter(|turn| turn.member == member)
    }

    /// Takes in a line.
    pub(super) fn take(&mut self, line: &Line) {
        match &line.event {
            Event::Begun { .. }
            | Event::Started { .. }
            | Event::GoneOnWithout { .. }
            | Event::Stopped { .. } => {}
            Event::Generation { generation, members, soak_s, .. } => {
                self.told = Told { generation: *generation, members: members.clone(), soak_s: *soak_s };
            }
            Event::Rollback { members } => {
                self.direction = Direction::Back;
                self.going_back.clone_from(members);
                self.told.members.clear();
                (self.done, self.turn, self.finalize, self.raised) = (Vec::new(), None, None, None);
                (self.last_back_ms, self.took_ms) = (None, Vec::new());
            }
            Event::Turn { member } => {
                self.turn = Some(Turn {
                    member: member.clone(),
                    at_ms: line.at_ms,
                    moved: false,
                    drain: false,
                    given_up: false,
                    run: None,
                    back: false,
                });
            }
            Event::Orders { member, partitions } => {
                self.orders.insert(member.clone(), partitions.clone());
            }
            Event::Moved { member } => {
                if let Some(turn) = self.turn_of(member) {
                    turn.moved = true;
                }
            }
            Event::Drain { member } => {
                if let Some(turn) = self.turn_of(member) {
                    turn.drain = true;
                }
            }
            Event::GiveUp { member, .. } => {
                if let Some(turn) = self.turn_of(member) {
                    turn.given_up = true;
                }
            }
            Event::GivenUp { .. } => self.turn = None,
            Event::Command { task, had_turn } => {
                let run = Run { n: line.n, at_ms: line.at_ms, had_turn: had_turn.clone(), end: None };
                match task {
                    Task::Finalize => self.finalize = Some(run),
                    Task::Member(member) => {
                        if self.direction == Direction::Forward {
                            self.begun.insert(member.clone());
                        }
                        if let Some(turn) = self.turn_of(member) {
                            turn.run = Some(run);
                        }
                    }
                }
            }
            Event::CommandEnded { run, ok, code, how, output } => {
                let end = End {
                    n: line.n,
                    at_ms: line.at_ms,
                    ok: *ok,
                    code: *code,
                    how: *how,
                    output: output.clone(),
                };
                if let Some(run) = self.run_mut(*run) {
                    run.end = Some(end);
                }
            }
            Event::Again { run, .. } => {
                if let Some(turn) = &mut self.turn
                    && turn.run.as_ref().is_some_and(|of| of.n == *run)
                {
                    turn.run = None;
                }
                if self.finalize.as_ref().is_some_and(|of| of.n == *run) {
                    self.finalize = None;
                }
            }
            Event::Back { member } => {
                self.last_back_ms = Some(line.at_ms);
                if let Some(turn) = self.turn_of(member) {
                    turn.back = true;
                }
            }
            Event::Restored { member } => {
                self.orders.remove(member);
            }
            Event::Done { member } => {
                if let Some(turn) = self.turn.take() {
                    self.took_ms.push(line.at_ms.saturating_sub(turn.at_ms));
                }
                self.done.push(member.clone());
            }
            Event::Raised { level } => self.raised = Some(*level),
            Event::Finalized => self.finalized = true,
        }
    }
}
