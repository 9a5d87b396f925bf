//! Planned rolls: every broker is stopped with SIGTERM and started again, one after another.

use testbed::{Admin, KafkaVersion, Load, Roll, Scene, Spec};

use crate::{assert_errors_agree, assert_planned, binary, metric};

#[test]
fn soft_roll_of_3_9_2() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    let through = scene.front.listen.to_string();
    // One record for each batch: then Evenkeel, which sees batches, counts what the application counts.
    let producer = Load::java("plain").set("batch.size", "0");
    let mut load = Load::start(&mut scene.cluster, "rolled", &through, &[producer]).unwrap();
    no_broker_address_leaks(&mut scene, &load);
    load.roll(&mut scene.cluster, Roll::Soft).unwrap();
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert_errors_agree(&report, &scene.sidecar);
    assert!(
        metric(&scene.sidecar, "masked_errors_total", &[]) > 0.5,
        "a roll without an error to mask is none"
    );
    assert!(
        metric(&scene.sidecar, "hold_started_total", &[]) > 0.5,
        "a roll without anything to hold is none"
    );
}

/// The addresses of brokers that clients are told are Evenkeel's own, one for each node.
pub(crate) fn no_broker_address_leaks(scene: &mut Scene, load: &Load) {
    let (topic, group) = (load.topic(), load.group());
    let mut through = Admin::start(&scene.front.listen.to_string()).unwrap();
    let places = through.places(topic, &group).unwrap();
    for place in &places {
        let own = u8::try_from(place.id).is_ok_and(|id| place.addr == scene.front.broker(id).to_string());
        assert!(own, "{place:?} is no address of Evenkeel's for this node");
    }
    for told_by in ["describeCluster", "controller", "describeTopics", "partitionsFor", "coordinator"] {
        assert!(places.iter().any(|place| place.told_by == told_by), "no {told_by} in {places:?}");
    }
    // The same question to the brokers shows their own addresses: so it could have failed.
    let direct = scene.cluster.admin().places(topic, &group).unwrap();
    assert_eq!(direct.len(), places.len());
    let leaks = |addr: &str| addr.parse().is_ok_and(|addr| scene.front.is_broker(addr));
    assert!(direct.iter().all(|place| !leaks(&place.addr)), "{direct:?}");
}
