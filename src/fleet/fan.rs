//! One cluster's hook for a whole fleet: orders go to every sidecar, and what they say becomes one answer.
//!
//! A gate is open when it is open at all of them. A sidecar that says nothing closes it, and fails an order; what becomes of one that has been
//! silent for too long is the policy's. All that is kept here is what a controller has ordered, for sidecars that come later ([`Ordered`]).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use rand::RngExt;
use serde_json::{Value, json};

use super::find::Fleet;
use super::ordered::{Lack, Ordered};
use super::said::{GateSaid, Reason, Status};
use super::{Question, Unanswered, ask, ask_all, merge, status};
use crate::admin::client::Client;
use crate::admin::{Control, DrainOrder, Problem, Said, Told};
use crate::metrics::{FleetMetrics, FleetOutcome, FleetState};
use crate::time::now;
use crate::upgrade::{Gate, Plan, Ticket};

mod drains;
mod gates;

/// Between two looks at all of them, and how much more for each: a thousand are looked at every twelve seconds.
const PACE: Duration = Duration::from_secs(2);
const PACE_EACH: Duration = Duration::from_millis(10);
/// So many sidecars are named in a reason; all are counted.
const NAMED: usize = 10;

/// The refusals of sidecars that are a controller's to mend, the first of them before the others.
const TOLD: [u16; 5] = [409, 400, 404, 413, 503];

/// What becomes of sidecars that say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// They are gone on without, after [`Policy::silent`]; else everything waits for them.
    pub go_on: bool,
    /// How long a sidecar may say nothing.
    pub silent: Duration,
}

/// A sidecar that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// Which.
    pub sidecar: String,
    /// For how long nothing was heard of it.
    pub silent: Duration,
    /// Why not.
    pub why: String,
    /// It counts no more.
    pub left_out: bool,
}

/// What became of a question to all.
#[derive(Debug, Default)]
struct Heard {
    said: Vec<(String, u16, Value)>,
    refused: Vec<(String, u16, String)>,
    unheard: Vec<Unheard>,
}

/// See the module.
pub struct FanOut {
    cluster: String,
    policy: Policy,
    client: Client,
    fleet: tokio::sync::Mutex<Fleet>,
    ordered: Mutex<Ordered>,
    metrics: FleetMetrics,
}

impl FanOut {
    /// Of a cluster, by its name in the sidecars' configuration.
    pub fn new(cluster: String, fleet: Fleet, policy: Policy, metrics: FleetMetrics) -> Self {
        let client = fleet.client.clone();
        let (fleet, ordered) = (tokio::sync::Mutex::new(fleet), Mutex::default());
        Self { cluster, policy, client, fleet, ordered, metrics }
    }

    /// Looks at all sidecars again and again, for as long as it is polled: who comes late gets what was ordered. `looked` is called after
    /// each look.
    pub async fn run(&self, mut looked: impl FnMut()) {
        loop {
            let asked = self.keep_up().await;
            looked();
            let each = PACE_EACH.saturating_mul(u32::try_from(asked).unwrap_or(u32::MAX));
            let pause = (PACE + each).mul_f64(rand::rng().random_range(0.75..1.25));
            tokio::time::sleep(pause).await;
        }
    }

    fn ordered(&self) -> MutexGuard<'_, Ordered> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/clusters/{}{rest}", self.cluster)
    }

    /// Who there is.
    async fn names(&self) -> Vec<String> {
        // A name without an address is a fleet without sidecars: what is asked says so.
        self.fleet.lock().await.find(now()).await.unwrap_or_default()
    }

    /// Asks all, or these.
    async fn ask(&self, names: &[String], question: &Question) -> Heard {
        let began = now();
        let answers = ask_all(&self.client, names, question).await;
        self.metrics.question_seconds.observe(now().saturating_duration_since(began).as_secs_f64());
        let mut fleet = self.fleet.lock().await;
        let mut heard = Heard::default();
        for (sidecar, answer) in answers {
            // Whoever refuses is there.
            fleet.note(&sidecar, !matches!(answer, Err(Unanswered::Silent(_))), now());
            self.metrics.questions.inc(match &answer {
                Ok(_) => FleetOutcome::Answered,
                Err(Unanswered::Refused { .. }) => FleetOutcome::Refused,
                Err(Unanswered::Silent(_)) => FleetOutcome::Silent,
                Err(Unanswered::Garbled(_)) => FleetOutcome::Garbled,
            });
            match answer {
                Ok((status, value)) => heard.said.push((sidecar, status, value)),
                Err(Unanswered::Refused { status, detail }) => heard.refused.push((sidecar, status, detail)),
                Err(Unanswered::Garbled(why)) => heard.refused.push((sidecar, 502, why)),
                Err(Unanswered::Silent(why)) => {
                    let silent = fleet.silent_for(&sidecar, now());
                    let left_out = self.policy.go_on && silent >= self.policy.silent;
                    heard.unheard.push(Unheard { sidecar, silent, why, left_out });
                }
            }
        }
        heard
    }

    /// An order to all. Sidecars that refuse since they have no memory of what was ordered before get that first, and are asked again.
    async fn order(&self, question: &Question) -> Result<Vec<(String, u16, Value)>, Problem> {
        let names = self.names().await;
        let mut heard = self.ask(&names, question).await;
        if heard.refused.iter().any(|(_, status, _)| *status == 409) {
            self.keep_up().await;
            let again: Vec<String> = heard.refused.drain(..).map(|(sidecar, _, _)| sidecar).collect();
            let more = self.ask(&again, question).await;
            heard.said.extend(more.said);
            heard.refused.extend(more.refused);
            heard.unheard.extend(more.unheard);
        }
        heard.all()
    }

    /// Gives those what was ordered that lack it. How many there are.
    async fn keep_up(&self) -> usize {
        let (names, asked) = (self.names().await, now());
        let heard = self.ask(&names, &Question::get(self.path(""))).await;
        let gone = heard.unheard.iter().filter(|one| one.left_out).count();
        self.metrics.sidecars.get(FleetState::Answering).set(count(heard.said.len() + heard.refused.len()));
        self.metrics.sidecars.get(FleetState::Silent).set(count(heard.unheard.len() - gone));
        self.metrics.sidecars.get(FleetState::LeftOut).set(count(gone));
        let read = heard.said.into_iter();
        let said: Vec<(String, Status)> =
            read.filter_map(|(name, _, value)| Some((name, serde_json::from_value(value).ok()?))).collect();
        let lacking = self.ordered().lacking(&said, asked, now());
        for (sidecar, lacks) in lacking {
            for lack in lacks {
                if let Err(error) = self.give(&sidecar, &lack).await {
                    tracing::warn!(sidecar, %error, "what was ordered before it came could not be given to it");
                    break;
                }
                self.metrics.caught_up.inc();
            }
        }
        names.len()
    }

    async fn give(&self, sidecar: &str, lack: &Lack) -> Result<(), Unanswered> {
        match lack {
            Lack::Plan(plan) => {
                let question = Question::order(Method::PUT, self.path("/plan"), json!(plan));
                ask(&self.client, sidecar, question).await?;
            }
            Lack::Drain { member, ticket, lasts } => {
                let order = DrainOrder { ticket: ticket.clone(), lasts: *lasts, wait: Duration::ZERO };
                ask(&self.client, sidecar, self.drain_question(member, &order)).await?;
                self.ordered().given(sidecar, member);
            }
        }
        Ok(())
    }

    /// The fleet's status, from all that answer.
    async fn merged(&self) -> Result<Value, Problem> {
        let names = self.names().await;
        let heard = self.ask(&names, &Question::get(self.path(""))).await;
        if heard.said.is_empty() {
            return Err(heard.nobody());
        }
        let mut unheard = heard.unheard;
        // Who answers with something else says nothing of the cluster, either.
        unheard.extend(heard.refused.into_iter().map(|(sidecar, status, why)| Unheard {
            sidecar,
            silent: Duration::ZERO,
            why: format!("{status}: {why}"),
            left_out: false,
        }));
        let said: Vec<(String, Value)> =
            heard.said.into_iter().map(|(sidecar, _, value)| (sidecar, value)).collect();
        Ok(status::merged(&self.cluster, &said, &unheard))
    }

    async fn put_all(&self, plan: Plan) -> Result<Said, Problem> {
        let wrong = plan.problems();
        if !wrong.is_empty() {
            return Err(Problem::from(crate::upgrade::Refusal::Wrong(wrong)));
        }
        let took = self.order(&Question::order(Method::PUT, self.path("/plan"), json!(plan))).await?;
        let results: Vec<&str> =
            took.iter().filter_map(|(_, _, value)| value.get("result")?.as_str()).collect();
        let result =
            ["begun", "replaced"].into_iter().find(|word| results.contains(word)).unwrap_or("renewed");
        let mut unknown: Vec<&Value> = Vec::new();
        for id in took.iter().filter_map(|(_, _, value)| value.get("unknown_members")?.as_array()).flatten() {
            if !unknown.contains(&id) {
                unknown.push(id);
            }
        }
        let said = json!({
            "cluster": self.cluster, "plan_id": plan.plan_id, "generation": plan.generation, "result": result,
            "expires_in_s": took.iter().filter_map(|(_, _, value)| value.get("expires_in_s")?.as_u64()).min(),
            "unknown_members": unknown,
        });
        self.ordered().put(plan, now());
        Ok(said.into())
    }

    async fn end_all(&self, ticket: Ticket, finalize: bool) -> Result<Said, Problem> {
        if finalize {
            // All of them before any of them: clients of one must not be offered what another's gate is closed for.
            self.may_finalize().await?;
        }
        let body = json!({ "plan_id": ticket.plan_id, "generation": ticket.generation });
        let rest = if finalize { "/plan/finalize" } else { "/plan/abort" };
        let took = self.order(&Question::order(Method::POST, self.path(rest), body)).await?;
        self.ordered().end();
        let phase = took.first().and_then(|(_, _, value)| value.get("phase").cloned());
        Ok(json!({
            "cluster": self.cluster, "plan_id": ticket.plan_id, "generation": ticket.generation, "phase": phase,
        })
        .into())
    }

    async fn bypass_all(&self, on: bool) -> Result<Said, Problem> {
        let method = if on { Method::PUT } else { Method::DELETE };
        let question = Question { method, ..Question::get(self.path("/bypass")) };
        self.order(&question).await?;
        Ok(json!({ "cluster": self.cluster, "bypass": on }).into())
    }
}

impl Heard {
    /// What all say that count, or why that isn't all.
    fn all(self) -> Result<Vec<(String, u16, Value)>, Problem> {
        // What a controller can do something about comes first.
        let rank = |status: u16| TOLD.iter().position(|known| *known == status).unwrap_or(TOLD.len());
        if let Some((_, status, _)) = self.refused.iter().min_by_key(|(_, status, _)| rank(*status)) {
            let each: Vec<String> =
                self.refused.iter().map(|(sidecar, _, detail)| format!("{sidecar}: {detail}")).collect();
            return Err(Problem::new(code(*status), few(&each)));
        }
        let silent: Vec<String> = self
            .unheard
            .iter()
            .filter(|one| !one.left_out)
            .map(|one| format!("{}: {} (nothing for {} s)", one.sidecar, one.why, one.silent.as_secs()))
            .collect();
        if !silent.is_empty() || self.said.is_empty() {
            return Err(self.nobody_or(&silent));
        }
        Ok(self.said)
    }

    fn nobody_or(&self, silent: &[String]) -> Problem {
        if silent.is_empty() {
            return self.nobody();
        }
        let text = format!("sidecars are silent, {} others took it: {}", self.said.len(), few(silent));
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// Nobody says anything of use.
    fn nobody(&self) -> Problem {
        if let Some((sidecar, status, detail)) = self.refused.first() {
            return Problem::new(code(*status), format!("{sidecar}: {detail}"));
        }
        let first = self.unheard.first().map_or_else(|| "there is none".to_owned(), |one| one.why.clone());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("no sidecar answers: {first}"))
    }
}

/// Another refusal than those that are told is about us, as the one of our credential is, and not about who asks us.
fn code(status: u16) -> StatusCode {
    let told = TOLD.contains(&status).then_some(status);
    told.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// Some of them, and how many more.
fn few(all: &[String]) -> String {
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Control for FanOut {
    fn name(&self) -> &str {
        &self.cluster
    }

    fn status(&self) -> Told<'_> {
        Box::pin(async { Ok(self.merged().await?.into()) })
    }

    fn gates(&self) -> Told<'_> {
        Box::pin(self.all_gates())
    }

    fn gate<'a>(&'a self, gate: Gate, member: Option<&'a str>) -> Told<'a> {
        Box::pin(self.one_gate(gate, member))
    }

    fn put(&self, plan: Plan) -> Told<'_> {
        Box::pin(self.put_all(plan))
    }

    fn end(&self, ticket: Ticket, finalize: bool) -> Told<'_> {
        Box::pin(self.end_all(ticket, finalize))
    }

    fn drain<'a>(&'a self, member: &'a str, order: DrainOrder) -> Told<'a> {
        Box::pin(self.drain_all(member, order))
    }

    fn undrain<'a>(&'a self, member: &'a str, ticket: Option<Ticket>) -> Told<'a> {
        Box::pin(self.undrain_all(member, ticket))
    }

    fn set_bypass(&self, on: bool) -> Told<'_> {
        Box::pin(self.bypass_all(on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_is_not_a_controllers_to_mend_is_a_bad_gateway() {
        for (statuses, wanted) in [
            (&[409][..], 409),
            (&[404, 401, 409], 409),
            (&[401], 502),
            (&[403, 421], 502),
            (&[500, 502], 502),
            (&[503], 503),
        ] {
            let refused = || statuses.iter().map(|status| ("a:1".to_owned(), *status, "why".to_owned()));
            let heard = Heard { refused: refused().collect(), ..Heard::default() };
            let of_first = if TOLD.contains(&statuses[0]) { statuses[0] } else { 502 };
            assert_eq!(heard.nobody().status.as_u16(), of_first, "{statuses:?}");
            assert_eq!(heard.all().unwrap_err().status.as_u16(), wanted, "{statuses:?}");
        }
    }
}
