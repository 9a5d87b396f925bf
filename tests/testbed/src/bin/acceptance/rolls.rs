//! Rolls of all brokers under several client libraries.

use std::fmt::Write as _;

use testbed::python::PythonClient;
use testbed::scene::{Writer, unbalanced};
use testbed::{
    Cluster, KafkaVersion, Library, Load, ProducerSpec, Report, Result, Roll, Scene, Sidecar, Spec,
};

use super::{Bench, Finding};

const ROLLS: usize = 3;

/// The producers, each at 200 records a second: Java's own and beside it, where Python runs them,
/// two others. All write to one topic.
pub(super) fn producers(bench: &Bench) -> Vec<ProducerSpec> {
    let mut all = vec![Load::java("java")];
    all.extend(python_producers(bench));
    all
}

/// The producers of Python libraries, where Python runs them.
pub(super) fn python_producers(bench: &Bench) -> Vec<ProducerSpec> {
    let mut all = Vec::new();
    for (id, client) in
        [("confluent-kafka", PythonClient::Confluent), ("kafka-python-2.0.2", PythonClient::KafkaPython202)]
    {
        match client.unavailable() {
            None => all.push(Load::java(id).library(Library::Python(client))),
            Some(why) => bench.say(&format!("{id}: {why}")),
        }
    }
    all
}

/// Planned rolls.
pub(super) fn soft(bench: &Bench, version: KafkaVersion) -> Result<Finding> {
    let (report, scene) = rolled(bench, version, Roll::Soft, ROLLS)?;
    let mut breaches = report.breaches_of_planned();
    breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    Ok(Finding { figures: figures(&report, &scene)?, breaches })
}

/// A roll without warning: what became of records must be told truthfully, but not each of them can be saved.
pub(super) fn hard(bench: &Bench, version: KafkaVersion) -> Result<Finding> {
    let (report, scene) = rolled(bench, version, Roll::Hard, 1)?;
    let mut breaches = report.breaches();
    breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    Ok(Finding { figures: figures(&report, &scene)?, breaches })
}

fn rolled(bench: &Bench, version: KafkaVersion, how: Roll, rolls: usize) -> Result<(Report, Scene)> {
    let mut scene = Scene::start(Spec::new(version), &bench.binary)?;
    let through = scene.front.listen.to_string();
    let mut load = Load::start(&mut scene.cluster, "rolled", &through, &producers(bench))?;
    for roll in 1..=rolls {
        bench.say(&format!("roll {roll} of {rolls}, {how:?}"));
        once(&mut load, &mut scene.cluster, how)?;
    }
    Ok((load.finish(&mut scene.cluster)?, scene))
}

/// One roll.
pub(super) fn once(load: &mut Load, cluster: &mut Cluster, how: Roll) -> Result<()> {
    load.roll(cluster, how)?;
    load.go_on()?;
    // Every broker leads something again, so that each stop of the next roll matters.
    cluster.admin().elect_preferred()?;
    load.go_on()
}

/// The report as Markdown.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::from(
        "| producer | sent | errors after each stop | of which unknown | of which in the log | lost | repeated | out of order \
         | longest pause | of one partition | slowest success |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Writer { verdict, errors_by_stop, history } in &report.writers {
        let errors: Vec<String> = errors_by_stop.iter().skip(1).map(usize::to_string).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} = {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            history.producer,
            verdict.sent,
            errors.join(" + "),
            verdict.errors,
            verdict.unknown,
            verdict.errors_in_log,
            verdict.lost.len(),
            verdict.repeated.len(),
            verdict.reordered.len(),
            seconds(verdict.longest_pause_us),
            seconds(verdict.longest_partition_pause_us),
            seconds(verdict.max_latency_us),
        );
    }
    let others = report.others.iter().map(|(id, consumer)| (id.as_str(), consumer));
    for (id, consumer) in std::iter::once(("Java", &report.consumer)).chain(others) {
        let _ = writeln!(
            text,
            "\nConsumer group ({id}): {} delivered, {} missed, {} twice, {} rebalances beyond the start, {} failed calls, {} commits.",
            consumer.delivered,
            consumer.missed.len(),
            consumer.twice.len(),
            consumer.rebalances,
            consumer.errors.values().sum::<usize>(),
            consumer.commits,
        );
    }
    text
}

pub(super) fn figures(report: &Report, scene: &Scene) -> Result<String> {
    figures_of(report, &scene.sidecar)
}

/// The report as Markdown, and the account of the sidecar that its clients used.
pub(super) fn figures_of(report: &Report, sidecar: &Sidecar) -> Result<String> {
    let sum = |name: &str, label: &str| sidecar.metric_sum(&format!("evenkeel_{name}"), &[label]);
    Ok(format!(
        "{}\nEvenkeel's own account: {} errors masked, {} requests held ({} past their bound), {} replays, {} unknown outcomes \
         told to clients.\n",
        table(report),
        sum("masked_errors_total", "")?,
        sum("hold_started_total", "")?,
        sum("hold_ended_total", "reason=\"expired\"")?,
        sum("replays_total", "")?,
        sum("unknown_outcomes_total", "action=\"error\"")?,
    ))
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
