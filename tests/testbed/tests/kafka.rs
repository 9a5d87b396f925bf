//! Real Kafka clusters.
use std::time::Instant;
use testbed::{Cluster, KafkaVersion, Spec};

#[test]
fn cluster_3_9_2() {
    let t = Instant::now();
    let mut c = Cluster::start(Spec::new(KafkaVersion::V3_9_2).fast()).unwrap();
    eprintln!("started {:?}", t.elapsed());
    c.create_topic("t", 6, 3, &[]).unwrap();
    eprintln!("topic {:?}", t.elapsed());
    c.roll_soft().unwrap();
    eprintln!("rolled {:?}", t.elapsed());
    println!("{:?}", c.admin().topic("t"));
    println!("{:?}", c.admin().nodes());
}
#[test]
fn cluster_4_3_1() {
    let t = Instant::now();
    let mut c = Cluster::start(Spec::new(KafkaVersion::V4_3_1).fast()).unwrap();
    eprintln!("started {:?}", t.elapsed());
    c.create_topic("t", 6, 3, &[]).unwrap();
    c.restart(1, testbed::Roll::Hard).unwrap();
    eprintln!("restarted {:?}", t.elapsed());
}
#[test]
fn cluster_2_8_2() {
    let t = Instant::now();
    let mut c = Cluster::start(Spec::new(KafkaVersion::V2_8_2).fast()).unwrap();
    eprintln!("started {:?}", t.elapsed());
    c.create_topic("t", 6, 3, &[]).unwrap();
    c.restart(1, testbed::Roll::Soft).unwrap();
    eprintln!("restarted {:?}", t.elapsed());
}
