//! Answers made here: the honest errors, and the empty success of a Fetch that has no leader to go to. Pure.
//!
//! None of them claims that a write happened, and none makes up an offset, an epoch or a generation.

use super::split::{error_for, shape};
use super::wire::{self, Struct};

/// `LEADER_NOT_AVAILABLE`.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// `REQUEST_TIMED_OUT`: the client's word for "it may have been applied, or not".
pub const REQUEST_TIMED_OUT: i16 = 7;
/// `COORDINATOR_NOT_AVAILABLE`.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// `FETCH_SESSION_ID_NOT_FOUND`: the client asks again for all its partitions, without a session.
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

/// An answer to `request` with `code` everywhere an error can stand. `None` for APIs for which no such answer is
/// known to be understood by clients: their connection is closed, as their broker's was.
pub fn error(key: i16, version: i16, request: &Struct, code: i16) -> Option<Struct> {
    let message = wire::response(key)?;
    let mut answer = message.new();
    if let Some(shape) = shape(key) {
        let mut topics = Vec::new();
        for topic in request.structs(shape.request.topics) {
            let mut out = answer.new_struct(shape.answer.topics);
            shape.answer.set_key(&mut out, &shape.request.key(topic));
            for partition in topic.structs(shape.request.partitions) {
                let index = partition.i32(shape.request.index);
                out.push_struct(shape.answer.partitions, error_for(shape, message, index, code));
            }
            topics.push(out);
        }
        answer.set_structs(shape.answer.topics, topics);
        return Some(answer);
    }
    match key {
        // JoinGroup, Heartbeat, LeaveGroup, SyncGroup, InitProducerId, AddOffsetsToTxn, EndTxn,
        // ConsumerGroupHeartbeat, PushTelemetry, ShareGroupHeartbeat, ShareFetch, ShareAcknowledge,
        // StreamsGroupHeartbeat
        11..=14 | 22 | 25 | 26 | 68 | 72 | 76 | 78 | 79 | 88 => answer.set_i16("error_code", code),
        8 | 28 => by_partition(request, &mut answer, code),
        9 => offset_fetch(request, &mut answer, version, code),
        _ => return None,
    }
    Some(answer)
}

/// `OffsetCommit`, `TxnOffsetCommit`: the request's topics and partitions, each with the code.
fn by_partition(request: &Struct, answer: &mut Struct, code: i16) {
    let mut topics = Vec::new();
    for topic in request.structs("topics") {
        let mut out = answer.new_struct("topics");
        out.set_bytes("name", topic.bytes_field("name").cloned());
        if topic.has("topic_id") && out.has("topic_id") {
            out.set_uuid("topic_id", topic.uuid("topic_id"));
        }
        for partition in topic.structs("partitions") {
            let mut row = out.new_struct("partitions");
            row.set_i32("partition_index", partition.i32("partition_index"));
            row.set_i16("error_code", code);
            out.push_struct("partitions", row);
        }
        topics.push(out);
    }
    answer.set_structs("topics", topics);
}

/// v0–1 have errors by partition only, v2–7 one for all, v8+ one for each group.
fn offset_fetch(request: &Struct, answer: &mut Struct, version: i16, code: i16) {
    if version >= 8 {
        let groups = request.structs("groups").map(|group| {
            let mut out = answer.new_struct("groups");
            out.set_bytes("group_id", group.bytes_field("group_id").cloned());
            out.set_i16("error_code", code);
            out
        });
        let groups = groups.collect();
        answer.set_structs("groups", groups);
        return;
    }
    answer.set_i16("error_code", code);
    if version >= 2 {
        return;
    }
    let topics = request.structs("topics").map(|topic| {
        let mut out = answer.new_struct("topics");
        out.set_bytes("name", topic.bytes_field("name").cloned());
        for index in topic.i32s("partition_indexes") {
            let mut row = out.new_struct("partitions");
            row.set_i32("partition_index", index);
            row.set_i64("committed_offset", -1);
            row.set_str("metadata", "");
            row.set_i16("error_code", code);
            out.push_struct("partitions", row);
        }
        out
    });
    let topics = topics.collect();
    answer.set_structs("topics", topics);
}

/// The answer to an incremental Fetch whose session is gone with its broker (70).
pub fn fetch_session_gone() -> Option<Struct> {
    let mut answer = wire::response(1)?.new();
    answer.set_i16("error_code", FETCH_SESSION_ID_NOT_FOUND);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn every_answer_made_here_can_be_written_in_every_version() {
        for key in [0, 1, 2, 8, 9, 11, 12, 13, 14, 21, 22, 23, 25, 26, 28, 68, 72, 76, 78, 79, 88] {
            let message = wire::response(key).unwrap();
            for version in message.versions() {
                let request = wire::request(key).unwrap().new();
                let answer = error(key, version, &request, 15).unwrap();
                let frame = wire::encode_response(key, version, 9, &answer).unwrap();
                assert!(wire::decode_response(key, version, &frame).is_ok(), "{key} v{version}");
            }
        }
        assert!(error(19, 5, &wire::request(19).unwrap().new(), 7).is_none());
    }

    #[test]
    fn an_empty_fetch_claims_no_records_and_no_high_watermark() {
        let mut request = wire::request(1).unwrap().new();
        let mut topic = request.new_struct("topics");
        topic.set_bytes("topic", Some(Bytes::from_static(b"t")));
        let mut partition = topic.new_struct("partitions");
        partition.set_i32("partition", 4);
        topic.push_struct("partitions", partition);
        request.push_struct("topics", topic);
        let answer = error(1, 11, &request, 0).unwrap();
        let row = answer.structs("responses").next().unwrap().structs("partitions").next().unwrap().clone();
        assert_eq!(
            (row.i32("partition_index"), row.i16("error_code"), row.i64("high_watermark")),
            (4, 0, -1)
        );
        assert_eq!(row.bytes_field("records").map(Bytes::len), Some(0));
    }
}
