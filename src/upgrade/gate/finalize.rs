//! `finalize`: every member has the new version, none is missing, and nobody needs the old one.

use super::common::{client_versions, reach, version};
use super::{Code, Question, Reason, Verdict, some_of};
use crate::upgrade::facts::{Cluster, ZooKeeper};
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
    // Where versions tell, they have spoken. One member alone may stand for all: a plan has one at least, also when nobody is left.
    let untold = |reason: &Reason| matches!(reason.code, Code::NotAtTarget | Code::VersionUnknown);
    if ask.plan.members.len() > 1 && !verdict.reasons.iter().any(untold) {
        let left = ask.left.iter().filter(|id| listed.iter().any(|member| member.id == **id));
        let left: Vec<String> = left.cloned().collect();
        if !left.is_empty() {
            verdict.because(Code::TurnsLeft, some_of(&left));
        }
    }
    soak(&mut verdict, &ask);
    if verdict.fresh(ask.facts)
        && let Cluster::Kafka(kafka) = &ask.facts.cluster
        && let Some(kafka) = verdict.known(kafka, Code::FactsUnknown)
    {
        verdict.known(&kafka.upgrade_check, Code::FeaturesRefused);
        client_versions(&mut verdict, kafka, target.as_deref());
    } else if let Cluster::ZooKeeper(ensemble) = &ask.facts.cluster
        && let Some(ensemble) = verdict.known(ensemble, Code::FactsUnknown)
    {
        of_zookeeper(&mut verdict, &ask, ensemble);
    }
    verdict
}

/// Listed here is who stands in the configuration: the ensemble itself says whether it has more. Observers are no voters, so that it may say fewer.
fn of_zookeeper(verdict: &mut Verdict, ask: &Question<'_>, ensemble: &ZooKeeper) {
    if let Some(voters) = verdict.known(&ensemble.voters, Code::FactsUnknown)
        && let Some(size) = ask.plan.size()
        && *voters > size
    {
        verdict.because(Code::ClusterSize, format!("{voters} servers vote, the plan names {size}"));
    }
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
