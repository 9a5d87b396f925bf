//! Kafka 2.8.2 with `ZooKeeper`: old brokers under an old client, where Python still runs it.

use testbed::python::PythonClient;
use testbed::{KafkaVersion, Library, Load, Roll, Scene, Spec};

use crate::{assert_planned, binary};

#[test]
fn soft_roll_of_2_8_2() {
    // With ZooKeeper a new controller gives leadership back to preferred leaders after 5 s by itself: moves of leadership that
    // are no stop of a broker, and here only stops are counted.
    let spec = Spec::new(KafkaVersion::V2_8_2).fast().set("auto.leader.rebalance.enable", false);
    let mut scene = Scene::start(spec, binary()).unwrap();
    let through = scene.front.listen.to_string();
    let mut producers = vec![Load::java("java").set("batch.size", "0").rate(100.0)];
    match PythonClient::KafkaPython202.unavailable() {
        None => {
            let library = Library::Python(PythonClient::KafkaPython202);
            producers.push(Load::java("kafka-python").library(library).rate(100.0));
        }
        Some(why) => println!("kafka-python: {why}"),
    }
    let mut load = Load::start(&mut scene.cluster, "rolled", &through, &producers).unwrap();
    load.roll(&mut scene.cluster, Roll::Soft).unwrap();
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
}
