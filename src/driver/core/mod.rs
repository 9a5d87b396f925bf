//! What comes next: a pure function of what the journal holds and what is seen now.
//!
//! [`Core`] remembers only for how long it has been waiting. Everything that must outlast the process is in the journal
//! ([`Progress`]); each decision that changes anything is an [`Event`] that is written first. So it does not matter at which point
//! the process is killed: the next one sees the same journal and the same world, and decides the same.

mod end;
mod plans;
mod run;
mod seen;
mod turn;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

use super::exit::{Exit, Halt};
use super::plan::{Direction, PlanFile};
use super::progress::Progress;
use crate::fleet::{MemberSaid, Merged, Reason, Status};
use crate::upgrade::{self, Gate};

pub(super) use seen::{Asked, RunSeen, Seen, Sidecar, Step, Want};
use waits::Waits;

/// See the module.
pub(super) struct Core<'a> {
    plan: &'a PlanFile,
    /// The roll is to go back.
    rollback: bool,
    /// What a person says of a member whose command nobody knows the end of.
    word: Option<(String, bool)>,
    /// The last line that an earlier process wrote.
    loaded: u64,
    /// What is being waited for, and since when.
    waits: Waits,
    /// What looks settled, and since when.
    settled: Option<(String, u64)>,
    /// How it is going to stop, when the turn that is not over is given up.
    parting: Option<Halt>,
    /// When a drain was ordered last, by sidecar.
    ordered: BTreeMap<String, u64>,
    /// Sidecars that the roll goes on without.
    without: BTreeSet<String>,
}

impl<'a> Core<'a> {
    /// For a plan. `loaded`: the last line that the journal had when it was opened.
    pub(super) fn new(plan: &'a PlanFile, rollback: bool, word: Option<(String, bool)>, loaded: u64) -> Self {
        Self {
            plan,
            rollback,
            word,
            loaded,
            waits: Waits::default(),
            parting: None,
            settled: None,
            ordered: BTreeMap::new(),
            without: BTreeSet::new(),
        }
    }

    /// What is to be done before any gate is asked.
    pub(super) fn first(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        self.waits.came_to(progress);
        if let Some(halt) = self.parting.clone() {
            return Some(self.parted(progress, seen, halt));
        }
        let step = self.before_gates(progress, seen)?;
        Some(self.parting(progress, step))
    }

    fn before_gates(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        if progress.finalized {
            let halt = if self.turns_back(progress) {
                Halt::new(Exit::Closed, "it is too late to go back: the roll is finalized")
            } else {
                Halt::new(Exit::Done, "everything is done")
            };
            return Some(Step::Halt(halt));
        }
        if let Some(halt) = self.misused(progress) {
            return Some(Step::Halt(halt));
        }
        if let Some(step) = self.of_run(progress, seen) {
            return Some(step);
        }
        if let Some(step) = self.silence(seen) {
            return Some(step);
        }
        if let Some(step) = self.unknown_member(progress, seen) {
            return Some(step);
        }
        if let Some(step) = self.nothing_to_go_back(progress, seen) {
            return Some(step);
        }
        if let Some(step) = self.plans(progress, seen) {
            return Some(step);
        }
        let turn = progress.turn.as_ref();
        if self.turns_back(progress) {
            // A turn that nothing was done in ends before the roll does; one that has begun is a member that goes back.
            return turn.filter(|turn| turn.run.is_none()).map(|turn| self.give_up(progress, turn, seen));
        }
        match turn {
            Some(turn) => self.in_turn(progress, turn, seen),
            None => self.already_there(progress, seen),
        }
    }

    /// The gates that decide what comes next, once [`Core::first`] has nothing to do. They are asked in this order, and no further
    /// than to the first that lets a drain begin.
    pub(super) fn wants(&self, progress: &Progress, seen: &Seen) -> Vec<Want> {
        let of: Vec<String> = self.living(seen).map(|(name, _)| name.to_owned()).collect();
        let want =
            |gate, member: Option<&str>| Want { gate, member: member.map(str::to_owned), of: of.clone() };
        if self.turns_back(progress) {
            return vec![want(Gate::Rollback, None)];
        }
        match &progress.turn {
            Some(turn) if turn.back => vec![want(Gate::Next, Some(&turn.member))],
            Some(turn) => vec![want(Gate::Stop, Some(&turn.member))],
            None => {
                let left = self.left(progress);
                if left.is_empty() {
                    return vec![want(Gate::Finalize, None)];
                }
                self.in_order(&left, seen).iter().map(|member| want(Gate::Stop, Some(member))).collect()
            }
        }
    }

    /// What is to be done, by what the gates say.
    pub(super) fn then(&mut self, progress: &Progress, seen: &Seen) -> Step {
        let step = self.by_gates(progress, seen);
        self.parting(progress, step)
    }

    fn by_gates(&mut self, progress: &Progress, seen: &Seen) -> Step {
        if self.turns_back(progress) {
            return self.begin_rollback(progress, seen);
        }
        match &progress.turn {
            Some(turn) if turn.back => self.next(turn, seen),
            Some(turn) => self.stop(progress, turn, seen),
            None if self.left(progress).is_empty() => self.end(progress, seen),
            None => self.choose(progress, seen),
        }
    }

    /// The roll is to go back, and doesn't yet.
    fn turns_back(&self, progress: &Progress) -> bool {
        self.rollback && progress.direction == Direction::Forward
    }

    fn misused(&self, progress: &Progress) -> Option<Halt> {
        if progress.direction == Direction::Back && !self.rollback {
            let text = "the journal is of a roll that goes back: --rollback goes on with it";
            return Some(Halt::new(Exit::Usage, text));
        }
        if self.turns_back(progress) && progress.told.generation == 0 {
            let text = "the journal knows of no roll that could go back; a way back without one is a plan of its own, with \
                        from and to the other way round";
            return Some(Halt::new(Exit::Usage, text));
        }
        if self.rollback && self.plan.rollback_command.is_none() {
            return Some(Halt::new(Exit::Usage, "rollback_command is not in the plan"));
        }
        None
    }

    /// The members that are to have a turn, in the order of the plan.
    fn targets(&self, progress: &Progress) -> Vec<String> {
        let all = self.plan.members.iter().map(|member| member.id.clone());
        match progress.direction {
            Direction::Forward => all.collect(),
            Direction::Back => all.filter(|id| progress.going_back.contains(id)).collect(),
        }
    }

    /// Those that have not had it.
    pub(super) fn left(&self, progress: &Progress) -> Vec<String> {
        let mut left = self.targets(progress);
        left.retain(|id| !progress.done.contains(id));
        left
    }

    /// Who is away, or on the way there, comes first: nobody else may go meanwhile.
    fn in_order(&self, left: &[String], seen: &Seen) -> Vec<String> {
        let serves = |id: &String| {
            let mut said = self.said_of(id, seen);
            said.all(|(_, member)| {
                matches!(member.phase, upgrade::Phase::Serving | upgrade::Phase::Verifying)
            })
        };
        let (there, away): (Vec<String>, Vec<String>) = left.iter().cloned().partition(serves);
        away.into_iter().chain(there).collect()
    }

    /// Sidecars that count: all but those that the roll goes on without.
    fn counted<'s>(&self, seen: &'s Seen) -> impl Iterator<Item = &'s Sidecar> + use<'s> {
        let without = self.without.clone();
        seen.sidecars.iter().filter(move |sidecar| !without.contains(&sidecar.name))
    }

    /// What those say that count.
    fn says<'s>(&self, seen: &'s Seen) -> impl Iterator<Item = (&'s str, &'s Status)> + use<'s> {
        self.counted(seen).filter_map(|sidecar| Some((sidecar.name.as_str(), sidecar.said.as_ref().ok()?)))
    }

    /// Those in which a plan lives.
    fn living<'s>(&self, seen: &'s Seen) -> impl Iterator<Item = (&'s str, &'s Status)> + use<'s> {
        self.says(seen).filter(|(_, status)| status.plan.is_some())
    }

    /// What is said of a member.
    fn said_of<'s>(
        &self,
        member: &str,
        seen: &'s Seen,
    ) -> impl Iterator<Item = (&'s str, &'s MemberSaid)> + use<'s> {
        let member = member.to_owned();
        self.says(seen).filter_map(move |(name, status)| Some((name, status.member(&member)?)))
    }

    /// A member's version, as far as it is told: whether it is the one that it shall have, and not the one before. Nothing where
    /// what it says leaves both open.
    fn at_target(&self, said: &MemberSaid, direction: Direction) -> Option<bool> {
        let (from, to) = self.plan.versions(&said.id, direction);
        match (said.has(from?)?, said.has(to?)?) {
            (false, true) => Some(true),
            (true, false) => Some(false),
            _ => None,
        }
    }

    /// Whether something has looked so for `settle_s`.
    fn has_settled(&mut self, key: &str, seen: &Seen) -> bool {
        let since = match &self.settled {
            Some((known, since)) if known == key => *since,
            _ => {
                self.settled = Some((key.to_owned(), seen.now_ms));
                seen.now_ms
            }
        };
        seen.now_ms.saturating_sub(since) >= self.plan.bounds.settle_s * 1000
    }
}

/// What was answered to a gate, put together.
fn answered(seen: &Seen, gate: Gate, member: Option<&str>) -> Option<Merged> {
    let asked =
        seen.gates.iter().find(|asked| asked.want.gate == gate && asked.want.member.as_deref() == member);
    asked.map(Asked::merged)
}

/// The reasons of a gate, with how many sidecars have each.
fn reasons(merged: &Merged) -> Vec<Reason> {
    let each = merged.reasons.iter().map(|of| {
        let more = of.sidecars.len();
        let detail = if more > 1 {
            format!("{} ({more} sidecars)", of.reason.detail)
        } else {
            of.reason.detail.clone()
        };
        Reason { code: of.reason.code.clone(), detail }
    });
    each.collect()
}
