//! The routes of a controller: plans, drains, gates, and the hooks of others' controllers.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::ask::Ask;
use super::hook::{DRAIN_LASTS, Drained, Hook};
use super::response::{Answer, json, not_allowed, problem, text};
use crate::upgrade::{Drain, Gate, Plan, Refusal, Ticket, Verdict};

/// The longest that an answer waits for a drain: a connection lives for 5 minutes.
const WAIT_MOST: u64 = 240;
/// The longest that a drain may last without a word.
const DEADLINE_MOST: u64 = 3600;
/// What a preStop hook waits for, if it doesn't say.
const PRESTOP_WAIT: u64 = 25;

type Refused = Box<Answer>;

/// The body of an order to drain, or to end that.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    plan_id: Option<String>,
    generation: Option<u64>,
    deadline_s: Option<u64>,
    wait_s: Option<u64>,
}

impl Order {
    fn ticket(&self) -> Result<Option<Ticket>, Refused> {
        match (&self.plan_id, self.generation) {
            (Some(plan_id), Some(generation)) => Ok(Some(Ticket { plan_id: plan_id.clone(), generation })),
            (None, None) => Ok(None),
            _ => Err(wrong("plan_id and generation come together")),
        }
    }
}

fn wrong(detail: &str) -> Refused {
    Box::new(problem(StatusCode::BAD_REQUEST, detail))
}

fn refused(refusal: &Refusal) -> Answer {
    let status = match refusal {
        Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    };
    problem(status, &refusal.to_string())
}

fn no_member() -> Answer {
    problem(StatusCode::NOT_FOUND, "no member of that id; /v1/clusters/{c} lists them")
}

/// Only from this host, since the listener has no credentials.
pub(super) fn is_allowed(ask: &Ask) -> Result<(), Refused> {
    if ask.local {
        return Ok(());
    }
    Err(Box::new(problem(StatusCode::FORBIDDEN, "changes are taken from this host only")))
}

/// A member's id is often HOST:PORT; some clients escape the colon.
fn unescaped(member: &str) -> String {
    member.replace("%3A", ":").replace("%3a", ":")
}

fn answered(answer: Result<Answer, Refused>) -> Answer {
    answer.unwrap_or_else(|refusal| *refusal)
}

/// `PUT /v1/clusters/{c}/plan`
pub(super) fn plan(hook: &Hook, ask: &Ask) -> Answer {
    if ask.method != Method::PUT {
        return not_allowed("PUT");
    }
    answered(is_allowed(ask).and_then(|()| {
        let plan: Plan = ask.json()?.ok_or_else(|| wrong("a plan comes as the body"))?;
        Ok(hook.put(plan).map_or_else(|refusal| refused(&refusal), |value| json(&value)))
    }))
}

/// `POST /v1/clusters/{c}/plan/finalize` and `/abort`
pub(super) async fn end(hook: &Hook, ask: &Ask, finalize: bool) -> Answer {
    if ask.method != Method::POST {
        return not_allowed("POST");
    }
    let ticket = is_allowed(ask).and_then(|()| {
        let ticket: Option<Ticket> = ask.json()?;
        ticket.ok_or_else(|| wrong("plan_id and generation come as the body"))
    });
    let ticket = match ticket {
        Ok(ticket) => ticket,
        Err(refusal) => return *refusal,
    };
    let ended = if finalize { hook.finalize(&ticket).await } else { hook.abort(&ticket) };
    ended.map_or_else(|refusal| refused(&refusal), |value| json(&value))
}

/// `PUT` and `DELETE /v1/clusters/{c}/members/{m}/drain`. Idempotent.
pub(super) async fn drain(hook: &Hook, ask: &Ask, member: &str) -> Answer {
    let on = match ask.method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return not_allowed("PUT, DELETE"),
    };
    let member = unescaped(member);
    let order = is_allowed(ask).and_then(|()| {
        let order: Order = ask.json()?.unwrap_or_default();
        let ticket = order.ticket()?;
        if order.deadline_s.is_some_and(|seconds| !(1..=DEADLINE_MOST).contains(&seconds)) {
            return Err(wrong("deadline_s: 1 to 3600 are taken"));
        }
        if order.wait_s.is_some_and(|seconds| seconds > WAIT_MOST) {
            return Err(wrong("wait_s: 0 to 240 are taken"));
        }
        Ok((order, ticket))
    });
    let (order, ticket) = match order {
        Ok(order) => order,
        Err(refusal) => return *refusal,
    };
    let lasts = order.deadline_s.map_or(DRAIN_LASTS, Duration::from_secs);
    match hook.drain(&member, ticket.as_ref(), on.then_some(lasts)) {
        Err(refusal) => refused(&refusal),
        Ok(first) => {
            let wait = Duration::from_secs(order.wait_s.unwrap_or(0));
            let waits = on && matches!(first, Drained::Is(Drain::Draining { .. })) && !wait.is_zero();
            let state = if waits { hook.drained(&member, wait).await } else { first };
            shown(hook, &member, state)
        }
    }
}

fn shown(hook: &Hook, member: &str, state: Drained) -> Answer {
    let (status, phase, left, dry_run) = match state {
        Drained::Unknown => return no_member(),
        Drained::DryRun => (StatusCode::OK, "serving", None, true),
        Drained::Is(Drain::Unsupported) => {
            return problem(StatusCode::NOT_IMPLEMENTED, "members of this protocol can't be drained yet");
        }
        Drained::Is(Drain::Expired) => {
            let text = "the drain has expired: the member was not stopped in time; DELETE ends it";
            return problem(StatusCode::CONFLICT, text);
        }
        Drained::Is(Drain::Off) => (StatusCode::OK, "serving", None, false),
        Drained::Is(Drain::Draining { left }) => (StatusCode::ACCEPTED, "draining", Some(left), false),
        Drained::Is(Drain::Drained) => (StatusCode::OK, "drained", Some(0), false),
    };
    let name = hook.cluster.name();
    let mut value = json!({ "cluster": name, "member": member, "phase": phase, "sessions": left });
    if dry_run && let Some(value) = value.as_object_mut() {
        value.insert("dry_run".to_owned(), json!(true));
    }
    let mut answer = json(&value);
    *answer.status_mut() = status;
    answer
}

/// `GET /v1/clusters/{c}/gate?for=…&member=…`
pub(super) async fn gate(hook: &Hook, ask: &Ask) -> Answer {
    let Some(gate) = ask.query("for").as_deref().and_then(Gate::of) else {
        return *wrong("for=stop|next|finalize|rollback says which gate");
    };
    let member = ask.query("member");
    if let Some(refusal) = no_such(hook, gate, member.as_deref()) {
        return refusal;
    }
    json(&asked(hook, gate, member.as_deref()).await)
}

/// Members of `stop` and `next` must be named; a wrong name is a mistake, not a closed gate.
fn no_such(hook: &Hook, gate: Gate, member: Option<&str>) -> Option<Answer> {
    match member {
        None if matches!(gate, Gate::Stop | Gate::Next) => Some(*wrong("member=ID says which member")),
        Some(member) if !hook.knows(member) => Some(no_member()),
        _ => None,
    }
}

async fn asked(hook: &Hook, gate: Gate, member: Option<&str>) -> Value {
    let (verdict, plan) = hook.gate(gate, member).await;
    let (plan_id, generation) = plan.unzip();
    let mut value = told(gate, member, &verdict);
    if let Some(value) = value.as_object_mut() {
        value.insert("cluster".to_owned(), json!(hook.cluster.name()));
        value.insert("plan_id".to_owned(), json!(plan_id));
        value.insert("generation".to_owned(), json!(generation));
    }
    value
}

/// A gate's answer by itself.
pub(super) fn told(gate: Gate, member: Option<&str>, verdict: &Verdict) -> Value {
    let mut value = json!({
        "gate": gate.as_str(),
        "member": member,
        "ok": verdict.is_open(),
        "stable_for_s": verdict.stable_for.as_secs(),
        "reasons": verdict.reasons,
        "costs": verdict.costs,
    });
    if gate == Gate::Stop
        && let Some(value) = value.as_object_mut()
    {
        value.insert("ok_to_drain".to_owned(), json!(verdict.opens_by_drain()));
    }
    value
}

/// `GET /v1/hooks/prestop?cluster=…&member=…&timeout_s=…`: drains a member and waits. The one GET that changes something, since a
/// kubelet can do no other; it can say no more than an address, and ends the pod whatever the answer is.
pub(super) async fn prestop(admin: &Arc<Admin>, ask: &Ask) -> Answer {
    if let Err(refusal) = is_allowed(ask) {
        return *refusal;
    }
    let (Some(cluster), Some(member)) = (ask.query("cluster"), ask.query("member")) else {
        return *wrong("cluster=NAME&member=ID say what is about to stop");
    };
    let wait = match ask.query("timeout_s").map(|text| text.parse::<u64>()) {
        None => PRESTOP_WAIT,
        Some(Ok(seconds)) if seconds <= WAIT_MOST => seconds,
        Some(_) => return *wrong("timeout_s: 0 to 240 are taken"),
    };
    let Some(hook) = admin.hook(&cluster) else { return super::routes::no_cluster() };
    match hook.drain(&member, None, Some(DRAIN_LASTS)) {
        Err(refusal) => refused(&refusal),
        Ok(_) => shown(hook, &member, hook.drained(&member, Duration::from_secs(wait)).await),
    }
}

/// What Flagger's webhooks send; it has fields of its own besides.
#[derive(Debug, Deserialize)]
struct Flagger {
    metadata: FlaggerMetadata,
}

/// What a canary's `metadata` says.
#[derive(Debug, Deserialize)]
struct FlaggerMetadata {
    cluster: String,
    gate: String,
    member: Option<String>,
}

/// `POST /v1/hooks/flagger`: 200 goes on, anything else waits. Changes nothing.
pub(super) async fn flagger(admin: &Arc<Admin>, ask: &Ask) -> Answer {
    if ask.method != Method::POST {
        return not_allowed("POST");
    }
    let hook: Flagger = match ask.json() {
        Ok(Some(hook)) => hook,
        Ok(None) => {
            return *wrong("Flagger's payload comes as the body, with cluster and gate in its metadata");
        }
        Err(refusal) => return *refusal,
    };
    let FlaggerMetadata { cluster, gate, member } = hook.metadata;
    let Some(hook) = admin.hook(&cluster) else { return super::routes::no_cluster() };
    let Some(gate) = Gate::of(&gate) else {
        return *wrong("metadata.gate: stop, next, finalize or rollback");
    };
    if let Some(refusal) = no_such(hook, gate, member.as_deref()) {
        return refusal;
    }
    let (verdict, _) = hook.gate(gate, member.as_deref()).await;
    if verdict.is_open() {
        return text(StatusCode::OK, "go\n".to_owned());
    }
    let lines: Vec<String> = verdict
        .reasons
        .iter()
        .map(|reason| format!("{}: {}\n", reason.code.as_str(), reason.detail))
        .collect();
    text(StatusCode::CONFLICT, format!("wait\n{}", lines.concat()))
}
