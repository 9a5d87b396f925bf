//! What a controller has ordered of one cluster, for sidecars that come while it lasts, or come back without a memory. Pure.
//!
//! It ends as it does in sidecars: what nobody says again for its time to live is forgotten, so that a controller that dies leaves nothing
//! behind. A drain is forgotten, too, once any sidecar that had it has it no more: its member was stopped and is back, or it expired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::said::Status;
use crate::upgrade::{Phase, Plan, Ticket};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    plan: Option<Living>,
    drains: BTreeMap<String, Draining>,
}

#[derive(Debug)]
struct Living {
    plan: Plan,
    heard: Instant,
}

#[derive(Debug)]
struct Draining {
    ticket: Option<Ticket>,
    lasts: Duration,
    ordered: Instant,
    until: Instant,
    /// Sidecars that have it.
    has: BTreeSet<String>,
}

/// What a sidecar lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// The plan.
    Plan(Box<Plan>),
    /// The drain of a member.
    Drain {
        /// The member.
        member: String,
        /// The plan that ordered it.
        ticket: Option<Ticket>,
        /// For how long yet.
        lasts: Duration,
    },
}

impl Ordered {
    /// A plan was taken.
    pub(super) fn put(&mut self, plan: Plan, now: Instant) {
        if self.plan.as_ref().is_some_and(|living| living.plan.plan_id != plan.plan_id) {
            self.drains.retain(|_, drain| drain.ticket.is_none());
        }
        self.plan = Some(Living { plan, heard: now });
    }

    /// It has ended.
    pub(super) fn end(&mut self) {
        self.plan = None;
        self.drains.retain(|_, drain| drain.ticket.is_none());
    }

    /// An order of the plan's was taken: it lives on.
    fn hear(&mut self, ticket: Option<&Ticket>, now: Instant) {
        if let (Some(living), Some(ticket)) = (&mut self.plan, ticket)
            && living.plan.plan_id == ticket.plan_id
            && living.plan.generation == ticket.generation
        {
            living.heard = now;
        }
    }

    /// A drain was taken by these.
    pub(super) fn drain(
        &mut self,
        member: &str,
        ticket: Option<Ticket>,
        lasts: Duration,
        has: impl IntoIterator<Item = String>,
        now: Instant,
    ) {
        self.hear(ticket.as_ref(), now);
        let until = now + lasts;
        let fresh = Draining { ticket: ticket.clone(), lasts, ordered: now, until, has: BTreeSet::new() };
        let drain = self.drains.entry(member.to_owned()).or_insert(fresh);
        (drain.until, drain.lasts, drain.ordered) = (until, lasts, now);
        drain.ticket = ticket.or(drain.ticket.take());
        drain.has.extend(has);
    }

    /// A drain was ended.
    pub(super) fn undrain(&mut self, member: &str, ticket: Option<&Ticket>, now: Instant) {
        self.hear(ticket, now);
        self.drains.remove(member);
    }

    /// What each of these lacks that were asked at `asked`, in the order in which they are to be given it.
    pub(super) fn lacking(
        &mut self,
        said: &[(String, Status)],
        asked: Instant,
        now: Instant,
    ) -> Vec<(String, Vec<Lack>)> {
        let over = |living: &Living| now.saturating_duration_since(living.heard) >= living.plan.ttl();
        if self.plan.as_ref().is_some_and(over) {
            self.end();
        }
        self.drains.retain(|member, drain| {
            let ended = |name: &String, status: &Status| {
                drain.has.contains(name)
                    && asked >= drain.ordered
                    && status.member(member).is_some_and(|said| !is_draining(said.phase))
                    && !self
                        .plan
                        .as_ref()
                        .is_some_and(|living| drain.ticket.is_some() && is_forgetful(living, status))
            };
            now < drain.until && !said.iter().any(|(name, status)| ended(name, status))
        });
        let each = said.iter().map(|(name, status)| (name.clone(), self.lacks(name, status, now)));
        each.filter(|(_, lacks)| !lacks.is_empty()).collect()
    }

    fn lacks(&self, name: &str, status: &Status, now: Instant) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let needs_plan = self.plan.as_ref().filter(|living| is_forgetful(living, status));
        if let Some(living) = needs_plan {
            lacks.push(Lack::Plan(Box::new(living.plan.clone())));
        }
        for (member, drain) in &self.drains {
            let serves = status.member(member).is_some_and(|said| said.phase == Phase::Serving);
            if serves && (!drain.has.contains(name) || needs_plan.is_some()) {
                let lasts = drain.until.saturating_duration_since(now).max(Duration::from_secs(1));
                lacks.push(Lack::Drain { member: member.clone(), ticket: drain.ticket.clone(), lasts });
            }
        }
        lacks
    }

    /// A sidecar was given the drain of a member.
    pub(super) fn given(&mut self, name: &str, member: &str) {
        if let Some(drain) = self.drains.get_mut(member) {
            drain.has.insert(name.to_owned());
        }
    }
}

const fn is_draining(phase: Phase) -> bool {
    matches!(phase, Phase::Draining | Phase::Drained)
}

/// Whether a sidecar has never heard of the plan, or forgot it, or has an earlier generation. Who knows that it is over, or has another, is
/// left in peace: the controller will hear of it.
fn is_forgetful(living: &Living, status: &Status) -> bool {
    let Plan { plan_id, generation, .. } = &living.plan;
    match (&status.plan, &status.last_plan) {
        (Some(plan), _) => plan.plan_id == *plan_id && plan.generation < *generation,
        (None, Some(last)) if last.plan_id == *plan_id => {
            last.generation < *generation || (last.generation == *generation && last.phase == "expired")
        }
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::said::{LastPlan, MemberSaid, PlanSaid};

    fn plan(generation: u64) -> Plan {
        Plan { plan_id: "p".to_owned(), generation, ttl_s: 60, ..Plan::none() }
    }

    #[allow(clippy::unnecessary_wraps, reason = "as orders carry it")]
    fn ticket(generation: u64) -> Option<Ticket> {
        Some(Ticket { plan_id: "p".to_owned(), generation })
    }

    /// A sidecar with the plan of this generation, and its member in this phase.
    fn status(generation: Option<u64>, phase: Phase) -> Status {
        let plan = |generation| PlanSaid { plan_id: "p".to_owned(), generation, expires_in_s: 60 };
        let member = MemberSaid {
            id: "1".to_owned(),
            phase,
            version: None,
            mode: None,
            had_turn: false,
            drain_expired: false,
            sessions: 0,
            in_flight: 0,
        };
        Status { plan: generation.map(plan), members: vec![member], ..Status::default() }
    }

    fn lacking(ordered: &mut Ordered, said: &[(&str, Status)], now: Instant) -> Vec<(String, Vec<Lack>)> {
        let said: Vec<_> = said.iter().map(|(name, status)| ((*name).to_owned(), status.clone())).collect();
        ordered.lacking(&said, now, now)
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn who_comes_later_gets_the_plan_and_then_the_drain() {
        let (mut ordered, t0) = (Ordered::default(), Instant::now());
        assert_eq!(lacking(&mut ordered, &[("a", status(None, Phase::Serving))], t0), []);
        ordered.put(plan(2), t0);
        let all = [("a", status(Some(2), Phase::Serving)), ("b", status(Some(1), Phase::Serving))];
        assert_eq!(lacking(&mut ordered, &all, t0), [("b".to_owned(), vec![Lack::Plan(Box::new(plan(2)))])]);
        ordered.drain("1", ticket(2), S * 30, ["a".to_owned()], t0);
        let all = [("a", status(Some(2), Phase::Drained)), ("new", status(None, Phase::Serving))];
        let drain = Lack::Drain { member: "1".to_owned(), ticket: ticket(2), lasts: S * 29 };
        let wanted = vec![Lack::Plan(Box::new(plan(2))), drain];
        assert_eq!(lacking(&mut ordered, &all, t0 + S), [("new".to_owned(), wanted)]);
        ordered.given("new", "1");
        let all = [("a", status(Some(2), Phase::Drained)), ("new", status(Some(2), Phase::Draining))];
        assert_eq!(lacking(&mut ordered, &all, t0 + S), []);
        // It was started again: its memory is gone, and that is no sign of the member's return.
        let all = [("a", status(Some(2), Phase::Drained)), ("new", status(None, Phase::Serving))];
        assert_eq!(lacking(&mut ordered, &all, t0 + S * 2)[0].1.len(), 2);
    }

    #[test]
    fn a_drain_that_has_done_its_work_is_not_given_to_anybody() {
        for phase in [Phase::Down, Phase::Verifying, Phase::Serving] {
            let (mut ordered, t0) = (Ordered::default(), Instant::now());
            ordered.put(plan(1), t0);
            ordered.drain("1", ticket(1), S * 30, ["a".to_owned()], t0);
            let new = ("new", status(Some(1), Phase::Serving));
            let early = [("a".to_owned(), status(Some(1), phase)), ("new".to_owned(), new.1.clone())];
            assert_eq!(
                ordered.lacking(&early, t0.checked_sub(S).unwrap(), t0 + S).len(),
                1,
                "that was said before the order"
            );
            assert_eq!(lacking(&mut ordered, &[("a", status(Some(1), phase)), new.clone()], t0 + S), []);
            assert_eq!(lacking(&mut ordered, &[("a", status(Some(1), Phase::Serving)), new], t0 + S), []);
        }
    }

    #[test]
    fn everything_ends_by_itself() {
        let t0 = Instant::now();
        let begun = || {
            let mut ordered = Ordered::default();
            ordered.put(plan(1), t0);
            ordered.drain("1", ticket(1), S * 30, [], t0);
            ordered
        };
        let new = [("new", status(None, Phase::Serving))];
        assert_eq!(lacking(&mut begun(), &new, t0 + S * 29)[0].1.len(), 2);
        assert_eq!(lacking(&mut begun(), &new, t0 + S * 30)[0].1.len(), 1, "the drain is over");
        assert_eq!(lacking(&mut begun(), &new, t0 + S * 60), [], "nothing was heard of the plan");
        let mut ordered = begun();
        ordered.undrain("1", ticket(1).as_ref(), t0 + S * 20);
        assert_eq!(lacking(&mut ordered, &new, t0 + S * 70)[0].1.len(), 1, "that was an order of the plan's");
        ordered.end();
        assert_eq!(lacking(&mut ordered, &new, t0 + S * 21), []);
        // A person's drain needs no plan.
        ordered.drain("1", None, S * 30, [], t0);
        assert_eq!(lacking(&mut ordered, &new, t0 + S)[0].1.len(), 1);
    }

    #[test]
    fn who_knows_better_is_left_in_peace() {
        let (mut ordered, t0) = (Ordered::default(), Instant::now());
        ordered.put(plan(2), t0);
        let over = |generation, phase: &str| {
            let last = LastPlan { plan_id: "p".to_owned(), generation, phase: phase.to_owned() };
            Status { last_plan: Some(last), ..status(None, Phase::Serving) }
        };
        let mut other = status(Some(1), Phase::Serving);
        other.plan.as_mut().unwrap().plan_id = "q".to_owned();
        for (status, lacks) in [
            (over(2, "finalized"), 0),
            (over(2, "aborted"), 0),
            (over(2, "expired"), 1),
            (over(1, "aborted"), 1),
            (over(3, "expired"), 0),
            (status(Some(3), Phase::Serving), 0),
            (other, 0),
        ] {
            assert_eq!(lacking(&mut ordered, &[("a", status.clone())], t0).len(), lacks, "{status:?}");
        }
    }
}
