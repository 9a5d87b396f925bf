//! A member's turn: chosen, its leaders moved, drained, stopped and started by the plan's command, back, and well for some time.

use super::{Core, Seen, Step, answered, reasons};
use crate::driver::event::{Event, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::Protocol;
use crate::driver::progress::{Progress, Run, Turn};
use crate::fleet::{MemberSaid, Merged, Reason};
use crate::upgrade::{Gate, Phase};

/// A drain is said again after this, long before it comes to its end by itself.
const DRAIN_AGAIN_MS: u64 = 60_000;
/// What to do about a drain that doesn't come to its end.
const STAY: &str = "Clients don't leave it: their sidecars' logs say why";

/// Who leads has its turn last.
fn comes_last(merged: &Merged) -> bool {
    merged.has("controller_comes_last") || merged.has("leader_comes_last")
}

pub(super) fn is_draining(member: &MemberSaid) -> bool {
    matches!(member.phase, Phase::Draining | Phase::Drained)
}

fn is_used(member: &MemberSaid) -> bool {
    matches!(member.phase, Phase::Serving | Phase::Verifying)
}

impl Core<'_> {
    /// A member that has its new version already needs no turn.
    pub(super) fn already_there(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        for member in self.left(progress) {
            let serves = self.said_of(&member, seen).all(|(_, said)| said.phase == Phase::Serving);
            if serves && self.all_see_it_at_target(progress, &member, seen) {
                return Some(Step::Write(Event::Done { member }));
            }
        }
        None
    }

    /// Every sidecar sees the member at its new version.
    fn all_see_it_at_target(&self, progress: &Progress, member: &str, seen: &Seen) -> bool {
        let sidecars = self.says(seen).count();
        let mut there = self.said_of(member, seen).collect::<Vec<_>>();
        there.retain(|(_, said)| self.at_target(said, progress.direction) == Some(true));
        sidecars > 0 && there.len() == sidecars
    }

    /// The first member that may be drained; who leads comes last.
    pub(super) fn choose(&mut self, progress: &Progress, seen: &Seen) -> Step {
        let mut closed: Option<Merged> = None;
        for member in self.in_order(&self.left(progress), seen) {
            let Some(merged) = answered(seen, Gate::Stop, Some(&member)) else { continue };
            if merged.ok_to_drain {
                self.waits.over("gate stop");
                return Step::Write(Event::Turn { member });
            }
            // What is against the others says more than that the leader waits for them.
            if closed.as_ref().is_none_or(|known| comes_last(known) && !comes_last(&merged)) {
                closed = Some(merged);
            }
        }
        let why = closed.as_ref().map(reasons).unwrap_or_default();
        let bound = self.plan.bounds.gate_s;
        self.wait("gate stop", bound, seen, why, "Cure what closes the gate and start the driver again")
    }

    /// What a turn needs before a gate is asked.
    pub(super) fn in_turn(&mut self, progress: &Progress, turn: &Turn, seen: &Seen) -> Option<Step> {
        let member = turn.member.clone();
        if turn.given_up {
            return Some(self.give_up(progress, turn, seen));
        }
        if turn.back {
            let bound = self.plan.bounds.leaders_s + self.plan.bounds.gate_s;
            return self.restored(progress, &member, bound, seen);
        }
        if turn.run.is_some() {
            return Some(self.after_command(progress, turn, seen));
        }
        let leaders = format!("leaders of {member}");
        if self.plan.move_leaders && self.plan.protocol == Protocol::Kafka && !turn.moved {
            let step = if progress.orders.contains_key(&member) {
                Step::MoveLeaders(member.clone())
            } else {
                Step::SaveOrders(member.clone())
            };
            return Some(self.attempt(&leaders, self.plan.bounds.leaders_s, seen, step));
        }
        self.waits.over(&leaders);
        if !turn.drain {
            return Some(Step::Write(Event::Drain { member }));
        }
        self.draining(&member, seen)
    }

    /// Everybody has left, or is made to leave.
    fn draining(&mut self, member: &str, seen: &Seen) -> Option<Step> {
        let (bound, key) = (self.plan.bounds.drain_s, format!("drain of {member}"));
        if let Some((name, _)) = self.said_of(member, seen).find(|(_, said)| said.drain_expired) {
            // What was held for it is with it again. It is drained anew when nothing but that is missing, and not again and again while
            // its gate is closed.
            let why = format!("{name} has ended its drain, since it was not stopped in time");
            // Its time stands still until it is ordered again; unless nothing of it is left.
            if self.waits.stop(&key, seen.now_ms) >= bound {
                let reasons = vec![Reason::new("drain_expired", why)];
                return Some(self.wait(&key, bound, seen, reasons, STAY));
            }
            return Some(Step::Write(Event::GiveUp { member: member.to_owned(), why }));
        }
        let (mut to, mut left) = (Vec::new(), Vec::new());
        for (name, said) in self.said_of(member, seen) {
            let again =
                self.ordered.get(name).is_none_or(|at| seen.now_ms.saturating_sub(*at) >= DRAIN_AGAIN_MS);
            match said.phase {
                Phase::Serving | Phase::Verifying => to.push(name.to_owned()),
                Phase::Draining | Phase::Drained if again => to.push(name.to_owned()),
                Phase::Draining | Phase::Drained | Phase::Down => {}
            }
            if matches!(said.phase, Phase::Serving | Phase::Verifying | Phase::Draining) {
                let what = format!("{name}: {} sessions, {} requests", said.sessions, said.in_flight);
                left.push(Reason::new("draining", what));
            }
        }
        let missing: Vec<Reason> = self
            .says(seen)
            .filter(|(_, status)| status.member(member).is_none())
            .map(|(name, _)| Reason::new("member_unknown", format!("{name} knows no member {member}")))
            .collect();
        if !missing.is_empty() {
            let advice = "Look at the member's id in the plan";
            return Some(self.wait(&key, bound, seen, missing, advice));
        }
        if left.is_empty() {
            self.waits.over(&key);
        }
        if !to.is_empty() {
            for name in &to {
                self.ordered.insert(name.clone(), seen.now_ms);
            }
            let step = Step::Drain { member: member.to_owned(), to };
            // Said again it is no new wait, unless somebody is left.
            if left.is_empty() {
                return Some(step);
            }
            return Some(self.attempt(&key, bound, seen, step));
        }
        if left.is_empty() {
            return None;
        }
        Some(self.wait(&key, bound, seen, left, STAY))
    }

    /// It is drained everywhere: may it stop?
    pub(super) fn stop(&mut self, progress: &Progress, turn: &Turn, seen: &Seen) -> Step {
        let member = &turn.member;
        let Some(merged) = answered(seen, Gate::Stop, Some(member)) else { return Step::Wait(Vec::new()) };
        if merged.ok && self.all_see_it_at_target(progress, member, seen) {
            let why = "it has its new version already".to_owned();
            return Step::Write(Event::GiveUp { member: member.clone(), why });
        }
        if merged.ok {
            let had_turn = self.said_of(member, seen).filter(|(_, said)| said.had_turn);
            let had_turn = had_turn.map(|(name, _)| name.to_owned()).collect();
            if self.plan.command(progress.direction).is_none() {
                return Step::Halt(Halt::new(Exit::Usage, "the plan has no command for this"));
            }
            return Step::Start { task: Task::Member(member.clone()), had_turn };
        }
        if comes_last(&merged) {
            let why = "it leads the cluster now, and others are left".to_owned();
            return Step::Write(Event::GiveUp { member: member.clone(), why });
        }
        let bound = self.plan.bounds.gate_s;
        let advice = "Cure what closes the gate and start the driver again";
        self.wait(&format!("gate stop of {member}"), bound, seen, reasons(&merged), advice)
    }

    /// Everything as it was before the turn.
    pub(super) fn give_up(&mut self, progress: &Progress, turn: &Turn, seen: &Seen) -> Step {
        let member = turn.member.clone();
        if let Some(step) = self.undrain(&member, seen) {
            return step;
        }
        if let Some(step) = self.restored(progress, &member, self.plan.bounds.leaders_s, seen) {
            return step;
        }
        self.ordered.clear();
        Step::Write(Event::GivenUp { member })
    }

    /// Replica orders are as they were before its turn.
    fn restored(&mut self, progress: &Progress, member: &str, bound: u64, seen: &Seen) -> Option<Step> {
        let key = format!("the replica orders from before {member}");
        if !progress.orders.contains_key(member) {
            self.waits.over(&key);
            return None;
        }
        Some(self.attempt(&key, bound, seen, Step::RestoreLeaders(member.to_owned())))
    }

    /// Sidecars that say that they have a member drained, or had until that drain expired.
    pub(super) fn drained_at(&self, member: &str, seen: &Seen) -> Vec<String> {
        let drained = self.said_of(member, seen).filter(|(_, said)| is_draining(said) || said.drain_expired);
        drained.map(|(name, _)| name.to_owned()).collect()
    }

    fn undrain(&mut self, member: &str, seen: &Seen) -> Option<Step> {
        let to = self.drained_at(member, seen);
        let key = format!("end of the drain of {member}");
        if to.is_empty() {
            self.waits.over(&key);
            return None;
        }
        let step = Step::Undrain { member: member.to_owned(), to };
        Some(self.attempt(&key, self.plan.bounds.drain_s, seen, step))
    }

    /// The command has ended: is the member back?
    fn after_command(&mut self, progress: &Progress, turn: &Turn, seen: &Seen) -> Step {
        let member = &turn.member;
        let Some((run, end)) = turn.run.as_ref().and_then(|run| Some((run, run.end.as_ref()?))) else {
            return Step::Wait(Vec::new());
        };
        if !end.ok {
            return self.after_failure(progress, run, Some(member), seen);
        }
        let key = format!("{member} to be back");
        if let Err(reasons) = self.is_back(progress, member, run, seen) {
            let advice =
                "The command said that it did its work: look at the member, and start the driver again";
            return self.wait(&key, self.plan.bounds.back_s, seen, reasons, advice);
        }
        self.waits.over(&key);
        if let Some(step) = self.undrain(member, seen) {
            return step;
        }
        self.ordered.clear();
        Step::Write(Event::Back { member: member.clone() })
    }

    /// It is back: is all well, and for long enough?
    pub(super) fn next(&mut self, turn: &Turn, seen: &Seen) -> Step {
        let member = &turn.member;
        let Some(merged) = answered(seen, Gate::Next, Some(member)) else { return Step::Wait(Vec::new()) };
        if merged.ok {
            return Step::Write(Event::Done { member: member.clone() });
        }
        let bound = self.plan.next_bound().as_secs();
        let advice = "Cure what closes the gate and start the driver again, or go back with --rollback";
        self.wait(&format!("gate next of {member}"), bound, seen, reasons(&merged), advice)
    }

    /// While a command runs its member stays drained, for as long as it was not seen to come back from it. One that is used again at a
    /// sidecar was out of its reach for a moment, say, or somebody has ended its drain there.
    pub(super) fn keep_drained(
        &mut self,
        progress: &Progress,
        run: &Run,
        member: &str,
        seen: &Seen,
    ) -> Option<Step> {
        let due = |name: &str| {
            self.ordered.get(name).is_none_or(|at| seen.now_ms.saturating_sub(*at) >= DRAIN_AGAIN_MS)
        };
        let drained = self.said_of(member, seen).filter(|(name, said)| is_draining(said) && due(name));
        let mut to: Vec<String> = drained.map(|(name, _)| name.to_owned()).collect();
        // Where its version tells nothing, one that is drained still elsewhere was never away: its return would have ended that drain.
        let stays = self.said_of(member, seen).any(|(_, said)| is_draining(said));
        let (mut lost, mut doubtful) = (Vec::new(), Vec::new());
        // One that was started anew has no plan to be drained by.
        for (name, status) in self.living(seen).filter(|(_, status)| self.is_ours(progress, status)) {
            let Some(said) = status.member(member) else { continue };
            let at_target = self.at_target(said, progress.direction);
            if !is_used(said) || said.drain_expired || at_target == Some(true) {
                continue;
            }
            if !said.had_turn {
                lost.push(name.to_owned());
            } else if at_target == Some(false) || stays {
                // It saw the member go and come back; the others, or its version, may be only late.
                doubtful.push(name.to_owned());
            }
        }
        if !doubtful.is_empty() && self.has_settled(&format!("{} used at {doubtful:?}", run.n), seen) {
            lost.append(&mut doubtful);
        }
        to.append(&mut lost);
        if to.is_empty() {
            return None;
        }
        for name in &to {
            self.ordered.insert(name.clone(), seen.now_ms);
        }
        Some(Step::Drain { member: member.to_owned(), to })
    }
}
