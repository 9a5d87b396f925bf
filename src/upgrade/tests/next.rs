use super::make::{codes, kafka, plan, zookeeper};
use crate::upgrade::*;
use std::time::{Duration, Instant};

const NONE: [&str; 0] = [];

fn spoilt(spoil: impl Fn(&mut Facts)) -> Vec<&'static str> {
    let mut facts = kafka();
    spoil(&mut facts);
    codes(Gate::Next, Some(plan(&kafka(), "3.8.1", "3.9.2")), Some("2"), &facts)
}

fn spoilt_ensemble(spoil: impl Fn(&mut Facts)) -> Vec<&'static str> {
    let mut facts = zookeeper();
    spoil(&mut facts);
    codes(Gate::Next, Some(plan(&zookeeper(), "3.7.2", "3.8.7")), Some("zk-2:2181"), &facts)
}

#[test]
fn it_is_open_where_all_is_well() {
    assert_eq!(spoilt(|_| {}), NONE);
    assert_eq!(spoilt_ensemble(|_| {}), NONE);
}

#[test]
fn what_is_not_known_closes_it() {
    let unknown = || "refused".to_owned();
    assert_eq!(spoilt(|f| f.age = None), ["facts_unknown"]);
    assert_eq!(spoilt(|f| f.in_kafka().partitions = Err(unknown())), ["partitions_unknown"]);
    assert_eq!(spoilt(|f| f.in_kafka().loading = Err(unknown())), ["groups_unknown"]);
    assert_eq!(spoilt(|f| f.in_kafka().rebalancing = Err(unknown())), ["groups_unknown"]);
    assert_eq!(spoilt(|f| f.of("2").version = Err(unknown())), ["version_unknown"]);
    assert_eq!(spoilt(|f| f.of("2").version = Ok("what?".to_owned())), ["version_unknown"]);
    assert_eq!(spoilt(|f| f.of("2").listed = Err(unknown())), ["member_not_listed"]);
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().voters = Err(unknown())), ["sync_unknown"]);
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().synced_followers = Err(unknown())), ["sync_unknown"]);
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().pending_syncs = Err(unknown())), ["sync_unknown"]);
    assert_eq!(codes(Gate::Next, None, None, &kafka()), ["member_missing", "not_stable_yet"][..1]);
}

#[test]
fn the_member_is_back_and_is_the_one_that_was_meant() {
    assert_eq!(spoilt(|f| f.of("2").listed = Ok(false)), ["member_not_listed"]);
    assert_eq!(spoilt(|f| f.of("2").reach = Reach::Down("refused".to_owned())), ["member_unreachable"]);
    assert_eq!(spoilt(|f| f.of("2").reach = Reach::Untried), ["member_unreachable"]);
    assert_eq!(spoilt(|f| f.of("2").reach = Reach::Wrong("node 9 answers".to_owned())), ["wrong_member"]);
    assert_eq!(spoilt(|f| f.of("2").version = Ok("3.8".to_owned())), ["not_at_target"]);
    assert_eq!(
        spoilt(|f| f.of("3").version = Ok("3.8".to_owned())),
        NONE,
        "another one may have the old version"
    );
}

#[test]
fn partitions_are_whole_again() {
    assert_eq!(spoilt(|f| f.partition(0).leader = -1), ["offline_partitions"]);
    assert_eq!(spoilt(|f| f.partition(0).isr = vec![1, 3]), ["member_not_in_sync"]);
    assert_eq!(spoilt(|f| f.partition(0).isr = vec![1, 2]), ["under_replicated_partitions"]);
    let mut facts = kafka();
    facts.partition(1).leader = 3;
    let all = plan(&kafka(), "3.8.1", "3.9.2");
    assert_eq!(codes(Gate::Next, Some(all.clone()), Some("2"), &facts), NONE);
    let preferred = Plan { preferred_leaders: true, ..all };
    assert_eq!(codes(Gate::Next, Some(preferred), Some("2"), &facts), ["preferred_leaders"]);
}

#[test]
fn groups_and_clients_are_at_rest() {
    assert_eq!(spoilt(|f| f.in_kafka().loading = Ok(vec![2])), ["coordinator_loading"]);
    assert_eq!(spoilt(|f| f.in_kafka().rebalancing = Ok(vec!["readers".to_owned()])), ["groups_rebalancing"]);
    assert_eq!(spoilt(|f| f.hold.waiting = 1), ["requests_held"]);
}

#[test]
fn the_ensemble_is_in_sync() {
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().modes[0].1 = Ok(Mode::Follower)), ["no_leader"]);
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().synced_followers = Ok(1)), ["followers_not_synced"]);
    assert_eq!(spoilt_ensemble(|f| f.in_ensemble().pending_syncs = Ok(2)), ["pending_syncs"]);
}

#[test]
fn clients_see_no_more_errors_than_they_are_used_to() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    let plan = Plan { stable_s: 20, ..plan(&kafka(), "3.8.1", "3.9.2") };
    roll.put(plan, t0).unwrap();
    let second = Duration::from_secs(1);
    let mut ask = |facts: &Facts, at: u32| {
        roll.observe(facts, t0 + second * at);
        let verdict = roll.ask(Gate::Next, Some("2"), facts, t0 + second * at);
        verdict.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&facts, 0), ["not_stable_yet"]);
    for at in 1..20 {
        assert_eq!(ask(&facts, at), ["not_stable_yet"]);
    }
    assert_eq!(ask(&facts, 20), NONE);
    facts.client_errors = 1;
    assert_eq!(ask(&facts, 21), ["client_errors"]);
    assert_eq!(ask(&facts, 41), ["client_errors"]);
    assert_eq!(ask(&facts, 42), ["not_stable_yet"], "all begins anew");
    assert_eq!(ask(&facts, 61), ["not_stable_yet"]);
    assert_eq!(ask(&facts, 62), NONE);
    facts.of("2").reach = Reach::Down("refused".to_owned());
    assert_eq!(ask(&facts, 63), ["member_unreachable"]);
}
