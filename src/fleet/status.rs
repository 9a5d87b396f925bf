//! One status of many, in the shape of one sidecar's own. Pure.

use serde_json::{Map, Value, json};

use super::Unheard;
use crate::upgrade::Phase;

/// What of a member is added up.
const OF_MEMBER: [&str; 3] = ["connections", "in_flight", "sessions"];
/// What of a hold is.
const OF_HOLD: [&str; 7] = ["waiting", "started", "released", "expired", "cancelled", "bytes", "limit_bytes"];

/// Puts statuses together. Counts are added up; where sidecars differ in what should be the same there is nothing.
pub(super) fn merged(name: &str, said: &[(String, Value)], unheard: &[Unheard]) -> Value {
    let all: Vec<&Value> = said.iter().map(|(_, value)| value).collect();
    let holds: Vec<&Value> = all.iter().filter_map(|value| value.get("hold")).collect();
    let plans: Vec<Option<&Value>> = all.iter().map(|value| object(value, "plan")).collect();
    let without: Vec<&str> = said
        .iter()
        .filter(|(_, value)| object(value, "plan").is_none())
        .map(|(sidecar, _)| sidecar.as_str())
        .collect();
    let some_have = without.len() < said.len();
    let age = all.iter().map(|value| value.get("facts_age_s").and_then(Value::as_f64));
    let age = age.collect::<Option<Vec<f64>>>().and_then(|ages| ages.into_iter().reduce(f64::max));
    json!({
        "name": name,
        "protocol": first(&all, "protocol"),
        "cluster_id": first(&all, "cluster_id"),
        "controller": first(&all, "controller"),
        "clients": sum(&all, "clients"),
        "bypass": all.iter().any(|value| value.get("bypass") == Some(&json!(true))),
        "members": members(&all),
        "hold": sums(&holds, &OF_HOLD),
        "plan": one_plan(&plans),
        "last_plan": same(&all, "last_plan"),
        "version": same(&all, "version"),
        "facts_age_s": age,
        "last_hour": { "shown": minutes(&all, "shown"), "masked": minutes(&all, "masked") },
        "sidecars": {
            "count": said.len() + unheard.len(),
            "answering": said.len(),
            "silent": unheard.iter().map(|one| json!({
                "sidecar": one.sidecar,
                "silent_s": one.silent.as_secs(),
                "why": one.why,
                "left_out": one.left_out,
            })).collect::<Vec<Value>>(),
            "without_plan": if some_have { without } else { Vec::new() },
            "plans": tickets(&plans),
        },
    })
}

/// A field that is an object.
fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| value.is_object())
}

/// The first that says it.
fn first(all: &[&Value], key: &str) -> Value {
    let mut said = all.iter().filter_map(|value| value.get(key).filter(|value| !value.is_null()));
    said.next().cloned().unwrap_or_default()
}

/// What all of them say.
fn same(all: &[&Value], key: &str) -> Value {
    let mut said = all.iter().map(|value| value.get(key));
    let one = said.next().flatten();
    if said.all(|other| other == one) { one.cloned().unwrap_or_default() } else { Value::Null }
}

fn sum(all: &[&Value], key: &str) -> i64 {
    all.iter().filter_map(|value| value.get(key).and_then(Value::as_i64)).fold(0, i64::saturating_add)
}

fn sums(all: &[&Value], keys: &[&str]) -> Value {
    let has = |key: &&&str| all.iter().any(|value| value.get(**key).is_some());
    let each = keys.iter().filter(has).map(|key| ((*key).to_owned(), json!(sum(all, key))));
    Value::Object(each.collect())
}

/// The plans that anybody has: more than one is a controller's order that hasn't come to all yet, or two controllers.
fn tickets(plans: &[Option<&Value>]) -> Vec<Value> {
    let mut tickets = Vec::new();
    for plan in plans.iter().flatten() {
        let ticket = json!({ "plan_id": plan.get("plan_id"), "generation": plan.get("generation") });
        if !tickets.contains(&ticket) {
            tickets.push(ticket);
        }
    }
    tickets
}

/// The plan that all have, with the least time that it has anywhere.
fn one_plan(plans: &[Option<&Value>]) -> Value {
    let Some(Some(one)) = plans.first() else { return Value::Null };
    if plans.iter().any(Option::is_none) || tickets(plans).len() > 1 {
        return Value::Null;
    }
    let left = plans.iter().filter_map(|plan| plan.as_ref()?.get("expires_in_s")?.as_u64()).min();
    let mut plan = (*one).clone();
    if let Some(plan) = plan.as_object_mut() {
        plan.insert("expires_in_s".to_owned(), json!(left.unwrap_or(0)));
    }
    plan
}

fn minutes(all: &[&Value], key: &str) -> Vec<i64> {
    let mut total: Vec<i64> = Vec::new();
    for value in all {
        let minutes = value.get("last_hour").and_then(|hour| hour.get(key)).and_then(Value::as_array);
        for (index, minute) in minutes.into_iter().flatten().enumerate() {
            let minute = minute.as_i64().unwrap_or(0);
            match total.get_mut(index) {
                Some(known) => *known = known.saturating_add(minute),
                None => total.push(minute),
            }
        }
    }
    total
}

/// Every member that anybody knows, in the order in which they are told of.
fn members(all: &[&Value]) -> Vec<Value> {
    let mut ids: Vec<&str> = Vec::new();
    let each = |value: &'_ Value| value.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
    let lists: Vec<Vec<Value>> = all.iter().map(|value| each(value)).collect();
    for member in lists.iter().flatten() {
        if let Some(id) = member.get("id").and_then(Value::as_str)
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    let of = |id: &str| -> Vec<&Value> {
        lists
            .iter()
            .filter_map(|list| list.iter().find(|member| member.get("id") == Some(&json!(id))))
            .collect()
    };
    ids.into_iter().map(|id| member(id, &of(id))).collect()
}

fn member(id: &str, said: &[&Value]) -> Value {
    let has = |value: &Value, key: &str| value.get(key) == Some(&json!(true));
    let phases: Vec<(Phase, bool)> = said
        .iter()
        .filter_map(|value| {
            let text = value.get("phase").and_then(Value::as_str)?;
            let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == text)?;
            Some((phase, has(value, "had_turn")))
        })
        .collect();
    let mut counts = Map::new();
    for (phase, _) in &phases {
        let count = counts.get(phase.as_str()).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(phase.as_str().to_owned(), json!(count + 1));
    }
    let mut row = sums(said, &OF_MEMBER);
    if let Some(row) = row.as_object_mut() {
        row.insert("id".to_owned(), json!(id));
        for key in ["address", "rack", "state", "mode", "leaders_seen"] {
            let value = if key == "state" { same(said, key) } else { first(said, key) };
            if !value.is_null() {
                row.insert(key.to_owned(), value);
            }
        }
        // A version that not all see alike is none.
        let version = same(said, "version");
        if !version.is_null() {
            row.insert("version".to_owned(), version);
        }
        row.insert("phase".to_owned(), json!(phase_of(&phases)));
        row.insert("phases".to_owned(), Value::Object(counts));
        row.insert(
            "had_turn".to_owned(),
            json!(!said.is_empty() && said.iter().all(|one| has(one, "had_turn"))),
        );
        row.insert("drain_expired".to_owned(), json!(said.iter().any(|one| has(one, "drain_expired"))));
    }
    row
}

/// The phase that stands for all: that of whoever has got least far in the member's turn. Whether one in which clients use the member is before
/// its turn or after it, its memory of the turn says.
pub(super) fn phase_of(said: &[(Phase, bool)]) -> Phase {
    let uses = |phase: &Phase| matches!(phase, Phase::Serving | Phase::Verifying);
    let any = |wanted: Phase| said.iter().any(|(phase, _)| *phase == wanted);
    let in_turn = said.iter().any(|(phase, _)| !uses(phase));
    if in_turn && said.iter().any(|(phase, had_turn)| uses(phase) && !had_turn) {
        return Phase::Serving;
    }
    let order = [Phase::Draining, Phase::Down, Phase::Drained, Phase::Verifying];
    order.into_iter().find(|phase| any(*phase)).unwrap_or(Phase::Serving)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_phase_is_that_of_whoever_has_got_least_far() {
        use Phase::{Down, Drained, Draining, Serving, Verifying};
        for (said, phase) in [
            (vec![], Serving),
            (vec![(Serving, false), (Drained, false)], Serving),
            (vec![(Serving, false), (Down, false)], Serving),
            (vec![(Draining, false), (Drained, false)], Draining),
            (vec![(Drained, false), (Down, false)], Down),
            // Back: who has seen that is ahead of those that haven't.
            (vec![(Serving, true), (Drained, false)], Drained),
            (vec![(Verifying, true), (Down, false)], Down),
            (vec![(Verifying, true), (Serving, true)], Verifying),
            (vec![(Verifying, false), (Serving, true)], Verifying),
        ] {
            assert_eq!(phase_of(&said), phase, "{said:?}");
        }
    }

    #[test]
    fn counts_are_added_up_and_differences_are_nothing() {
        let one = json!({
            "name": "orders", "protocol": "kafka", "controller": "2", "clients": 3, "bypass": false, "version": "4.3",
            "hold": { "waiting": 2, "bytes": 10 }, "facts_age_s": 1.5, "last_plan": null,
            "plan": { "plan_id": "p", "generation": 2, "expires_in_s": 50 },
            "last_hour": { "shown": [0, 1], "masked": [5, 0] },
            "members": [{ "id": "1", "phase": "drained", "in_flight": 1, "version": "3.9", "had_turn": true }],
        });
        let mut other = one.clone();
        (other["clients"], other["hold"]["waiting"], other["plan"]["expires_in_s"]) =
            (json!(4), json!(5), json!(40));
        other["members"] = json!([
            { "id": "1", "phase": "draining", "in_flight": 6, "version": "4.3", "drain_expired": true },
            { "id": "2", "phase": "serving" },
        ]);
        let named = |name: &str, value: &Value| (name.to_owned(), value.clone());
        let silent = Unheard {
            sidecar: "c".to_owned(),
            silent: Duration::from_secs(9),
            why: "refused".to_owned(),
            left_out: true,
        };
        let all = merged("orders", &[named("a", &one), named("b", &other)], &[silent]);
        assert_eq!((&all["clients"], &all["hold"]), (&json!(7), &json!({ "waiting": 7, "bytes": 20 })));
        assert_eq!((&all["plan"]["expires_in_s"], &all["version"]), (&json!(40), &json!("4.3")));
        assert_eq!(all["last_hour"], json!({ "shown": [0, 2], "masked": [10, 0] }));
        let first = &all["members"][0];
        assert_eq!(
            (&first["phase"], &first["phases"]),
            (&json!("draining"), &json!({ "drained": 1, "draining": 1 }))
        );
        assert_eq!(
            (&first["in_flight"], &first["had_turn"], &first["drain_expired"]),
            (&json!(7), &json!(false), &json!(true))
        );
        assert_eq!(first.get("version"), None, "they see different ones");
        assert_eq!(all["members"].as_array().unwrap().len(), 2);
        assert_eq!(all["sidecars"]["silent"][0]["left_out"], json!(true));
        assert_eq!((&all["sidecars"]["count"], &all["sidecars"]["answering"]), (&json!(3), &json!(2)));
        // One has another plan, and then none: nobody can say that there is one.
        other["plan"]["generation"] = json!(3);
        let all = merged("orders", &[named("a", &one), named("b", &other)], &[]);
        let both = json!([{ "plan_id": "p", "generation": 2 }, { "plan_id": "p", "generation": 3 }]);
        assert_eq!((&all["plan"], &all["sidecars"]["plans"]), (&Value::Null, &both));
        other["plan"] = Value::Null;
        let all = merged("orders", &[named("a", &one), named("b", &other)], &[]);
        assert_eq!((&all["plan"], &all["sidecars"]["without_plan"]), (&Value::Null, &json!(["b"])));
    }
}
