//! Producers with acks=1: `raise_acks` saves what they would lose, and is never in their way.

use std::time::Duration;

use testbed::scene::unbalanced;
use testbed::{KafkaVersion, Load, ProducerSpec, Result, Roll, Scene, Spec, wait};

use super::{Bench, Finding, PATIENCE, rolls};

const ROLLS: usize = 2;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    // A quorum of its own: it shall be there while two of three brokers are not.
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).controllers_apart(1), &bench.binary)?;
    let through = scene.front.listen.to_string();
    let producers: Vec<ProducerSpec> =
        rolls::python_producers(bench).into_iter().map(|spec| spec.set("acks", "1")).collect();
    if producers.is_empty() {
        return Err(testbed::Error::Missing("no library to write with acks=1".to_owned()));
    }
    let mut load = Load::start(&mut scene.cluster, "acks1", &through, &producers)?;
    let bootstrap = scene.cluster.bootstrap();
    let mut direct = Load::start(&mut scene.cluster, "acks1-direct", &bootstrap, &producers)?;
    for roll in 1..=ROLLS {
        bench.say(&format!("roll {roll} of {ROLLS}"));
        for id in scene.cluster.ids() {
            load.note_stop();
            direct.note_stop();
            scene.cluster.restart(id, Roll::Soft)?;
        }
        load.go_on()?;
        scene.cluster.admin().elect_preferred()?;
        load.go_on()?;
    }
    let without = direct.finish(&mut scene.cluster)?;

    bench.say("brokers 1 and 2 are down for a while");
    let refused = || {
        let labels = ["code=\"NOT_ENOUGH_REPLICAS\""];
        scene.sidecar.metric_sum("evenkeel_masked_errors_total", &labels)
    };
    let before = refused()?;
    for id in [1, 2] {
        load.note_stop();
        scene.cluster.stop(id)?;
    }
    wait::poll("a topic with one in-sync replica", PATIENCE, Duration::from_millis(100), || {
        Ok(scene.cluster.admin().topic("acks1")?.iter().all(|p| p.isr == [3]).then_some(()))
    })?;
    // What this waits for is what is proved: a success in every partition while there is one replica.
    load.go_on_everywhere()?;
    load.go_on_everywhere()?;
    let alone = scene.cluster.admin().topic("acks1")?.iter().all(|p| p.isr == [3]);
    let fallen = refused()? - before;
    for id in [1, 2] {
        scene.cluster.start_node(id)?;
    }
    scene.cluster.wait_ready()?;
    load.go_on_everywhere()?;
    scene.cluster.admin().elect_preferred()?;
    load.go_on_everywhere()?;
    let report = load.finish(&mut scene.cluster)?;

    let mut breaches = report.breaches_of_planned();
    breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
    if !alone {
        breaches.push("a second replica was there before it was started".to_owned());
    }
    if fallen < 0.5 {
        breaches.push(
            "no broker refused a raised batch while the topic was under min.insync.replicas".to_owned(),
        );
    }
    if without.all.lost.is_empty() {
        breaches.push("the direct producers lost nothing, so that this run proves little".to_owned());
    }
    let figures = format!(
        "Kafka 3.9.2, its controller apart from its brokers. {ROLLS} planned rolls, then brokers 1 and 2 stopped at once and started \
         again; in between each producer wrote to every partition, each of which had one replica, with min.insync.replicas 2 ({fallen} \
         refusals for that reason were kept back).\n\n{}\nThe same producers directly, in the same {ROLLS} rolls:\n\n{}",
        rolls::figures(&report, &scene)?,
        rolls::table(&without),
    );
    Ok(Finding { figures, breaches })
}
