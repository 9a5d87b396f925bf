//! A rolling upgrade of the brokers while clients stay connected, and a roll of the new version.

use testbed::{KafkaVersion, Load, Roll, Scene, Spec};

use crate::rolls::no_broker_address_leaks;
use crate::{assert_errors_agree, assert_planned, binary};

#[test]
fn brokers_go_from_3_9_2_to_4_3_1_and_roll_there() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    let through = scene.front.listen.to_string();
    let producer = Load::java("plain").set("batch.size", "0");
    let mut load = Load::start(&mut scene.cluster, "upgraded", &through, &[producer]).unwrap();
    for id in scene.cluster.ids() {
        scene.cluster.set_version(id, KafkaVersion::V4_3_1).unwrap();
        load.note_stop();
        // Members of both versions live side by side until the last one is back.
        scene.cluster.restart(id, Roll::Soft).unwrap();
    }
    // 3.9 ends at level 21; what 4.3 has beyond it comes only with this step.
    assert!(scene.cluster.admin().finalize_upgrade().unwrap() > 21);
    scene.cluster.admin().elect_preferred().unwrap();
    load.go_on().unwrap();
    // The same clients, still connected, go through a roll of the new version; one that comes now is told no more.
    load.roll(&mut scene.cluster, Roll::Soft).unwrap();
    load.go_on().unwrap();
    no_broker_address_leaks(&mut scene, &load);
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert_errors_agree(&report, &scene.sidecar);
}
