use super::make::{codes, kafka, plan, verdict, zookeeper};
use crate::upgrade::*;
use std::time::Duration;

const NONE: [&str; 0] = [];

/// The codes against stopping node 2, which is drained, when something is spoilt.
fn spoilt(spoil: impl Fn(&mut Facts)) -> Vec<&'static str> {
    let mut facts = kafka().drained("2");
    spoil(&mut facts);
    codes(Gate::Stop, Some(plan(&kafka(), "3.8.1", "3.9.2")), Some("2"), &facts)
}

fn spoilt_ensemble(member: &str, spoil: impl Fn(&mut Facts)) -> Vec<&'static str> {
    let mut facts = zookeeper().drained(member);
    spoil(&mut facts);
    codes(Gate::Stop, Some(plan(&zookeeper(), "3.7.2", "3.8.7")), Some(member), &facts)
}

#[test]
fn it_is_open_where_all_is_well() {
    assert_eq!(spoilt(|_| {}), NONE);
    assert_eq!(spoilt_ensemble("zk-2:2181", |_| {}), NONE);
    // Without a plan, too.
    assert_eq!(codes(Gate::Stop, None, Some("2"), &kafka().drained("2")), NONE);
}

#[test]
fn what_is_not_known_closes_it() {
    assert_eq!(spoilt(|f| f.age = None), ["facts_unknown"]);
    assert_eq!(spoilt(|f| f.age = Some(Duration::from_secs(16))), ["facts_unknown"]);
    assert_eq!(spoilt(|f| f.cluster = Cluster::Kafka(Err("no answer".to_owned()))), ["facts_unknown"]);
    assert_eq!(
        spoilt_ensemble("zk-2:2181", |f| f.cluster = Cluster::ZooKeeper(Err("no answer".to_owned()))),
        ["facts_unknown"]
    );
    let unknown = || "refused".to_owned();
    assert_eq!(spoilt(|f| f.in_kafka().partitions = Err(unknown())), ["partitions_unknown"]);
    assert_eq!(spoilt(|f| f.partition(0).min_isr = None), ["partitions_unknown"]);
    assert_eq!(spoilt(|f| f.in_kafka().quorum = Err(unknown())), ["quorum_unknown"]);
    assert_eq!(spoilt(|f| f.in_kafka().reassigning = Err(unknown())), ["reassignments_unknown"]);
    assert_eq!(spoilt_ensemble("zk-2:2181", |f| f.in_ensemble().voters = Err(unknown())), ["quorum_unknown"]);
    assert_eq!(
        spoilt_ensemble("zk-2:2181", |f| f.in_ensemble().synced_followers = Err(unknown())),
        ["quorum_unknown"]
    );
    assert_eq!(
        spoilt_ensemble("zk-2:2181", |f| f.in_ensemble().modes[1].1 = Err(unknown())),
        ["quorum_unknown"]
    );
}

#[test]
fn a_member_must_be_named_and_known() {
    assert_eq!(codes(Gate::Stop, None, None, &kafka()), ["member_missing"]);
    let found = codes(Gate::Stop, None, Some("9"), &kafka());
    assert_eq!(found, ["member_unknown"]);
    let mut facts = kafka();
    facts.of("2").id = "two".to_owned();
    assert!(codes(Gate::Stop, None, Some("two"), &facts.drained("two")).contains(&"member_unknown"));
}

#[test]
fn clients_must_have_left() {
    for (drain, code) in [
        (DrainState::Off, "not_drained"),
        (DrainState::Draining { left: 3 }, "not_drained"),
        (DrainState::Expired, "drain_expired"),
    ] {
        let found = spoilt(|f| f.of("2").drain = drain);
        assert_eq!(found, [code]);
    }
    assert_eq!(spoilt(|f| f.of("2").in_flight = 1), ["in_flight"]);
    let found = spoilt_ensemble("zk-2:2181", |f| {
        (f.of("zk-2:2181").drain, f.of("zk-2:2181").sessions) = (DrainState::Draining { left: 2 }, 2);
    });
    assert_eq!(found, ["not_drained", "sessions_left"]);
    // Sessions that have no other server to go to stay on a drained one: that is what a drain of a lone server is.
    assert_eq!(spoilt_ensemble("zk-2:2181", |f| f.of("zk-2:2181").sessions = 2), NONE);
    // Who is down already has nobody's requests.
    assert_eq!(
        spoilt(|f| (f.of("2").reach, f.of("2").in_flight) = (Reach::Down("refused".to_owned()), 1)),
        NONE
    );
}

#[test]
fn whether_only_a_drain_is_missing_is_told() {
    let plan = plan(&kafka(), "3.8.1", "3.9.2");
    let mut facts = kafka();
    (facts.of("2").in_flight, facts.of("2").sessions) = (4, 1);
    let verdict = verdict(Gate::Stop, Some(plan.clone()), Some("2"), &facts);
    assert!(!verdict.is_open() && verdict.opens_by_drain(), "{verdict:?}");
    facts.of("3").reach = Reach::Down("refused".to_owned());
    assert!(!super::make::verdict(Gate::Stop, Some(plan), Some("2"), &facts).opens_by_drain());
}

#[test]
fn one_at_a_time() {
    let down = || Reach::Down("refused".to_owned());
    assert_eq!(spoilt(|f| f.of("3").reach = down()), ["another_member_down"]);
    assert_eq!(spoilt(|f| f.of("3").reach = Reach::Wrong("node 9".to_owned())), ["another_member_down"]);
    assert_eq!(spoilt(|f| f.of("3").reach = Reach::Untried), ["another_member_down"]);
    assert_eq!(
        spoilt(|f| f.members.retain(|m| m.id != "3")),
        ["another_member_down"],
        "in the plan, and nobody knows it"
    );
    assert_eq!(spoilt(|f| f.of("3").drain = DrainState::Draining { left: 1 }), ["another_member_draining"]);
    assert_eq!(spoilt(|f| f.of("3").drain = DrainState::Drained), ["another_member_draining"]);
    assert_eq!(
        spoilt(|f| (f.of("3").reach, f.of("1").drain) = (down(), DrainState::Drained)),
        ["another_member_down", "another_member_draining"]
    );
}

#[test]
fn more_than_one_only_within_a_zone() {
    let plan = |zone: Option<&str>| {
        let mut plan = Plan { max_unavailable: 2, ..plan(&kafka(), "3.8.1", "3.9.2") };
        plan.members[2].zone = zone.map(str::to_owned);
        plan
    };
    let mut facts = kafka().drained("2");
    facts.of("3").drain = DrainState::Drained;
    assert_eq!(codes(Gate::Stop, Some(plan(None)), Some("2"), &facts), ["another_member_draining"]);
    assert_eq!(
        codes(Gate::Stop, Some(plan(Some("b"))), Some("2"), &facts),
        NONE,
        "the plan's word on zones counts"
    );
    facts.of("1").drain = DrainState::Draining { left: 1 };
    facts.of("1").zone = Some("b".to_owned());
    assert_eq!(
        codes(Gate::Stop, Some(plan(Some("b"))), Some("2"), &facts),
        ["another_member_draining"],
        "that is three"
    );
}

#[test]
fn partitions_stay_above_their_minimum() {
    assert_eq!(spoilt(|f| f.partition(1).isr = vec![2, 3]), ["min_isr"]);
    assert_eq!(
        spoilt(|f| f.partition(1).isr = vec![3, 1]),
        NONE,
        "it is not in sync there: its stop changes nothing"
    );
    let lone = |f: &mut Facts| {
        let partition = f.partition(1);
        (partition.replicas, partition.isr, partition.min_isr) = (vec![2], vec![2], Some(1));
    };
    assert_eq!(spoilt(lone), ["too_few_replicas"]);
    assert_eq!(
        spoilt(|f| f.partition(1).min_isr = Some(3)),
        ["too_few_replicas"],
        "all three must be in sync, always"
    );
    let mut facts = kafka().drained("2");
    lone(&mut facts);
    let plan = Plan { allow_outage: true, ..plan(&kafka(), "3.8.1", "3.9.2") };
    let allowed = verdict(Gate::Stop, Some(plan.clone()), Some("2"), &facts);
    assert!(allowed.is_open(), "{allowed:?}");
    assert!(allowed.costs[0].detail.contains("orders-1"), "it says what it costs: {allowed:?}");
    facts.partition(0).isr = vec![1, 2];
    assert_eq!(
        codes(Gate::Stop, Some(plan), Some("2"), &facts),
        ["min_isr"],
        "what passes by itself is not allowed away"
    );
}

#[test]
fn the_controller_comes_last() {
    let plan = plan(&kafka(), "3.9.2", "4.3.1");
    let mut facts = kafka().drained("1");
    assert_eq!(codes(Gate::Stop, Some(plan.clone()), Some("1"), &facts), ["controller_comes_last"]);
    for id in ["2", "3"] {
        facts.of(id).version = Ok("4.3".to_owned());
    }
    assert_eq!(codes(Gate::Stop, Some(plan.clone()), Some("1"), &facts), NONE);
    facts.in_kafka().quorum = Ok(Quorum::ZooKeeper { controller: 1 });
    assert_eq!(codes(Gate::Stop, Some(plan.clone()), Some("1"), &facts), NONE);
    facts.of("3").version = Ok("3.9".to_owned());
    assert_eq!(codes(Gate::Stop, Some(plan), Some("1"), &facts), ["controller_comes_last"]);
    assert_eq!(
        spoilt(|f| f.in_kafka().quorum = Ok(Quorum::ZooKeeper { controller: -1 })),
        ["quorum_unknown"]
    );
}

#[test]
fn the_metadata_quorum_stays() {
    let voters = |caught_up: [bool; 3]| {
        let each = caught_up.iter().zip(1..).map(|(caught_up, id)| Voter { id, caught_up: *caught_up });
        Ok(Quorum::Raft { leader: 1, voters: each.collect() })
    };
    assert_eq!(spoilt(|f| f.in_kafka().quorum = voters([true, true, false])), ["quorum"]);
    assert_eq!(
        spoilt(|f| f.in_kafka().quorum = voters([true, false, true])),
        NONE,
        "it is itself the one that is behind"
    );
    let apart = |f: &mut Facts| {
        f.in_kafka().quorum =
            Ok(Quorum::Raft { leader: 51, voters: vec![Voter { id: 51, caught_up: true }] });
    };
    assert_eq!(spoilt(apart), NONE, "its controllers are no brokers");
    let mut alone = kafka().drained("2");
    alone.in_kafka().quorum = Ok(Quorum::Raft { leader: 2, voters: vec![Voter { id: 2, caught_up: true }] });
    let plan = |allow_outage| {
        let plan = plan(&kafka(), "3.8.1", "3.9.2");
        Plan { members: plan.members[1..2].to_vec(), allow_outage, ..plan }
    };
    assert_eq!(codes(Gate::Stop, Some(plan(false)), Some("2"), &alone), ["quorum"]);
    let allowed = verdict(Gate::Stop, Some(plan(true)), Some("2"), &alone);
    assert!(allowed.is_open() && allowed.costs.len() == 1, "{allowed:?}");
}

#[test]
fn no_client_needs_what_the_target_drops() {
    let row = |in_kafka_4, members: &[&str]| Dropped {
        client: "old".to_owned(),
        library: "sarama".to_owned(),
        api: "Fetch".to_owned(),
        version: 2,
        in_kafka_4,
        members: members.iter().map(|&id| id.to_owned()).collect(),
    };
    let mut facts = kafka().drained("2");
    facts.in_kafka().dropped = vec![row(false, &[])];
    let to = |version: &str| Some(plan(&kafka(), "3.9.2", version));
    assert_eq!(codes(Gate::Stop, to("4.0.0"), Some("2"), &facts), ["client_needs_dropped_version"]);
    assert_eq!(codes(Gate::Stop, to("3.9.9"), Some("2"), &facts), NONE);
    facts.in_kafka().dropped = vec![row(true, &["3"])];
    assert_eq!(codes(Gate::Stop, to("3.9.9"), Some("2"), &facts), ["client_needs_dropped_version"]);
}

#[test]
fn moving_partitions_and_full_buffers_close_it() {
    assert_eq!(
        spoilt(|f| f.in_kafka().reassigning = Ok(vec!["orders-1".to_owned()])),
        ["reassignment_under_way"]
    );
    assert_eq!(spoilt(|f| f.hold.bytes = 499), NONE);
    assert_eq!(spoilt(|f| f.hold.bytes = 500), ["hold_buffers"]);
}

#[test]
fn the_leader_of_an_ensemble_comes_last() {
    assert_eq!(spoilt_ensemble("zk-1:2181", |_| {}), NONE, "the others have the new version");
    let mut facts = zookeeper().drained("zk-1:2181");
    facts.of("zk-3:2181").version = Ok("3.7.2".to_owned());
    let plan = plan(&facts, "3.7.2", "3.8.7");
    assert_eq!(codes(Gate::Stop, Some(plan), Some("zk-1:2181"), &facts), ["leader_comes_last"]);
}

#[test]
fn the_ensemble_keeps_its_quorum() {
    assert_eq!(spoilt_ensemble("zk-2:2181", |f| f.in_ensemble().synced_followers = Ok(1)), ["quorum"]);
    assert_eq!(spoilt_ensemble("zk-1:2181", |f| f.in_ensemble().synced_followers = Ok(1)), ["quorum"]);
    let observer = |f: &mut Facts| {
        f.in_ensemble().modes[1].1 = Ok(Mode::Observer);
        f.in_ensemble().synced_followers = Ok(0);
    };
    assert_eq!(spoilt_ensemble("zk-2:2181", observer), NONE);
    let mut two = zookeeper().drained("zk-2:2181");
    two.members.pop();
    two.in_ensemble().modes.pop();
    (two.in_ensemble().voters, two.in_ensemble().synced_followers) = (Ok(2), Ok(1));
    let plan = |allow_outage| Plan { allow_outage, ..plan(&two, "3.7.2", "3.8.7") };
    assert_eq!(codes(Gate::Stop, Some(plan(false)), Some("zk-2:2181"), &two), ["quorum"]);
    let allowed = verdict(Gate::Stop, Some(plan(true)), Some("zk-2:2181"), &two);
    assert!(allowed.is_open() && allowed.costs[0].detail.contains("2 servers vote"), "{allowed:?}");
}
