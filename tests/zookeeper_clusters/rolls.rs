//! Clients behind Evenkeel don't notice a roll.

use testbed::zookeeper::{Course, Ending, Load, Through, ZooKeeperLibrary, breaches_of, table};
use testbed::{EnsembleSpec, Roll, Sidecar, ZooKeeperVersion};

/// How many connections of clients Evenkeel says that it closed on purpose.
fn closed(ending: &Ending) -> usize {
    let sidecar = ending.sidecar.as_ref().unwrap();
    let sum =
        sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", &["reason=\"unknown_outcome\""]).unwrap();
    format!("{sum}").parse().unwrap()
}

fn roll(version: ZooKeeperVersion, how: Roll, announced: bool) {
    let mut load = Load::new(&ZooKeeperLibrary::here(version, |text| println!("{text}")));
    // Nobody can tell what a persistent watch would have told in a gap, so that its client is let go then: when its server is
    // lost, or the leader, which takes all connections with it.
    load.trees = false;
    let keys = "";
    let course = Course { spec: EnsembleSpec::new(version), load, how, rolls: 1, announced, keys };
    let ending =
        course.run(Through::Evenkeel(&Sidecar::binary().unwrap()), |text| println!("{text}")).unwrap();
    let rows = &ending.rows;
    println!("{}", table(rows));
    let breaches = breaches_of(rows, if announced { 0 } else { closed(&ending) });
    let log = ending.sidecar.as_ref().unwrap().log_tail(60);
    assert!(breaches.is_empty(), "{breaches:#?}\n{}\n{log}", table(rows));
    for row in rows {
        assert!(row.writes.done > 50 && row.watches.told > 10, "{}", table(rows));
        assert!(!announced || row.writes.unknown() == 0, "{}\n{log}", table(rows));
    }
}

#[test]
fn an_announced_roll_of_3_8_is_not_noticed() {
    roll(ZooKeeperVersion::V3_8_6, Roll::Soft, true);
}

#[test]
fn an_announced_roll_of_3_9_is_not_noticed() {
    roll(ZooKeeperVersion::V3_9_5, Roll::Soft, true);
}

#[test]
fn a_soft_roll_of_3_9_is_not_noticed() {
    roll(ZooKeeperVersion::V3_9_5, Roll::Soft, false);
}

#[test]
fn a_hard_roll_of_3_8_is_not_noticed() {
    roll(ZooKeeperVersion::V3_8_6, Roll::Hard, false);
}
