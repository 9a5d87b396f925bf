//! Gates of all sidecars as one: open when it is open at each of them, and every reason names who has it.

use super::{
    FanOut, Gate, GateSaid, Heard, NAMED, Problem, Question, Reason, Said, StatusCode, Value, json, merge,
};
use crate::fleet::{FleetReason, Merged};
use crate::metrics::UpgradeGate;
use std::collections::BTreeSet;

/// What sidecars say of one gate.
type Answers = Vec<(String, Result<GateSaid, String>)>;

impl FanOut {
    pub(super) async fn one_gate(&self, gate: Gate, member: Option<&str>) -> Result<Said, Problem> {
        let heard = self.ask_gate(gate, member).await?;
        let value = self.of_one(gate, member, heard);
        let gauge = match gate {
            Gate::Stop => UpgradeGate::Stop,
            Gate::Next => UpgradeGate::Next,
            Gate::Finalize => UpgradeGate::Finalize,
            Gate::Rollback => UpgradeGate::Rollback,
        };
        self.metrics.gates.get(gauge).set(i64::from(value.get("ok") == Some(&json!(true))));
        Ok(value.into())
    }

    async fn ask_gate(&self, gate: Gate, member: Option<&str>) -> Result<Heard, Problem> {
        let member = member.map(|id| form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>());
        let member = member.map(|id| format!("&member={id}")).unwrap_or_default();
        let names = self.names().await;
        let heard = self
            .ask(&names, &Question::get(self.path(&format!("/gate?for={}{member}", gate.as_str()))))
            .await;
        if heard.said.is_empty() && (heard.unheard.is_empty() || !heard.refused.is_empty()) {
            // Nobody has a gate to tell of: the question is wrong, or there is nobody.
            return Err(heard.nobody());
        }
        Ok(heard)
    }

    fn of_one(&self, gate: Gate, member: Option<&str>, heard: Heard) -> Value {
        let stable = heard.said.iter().filter_map(|(_, _, value)| value.get("stable_for_s")?.as_u64()).min();
        let (answers, left_out) = answers(heard);
        let mut value = together(gate.as_str(), member, &answers, &left_out);
        if let Some(value) = value.as_object_mut() {
            let (plan_id, generation) = ticket(&answers);
            value.insert("cluster".to_owned(), json!(self.cluster));
            value.insert("plan_id".to_owned(), json!(plan_id));
            value.insert("generation".to_owned(), json!(generation));
            value.insert("stable_for_s".to_owned(), json!(stable.unwrap_or(0)));
        }
        value
    }

    /// Whether a sidecar's refusal to finalize is to be feared. One that has no plan may have been told before; it says so itself.
    pub(super) async fn may_finalize(&self) -> Result<(), Problem> {
        let mut heard = self.ask_gate(Gate::Finalize, None).await?;
        let has_plan = |value: &Value| value.pointer("/reasons/0/code") != Some(&json!("no_plan"));
        heard.said.retain(|(_, _, value)| has_plan(value));
        if heard.said.is_empty() {
            return Ok(());
        }
        let (answers, left_out) = answers(heard);
        let merged = merged(&answers, &left_out);
        if merged.ok {
            return Ok(());
        }
        let reasons: Vec<String> =
            merged.reasons.iter().map(|of| format!("{}: {}", of.reason.code, detail(of))).collect();
        let text = format!("the gate finalize is closed: {}", reasons.join("; "));
        Err(Problem::new(StatusCode::CONFLICT, text))
    }

    pub(super) async fn all_gates(&self) -> Result<Said, Problem> {
        let names = self.names().await;
        let heard = self.ask(&names, &Question::get(self.path("/gates"))).await;
        if heard.said.is_empty() {
            return Err(heard.nobody());
        }
        let plans = heard.said.iter().map(|(sidecar, _, value)| (sidecar.clone(), read(value.clone())));
        let (plan_id, generation) = ticket(&plans.collect::<Answers>());
        // A list names its plan once, for all of its gates.
        let each = |value: &Value| {
            let mut gates = value.get("gates").and_then(Value::as_array).cloned().unwrap_or_default();
            for gate in gates.iter_mut().filter_map(Value::as_object_mut) {
                for key in ["plan_id", "generation"] {
                    gate.insert(key.to_owned(), value.get(key).cloned().unwrap_or_default());
                }
            }
            gates
        };
        let mut kinds: Vec<(String, Option<String>)> = Vec::new();
        let told: Vec<(String, Vec<Value>)> =
            heard.said.iter().map(|(sidecar, _, value)| (sidecar.clone(), each(value))).collect();
        for gate in told.iter().flat_map(|(_, gates)| gates) {
            let kind = kind(gate);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let (others, left_out) = answers(Heard { said: Vec::new(), ..heard });
        let gates: Vec<Value> = kinds
            .iter()
            .map(|wanted| {
                let found = |gates: &[Value]| gates.iter().find(|gate| kind(gate) == *wanted).cloned();
                let all: Vec<(String, Option<Value>)> =
                    told.iter().map(|(sidecar, gates)| (sidecar.clone(), found(gates))).collect();
                let stable =
                    all.iter().filter_map(|(_, gate)| gate.as_ref()?.get("stable_for_s")?.as_u64()).min();
                let none = || Err("it doesn't know the member".to_owned());
                let mut answers: Answers =
                    all.into_iter().map(|(sidecar, gate)| (sidecar, gate.map_or_else(none, read))).collect();
                answers.extend(others.iter().cloned());
                let mut value = together(&wanted.0, wanted.1.as_deref(), &answers, &left_out);
                if let Some(value) = value.as_object_mut() {
                    value.insert("stable_for_s".to_owned(), json!(stable.unwrap_or(0)));
                }
                value
            })
            .collect();
        let all =
            json!({ "cluster": self.cluster, "plan_id": plan_id, "generation": generation, "gates": gates });
        Ok(all.into())
    }
}

fn kind(gate: &Value) -> (String, Option<String>) {
    let word = |key: &str| gate.get(key).and_then(Value::as_str).map(str::to_owned);
    (word("gate").unwrap_or_default(), word("member"))
}

fn read(value: Value) -> Result<GateSaid, String> {
    // The list of all gates has no `ok` of its own.
    let mut value = value;
    if let Some(value) = value.as_object_mut() {
        value.entry("ok").or_insert(json!(false));
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// What was heard, sidecar by sidecar; and who is left out.
fn answers(heard: Heard) -> (Answers, Vec<Reason>) {
    let mut answers: Answers =
        heard.said.into_iter().map(|(sidecar, _, value)| (sidecar, read(value))).collect();
    answers.extend(heard.refused.into_iter().map(|(sidecar, status, detail)| {
        let reason = Reason::new("sidecar_refuses", format!("{status}: {detail}"));
        (sidecar, Ok(GateSaid { reasons: vec![reason], ..GateSaid::default() }))
    }));
    let mut left_out = Vec::new();
    for one in heard.unheard {
        let why = format!("{} (nothing for {} s)", one.why, one.silent.as_secs());
        if one.left_out {
            left_out.push(Reason::new("sidecar_left_out", format!("{}: {why}", one.sidecar)));
        } else {
            answers.push((one.sidecar, Err(why)));
        }
    }
    (answers, left_out)
}

/// The plan that all tell.
fn ticket(answers: &Answers) -> (Option<String>, Option<u64>) {
    let all: BTreeSet<(Option<&str>, Option<u64>)> = answers
        .iter()
        .filter_map(|(_, said)| said.as_ref().ok())
        .map(|said| (said.plan_id.as_deref(), said.generation))
        .collect();
    match (all.len(), all.first()) {
        (1, Some((plan_id, generation))) => (plan_id.map(str::to_owned), *generation),
        _ => (None, None),
    }
}

/// Merged, and closed where sidecars answer for different plans.
fn merged(answers: &Answers, left_out: &[Reason]) -> Merged {
    let mut merged =
        merge(answers.iter().map(|(name, said)| (name.as_str(), said.as_ref().map_err(String::as_str))));
    let told: Vec<(&str, Option<&str>, Option<u64>)> = answers
        .iter()
        .filter_map(|(name, said)| {
            let said = said
                .as_ref()
                .ok()
                .filter(|said| said.reasons.iter().all(|reason| reason.code != "sidecar_refuses"))?;
            Some((name.as_str(), said.plan_id.as_deref(), said.generation))
        })
        .collect();
    if let Some((_, plan_id, generation)) = told.first() {
        let newest = told.iter().map(|(_, plan_id, generation)| (*generation, *plan_id)).max();
        let newest = newest.unwrap_or((*generation, *plan_id));
        let others = told.iter().filter(|(_, plan_id, generation)| (*generation, *plan_id) != newest);
        let others: Vec<String> = others.map(|(name, _, _)| (*name).to_owned()).collect();
        if !others.is_empty() {
            (merged.ok, merged.ok_to_drain) = (false, false);
            let reason = Reason::new("plans_differ", "it has another plan, or none, or another generation");
            merged.reasons.push(FleetReason { reason, sidecars: others });
        }
    }
    for reason in left_out {
        let sidecar = reason.detail.split(": ").next().unwrap_or_default().to_owned();
        merged.costs.push(FleetReason { reason: reason.clone(), sidecars: vec![sidecar] });
    }
    merged
}

/// A gate's answer by itself.
fn together(gate: &str, member: Option<&str>, answers: &Answers, left_out: &[Reason]) -> Value {
    let merged = merged(answers, left_out);
    let shown = |all: &[FleetReason]| -> Vec<Value> {
        let each = all.iter().map(|of| {
            let named: Vec<&String> = of.sidecars.iter().take(NAMED).collect();
            json!({ "code": of.reason.code, "detail": detail(of), "sidecars": named, "count": of.sidecars.len() })
        });
        each.collect()
    };
    let mut value = json!({
        "gate": gate, "member": member, "ok": merged.ok, "reasons": shown(&merged.reasons), "costs": shown(&merged.costs),
    });
    if gate == Gate::Stop.as_str()
        && let Some(value) = value.as_object_mut()
    {
        value.insert("ok_to_drain".to_owned(), json!(merged.ok_to_drain));
    }
    value
}

/// The fact, who tells it, and how many more do.
fn detail(of: &FleetReason) -> String {
    let first = of.sidecars.first().map_or("", String::as_str);
    let text = &of.reason.detail;
    let text = if text.starts_with(first) { text.clone() } else { format!("{first}: {text}") };
    match of.sidecars.len().saturating_sub(1) {
        0 => text,
        1 => format!("{text} (and 1 more sidecar)"),
        more => format!("{text} (and {more} more sidecars)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "as answers come")]
    fn said(plan: Option<u64>, codes: &[&str]) -> Result<GateSaid, String> {
        let reasons = codes.iter().map(|code| Reason::new(code, "why")).collect();
        let (plan_id, generation) = (plan.map(|_| "p".to_owned()), plan);
        Ok(GateSaid {
            ok: codes.is_empty(),
            ok_to_drain: codes == ["not_drained"],
            plan_id,
            generation,
            reasons,
            ..GateSaid::default()
        })
    }

    fn all(answers: &[(&str, Result<GateSaid, String>)]) -> Answers {
        answers.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect()
    }

    #[test]
    fn each_reason_names_who_has_it() {
        let answers = all(&[
            ("a:1", said(Some(1), &["quorum"])),
            ("b:1", said(Some(1), &["quorum", "in_flight"])),
            ("c:1", Err("c:1: refused".to_owned())),
        ]);
        let value = together("stop", Some("2"), &answers, &[]);
        assert_eq!((&value["ok"], &value["ok_to_drain"]), (&json!(false), &json!(false)));
        assert_eq!(
            value["reasons"],
            json!([
                { "code": "quorum", "detail": "a:1: why (and 1 more sidecar)", "sidecars": ["a:1", "b:1"], "count": 2 },
                { "code": "in_flight", "detail": "b:1: why", "sidecars": ["b:1"], "count": 1 },
                { "code": "sidecar_silent", "detail": "c:1: c:1: refused", "sidecars": ["c:1"], "count": 1 },
            ])
        );
        assert_eq!(ticket(&answers), (Some("p".to_owned()), Some(1)));
    }

    #[test]
    fn who_answers_for_another_plan_closes_the_gate() {
        let answers =
            all(&[("a:1", said(Some(2), &[])), ("b:1", said(Some(1), &[])), ("c:1", said(None, &[]))]);
        let merged = merged(&answers, &[]);
        assert!(!merged.ok && !merged.ok_to_drain);
        assert_eq!(
            (merged.reasons[0].reason.code.as_str(), &merged.reasons[0].sidecars[..]),
            ("plans_differ", &["b:1".to_owned(), "c:1".to_owned()][..])
        );
        assert_eq!(ticket(&answers), (None, None));
        assert!(super::merged(&all(&[("a:1", said(None, &[])), ("b:1", said(None, &[]))]), &[]).ok);
    }

    #[test]
    fn who_is_left_out_is_a_cost() {
        let out = Reason::new("sidecar_left_out", "c:1: refused (nothing for 60 s)");
        let value = together("next", Some("2"), &all(&[("a:1", said(Some(1), &[]))]), &[out]);
        assert_eq!((&value["ok"], &value["costs"][0]["sidecars"]), (&json!(true), &json!(["c:1"])));
    }
}
