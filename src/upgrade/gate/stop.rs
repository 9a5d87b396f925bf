//! `stop`: nobody would feel it, and the others carry on without it.

use super::common::{client_versions, member, name};
use super::{Code, Question, Verdict, some_of};
use crate::upgrade::facts::{Cluster, DrainState, Kafka, Member, Mode, Quorum, Reach, ZooKeeper};

pub(super) fn answer(ask: Question<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(member) = member(&mut verdict, &ask) {
        clients(&mut verdict, member);
        others(&mut verdict, &ask, member);
    }
    let hold = ask.facts.hold;
    if hold.bytes >= hold.limit.div_ceil(2) {
        verdict.because(Code::HoldBuffers, format!("{} of {} bytes are held", hold.bytes, hold.limit));
    }
    if verdict.fresh(ask.facts)
        && let Some(id) = ask.member
    {
        match &ask.facts.cluster {
            Cluster::Kafka(kafka) => {
                if let Some(kafka) = verdict.known(kafka, Code::FactsUnknown) {
                    of_kafka(&mut verdict, &ask, kafka, id);
                }
            }
            Cluster::ZooKeeper(ensemble) => {
                if let Some(ensemble) = verdict.known(ensemble, Code::FactsUnknown) {
                    of_zookeeper(&mut verdict, &ask, ensemble, id);
                }
            }
        }
    }
    verdict
}

/// Nothing of a client's is there, and nothing will be sent there.
fn clients(verdict: &mut Verdict, member: &Member) {
    match member.drain {
        DrainState::Drained => {}
        DrainState::Off => verdict.because(Code::NotDrained, format!("{} is not being drained", member.id)),
        DrainState::Draining { left } => {
            verdict.because(Code::NotDrained, format!("{} is draining: {left} left", member.id));
        }
        DrainState::Expired => verdict.because(
            Code::DrainExpired,
            format!("{} was drained and not stopped in time: clients use it again", member.id),
        ),
    }
    // Who can't be reached has nothing of anybody's.
    if matches!(member.reach, Reach::Down(_)) {
        return;
    }
    if member.in_flight > 0 {
        verdict
            .because(Code::InFlight, format!("{} requests are under way to {}", member.in_flight, member.id));
    }
    if member.sessions > 0 && member.drain != DrainState::Drained {
        verdict.because(Code::SessionsLeft, format!("{} sessions are on {}", member.sessions, member.id));
    }
}

/// No other member is away, but those of the same zone within `max_unavailable`.
fn others(verdict: &mut Verdict, ask: &Question<'_>, member: &Member) {
    let zone = |id: &str| {
        let planned = ask.plan.member(id).and_then(|planned| planned.zone.clone());
        planned.or_else(|| ask.facts.member(id).and_then(|member| member.zone.clone()))
    };
    let own = zone(&member.id);
    let others = || ask.facts.members.iter().filter(|other| other.id != member.id);
    let down = others().filter(|other| !matches!(other.reach, Reach::Up)).map(|other| other.id.clone());
    let missing = ask.plan.members.iter().filter(|planned| ask.facts.member(&planned.id).is_none());
    let missing = missing.filter(|planned| planned.id != member.id).map(|planned| planned.id.clone());
    let down: Vec<String> = down.chain(missing).collect();
    let draining = others()
        .filter(|other| matches!(other.reach, Reach::Up))
        .filter(|other| matches!(other.drain, DrainState::Draining { .. } | DrainState::Drained));
    let draining: Vec<String> = draining.map(|other| other.id.clone()).collect();
    let away = down.len() + draining.len();
    let same_zone = |id: &String| own.is_some() && zone(id) == own;
    if away < ask.plan.max_unavailable && down.iter().chain(&draining).all(same_zone) {
        return;
    }
    for (code, who) in [(Code::AnotherDown, &down), (Code::AnotherDraining, &draining)] {
        if !who.is_empty() {
            let limit = ask.plan.max_unavailable;
            verdict.because(code, format!("{} (max_unavailable {limit}, one zone)", some_of(who)));
        }
    }
}

fn of_kafka(verdict: &mut Verdict, ask: &Question<'_>, kafka: &Kafka, id: &str) {
    let Ok(node) = id.parse::<i32>() else {
        verdict.because(Code::MemberUnknown, format!("{id} is no node id"));
        return;
    };
    partitions(verdict, ask, kafka, node);
    match verdict.known(&kafka.quorum, Code::QuorumUnknown) {
        Some(Quorum::Raft { leader, voters }) => {
            controller(verdict, ask, *leader, id);
            if voters.iter().any(|voter| voter.id == node) {
                let others = voters.iter().filter(|voter| voter.id != node && voter.caught_up).count();
                let needed = voters.len() / 2 + 1;
                if others < needed {
                    // One or two can never be a majority without one of them.
                    let allowed = ask.plan.allow_outage && voters.len() <= 2;
                    let text = format!(
                        "{others} other voters are caught up, of {} at least {needed} must be",
                        voters.len()
                    );
                    verdict.unless_allowed(allowed, Code::Quorum, text);
                }
            }
        }
        Some(Quorum::ZooKeeper { controller: leader }) => controller(verdict, ask, *leader, id),
        None => {}
    }
    let target = ask.plan.member(id).and_then(|planned| planned.to.as_deref());
    client_versions(verdict, kafka, target);
    if let Some(moved) = verdict.known(&kafka.reassigning, Code::ReassigningUnknown)
        && !moved.is_empty()
    {
        verdict.because(Code::Reassigning, some_of(moved));
    }
}

fn partitions(verdict: &mut Verdict, ask: &Question<'_>, kafka: &Kafka, node: i32) {
    let Some(partitions) = verdict.known(&kafka.partitions, Code::PartitionsUnknown) else { return };
    let (mut short, mut never, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for partition in partitions.iter().filter(|partition| partition.isr.contains(&node)) {
        let Some(min) = partition.min_isr else {
            unknown.push(name(partition));
            continue;
        };
        let (left, min) = (partition.isr.len() - 1, min.max(1));
        let text = || format!("{} ({left} would be in sync, {min} must be)", name(partition));
        // With all its replicas in sync it would be the same.
        if partition.replicas.len() <= min {
            never.push(text());
        } else if left < min {
            short.push(text());
        }
    }
    if !unknown.is_empty() {
        let text = format!("min.insync.replicas is not known of {}", some_of(&unknown));
        verdict.because(Code::PartitionsUnknown, text);
    }
    if !short.is_empty() {
        verdict.because(Code::MinIsr, some_of(&short));
    }
    if !never.is_empty() {
        verdict.unless_allowed(ask.plan.allow_outage, Code::TooFewReplicas, some_of(&never));
    }
}

fn controller(verdict: &mut Verdict, ask: &Question<'_>, leader: i32, id: &str) {
    if leader < 0 {
        verdict.because(Code::QuorumUnknown, "there is no active controller");
    } else if leader.to_string() == id {
        last(verdict, ask, Code::ControllerLast, id, "is the active controller");
    }
}

/// Who leads has its turn after all others.
fn last(verdict: &mut Verdict, ask: &Question<'_>, code: Code, id: &str, what: &str) {
    let left: Vec<String> = ask.left.iter().filter(|other| *other != id).cloned().collect();
    if !left.is_empty() {
        verdict.because(code, format!("{id} {what}, and others are left: {}", some_of(&left)));
    }
}

fn of_zookeeper(verdict: &mut Verdict, ask: &Question<'_>, ensemble: &ZooKeeper, id: &str) {
    let mode = ensemble.modes.iter().find(|(server, _)| server == id).map(|(_, mode)| mode);
    let mode = match mode {
        Some(Ok(mode)) => Some(*mode),
        Some(Err(why)) => {
            // One that doesn't answer takes nobody with it.
            let down = ask.facts.member(id).is_some_and(|member| matches!(member.reach, Reach::Down(_)));
            if !down {
                verdict.because(Code::QuorumUnknown, why.clone());
            }
            None
        }
        None => None,
    };
    if mode == Some(Mode::Leader) {
        last(verdict, ask, Code::LeaderLast, id, "leads the ensemble");
    }
    if mode == Some(Mode::Observer) {
        return; // it has no vote
    }
    let Some(voters) = verdict.known(&ensemble.voters, Code::QuorumUnknown) else { return };
    let needed = voters / 2 + 1;
    if voters - 1 < needed {
        let text = format!("{voters} servers vote, and {needed} must be there");
        verdict.unless_allowed(ask.plan.allow_outage, Code::Quorum, text);
        return;
    }
    let Some(synced) = verdict.known(&ensemble.synced_followers, Code::QuorumUnknown) else { return };
    // The leader and those in sync with it, without this one.
    let gone = usize::from(matches!(mode, Some(Mode::Leader | Mode::Follower)));
    let left = (synced + 1).saturating_sub(gone);
    if left < needed {
        verdict.because(
            Code::Quorum,
            format!("{left} of {voters} voters would be there and in sync, {needed} must be"),
        );
    }
}
