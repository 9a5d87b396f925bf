//! One cluster's roll, as it is seen from this sidecar: the plan that lives, and where each member is in its turn. Pure.
//!
//! Everything fails open: what nobody renews ends by itself, and with it every drain that it ordered. Nothing is kept on disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::errors::Refusal;
use super::facts::Facts;
use super::gate::{self, Gate, Question, Verdict};
use super::history::Errors;
use super::phase::Phase;
use super::plan::{Pin, Plan};
use super::turn::Turn;
use super::version::is_same;

/// So many plans that have ended are remembered: their earlier generations stay stale.
const REMEMBERED: usize = 16;

/// What every order of a controller's carries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The plan.
    pub plan_id: String,
    /// Its generation.
    pub generation: u64,
}

/// How a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its controller said that the cluster has its new version for good.
    Finalized,
    /// Its controller gave it up.
    Aborted,
    /// Nothing was heard of it for its time to live.
    Expired,
}

impl Ended {
    /// As it is written in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finalized => "finalized",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
        }
    }
}

/// What became of a plan that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// None lived before.
    Begun,
    /// It took the place of another one, or of an earlier generation.
    Replaced,
    /// It was known: its time to live begins anew.
    Renewed,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The drain of this member ends.
    Undrain(String),
    /// Clients are offered no more than now, or again as without a plan.
    HoldPin(bool),
    /// Clients are offered what all members speak, at once.
    LiftPin,
    /// A drain came to its end after so long: to be counted.
    Drained(Duration),
}

#[derive(Clone, Debug)]
struct Living {
    plan: Plan,
    began: Instant,
    heard: Instant,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    living: Option<Living>,
    /// Plans that have ended, the last one at the back; each id once.
    ended: VecDeque<(String, u64, Ended)>,
    /// The dry run that ended last. It tells nothing of the cluster, and pushes no plan out of memory.
    tried: Option<(String, u64, Ended)>,
    turns: BTreeMap<String, Turn>,
    errors: Errors,
}

impl Roll {
    /// Takes a plan.
    ///
    /// # Errors
    /// It makes no sense, is stale, or another one lives.
    pub fn put(&mut self, plan: Plan, now: Instant) -> Result<(Put, Vec<Action>), Refusal> {
        let wrong = plan.problems();
        if !wrong.is_empty() {
            return Err(Refusal::Wrong(wrong));
        }
        let put = self.judge(&plan)?;
        if let Some(other) = self.living.take_if(|living| living.plan.plan_id != plan.plan_id) {
            // Whoever drives it, and hasn't heard, must not go on with it when this one has ended.
            self.remember(other.plan, Ended::Aborted);
        }
        if self.living.is_none() {
            // Another plan, other turns. What clients are used to is learned before anything is done.
            for turn in self.turns.values_mut() {
                turn.rolled = false;
            }
            self.errors.begin(now);
        }
        let began = self.living.as_ref().map_or(now, |living| living.began);
        let pin = Action::HoldPin(plan.pin == Pin::Lowest && !plan.dry_run);
        self.living = Some(Living { plan, began, heard: now });
        Ok((put, if put == Put::Renewed { Vec::new() } else { vec![pin] }))
    }

    fn judge(&self, plan: &Plan) -> Result<Put, Refusal> {
        let (plan_id, given) = (plan.plan_id.clone(), plan.generation);
        let living = self.living.as_ref().map(|living| &living.plan);
        // What is only tried is in no plan's way, and takes none's place.
        let is_later = |known: &Plan| match (known.dry_run, plan.dry_run) {
            (true, false) => true,
            (false, true) => false,
            _ => given > known.generation,
        };
        if let Some(known) = living.filter(|known| known.plan_id == plan_id || !is_later(known)) {
            let (known_id, generation) = (known.plan_id.clone(), known.generation);
            return match (known_id == plan_id, given.cmp(&generation)) {
                (false, _) => Err(Refusal::Other { plan_id: known_id, generation }),
                (true, std::cmp::Ordering::Greater) => Ok(Put::Replaced),
                (true, std::cmp::Ordering::Less) => Err(Refusal::Stale { plan_id, known: generation, given }),
                (true, std::cmp::Ordering::Equal) if known == plan => Ok(Put::Renewed),
                (true, std::cmp::Ordering::Equal) => Err(Refusal::Changed { plan_id, generation }),
            };
        }
        match self.ended(&plan_id) {
            Some((_, known, _)) if given < *known => Err(Refusal::Stale { plan_id, known: *known, given }),
            // One that expired has only been away.
            Some((_, known, how)) if given == *known && *how != Ended::Expired => {
                Err(Refusal::Over { plan_id, generation: given, how: how.as_str() })
            }
            _ if living.is_some() => Ok(Put::Replaced),
            _ => Ok(Put::Begun),
        }
    }

    /// How a plan ended, if it has not been forgotten.
    fn ended(&self, plan_id: &str) -> Option<&(String, u64, Ended)> {
        let all = self.ended.iter().chain(&self.tried).filter(|(id, ..)| id == plan_id);
        all.max_by_key(|(_, generation, _)| *generation)
    }

    /// A plan has ended.
    fn remember(&mut self, plan: Plan, how: Ended) {
        if plan.dry_run {
            self.tried = Some((plan.plan_id, plan.generation, how));
            return;
        }
        self.ended.retain(|(id, ..)| *id != plan.plan_id);
        self.ended.push_back((plan.plan_id, plan.generation, how));
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
    }

    /// Whether an order is this plan's; renews it.
    fn check(&mut self, ticket: &Ticket, now: Instant) -> Result<&Plan, Refusal> {
        if self.living.is_none()
            && let Some((plan_id, generation, how)) = self.ended(&ticket.plan_id)
        {
            let (plan_id, generation, how) = (plan_id.clone(), *generation, how.as_str());
            return Err(Refusal::Over { plan_id, generation, how });
        }
        let Some(living) = &mut self.living else { return Err(Refusal::NoPlan) };
        let (plan_id, known) = (living.plan.plan_id.clone(), living.plan.generation);
        if plan_id != ticket.plan_id {
            return Err(Refusal::Other { plan_id, generation: known });
        }
        if known != ticket.generation {
            return Err(Refusal::Stale { plan_id, known, given: ticket.generation });
        }
        living.heard = now;
        Ok(&living.plan)
    }

    /// A member is to be drained: by the plan that lives, or by a person, who has no ticket. Whether that is to be carried out: a
    /// plan that is a dry run only looks.
    ///
    /// # Errors
    /// The ticket is not that of the plan that lives, or the plan has no such member.
    pub fn drain(&mut self, member: &str, ticket: Option<&Ticket>, now: Instant) -> Result<bool, Refusal> {
        if let Some(ticket) = ticket {
            let plan = self.check(ticket, now)?;
            if plan.member(member).is_none() {
                return Err(Refusal::NotInPlan(member.to_owned()));
            }
            if plan.dry_run {
                return Ok(false);
            }
        }
        let turn = self.turns.entry(member.to_owned()).or_default();
        turn.ordered.get_or_insert(now);
        turn.by_plan |= ticket.is_some();
        Ok(true)
    }

    /// The drain of a member is to end.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub fn undrain(&mut self, member: &str, ticket: Option<&Ticket>, now: Instant) -> Result<bool, Refusal> {
        if let Some(ticket) = ticket
            && self.check(ticket, now)?.dry_run
        {
            return Ok(false);
        }
        if let Some(turn) = self.turns.get_mut(member) {
            (turn.ordered, turn.by_plan) = (None, false);
        }
        Ok(true)
    }

    /// The cluster has its new version for good. Idempotent.
    ///
    /// # Errors
    /// The ticket is not that of the plan that lives, or the gate `finalize` is closed.
    pub fn finalize(&mut self, ticket: &Ticket, facts: &Facts, now: Instant) -> Result<Vec<Action>, Refusal> {
        if self.has_ended(ticket, |how| how == Ended::Finalized) {
            return Ok(Vec::new());
        }
        self.check(ticket, now)?;
        let verdict = self.ask(Gate::Finalize, None, facts, now);
        if !verdict.is_open() {
            return Err(Refusal::Closed { gate: Gate::Finalize.as_str(), reasons: verdict.text() });
        }
        Ok(self.end(Ended::Finalized))
    }

    /// The plan is given up: every drain that it ordered ends. Idempotent.
    ///
    /// # Errors
    /// The ticket is not that of the plan that lives.
    pub fn abort(&mut self, ticket: &Ticket, now: Instant) -> Result<Vec<Action>, Refusal> {
        if self.has_ended(ticket, |how| how != Ended::Finalized) {
            return Ok(Vec::new());
        }
        self.check(ticket, now)?;
        Ok(self.end(Ended::Aborted))
    }

    fn has_ended(&self, ticket: &Ticket, how: impl Fn(Ended) -> bool) -> bool {
        let ended = self.ended(&ticket.plan_id).filter(|_| self.living.is_none());
        ended.is_some_and(|(_, generation, ended)| *generation == ticket.generation && how(*ended))
    }

    fn end(&mut self, how: Ended) -> Vec<Action> {
        let Some(living) = self.living.take() else { return Vec::new() };
        let pinned = living.plan.pin == Pin::Lowest && !living.plan.dry_run;
        self.remember(living.plan, how);
        let mut actions = Vec::new();
        for (id, turn) in self.turns.iter_mut().filter(|(_, turn)| turn.by_plan) {
            (turn.ordered, turn.by_plan) = (None, false);
            actions.push(Action::Undrain(id.clone()));
        }
        if pinned {
            actions.push(if how == Ended::Finalized { Action::LiftPin } else { Action::HoldPin(false) });
        }
        actions
    }

    /// Takes in what is known now: ends what nobody renewed, and moves members through their phases.
    pub fn observe(&mut self, facts: &Facts, now: Instant) -> Vec<Action> {
        self.errors.note(facts.client_errors, now);
        let over = |living: &Living| now.saturating_duration_since(living.heard) >= living.plan.ttl();
        let mut actions =
            if self.living.as_ref().is_some_and(over) { self.end(Ended::Expired) } else { Vec::new() };
        let known = |id: &String| facts.member(id).is_some();
        let (plan, lives) = (self.plan_or_none(), self.living.is_some());
        self.turns.retain(|id, _| known(id) || plan.member(id).is_some());
        for member in &facts.members {
            let well = self.well(&plan, &member.id, facts, now);
            let turn = self.turns.entry(member.id.clone()).or_default();
            turn.note(well, now);
            // Without a plan nobody asks the cluster, so that nobody can tell: who is back serves.
            turn.step(member, well == Some(true) || !lives, now, &mut actions);
        }
        actions
    }

    /// Answers a gate.
    pub fn ask(&mut self, gate: Gate, member: Option<&str>, facts: &Facts, now: Instant) -> Verdict {
        self.errors.note(facts.client_errors, now);
        let plan = self.plan_or_none();
        let mut stable_for = Duration::ZERO;
        if let Some(id) = member.filter(|id| facts.member(id).is_some()) {
            let well = self.well(&plan, id, facts, now);
            let turn = self.turns.entry(id.to_owned()).or_default();
            turn.note(well, now);
            stable_for = turn.stable.lasts(now);
        }
        let left = self.left(&plan, facts);
        gate::answer(gate, self.question(&plan, member, facts, &left, stable_for, now))
    }

    /// Whether all but time is well; `None` where what is known is too old to say so.
    fn well(&self, plan: &Plan, member: &str, facts: &Facts, now: Instant) -> Option<bool> {
        gate::is_well(self.question(plan, Some(member), facts, &[], Duration::ZERO, now))
    }

    fn question<'a>(
        &'a self,
        plan: &'a Plan,
        member: Option<&'a str>,
        facts: &'a Facts,
        left: &'a [String],
        stable_for: Duration,
        now: Instant,
    ) -> Question<'a> {
        let finalized = matches!(self.ended.back(), Some((_, _, Ended::Finalized))) && self.living.is_none();
        let all_back = self.all_back(plan, left);
        Question { plan, member, facts, left, all_back, errors: &self.errors, stable_for, finalized, now }
    }

    /// Members of the plan that have not had their turn. Where `from` and `to` are told apart by what a member says of itself, that
    /// counts; else that it was drained, went down and came back under this plan.
    fn left(&self, plan: &Plan, facts: &Facts) -> Vec<String> {
        let done = |id: &str| {
            let planned = plan.member(id);
            let told = facts.member(id).and_then(|member| member.version.as_ref().ok());
            let versions = planned.and_then(|planned| Some((planned.from.as_ref()?, planned.to.as_ref()?)));
            match (told, versions) {
                (Some(told), Some((from, to))) if is_same(told, from) != is_same(told, to) => {
                    is_same(told, to) == Some(true)
                }
                _ => self.turns.get(id).is_some_and(|turn| turn.rolled),
            }
        };
        let all = plan.members.iter().map(|member| &member.id);
        all.filter(|id| !done(id)).cloned().collect()
    }

    /// Since when all members have been back.
    fn all_back(&self, plan: &Plan, left: &[String]) -> Option<Instant> {
        if !left.is_empty() {
            return None;
        }
        let began = self.living.as_ref().map(|living| living.began);
        let each = plan.members.iter().map(|member| match self.turns.get(&member.id) {
            Some(turn) if turn.phase == Phase::Serving => turn.back.or(began),
            _ => None,
        });
        each.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn plan_or_none(&self) -> Plan {
        self.living.as_ref().map_or_else(Plan::none, |living| living.plan.clone())
    }

    /// The plan that lives, and for how long yet if nothing is heard of it.
    pub fn plan(&self, now: Instant) -> Option<(&Plan, Duration)> {
        let living = self.living.as_ref()?;
        Some((&living.plan, living.plan.ttl().saturating_sub(now.saturating_duration_since(living.heard))))
    }

    /// The plan that ended last, dry runs aside: its id, generation, and how.
    pub fn last(&self) -> Option<(&str, u64, Ended)> {
        self.ended.back().map(|(id, generation, how)| (id.as_str(), *generation, *how))
    }

    /// How a plan ended, if it has and that isn't forgotten.
    pub fn how_ended(&self, plan_id: &str) -> Option<Ended> {
        self.ended(plan_id).map(|(.., how)| *how)
    }

    /// Where a member is in its turn.
    pub fn phase(&self, member: &str) -> Phase {
        self.turns.get(member).map_or(Phase::Serving, |turn| turn.phase)
    }

    /// Whether a member was seen from here to be drained, go down and come back since the plan's id was first heard of.
    pub fn had_turn(&self, member: &str) -> bool {
        self.turns.get(member).is_some_and(|turn| turn.rolled)
    }

    /// Whether there is anything to watch: a plan lives, or a member is in its turn.
    pub fn is_active(&self) -> bool {
        let in_turn = |turn: &Turn| match turn.phase {
            Phase::Serving => turn.ordered.is_some(),
            Phase::Down => turn.was_drained,
            Phase::Draining | Phase::Drained | Phase::Verifying => true,
        };
        self.living.is_some() || self.turns.values().any(in_turn)
    }
}
