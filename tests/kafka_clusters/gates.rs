//! The gates of an upgrade in front of real brokers: closed for the right reasons, and open when all is well.

use std::time::Duration;

use testbed::{Controller, KafkaVersion, Scene, Spec};

use crate::binary;

fn one_broker_has_its_turn(version: KafkaVersion, release: &str) {
    let mut scene = Scene::start(Spec::new(version).fast(), binary()).unwrap();
    scene.cluster.create_topic("orders", 6, 3, &[]).unwrap();
    let members: Vec<String> = scene.cluster.ids().iter().map(ToString::to_string).collect();
    let controller = Controller::begin(&scene.sidecar, &members).unwrap();
    // Until facts are there, every gate is closed.
    let mut brokers = Vec::new();
    let mut active = None;
    for id in &members {
        controller.wait_closed("stop", Some(id), &["not_drained"]).unwrap();
        let found = testbed::wait::poll("facts", Duration::from_secs(60), Duration::from_millis(200), || {
            let found = controller.gate("stop", Some(id))?;
            Ok((!found.contains(&"facts_unknown".to_owned())).then_some(found))
        });
        match found.unwrap().as_slice() {
            [one] if one == "not_drained" => brokers.push(id.clone()),
            [_, other] if other == "controller_comes_last" => active = Some(id.clone()),
            other => panic!("{id}: {other:?}"),
        }
    }
    let (active, [first, second]) = (active.unwrap(), brokers.as_slice()) else { panic!("{brokers:?}") };
    let status = controller.status().unwrap();
    let told = |at: &str| status.pointer(at).and_then(|version| version.as_str());
    for at in ["/version", "/members/0/version", "/members/1/version", "/members/2/version"] {
        assert_eq!(told(at), Some(release), "{at} {status:#}");
    }

    controller.drain(first).unwrap();
    controller.wait_gate("stop", Some(first), &[]).unwrap();
    controller.wait_closed("stop", Some(second), &["another_member_draining"]).unwrap();
    scene.cluster.stop(first.parse().unwrap()).unwrap();
    // Two of three are in sync and vote: neither of them can be spared.
    controller
        .wait_gate("stop", Some(second), &["not_drained", "another_member_down", "min_isr", "quorum"])
        .unwrap();
    controller.wait_closed("next", Some(first), &["member_unreachable", "member_not_in_sync"]).unwrap();
    controller.wait_closed("finalize", None, &["cluster_size"]).unwrap();
    scene.cluster.start_node(first.parse().unwrap()).unwrap();
    scene.cluster.wait_ready().unwrap();
    controller.wait_gate("next", Some(first), &[]).unwrap();
    controller.wait_gate("stop", Some(second), &["not_drained"]).unwrap();
    // The other one and the controller are left.
    controller.wait_closed("stop", Some(&active), &["controller_comes_last"]).unwrap();
    controller.wait_gate("finalize", None, &["turns_left"]).unwrap();
    controller.finalize_with(&active, members.len()).unwrap();
    let drains = scene.sidecar.metric_sum("evenkeel_upgrade_drain_seconds_count", &[]).unwrap();
    assert!(testbed::scene::is(drains, 1.0), "{drains} drains counted");
}

#[test]
fn a_broker_of_3_9_2_has_its_turn() {
    one_broker_has_its_turn(KafkaVersion::V3_9_2, "3.9");
}

#[test]
fn a_broker_of_4_3_1_has_its_turn() {
    one_broker_has_its_turn(KafkaVersion::V4_3_1, "4.3");
}
