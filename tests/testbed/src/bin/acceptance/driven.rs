//! `evenkeel upgrade` drives rolls through five sidecars, and is killed again and again.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use testbed::scene::unbalanced;
use testbed::zookeeper::{Ensemble, Load as Crowd, Running, ZooKeeperLibrary, breaches_of, table};
use testbed::{
    Cluster, Driven, EnsembleSpec, KafkaVersion, Load, Result, Sidecar, Spec, ZooKeeperVersion, drive,
};

use super::{Bench, Finding, PATIENCE, rolls};

const SIDECARS: usize = 5;
/// Of each of the two rolls of a proof.
const KILLS: usize = 5;
/// The longest life of a driver that is to be killed: so that all of them fit into a roll.
const LIFE_KAFKA: Duration = Duration::from_secs(12);
const LIFE_ZOOKEEPER: Duration = Duration::from_secs(6);

/// What stands in every plan.
fn plan(
    id: &str,
    protocol: &str,
    versions: Option<(&str, &str)>,
    members: &[String],
    sidecars: &[&Sidecar],
) -> String {
    let versions =
        versions.map_or_else(String::new, |(from, to)| format!("from = \"{from}\"\nto = \"{to}\"\n"));
    let members: Vec<String> = members.iter().map(|id| format!("{{ id = \"{id}\" }}")).collect();
    let list: Vec<String> = sidecars.iter().map(|sidecar| format!("\"{}\"", sidecar.admin())).collect();
    let kafka = if protocol == "kafka" { "move_leaders = true\n" } else { "" };
    format!(
        "plan_id = \"{id}\"\ncluster = \"bed\"\nprotocol = \"{protocol}\"\n{versions}{kafka}stable_s = 5\nmembers = [{}]\n\
         sidecars = {{ list = [{}] }}\nbounds = {{ gate_s = 180 }}\n",
        members.join(", "),
        list.join(", ")
    )
}

/// One line of the table, and what was broken.
fn told(figures: &mut String, breaches: &mut Vec<String>, what: &str, driven: &Driven, members: &[String]) {
    let restarts: usize = driven.restarts.values().sum();
    let _ = writeln!(
        figures,
        "| {what} | {} | {restarts} | {} s | {} |",
        driven.kills,
        driven.took.as_secs(),
        driven.events.iter().filter(|(event, _)| event == "started").count(),
    );
    breaches.extend(driven.breaches(members).into_iter().map(|breach| format!("{what}: {breach}")));
    if driven.kills != KILLS {
        breaches.push(format!("{what}: the driver was killed {} times only", driven.kills));
    }
}

const HEAD: &str = "| roll | driver killed | restarts of members | took | drivers |\n|---|---|---|---|---|\n";

fn restart(cluster: &mut Cluster, member: &str, to: KafkaVersion) -> Result<()> {
    let id = member.parse().unwrap_or(0);
    cluster.set_version(id, to)?;
    cluster.stop(id)?;
    cluster.start_node(id)
}

/// Kafka 3.9.2 to 4.3.1, and a roll of that.
pub(super) fn kafka(bench: &Bench) -> Result<Finding> {
    let mut cluster = Cluster::start(Spec::new(KafkaVersion::V3_9_2))?;
    let bootstrap = cluster.bootstrap();
    let (mut sidecars, mut through) = (Vec::new(), Vec::new());
    for _ in 0..SIDECARS {
        let (mut sidecar, front) = Sidecar::kafka(&bench.binary, &bootstrap, "")?;
        sidecar.wait_ready(PATIENCE)?;
        sidecars.push(sidecar);
        through.push(front.listen.to_string());
    }
    let mut producers = rolls::producers(bench);
    for id in
        ["java-acks-1", "java-2", "java-3", "java-4"].iter().take(SIDECARS.saturating_sub(producers.len()))
    {
        let producer = Load::java(id);
        producers.push(if *id == "java-acks-1" { producer.set("acks", "1") } else { producer });
    }
    let load = Load::through(&mut cluster, "driven", &through, &producers)?;
    let members: Vec<String> = cluster.ids().iter().map(ToString::to_string).collect();
    let all: Vec<&Sidecar> = sidecars.iter().collect();
    let brokers: Vec<String> = bootstrap.split(',').map(|broker| format!("{broker:?}")).collect();
    let kafka = format!("kafka = {{ bootstrap = [{}] }}\n", brokers.join(", "));
    let mut finding = Finding { figures: HEAD.to_owned(), ..Finding::default() };
    let folder = cluster.folder().join("driver-1");
    let first = plan("to-4.3", "kafka", Some(("3.9.2", "4.3.1")), &members, &all);
    let mut early = Vec::new();
    bench.say("the driver takes Kafka from 3.9.2 to 4.3.1");
    let upgraded = drive(
        &bench.binary,
        &folder,
        &format!("raise_features = true\n{first}{kafka}"),
        (61, KILLS, LIFE_KAFKA),
        |member| {
            bench.say(&format!("broker {member}"));
            early.push(cluster.admin().feature("metadata.version")?);
            restart(&mut cluster, member, KafkaVersion::V4_3_1)
        },
    )?;
    told(&mut finding.figures, &mut finding.breaches, "3.9.2 to 4.3.1", &upgraded, &members);
    let level = cluster.admin().feature("metadata.version")?;
    // 3.9 ends at level 21.
    if level <= 21 || early.iter().any(|level| *level > 21) {
        finding.breaches.push(format!("metadata.version was {early:?} before the end, and {level} after it"));
    }
    load.go_on()?;
    bench.say("the driver rolls Kafka 4.3.1, whose versions are not told");
    let folder = cluster.folder().join("driver-2");
    let second = format!("{}{kafka}", plan("again", "kafka", None, &members, &all));
    let rolled = drive(&bench.binary, &folder, &second, (62, KILLS, LIFE_KAFKA), |member| {
        bench.say(&format!("broker {member}"));
        restart(&mut cluster, member, KafkaVersion::V4_3_1)
    })?;
    told(&mut finding.figures, &mut finding.breaches, "4.3.1 once more", &rolled, &members);
    cluster.wait_ready()?;
    load.go_on()?;
    let report = load.finish(&mut cluster)?;
    finding.breaches.extend(report.breaches_of_planned());
    let _ = writeln!(
        finding.figures,
        "\nThrough {SIDECARS} sidecars; `metadata.version` {early:?} when each broker was stopped, {level} at the end.\n\n{}",
        rolls::table(&report)
    );
    for sidecar in &sidecars {
        finding.breaches.extend(unbalanced(sidecar, &cluster.ids())?);
    }
    Ok(finding)
}

/// `ZooKeeper` 3.8.6 to 3.9.5, and a roll of that.
pub(super) fn zookeeper(bench: &Bench) -> Result<Finding> {
    let spec = EnsembleSpec::new(ZooKeeperVersion::V3_8_6);
    let mut ensemble = Ensemble::with(spec)?;
    let keys = format!("tick_time = \"{}ms\"\npersistent_watches = \"keep\"\n", spec.tick_ms);
    let (mut sidecars, mut through) = (Vec::new(), Vec::new());
    for _ in 0..SIDECARS {
        let (mut sidecar, listen) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", &keys)?;
        sidecar.wait_ready(PATIENCE)?;
        sidecars.push(sidecar);
        through.push(listen.to_string());
    }
    let mut load = Crowd::new(&ZooKeeperLibrary::here(ZooKeeperVersion::V3_8_6, |text| bench.say(text)));
    // The leader takes every connection with it when it goes, and what a persistent watch would have told in that gap nobody can tell.
    load.trees = false;
    let mut running = Running::start_spread(&ensemble, &load, &through)?;
    let members: Vec<String> = ensemble.ids().into_iter().map(|id| ensemble.addr(id).to_string()).collect();
    let all: Vec<&Sidecar> = sidecars.iter().collect();
    let mut finding = Finding { figures: HEAD.to_owned(), ..Finding::default() };
    let versions = Some(("3.8.6", "3.9.5"));
    for (what, id, versions, seed) in
        [("3.8.6 to 3.9.5", "to-3.9", versions, 71), ("3.9.5 once more", "again", None, 72)]
    {
        bench.say(&format!("the driver rolls ZooKeeper: {what}"));
        let text = plan(id, "zookeeper", versions, &members, &all);
        let folder = ensemble.folder().join(format!("driver-{id}"));
        let driven = one_roll(bench, &mut ensemble, &folder, &text, seed)?;
        told(&mut finding.figures, &mut finding.breaches, what, &driven, &members);
        running.go_on()?;
    }
    let rows = running.finish()?;
    finding.breaches.extend(breaches_of(&rows, 0));
    let unknown: usize = rows.iter().map(|row| row.writes.unknown()).sum();
    if unknown > 0 {
        finding
            .breaches
            .push(format!("{unknown} writes of unknown outcome, though every server was drained first"));
    }
    let _ = writeln!(
        finding.figures,
        "\nThrough {SIDECARS} sidecars; sessions of {} ms.\n\n{}",
        load.timeout_ms,
        table(&rows)
    );
    Ok(finding)
}

fn one_roll(bench: &Bench, ensemble: &mut Ensemble, folder: &Path, plan: &str, seed: u64) -> Result<Driven> {
    drive(&bench.binary, folder, plan, (seed, KILLS, LIFE_ZOOKEEPER), |member| {
        bench.say(&format!("server {member}"));
        let id = ensemble.ids().into_iter().find(|id| ensemble.addr(*id).to_string() == member).unwrap_or(0);
        ensemble.set_version(id, ZooKeeperVersion::V3_9_5)?;
        ensemble.stop(id)?;
        ensemble.start_server(id)
    })
}
