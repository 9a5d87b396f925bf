//! `next`: the member is back, and all is as it was before, for some time.

use super::common::{member, name, reach, version};
use super::{Code, Question, Verdict, some_of};
use crate::upgrade::facts::{Cluster, Kafka, Mode, Partition, ZooKeeper};
use std::time::Duration;

/// Errors of clients are looked at so far back.
const ERRORS: Duration = Duration::from_secs(60);

pub(super) fn answer(ask: Question<'_>) -> Verdict {
    let mut verdict = now(ask);
    let wanted = Duration::from_secs(ask.plan.stable_s);
    if ask.stable_for < wanted && verdict.is_open() {
        let text = format!("all has been well for {} s of {}", ask.stable_for.as_secs(), ask.plan.stable_s);
        verdict.because(Code::NotStable, text);
    }
    verdict
}

/// All but time.
pub(super) fn now(ask: Question<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(member) = member(&mut verdict, &ask) {
        reach(&mut verdict, member);
        if verdict.known(&member.listed, Code::NotListed) == Some(&false) {
            verdict.because(Code::NotListed, format!("the cluster doesn't list {}", member.id));
        }
        if let Some(planned) = ask.plan.member(&member.id) {
            version(&mut verdict, member, planned);
        }
    }
    if ask.facts.hold.waiting > 0 {
        verdict.because(Code::Held, format!("{} requests wait", ask.facts.hold.waiting));
    }
    let window = ERRORS.min(Duration::from_secs(ask.plan.stable_s));
    if let Some((count, usual)) = ask.errors.above_baseline(window, ask.now) {
        let text = format!("{count} in the last {} s, {usual} are usual", window.as_secs());
        verdict.because(Code::ClientErrors, text);
    }
    if !verdict.fresh(ask.facts) {
        return verdict;
    }
    match &ask.facts.cluster {
        Cluster::Kafka(kafka) => {
            if let Some(kafka) = verdict.known(kafka, Code::FactsUnknown) {
                of_kafka(&mut verdict, &ask, kafka);
            }
        }
        Cluster::ZooKeeper(ensemble) => {
            if let Some(ensemble) = verdict.known(ensemble, Code::FactsUnknown) {
                of_zookeeper(&mut verdict, ensemble);
            }
        }
    }
    verdict
}

fn of_kafka(verdict: &mut Verdict, ask: &Question<'_>, kafka: &Kafka) {
    if let Some(partitions) = verdict.known(&kafka.partitions, Code::PartitionsUnknown) {
        let those = |which: &dyn Fn(&Partition) -> bool| -> Vec<String> {
            partitions.iter().filter(|partition| which(partition)).map(name).collect()
        };
        let node = ask.member.and_then(|id| id.parse::<i32>().ok());
        let own = |partition: &Partition| {
            node.is_some_and(|node| partition.replicas.contains(&node) && !partition.isr.contains(&node))
        };
        let short = |partition: &Partition| partition.isr.len() < partition.replicas.len();
        let mut lists = vec![
            (Code::Offline, those(&|partition| partition.leader < 0)),
            (Code::NotInSync, those(&own)),
            (Code::UnderReplicated, those(&|partition| short(partition) && !own(partition))),
        ];
        if ask.plan.preferred_leaders {
            let away = |p: &Partition| p.leader >= 0 && p.replicas.first() != Some(&p.leader);
            lists.push((Code::PreferredLeaders, those(&away)));
        }
        for (code, list) in lists {
            if !list.is_empty() {
                verdict.because(code, format!("{}: {}", list.len(), some_of(&list)));
            }
        }
    }
    if let Some(loading) = verdict.known(&kafka.loading, Code::GroupsUnknown)
        && !loading.is_empty()
    {
        let who: Vec<String> = loading.iter().map(ToString::to_string).collect();
        verdict.because(Code::CoordinatorLoading, some_of(&who));
    }
    if let Some(groups) = verdict.known(&kafka.rebalancing, Code::GroupsUnknown)
        && !groups.is_empty()
    {
        verdict.because(Code::Rebalancing, some_of(groups));
    }
}

fn of_zookeeper(verdict: &mut Verdict, ensemble: &ZooKeeper) {
    if !ensemble.modes.iter().any(|(_, mode)| *mode == Ok(Mode::Leader)) {
        verdict.because(Code::NoLeader, "no server says that it leads");
        return;
    }
    if let (Some(voters), Some(synced)) = (
        verdict.known(&ensemble.voters, Code::SyncUnknown),
        verdict.known(&ensemble.synced_followers, Code::SyncUnknown),
    ) && synced + 1 < *voters
    {
        let text = format!("{synced} of {} followers are in sync", voters.saturating_sub(1));
        verdict.because(Code::NotSynced, text);
    }
    if let Some(pending) = verdict.known(&ensemble.pending_syncs, Code::SyncUnknown)
        && *pending > 0
    {
        verdict.because(Code::PendingSyncs, format!("{pending} wait at the leader"));
    }
}
