//! The hook of one cluster in this sidecar, in the words of the routes.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::control::{Control, DrainOrder, Problem, Said, Told};
use super::hook::{Drained, Hook};
use crate::upgrade::{DrainState, Gate, Plan, Ticket, Verdict};

impl Control for Hook {
    fn name(&self) -> &str {
        self.cluster.name()
    }

    fn status(&self) -> Told<'_> {
        Box::pin(async { Ok(self.shown().into()) })
    }

    fn gates(&self) -> Told<'_> {
        Box::pin(async { Ok(self.all_gates().into()) })
    }

    fn gate<'a>(&'a self, gate: Gate, member: Option<&'a str>) -> Told<'a> {
        Box::pin(async move {
            if member.is_some_and(|member| !self.knows(member)) {
                return Err(Problem::no_member());
            }
            let (verdict, plan) = self.ask(gate, member).await;
            let (plan_id, generation) = plan.unzip();
            let mut value = told(gate, member, &verdict);
            if let Some(value) = value.as_object_mut() {
                value.insert("cluster".to_owned(), json!(self.cluster.name()));
                value.insert("plan_id".to_owned(), json!(plan_id));
                value.insert("generation".to_owned(), json!(generation));
            }
            Ok(value.into())
        })
    }

    fn put(&self, plan: Plan) -> Told<'_> {
        Box::pin(async { Ok(self.take(plan)?.into()) })
    }

    fn end(&self, ticket: Ticket, finalize: bool) -> Told<'_> {
        Box::pin(async move {
            let ended = if finalize { self.finalize(&ticket).await } else { self.abort(&ticket) };
            Ok(ended?.into())
        })
    }

    fn drain<'a>(&'a self, member: &'a str, order: DrainOrder) -> Told<'a> {
        Box::pin(async move {
            let first = self.order_drain(member, order.ticket.as_ref(), Some(order.lasts))?;
            let waits =
                matches!(first, Drained::Is(DrainState::Draining { .. })) && order.wait > Duration::ZERO;
            let state = if waits { self.drained(member, order.wait).await } else { first };
            let mut said = drain_said(self.cluster.name(), member, state)?;
            // What it leads still is held until it is stopped.
            if let (Some(leaders), Some(value)) = (self.leaders_seen(member), said.value.as_object_mut()) {
                value.insert("leaders_seen".to_owned(), leaders);
            }
            Ok(said)
        })
    }

    fn undrain<'a>(&'a self, member: &'a str, ticket: Option<Ticket>) -> Told<'a> {
        Box::pin(async move {
            let state = self.order_drain(member, ticket.as_ref(), None)?;
            drain_said(self.cluster.name(), member, state)
        })
    }

    fn set_bypass(&self, on: bool) -> Told<'_> {
        Box::pin(async move {
            self.cluster.set_bypass(on);
            Ok(json!({ "cluster": self.cluster.name(), "bypass": on }).into())
        })
    }
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

fn drain_said(cluster: &str, member: &str, state: Drained) -> Result<Said, Problem> {
    let (status, phase, left, dry_run) = match state {
        Drained::Unknown => return Err(Problem::no_member()),
        Drained::DryRun => (StatusCode::OK, "serving", None, true),
        Drained::Is(DrainState::Expired) => {
            let text = "the drain has expired: the member was not stopped in time; DELETE ends it";
            return Err(Problem::new(StatusCode::CONFLICT, text));
        }
        Drained::Is(DrainState::Off) => (StatusCode::OK, "serving", None, false),
        Drained::Is(DrainState::Draining { left }) => (StatusCode::ACCEPTED, "draining", Some(left), false),
        Drained::Is(DrainState::Drained) => (StatusCode::OK, "drained", Some(0), false),
    };
    let mut value = json!({ "cluster": cluster, "member": member, "phase": phase, "sessions": left });
    if dry_run && let Some(value) = value.as_object_mut() {
        value.insert("dry_run".to_owned(), json!(true));
    }
    Ok(Said { status, value })
}
