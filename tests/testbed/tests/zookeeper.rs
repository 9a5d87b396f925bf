//! Real `ZooKeeper` ensembles of both versions: start, roll, and each server's mode.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use testbed::zookeeper::Mode;
use testbed::{Ensemble, Roll, ZooKeeperVersion};

fn modes(ensemble: &Ensemble) -> (usize, usize) {
    let all: Vec<Mode> = ensemble.ids().into_iter().map(|id| ensemble.mode(id).unwrap()).collect();
    (all.iter().filter(|&&m| m == Mode::Leader).count(), all.iter().filter(|&&m| m == Mode::Follower).count())
}

fn starts_and_rolls(version: ZooKeeperVersion) {
    let mut ensemble = Ensemble::start(version, 3).unwrap();
    assert_eq!(modes(&ensemble), (1, 2));
    for id in ensemble.ids() {
        let answer = ensemble.ask(id, "srvr").unwrap();
        assert!(answer.contains(&version.to_string()), "{answer}");
    }
    ensemble.roll(Roll::Soft).unwrap();
    assert_eq!(modes(&ensemble), (1, 2));
    let leader = ensemble.ids().into_iter().find(|&id| ensemble.mode(id) == Some(Mode::Leader)).unwrap();
    ensemble.restart(leader, Roll::Hard).unwrap();
    assert_eq!(modes(&ensemble), (1, 2));
    ensemble.freeze(leader).unwrap();
    assert_eq!(ensemble.mode(leader), None);
    ensemble.thaw(leader).unwrap();
    ensemble.wait_ready().unwrap();
}

#[test]
fn zookeeper_3_8_6_starts_and_rolls() {
    starts_and_rolls(ZooKeeperVersion::V3_8_6);
}

#[test]
fn zookeeper_3_9_5_starts_and_rolls() {
    starts_and_rolls(ZooKeeperVersion::V3_9_5);
}

#[test]
fn versions_without_a_parent_pom_start_too() {
    for version in [ZooKeeperVersion::V3_8_7, ZooKeeperVersion::V3_9_6] {
        let ensemble = Ensemble::start(version, 1).unwrap();
        assert!(ensemble.ask(1, "srvr").unwrap().contains(&version.to_string()));
    }
}

#[test]
fn another_version_takes_over_the_data() {
    let mut ensemble = Ensemble::start(ZooKeeperVersion::V3_8_6, 1).unwrap();
    ensemble.stop(1).unwrap();
    ensemble.set_version(1, ZooKeeperVersion::V3_9_5).unwrap();
    ensemble.start_server(1).unwrap();
    ensemble.wait_ready().unwrap();
    assert!(ensemble.ask(1, "srvr").unwrap().contains("3.9.5"));
}
