//! A rolling upgrade of the brokers while clients stay connected: members of both versions live side by side.

use testbed::{KafkaVersion, Load, Roll, Scene, Spec};

use crate::{assert_errors_agree, assert_planned, binary};

#[test]
fn brokers_go_from_3_9_2_to_4_3_1() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    let through = scene.front.listen.to_string();
    let producer = Load::java("plain").set("batch.size", "0");
    let mut load = Load::start(&mut scene.cluster, "upgraded", &through, &[producer]).unwrap();
    for id in scene.cluster.ids() {
        scene.cluster.set_version(id, KafkaVersion::V4_3_1).unwrap();
        load.note_stop();
        scene.cluster.restart(id, Roll::Soft).unwrap();
        load.go_on().unwrap();
    }
    // 3.9 ends at level 21; what 4.3 has beyond it comes only with this step.
    assert!(scene.cluster.admin().finalize_upgrade().unwrap() > 21);
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert_errors_agree(&report, &scene.sidecar);

    // Clients that connect now find everything as before.
    let load = Load::start(&mut scene.cluster, "after", &through, &[Load::java("new")]).unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert!(report.breaches_of_planned(0).is_empty(), "{:#?}", report.breaches_of_planned(0));
}
