//! `finalize`: every member has the new version, none is missing, and nobody needs the old one.

use super::common::{client_versions, reach, version};
use super::{Code, Question, Verdict};
use crate::upgrade::facts::Cluster;
use crate::upgrade::plan::PlanMember;
use std::time::Duration;

pub(super) fn answer(ask: Question<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let listed: Vec<_> = ask.facts.members.iter().filter(|member| member.listed == Ok(true)).collect();
    match ask.plan.size() {
        None => verdict.because(Code::NoPlan, "no plan lives that names the cluster's size"),
        Some(size) if size != listed.len() => {
            verdict.because(
                Code::ClusterSize,
                format!("{} members are listed, the plan names {size}", listed.len()),
            );
        }
        Some(_) => {}
    }
    // Members that the plan leaves out had their turn before: they are to have the same version.
    let target = ask.plan.members.iter().find_map(|planned| planned.to.clone());
    for member in &listed {
        reach(&mut verdict, member);
        let left_out = PlanMember { to: target.clone(), ..PlanMember::default() };
        version(&mut verdict, member, ask.plan.member(&member.id).unwrap_or(&left_out));
    }
    for planned in &ask.plan.members {
        if !listed.iter().any(|member| member.id == planned.id) {
            verdict.because(Code::NotListed, format!("the cluster doesn't list {}", planned.id));
        }
    }
    soak(&mut verdict, &ask);
    if verdict.fresh(ask.facts)
        && let Cluster::Kafka(kafka) = &ask.facts.cluster
        && let Some(kafka) = verdict.known(kafka, Code::FactsUnknown)
    {
        verdict.known(&kafka.upgrade_check, Code::FeaturesRefused);
        client_versions(&mut verdict, kafka, target.as_deref());
    } else if let Cluster::ZooKeeper(ensemble) = &ask.facts.cluster {
        verdict.known(ensemble, Code::FactsUnknown);
    }
    verdict
}

fn soak(verdict: &mut Verdict, ask: &Question<'_>) {
    let wanted = Duration::from_secs(ask.plan.soak_s);
    if wanted.is_zero() {
        return;
    }
    match ask.all_back {
        None => verdict.because(Code::Soaking, "not all members are back"),
        Some(since) => {
            let lasts = ask.now.saturating_duration_since(since);
            if lasts < wanted {
                let text = format!("all are back for {} s of {}", lasts.as_secs(), ask.plan.soak_s);
                verdict.because(Code::Soaking, text);
            }
        }
    }
}
