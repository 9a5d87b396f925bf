//! `--dry-run`: what the driver would do, from what is there now. Asks, and changes nothing: no plan is put, nothing is written.

use std::fmt::Write as _;

use super::act::{gate, look};
use super::core::{Asked, Sidecar, Want};
use super::event::Line;
use super::exit::{Exit, Halt};
use super::leaders::Leaders;
use super::plan::{Direction, PlanFile, Protocol};
use super::progress::Progress;
use crate::fleet::{Fleet, Status};
use crate::upgrade::Gate;

/// Says it.
pub(super) async fn run(
    plan: &PlanFile,
    rollback: bool,
    lines: &[Line],
    fleet: &mut Fleet,
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
    println!("{} of {} sidecars answer", says.len(), seen.len());
    for sidecar in &silent {
        println!("  {} doesn't: {}", sidecar.name, sidecar.said.as_ref().err().map_or("", String::as_str));
    }
    if says.is_empty() {
        return Halt::new(Exit::Silent, "no sidecar answers");
    }
    if progress.finalized {
        println!("the journal says that everything is done");
    } else if !lines.is_empty() {
        println!("the journal goes on: done {}", joined(&progress.done));
    }
    let of: Vec<String> = says.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut left: Vec<String> = match progress.direction {
        Direction::Forward => plan.members.iter().map(|member| member.id.clone()).collect(),
        Direction::Back => progress.going_back.clone(),
    };
    left.retain(|id| !progress.done.contains(id));
    let last = leads(plan, &says);
    left.sort_by_key(|id| Some(id.as_str()) == last);
    for member in &left {
        println!("{}", of_member(plan, &progress, member, &says));
        if last == Some(member.as_str()) {
            println!("  it leads the cluster, and comes last");
        }
        let want = Want { gate: Gate::Stop, member: Some(member.clone()), of: of.clone() };
        let answers = gate(&fleet.client, plan, &want).await;
        let merged = Asked { want, answers }.merged();
        if merged.ok_to_drain {
            println!("  gate stop: it could be drained now");
        }
        for reason in &merged.reasons {
            let many = reason.sidecars.len();
            println!("  gate stop: {}: {} ({many} sidecars)", reason.reason.code, reason.reason.detail);
        }
        if plan.move_leaders && plan.protocol == Protocol::Kafka {
            match leaders.orders_of(member).await {
                Ok(orders) => {
                    println!("  leaders of {} partitions would be moved away, and back", orders.len());
                }
                Err(why) => println!("  leaders can't be looked up: {why}"),
            }
        }
        println!(
            "  clients would leave it, then: {}",
            plan.command(progress.direction).unwrap_or("(no command)")
        );
        println!("  then all must be well for {} s", plan.stable_s);
    }
    let end = match (progress.direction, plan.raise_features, &plan.finalize_command) {
        (Direction::Forward, true, _) => "metadata.version would be raised".to_owned(),
        (Direction::Forward, _, Some(command)) => command.clone(),
        _ => "sidecars are told".to_owned(),
    };
    println!("at the end, {} s after the last member is back: {end}", plan.soak_s);
    if silent.is_empty() {
        Halt::new(Exit::Done, "nothing was changed")
    } else {
        Halt::new(Exit::Silent, "a sidecar is silent; nothing was changed")
    }
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
