//! The routes of a controller: plans, drains, gates, and the hooks of others' controllers.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::Admin;
use super::ask::Ask;
use super::control::{Control, DrainOrder, Problem, Said};
use super::hook::DRAIN_LASTS;
use super::response::{Answer, json, not_allowed, problem, text};
use crate::upgrade::{Gate, Plan, Ticket};

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

/// What a cluster says, as an answer.
pub(super) fn said(said: Result<Said, Problem>) -> Answer {
    match said {
        Ok(Said { status, value }) => {
            let mut answer = json(&value);
            *answer.status_mut() = status;
            answer
        }
        Err(Problem { status, detail }) => problem(status, &detail),
    }
}

/// A member's id is often HOST:PORT; some clients escape the colon.
fn unescaped(member: &str) -> String {
    member.replace("%3A", ":").replace("%3a", ":")
}

/// `PUT /v1/clusters/{c}/plan`
pub(super) async fn plan(cluster: &dyn Control, ask: &Ask) -> Answer {
    if ask.method != Method::PUT {
        return not_allowed("PUT");
    }
    let plan = ask.json::<Plan>().and_then(|plan| plan.ok_or_else(|| wrong("a plan comes as the body")));
    match plan {
        Ok(plan) => said(cluster.put(plan).await),
        Err(refusal) => *refusal,
    }
}

/// `POST /v1/clusters/{c}/plan/finalize` and `/abort`
pub(super) async fn end(cluster: &dyn Control, ask: &Ask, finalize: bool) -> Answer {
    if ask.method != Method::POST {
        return not_allowed("POST");
    }
    let ticket = ask
        .json::<Ticket>()
        .and_then(|ticket| ticket.ok_or_else(|| wrong("plan_id and generation come as the body")));
    match ticket {
        Ok(ticket) => said(cluster.end(ticket, finalize).await),
        Err(refusal) => *refusal,
    }
}

/// `PUT` and `DELETE /v1/clusters/{c}/members/{m}/drain`. Idempotent.
pub(super) async fn drain(cluster: &dyn Control, ask: &Ask, member: &str) -> Answer {
    let on = match ask.method {
        Method::PUT => true,
        Method::DELETE => false,
        _ => return not_allowed("PUT, DELETE"),
    };
    let member = unescaped(member);
    let order = ask.json::<Order>().and_then(|order| {
        let order = order.unwrap_or_default();
        let ticket = order.ticket()?;
        if order.deadline_s.is_some_and(|seconds| !(1..=DEADLINE_MOST).contains(&seconds)) {
            return Err(wrong("deadline_s: 1 to 3600 are taken"));
        }
        if order.wait_s.is_some_and(|seconds| seconds > WAIT_MOST) {
            return Err(wrong("wait_s: 0 to 240 are taken"));
        }
        let lasts = order.deadline_s.map_or(DRAIN_LASTS, Duration::from_secs);
        Ok(DrainOrder { ticket, lasts, wait: Duration::from_secs(order.wait_s.unwrap_or(0)) })
    });
    match order {
        Ok(order) if on => said(cluster.drain(&member, order).await),
        Ok(order) => said(cluster.undrain(&member, order.ticket).await),
        Err(refusal) => *refusal,
    }
}

/// `GET /v1/clusters/{c}/gate?for=…&member=…`
pub(super) async fn gate(cluster: &dyn Control, ask: &Ask) -> Answer {
    let Some(gate) = ask.query("for").as_deref().and_then(Gate::of) else {
        return *wrong("for=stop|next|finalize|rollback says which gate");
    };
    let member = ask.query("member");
    if let Err(refusal) = is_named(gate, member.as_deref()) {
        return *refusal;
    }
    said(cluster.gate(gate, member.as_deref()).await)
}

/// Members of `stop` and `next` must be named.
fn is_named(gate: Gate, member: Option<&str>) -> Result<(), Refused> {
    match member {
        None if matches!(gate, Gate::Stop | Gate::Next) => Err(wrong("member=ID says which member")),
        _ => Ok(()),
    }
}

/// `GET /v1/hooks/prestop?cluster=…&member=…&timeout_s=…`: drains a member and waits. The one GET that changes something, since a
/// kubelet can do no other, so that the door asks more of it; the pod ends whatever the answer is.
pub(super) async fn prestop(admin: &Arc<Admin>, ask: &Ask) -> Answer {
    let (Some(cluster), Some(member)) = (ask.query("cluster"), ask.query("member")) else {
        return *wrong("cluster=NAME&member=ID say what is about to stop");
    };
    let wait = match ask.query("timeout_s").map(|text| text.parse::<u64>()) {
        None => PRESTOP_WAIT,
        Some(Ok(seconds)) if seconds <= WAIT_MOST => seconds,
        Some(_) => return *wrong("timeout_s: 0 to 240 are taken"),
    };
    let Some(cluster) = admin.cluster(&cluster) else { return super::routes::no_cluster() };
    let order = DrainOrder { ticket: None, lasts: DRAIN_LASTS, wait: Duration::from_secs(wait) };
    said(cluster.drain(&member, order).await)
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
    let Some(cluster) = admin.cluster(&cluster) else { return super::routes::no_cluster() };
    let Some(gate) = Gate::of(&gate) else {
        return *wrong("metadata.gate: stop, next, finalize or rollback");
    };
    if let Err(refusal) = is_named(gate, member.as_deref()) {
        return *refusal;
    }
    let verdict = match cluster.gate(gate, member.as_deref()).await {
        Ok(Said { value, .. }) => value,
        problem => return said(problem),
    };
    if verdict.get("ok").and_then(Value::as_bool) == Some(true) {
        return text(StatusCode::OK, "go\n".to_owned());
    }
    let word =
        |reason: &Value, key: &str| reason.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let reasons = verdict.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let lines: Vec<String> =
        reasons.map(|reason| format!("{}: {}\n", word(reason, "code"), word(reason, "detail"))).collect();
    text(StatusCode::CONFLICT, format!("wait\n{}", lines.concat()))
}
