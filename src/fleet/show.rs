//! `evenkeel status`: what one sidecar or a fleet says, as a table for people or as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::screen::{Screen, without_seconds};
use super::{Answer, FanOut, Fleet, Policy, Question, Source, ask_all};
use crate::admin::Control as _;
use crate::admin::client::Credentials;
use crate::findings::plain;
use crate::metrics::{FleetMetrics, Metrics};
use crate::time::now;

/// Between two looks, and how much more for each sidecar.
const PACE: Duration = Duration::from_secs(2);
const PACE_EACH: Duration = Duration::from_millis(10);
/// A page that an answer must be there within.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is looked at, and how it is shown.
#[derive(Clone, Debug)]
pub struct Looking {
    /// The sidecars.
    pub source: Source,
    /// How they let us in.
    pub credentials: Credentials,
    /// This cluster alone.
    pub cluster: Option<String>,
    /// Again and again.
    pub watch: bool,
    /// As JSON, a line for each look.
    pub json: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
struct View {
    /// Each cluster's status, and its gates while a plan lives.
    clusters: Vec<(Value, Option<Value>)>,
    /// What could not be seen.
    problems: Vec<String>,
}

/// The exit code where nothing can be told.
const NOBODY: u8 = 1;
/// The exit code while something is under way: a member doesn't serve, or requests are held.
const UNDER_WAY: u8 = 3;
/// The exit code when a sidecar is silent.
const SILENT: u8 = 6;

/// Shows it; with `watch` for ever. Gives the exit code: 0 all is calm, 1 nobody answers, 3 something is under way, 6 a sidecar is silent.
///
/// # Errors
/// It can't be begun: why, in one line.
pub async fn show(looking: &Looking) -> Result<u8, String> {
    let mut fleet = Fleet::new(looking.source.clone(), looking.credentials.clone())?;
    let live = looking.watch && !looking.json && io::stdout().is_terminal();
    let (mut screen, mut last) = (Screen::default(), String::new());
    loop {
        let view = look(&mut fleet, looking).await?;
        let text = if looking.json { format!("{}\n", view.json()) } else { view.text() };
        // Nobody may be there to read it; elsewhere than in a terminal what hasn't changed is not said again.
        let mut out = io::stdout().lock();
        let written = if live {
            screen.draw(&mut out, &text)
        } else if looking.json && text != last || without_seconds(&text) != without_seconds(&last) {
            last.clone_from(&text);
            write!(out, "{text}")
        } else {
            Ok(())
        };
        let gone = written.and_then(|()| out.flush()).is_err();
        drop(out);
        if !looking.watch || gone {
            return Ok(view.code());
        }
        let count = fleet.find(now()).await.map_or(0, |names| names.len());
        tokio::time::sleep(PACE + PACE_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))).await;
    }
}

async fn look(fleet: &mut Fleet, looking: &Looking) -> Result<View, String> {
    let mut view = View::default();
    let names = match fleet.find(now()).await {
        Ok(names) => names,
        Err(error) => {
            view.problems.push(error);
            return Ok(view);
        }
    };
    let question = Question { patience: PATIENCE, ..Question::get("/v1/clusters") };
    let answers = ask_all(&fleet.client, &names, &question).await;
    let mut clusters = clusters_of(&answers);
    if let Some(only) = &looking.cluster {
        clusters.retain(|cluster| cluster == only);
    }
    for (sidecar, answer) in &answers {
        if let Err(error) = answer {
            view.problems.push(format!("{sidecar}: {error}"));
        }
    }
    if let (Some(only), true) = (&looking.cluster, clusters.is_empty() && view.problems.is_empty()) {
        view.problems.push(format!("no cluster of the name {only}"));
    }
    for cluster in clusters {
        // Only those that have it: a fleet may serve different clusters.
        let has = answers.iter().filter(|(_, answer)| clusters_in(answer).any(|name| name == cluster));
        let list = has.map(|(sidecar, _)| sidecar.clone()).collect();
        let policy = Policy { go_on: false, silent: Duration::MAX };
        let one = fleet.some(list);
        let fan = Arc::new(FanOut::new(cluster, one, policy, FleetMetrics::new(&Metrics::new())));
        match fan.status().await {
            Ok(said) => {
                // Where sidecars differ the gates say so.
                let gates = if said.value.pointer("/sidecars/plans/0").is_some() {
                    fan.gates().await.ok().map(|said| said.value)
                } else {
                    None
                };
                view.clusters.push((said.value, gates));
            }
            Err(problem) => view.problems.push(problem.detail),
        }
    }
    Ok(view)
}

fn clusters_in(answer: &Answer) -> impl Iterator<Item = &str> {
    let list = answer.as_ref().ok().and_then(|(_, value)| value.get("clusters")?.as_array());
    list.into_iter().flatten().filter_map(|cluster| cluster.get("name")?.as_str())
}

fn clusters_of(answers: &[(String, Answer)]) -> BTreeSet<String> {
    answers.iter().flat_map(|(_, answer)| clusters_in(answer)).map(str::to_owned).collect()
}

/// What a sidecar says there, which must not steer a terminal.
fn word(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).map_or_else(|| "–".to_owned(), plain)
}

/// The columns of a table: each as wide as its widest word.
fn width<'a>(head: &'a str, words: impl Iterator<Item = &'a str>) -> usize {
    words.chain([head]).map(|word| word.chars().count()).max().unwrap_or_default()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

impl View {
    fn json(&self) -> Value {
        let clusters: Vec<Value> = self
            .clusters
            .iter()
            .map(|(status, gates)| {
                let mut status = status.clone();
                if let Some(status) = status.as_object_mut() {
                    let gates = gates.as_ref().and_then(|gates| gates.get("gates")).cloned();
                    status.insert("gates".to_owned(), gates.unwrap_or_default());
                }
                status
            })
            .collect();
        json!({ "clusters": clusters, "problems": self.problems })
    }

    fn code(&self) -> u8 {
        if self.clusters.is_empty() {
            return NOBODY;
        }
        let statuses = || self.clusters.iter().map(|(status, _)| status);
        let silent = |status: &Value| status.pointer("/sidecars/silent/0").is_some();
        if !self.problems.is_empty() || statuses().any(silent) {
            return SILENT;
        }
        let moves = |status: &Value| {
            list(status, "members").any(|member| {
                let phases = member.get("phases").and_then(Value::as_object);
                phases.is_some_and(|phases| phases.keys().any(|phase| phase != "serving"))
            }) || status.get("hold").is_some_and(|hold| number(hold, "waiting") > 0)
        };
        if statuses().any(moves) { UNDER_WAY } else { 0 }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            let _ = writeln!(out, "! {}", plain(problem));
        }
        for (status, gates) in &self.clusters {
            cluster(&mut out, status, gates.as_ref());
        }
        out
    }
}

fn cluster(out: &mut String, status: &Value, gates: Option<&Value>) {
    let hold = status.get("hold").cloned().unwrap_or_default();
    let sidecars = status.get("sidecars").cloned().unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{} · {} {} · {} of {} sidecars answer · {} connections · {} requests held ({} of {} bytes){}",
        word(status, "name"),
        word(status, "protocol"),
        word(status, "version"),
        number(&sidecars, "answering"),
        number(&sidecars, "count"),
        number(status, "clients"),
        number(&hold, "waiting"),
        number(&hold, "bytes"),
        number(&hold, "limit_bytes"),
        if status.get("bypass") == Some(&json!(true)) { " · bypass" } else { "" },
    );
    if let Some(plan) = status.get("plan").filter(|plan| plan.is_object()) {
        let _ = writeln!(
            out,
            "  plan {} · generation {} · {} · ends in {} s if nobody renews it",
            word(plan, "plan_id"),
            number(plan, "generation"),
            word(plan, "phase"),
            number(plan, "expires_in_s"),
        );
    }
    if list(&sidecars, "plans").nth(1).is_some() {
        for plan in list(&sidecars, "plans") {
            let (id, generation) = (word(plan, "plan_id"), number(plan, "generation"));
            let _ = writeln!(out, "  ! some have plan {id} · generation {generation}");
        }
    }
    for silent in list(&sidecars, "silent") {
        let _ = writeln!(out, "  ! {}: {}", word(silent, "sidecar"), word(silent, "why"));
    }
    for without in list(&sidecars, "without_plan").filter_map(Value::as_str) {
        let _ = writeln!(out, "  ! {}: has no plan", plain(without));
    }
    let controller = word(status, "controller");
    let rows: Vec<[String; 5]> = list(status, "members").map(|member| row(member, &controller)).collect();
    let column = |k: usize| rows.iter().filter_map(move |row| row.get(k)).map(String::as_str);
    let (id, phase) = (width("MEMBER", column(0)), width("PHASE", column(1)));
    let version = width("VERSION", column(2));
    let heads = ["MEMBER", "PHASE", "VERSION", "SESSIONS", "REQUESTS"].map(str::to_owned);
    for [member, phases, has, sessions, requests] in std::iter::once(&heads).chain(&rows) {
        let line = format!("  {member:<id$} {phases:<phase$} {has:<version$} {sessions:>8} {requests:>8}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for gate in gates.into_iter().flat_map(|gates| list(gates, "gates")) {
        let name = match gate.get("member").and_then(Value::as_str) {
            Some(member) => format!("{} {}", word(gate, "gate"), plain(member)),
            None => word(gate, "gate"),
        };
        let open = gate.get("ok") == Some(&json!(true));
        let _ = writeln!(out, "  gate {name}: {}", if open { "open" } else { "closed" });
        for reason in list(gate, "reasons") {
            let _ = writeln!(out, "    {}: {}", word(reason, "code"), word(reason, "detail"));
        }
    }
}

/// A member's line of the table.
fn row(member: &Value, controller: &str) -> [String; 5] {
    let phases = member.get("phases").and_then(Value::as_object).filter(|phases| phases.len() > 1);
    let phase = phases.map_or_else(
        || word(member, "phase"),
        |phases| {
            let each = phases.iter().map(|(phase, count)| format!("{} {count}", plain(phase)));
            each.collect::<Vec<_>>().join(", ")
        },
    );
    let leads = word(member, "mode") == "leader" || word(member, "id") == controller;
    let requests = format!("{:>8}{}", number(member, "in_flight"), if leads { "  leads" } else { "" });
    let sessions = number(member, "sessions").to_string();
    [word(member, "id"), phase, word(member, "version"), sessions, requests]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let status = json!({
            "name": "orders", "protocol": "kafka", "version": "4.3", "clients": 7, "controller": "2", "bypass": false,
            "hold": { "waiting": 0, "bytes": 0, "limit_bytes": 100 },
            "plan": { "plan_id": "p", "generation": 2, "phase": "rolling", "expires_in_s": 60 },
            "sidecars": { "count": 2, "answering": 2, "silent": [], "without_plan": [], "plans": [] },
            "members": [
                { "id": "1", "phase": "serving", "phases": { "serving": 2 }, "version": "4.3", "in_flight": 3 },
                { "id": "2", "phase": "serving", "phases": { "serving": 2 }, "sessions": 4 },
            ],
        });
        let gates = json!({ "gates": [
            { "gate": "stop", "member": "1", "ok": false, "reasons": [{ "code": "quorum", "detail": "a:1: two are left" }] },
            { "gate": "finalize", "member": null, "ok": true, "reasons": [] },
        ] });
        View { clusters: vec![(status, Some(gates))], problems: Vec::new() }
    }

    #[test]
    fn the_table_has_members_holds_the_plan_and_gates_with_their_reasons() {
        let text = view().text();
        for part in [
            "orders · kafka 4.3 · 2 of 2 sidecars answer · 7 connections · 0 requests held (0 of 100 bytes)\n",
            "plan p · generation 2 · rolling · ends in 60 s",
            "gate stop 1: closed\n    quorum: a:1: two are left\n",
            "gate finalize: open\n",
            "leads\n",
        ] {
            assert!(text.contains(part), "{part:?}\n{text}");
        }
        let row = text.lines().find(|line| line.starts_with("  1 ")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["1", "serving", "4.3", "0", "3"]);
        assert_eq!(view().json()["clusters"][0]["gates"][1]["gate"], "finalize");
    }

    #[test]
    fn the_exit_code_says_whether_all_is_calm() {
        assert_eq!(View::default().code(), NOBODY);
        assert_eq!(view().code(), 0);
        let mut held = view();
        held.clusters[0].0["hold"]["waiting"] = json!(1);
        assert_eq!(held.code(), UNDER_WAY);
        let mut drained = view();
        drained.clusters[0].0["members"][1]["phases"] = json!({ "drained": 1, "serving": 1 });
        assert_eq!(drained.code(), UNDER_WAY);
        assert!(drained.text().contains("drained 1, serving 1"), "{}", drained.text());
        let mut silent = drained.clone();
        silent.clusters[0].0["sidecars"]["silent"] = json!([{ "sidecar": "b:1", "why": "refused" }]);
        assert_eq!(silent.code(), SILENT);
        assert!(silent.text().contains("! b:1: refused"));
        let lost = View { problems: vec!["b:1: refused".to_owned()], ..view() };
        assert_eq!(lost.code(), SILENT);
    }

    #[test]
    fn eighty_columns_are_enough_and_nothing_that_was_said_steers_the_terminal() {
        let mut view = view();
        let evil = "\x1b]0;title\x07\x1b[2J\u{9b}2J";
        view.problems.push(evil.to_owned());
        view.clusters[0].0["members"] = json!([
            { "id": "zk-1.example.net:2181", "phases": { "drained": 12, "serving": 288 }, "version": "3.8.4", "sessions": 123, "in_flight": 4,
              "mode": "leader" },
            { "id": evil, "phases": { evil: 1, "down": 2 }, "version": evil },
        ]);
        view.clusters[0].1.as_mut().unwrap()["gates"][0]["reasons"][0] =
            json!({ "code": evil, "detail": evil });
        let text = view.text();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        // What isn't evil fits.
        view.clusters[0].0["members"].as_array_mut().unwrap().pop();
        let text = view.text();
        let row = text.lines().find(|line| line.contains("zk-1")).unwrap();
        assert!(row.chars().count() <= 80 && row.ends_with("4  leads"), "{row:?}");
    }
}
