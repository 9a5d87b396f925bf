//! Real Kafka clusters: start, faults, rolls, and the judge on what a plain Java client makes of them.
//!
//! Run with `--test-threads=1`: each test has three brokers, and a small machine carries one such cluster at a time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use std::time::Duration;

use testbed::{
    Cluster, ConsumerProgram, ConsumerSpec, KafkaVersion, ProducerProgram, ProducerSpec, Roll, Spec,
    judge_consumer, judge_producers,
};

const PATIENCE: Duration = Duration::from_secs(90);

fn started(version: KafkaVersion) -> Cluster {
    let mut cluster = Cluster::start(Spec::new(version).fast()).unwrap();
    cluster.create_topic("t", 6, 3, &[]).unwrap();
    let partitions = cluster.admin().topic("t").unwrap();
    assert_eq!(partitions.len(), 6);
    assert!(partitions.iter().all(|p| p.isr.len() == 3 && p.leader > 0), "{partitions:?}");
    cluster
}

/// 600 records with nothing going on: every one must arrive, once and in order, and be delivered once.
fn quiet_run(cluster: &mut Cluster) {
    let producer = ProducerProgram::start(
        &ProducerSpec::new("quiet", &cluster.bootstrap(), "t", 6).rate(400.0).count(600),
    )
    .unwrap();
    let consumer =
        ConsumerProgram::start(&ConsumerSpec::new("reader", &cluster.bootstrap(), "t", "g")).unwrap();
    let history = producer.finish(PATIENCE).unwrap();
    assert!(consumer.wait_delivered(600, PATIENCE), "{} delivered", consumer.delivered());
    let events = consumer.stop().unwrap();
    let log = cluster.admin().read_topic("t").unwrap();
    let verdict = judge_producers(&[history], &log);
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!((verdict.sent, verdict.acked, log.len()), (600, 600, 600), "{verdict:?}");
    let verdict = judge_consumer(&[events], &log);
    assert!(verdict.missed.is_empty() && verdict.twice.is_empty() && verdict.commits > 0, "{verdict:?}");
    assert_eq!((verdict.delivered, verdict.rebalances), (600, 0), "{verdict:?}");
}

#[test]
fn kafka_2_8_2_serves() {
    quiet_run(&mut started(KafkaVersion::V2_8_2));
}

#[test]
fn kafka_4_3_1_serves_and_comes_back_from_a_kill() {
    let mut cluster = started(KafkaVersion::V4_3_1);
    quiet_run(&mut cluster);
    // A member of the newer group protocol is delivered the same.
    let spec = ConsumerSpec::new("newer", &cluster.bootstrap(), "t", "g848").kip848();
    let consumer = ConsumerProgram::start(&spec).unwrap();
    consumer.wait_assigned(PATIENCE).unwrap();
    assert!(consumer.wait_delivered(600, PATIENCE), "{} delivered", consumer.delivered());
    let log = cluster.admin().read_topic("t").unwrap();
    let verdict = judge_consumer(&[consumer.stop().unwrap()], &log);
    assert!(
        verdict.missed.is_empty() && verdict.twice.is_empty() && verdict.errors.is_empty(),
        "{verdict:?}"
    );
    // A broker may hear of a new topic a moment later than its leader: nothing known is not nothing there.
    let unheard = cluster.admin().read_topic("unheard-of");
    assert!(unheard.is_err(), "{unheard:?}");
    cluster.restart(2, Roll::Hard).unwrap();
    assert_eq!(cluster.admin().nodes().unwrap().len(), 3);
}

#[test]
fn kafka_3_9_2_rolls_freezes_and_moves() {
    let mut cluster = started(KafkaVersion::V3_9_2);
    quiet_run(&mut cluster);

    // A soft roll under a client that doesn't retry. Its errors are its own; nothing acknowledged may be lost.
    cluster.create_topic("rolled", 6, 3, &[]).unwrap();
    let spec = ProducerSpec::new("plain", &cluster.bootstrap(), "rolled", 6);
    let producer = ProducerProgram::start(&spec).unwrap();
    producer.wait_outcomes(100, PATIENCE).unwrap();
    cluster.roll_soft().unwrap();
    let before = producer.progress().outcomes;
    producer.wait_outcomes(before + 200, PATIENCE).unwrap();
    let history = producer.stop().unwrap();
    let log = cluster.admin().read_topic("rolled").unwrap();
    let verdict = judge_producers(&[history], &log);
    println!(
        "direct, soft roll: {} sent, {} errors {:?}, {} repeated, {} out of order, longest pause {} ms",
        verdict.sent,
        verdict.errors,
        verdict.by_class,
        verdict.repeated.len(),
        verdict.reordered.len(),
        verdict.longest_pause_us / 1000
    );
    assert_eq!(verdict.sent, verdict.acked + verdict.errors);
    assert!(verdict.lost.is_empty() && verdict.foreign == 0, "{verdict:?}");

    // A frozen node falls out of the cluster's view, and is back when it thaws.
    cluster.freeze(3).unwrap();
    testbed::wait::until("the frozen node to be fenced", PATIENCE, || {
        cluster.admin().nodes().is_ok_and(|nodes| nodes.len() == 2)
    })
    .unwrap();
    cluster.wait_ready().unwrap();
    cluster.thaw(3).unwrap();
    cluster.wait_ready().unwrap();
    assert_eq!(cluster.admin().nodes().unwrap().len(), 3);

    // Another address for clients: the old one refuses, the new one is served.
    let old = cluster.addr(1).unwrap();
    cluster.stop(1).unwrap();
    let moved = cluster.spare_ip(1);
    cluster.set_addr(1, moved).unwrap();
    cluster.start_node(1).unwrap();
    cluster.wait_ready().unwrap();
    assert!(!testbed::wait::accepts(old));
    assert!(testbed::wait::accepts(cluster.addr(1).unwrap()));
    assert!(cluster.bootstrap().contains(&moved.to_string()));
    let spec = ProducerSpec::new("after", &format!("{moved}:9092"), "t", 6).count(60);
    let history = ProducerProgram::start(&spec).unwrap().finish(PATIENCE).unwrap();
    assert!(history.outcomes.iter().all(|o| o.result.is_ok()), "{history:?}");
}

#[test]
fn a_node_with_a_name_is_upgraded() {
    let spec = Spec::new(KafkaVersion::V3_9_2).nodes(1).domain("kafka.test");
    let mut cluster = Cluster::start(spec).unwrap();
    assert_eq!(cluster.bootstrap(), "kafka-1.kafka.test:9092");
    cluster.create_topic("t", 1, 1, &[]).unwrap();
    let id = cluster.admin().cluster_id().unwrap();
    cluster.set_version(1, KafkaVersion::V4_3_1).unwrap();
    cluster.restart(1, Roll::Soft).unwrap();
    assert_eq!(cluster.admin().cluster_id().unwrap(), id);
    assert_eq!(cluster.admin().topic("t").unwrap().len(), 1);
    // 3.9 ends at level 21; what 4.3 has beyond it comes only with this step.
    assert!(cluster.admin().finalize_upgrade().unwrap() > 21);
}
