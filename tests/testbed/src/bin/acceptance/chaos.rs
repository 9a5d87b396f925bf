//! Chaos of six seeds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use testbed::KafkaVersion;
use testbed::chaos::checker::Writes;
use testbed::chaos::{Events, Order, Size, prove};

use super::{Bench, Finding};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
const LASTS: Duration = Duration::from_secs(240);

pub(super) fn run(bench: &Bench) -> Finding {
    let mut finding = Finding::default();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    finding.figures.push_str(
        "| seed | events | left out | sent | errors: soft | hard | excused | elsewhere | lost | repeated | out of order | \
         longest stall of one partition | longest beyond the cluster's own outage | readers: missed | twice | rebalances |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for seed in SEEDS {
        let order = Order {
            seed,
            lasts: LASTS,
            version: KafkaVersion::V3_9_2,
            events: Events::All,
            size: Size::Full,
            binary: bench.binary.clone(),
            log: "info".to_owned(),
        };
        // Of a seed that can't be carried through the others still have their say.
        let outcome = match prove(&order, false, &|text| bench.say(text)) {
            Ok(outcome) => outcome,
            Err(error) => {
                finding.breaches.push(format!("seed {seed} could not be carried through: {error}"));
                continue;
            }
        };
        let (events, verdict) = (&outcome.run.events, &outcome.verdict);
        for event in events.iter().filter(|event| event.skipped.is_none()) {
            // What was done, without to whom.
            let what = event.what.split([',', '(']).next().unwrap_or_default();
            let kind = what.split(" of the ").next().unwrap_or_default().trim().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
        let left_out = events.iter().filter(|event| event.skipped.is_some()).count();
        let sum = |of: fn(&Writes) -> usize| verdict.writes.iter().map(of).sum::<usize>();
        let most = |of: fn(&Writes) -> i64| verdict.writes.iter().map(of).max().unwrap_or(0);
        let readers = verdict.readers.iter().fold((0, 0, 0), |all, group| {
            (all.0 + group.missed, all.1 + group.twice, all.2 + group.rebalances)
        });
        let _ = writeln!(
            finding.figures,
            "| {seed} | {} | {left_out} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            events.len() - left_out,
            sum(|w| w.sent),
            sum(|w| w.soft_errors),
            sum(|w| w.hard_errors),
            sum(|w| w.excused),
            sum(|w| w.other_errors),
            sum(|w| w.lost),
            sum(|w| w.repeated),
            sum(|w| w.reordered),
            seconds(most(|w| w.stall_us)),
            seconds(most(|w| w.excess_us)),
            readers.0,
            readers.1,
            readers.2,
        );
        let broken = verdict.breaches.iter().map(|breach| format!("seed {seed}: {breach}"));
        finding.breaches.extend(broken);
        if !verdict.breaches.is_empty() {
            finding.breaches.push(format!("seed {seed} is replayed by `{}`", order.replay()));
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let _ = writeln!(
        finding.figures,
        "\nEach seed: events for 4 minutes, Kafka 3.9.2, three brokers, replication factor 3, `min.insync.replicas` 2. Producers with \
         `acks=all` and without retries: Java, kafka-python 2.0.2 and confluent-kafka, two of each; readers: a group of two Java \
         consumers and one of kafka-python. An error at a hard event is excused where its partition could not take writes \
         for longer than the 20 s for which a request is held. Done: {}.",
        kinds.join(", ")
    );
    finding
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
