//! The group protocols beside the classic one: KIP-848 members, share groups (KIP-932), and static members, through the
//! stop and the kill of the broker that coordinates them and leads some of their partitions.
//!
//! The acknowledgements of a share group live in the partition's leader: those that are on their way when it steps down
//! fail, and their records are given again. That is the protocol's own word; a direct member hears the same.

use std::time::Duration;

use testbed::judge::ConsumerEvent;
use testbed::scene::PARTITIONS;
use testbed::{
    ConsumerProgram, ConsumerSpec, ConsumerVerdict, KafkaVersion, ProducerProgram, ProducerSpec, Roll, Scene,
    Spec, judge_consumer, judge_producers,
};

use crate::binary;

const PATIENCE: Duration = Duration::from_secs(120);

/// What of a member's life so far is no quiet one.
fn troubles(events: &[ConsumerEvent]) -> Vec<String> {
    let mut assigned = 0;
    let trouble = |event: &ConsumerEvent| match event {
        ConsumerEvent::Assigned { .. } => {
            assigned += 1;
            (assigned > 1).then(|| "assigned again".to_owned())
        }
        ConsumerEvent::Lost(_) => Some("lost".to_owned()),
        ConsumerEvent::Failed { call, error } => Some(format!("{call}: {} {}", error.class, error.message)),
        _ => None,
    };
    events.iter().filter_map(trouble).collect()
}

fn is_share(name: &str) -> bool {
    name == "share" || name == "direct"
}

#[test]
fn newer_groups_go_through_a_stop_and_a_kill() {
    let spec = Spec::new(KafkaVersion::V4_3_1).fast().set("share.coordinator.state.topic.num.partitions", 5);
    let mut scene = Scene::start(spec, binary()).unwrap();
    scene.cluster.create_topic("t", PARTITIONS, 3, &[]).unwrap();
    scene.cluster.admin().elect_preferred().unwrap();
    let through = scene.front.listen.to_string();
    let member = |id: &str| ConsumerSpec::new(id, &through, "t", &format!("{id}-group"));
    let newer = ConsumerProgram::start(&member("newer").kip848()).unwrap();
    let fixed = ConsumerProgram::start(&member("fixed").set("group.instance.id", "fixed-1")).unwrap();
    let both = ConsumerProgram::start(&member("both").kip848().set("group.instance.id", "both-1")).unwrap();
    let share = ConsumerProgram::start(&member("share").share()).unwrap();
    // What a share group goes through without Evenkeel, in the same restarts.
    let direct = ConsumerSpec { bootstrap: scene.cluster.bootstrap(), ..member("direct").share() };
    let direct = ConsumerProgram::start(&direct).unwrap();
    for consumer in [&newer, &fixed, &both] {
        consumer.wait_assigned(PATIENCE).unwrap();
    }
    let producer = ProducerProgram::start(&ProducerSpec::new("p", &through, "t", PARTITIONS)).unwrap();
    let consumers =
        [("newer", newer), ("fixed", fixed), ("both", both), ("share", share), ("direct", direct)];
    let go_on = || {
        for (name, consumer) in &consumers {
            let more = consumer.delivered() + 300;
            let log = || scene.sidecar.log_tail(60);
            assert!(consumer.wait_delivered(more, PATIENCE), "{name} gets no more\n{}", log());
        }
    };
    go_on();
    let coordinator = scene.cluster.admin().group("newer-group").unwrap().coordinator;
    scene.cluster.restart(u8::try_from(coordinator).unwrap(), Roll::Soft).unwrap();
    go_on();
    for (name, consumer) in &consumers {
        let mut found = troubles(&consumer.events());
        let acknowledgements = found.extract_if(.., |trouble| trouble.starts_with("acknowledge")).count();
        println!(
            "{name} after the stop of its coordinator: {found:?}, {acknowledgements} acknowledgements failed"
        );
        assert!(is_share(name) || acknowledgements == 0);
        assert!(found.is_empty(), "{name}: {found:?}\n{}", scene.sidecar.log_tail(60));
    }
    let coordinator = scene.cluster.admin().group("newer-group").unwrap().coordinator;
    scene.cluster.restart(u8::try_from(coordinator).unwrap(), Roll::Hard).unwrap();
    go_on();
    let history = producer.stop().unwrap();
    let log = scene.cluster.admin().read_topic("t").unwrap();
    let verdict = judge_producers(&[history], &log);
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(verdict.errors, 0, "{verdict:?}");
    for (name, consumer) in consumers {
        consumer.wait_delivered(log.len(), Duration::from_secs(30));
        let events = consumer.stop().unwrap();
        let verdict = judge_consumer(std::slice::from_ref(&events), &log);
        let ConsumerVerdict { delivered, rebalances, errors, .. } = &verdict;
        println!(
            "{name}: {delivered} of {} delivered, {} twice, {rebalances} rebalances, {errors:?}",
            log.len(),
            verdict.twice.len(),
        );
        assert!(verdict.missed.is_empty() && verdict.foreign == 0, "{name} missed {:?}", verdict.missed);
        if name == "direct" {
            continue; // for comparison only
        }
        if !is_share(name) {
            assert_eq!((verdict.twice.len(), verdict.backwards), (0, 0), "{name}: {verdict:?}");
        }
        assert!(errors.keys().all(|what| what.starts_with("acknowledge")), "{name}: {errors:?}");
        assert_eq!(*rebalances, 0, "{name}: {:?}", troubles(&events));
    }
}
