use super::orders::{Layout, Order, Partition};
use super::refused;
use crate::kafka::wire;

fn partition(number: i32, leader: i32, replicas: &[i32], isr: &[i32]) -> Partition {
    Partition {
        topic: "t".to_owned(),
        partition: number,
        leader,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
    }
}

fn order(number: i32, replicas: &[i32]) -> Order {
    Order { topic: "t".to_owned(), partition: number, replicas: replicas.to_vec() }
}

fn layout() -> Layout {
    let partitions = vec![
        partition(0, 1, &[1, 2, 3], &[1, 2, 3]),
        partition(1, 2, &[2, 3, 1], &[1, 2, 3]),
        partition(2, 1, &[3, 1, 2], &[1, 2]), // leads it though another is preferred, who is not in sync
        partition(3, 2, &[1, 2, 3], &[2, 3]), // preferred, and doesn't lead
        partition(4, 1, &[1], &[1]),          // nobody else has it
    ];
    Layout { partitions, ..Layout::default() }
}

#[test]
fn a_broker_goes_last_where_it_leads_or_would() {
    let layout = layout();
    let saved = layout.led_by(1);
    assert_eq!(saved, [order(0, &[1, 2, 3]), order(2, &[3, 1, 2]), order(3, &[1, 2, 3])]);
    let moved = layout.without(1, &saved);
    assert_eq!(moved, [order(0, &[2, 3, 1]), order(2, &[2, 3, 1]), order(3, &[2, 3, 1])]);
    assert_eq!(layout.missing(&moved), moved);
}

#[test]
fn what_is_done_is_not_done_again_and_what_has_changed_is_left_alone() {
    let mut layout = layout();
    let saved = layout.led_by(1);
    let moved = layout.without(1, &saved);
    for (partition, leader) in [(0, 2), (2, 2), (3, 2)] {
        layout.partitions[partition].leader = leader;
        layout.partitions[partition].replicas = vec![2, 3, 1];
    }
    assert_eq!((layout.missing(&moved), layout.to_elect(&moved)), (vec![], vec![]));
    assert_eq!(layout.without(1, &saved), moved, "from what was saved it is the same again");
    // Somebody else gives a partition another replica, and deletes another.
    layout.partitions[0].replicas = vec![2, 3, 4];
    layout.partitions.remove(3);
    assert_eq!(layout.missing(&saved), [order(2, &[3, 1, 2])]);
    assert_eq!(layout.without(1, &saved).len(), 1);
    layout.partitions[2].replicas = vec![3, 1, 2];
    assert_eq!(layout.to_elect(&saved), [order(2, &[3, 1, 2])]);
    assert_eq!(layout.behind(3, &saved), [order(2, &[3, 1, 2])]);
}

#[test]
fn the_first_refusal_of_an_answer_is_told_with_its_partition() {
    let mut answer = wire::response(43).unwrap().new();
    let mut topic = answer.new_struct("replica_election_results");
    topic.set_str("topic", "t");
    let rows = [0, 84, 80].map(|code| {
        let mut row = topic.new_struct("partition_result");
        row.set_i32("partition_id", i32::from(code));
        row.set_i16("error_code", code);
        row
    });
    topic.set_structs("partition_result", rows.to_vec());
    answer.set_structs("replica_election_results", vec![topic]);
    let judge = |answer: &wire::Struct| {
        refused(
            "ElectLeaders",
            answer,
            "replica_election_results",
            "topic",
            "partition_result",
            "partition_id",
            &[84],
        )
    };
    let error = judge(&answer).unwrap_err().to_string();
    assert_eq!(error, "ElectLeaders: t-80 PREFERRED_LEADER_NOT_AVAILABLE");
    answer.set_i16("error_code", 31);
    assert_eq!(judge(&answer).unwrap_err().to_string(), "ElectLeaders: CLUSTER_AUTHORIZATION_FAILED");
    let fine = wire::response(43).unwrap().new();
    assert!(judge(&fine).is_ok());
}
