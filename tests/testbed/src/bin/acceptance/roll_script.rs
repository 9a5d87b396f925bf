//! Upgrades without Evenkeel's own driver: `deploy/roll.sh`, which is bash and curl, through five sidecars with clients at each.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::scene::unbalanced;
use testbed::script::Wanted;
use testbed::sidecar::Front;
use testbed::zookeeper::{self, Running, ZooKeeperLibrary, breaches_of};
use testbed::{
    Cluster, Ensemble, EnsembleSpec, KafkaVersion, Load, ProducerSpec, Result, Roll, RollScript, Sidecar,
    Spec, ZooKeeperVersion,
};

use super::{Bench, Finding, PATIENCE, rolls};

const SIDECARS: usize = 5;
/// How long all must be well between two members, in seconds.
const STABLE: &str = "5";
/// The longest that the script is waited for.
const BOUND: Duration = Duration::from_secs(240);

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut finding = kafka(bench)?;
    let other = zookeeper(bench)?;
    let _ = write!(finding.figures, "\n{}", other.figures);
    finding.breaches.extend(other.breaches);
    Ok(finding)
}

/// One producer at each sidecar, of several libraries, and a consumer group beside it.
fn loads(bench: &Bench, cluster: &mut Cluster, fronts: &[Front]) -> Result<Vec<Load>> {
    let kinds = rolls::producers(bench);
    let each = fronts.iter().enumerate().zip(kinds.iter().cycle());
    each.map(|((at, front), kind)| {
        let producer = ProducerSpec { id: format!("{}-{at}", kind.id), rate: 100.0, ..kind.clone() };
        Load::start(cluster, &format!("rolled-{at}"), &front.listen.to_string(), &[producer])
    })
    .collect()
}

fn kafka(bench: &Bench) -> Result<Finding> {
    let mut cluster = Cluster::start(Spec::new(KafkaVersion::V3_9_2))?;
    let (mut sidecars, mut fronts) = (Vec::new(), Vec::new());
    for _ in 0..SIDECARS {
        let (mut sidecar, front) = Sidecar::kafka(&bench.binary, &cluster.bootstrap(), "")?;
        sidecar.wait_ready(PATIENCE)?;
        sidecars.push(sidecar);
        fronts.push(front);
    }
    let mut loads = loads(bench, &mut cluster, &fronts)?;
    let members: Vec<String> = cluster.ids().iter().map(u8::to_string).collect();
    let options = ["--from", "3.9.2", "--to", "4.3.1", "--stable", STABLE, "--bound", "200"];
    let mut order = Vec::new();
    let mut level = 0;
    let said = RollScript::start(&sidecars, &members, &options)?.run(BOUND, |wanted| {
        match wanted {
            Wanted::Restart(member) => {
                bench.say(&format!("broker {member} becomes 4.3.1"));
                let id = member.parse().unwrap_or(0);
                loads.iter_mut().for_each(Load::note_stop);
                cluster.set_version(id, KafkaVersion::V4_3_1)?;
                cluster.restart(id, Roll::Soft)?;
                order.push(member);
            }
            Wanted::Finalize => level = cluster.admin().finalize_upgrade()?,
        }
        Ok(())
    })?;
    bench.say(&format!("metadata.version {level}"));
    loads.iter().try_for_each(Load::go_on)?;
    let mut finding = Finding::default();
    let _ = writeln!(
        finding.figures,
        "Kafka 3.9.2 to 4.3.1 by `deploy/roll.sh` through {SIDECARS} sidecars, order {}, `metadata.version` {level}, `--stable {STABLE}`; leaders \
         are not moved before.\n",
        order.join(", ")
    );
    if order.len() != members.len() || level <= 21 || !said.contains("done: ") {
        finding.breaches.push(format!("restarted {order:?}, metadata.version {level}, and it said: {said}"));
    }
    for (at, load) in (1..).zip(loads) {
        let report = load.finish(&mut cluster)?;
        let breaches = report.breaches_of_planned();
        finding.breaches.extend(breaches.into_iter().map(|breach| format!("Kafka, sidecar {at}: {breach}")));
        let _ = writeln!(finding.figures, "Sidecar {at}:\n\n{}", rolls::table(&report));
    }
    let ids = cluster.ids();
    for sidecar in &sidecars {
        finding.breaches.extend(unbalanced(sidecar, &ids)?);
    }
    Ok(finding)
}

fn zookeeper(bench: &Bench) -> Result<Finding> {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_8_6))?;
    let tick = format!("tick_time = \"{}ms\"\n", ensemble.spec().tick_ms);
    let (mut sidecars, mut fronts) = (Vec::new(), Vec::new());
    for _ in 0..SIDECARS {
        let (mut sidecar, front) = Sidecar::zookeeper(&bench.binary, &ensemble.servers(), "", &tick)?;
        sidecar.wait_ready(PATIENCE)?;
        sidecars.push(sidecar);
        fronts.push(front.to_string());
    }
    let mut load =
        zookeeper::Load::new(&ZooKeeperLibrary::here(ZooKeeperVersion::V3_8_6, |text| bench.say(text)));
    // The leader takes every connection with it when it goes; what a persistent watch would have told in that gap nobody can tell.
    load.trees = false;
    let mut running = Running::start_spread(&ensemble, &load, &fronts)?;
    let ids = ensemble.ids();
    let members: Vec<String> = ids.iter().map(|&id| ensemble.addr(id).to_string()).collect();
    let options = ["--from", "3.8.6", "--to", "3.9.5", "--stable", STABLE, "--bound", "200"];
    let mut order = Vec::new();
    let said = RollScript::start(&sidecars, &members, &options)?.run(BOUND, |wanted| {
        if let Wanted::Restart(member) = wanted {
            bench.say(&format!("server {member} becomes 3.9.5"));
            let id = ids.iter().zip(&members).find(|(_, name)| **name == member).map_or(0, |(id, _)| *id);
            ensemble.upgrade(id, ZooKeeperVersion::V3_9_5, Roll::Soft)?;
            running.changed()?;
            order.push(id.to_string());
        }
        Ok(())
    })?;
    running.go_on()?;
    let rows = running.finish()?;
    let mut breaches = breaches_of(&rows, 0);
    let unknown: usize = rows.iter().map(|row| row.writes.unknown()).sum();
    if unknown > 0 {
        breaches.push(format!(
            "ZooKeeper: {unknown} writes of unknown outcome, though every server was drained first"
        ));
    }
    let mut expired = 0.0;
    for sidecar in &sidecars {
        expired += sidecar.metric_sum("evenkeel_zookeeper_sessions_expired_total", &[])?;
    }
    if expired > 0.5 {
        breaches.push(format!("{expired} sessions expired"));
    }
    if order.len() != members.len() || !said.contains("done: ") {
        breaches.push(format!("restarted {order:?}, and it said: {said}"));
    }
    let figures = format!(
        "ZooKeeper 3.8.6 to 3.9.5 by `deploy/roll.sh` through {SIDECARS} sidecars, order {}, `--stable {STABLE}`; sessions of {} ms, {expired} \
         expired.\n\n{}",
        order.join(", "),
        load.timeout_ms,
        zookeeper::table(&rows)
    );
    Ok(Finding { figures, breaches })
}
