//! Fetch (key 1), stepped over by hand: requests and answers of every version, v0 to v18, without an allocation.
//!
//! Only what routing and sessions need is read; the records of an answer aren't looked at.

use super::error::{Fault, WireError};
use super::read::{Reader, TopicRef};
use super::write;
use bytes::BytesMut;

/// The versions that are known.
pub const VERSIONS: std::ops::RangeInclusive<i16> = 0..=18;
const FLEXIBLE: i16 = 12;
const BY_ID: i16 = 13;

/// What a request says apart from its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchHead {
    /// The follower that asks; −1 for a consumer.
    pub replica_id: i32,
    /// How long the broker may wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// The fewest bytes that are worth an answer before `max_wait_ms`.
    pub min_bytes: i32,
    /// The most bytes of an answer (v3+).
    pub max_bytes: i32,
    /// 0 reads everything, 1 committed transactions only (v4+).
    pub isolation_level: i8,
    /// The session (v7+); 0 for none yet.
    pub session_id: i32,
    /// The session's step (v7+): −1 outside of sessions, 0 to begin one; else only changes are listed.
    pub session_epoch: i32,
    /// How many partitions leave the session (v7+); [`scan_forgotten`] lists them.
    pub forgotten: usize,
    /// Where the rack id of a client that gives none stands in the body (v11+).
    pub empty_rack_at: Option<usize>,
}

/// One partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// Its number.
    pub partition: i32,
    /// The leader epoch that the client believes in (v9+); −1 for none.
    pub current_leader_epoch: i32,
    /// The offset to read from.
    pub fetch_offset: i64,
}

/// One partition of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedPartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// Its number.
    pub partition: i32,
    /// 0, or an error ([`super::errors`]).
    pub error_code: i16,
    /// The offset behind the last record that consumers may see.
    pub high_watermark: i64,
    /// The replica that the client is told to read from instead (v11+); −1 for none.
    pub preferred_read_replica: i32,
    /// Bytes of records; `None` for null.
    pub records_len: Option<usize>,
    /// Whether the broker says that the client's log diverged (v12+).
    pub has_diverging_epoch: bool,
    /// The leader that the broker names (v12+): node id and leader epoch.
    pub current_leader: Option<(i32, i32)>,
}

/// What an answer says apart from its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAnswer {
    /// An error of the whole answer (v7+), of the session for instance.
    pub error_code: i16,
    /// The session (v7+); 0 for none.
    pub session_id: i32,
    /// Whether any partition has an error.
    pub any_error: bool,
    /// Whether it has addresses of brokers (v16+), which a proxy must rewrite.
    pub has_node_endpoints: bool,
}

fn check(r: &Reader<'_>, version: i16) -> Result<(), WireError> {
    if VERSIONS.contains(&version) { Ok(()) } else { Err(r.error(Fault::Version, "version")) }
}

/// Reads a request, handing each partition to `visit`. After an error some may have been visited.
pub fn scan_request<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(FetchPartition<'a>),
) -> Result<FetchHead, WireError> {
    scan(version, body, visit, &mut |_, _| {})
}

/// Reads a request, handing each partition that leaves the session to `visit`.
pub fn scan_forgotten<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(TopicRef<'a>, i32),
) -> Result<FetchHead, WireError> {
    scan(version, body, &mut |_| {}, visit)
}

/// Names the zone of a client that names none, so that brokers can send it to a replica near it (KIP-392). A request
/// that has a rack id, has no place for one, or can't be read, stays as it is. Answers whether it was changed.
pub fn fill_rack(version: i16, body_at: usize, frame: &mut BytesMut, zone: &[u8]) -> bool {
    let body = frame.get(body_at..).unwrap_or_default();
    let Some(at) = scan_request(version, body, &mut |_| {}).ok().and_then(|head| head.empty_rack_at) else {
        return false;
    };
    let (at, flexible) = (body_at + at, version >= FLEXIBLE);
    let mut rack = BytesMut::with_capacity(zone.len() + 5);
    let length = if flexible { write::compact } else { write::length16 };
    if length(&mut rack, Some(zone.len())).is_none() {
        return false;
    }
    rack.extend_from_slice(zone);
    let rest = frame.split_off(at);
    frame.extend_from_slice(&rack);
    frame.extend_from_slice(rest.get(if flexible { 1 } else { 2 }..).unwrap_or_default());
    true
}

fn scan<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(FetchPartition<'a>),
    forgotten: &mut impl FnMut(TopicRef<'a>, i32),
) -> Result<FetchHead, WireError> {
    let r = &mut Reader::new("Fetch request", version, body, 0);
    check(r, version)?;
    let flexible = version >= FLEXIBLE;
    let mut head = FetchHead {
        replica_id: if version <= 14 { r.i32("replica_id")? } else { -1 },
        max_wait_ms: r.i32("max_wait_ms")?,
        min_bytes: r.i32("min_bytes")?,
        max_bytes: if version >= 3 { r.i32("max_bytes")? } else { i32::MAX },
        isolation_level: if version >= 4 { r.i8("isolation_level")? } else { 0 },
        session_id: if version >= 7 { r.i32("session_id")? } else { 0 },
        session_epoch: if version >= 7 { r.i32("session_epoch")? } else { -1 },
        forgotten: 0,
        empty_rack_at: None,
    };
    for _ in 0..r.some_array(flexible, "topics")? {
        let topic = r.topic(version >= BY_ID, flexible)?;
        for _ in 0..r.some_array(flexible, "partitions")? {
            let partition = r.i32("partition")?;
            let current_leader_epoch = if version >= 9 { r.i32("current_leader_epoch")? } else { -1 };
            let fetch_offset = r.i64("fetch_offset")?;
            if version >= 12 {
                r.i32("last_fetched_epoch")?;
            }
            if version >= 5 {
                r.i64("log_start_offset")?;
            }
            r.i32("partition_max_bytes")?;
            r.skip_tags(flexible)?;
            visit(FetchPartition { topic, partition, current_leader_epoch, fetch_offset });
        }
        r.skip_tags(flexible)?;
    }
    if version >= 7 {
        for _ in 0..r.some_array(flexible, "forgotten_topics_data")? {
            let topic = r.topic(version >= BY_ID, flexible)?;
            for _ in 0..r.some_array(flexible, "partitions")? {
                forgotten(topic, r.i32("partitions")?);
                head.forgotten += 1;
            }
            r.skip_tags(flexible)?;
        }
    }
    if version >= 11 {
        let at = r.at();
        match r.string(flexible, "rack_id")? {
            None => return Err(r.error(Fault::Null, "rack_id")),
            Some(rack) => head.empty_rack_at = rack.is_empty().then_some(at),
        }
    }
    r.tags(flexible, |tag, contents| {
        // The state of a follower, which has taken the place of the first field.
        if tag == 1 && version >= 15 {
            head.replica_id = Reader::new("Fetch request", version, contents, 0).i32("replica_id")?;
        }
        Ok(())
    })?;
    r.end()?;
    Ok(head)
}

/// Reads an answer, handing each partition to `visit`. After an error some may have been visited.
pub fn scan_response<'a>(
    version: i16,
    body: &'a [u8],
    visit: &mut impl FnMut(FetchedPartition<'a>),
) -> Result<FetchAnswer, WireError> {
    let r = &mut Reader::new("Fetch response", version, body, 0);
    check(r, version)?;
    let flexible = version >= FLEXIBLE;
    if version >= 1 {
        r.i32("throttle_time_ms")?;
    }
    let mut answer =
        FetchAnswer { error_code: 0, session_id: 0, any_error: false, has_node_endpoints: false };
    if version >= 7 {
        answer.error_code = r.i16("error_code")?;
        answer.session_id = r.i32("session_id")?;
    }
    for _ in 0..r.some_array(flexible, "responses")? {
        let topic = r.topic(version >= BY_ID, flexible)?;
        for _ in 0..r.some_array(flexible, "partitions")? {
            let partition = partition(r, version, topic)?;
            answer.any_error |= partition.error_code != 0;
            visit(partition);
        }
        r.skip_tags(flexible)?;
    }
    r.tags(flexible, |tag, _| {
        answer.has_node_endpoints |= tag == 0 && version >= 16;
        Ok(())
    })?;
    r.end()?;
    Ok(answer)
}

fn partition<'a>(
    r: &mut Reader<'a>,
    version: i16,
    topic: TopicRef<'a>,
) -> Result<FetchedPartition<'a>, WireError> {
    let flexible = version >= FLEXIBLE;
    let mut fetched = FetchedPartition {
        topic,
        partition: r.i32("partition_index")?,
        error_code: r.i16("error_code")?,
        high_watermark: r.i64("high_watermark")?,
        preferred_read_replica: -1,
        records_len: None,
        has_diverging_epoch: false,
        current_leader: None,
    };
    if version >= 4 {
        r.i64("last_stable_offset")?;
    }
    if version >= 5 {
        r.i64("log_start_offset")?;
    }
    if version >= 4 {
        for _ in 0..r.array(flexible, "aborted_transactions")?.unwrap_or(0) {
            r.i64("producer_id")?;
            r.i64("first_offset")?;
            r.skip_tags(flexible)?;
        }
    }
    if version >= 11 {
        fetched.preferred_read_replica = r.i32("preferred_read_replica")?;
    }
    fetched.records_len = r.bytes(flexible, "records")?.map(<[u8]>::len);
    r.tags(flexible, |tag, contents| {
        match tag {
            0 => fetched.has_diverging_epoch = true,
            1 => {
                let mut r = Reader::new("Fetch response", version, contents, 0);
                fetched.current_leader = Some((r.i32("leader_id")?, r.i32("leader_epoch")?));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(fetched)
}
