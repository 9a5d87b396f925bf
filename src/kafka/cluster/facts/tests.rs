//! What answers say, without brokers.

use super::broker::{features, groups_of};
use super::read::{Minimums, minimum, partitions, quorum_of};
use super::{Quorum, ask::verdict};
use crate::kafka::wire::{self, Struct};

fn answer(key: i16) -> Struct {
    wire::response(key).unwrap().new()
}

fn quorum(rows: &[(i32, i64)]) -> Struct {
    let mut all = answer(55);
    let mut topic = all.new_struct("topics");
    let mut partition = topic.new_struct("partitions");
    partition.set_i32("leader_id", 1);
    for (id, at) in rows {
        let mut row = partition.new_struct("current_voters");
        row.set_i32("replica_id", *id);
        row.set_i64("last_caught_up_timestamp", *at);
        partition.push_struct("current_voters", row);
    }
    topic.push_struct("partitions", partition);
    all.push_struct("topics", topic);
    all
}

#[test]
fn voters_have_caught_up_by_the_leaders_clock() {
    let found = quorum_of(&quorum(&[(1, 100_000), (2, 97_000), (3, 96_999), (4, -1)])).unwrap();
    let voters = vec![(1, true), (2, true), (3, false), (4, false)];
    assert_eq!(found, Quorum::Raft { leader: 1, voters });
    // A leader that tells no time: nobody else is known to have caught up.
    let found = quorum_of(&quorum(&[(1, -1), (2, 97_000)])).unwrap();
    assert_eq!(found, Quorum::Raft { leader: 1, voters: vec![(1, true), (2, false)] });
    let mut refused = quorum(&[]);
    refused.set_i16("error_code", 31);
    assert_eq!(quorum_of(&refused), Err("DescribeQuorum: CLUSTER_AUTHORIZATION_FAILED".to_owned()));
    assert!(quorum_of(&answer(55)).unwrap_err().contains("empty"));
}

#[test]
fn a_topic_that_cannot_be_described_makes_partitions_unknown() {
    let mut metadata = answer(3);
    let mut topic = metadata.new_struct("topics");
    topic.set_str("name", "orders");
    let mut row = topic.new_struct("partitions");
    row.set_i32s("replica_nodes", &[1, 2]);
    row.set_i32s("isr_nodes", &[2]);
    row.set_i32("leader_id", 2);
    topic.push_struct("partitions", row);
    metadata.push_struct("topics", topic.clone());
    let mut minimums = Minimums::default();
    assert_eq!(partitions(&metadata, &minimums).unwrap()[0].min_isr, None);
    minimums.set("orders", Ok(2));
    let found = partitions(&metadata, &minimums).unwrap();
    assert_eq!(
        (found.len(), found[0].min_isr, found[0].leader, found[0].isr.clone()),
        (1, Some(2), 2, vec![2])
    );
    topic.set_i16("error_code", 29);
    metadata.push_struct("topics", topic);
    assert!(partitions(&metadata, &minimums).unwrap_err().contains("TOPIC_AUTHORIZATION_FAILED"));
}

#[test]
fn groups_that_wait_for_their_members_are_told() {
    let mut all = answer(16);
    for (id, state) in [("a", "Stable"), ("b", "PreparingRebalance"), ("c", "reconciling"), ("d", "Empty")] {
        let mut group = all.new_struct("groups");
        group.set_str("group_id", id);
        group.set_str("group_state", state);
        all.push_struct("groups", group);
    }
    assert_eq!(groups_of(&all), (false, Ok(vec!["b".to_owned(), "c".to_owned()])));
    all.set_i16("error_code", 14);
    assert!(groups_of(&all).0, "it is loading");
    all.set_i16("error_code", 15);
    assert!(groups_of(&all).1.unwrap_err().contains("COORDINATOR_NOT_AVAILABLE"));
}

#[test]
fn features_and_minimums_are_read() {
    let mut versions = answer(18);
    assert_eq!(features(&versions), (None, None));
    for (list, field) in [("supported_features", "max_version"), ("finalized_features", "max_version_level")]
    {
        let mut row = versions.new_struct(list);
        row.set_str("name", "metadata.version");
        row.set_i16(field, 21);
        versions.push_struct(list, row);
    }
    assert_eq!(features(&versions), (Some(21), Some(21)));
    let configs = answer(32);
    let mut result = configs.new_struct("results");
    assert!(minimum(&result).is_err(), "nothing was told");
    let mut config = result.new_struct("configs");
    config.set_str("value", "2");
    result.push_struct("configs", config);
    assert_eq!(minimum(&result), Ok(2));
    result.set_i16("error_code", 29);
    assert!(minimum(&result).is_err());
}

#[test]
fn a_validation_is_as_good_as_its_worst_part() {
    let mut all = answer(57);
    assert_eq!(verdict(&all), Ok(()));
    let mut part = all.new_struct("results");
    all.push_struct("results", part.clone());
    assert_eq!(verdict(&all), Ok(()));
    part.set_i16("error_code", 95);
    part.set_str("error_message", "a broker lags");
    all.push_struct("results", part);
    assert!(verdict(&all).unwrap_err().ends_with("a broker lags"));
}
