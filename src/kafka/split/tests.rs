//! Splitting and merging on real layouts.

use super::*;
use crate::kafka::cluster::TopicKey;
use crate::kafka::wire;
use bytes::Bytes;
use std::time::Duration;

fn produce(partitions: &[(&str, i32)]) -> Struct {
    let mut request = wire::request(0).unwrap().new();
    request.set_i16("acks", -1);
    for &(name, index) in partitions {
        let mut topic = request.new_struct("topic_data");
        topic.set_str("name", name);
        let mut partition = topic.new_struct("partition_data");
        partition.set_i32("index", index);
        partition.set_bytes("records", Some(Bytes::from(format!("{name}-{index}"))));
        topic.push_struct("partition_data", partition);
        request.push_struct("topic_data", topic);
    }
    request
}

fn answer(partitions: &[(&str, i32, i16, i64)]) -> Struct {
    let mut answer = wire::response(0).unwrap().new();
    answer.set_i32("throttle_time_ms", 7);
    for &(name, index, code, offset) in partitions {
        let mut topic = answer.new_struct("responses");
        topic.set_str("name", name);
        let mut partition = topic.new_struct("partition_responses");
        partition.set_i32("index", index);
        partition.set_i16("error_code", code);
        partition.set_i64("base_offset", offset);
        topic.push_struct("partition_responses", partition);
        answer.push_struct("responses", topic);
    }
    answer
}

fn judge(now: Instant) -> impl FnMut(&Item, Struct) -> Judgement {
    move |_, partition| match partition.i16("error_code") {
        6 => {
            Judgement::Again(Again { code: 6, refused: Some(Refusal { node: 1, at: now }), ..Again::at(now) })
        }
        _ => Judgement::Done(partition),
    }
}

fn lost_in_answer(item: &Item) -> Judgement {
    Judgement::Done(error_for(shape(0).unwrap(), wire::response(0).unwrap(), item.partition, -1))
}

fn flat(answer: &Struct) -> Vec<(String, i32, i16, i64)> {
    let of = |topic: &Struct| {
        let name = topic.str("name").unwrap().to_owned();
        let rows = topic.structs("partition_responses");
        rows.map(move |p| (name.clone(), p.i32("index"), p.i16("error_code"), p.i64("base_offset")))
            .collect::<Vec<_>>()
    };
    answer.structs("responses").flat_map(of).collect()
}

#[test]
fn only_refused_partitions_are_sent_again_and_the_answers_are_merged_in_order() {
    let now = Instant::now();
    let mut split = Split::new(shape(0).unwrap(), produce(&[("a", 0), ("a", 1), ("b", 0), ("b", 2)]), now);
    let whole = split.was_sent_whole();
    split.absorb(
        whole,
        answer(&[("a", 0, 0, 10), ("a", 1, 6, -1), ("b", 0, 6, -1), ("b", 2, 2, -1)]),
        &mut judge(now),
        &mut lost_in_answer,
    );
    assert!(!split.is_done());
    let parts = split.dispatch(&[Some(9), Some(2), Some(3), Some(9)]);
    assert_eq!(parts.iter().map(|part| (part.node, part.items)).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
    let sent = parts[0].body.structs("topic_data").next().unwrap();
    assert_eq!(sent.str("name"), Some("a"));
    let records = sent.structs("partition_data").next().unwrap().bytes_field("records").cloned();
    assert_eq!(records, Some(Bytes::from_static(b"a-1")), "the batch goes as it came");
    assert_eq!(parts[0].body.i16("acks"), -1);
    split.absorb(parts[1].number, answer(&[("b", 0, 0, 30)]), &mut judge(now), &mut lost_in_answer);
    assert!(split.is_out() && !split.is_done());
    split.absorb(parts[0].number, answer(&[("a", 1, 0, 20)]), &mut judge(now), &mut lost_in_answer);
    assert!(split.is_done());
    let merged = split.finish(wire::response(0).unwrap());
    assert_eq!(merged.i32("throttle_time_ms"), 7);
    let expected = [("a", 0, 0, 10), ("a", 1, 0, 20), ("b", 0, 0, 30), ("b", 2, 2, -1)];
    assert_eq!(flat(&merged), expected.map(|(name, p, code, offset)| (name.to_owned(), p, code, offset)));
}

#[test]
fn a_lost_part_waits_again_with_its_doubt_and_a_silent_broker_is_no_success() {
    let now = Instant::now();
    let mut split = Split::new(shape(0).unwrap(), produce(&[("a", 0), ("a", 1)]), now);
    let whole = split.was_sent_whole();
    let later = now + Duration::from_millis(50);
    split.lose(whole, Verdict::Unknown, &mut |_, verdict| {
        assert_eq!(verdict, Verdict::Unknown);
        Judgement::Again(Again { doubt: true, ..Again::at(later) })
    });
    assert!(split.items().iter().all(|item| item.doubt && item.not_before == later));
    let parts = split.dispatch(&[Some(2), Some(2)]);
    assert_eq!(parts.len(), 1);
    split.take_back(parts[0].number);
    let parts = split.dispatch(&[Some(2), None]);
    assert_eq!((parts.len(), parts[0].items), (1, 1), "what has no leader goes on waiting");
    split.absorb(parts[0].number, answer(&[]), &mut judge(now), &mut lost_in_answer);
    split.settle(&mut |item| {
        Judgement::Done(error_for(shape(0).unwrap(), wire::response(0).unwrap(), item.partition, 5))
    });
    let merged = split.finish(wire::response(0).unwrap());
    assert_eq!(flat(&merged), [("a".to_owned(), 0, -1, -1), ("a".to_owned(), 1, 5, -1)]);
}

#[test]
fn records_alone_keep_the_frame_that_they_came_in() {
    let mut frame = bytes::BytesMut::new();
    let request = produce(&[("a", 0)]);
    wire::request(0).unwrap().encode(9, &request, &mut frame).unwrap();
    let request = wire::request(0).unwrap().decode(9, &frame.freeze()).unwrap();
    let mut split = Split::new(shape(0).unwrap(), request, Instant::now());
    let item = &mut split.items_mut()[0];
    let records = item.request.bytes_field("records").cloned().unwrap();
    item.request.set_bytes("records", None);
    assert_eq!(item.topic, TopicKey::Name(Bytes::from_static(b"a")));
    assert!(records.try_into_mut().is_ok(), "nothing else does: its name is a copy");
}

#[test]
fn topics_named_by_id_keep_their_id() {
    let now = Instant::now();
    let mut request = wire::request(1).unwrap().new();
    let mut topic = request.new_struct("topics");
    topic.set_uuid("topic_id", [9; 16]);
    let partition = topic.new_struct("partitions");
    topic.push_struct("partitions", partition);
    request.push_struct("topics", topic);
    let mut split = Split::new(shape(1).unwrap(), request, now);
    assert_eq!(split.items()[0].topic, TopicKey::Id([9; 16]));
    let parts = split.dispatch(&[Some(1)]);
    assert_eq!(parts[0].body.structs("topics").next().unwrap().uuid("topic_id"), [9; 16]);
}
