//! Reading and changing structures by name.

use crate::kafka::wire::{Value, request, response};

#[test]
fn a_value_is_small() {
    assert_eq!(size_of::<Value>(), 40);
}

#[test]
fn a_metadata_answer_is_rewritten() {
    let m = response(3).unwrap();
    let mut answer = m.new();
    for id in [1, 2] {
        let mut broker = answer.new_struct("brokers");
        broker.set_i32("node_id", id);
        broker.set_str("host", "kafka.example.net");
        broker.set_i32("port", 9092);
        answer.push_struct("brokers", broker);
    }
    for broker in answer.structs_mut("brokers") {
        let port = 19_092 + broker.i32("node_id");
        broker.set_i32("port", port);
        broker.set_str("host", "127.0.0.1");
    }
    let seen: Vec<_> = answer.structs("brokers").map(|b| (b.str("host"), b.i32("port"))).collect();
    assert_eq!(seen, [(Some("127.0.0.1"), 19_093), (Some("127.0.0.1"), 19_094)]);
    answer.retain_structs("brokers", |b| b.i32("node_id") == 2);
    let mut brokers = answer.take_structs("brokers");
    assert_eq!((brokers.len(), answer.structs("brokers").count()), (1, 0));
    brokers.push(brokers[0].clone());
    answer.set_structs("brokers", brokers);
    assert_eq!(answer.array("brokers").len(), 2);
    assert_eq!((answer.i32("controller_id"), answer.str("cluster_id")), (-1, None));
    assert!(answer.has("throttle_time_ms") && !answer.has("throttle"));
    assert!(answer.has_in("throttle_time_ms", 3) && !answer.has_in("throttle_time_ms", 2));
}

#[test]
fn arrays_of_plain_values() {
    let mut q = request(69).unwrap().new();
    q.set_strs("group_ids", &["a", "b"]);
    assert_eq!(q.strs("group_ids").collect::<Vec<_>>(), ["a", "b"]);
    let mut heartbeat = request(68).unwrap().new();
    let mut part = heartbeat.new_struct("topic_partitions");
    part.set_i32s("partitions", &[3, 1]);
    part.set_uuid("topic_id", [7; 16]);
    assert!(heartbeat.is_null("topic_partitions"));
    heartbeat.push_struct("topic_partitions", part);
    let part = heartbeat.structs("topic_partitions").next().unwrap();
    assert_eq!((part.i32s("partitions"), part.uuid("topic_id")), (vec![3, 1], [7; 16]));
    heartbeat.set_null("topic_partitions");
    assert_eq!(heartbeat.structs("topic_partitions").count(), 0);
    assert_eq!(heartbeat.take_structs("topic_partitions").len(), 0);
    assert!(heartbeat.is_null("topic_partitions"));
}

#[test]
#[should_panic(expected = "no field nodeid")]
#[cfg(debug_assertions)]
fn a_wrong_name_stops_a_debug_build() {
    response(3).unwrap().new().i32("nodeid");
}
