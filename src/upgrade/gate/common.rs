//! What several gates ask.

use super::{Code, Question, Verdict, some_of};
use crate::upgrade::facts::{Kafka, Member, Reach};
use crate::upgrade::plan::PlanMember;
use crate::upgrade::version::{is_same, line};

/// Clients that break when this member has its new version, or that broke already.
pub(super) fn client_versions(verdict: &mut Verdict, kafka: &Kafka, target: Option<&str>) {
    let to_4 = target.and_then(line).is_some_and(|line| line >= (4, 0));
    let broken: Vec<String> = kafka
        .dropped
        .iter()
        .filter(|row| (to_4 && !row.in_kafka_4) || !row.members.is_empty())
        .map(|row| {
            let text = format!("{} ({}) uses {} v{}", row.client, row.library, row.api, row.version);
            if row.members.is_empty() {
                return text;
            }
            format!("{text}, which {} does not speak", row.members.join(" and "))
        })
        .collect();
    if !broken.is_empty() {
        verdict.because(Code::ClientVersions, some_of(&broken));
    }
}

/// Whether a member can be reached and is who was meant.
pub(super) fn reach(verdict: &mut Verdict, member: &Member) {
    let who = format!("{} ({})", member.id, member.address);
    match &member.reach {
        Reach::Up => {}
        Reach::Untried => verdict.because(Code::Unreachable, format!("{who} was not tried yet")),
        Reach::Down(why) => verdict.because(Code::Unreachable, format!("{who}: {why}")),
        Reach::Wrong(why) => verdict.because(Code::WrongMember, format!("{who}: {why}")),
    }
}

/// Whether a member has the version that its plan names.
pub(super) fn version(verdict: &mut Verdict, member: &Member, planned: &PlanMember) {
    let Some(wanted) = &planned.to else { return };
    let Some(told) = verdict.known(&member.version, Code::VersionUnknown) else { return };
    match is_same(told, wanted) {
        Some(true) => {}
        Some(false) => {
            verdict.because(Code::NotAtTarget, format!("{} has {told}, and is to have {wanted}", member.id));
        }
        None => verdict.because(Code::VersionUnknown, format!("{} says {told:?}", member.id)),
    }
}

/// The member that is asked about.
pub(super) fn member<'a>(verdict: &mut Verdict, ask: &Question<'a>) -> Option<&'a Member> {
    let Some(id) = ask.member else {
        verdict.because(Code::MemberMissing, "this gate is asked for a member: member=ID");
        return None;
    };
    let found = ask.facts.member(id);
    if found.is_none() {
        verdict.because(Code::MemberUnknown, format!("no member {id} is known here"));
    }
    found
}

/// `topic-3`.
pub(super) fn name(partition: &crate::upgrade::facts::Partition) -> String {
    format!("{}-{}", partition.topic, partition.index)
}
