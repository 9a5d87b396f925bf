//! Requests and batches, made short.

use bytes::Bytes;
use evenkeel::kafka::wire::{self, Struct};

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const OFFSET_COMMIT: i16 = 8;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const LEAVE_GROUP: i16 = 13;
pub const SYNC_GROUP: i16 = 14;
pub const API_VERSIONS: i16 = 18;
pub const DESCRIBE_CLUSTER: i16 = 60;
pub const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

pub fn request(key: i16) -> Struct {
    wire::request(key).unwrap().new()
}

pub fn response(key: i16) -> Struct {
    wire::response(key).unwrap().new()
}

/// A batch of one record, whose bytes are `text`; with a sequence of producer 77 or without.
pub fn batch(text: &str, sequence: Option<i32>) -> Bytes {
    let (id, epoch, base) = sequence.map_or((-1, -1, -1), |base| (77, 0, base));
    batch_of(text, 1, id, epoch, base)
}

/// A batch that counts as `records` records; its checksum is right.
pub fn batch_of(text: &str, records: i32, id: i64, epoch: i16, base: i32) -> Bytes {
    let mut bytes = vec![0; 61];
    bytes[8..12].copy_from_slice(&((49 + text.len()) as i32).to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&base.to_be_bytes());
    bytes[57..61].copy_from_slice(&records.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    sealed(bytes)
}

/// With the right checksum, whatever was changed behind it.
pub fn sealed(mut batch: Vec<u8>) -> Bytes {
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch.into()
}

/// A Produce of these batches: topic `t`, partition, batch.
pub fn produce(acks: i16, batches: &[(i32, Bytes)]) -> Struct {
    let mut request = request(PRODUCE);
    request.set_i16("acks", acks);
    request.set_i32("timeout_ms", 30_000);
    let mut topic = request.new_struct("topic_data");
    topic.set_str("name", "t");
    topic.set_uuid("topic_id", topic_id());
    for (partition, batch) in batches {
        let mut row = topic.new_struct("partition_data");
        row.set_i32("index", *partition);
        row.set_bytes("records", Some(batch.clone()));
        topic.push_struct("partition_data", row);
    }
    request.push_struct("topic_data", topic);
    request
}

/// One batch of one record for partition 0 of `t`, acks=all, without a sequence.
pub fn produce_text(text: &str) -> Struct {
    produce(-1, &[(0, batch(text, None))])
}

fn topic_id() -> [u8; 16] {
    let mut id = [7; 16];
    id[0] = b't';
    id
}

/// Error code and base offset of each partition of a Produce answer.
pub fn produced(answer: &Struct) -> Vec<(i16, i64)> {
    let rows = answer.structs("responses").flat_map(|topic| topic.structs("partition_responses"));
    rows.map(|row| (row.i16("error_code"), row.i64("base_offset"))).collect()
}

/// A Fetch of partitions of `t` from these offsets, outside of sessions.
pub fn fetch(max_wait_ms: i32, partitions: &[(i32, i64)]) -> Struct {
    let mut request = request(FETCH);
    request.set_i32("max_wait_ms", max_wait_ms);
    request.set_i32("min_bytes", 1);
    let mut topic = request.new_struct("topics");
    topic.set_str("topic", "t");
    topic.set_uuid("topic_id", topic_id());
    for (partition, offset) in partitions {
        let mut row = topic.new_struct("partitions");
        row.set_i32("partition", *partition);
        row.set_i64("fetch_offset", *offset);
        row.set_i32("partition_max_bytes", 1 << 20);
        topic.push_struct("partitions", row);
    }
    if !partitions.is_empty() {
        request.push_struct("topics", topic);
    }
    request
}

/// Partition, error code, high watermark and bytes of records of each partition of a Fetch answer.
pub fn fetched(answer: &Struct) -> Vec<(i32, i16, i64, usize)> {
    let rows = answer.structs("responses").flat_map(|topic| topic.structs("partitions"));
    let length = |row: &Struct| row.bytes_field("records").map_or(0, Bytes::len);
    rows.map(|row| {
        (row.i32("partition_index"), row.i16("error_code"), row.i64("high_watermark"), length(row))
    })
    .collect()
}

/// A `ListOffsets` of partition 0 of `t`.
pub fn list_offsets() -> Struct {
    let mut body = request(LIST_OFFSETS);
    let mut topic = body.new_struct("topics");
    topic.set_str("name", "t");
    topic.push_struct("partitions", topic.new_struct("partitions"));
    body.push_struct("topics", topic);
    body
}

pub fn metadata(topics: &[&str]) -> Struct {
    let mut request = request(METADATA);
    for topic in topics {
        let mut row = request.new_struct("topics");
        row.set_str("name", topic);
        request.push_struct("topics", row);
    }
    request
}

/// The leader of each partition of the first topic of a Metadata answer.
pub fn leaders(answer: &Struct) -> Vec<i32> {
    let topic = answer.structs("topics").next().unwrap();
    topic.structs("partitions").map(|partition| partition.i32("leader_id")).collect()
}

pub fn find_coordinator(version: i16, group: &str) -> Struct {
    let mut request = request(FIND_COORDINATOR);
    if version < 4 {
        request.set_str("key", group);
    } else {
        request.set_strs("coordinator_keys", &[group]);
    }
    request
}

/// A request of a group's member that has nothing but its group and member id.
pub fn of_group(key: i16) -> Struct {
    let mut request = request(key);
    request.set_str("group_id", "g");
    if request.has("member_id") {
        request.set_str("member_id", "member-1");
    }
    request
}

/// An `OffsetCommit` of one offset.
pub fn commit(offset: i64) -> Struct {
    let mut request = of_group(OFFSET_COMMIT);
    let mut topic = request.new_struct("topics");
    topic.set_str("name", "t");
    let mut row = topic.new_struct("partitions");
    row.set_i64("committed_offset", offset);
    topic.push_struct("partitions", row);
    request.push_struct("topics", topic);
    request
}

/// The error codes of an answer, wherever they stand.
pub fn codes(answer: &Struct) -> Vec<i16> {
    let mut codes = Vec::new();
    answer.visit_errors(&mut |code| codes.push(code));
    codes
}
