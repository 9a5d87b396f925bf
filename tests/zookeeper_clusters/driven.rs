//! `evenkeel upgrade` takes an ensemble from 3.8 to 3.9 through two sidecars; it is killed once on the way.

use std::time::Duration;

use testbed::zookeeper::{Ensemble, Load, Running, ZooKeeperLibrary, breaches_of, table};
use testbed::{EnsembleSpec, Sidecar, ZooKeeperVersion, drive};

#[test]
fn the_driver_upgrades_an_ensemble_and_is_killed_once() {
    let spec = EnsembleSpec::new(ZooKeeperVersion::V3_8_6);
    let mut ensemble = Ensemble::with(spec).unwrap();
    let binary = crate::binary();
    let keys = format!("tick_time = \"{}ms\"\n", spec.tick_ms);
    let mut sidecars = Vec::new();
    for _ in 0..2 {
        let (mut sidecar, listen) = Sidecar::zookeeper(binary, &ensemble.servers(), "", &keys).unwrap();
        sidecar.wait_ready(Duration::from_secs(60)).unwrap();
        sidecars.push((sidecar, listen.to_string()));
    }
    let mut libraries = ZooKeeperLibrary::here(ZooKeeperVersion::V3_8_6, |text| println!("{text}"));
    libraries.retain(|library| matches!(library, ZooKeeperLibrary::Kazoo | ZooKeeperLibrary::Java(_)));
    let mut load = Load::new(&libraries);
    // No client has a persistent watch here: the leader takes every connection with it when it goes, and Evenkeel closes those of such
    // clients then. Planned moves with persistent watches, and what the leader's stop costs them, are shown by the announced rolls.
    load.trees = false;
    let through: Vec<String> = sidecars.iter().map(|(_, listen)| listen.clone()).collect();
    let mut running = Running::start_spread(&ensemble, &load, &through).unwrap();
    let members: Vec<String> = ensemble.ids().into_iter().map(|id| ensemble.addr(id).to_string()).collect();
    let listed: Vec<String> = members.iter().map(|id| format!("{{ id = \"{id}\" }}")).collect();
    let list: Vec<String> = sidecars.iter().map(|(sidecar, _)| format!("\"{}\"", sidecar.admin())).collect();
    let plan = format!(
        "plan_id = \"to-3.9\"\ncluster = \"bed\"\nprotocol = \"zookeeper\"\nfrom = \"3.8.6\"\nto = \"3.9.5\"\n\
         stable_s = 1\nmembers = [{}]\n[sidecars]\nlist = [{}]\n[bounds]\ngate_s = 120\n",
        listed.join(", "),
        list.join(", ")
    );
    let folder = ensemble.folder().join("driver");
    let mut leaders = Vec::new();
    let driven = drive(binary, &folder, &plan, (5, 1, Duration::from_secs(8)), |member| {
        let id = ensemble.ids().into_iter().find(|id| ensemble.addr(*id).to_string() == member).unwrap();
        leaders.push(ensemble.leader() == Some(id));
        ensemble.set_version(id, ZooKeeperVersion::V3_9_5)?;
        ensemble.stop(id)?;
        ensemble.start_server(id)
    });
    let driven = driven.unwrap();
    println!("{}\nkilled {} times, took {:?}", driven.log, driven.kills, driven.took);
    assert_eq!(driven.breaches(&members), Vec::<String>::new());
    assert_eq!((driven.kills, leaders), (1, vec![false, false, true]), "the leader comes last");
    running.go_on().unwrap();
    let rows = running.finish().unwrap();
    println!("{}", table(&rows));
    assert_eq!(breaches_of(&rows, 0), Vec::<String>::new(), "{}", table(&rows));
    let unknown: usize = rows.iter().map(|row| row.writes.unknown()).sum();
    assert_eq!(unknown, 0, "{}", table(&rows));
}
