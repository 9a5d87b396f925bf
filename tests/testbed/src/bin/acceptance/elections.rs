//! Preferred leaders take over while clients write: after a restart, and again and again without one.

use std::fmt::Write as _;

use testbed::scene::{PARTITIONS, unbalanced};
use testbed::{Cluster, KafkaVersion, Load, ProducerSpec, Result, Roll, Scene, Spec, wait};

use super::{Bench, Finding, PATIENCE, rolls};

/// Elections without a restart: in each, every partition moves.
const MOVES: usize = 9;
/// Records a second of a producer that is fast.
const FAST: f64 = 600.0;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding::default();
    for version in [KafkaVersion::V3_9_2, KafkaVersion::V4_3_1] {
        let mut scene = Scene::start(Spec::new(version), &bench.binary)?;
        let through = scene.front.listen.to_string();
        let mut producers = rolls::producers(bench);
        producers.extend(rolls::python_producers(bench).into_iter().take(1).map(fast));
        let mut load = Load::start(&mut scene.cluster, "elected", &through, &producers)?;
        for id in scene.cluster.ids() {
            bench.say(&format!("Kafka {version}: broker {id} restarts, and gets its partitions back"));
            load.note_stop();
            scene.cluster.restart(id, Roll::Soft)?;
            load.go_on()?;
            elect(&mut scene.cluster, load.topic())?;
            load.go_on()?;
        }
        bench.say(&format!("Kafka {version}: {MOVES} elections of all partitions"));
        for turn in 0..MOVES {
            rotate(&mut scene.cluster, load.topic(), turn)?;
            elect(&mut scene.cluster, load.topic())?;
            load.go_on()?;
        }
        let changes = scene.sidecar.metric_sum("evenkeel_kafka_leader_changes_total", &[])?;
        let report = load.finish(&mut scene.cluster)?;
        let mut breaches = report.breaches_of_planned();
        breaches.extend(unbalanced(&scene.sidecar, &scene.cluster.ids())?);
        finding.breaches.extend(breaches.into_iter().map(|breach| format!("Kafka {version}: {breach}")));
        let _ = write!(
            finding.figures,
            "Kafka {version}: three soft restarts, a preferred-leader election after each, and {MOVES} elections in which each of the \
             topic's {PARTITIONS} partitions moved; Evenkeel noticed {changes} changes of leaders.\n\n{}\n",
            rolls::figures(&report, &scene)?
        );
    }
    Ok(finding)
}

/// One of the same library that sends more than may be undecided at a time, so that much of it lies in its sockets.
fn fast(mut spec: ProducerSpec) -> ProducerSpec {
    spec.id = format!("{}-fast", spec.id);
    spec.rate(FAST)
}

/// Makes the next replica of each partition the preferred leader. Nothing is copied for that.
fn rotate(cluster: &mut Cluster, topic: &str, turn: usize) -> Result<()> {
    let plan: Vec<(i32, Vec<i32>)> = cluster
        .admin()
        .topic(topic)?
        .into_iter()
        .map(|mut p| {
            // Sometimes back to where it came from, where old knowledge is right again.
            if turn % 3 == 2 {
                p.replicas.rotate_right(1);
            } else {
                p.replicas.rotate_left(1);
            }
            (p.partition, p.replicas)
        })
        .collect();
    cluster.admin().reassign(topic, &plan, PATIENCE)
}

/// Has the preferred leaders elected, and waits until every partition has its own.
pub(super) fn elect(cluster: &mut Cluster, topic: &str) -> Result<()> {
    wait::poll("preferred leaders", PATIENCE, std::time::Duration::from_millis(100), || {
        // A preferred leader that isn't in sync yet is an error; it will be.
        if cluster.admin().elect_preferred().is_err() {
            return Ok(None);
        }
        let partitions = cluster.admin().topic(topic)?;
        Ok(partitions.iter().all(|p| p.replicas.first() == Some(&p.leader)).then_some(()))
    })
}
