//! Leaders are killed under load, again and again.

use testbed::scene::unbalanced;
use testbed::stories::{Kill, kills};
use testbed::{Report, Result, Spec};

use super::{Bench, Finding, rolls};

/// Records a second of each producer: half of what others carry. Every kill stops all partitions for about half of the time to
/// the next one, and three brokers on two cores have to make up for that.
const RATE: f64 = 100.0;
/// What Evenkeel may add to the stall that the best client has, in microseconds, in the median.
const SHARE: i64 = 50_000;

pub(super) fn run(bench: &Bench, spec: Spec, count: usize) -> Result<Finding> {
    let told = format!(
        "Kafka {}, session time-out {}, {count} kills; each producer sends {RATE} records a second.",
        spec.version,
        spec.session.text()
    );
    let mut producers = rolls::producers(bench);
    for producer in &mut producers {
        producer.rate = RATE;
    }
    let done = kills(spec, &bench.binary, &producers, count, |text| bench.say(text))?;
    let mut breaches = done.breaches();
    // Errors as well: each outage is shorter than what is held for any of these clients.
    breaches.extend(done.report.iter().flat_map(Report::breaches));
    for writer in done.report.iter().flat_map(|report| &report.writers).filter(|w| w.verdict.errors > 0) {
        breaches.push(format!(
            "{}: {} errors {:?}",
            writer.history.producer, writer.verdict.errors, writer.verdict.by_class
        ));
    }
    breaches.extend(unbalanced(&done.scene.sidecar, &done.scene.cluster.ids())?);
    let [median, most, longest] = done.shares();
    if median > SHARE {
        breaches.push(format!("Evenkeel's share of a stall is {} ms in the median", median / 1000));
    }
    let within = done.kills.iter().filter(|kill| kill.share_us() <= SHARE).count();
    let row = |kill: &Kill| {
        format!(
            "{}: {} − {} = {}",
            kill.broker,
            kill.plain_us / 1000,
            kill.ideal_us / 1000,
            kill.share_us() / 1000
        )
    };
    let rows: Vec<String> = done.kills.iter().map(row).collect();
    let stalls = done.kills.iter().map(|kill| kill.ideal_us);
    let figures = format!(
        "{told} Stalls: the longest time without a success in a partition, of a writer that sends each record once through Evenkeel, minus that \
         of an ideal one beside it, which asks all brokers for the new leader every 5 ms and retries at once. Evenkeel's share: \
         **{} ms** in the median, {} ms at 95 %, {} ms at most; at most {} ms in {within} of {count} kills. The ideal writer's own \
         stalls: {} to {} ms.\n\nBy broker, in ms: {}.\n\n{}",
        median / 1000,
        most / 1000,
        longest / 1000,
        SHARE / 1000,
        stalls.clone().min().unwrap_or(0) / 1000,
        stalls.max().unwrap_or(0) / 1000,
        rows.join("; "),
        done.report
            .as_ref()
            .map(|report| rolls::figures(report, &done.scene))
            .transpose()?
            .unwrap_or_default(),
    );
    Ok(Finding { figures, breaches })
}
