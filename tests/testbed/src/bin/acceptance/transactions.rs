//! Exactly-once copies: read, process, write, in transactions.

use std::fmt::Write as _;

use testbed::copies::{CopyProgram, difference};
use testbed::python::PythonClient;
use testbed::scene::{PARTITIONS, unbalanced};
use testbed::{KafkaVersion, Library, Load, Result, Roll, Scene, Spec, cache, wait};

use super::{Bench, Finding, PATIENCE};

pub(super) fn run(bench: &Bench, version: KafkaVersion) -> Result<Finding> {
    let mut scene = Scene::start(Spec::new(version), &bench.binary)?;
    let through = scene.front.listen.to_string();
    let mut load = Load::start(&mut scene.cluster, "original", &through, &[Load::java("java")])?;
    let level = scene.cluster.admin().feature("transaction.version")?;
    let newer = version >= KafkaVersion::V4_3_1;
    let mut finding = Finding::default();
    // The library and the broker agree on the protocol: version 2 where both have it.
    let jars = if newer { cache::CLIENTS_4_3_1 } else { cache::CLIENTS_3_9_2 };
    if newer && level < 2 {
        finding.breaches.push(format!("transaction.version is {level}, so this run doesn't show version 2"));
    }
    let mut libraries = vec![("copy-java", Library::Java(jars))];
    match PythonClient::Confluent.unavailable() {
        None => libraries.push(("copy-librdkafka", Library::Python(PythonClient::Confluent))),
        Some(why) => bench.say(&why),
    }
    let mut copies = Vec::new();
    for (id, library) in libraries {
        scene.cluster.create_topic(id, PARTITIONS, 3, &[])?;
        copies.push(CopyProgram::start(id, library, &through, load.topic(), id)?);
    }
    for copy in &copies {
        copy.go_on(PATIENCE)?;
    }

    let mut failures = Vec::new();
    for how in [Roll::Soft, Roll::Hard] {
        bench.say(&format!("Kafka {version}, transaction.version {level}: {how:?} roll"));
        load.roll(&mut scene.cluster, how)?;
        load.go_on()?;
        for copy in &copies {
            copy.go_on(PATIENCE)?;
        }
        failures.push(copies.iter().map(CopyProgram::failures).collect::<Vec<_>>());
        scene.cluster.admin().elect_preferred()?;
    }

    let report = load.finish(&mut scene.cluster)?;
    let input = scene.cluster.admin().read_committed("original")?;
    let ends = scene.cluster.admin().offsets("original")?;
    finding.breaches.extend(report.breaches());
    let _ = writeln!(
        finding.figures,
        "Kafka {version}, `transaction.version` {level}, a soft and a hard roll. {} records in.\n\n| copy | transactions | slowest | \
         failures in the soft roll | in the hard roll | records out | equal, in order |\n|---|---|---|---|---|---|---|",
        input.len(),
    );
    for (number, copy) in copies.into_iter().enumerate() {
        let id = copy.id().to_owned();
        // What is not copied by then shows as a difference.
        let done = wait::poll("all to be copied", PATIENCE, std::time::Duration::from_millis(200), || {
            let committed = scene.cluster.admin().committed(&id)?;
            let at_end = |&(partition, _, end): &(i32, i64, i64)| {
                end == 0 || committed.contains(&(format!("original-{partition}"), end))
            };
            Ok(ends.iter().all(at_end).then_some(()))
        });
        let (count, slowest) = copy.transactions();
        let all = copy.failures();
        copy.stop()?;
        let output = scene.cluster.admin().read_committed(&id)?;
        let different = difference(&input, &output);
        let of = |roll: usize| {
            failures.get(roll).and_then(|copies| copies.get(number)).cloned().unwrap_or_default()
        };
        let (soft, hard) = (of(0), all);
        // What a library calls "retry this call" is no failure of a transaction.
        let real = soft.keys().filter(|what| !what.starts_with("retried")).count();
        if real > 0 {
            finding.breaches.push(format!("{id}: failures in the soft roll: {soft:?}"));
        }
        if let Err(error) = done {
            finding.breaches.push(format!("{id}: {error}"));
        }
        let said = |failures: &std::collections::BTreeMap<String, usize>| {
            let all: Vec<String> = failures.iter().map(|(what, n)| format!("{n} × {what}")).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        let _ = writeln!(
            finding.figures,
            "| {id} | {count} | {:.2} s | {} | {} | {} | {} |",
            f64::from(i32::try_from(slowest / 1000).unwrap_or(i32::MAX)) / 1000.0,
            said(&soft),
            if hard == soft { "none more".to_owned() } else { format!("in both: {}", said(&hard)) },
            output.len(),
            if different.is_none() { "yes" } else { "**no**" },
        );
        finding.breaches.extend(different.map(|text| format!("{id}: {text}")));
    }
    finding.breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    Ok(finding)
}
