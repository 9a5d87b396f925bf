//! Drains at every sidecar, and the wait for the last of them.

use super::{
    DrainOrder, Duration, FanOut, Method, NAMED, PACE_EACH, Problem, Question, Said, Status, StatusCode,
    Ticket, Value, few, json, now,
};
use crate::upgrade::Phase;

/// Between two looks at who is left, besides what each of those costs.
const LOOK: Duration = Duration::from_millis(200);

impl FanOut {
    pub(super) fn drain_question(&self, member: &str, order: &DrainOrder) -> Question {
        // Nobody waits there: an answer that waits would take the place of a question to another one.
        let mut body = json!({ "deadline_s": order.lasts.as_secs().max(1), "wait_s": 0 });
        with_ticket(&mut body, order.ticket.as_ref());
        Question::order(Method::PUT, self.drain_path(member), body)
    }

    fn drain_path(&self, member: &str) -> String {
        self.path(&format!("/members/{member}/drain"))
    }

    pub(super) async fn undrain_all(&self, member: &str, ticket: Option<Ticket>) -> Result<Said, Problem> {
        // Whatever comes of it, nobody is to be given it any more.
        self.ordered().undrain(member, ticket.as_ref(), now());
        let mut body = json!({});
        with_ticket(&mut body, ticket.as_ref());
        let took = self.order(&Question::order(Method::DELETE, self.drain_path(member), body)).await?;
        Ok(self.together(member, &took, Vec::new()))
    }

    pub(super) async fn drain_all(&self, member: &str, order: DrainOrder) -> Result<Said, Problem> {
        let until = now() + order.wait;
        let took = self.order(&self.drain_question(member, &order)).await?;
        let has = took.iter().map(|(sidecar, _, _)| sidecar.clone());
        let is_dry = took.iter().any(|(_, _, value)| value.get("dry_run") == Some(&json!(true)));
        if !is_dry {
            self.ordered().drain(member, order.ticket, order.lasts, has, now());
        }
        let mut left: Vec<(String, u64)> = took
            .iter()
            .filter(|(_, status, _)| *status == StatusCode::ACCEPTED.as_u16())
            .map(|(sidecar, _, value)| {
                (sidecar.clone(), value.get("sessions").and_then(Value::as_u64).unwrap_or(0))
            })
            .collect();
        while !left.is_empty() && now() < until {
            let each = PACE_EACH.saturating_mul(u32::try_from(left.len()).unwrap_or(u32::MAX));
            let pause = (LOOK + each).min(until.saturating_duration_since(now()));
            tokio::time::sleep(pause).await;
            left = self.left(member, left).await?;
        }
        Ok(self.together(member, &took, left))
    }

    /// Who of these still has somebody there. One that gives no answer has.
    async fn left(&self, member: &str, before: Vec<(String, u64)>) -> Result<Vec<(String, u64)>, Problem> {
        let names: Vec<String> = before.iter().map(|(sidecar, _)| sidecar.clone()).collect();
        let heard = self.ask(&names, &Question::get(self.path(""))).await;
        let (mut left, mut expired) = (Vec::new(), Vec::new());
        for (sidecar, sessions) in before {
            if heard.unheard.iter().any(|one| one.sidecar == sidecar && one.left_out) {
                continue;
            }
            let value = heard.said.iter().find(|(name, _, _)| *name == sidecar).map(|(_, _, value)| value);
            let status = value.and_then(|value| serde_json::from_value::<Status>(value.clone()).ok());
            match status.as_ref().and_then(|status| status.member(member)) {
                Some(said) if said.drain_expired => {
                    expired.push(format!("{sidecar}: the drain has expired; DELETE ends it"));
                }
                Some(said) if said.phase == Phase::Draining => {
                    left.push((sidecar, said.sessions + u64::try_from(said.in_flight).unwrap_or(0)));
                }
                // Drained; or the drain has ended meanwhile, which the gate tells.
                Some(_) => {}
                None => left.push((sidecar, sessions)),
            }
        }
        if expired.is_empty() { Ok(left) } else { Err(Problem::new(StatusCode::CONFLICT, few(&expired))) }
    }

    /// One answer of all: it is what the least of them is.
    fn together(&self, member: &str, took: &[(String, u16, Value)], left: Vec<(String, u64)>) -> Said {
        let phase = |word: &str| took.iter().any(|(_, _, value)| value.get("phase") == Some(&json!(word)));
        let sessions: u64 = left.iter().map(|(_, sessions)| sessions).sum();
        let mut value =
            json!({ "cluster": self.cluster, "member": member, "phase": "drained", "sessions": sessions });
        let mut status = StatusCode::OK;
        if let Some(value) = value.as_object_mut() {
            if !left.is_empty() {
                status = StatusCode::ACCEPTED;
                let named: Vec<String> = left.into_iter().take(NAMED).map(|(sidecar, _)| sidecar).collect();
                value.insert("phase".to_owned(), json!("draining"));
                value.insert("sidecars".to_owned(), json!(named));
            } else if phase("serving") {
                value.insert("phase".to_owned(), json!("serving"));
                value.insert("sessions".to_owned(), Value::Null);
            }
            if took.iter().any(|(_, _, value)| value.get("dry_run") == Some(&json!(true))) {
                value.insert("dry_run".to_owned(), json!(true));
            }
        }
        Said { status, value }
    }
}

fn with_ticket(body: &mut Value, ticket: Option<&Ticket>) {
    if let (Some(body), Some(ticket)) = (body.as_object_mut(), ticket) {
        body.insert("plan_id".to_owned(), json!(ticket.plan_id));
        body.insert("generation".to_owned(), json!(ticket.generation));
    }
}
