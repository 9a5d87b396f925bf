//! Brokers are stopped the moment that their drain is answered `drained`: killed once their leaders had been moved, and with
//! SIGTERM while they still led.

use std::fmt::Write as _;
use std::time::Instant;

use testbed::scene::{is, unbalanced};
use testbed::{Cluster, Controller, KafkaVersion, Load, ProducerSpec, Result, Scene, Sidecar, Spec};

use super::{Bench, Finding, PATIENCE, elections, rolls};

/// Half of them on each version.
const STOPS: usize = 20;
const VERSIONS: [KafkaVersion; 2] = [KafkaVersion::V3_9_2, KafkaVersion::V4_3_1];
/// Records a second of each producer.
const RATE: f64 = 100.0;
/// Why requests are held, as the metric has it.
const TRIGGERS: [&str; 8] =
    ["disconnect", "refused", "leader", "coordinator", "controller", "capacity", "order", "unknown_node"];

/// How a broker ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Its leaders have been moved, the internal topics' too; then SIGKILL.
    Killed,
    /// It leads what it led; then SIGTERM.
    Told,
}

/// After its leaders have been moved.
pub(super) fn killed(bench: &Bench) -> Result<Finding> {
    run(bench, End::Killed)
}

/// While it leads; two of the producers with acks=1, which is not raised.
pub(super) fn told(bench: &Bench) -> Result<Finding> {
    run(bench, End::Told)
}

fn run(bench: &Bench, end: End) -> Result<Finding> {
    let mut finding = Finding::default();
    for version in VERSIONS {
        let keys = if end == End::Told { "raise_acks = \"off\"" } else { "" };
        // An election under acks=1 cuts off what followers don't have, whoever stands between: there is none but at a stop.
        let spec = Spec::new(version).fast().set("leader.imbalance.check.interval.seconds", 100_000);
        let mut scene = Scene::with(spec, &bench.binary, "", keys)?;
        let through = scene.front.listen.to_string();
        let mut load = Load::start(&mut scene.cluster, "drained", &through, &producers(bench, end))?;
        let mut rows = Vec::new();
        let ids = scene.cluster.ids();
        for (turn, &id) in (1..=STOPS / VERSIONS.len()).zip(ids.iter().cycle()) {
            bench.say(&format!("Kafka {version}: stop {turn} of {}, broker {id}", STOPS / VERSIONS.len()));
            let stop = stopped(&mut scene, &mut load, id, end)?;
            rows.push(stop.row(id));
            finding.breaches.extend(
                stop.breaches(end).into_iter().map(|text| format!("Kafka {version}, stop {turn}: {text}")),
            );
        }
        let report = load.finish(&mut scene.cluster)?;
        let mut breaches = report.breaches_of_planned();
        breaches.extend(unbalanced(&scene.sidecar, &ids)?);
        finding.breaches.extend(breaches.into_iter().map(|breach| format!("Kafka {version}: {breach}")));
        let _ = write!(
            finding.figures,
            "Kafka {version}, {} stops. Broker: milliseconds from the order to `drained`; partitions that it led; requests held \
             until it was back, by cause; unknown outcomes of any kind: {}.\n\n{}\n",
            rows.len(),
            rows.join("; "),
            rolls::figures(&report, &scene)?
        );
    }
    Ok(finding)
}

/// Each library's own client without retries; with acks=1 where nothing is moved beforehand, for that is what could be cut off.
fn producers(bench: &Bench, end: End) -> Vec<ProducerSpec> {
    let mut all = vec![Load::java("java")];
    for spec in rolls::python_producers(bench) {
        all.push(if end == End::Told { spec.set("acks", "1") } else { spec });
    }
    all.into_iter().map(|spec| ProducerSpec { rate: RATE, ..spec }).collect()
}

/// What one stop came to.
struct Stop {
    drained_ms: u128,
    led: usize,
    held: Vec<(&'static str, f64)>,
    unknown: f64,
}

impl Stop {
    fn row(&self, id: u8) -> String {
        let held: Vec<String> =
            self.held.iter().map(|(trigger, count)| format!("{count} {trigger}")).collect();
        let held = if held.is_empty() { "0".to_owned() } else { held.join(" + ") };
        format!("{id}: {}, {}, {held}, {}", self.drained_ms, self.led, self.unknown)
    }

    fn breaches(&self, end: End) -> Vec<String> {
        let mut found = Vec::new();
        if !is(self.unknown, 0.0) {
            found.push(format!("{} unknown outcomes, though nothing was in flight", self.unknown));
        }
        let as_meant = if end == End::Killed { self.led == 0 } else { self.led > 0 };
        if !as_meant {
            found.push(format!("it led {} partitions: that is another test", self.led));
        }
        found
    }
}

fn stopped(scene: &mut Scene, load: &mut Load, id: u8, end: End) -> Result<Stop> {
    if end == End::Killed {
        leave(&mut scene.cluster, id)?;
    }
    load.go_on()?;
    let partitions = scene.cluster.admin().topic(load.topic())?;
    let led = partitions.iter().filter(|partition| partition.leader == i32::from(id)).count();
    let members: Vec<String> = scene.cluster.ids().iter().map(ToString::to_string).collect();
    let member = id.to_string();
    let controller = Controller::begin(&scene.sidecar, &members)?;
    load.note_stop();
    let before = counts(&scene.sidecar)?;
    let start = Instant::now();
    controller.drain(&member)?;
    let drained_ms = start.elapsed().as_millis();
    match end {
        End::Killed => scene.cluster.kill(id)?,
        End::Told => scene.cluster.stop(id)?,
    }
    load.go_on()?;
    let after = counts(&scene.sidecar)?;
    scene.cluster.start_node(id)?;
    scene.cluster.wait_ready()?;
    controller.wait_gate("next", Some(&member), &[])?;
    load.go_on()?;
    let held = TRIGGERS
        .into_iter()
        .zip(before.0.iter().zip(&after.0))
        .map(|(trigger, (before, after))| (trigger, after - before));
    Ok(Stop {
        drained_ms,
        led,
        held: held.filter(|(_, count)| *count > 0.5).collect(),
        unknown: after.1 - before.1,
    })
}

/// Requests that were held, by cause, and unknown outcomes of any kind.
fn counts(sidecar: &Sidecar) -> Result<(Vec<f64>, f64)> {
    let held =
        |trigger| sidecar.metric_sum("evenkeel_hold_started_total", &[&format!("trigger=\"{trigger}\"")]);
    let held = TRIGGERS.into_iter().map(held).collect::<Result<_>>()?;
    Ok((held, sidecar.metric_sum("evenkeel_unknown_outcomes_total", &[])?))
}

/// Gives what a broker leads to others, of every topic.
fn leave(cluster: &mut Cluster, id: u8) -> Result<()> {
    let id = i32::from(id);
    for topic in cluster.admin().topics()? {
        let partitions = cluster.admin().topic(&topic)?;
        let last = |replicas: &[i32]| {
            let others = replicas.iter().copied().filter(|replica| *replica != id);
            others.chain(replicas.contains(&id).then_some(id)).collect::<Vec<_>>()
        };
        let plan: Vec<_> = partitions.iter().map(|p| (p.partition, last(&p.replicas))).collect();
        cluster.admin().reassign(&topic, &plan, PATIENCE)?;
        elections::elect(cluster, &topic)?;
    }
    Ok(())
}
