//! The gates of an upgrade in front of a real ensemble: closed for the right reasons, and open when all is well.

use std::time::Duration;

use testbed::zookeeper::Ensemble;
use testbed::{Controller, EnsembleSpec, Sidecar, ZooKeeperVersion};

#[test]
fn a_server_of_3_9_has_its_turn() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5)).unwrap();
    let binary = crate::binary();
    let (mut sidecar, _) = Sidecar::zookeeper(binary, &ensemble.servers(), "", "").unwrap();
    sidecar.wait_ready(Duration::from_secs(60)).unwrap();
    let leader = ensemble.leader().unwrap();
    let others: Vec<u8> = ensemble.ids().into_iter().filter(|id| *id != leader).collect();
    let [follower, other] = others.as_slice() else { panic!("{others:?}") };
    let name = |id: u8| ensemble.addr(id).to_string();
    let members: Vec<String> = ensemble.ids().into_iter().map(name).collect();
    let (first, second, leads) = (name(*follower), name(*other), name(leader));
    let controller = Controller::begin(&sidecar, &members).unwrap();
    controller.wait_gate("stop", Some(&leads), &["not_drained", "leader_comes_last"]).unwrap();
    controller.wait_gate("stop", Some(&second), &["not_drained"]).unwrap();
    let status = controller.status().unwrap();
    assert_eq!(status.get("version").and_then(|version| version.as_str()), Some("3.9.5"), "{status:#}");

    controller.drain(&first).unwrap();
    controller.wait_gate("stop", Some(&first), &[]).unwrap();
    controller.wait_closed("stop", Some(&second), &["another_member_draining"]).unwrap();
    ensemble.stop(*follower).unwrap();
    controller.wait_gate("stop", Some(&second), &["not_drained", "another_member_down", "quorum"]).unwrap();
    controller.wait_closed("next", Some(&first), &["member_unreachable", "followers_not_synced"]).unwrap();
    ensemble.start_server(*follower).unwrap();
    ensemble.wait_ready().unwrap();
    controller.wait_gate("next", Some(&first), &[]).unwrap();
    controller.wait_gate("stop", Some(&second), &["not_drained"]).unwrap();
    controller.wait_gate("finalize", None, &["turns_left"]).unwrap();
    controller.finalize_with(&leads, members.len()).unwrap();
    let drains = sidecar.metric_sum("evenkeel_upgrade_drain_seconds_count", &[]).unwrap();
    assert!(testbed::scene::is(drains, 1.0), "{drains} drains counted");
}
