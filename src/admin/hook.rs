//! One cluster's hook: what a controller orders is carried out here, and what it asks is answered from facts that are gathered
//! while its plan lives. The decisions are [`Roll`]'s, which is pure; this is the clock and the cluster around it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::hour::Hour;
use super::{ClusterStatus, Wish, local};
use crate::metrics::{UpgradeGate, UpgradePhase};
use crate::time::now;
use crate::upgrade::{
    Action, DrainState, Ended, Facts, Gate, Phase, Plan, Put, Refusal, Roll, Ticket, Verdict,
};

/// Between two looks at what is known here, while there is anything to watch.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at what clients see, while there is nothing to watch: what they are used to has to be known beforehand.
const IDLE: Duration = Duration::from_secs(10);
/// While a plan lives facts don't get older than this, jittered, whether or not a gate is asked: they are believed for 15 s. A thousand
/// sidecars ask, each of them for all partitions, so that they ask no more often than they must; gates that are asked ask by themselves.
const PACE: Duration = Duration::from_secs(9);
/// A gate is answered from facts that are not older than this.
const FRESH: Duration = Duration::from_secs(2);
/// How often a wait looks at its drain.
const LOOK: Duration = Duration::from_millis(50);
/// How long a drain lasts unless it is said again: a controller that dies leaves nothing blocked.
pub(super) const DRAIN_LASTS: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Hook {
    pub(super) cluster: Arc<dyn ClusterStatus>,
    roll: Mutex<Roll>,
    hour: Mutex<Hour>,
    ordered: Notify,
    planned: Notify,
}

/// What became of an order to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// There is no such member.
    Unknown,
    /// The plan is a dry run: nothing was done.
    DryRun,
    /// So far it has come.
    Is(DrainState),
}

impl Hook {
    pub(super) fn new(cluster: Arc<dyn ClusterStatus>) -> Arc<Self> {
        let (ordered, planned) = (Notify::new(), Notify::new());
        Arc::new(Self { cluster, roll: Mutex::default(), hour: Mutex::default(), ordered, planned })
    }

    /// The last hour, as of now.
    fn hour(&self) -> MutexGuard<'_, Hour> {
        let mut hour = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        hour.note(self.cluster.errors(), now());
        hour
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        tokio::join!(self.watch(), self.gather());
    }

    async fn watch(&self) {
        loop {
            let pause = if self.tick() { TICK } else { IDLE };
            let _ = tokio::time::timeout(pause, self.ordered.notified()).await;
        }
    }

    async fn gather(&self) {
        loop {
            if self.roll().plan(now()).is_none() {
                self.cluster.rest().await;
                self.planned.notified().await;
                continue;
            }
            let pace = PACE.mul_f64(rand::rng().random_range(0.75..1.25));
            let age = self.cluster.facts().age.unwrap_or(Duration::MAX);
            if age >= pace {
                self.cluster.gather(Wish::default()).await;
            }
            let pause = if age >= pace { pace } else { pace.saturating_sub(age) };
            let _ = tokio::time::timeout(pause, self.planned.notified()).await;
        }
    }

    /// Looks at what is known. Whether there is anything to watch.
    fn tick(&self) -> bool {
        drop(self.hour());
        let facts = self.cluster.facts();
        let (actions, active) = {
            let mut roll = self.roll();
            let actions = roll.observe(&facts, now());
            (actions, roll.is_active())
        };
        self.carry_out(actions);
        self.show(&facts);
        active
    }

    fn carry_out(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Undrain(member) => {
                    tracing::info!(
                        cluster = self.cluster.name(),
                        member,
                        "upgrade: the drain of a member ends"
                    );
                    self.cluster.drain(&member, None);
                }
                Action::HoldPin(held) => self.cluster.hold_pin(held),
                Action::LiftPin => self.cluster.lift_pin(),
                Action::Drained(after) => {
                    self.cluster.upgrade_metrics().drain_seconds.observe(after.as_secs_f64());
                }
            }
        }
    }

    fn show(&self, facts: &Facts) {
        let roll = self.roll();
        let metrics = self.cluster.upgrade_metrics();
        for member in &facts.members {
            self.cluster.show_phase(&member.id, label(roll.phase(&member.id)));
        }
        let plan = roll.plan(now()).map(|(plan, _)| plan);
        match (plan, roll.last()) {
            (Some(plan), _) => {
                metrics.plan(Some((&plan.plan_id, if plan.dry_run { "dry_run" } else { "rolling" })));
            }
            (None, last) => metrics.plan(last.map(|(id, _, how)| (id, how.as_str()))),
        }
        let lives = plan.is_some();
        let told = facts.members.iter().filter_map(|m| Some((m.id.as_str(), m.version.as_deref().ok()?)));
        metrics.member_versions(told.filter(|_| lives));
        metrics.cluster_version(self.cluster.version().filter(|_| lives).as_deref());
    }

    /// Takes a plan; its answer for the controller.
    pub(super) fn take(&self, plan: Plan) -> Result<Value, Refusal> {
        let (id, generation, name) = (plan.plan_id.clone(), plan.generation, self.cluster.name());
        let facts = self.cluster.facts();
        let members: Vec<String> = plan.members.iter().map(|member| member.id.clone()).collect();
        let unknown: Vec<&String> = members.iter().filter(|id| facts.member(id).is_none()).collect();
        // The moment before the plan counts among what clients are used to.
        let (before, put) = {
            let mut roll = self.roll();
            (roll.observe(&facts, now()), roll.put(plan, now()))
        };
        self.carry_out(before);
        let (put, actions) = put?;
        self.carry_out(actions);
        let how = match put {
            Put::Begun => "begun",
            Put::Replaced => "replaced",
            Put::Renewed => "renewed",
        };
        if put != Put::Renewed {
            tracing::info!(cluster = name, plan = id, generation, how, "upgrade: a plan");
        }
        self.ordered.notify_one();
        self.planned.notify_one();
        let expires = self.roll().plan(now()).map(|(_, left)| left.as_secs());
        Ok(json!({
            "cluster": name, "plan_id": id, "generation": generation, "result": how, "expires_in_s": expires,
            "unknown_members": unknown,
        }))
    }

    /// The plan is finalized.
    pub(super) async fn finalize(&self, ticket: &Ticket) -> Result<Value, Refusal> {
        self.learn(Gate::Finalize).await;
        let facts = self.cluster.facts();
        let actions = self.roll().finalize(ticket, &facts, now())?;
        Ok(self.ended(ticket, actions))
    }

    /// The plan is given up.
    pub(super) fn abort(&self, ticket: &Ticket) -> Result<Value, Refusal> {
        let actions = self.roll().abort(ticket, now())?;
        Ok(self.ended(ticket, actions))
    }

    fn ended(&self, ticket: &Ticket, actions: Vec<Action>) -> Value {
        self.carry_out(actions);
        self.ordered.notify_one();
        self.planned.notify_one();
        let phase = self.roll().how_ended(&ticket.plan_id).map(Ended::as_str);
        let name = self.cluster.name();
        tracing::info!(cluster = name, plan = ticket.plan_id, phase, "upgrade: the plan has ended");
        json!({ "cluster": name, "plan_id": ticket.plan_id, "generation": ticket.generation, "phase": phase })
    }

    /// Drains a member, or ends that.
    pub(super) fn order_drain(
        &self,
        member: &str,
        ticket: Option<&Ticket>,
        lasts: Option<Duration>,
    ) -> Result<Drained, Refusal> {
        if self.cluster.drain_state(member).is_none() {
            return Ok(Drained::Unknown);
        }
        let acts = match lasts {
            Some(_) => self.roll().drain(member, ticket, now())?,
            None => self.roll().undrain(member, ticket, now())?,
        };
        if !acts {
            return Ok(Drained::DryRun);
        }
        let state = self.cluster.drain(member, lasts);
        self.ordered.notify_one();
        Ok(state.map_or(Drained::Unknown, Drained::Is))
    }

    /// Waits until a drain has come to its end, one way or another; for at most `bound`.
    pub(super) async fn drained(&self, member: &str, bound: Duration) -> Drained {
        let until = now() + bound;
        loop {
            match self.cluster.drain_state(member) {
                Some(DrainState::Draining { .. }) if now() < until => tokio::time::sleep(LOOK).await,
                state => return state.map_or(Drained::Unknown, Drained::Is),
            }
        }
    }

    /// How many partitions a member leads, as far as clients use them; nothing of an ensemble.
    pub(super) fn leaders_seen(&self, member: &str) -> Option<Value> {
        let status = self.cluster.status();
        let mut members = status.get("members")?.as_array()?.iter();
        members.find(|one| one.get("id") == Some(&json!(member)))?.get("leaders_seen").cloned()
    }

    /// Whether there is a member of that id.
    pub(super) fn knows(&self, member: &str) -> bool {
        self.cluster.drain_state(member).is_some()
    }

    async fn learn(&self, gate: Gate) {
        let downgrade = match gate {
            Gate::Rollback => self
                .roll()
                .plan(now())
                .and_then(|(plan, _)| plan.members.iter().find_map(|member| member.from.clone())),
            _ => None,
        };
        let wish = Wish { fresh: FRESH, upgrade: gate == Gate::Finalize, downgrade };
        self.cluster.gather(wish).await;
    }

    /// Answers a gate, with the id and generation of the plan that lives.
    pub(super) async fn ask(&self, gate: Gate, member: Option<&str>) -> (Verdict, Option<(String, u64)>) {
        self.learn(gate).await;
        let facts = self.cluster.facts();
        let (verdict, actions, plan) = {
            let mut roll = self.roll();
            // What has ended by now is over, whether or not it was time to look.
            let actions = roll.observe(&facts, now());
            let verdict = roll.ask(gate, member, &facts, now());
            let plan = roll.plan(now()).map(|(plan, _)| (plan.plan_id.clone(), plan.generation));
            (verdict, actions, plan)
        };
        self.carry_out(actions);
        let gauge = match gate {
            Gate::Stop => UpgradeGate::Stop,
            Gate::Next => UpgradeGate::Next,
            Gate::Finalize => UpgradeGate::Finalize,
            Gate::Rollback => UpgradeGate::Rollback,
        };
        self.cluster.upgrade_metrics().gates.get(gauge).set(i64::from(verdict.is_open()));
        if plan.is_none() {
            // Nobody rolls: the next question may be long in coming.
            self.cluster.rest().await;
        }
        (verdict, plan)
    }

    /// Every gate, from what is known now: the cluster isn't asked, and nothing is counted. Without a plan nobody keeps that fresh.
    pub(super) fn all_gates(&self) -> Value {
        let facts = self.cluster.facts();
        let mut roll = self.roll();
        let plan = roll.plan(now()).map(|(plan, _)| (plan.plan_id.clone(), plan.generation));
        let (plan_id, generation) = plan.unzip();
        let of_members = facts.members.iter().flat_map(|member| {
            [(Gate::Stop, Some(member.id.as_str())), (Gate::Next, Some(member.id.as_str()))]
        });
        let all = of_members.chain([(Gate::Finalize, None), (Gate::Rollback, None)]);
        let told: Vec<Value> = all
            .map(|(gate, member)| local::told(gate, member, &roll.ask(gate, member, &facts, now())))
            .collect();
        json!({ "cluster": self.cluster.name(), "plan_id": plan_id, "generation": generation, "gates": told })
    }

    /// What is shown of the cluster, with the plan, and members' phases and versions.
    pub(super) fn shown(&self) -> Value {
        let mut status = self.cluster.status();
        let (facts, roll) = (self.cluster.facts(), self.roll());
        if let Some(members) = status.get_mut("members").and_then(Value::as_array_mut) {
            for member in members.iter_mut().filter_map(Value::as_object_mut) {
                let Some(id) = member.get("id").and_then(Value::as_str).map(str::to_owned) else { continue };
                // What its protocol says is of this moment; only this isn't known there.
                if roll.phase(&id) == Phase::Verifying && member.get("phase") == Some(&json!("serving")) {
                    member.insert("phase".to_owned(), json!(Phase::Verifying));
                }
                member.insert("had_turn".to_owned(), json!(roll.had_turn(&id)));
                if let Some(Ok(version)) = facts.member(&id).map(|member| &member.version) {
                    member.insert("version".to_owned(), json!(version));
                }
            }
        }
        let plan = roll.plan(now()).map(|(plan, left)| {
            let mut shown = json!(plan);
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("phase".to_owned(), json!(if plan.dry_run { "dry_run" } else { "rolling" }));
                shown.insert("expires_in_s".to_owned(), json!(left.as_secs()));
            }
            shown
        });
        let last = roll.last().map(
            |(id, generation, how)| json!({ "plan_id": id, "generation": generation, "phase": how.as_str() }),
        );
        if let Some(status) = status.as_object_mut() {
            status.insert("plan".to_owned(), json!(plan));
            status.insert("last_hour".to_owned(), self.hour().shown());
            status.insert("last_plan".to_owned(), json!(last));
            status.insert("version".to_owned(), json!(self.cluster.version()));
            status.insert("facts_age_s".to_owned(), json!(facts.age.map(|age| age.as_secs_f64())));
        }
        status
    }
}

const fn label(phase: Phase) -> UpgradePhase {
    match phase {
        Phase::Serving => UpgradePhase::Serving,
        Phase::Draining => UpgradePhase::Draining,
        Phase::Drained => UpgradePhase::Drained,
        Phase::Down => UpgradePhase::Down,
        Phase::Verifying => UpgradePhase::Verifying,
    }
}
