//! What closes gates, brought about on real servers one by one: each is told by its code and by no other, and when it is cured the gate
//! opens.

use std::time::Duration;

use rustix::process::Signal;
use testbed::zookeeper::Ensemble;
use testbed::{Controller, EnsembleSpec, Roll, Sidecar, ZooKeeperVersion};

const PATIENCE: Duration = Duration::from_secs(60);

/// The leader, and the other two servers of three.
fn roles(ensemble: &Ensemble) -> (u8, [u8; 2]) {
    let leader = ensemble.leader().unwrap();
    let others: Vec<u8> = ensemble.ids().into_iter().filter(|id| *id != leader).collect();
    (leader, others.try_into().unwrap())
}

fn names(ensemble: &Ensemble) -> Vec<String> {
    ensemble.ids().into_iter().map(|id| ensemble.addr(id).to_string()).collect()
}

/// A follower that the sidecar isn't told of at first; later it is frozen, so that its leader gives it up.
#[test]
fn a_follower_that_is_missing_and_one_that_is_not_in_sync() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).sync_limit(4)).unwrap();
    let (leader, [late, other]) = roles(&ensemble);
    let [leads, behind, well] = [leader, late, other].map(|id| ensemble.addr(id).to_string());
    let (mut sidecar, _) = Sidecar::zookeeper(crate::binary(), &format!("{leads},{well}"), "", "").unwrap();
    sidecar.wait_ready(PATIENCE).unwrap();
    let controller = Controller::begin(&sidecar, &names(&ensemble)).unwrap();
    controller.wait_gate("stop", Some(&well), &["not_drained", "another_member_down"]).unwrap();
    controller.wait_gate("finalize", None, &["cluster_size", "member_not_listed", "turns_left"]).unwrap();
    let config = std::fs::read_to_string(sidecar.config()).unwrap();
    let whole = config.replace(&format!("\"{well}\""), &format!("\"{well}\", \"{behind}\""));
    assert_ne!(config, whole);
    std::fs::write(sidecar.config(), whole).unwrap();
    sidecar.signal(Signal::HUP).unwrap();
    controller.wait_gate("stop", Some(&well), &["not_drained"]).unwrap();
    controller.wait_gate("next", Some(&behind), &[]).unwrap();
    controller.wait_gate("finalize", None, &["turns_left"]).unwrap();

    ensemble.freeze(late).unwrap();
    controller.wait_gate("next", Some(&well), &["followers_not_synced"]).unwrap();
    controller.wait_gate("next", Some(&behind), &["member_unreachable", "followers_not_synced"]).unwrap();
    controller.wait_gate("stop", Some(&well), &["not_drained", "another_member_down", "quorum"]).unwrap();
    ensemble.thaw(late).unwrap();
    for member in [&well, &behind] {
        controller.wait_gate("next", Some(member), &[]).unwrap();
        controller.wait_gate("stop", Some(member), &["not_drained"]).unwrap();
    }
}

/// An upgrade by hand in which what can go wrong goes wrong: a second server dies, one comes back as it was, and another one leads in the
/// middle.
#[test]
fn a_second_server_down_one_at_its_old_version_and_another_leader() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_8_6)).unwrap();
    let (mut sidecar, _) = Sidecar::zookeeper(crate::binary(), &ensemble.servers(), "", "").unwrap();
    sidecar.wait_ready(PATIENCE).unwrap();
    let (leader, [first, second]) = roles(&ensemble);
    let [leads, one] = [leader, first].map(|id| ensemble.addr(id).to_string());
    let controller = Controller::upgrade(&sidecar, &names(&ensemble), "3.8.6", "3.9.5").unwrap();
    controller.wait_gate("stop", Some(&leads), &["not_drained", "leader_comes_last"]).unwrap();
    controller.wait_gate("finalize", None, &["not_at_target"; 3]).unwrap();

    controller.drain(&one).unwrap();
    controller.wait_gate("stop", Some(&one), &[]).unwrap();
    ensemble.kill(second).unwrap();
    controller.wait_gate("stop", Some(&one), &["another_member_down", "quorum"]).unwrap();
    ensemble.start_server(second).unwrap();
    ensemble.wait_ready().unwrap();
    controller.wait_gate("stop", Some(&one), &[]).unwrap();

    // It was restarted, and nothing else was done to it.
    ensemble.restart(first, Roll::Soft).unwrap();
    controller.undrain(&one).unwrap();
    controller.wait_gate("next", Some(&one), &["not_at_target"]).unwrap();
    take_turn(&mut ensemble, &controller, first);

    // Another one leads, which has to come last now; the one that led has not.
    ensemble.stop(leader).unwrap();
    ensemble.wait_ready().unwrap();
    ensemble.start_server(leader).unwrap();
    ensemble.wait_ready().unwrap();
    let now = ensemble.leader().unwrap();
    assert_ne!(now, leader, "two of three had elected one of them");
    let name = ensemble.addr(now).to_string();
    controller.wait_gate("stop", Some(&name), &["not_drained", "leader_comes_last"]).unwrap();
    controller.wait_gate("stop", Some(&leads), &["not_drained"]).unwrap();
    controller.drain(&name).unwrap();
    controller.wait_gate("stop", Some(&name), &["leader_comes_last"]).unwrap();
    controller.undrain(&name).unwrap();
    for id in [leader, second] {
        controller.wait_closed("finalize", None, &["not_at_target"]).unwrap();
        take_turn(&mut ensemble, &controller, id);
    }
    controller.wait_gate("finalize", None, &[]).unwrap();
    controller.finalize().unwrap();
}

/// A server is drained and comes back with the new version.
fn take_turn(ensemble: &mut Ensemble, controller: &Controller<'_>, id: u8) {
    let member = ensemble.addr(id).to_string();
    controller.drain(&member).unwrap();
    controller.wait_gate("stop", Some(&member), &[]).unwrap();
    ensemble.upgrade(id, ZooKeeperVersion::V3_9_5, Roll::Soft).unwrap();
    controller.undrain(&member).unwrap();
    controller.wait_gate("next", Some(&member), &[]).unwrap();
}
