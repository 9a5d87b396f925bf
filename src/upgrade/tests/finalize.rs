//! `finalize` and `rollback`.

use super::make::{codes, kafka, plan, verdict, zookeeper};
use crate::upgrade::*;
use std::time::{Duration, Instant};

const NONE: [&str; 0] = [];

fn spoilt(spoil: impl Fn(&mut Facts)) -> Vec<&'static str> {
    let mut facts = kafka();
    spoil(&mut facts);
    codes(Gate::Finalize, Some(plan(&kafka(), "3.8.1", "3.9.2")), None, &facts)
}

#[test]
fn it_is_open_where_every_member_has_the_new_version() {
    assert_eq!(spoilt(|_| {}), NONE);
    assert_eq!(codes(Gate::Finalize, Some(plan(&zookeeper(), "3.7.2", "3.8.7")), None, &zookeeper()), NONE);
    assert_eq!(codes(Gate::Finalize, None, None, &kafka()), ["no_plan"]);
}

#[test]
fn a_cluster_that_lost_members_is_not_finalized() {
    assert_eq!(spoilt(|f| f.members.retain(|m| m.id != "3")), ["cluster_size", "member_not_listed"]);
    assert_eq!(spoilt(|f| f.of("3").listed = Ok(false)), ["cluster_size", "member_not_listed"]);
    let two = || {
        let plan = plan(&kafka(), "3.8.1", "3.9.2");
        Plan { members: plan.members[..2].to_vec(), ..plan }
    };
    assert_eq!(codes(Gate::Finalize, Some(two()), None, &kafka()), ["cluster_size"], "there is one more");
    let of_three = Plan { cluster_size: Some(3), ..two() };
    assert_eq!(codes(Gate::Finalize, Some(of_three.clone()), None, &kafka()), NONE);
    let mut facts = kafka();
    facts.of("3").version = Ok("3.8".to_owned());
    assert_eq!(
        codes(Gate::Finalize, Some(of_three), None, &facts),
        ["not_at_target"],
        "left out, and not upgraded"
    );
}

/// `/zookeeper/config` may name more than the configuration does.
#[test]
fn an_ensemble_is_as_large_as_it_says() {
    let ask = |spoil: &dyn Fn(&mut ZooKeeper), size: Option<usize>| {
        let mut facts = zookeeper();
        spoil(facts.in_ensemble());
        let plan = Plan { cluster_size: size, ..plan(&zookeeper(), "3.7.2", "3.8.7") };
        codes(Gate::Finalize, Some(plan), None, &facts)
    };
    assert_eq!(ask(&|_| {}, None), NONE);
    assert_eq!(ask(&|e| e.voters = Ok(5), None), ["cluster_size"], "five vote, three are listed");
    assert_eq!(
        ask(&|e| e.voters = Ok(5), Some(5)),
        ["cluster_size"],
        "three are listed, the plan names five"
    );
    assert_eq!(ask(&|e| e.voters = Ok(2), None), NONE, "one observes");
    assert_eq!(ask(&|e| e.voters = Err("no answer".to_owned()), None), ["facts_unknown"]);
}

#[test]
fn every_member_is_there_and_at_the_target() {
    assert_eq!(spoilt(|f| f.of("1").version = Ok("3.8".to_owned())), ["not_at_target"]);
    assert_eq!(spoilt(|f| f.of("1").version = Err("no answer".to_owned())), ["version_unknown"]);
    assert_eq!(spoilt(|f| f.of("1").reach = Reach::Down("refused".to_owned())), ["member_unreachable"]);
    assert_eq!(spoilt(|f| f.of("1").reach = Reach::Wrong("node 9".to_owned())), ["wrong_member"]);
}

#[test]
fn the_cluster_takes_it_and_no_client_needs_the_old_one() {
    assert_eq!(spoilt(|f| f.age = None), ["facts_unknown"]);
    assert_eq!(
        spoilt(|f| f.in_kafka().upgrade_check = Err("a broker lags".to_owned())),
        ["features_refused"]
    );
    let row = Dropped {
        client: "old".to_owned(),
        library: "sarama".to_owned(),
        api: "Fetch".to_owned(),
        version: 2,
        in_kafka_4: true,
        members: vec!["1".to_owned()],
    };
    assert_eq!(spoilt(|f| f.in_kafka().dropped = vec![row.clone()]), ["client_needs_dropped_version"]);
}

/// Where versions tell nothing, it counts that each was seen to have its turn.
#[test]
fn it_is_closed_before_anybody_had_a_turn() {
    let silent = |facts: &Facts| {
        let mut plan = plan(facts, "3.9.1", "3.9.2");
        for member in &mut plan.members {
            (member.from, member.to) = (None, None);
        }
        plan
    };
    let patch = plan(&kafka(), "3.9.1", "3.9.2");
    for (plan, facts) in
        [(silent(&kafka()), kafka()), (silent(&zookeeper()), zookeeper()), (patch.clone(), kafka())]
    {
        let verdict = verdict(Gate::Finalize, Some(plan.clone()), None, &facts);
        assert_eq!(verdict.reasons.len(), 1, "{verdict:?}");
        assert_eq!(verdict.reasons[0].code.as_str(), "turns_left");
        let ids: Vec<String> = plan.members.into_iter().map(|member| member.id).collect();
        assert_eq!(verdict.reasons[0].detail, ids.join(", "));
    }
    // One by one, by whatever order.
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    let second = Duration::from_secs(1);
    roll.put(patch.clone(), t0).unwrap();
    let left = |roll: &mut Roll, facts: &Facts| {
        let verdict = roll.ask(Gate::Finalize, None, facts, t0);
        verdict.reasons.iter().map(|r| format!("{}: {}", r.code.as_str(), r.detail)).collect::<Vec<_>>()
    };
    let ticket = |generation| Ticket { plan_id: "p".to_owned(), generation };
    for (index, (id, rest)) in [("2", "1, 3"), ("3", "1")].into_iter().enumerate() {
        let now = t0 + second * 10 * u32::try_from(index).unwrap();
        roll.drain(id, Some(&ticket(1)), now).unwrap();
        facts.of(id).drain = DrainState::Drained;
        roll.observe(&facts, now);
        facts.of(id).reach = Reach::Down("refused".to_owned());
        roll.observe(&facts, now + second);
        facts.of(id).reach = Reach::Up;
        roll.observe(&facts, now + second * 3);
        facts.of(id).drain = DrainState::Off;
        assert_eq!(left(&mut roll, &facts), [format!("turns_left: {rest}")]);
    }
    assert!(matches!(roll.finalize(&ticket(1), &facts, t0), Err(Refusal::Closed { .. })));
    // Its controller knows better of the last one: a plan that lists it alone stands for all.
    let last = Plan { generation: 2, cluster_size: Some(3), members: patch.members[..1].to_vec(), ..patch };
    roll.put(last.clone(), t0).unwrap();
    assert_eq!(roll.finalize(&ticket(2), &facts, t0), Ok(Vec::new()));
    // So it is at a sidecar that knows nothing of what was before.
    let mut fresh = Roll::default();
    fresh.put(last, t0).unwrap();
    assert_eq!(fresh.finalize(&ticket(2), &kafka(), t0), Ok(Vec::new()));
}

#[test]
fn it_soaks() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    let second = Duration::from_secs(1);
    facts.of("2").version = Ok("3.8".to_owned());
    roll.put(Plan { soak_s: 60, ..plan(&kafka(), "3.8.1", "3.9.2") }, t0).unwrap();
    let mut ask = |facts: &Facts, at: u32| {
        roll.observe(facts, t0 + second * at);
        let verdict = roll.ask(Gate::Finalize, None, facts, t0 + second * at);
        verdict.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&facts, 1), ["not_at_target", "soaking"]);
    facts.of("2").reach = Reach::Down("refused".to_owned());
    ask(&facts, 100);
    (facts.of("2").reach, facts.of("2").version) = (Reach::Up, Ok("3.9".to_owned()));
    assert_eq!(ask(&facts, 101), ["soaking"], "it is being verified");
    assert_eq!(ask(&facts, 102), ["soaking"], "it serves from now on");
    assert_eq!(ask(&facts, 161), ["soaking"]);
    assert_eq!(ask(&facts, 162), NONE);
}

#[test]
fn back_while_nothing_is_finalized_that_the_version_before_does_not_know() {
    let ask = |spoil: &dyn Fn(&mut Facts), from: &str| {
        let mut facts = kafka();
        spoil(&mut facts);
        codes(Gate::Rollback, Some(plan(&kafka(), from, "4.3.1")), None, &facts)
    };
    assert_eq!(ask(&|_| {}, "3.9.2"), NONE);
    assert_eq!(ask(&|f| f.in_kafka().finalized = Ok(30), "3.9.2"), ["finalized"]);
    let lossless = |f: &mut Facts| (f.in_kafka().finalized, f.in_kafka().downgrade_check) = (Ok(30), Ok(()));
    assert_eq!(ask(&lossless, "3.9.2"), NONE, "the cluster says that it can go back");
    assert_eq!(
        ask(&|f| f.in_kafka().finalized = Err("no answer".to_owned()), "3.9.2"),
        ["finalized_unknown"]
    );
    assert_eq!(ask(&|_| {}, "2.8.2"), ["finalized_unknown"], "it has no such levels");
    assert_eq!(ask(&|f| f.age = None, "3.9.2"), ["facts_unknown"]);
    assert_eq!(codes(Gate::Rollback, None, None, &kafka()), ["no_plan", "finalized_unknown"][..1]);
    let silent = Plan {
        members: vec![PlanMember { id: "1".to_owned(), ..PlanMember::default() }],
        ..plan(&kafka(), "3.9.2", "4.3.1")
    };
    assert_eq!(codes(Gate::Rollback, Some(silent), None, &kafka()), ["finalized_unknown"]);
}
