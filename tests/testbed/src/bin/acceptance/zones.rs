//! Brokers of one zone become six in three zones, two of the old ones go, and then a whole zone dies.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::scene::unbalanced;
use testbed::{Cluster, KafkaVersion, Load, Result, Scene, Sidecar, Spec, wait};

use super::{Bench, Finding, PATIENCE, rolls};

/// The zone of each broker. At first there are those of zone a.
const ZONES: [(u8, &str); 6] = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")];
const OLD: [u8; 3] = [1, 2, 3];
const REMOVED: [u8; 2] = [1, 2];
/// Where Evenkeel and its clients are, and which brokers are there in the end.
const OWN: (&str, u8) = ("c", 6);
const KILLED: [u8; 2] = [4, 5];
/// What part of what consumers get must come from their own zone, in percent: the rest is answers to producers, which go to leaders
/// wherever these are, and what consumers fetched before they were told of a nearer replica.
const NEAR: f64 = 80.0;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let spec = Spec::new(KafkaVersion::V3_9_2)
        .nodes(6)
        .controllers_apart(3)
        .set("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");
    let mut cluster = Cluster::prepare(spec)?;
    for (id, zone) in ZONES {
        cluster.set(id, "broker.rack", zone)?;
    }
    for id in OLD {
        cluster.start_node(id)?;
    }
    cluster.wait_ready()?;
    // It is told of the old brokers only, two of which go.
    let bootstrap = OLD.iter().map(|&id| cluster.addr(id).map(|addr| addr.to_string()));
    let bootstrap = bootstrap.collect::<Result<Vec<_>>>()?.join(",");
    let own = format!("zone = \"{}\"\n", OWN.0);
    let (mut sidecar, front) = Sidecar::kafka_with(&bench.binary, &bootstrap, "", &own)?;
    sidecar.wait_ready(PATIENCE)?;
    let mut scene = Scene { sidecar, front, cluster };
    // Large records, so that what consumers get outweighs what producers are answered.
    let producers: Vec<_> = rolls::producers(bench).into_iter().map(|spec| spec.padding(2000)).collect();
    let mut load = Load::start(&mut scene.cluster, "zoned", &scene.front.listen.to_string(), &producers)?;

    bench.say("three more brokers in two more zones");
    for (id, _) in ZONES.iter().filter(|(id, _)| !OLD.contains(id)) {
        scene.cluster.start_node(*id)?;
    }
    scene.cluster.wait_ready()?;
    load.go_on()?;
    bench.say("replicas are spread over the zones");
    load.note_stop();
    spread(&mut scene.cluster)?;
    load.go_on_everywhere()?;
    for id in REMOVED {
        bench.say(&format!("broker {id} goes for good"));
        load.note_stop();
        scene.cluster.stop(id)?;
        scene.cluster.wait_ready()?;
        // The controller still has it as a broker that is down: nothing refers to it any more.
        scene.cluster.admin().unregister(id)?;
        load.go_on_everywhere()?;
    }

    let before = received(&scene)?;
    for _ in 0..5 {
        load.go_on()?;
    }
    let bytes: Vec<(u8, f64)> =
        received(&scene)?.iter().zip(&before).map(|(now, before)| (now.0, now.1 - before.1)).collect();
    let all: f64 = bytes.iter().map(|(_, bytes)| bytes).sum();
    let near = bytes.iter().find(|(id, _)| *id == OWN.1).map_or(0.0, |(_, bytes)| bytes / all * 100.0);

    bench.say("zone b dies");
    load.note_stop();
    for id in KILLED {
        scene.cluster.kill(id)?;
    }
    wait::poll("the other zones to lead everything", PATIENCE, Duration::from_millis(100), || {
        let partitions = scene.cluster.admin().topic(load.topic())?;
        Ok(partitions
            .iter()
            .all(|p| p.leader > 0 && !KILLED.iter().any(|&id| p.leader == i32::from(id)))
            .then_some(()))
    })?;
    load.go_on_everywhere()?;
    load.go_on_everywhere()?;
    bench.say("zone b comes back");
    for id in KILLED {
        scene.cluster.start_node(id)?;
    }
    scene.cluster.wait_ready()?;
    load.go_on_everywhere()?;

    let report = load.finish(&mut scene.cluster)?;
    let mut finding = Finding { breaches: report.breaches_of_planned(), ..Finding::default() };
    if near < NEAR {
        finding.breaches.push(format!("{near:.0} % of what Evenkeel received came from its own zone"));
    }
    let left: Vec<u8> = scene.cluster.ids().into_iter().filter(|id| !REMOVED.contains(id)).collect();
    finding.breaches.extend(unbalanced(&scene.sidecar, &left)?);
    let _ = write!(
        finding.figures,
        "Kafka 3.9.2 with three controllers apart; brokers 1 to 3 in zone a, then 4 and 5 in zone b and 6 in zone c; each partition has a replica in \
         each zone then; brokers 1 and 2, two of the three that Evenkeel was told of, are stopped for good; brokers 4 and 5 are killed \
         at once. Evenkeel has `zone = \"c\"`: with all zones there, {near:.0} % of all bytes that it received came from broker 6, which \
         led a third of the partitions. \"Errors after each stop\": after the reassignment, the two removals, the kill.\n\n{}",
        rolls::figures(&report, &scene)?
    );
    Ok(finding)
}

/// Gives every partition of every topic one replica in each zone, none of them on a broker that goes; leaders take turns.
fn spread(cluster: &mut Cluster) -> Result<()> {
    for topic in cluster.admin().topics()? {
        let plan: Vec<(i32, Vec<i32>)> = cluster
            .admin()
            .topic(&topic)?
            .iter()
            .map(|p| {
                let mut replicas = vec![3, 4 + p.partition % 2, 6];
                replicas.rotate_left(usize::try_from(p.partition % 3).unwrap_or(0));
                (p.partition, replicas)
            })
            .collect();
        cluster.admin().reassign(&topic, &plan, PATIENCE)?;
    }
    cluster.admin().elect_preferred()
}

/// Bytes received from each broker.
fn received(scene: &Scene) -> Result<Vec<(u8, f64)>> {
    ZONES
        .iter()
        .map(|&(id, _)| {
            let labels = [&format!("member=\"{id}\""), "direction=\"received\""];
            Ok((id, scene.sidecar.metric_sum("evenkeel_upstream_bytes_total", &labels)?))
        })
        .collect()
}
