//! `deploy/roll.sh` carries an upgrade through two sidecars; it is stopped in the middle, and goes on when it is started again.

use std::time::Duration;

use testbed::script::Wanted;
use testbed::zookeeper::{Load, Running, ZooKeeperLibrary, breaches_of, table};
use testbed::{Ensemble, EnsembleSpec, Roll, RollScript, Sidecar, ZooKeeperVersion};

const PATIENCE: Duration = Duration::from_secs(120);
const OPTIONS: &[&str] = &["--from", "3.8.6", "--to", "3.9.5", "--stable", "2", "--bound", "100"];

#[test]
fn a_script_upgrades_3_8_to_3_9() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_8_6)).unwrap();
    let binary = crate::binary();
    let tick = format!("tick_time = \"{}ms\"\n", ensemble.spec().tick_ms);
    let (mut sidecars, mut fronts) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (mut sidecar, listen) = Sidecar::zookeeper(binary, &ensemble.servers(), "", &tick).unwrap();
        sidecar.wait_ready(PATIENCE).unwrap();
        sidecars.push(sidecar);
        fronts.push(listen.to_string());
    }
    let java = ZooKeeperLibrary::here(ZooKeeperVersion::V3_8_6, |_| ()).into_iter().take(2);
    let mut load = Load::new(&java.collect::<Vec<_>>());
    load.trees = false;
    let mut running = Running::start_spread(&ensemble, &load, &fronts).unwrap();
    let members: Vec<String> = ensemble.ids().iter().map(|&id| ensemble.addr(id).to_string()).collect();
    let id_of = |member: &str| u8::try_from(members.iter().position(|id| id == member).unwrap() + 1).unwrap();
    let leader = members[usize::from(ensemble.leader().unwrap()) - 1].clone();

    let mut restarted = Vec::new();
    let mut script = RollScript::start(&sidecars, &members, OPTIONS).unwrap();
    let Some(Wanted::Restart(first)) = script.wanted(PATIENCE).unwrap() else { panic!("{}", script.said()) };
    ensemble.upgrade(id_of(&first), ZooKeeperVersion::V3_9_5, Roll::Soft).unwrap();
    restarted.push(first.clone());
    script.done().unwrap();
    script.wait_said(&format!("{first}: is back"), PATIENCE).unwrap();
    assert_eq!(script.interrupt().unwrap(), Some(143), "{}", script.said());
    drop(script);

    let script = RollScript::start(&sidecars, &members, OPTIONS).unwrap();
    let mut finalized = 0;
    let said = script
        .run(PATIENCE, |wanted| {
            match wanted {
                Wanted::Restart(member) => {
                    ensemble.upgrade(id_of(&member), ZooKeeperVersion::V3_9_5, Roll::Soft)?;
                    restarted.push(member);
                    running.changed()?;
                }
                Wanted::Finalize => finalized += 1,
            }
            Ok(())
        })
        .unwrap();
    println!("{said}");
    assert!(said.contains(&format!("{first}: has 3.9.5 already")), "{said}");
    assert_eq!(restarted.last(), Some(&leader), "the leader comes last: {restarted:?}");
    restarted.sort();
    assert_eq!(restarted, members, "each once");
    assert_eq!(finalized, 1);
    for sidecar in &sidecars {
        let (status, answer) = sidecar.order("GET", "/v1/clusters/bed", &serde_json::Value::Null).unwrap();
        assert_eq!(
            (status, answer.pointer("/last_plan/phase")),
            (200, Some(&"finalized".into())),
            "{answer:#}"
        );
    }

    // Once more with the same words: nothing is left to do.
    let again = RollScript::start(&sidecars, &members, OPTIONS).unwrap();
    again.run(PATIENCE, |wanted| panic!("{wanted:?}")).unwrap();

    let rows = running.finish().unwrap();
    let breaches = breaches_of(&rows, 0);
    assert!(breaches.is_empty(), "{breaches:#?}\n{}", table(&rows));
    for row in &rows {
        assert!(row.writes.done > 50 && row.writes.unknown() == 0, "{}", table(&rows));
    }
}
