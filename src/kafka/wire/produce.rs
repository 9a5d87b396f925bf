//! Produce (key 0), stepped over by hand: requests and answers of every version, v0 to v13, without an allocation.
//!
//! Only what routing needs is read; the records stay bytes ([`super::batch`] looks at their headers).

use super::error::{Fault, WireError};
use super::read::{Reader, TopicRef};

/// The versions that are known.
pub const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;
const FLEXIBLE: i16 = 9;
const BY_ID: i16 = 13;

/// What a request says apart from its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceHead {
    /// How many acknowledgements: 0 means that no answer comes at all, 1 the leader's, −1 all in-sync replicas'.
    pub acks: i16,
    /// How long the broker may wait for them, in milliseconds.
    pub timeout_ms: i32,
    /// Whether the request has a transactional id.
    pub transactional: bool,
    /// Where `acks` is in the body, 2 bytes; the 4 of `timeout_ms` follow.
    pub acks_at: usize,
}

/// One partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// Its number.
    pub partition: i32,
    /// The records, `None` for null.
    pub records: Option<&'a [u8]>,
    /// Where the records begin in the body.
    pub records_at: usize,
}

/// One partition of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducedPartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// Its number.
    pub partition: i32,
    /// 0, or an error ([`super::errors`]).
    pub error_code: i16,
    /// The offset of the first record; −1 where none was appended. With `NOT_LEADER_OR_FOLLOWER` (6), 0 or more means that
    /// the records are in the log for all that.
    pub base_offset: i64,
    /// Where the error code is in the body, 2 bytes.
    pub error_code_at: usize,
    /// The leader that the broker names (v10+): node id and leader epoch.
    pub current_leader: Option<(i32, i32)>,
}

/// What an answer says on the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProduceAnswer {
    /// Whether any partition has an error.
    pub any_error: bool,
    /// Whether it has addresses of brokers (v10+), which a proxy must rewrite.
    pub has_node_endpoints: bool,
}

fn check(r: &Reader<'_>, version: i16) -> Result<(), WireError> {
    if VERSIONS.contains(&version) { Ok(()) } else { Err(r.error(Fault::Version, "version")) }
}

fn head(r: &mut Reader<'_>, version: i16) -> Result<ProduceHead, WireError> {
    check(r, version)?;
    let transactional = version >= 3 && r.string(version >= FLEXIBLE, "transactional_id")?.is_some();
    let acks_at = r.at();
    Ok(ProduceHead { acks: r.i16("acks")?, timeout_ms: r.i32("timeout_ms")?, transactional, acks_at })
}

/// What a request says before its partitions; reads no further.
pub fn request_head(version: i16, body: &[u8]) -> Result<ProduceHead, WireError> {
    head(&mut Reader::new("Produce request", version, body, 0), version)
}

/// Reads a request, handing each partition to `visit`. After an error some may have been visited.
pub fn scan_request<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(ProducePartition<'a>),
) -> Result<ProduceHead, WireError> {
    let r = &mut Reader::new("Produce request", version, body, 0);
    let head = head(r, version)?;
    let flexible = version >= FLEXIBLE;
    for _ in 0..r.some_array(flexible, "topic_data")? {
        let topic = r.topic(version >= BY_ID, flexible)?;
        for _ in 0..r.some_array(flexible, "partition_data")? {
            let partition = r.i32("index")?;
            let records = r.bytes(flexible, "records")?;
            let records_at = r.at() - records.map_or(0, <[u8]>::len);
            r.skip_tags(flexible)?;
            visit(ProducePartition { topic, partition, records, records_at });
        }
        r.skip_tags(flexible)?;
    }
    r.skip_tags(flexible)?;
    r.end()?;
    Ok(head)
}

/// Reads an answer, handing each partition to `visit`. After an error some may have been visited.
pub fn scan_response<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(ProducedPartition<'a>),
) -> Result<ProduceAnswer, WireError> {
    let r = &mut Reader::new("Produce response", version, body, 0);
    check(r, version)?;
    let flexible = version >= FLEXIBLE;
    let mut answer = ProduceAnswer::default();
    for _ in 0..r.some_array(flexible, "responses")? {
        let topic = r.topic(version >= BY_ID, flexible)?;
        for _ in 0..r.some_array(flexible, "partition_responses")? {
            let partition = r.i32("index")?;
            let error_code_at = r.at();
            let error_code = r.i16("error_code")?;
            let base_offset = r.i64("base_offset")?;
            if version >= 2 {
                r.i64("log_append_time_ms")?;
            }
            if version >= 5 {
                r.i64("log_start_offset")?;
            }
            if version >= 8 {
                for _ in 0..r.some_array(flexible, "record_errors")? {
                    r.i32("batch_index")?;
                    r.string(flexible, "batch_index_error_message")?;
                    r.skip_tags(flexible)?;
                }
                r.string(flexible, "error_message")?;
            }
            let mut current_leader = None;
            r.tags(flexible, |tag, contents| {
                if tag == 0 && version >= 10 {
                    let mut r = Reader::new("Produce response", version, contents, 0);
                    current_leader = Some((r.i32("leader_id")?, r.i32("leader_epoch")?));
                }
                Ok(())
            })?;
            answer.any_error |= error_code != 0;
            visit(ProducedPartition {
                topic,
                partition,
                error_code,
                base_offset,
                error_code_at,
                current_leader,
            });
        }
        r.skip_tags(flexible)?;
    }
    if version >= 1 {
        r.i32("throttle_time_ms")?;
    }
    r.tags(flexible, |tag, _| {
        answer.has_node_endpoints |= tag == 0 && version >= 10;
        Ok(())
    })?;
    r.end()?;
    Ok(answer)
}
