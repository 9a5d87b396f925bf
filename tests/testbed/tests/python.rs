//! The Python client libraries, where the interpreter allows it: a quiet run each on one real broker.

#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

use std::time::Duration;

use testbed::python::PythonClient;
use testbed::{Cluster, KafkaVersion, Library, ProducerProgram, ProducerSpec, Spec, judge_producers};

#[test]
fn python_producers_run() {
    let mut cluster = Cluster::start(Spec::new(KafkaVersion::V3_9_2).nodes(1)).unwrap();
    for (client, topic) in
        [(PythonClient::KafkaPython202, "kafka-python"), (PythonClient::Confluent, "confluent")]
    {
        if let Some(why) = client.unavailable() {
            println!("{topic}: {why}");
            continue;
        }
        cluster.create_topic(topic, 3, 1, &[]).unwrap();
        let spec = ProducerSpec::new(topic, &cluster.bootstrap(), topic, 3)
            .library(Library::Python(client))
            .rate(300.0)
            .count(300);
        let history = ProducerProgram::start(&spec).unwrap().finish(Duration::from_secs(60)).unwrap();
        let log = cluster.admin().read_topic(topic).unwrap();
        let verdict = judge_producers(&[history], &log);
        assert!(verdict.is_exact(), "{topic}: {verdict:?}");
        assert_eq!((verdict.acked, log.len()), (300, 300), "{topic}: {verdict:?}");
    }
}
