//! `rollback`: nothing was finalized that the version before doesn't know, or that can be taken back without a loss.

use super::{Code, Question, Verdict};
use crate::upgrade::facts::{Cluster, Kafka};
use crate::upgrade::version::kafka_level;

pub(super) fn answer(ask: Question<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    if ask.plan.members.is_empty() {
        verdict.because(Code::NoPlan, "no plan lives that names the version before");
    }
    match &ask.facts.cluster {
        Cluster::Kafka(kafka) => {
            if verdict.fresh(ask.facts)
                && let Some(kafka) = verdict.known(kafka, Code::FactsUnknown)
            {
                of_kafka(&mut verdict, &ask, kafka);
            }
        }
        // An ensemble has no features that are finalized: what the controller said is all there is.
        Cluster::ZooKeeper(_) => {
            if ask.finalized {
                verdict.because(Code::Finalized, "the plan has been finalized");
            }
        }
    }
    verdict
}

fn of_kafka(verdict: &mut Verdict, ask: &Question<'_>, kafka: &Kafka) {
    let Some(level) = verdict.known(&kafka.finalized, Code::FinalizedUnknown) else { return };
    let from: Vec<&str> = ask.plan.members.iter().filter_map(|member| member.from.as_deref()).collect();
    if from.is_empty() && !ask.plan.members.is_empty() {
        verdict.because(Code::FinalizedUnknown, "the plan doesn't say which version members come from");
    }
    let levels: Option<Vec<i16>> = from.iter().map(|version| kafka_level(version)).collect();
    match levels.map(|levels| levels.into_iter().min()) {
        Some(Some(before)) if *level > before => match &kafka.downgrade_check {
            Ok(()) => {}
            Err(why) => verdict.because(
                Code::Finalized,
                format!(
                    "metadata.version is at {level}, the version before knows {before}; a downgrade: {why}"
                ),
            ),
        },
        Some(_) => {}
        None => verdict
            .because(Code::FinalizedUnknown, format!("the levels of {} are not known here", from.join(", "))),
    }
}
