//! Producers with acks=0, which nobody tells of anything: with `raise_acks = "all"` a planned roll loses none of their records.

use testbed::python::PythonClient;
use testbed::{KafkaVersion, Library, Load, Roll, Scene, Spec};

use crate::{assert_planned, binary, metric};

#[test]
fn soft_roll_of_3_9_2_with_acks_0() {
    let spec = Spec::new(KafkaVersion::V3_9_2).fast();
    let mut scene = Scene::with(spec, binary(), "", "raise_acks = \"all\"").unwrap();
    let through = scene.front.listen.to_string();
    let silent = |id: &str| Load::java(id).set("acks", "0").rate(100.0);
    let mut producers = vec![silent("java").set("batch.size", "0")];
    match PythonClient::KafkaPython202.unavailable() {
        None => producers.push(silent("kafka-python").library(Library::Python(PythonClient::KafkaPython202))),
        Some(why) => println!("kafka-python: {why}"),
    }
    let mut load = Load::start(&mut scene.cluster, "silent", &through, &producers).unwrap();
    load.roll(&mut scene.cluster, Roll::Soft).unwrap();
    load.go_on().unwrap();
    // Leadership moves once more, with every broker up.
    scene.cluster.admin().elect_preferred().unwrap();
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    assert!(metric(&scene.sidecar, "kafka_raised_acks_total", &[]) > 200.0, "nothing was raised");
    assert!(
        metric(&scene.sidecar, "masked_errors_total", &[]) > 0.5,
        "a roll without an error to mask is none"
    );
    for action in ["error", "swallowed", "dropped"] {
        let label = format!("action=\"{action}\"");
        let given_up = metric(&scene.sidecar, "unknown_outcomes_total", &[&label]);
        assert!(crate::is_zero(given_up), "{given_up} {action}");
    }
}
