//! `--dry-run`: what the driver would do, from what is there now. Nothing is written and nobody is drained. Gates are asked for the plan: it
//! is put at sidecars that have none, as one that is only tried, and given up at the end; but nowhere while a plan lives at any of them:
//! a roll is under way, and who has no plan in the middle of it is its driver's to tell.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::act::{gate, look, now_ms, path};
use super::core::{Asked, Sidecar, Want};
use super::event::Line;
use super::exit::{Exit, Halt};
use super::leaders::Leaders;
use super::plan::{Direction, PlanFile, Protocol, TRIED_GENERATION, TRIED_S, is_tried, tried_id};
use super::progress::Progress;
use crate::admin::client::Client;
use crate::findings::plain;
use crate::fleet::{Fleet, Merged, Question, Status, ask_all};
use crate::lifecycle::Signals;
use crate::upgrade::{Gate, Plan};

/// At first a sidecar knows nothing of its cluster: so often its gate is asked, a second apart.
const LOOKS: usize = 20;

/// A line, or several. Nobody may be there to read them, and nothing that was said by others steers the terminal.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        let _ = writeln!(out, "{}", plain(line));
    }
}

/// The plan at sidecars that have none, until it is taken back.
struct Tried<'a> {
    client: &'a Client,
    plan: &'a PlanFile,
    ticket: Value,
    at: Vec<String>,
}

impl<'a> Tried<'a> {
    /// Puts it. Who refuses is named.
    async fn put(
        client: &'a Client,
        plan: &'a PlanFile,
        direction: Direction,
        left: &[String],
        to: &[String],
    ) -> Self {
        // A name of its own: it must not be in the way of the plan itself, nor that of it.
        let plan_id = tried_id(&plan.plan_id, now_ms() / 1000);
        let ticket = json!({ "plan_id": plan_id, "generation": TRIED_GENERATION });
        let order = plan.order(direction, TRIED_GENERATION, left, plan.soak_s);
        let order = Plan { plan_id, dry_run: true, ttl_s: TRIED_S, ..order };
        let mut at = Vec::new();
        if !left.is_empty() && !to.is_empty() {
            let body = serde_json::to_value(&order).unwrap_or_default();
            let question = Question::order(Method::PUT, path(plan, "/plan"), body);
            for (name, answer) in ask_all(client, to, &question).await {
                match answer {
                    Ok(_) => at.push(name),
                    Err(why) => say(&format!("  {name}: the plan can't be tried there: {why}")),
                }
            }
        }
        Self { client, plan, ticket, at }
    }

    /// Takes it back.
    async fn end(self) {
        let question = Question::order(Method::POST, path(self.plan, "/plan/abort"), self.ticket);
        for (name, answer) in ask_all(self.client, &self.at, &question).await {
            if let Err(why) = answer {
                say(&format!("  {name}: the plan that was tried ends within {TRIED_S} s: {why}"));
            }
        }
    }
}

/// Says it.
pub(super) async fn run(
    plan: &PlanFile,
    rollback: bool,
    lines: &[Line],
    (fleet, mut signals): (&mut Fleet, Signals),
    leaders: &Leaders,
) -> Halt {
    let mut progress = Progress::of(lines);
    if rollback && progress.direction == Direction::Forward {
        let all = plan.members.iter().map(|member| member.id.clone());
        progress.going_back = all.filter(|id| progress.begun.contains(id)).collect();
        (progress.direction, progress.done, progress.turn) = (Direction::Back, Vec::new(), None);
    }
    let seen = look(fleet, plan).await;
    let silent: Vec<&Sidecar> = seen.iter().filter(|sidecar| sidecar.said.is_err()).collect();
    let says: Vec<(&str, &Status)> = seen
        .iter()
        .filter_map(|sidecar| Some((sidecar.name.as_str(), sidecar.said.as_ref().ok()?)))
        .collect();
    say(&format!("{} of {} sidecars answer", says.len(), seen.len()));
    for sidecar in &silent {
        let why = sidecar.said.as_ref().err().map_or("", String::as_str);
        say(&format!("  {} doesn't: {why}", sidecar.name));
    }
    if says.is_empty() {
        return Halt::new(Exit::Silent, "no sidecar answers");
    }
    if progress.finalized {
        say("the journal says that everything is done");
    } else if !lines.is_empty() {
        say(&format!("the journal goes on: done {}", joined(&progress.done)));
    }
    let mut left: Vec<String> = match progress.direction {
        Direction::Forward => plan.members.iter().map(|member| member.id.clone()).collect(),
        Direction::Back => progress.going_back.clone(),
    };
    left.retain(|id| !progress.done.contains(id));
    let last = leads(plan, &says);
    left.sort_by_key(|id| Some(id.as_str()) == last);
    let Places { to_try, asked } = places(&says, &plan.id(progress.direction));
    let tried = Tried::put(&fleet.client, plan, progress.direction, &left, &to_try).await;
    let told = tokio::select! {
        () = turns(plan, &progress, (&left, last), (&says, &asked), &fleet.client, leaders) => None,
        signal = signals.next() => Some(signal.name()),
    };
    tried.end().await;
    if let Some(signal) = told {
        return Halt::new(Exit::Interrupted, format!("{signal}: nothing was changed"));
    }
    let end = match (progress.direction, plan.raise_features, &plan.finalize_command) {
        (Direction::Forward, true, _) => "metadata.version would be raised".to_owned(),
        (Direction::Forward, _, Some(command)) => command.clone(),
        _ => "sidecars are told".to_owned(),
    };
    say(&format!("at the end, {} s after the last member is back: {end}", plan.soak_s));
    if silent.is_empty() {
        Halt::new(Exit::Done, "nothing was changed")
    } else {
        Halt::new(Exit::Silent, "a sidecar is silent; nothing was changed")
    }
}

/// Where what is done.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    /// Where the plan is put to be tried.
    to_try: Vec<String>,
    /// Where gates are asked.
    asked: Vec<String>,
}

/// See [`Places`]. Says what is not as one would expect.
fn places(says: &[(&str, &Status)], plan_id: &str) -> Places {
    let lives = |status: &Status| status.plan.as_ref().is_some_and(|plan| !is_tried(&plan.plan_id));
    let under_way = says.iter().any(|(_, status)| lives(status));
    let mut places = Places { to_try: Vec::new(), asked: Vec::new() };
    for (name, status) in says {
        match &status.plan {
            None if under_way => {
                say(&format!("  {name}: no plan lives there, but elsewhere: its gates are not asked"));
                continue;
            }
            None => places.to_try.push((*name).to_owned()),
            Some(other) if other.plan_id != plan_id => {
                say(&format!(
                    "  {name}: plan {} lives there: its gates are answered for that",
                    other.plan_id
                ));
            }
            Some(_) => {}
        }
        places.asked.push((*name).to_owned());
    }
    places
}

/// The turns of those that are left, with what their gates say now.
async fn turns(
    plan: &PlanFile,
    progress: &Progress,
    (left, last): (&[String], Option<&str>),
    (says, asked): (&[(&str, &Status)], &[String]),
    client: &Client,
    leaders: &Leaders,
) {
    let mut looks = LOOKS;
    for member in left {
        say(&of_member(plan, progress, member, says));
        if last == Some(member.as_str()) {
            say("  it leads the cluster, and comes last");
        }
        let mut merged = stop(client, plan, member, asked).await;
        while merged.has("facts_unknown") && looks > 0 {
            looks -= 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            merged = stop(client, plan, member, asked).await;
        }
        if merged.ok_to_drain {
            say("  gate stop: it could be drained now");
        }
        for reason in &merged.reasons {
            let many = reason.sidecars.len();
            say(&format!(
                "  gate stop: {}: {} ({many} sidecars)",
                reason.reason.code,
                plain(&reason.reason.detail)
            ));
        }
        if plan.move_leaders && plan.protocol == Protocol::Kafka {
            match leaders.orders_of(member).await {
                Ok(orders) => {
                    let count = orders.len();
                    say(&format!("  leaders of {count} partitions would be moved away, and back"));
                }
                Err(why) => say(&format!("  leaders can't be looked up: {why}")),
            }
        }
        let command = plan.command(progress.direction).unwrap_or("(no command)");
        say(&format!("  clients would leave it, then: {command}"));
        say(&format!("  then all must be well for {} s", plan.stable_s));
    }
}

async fn stop(client: &Client, plan: &PlanFile, member: &str, of: &[String]) -> Merged {
    let want = Want { gate: Gate::Stop, member: Some(member.to_owned()), of: of.to_vec() };
    let answers = gate(client, plan, &want).await;
    Asked { want, answers }.merged()
}

/// Who leads the cluster now, as the first sidecar that knows says.
fn leads<'a>(plan: &'a PlanFile, says: &[(&str, &'a Status)]) -> Option<&'a str> {
    says.iter().find_map(|(_, status)| match plan.protocol {
        Protocol::Kafka => status.controller.as_deref(),
        Protocol::ZooKeeper => {
            let leader = status.members.iter().find(|member| member.mode.as_deref() == Some("leader"));
            leader.map(|member| member.id.as_str())
        }
    })
}

fn of_member(plan: &PlanFile, progress: &Progress, member: &str, says: &[(&str, &Status)]) -> String {
    let (from, to) = plan.versions(member, progress.direction);
    let mut text = format!("{member}: {} to {}", from.unwrap_or("any version"), to.unwrap_or("any"));
    for (name, status) in says {
        match status.member(member) {
            Some(said) => {
                let version = said.version.as_deref().unwrap_or("no version told");
                let _ = write!(
                    text,
                    "\n  {name}: {}, {version}, {} sessions",
                    said.phase.as_str(),
                    said.sessions
                );
            }
            None => {
                let _ = write!(text, "\n  {name}: knows no such member");
            }
        }
    }
    text
}

fn joined(list: &[String]) -> String {
    if list.is_empty() { "nobody".to_owned() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::PlanSaid;

    #[test]
    fn a_plan_is_tried_nowhere_while_one_lives_anywhere() {
        let has = |plan_id: &str| {
            let plan = PlanSaid { plan_id: plan_id.to_owned(), generation: 1, expires_in_s: 9 };
            Status { plan: Some(plan), ..Status::default() }
        };
        let (none, ours, other, tried) = (Status::default(), has("p"), has("q"), has("q.dry-17"));
        let of = |a: &Status, b: &Status| {
            let Places { to_try, asked } = places(&[("a", a), ("b", b)], "p");
            (to_try.join(" "), asked.join(" "))
        };
        let is = |to_try: &str, asked: &str| (to_try.to_owned(), asked.to_owned());
        assert_eq!(of(&none, &none), is("a b", "a b"));
        assert_eq!(of(&none, &tried), is("a", "a b"), "another dry run is no roll");
        assert_eq!(of(&none, &ours), is("", "b"));
        assert_eq!(of(&other, &none), is("", "a"));
        assert_eq!(of(&ours, &ours), is("", "a b"));
    }
}
