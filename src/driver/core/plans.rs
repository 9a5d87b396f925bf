//! Sidecars: those that say nothing, and the plan that all others are to have.

use std::collections::BTreeSet;

use super::{Core, Seen, Step};
use crate::driver::event::Event;
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::{DeadSidecars, Direction, is_tried};
use crate::driver::progress::{Progress, Told};
use crate::fleet::{Reason, Status};

/// What a sidecar has of a plan.
enum Has {
    /// The one that it is to have; whether it should hear of it again soon.
    Ours { renew: bool },
    /// An earlier one of ours, or one that is only tried.
    Earlier,
    /// None, or it has forgotten.
    Nothing,
    /// It knows that the roll is over.
    Over,
    /// Something that must not be overruled.
    Foreign(String),
}

impl Core<'_> {
    /// Sidecars that don't answer: waited for, and then as the plan says.
    pub(super) fn silence(&mut self, seen: &Seen) -> Option<Step> {
        if seen.sidecars.is_empty() {
            let reason = vec![Reason::new("no_sidecars", "no sidecar is found")];
            let advice = "Look at `sidecars` in the plan";
            return Some(self.wait("sidecars", self.plan.bounds.silent_s, seen, reason, advice));
        }
        self.waits.over("sidecars");
        for sidecar in seen.sidecars.iter().filter(|sidecar| sidecar.said.is_ok()) {
            self.without.remove(&sidecar.name);
        }
        let bound = self.plan.bounds.silent_s.saturating_mul(1000);
        let mut waiting = Vec::new();
        for sidecar in self.counted(seen) {
            let Err(why) = &sidecar.said else { continue };
            let seconds = sidecar.silent_ms / 1000;
            let what = format!("{}: nothing for {seconds} s: {why}", sidecar.name);
            match (sidecar.silent_ms >= bound, self.plan.dead_sidecars) {
                (false, _) => waiting.push(Reason::new("sidecar_silent", what)),
                (true, DeadSidecars::Stop) => {
                    let advice = "start it or take it out of the plan and start the driver again; or dead_sidecars = \"go_on\"";
                    return Some(Step::Halt(Halt::new(Exit::Silent, format!("sidecar {what}. {advice}"))));
                }
                (true, DeadSidecars::GoOn) => {
                    let (name, why) = (sidecar.name.clone(), why.clone());
                    self.without.insert(name.clone());
                    return Some(Step::Write(Event::GoneOnWithout { sidecar: name, why }));
                }
            }
        }
        if self.says(seen).next().is_none() && waiting.is_empty() {
            return Some(Step::Halt(Halt::new(Exit::Silent, "no sidecar answers")));
        }
        (!waiting.is_empty()).then_some(Step::Wait(waiting))
    }

    /// Every sidecar has the plan, in its last generation.
    pub(super) fn plans(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        let told = &progress.told;
        if told.generation == 0
            && let Some(halt) = self.unknown_roll(seen)
        {
            return Some(Step::Halt(halt));
        }
        if told.generation == 0 || told.members.is_empty() {
            let why = if told.generation == 0 { "the roll begins" } else { "the roll goes back" };
            return Some(self.another_generation(progress, why));
        }
        if self.plan.generation > told.generation {
            return Some(self.another_generation(progress, "the plan file says so"));
        }
        let (mut to, mut lacking, mut earlier) = (Vec::new(), Vec::new(), false);
        for (name, status) in self.says(seen) {
            match self.has(progress, status) {
                Has::Foreign(what) => {
                    return Some(Step::Halt(Halt::new(Exit::Refused, format!("{name}: {what}"))));
                }
                Has::Nothing => lacking.push(name.to_owned()),
                has @ (Has::Earlier | Has::Ours { renew: true }) => {
                    earlier |= matches!(has, Has::Earlier);
                    to.push(name.to_owned());
                }
                Has::Ours { renew: false } | Has::Over => {}
            }
        }
        // Who doesn't know of a turn that is over, since it was started later or has forgotten, is told only of what is left. Else it
        // would make the leader wait for members that had their turn.
        let wanted = self.to_tell(progress);
        if (&wanted.members, wanted.soak_s) != (&told.members, told.soak_s)
            && let Some(why) = self.unaware(progress, &lacking, seen)
        {
            return Some(self.another_generation(progress, &why));
        }
        let only_renewed = lacking.is_empty() && !earlier;
        if only_renewed {
            self.waits.over("plan");
        }
        to.extend(lacking);
        if to.is_empty() {
            return None;
        }
        let plan = self.plan.order(progress.direction, told.generation, &told.members, told.soak_s);
        let step = Step::Put { plan: Box::new(plan), to };
        if only_renewed {
            return Some(step); // it must not make other waits begin anew
        }
        Some(self.attempt("plan", self.plan.bounds.silent_s, seen, step))
    }

    /// A plan of our name that lives, while the journal has put none: a driver with another journal is at work, or was.
    fn unknown_roll(&self, seen: &Seen) -> Option<Halt> {
        let id = self.plan.id(Direction::Forward);
        self.says(seen).find_map(|(name, status)| {
            let plan = status.plan.as_ref().filter(|plan| plan.plan_id == id)?;
            (plan.generation >= self.plan.generation).then(|| {
                let text = format!(
                    "{name}: a plan of this name lives there, {id} of generation {}, and this journal knows nothing of it: go on with \
                     its journal (--journal), abort it (POST plan/abort), or raise `generation` in the plan",
                    plan.generation
                );
                Halt::new(Exit::Refused, text)
            })
        })
    }

    /// The plan that lives there is the one that the journal has put last.
    pub(super) fn is_ours(&self, progress: &Progress, status: &Status) -> bool {
        matches!(self.has(progress, status), Has::Ours { .. })
    }

    /// A member that no sidecar knows is misspelt, most likely. One that is away can be unknown for a while; and where no member is known
    /// at all, none has been reached, which says nothing of a name.
    pub(super) fn unknown_member(&mut self, progress: &Progress, seen: &Seen) -> Option<Step> {
        if progress.turn.is_some() || self.turns_back(progress) {
            return None; // whoever is away in the middle of a turn is known well enough
        }
        let knows_any = self.says(seen).any(|(_, status)| !status.members.is_empty());
        for member in self.left(progress) {
            let key = format!("a sidecar that knows member {member}");
            if !knows_any || self.said_of(&member, seen).next().is_some() {
                self.waits.over(&key);
                continue;
            }
            if self.waits.exceeded(&key, self.plan.bounds.silent_s, seen.now_ms).is_some() {
                let said = self.says(seen).flat_map(|(_, status)| &status.members);
                let known: BTreeSet<&str> = said.map(|said| said.id.as_str()).collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                let text = format!("no sidecar knows member {member}; they know {known}");
                return Some(Step::Halt(Halt::new(Exit::Usage, text)));
            }
        }
        None
    }

    /// While a command runs nothing is decided, and the plan must outlive it all the same: where it lives it is said again in time.
    pub(super) fn renewed(&self, progress: &Progress, seen: &Seen) -> Option<Step> {
        let due = |status: &Status| matches!(self.has(progress, status), Has::Ours { renew: true });
        let to: Vec<String> =
            self.says(seen).filter(|(_, status)| due(status)).map(|(name, _)| name.to_owned()).collect();
        if to.is_empty() {
            return None;
        }
        let told = &progress.told;
        let plan = self.plan.order(progress.direction, told.generation, &told.members, told.soak_s);
        Some(Step::Put { plan: Box::new(plan), to })
    }

    /// Who is listed and had its turn, of which a sidecar knows nothing; the words for it.
    fn unaware(&self, progress: &Progress, lacking: &[String], seen: &Seen) -> Option<String> {
        let listed = progress.told.members.iter().filter(|id| progress.done.contains(id));
        for member in listed {
            for (name, said) in self.said_of(member, seen) {
                let knows = said.had_turn && !lacking.iter().any(|lacking| lacking == name);
                if !knows && self.at_target(said, progress.direction) != Some(true) {
                    return Some(format!("{name} knows nothing of the turn of {member}"));
                }
            }
        }
        None
    }

    fn another_generation(&self, progress: &Progress, why: &str) -> Step {
        let Told { members, soak_s, .. } = self.to_tell(progress);
        let generation = (progress.told.generation + 1).max(self.plan.generation);
        Step::Write(Event::Generation { generation, members, soak_s, why: why.to_owned() })
    }

    /// What sidecars that know nothing would be told.
    fn to_tell(&self, progress: &Progress) -> Told {
        let left = self.left(progress);
        // A plan without members is none: then the last one stands for all. Its soak is waited for here.
        match (left.is_empty(), progress.done.last()) {
            (true, Some(last)) => Told { generation: 0, members: vec![last.clone()], soak_s: 0 },
            _ => Told { generation: 0, members: left, soak_s: self.plan.soak_s },
        }
    }

    fn has(&self, progress: &Progress, status: &Status) -> Has {
        let (id, generation) = (self.plan.id(progress.direction), progress.told.generation);
        let before = self.plan.id(Direction::Forward);
        let advice = "look who orders there; this driver goes on with a higher `generation` in its plan";
        if let Some(plan) = &status.plan {
            let (theirs, known) = (&plan.plan_id, plan.generation);
            if is_tried(theirs) {
                return Has::Earlier;
            }
            return match known.cmp(&generation) {
                std::cmp::Ordering::Equal if *theirs == id => {
                    Has::Ours { renew: plan.expires_in_s.saturating_mul(2) <= self.plan.ttl_s }
                }
                std::cmp::Ordering::Less if *theirs == id || *theirs == before => Has::Earlier,
                _ if *theirs == id => Has::Foreign(format!(
                    "stale: it has generation {known} of {id}, the journal {generation}: another driver, or another journal; {advice}"
                )),
                _ => Has::Foreign(format!(
                    "plan {theirs} of generation {known} lives there: wait for its end, or abort it (POST plan/abort)"
                )),
            };
        }
        match &status.last_plan {
            Some(last) if last.plan_id == id && last.generation > generation => Has::Foreign(format!(
                "stale: {id} ended there with generation {}, the journal has {generation}; {advice}",
                last.generation
            )),
            Some(last) if last.plan_id == id && last.generation == generation => match last.phase.as_str() {
                "finalized" if self.left(progress).is_empty() => Has::Over,
                "expired" => Has::Nothing,
                how => Has::Foreign(format!("{id} of generation {generation} is {how} there; {advice}")),
            },
            _ => Has::Nothing,
        }
    }
}
