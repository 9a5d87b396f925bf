//! The end of a roll: the cluster's version is raised, last of all; or the roll goes back.

use std::fmt::Write as _;

use super::{Core, Seen, Step, answered, reasons};
use crate::driver::event::{Event, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::{Direction, Protocol};
use crate::driver::progress::{Progress, Turn};
use crate::fleet::Reason;
use crate::upgrade::Gate;

const ADVICE: &str = "Cure what closes the gate and start the driver again, or go back with --rollback";
/// So many silent sidecars are named.
const NAMED: usize = 10;

impl Core<'_> {
    /// All members had their turn.
    pub(super) fn end(&mut self, progress: &Progress, seen: &Seen) -> Step {
        let open: Vec<String> = self.living(seen).map(|(name, _)| name.to_owned()).collect();
        if open.is_empty() {
            return Step::Write(Event::Finalized);
        }
        let bound = self.plan.bounds.gate_s.saturating_add(self.plan.soak_s);
        let soak_ms = self.plan.soak_s * 1000;
        if let Some(back) = progress.last_back_ms
            && seen.now_ms.saturating_sub(back) < soak_ms
        {
            let left = soak_ms.saturating_sub(seen.now_ms.saturating_sub(back)) / 1000;
            let reason = Reason::new("soaking", format!("{left} s are left of {}", self.plan.soak_s));
            return self.wait("gate finalize", bound, seen, vec![reason], ADVICE);
        }
        let Some(merged) = answered(seen, Gate::Finalize, None) else { return Step::Wait(Vec::new()) };
        if !merged.ok {
            return self.wait("gate finalize", bound, seen, reasons(&merged), ADVICE);
        }
        if progress.direction == Direction::Forward {
            if self.plan.finalize_command.is_some() {
                match &progress.finalize {
                    None => return Step::Start { task: Task::Finalize, had_turn: Vec::new() },
                    Some(run) if run.end.as_ref().is_some_and(|end| !end.ok) => {
                        return self.after_failure(progress, run, None, seen);
                    }
                    Some(_) => {}
                }
            }
            if self.plan.raise_features && progress.raised.is_none() {
                return self.attempt("metadata.version", self.plan.bounds.leaders_s, seen, Step::Raise);
            }
        }
        let step = Step::Close { to: open, abort: false };
        self.attempt("plan/finalize", self.plan.bounds.gate_s, seen, step)
    }

    /// Whoever stops since something is not done leaves nobody drained whose command was not begun, and no leaders away.
    pub(super) fn parting(&mut self, progress: &Progress, step: Step) -> Step {
        let turn = progress.turn.as_ref().filter(|turn| turn.run.is_none());
        match (&step, turn) {
            (Step::Halt(halt), Some(turn)) if matches!(halt.exit, Exit::Closed | Exit::Silent) => {
                self.parting = Some(halt.clone());
                let why = "the driver stops".to_owned();
                Step::Write(Event::GiveUp { member: turn.member.clone(), why })
            }
            _ => step,
        }
    }

    /// … and then it stops.
    pub(super) fn parted(&mut self, progress: &Progress, seen: &Seen, halt: Halt) -> Step {
        let Some(turn) = progress.turn.as_ref().filter(|turn| turn.run.is_none()) else {
            return Step::Halt(halt);
        };
        if let Some(step) = self.heard_soon(turn, seen) {
            return step;
        }
        match self.give_up(progress, turn, seen) {
            Step::Halt(why) => {
                let (member, lasts_s) = (&turn.member, self.plan.drain_lasts_s());
                let text = format!(
                    "{}. And {member} is still drained for up to {lasts_s} s, or its leaders are away: {}",
                    halt.text, why.text
                );
                Step::Halt(self.and_where_silent(Halt::new(halt.exit, text), turn, seen))
            }
            step => {
                if matches!(step, Step::Write(Event::GivenUp { .. })) {
                    self.parting = Some(self.and_where_silent(halt, turn, seen));
                }
                step
            }
        }
    }

    /// Whoever says nothing for a moment is waited for, so that its drain can be ended, for as long as a sidecar may be silent.
    fn heard_soon(&mut self, turn: &Turn, seen: &Seen) -> Option<Step> {
        if !turn.drain || !self.drained_at(&turn.member, seen).is_empty() {
            return None; // what can be ended comes first
        }
        let bound = self.plan.bounds.silent_s;
        let late = self
            .counted(seen)
            .filter(|sidecar| sidecar.said.is_err() && sidecar.silent_ms < bound.saturating_mul(1000));
        let late = late.map(|sidecar| {
            let what = format!("{} may have {} drained still", sidecar.name, turn.member);
            Reason::new("sidecar_silent", what)
        });
        let late: Vec<Reason> = late.collect();
        if late.is_empty() || self.waits.exceeded("sidecars that end a drain", bound, seen.now_ms).is_some() {
            return None;
        }
        Some(Step::Wait(late))
    }

    /// The end of a driver, with the sidecars that could not be told to end the drain that was ordered.
    fn and_where_silent(&self, halt: Halt, turn: &Turn, seen: &Seen) -> Halt {
        let silent = seen.sidecars.iter().filter(|sidecar| sidecar.said.is_err());
        let silent: Vec<&str> = silent.map(|sidecar| sidecar.name.as_str()).collect();
        if !turn.drain || silent.is_empty() {
            return halt;
        }
        let mut at = silent.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        if silent.len() > NAMED {
            let _ = write!(at, " and {} more", silent.len() - NAMED);
        }
        let (member, lasts_s) = (&turn.member, self.plan.drain_lasts_s());
        let they = if silent.len() == 1 { "it says" } else { "they say" };
        let text = format!(
            "{}. {member} may be drained still, for up to {lasts_s} s, at {at}: {they} nothing",
            halt.text
        );
        Halt::new(halt.exit, text)
    }

    /// A roll that goes back before any command was begun is given up, and that is all.
    pub(super) fn nothing_to_go_back(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        if progress.direction == Direction::Back && progress.going_back.is_empty() {
            return Some(Step::Write(Event::Finalized));
        }
        if !self.turns_back(progress) || !progress.begun.is_empty() {
            return None;
        }
        if let Some(turn) = &progress.turn {
            return Some(self.give_up(progress, turn, seen));
        }
        let id = self.plan.id(Direction::Forward);
        let ours = |status: &crate::fleet::Status| {
            status
                .plan
                .as_ref()
                .is_some_and(|plan| plan.plan_id == id && plan.generation == progress.told.generation)
        };
        let to: Vec<String> =
            self.living(seen).filter(|(_, status)| ours(status)).map(|(name, _)| name.to_owned()).collect();
        if to.is_empty() {
            return Some(Step::Write(Event::Rollback { members: Vec::new() }));
        }
        let step = Step::Close { to, abort: true };
        Some(self.attempt("plan/abort", self.plan.bounds.silent_s, seen, step))
    }

    /// What was begun goes back, if it still can.
    pub(super) fn begin_rollback(&mut self, progress: &Progress, seen: &Seen) -> Step {
        if self.living(seen).next().is_none() {
            return Step::Halt(Halt::new(
                Exit::Closed,
                "it is too late to go back: the sidecars know it as finalized",
            ));
        }
        let Some(merged) = answered(seen, Gate::Rollback, None) else { return Step::Wait(Vec::new()) };
        // An ensemble doesn't tell what its own command made of it; a Kafka cluster does.
        let unknown = self.plan.protocol == Protocol::ZooKeeper && progress.finalize.is_some();
        if merged.has("finalized") || unknown {
            let why: Vec<String> = reasons(&merged).into_iter().map(|reason| reason.detail).collect();
            let text = format!("it is too late to go back: what finalizes it was begun. {}", why.join("; "));
            return Step::Halt(Halt::new(Exit::Closed, text));
        }
        if merged.ok {
            let all = self.plan.members.iter().map(|member| member.id.clone());
            let members = all.filter(|id| progress.begun.contains(id)).collect();
            return Step::Write(Event::Rollback { members });
        }
        self.wait(
            "gate rollback",
            self.plan.bounds.gate_s,
            seen,
            reasons(&merged),
            "Cure what closes the gate",
        )
    }
}
