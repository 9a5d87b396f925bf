//! What closes gates, brought about on real brokers one by one: each is told by its code and by no other, and when it is cured the
//! gate opens.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testbed::{
    Cluster, Controller, DnsServer, KafkaVersion, ProducerProgram, ProducerSpec, Scene, Sidecar, Spec,
};

use crate::binary;

const DOMAIN: &str = "kafka.test";
const PATIENCE: Duration = Duration::from_secs(60);

fn members(cluster: &Cluster) -> Vec<String> {
    cluster.ids().iter().map(ToString::to_string).collect()
}

/// The active controller, and the other two brokers of three.
fn roles(cluster: &mut Cluster) -> (u8, [u8; 2]) {
    let active = u8::try_from(cluster.admin().active_controller().unwrap()).unwrap();
    let others: Vec<u8> = cluster.ids().into_iter().filter(|id| *id != active).collect();
    (active, others.try_into().unwrap())
}

fn name(id: u8) -> String {
    format!("kafka-{id}.{DOMAIN}")
}

fn ip(cluster: &Cluster, id: u8) -> Ipv4Addr {
    match cluster.addr(id).unwrap().ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => panic!("{ip}"),
    }
}

/// A broker is back and lacks much: it is listed, answers, and is out of sync with what it has copies of. It may take so little of it at
/// a time (Kafka's own throttle of followers) that it stays so until that is lifted.
#[test]
fn a_broker_that_is_up_and_behind() {
    // One record is all that it gets for a partition in one answer; what follows is throttled.
    let spec = Spec::new(KafkaVersion::V3_9_2).fast().set("replica.fetch.max.bytes", 1024);
    let mut scene = Scene::start(spec, binary()).unwrap();
    let throttled = [("follower.replication.throttled.replicas", "*")];
    scene.cluster.create_topic("orders", 6, 3, &throttled).unwrap();
    let (_, [late, other]) = roles(&mut scene.cluster);
    let controller = Controller::begin(&scene.sidecar, &members(&scene.cluster)).unwrap();
    let (behind, well) = (late.to_string(), other.to_string());
    controller.wait_gate("next", Some(&behind), &[]).unwrap();
    scene.cluster.admin().throttle(late, Some(1)).unwrap();
    scene.cluster.stop(late).unwrap();
    let through = scene.front.listen.to_string();
    let writer = ProducerSpec::new("writer", &through, "orders", 6).rate(600.0).padding(1000);
    let writer = ProducerProgram::start(&writer.set("batch.size", "0")).unwrap();
    writer.wait_outcomes(3000, PATIENCE).unwrap();
    let history = writer.stop().unwrap();
    assert!(history.outcomes.iter().all(|outcome| outcome.result.is_ok()), "written without it");
    scene.cluster.start_node(late).unwrap();

    controller.wait_gate("next", Some(&behind), &["member_not_in_sync"]).unwrap();
    controller.wait_gate("next", Some(&well), &["under_replicated_partitions"]).unwrap();
    controller.wait_gate("stop", Some(&well), &["not_drained", "min_isr"]).unwrap();
    // Nothing is the worse for its going again.
    controller.wait_gate("stop", Some(&behind), &["not_drained"]).unwrap();
    scene.cluster.admin().throttle(late, None).unwrap();
    for member in [&behind, &well] {
        controller.wait_gate("next", Some(member), &[]).unwrap();
        controller.wait_gate("stop", Some(member), &["not_drained"]).unwrap();
    }
}

/// A broker that the plan names was never there, then comes; later it goes. And its name leads to another broker for a while. The
/// controllers are processes of their own, so that nothing else is amiss without it.
#[test]
fn a_broker_that_is_missing_and_one_in_the_place_of_another() {
    let spec = Spec::new(KafkaVersion::V3_9_2).fast().controllers_apart(1).domain(DOMAIN);
    let mut cluster = Cluster::prepare(spec).unwrap();
    let dns = DnsServer::start(1).unwrap();
    for id in cluster.ids() {
        dns.set(&name(id), ip(&cluster, id));
    }
    for id in [1, 2] {
        cluster.start_node(id).unwrap();
    }
    cluster.wait_ready().unwrap();
    let servers = format!("[dns]\nservers = [\"{}\"]\n", dns.addr());
    let (mut sidecar, _) = Sidecar::kafka(binary(), &cluster.bootstrap(), &servers).unwrap();
    sidecar.wait_ready(PATIENCE).unwrap();
    let controller = Controller::begin(&sidecar, &members(&cluster)).unwrap();

    controller.wait_gate("stop", Some("1"), &["not_drained", "another_member_down"]).unwrap();
    controller.wait_gate("finalize", None, &["cluster_size", "member_not_listed", "turns_left"]).unwrap();
    cluster.start_node(3).unwrap();
    cluster.wait_ready().unwrap();
    controller.wait_gate("stop", Some("1"), &["not_drained"]).unwrap();
    controller.wait_gate("next", Some("3"), &[]).unwrap();
    controller.wait_gate("finalize", None, &["turns_left"]).unwrap();
    cluster.stop(3).unwrap();
    controller.wait_gate("next", Some("3"), &["member_unreachable", "member_not_listed"]).unwrap();
    controller.wait_gate("finalize", None, &["cluster_size", "member_not_listed", "turns_left"]).unwrap();

    // It comes back, and its name leads to broker 2, which answers there.
    dns.set(&name(3), ip(&cluster, 2));
    cluster.start_node(3).unwrap();
    cluster.wait_ready().unwrap();
    controller.wait_gate("next", Some("3"), &["wrong_member"]).unwrap();
    controller.wait_gate("finalize", None, &["wrong_member", "turns_left"]).unwrap();
    controller.wait_gate("stop", Some("1"), &["not_drained", "another_member_down"]).unwrap();
    dns.set(&name(3), ip(&cluster, 3));
    controller.wait_gate("next", Some("3"), &[]).unwrap();
    controller.wait_gate("finalize", None, &["turns_left"]).unwrap();
    controller.wait_gate("stop", Some("1"), &["not_drained"]).unwrap();
}

/// An upgrade by hand in which what can go wrong goes wrong: a second broker dies, one comes back as it was, and the active controller
/// becomes another one in the middle.
#[test]
fn a_second_broker_down_one_at_its_old_version_and_another_controller() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    scene.cluster.create_topic("orders", 6, 3, &[]).unwrap();
    let cluster = &mut scene.cluster;
    let (active, [first, second]) = roles(cluster);
    let controller = Controller::upgrade(&scene.sidecar, &members(cluster), "3.9", "4.3").unwrap();
    let [one, two, leads] = [first, second, active].map(|id| id.to_string());
    controller.wait_gate("stop", Some(&leads), &["not_drained", "controller_comes_last"]).unwrap();
    controller.wait_gate("finalize", None, &["not_at_target"; 3]).unwrap();

    controller.drain(&one).unwrap();
    controller.wait_gate("stop", Some(&one), &[]).unwrap();
    cluster.kill(second).unwrap();
    controller.wait_gate("stop", Some(&one), &["another_member_down", "min_isr", "quorum"]).unwrap();
    cluster.start_node(second).unwrap();
    cluster.wait_ready().unwrap();
    controller.wait_gate("stop", Some(&one), &[]).unwrap();

    // It was restarted, and nothing else was done to it.
    cluster.stop(first).unwrap();
    cluster.start_node(first).unwrap();
    cluster.wait_ready().unwrap();
    controller.undrain(&one).unwrap();
    controller.wait_gate("next", Some(&one), &["not_at_target"]).unwrap();
    controller.drain(&one).unwrap();
    controller.wait_gate("stop", Some(&one), &[]).unwrap();
    cluster.stop(first).unwrap();
    cluster.set_version(first, KafkaVersion::V4_3_1).unwrap();

    // The controller goes while the first is away: so the first lacks what was written since, and only the second can be elected.
    controller.wait_closed("next", Some(&one), &["member_unreachable"]).unwrap();
    cluster.stop(active).unwrap();
    cluster.start_node(first).unwrap();
    cluster.start_node(active).unwrap();
    cluster.wait_ready().unwrap();
    controller.undrain(&one).unwrap();
    assert_eq!(cluster.admin().active_controller().unwrap(), i32::from(second));
    controller.wait_gate("next", Some(&one), &[]).unwrap();
    controller.wait_gate("stop", Some(&leads), &["not_drained"]).unwrap();
    controller.wait_gate("stop", Some(&two), &["not_drained", "controller_comes_last"]).unwrap();
    controller.drain(&two).unwrap();
    controller.wait_gate("stop", Some(&two), &["controller_comes_last"]).unwrap();
    controller.undrain(&two).unwrap();

    // The one that led has its turn now. Then nobody is left but the one that leads.
    for (id, member) in [(active, &leads), (second, &two)] {
        controller.wait_closed("finalize", None, &["not_at_target"]).unwrap();
        controller.drain(member).unwrap();
        controller.wait_gate("stop", Some(member), &[]).unwrap();
        cluster.stop(id).unwrap();
        cluster.set_version(id, KafkaVersion::V4_3_1).unwrap();
        cluster.start_node(id).unwrap();
        cluster.wait_ready().unwrap();
        controller.undrain(member).unwrap();
        controller.wait_gate("next", Some(member), &[]).unwrap();
    }
    controller.wait_gate("finalize", None, &[]).unwrap();
    controller.finalize().unwrap();
}
