//! Requests and answers, made once and then sent again and again with another correlation id.

use crate::workload::Workload;
use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::kafka::wire::{self, Message, RequestHeader, Struct};
use std::net::SocketAddr;
use testbed::{Error, Result};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const LIST_GROUPS: i16 = 16;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
const DESCRIBE_CONFIGS: i16 = 32;

/// What the broker says it speaks.
const SPOKEN: &[(i16, i16, i16)] = &[
    (PRODUCE, 3, 9),
    (FETCH, 4, 12),
    (METADATA, 0, 12),
    (LIST_GROUPS, 0, 4),
    (API_VERSIONS, 0, 3),
    (INIT_PRODUCER_ID, 0, 4),
    (DESCRIBE_CONFIGS, 1, 4),
];

const TOPIC: &str = "benchmark";
/// Where a request's correlation id is, in bytes from the start of the frame with its length.
const REQUEST_ID_AT: usize = 8;
/// Where an answer's is.
const ANSWER_ID_AT: usize = 4;
/// The answers to Fetch and the `max_bytes` that ask for them: 100 kB and 1 MB of records.
const FETCH_SIZES: [usize; 2] = [100_000, 1_000_000];

/// A frame with its length in front, ready to be written.
#[derive(Clone)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    id_at: usize,
}

impl Frame {
    fn new(payload: &[u8], id_at: usize) -> Result<Self> {
        let length = i32::try_from(payload.len()).map_err(|_| wrong("a frame is too long"))?;
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        bytes.put_i32(length);
        bytes.put_slice(payload);
        Ok(Self { bytes, id_at })
    }

    /// Its bytes, with this correlation id.
    pub(crate) fn with_id(&mut self, id: i32) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(self.id_at..self.id_at + 4) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::program("bench", why.to_string())
}

fn known(message: Option<&'static Message>) -> Result<Struct> {
    message.map(Message::new).ok_or_else(|| wrong("an API is not known"))
}

/// One batch (magic 2) with one record, `size` bytes in all or a few more. Its checksum is zero: no proxy looks.
fn batch(size: usize) -> Bytes {
    let header = 61;
    let value = vec![b'x'; size.saturating_sub(header + 12)];
    let mut record = BytesMut::new();
    record.put_slice(&[0, 0, 0, 1]); // attributes, both deltas, key null (as zigzag)
    put_varint(&mut record, value.len());
    record.put_slice(&value);
    record.put_u8(0); // headers
    let mut out = BytesMut::new();
    let mut sized = BytesMut::new();
    put_varint(&mut sized, record.len());
    out.put_i64(0); // base offset
    out.put_i32(i32::try_from(header - 12 + sized.len() + record.len()).unwrap_or(i32::MAX));
    out.put_i32(-1); // leader epoch
    out.put_i8(2); // magic
    out.put_u32(0); // checksum
    out.put_i16(0); // attributes
    out.put_i32(0); // last offset delta
    out.put_i64(1_700_000_000_000);
    out.put_i64(1_700_000_000_000);
    out.put_i64(-1); // producer id
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_i32(1); // records
    out.put_slice(&sized);
    out.put_slice(&record);
    out.freeze()
}

/// A zigzag varint of a number that isn't negative.
fn put_varint(out: &mut BytesMut, number: usize) {
    let mut rest = number << 1;
    while rest > 0x7f {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap_or(0));
}

/// The request of a load.
pub(crate) fn request(workload: Workload) -> Result<Frame> {
    let (key, version, body) = match workload {
        Workload::Produce => (PRODUCE, 9, produce(100_000)?),
        Workload::Small | Workload::Pipelined => (PRODUCE, 9, produce(100)?),
        Workload::Fetch => (FETCH, 12, fetch(100_000)?),
        Workload::FetchLarge => (FETCH, 12, fetch(1_000_000)?),
        Workload::Opaque => (LIST_GROUPS, 4, known(wire::request(LIST_GROUPS))?),
    };
    let payload = wire::encode_request(key, version, 0, "benchmark", &body).map_err(wrong)?;
    Frame::new(&payload, REQUEST_ID_AT)
}

fn produce(size: usize) -> Result<Struct> {
    let mut request = known(wire::request(PRODUCE))?;
    request.set_i16("acks", -1);
    request.set_i32("timeout_ms", 30_000);
    let mut topic = request.new_struct("topic_data");
    topic.set_str("name", TOPIC);
    let mut partition = topic.new_struct("partition_data");
    partition.set_bytes("records", Some(batch(size)));
    topic.push_struct("partition_data", partition);
    request.push_struct("topic_data", topic);
    Ok(request)
}

fn fetch(max_bytes: i32) -> Result<Struct> {
    let mut request = known(wire::request(FETCH))?;
    request.set_i32("max_wait_ms", 500);
    request.set_i32("min_bytes", 1);
    request.set_i32("max_bytes", max_bytes);
    let mut topic = request.new_struct("topics");
    topic.set_str("topic", TOPIC);
    let mut partition = topic.new_struct("partitions");
    partition.set_i32("partition_max_bytes", max_bytes);
    topic.push_struct("partitions", partition);
    request.push_struct("topics", topic);
    Ok(request)
}

/// The answers of the broker.
#[derive(Clone)]
pub(crate) struct Answers {
    me: SocketAddr,
    produced: Frame,
    fetched: [Frame; 2],
    groups: Frame,
}

impl Answers {
    /// Of a broker at `me`, node 1 of its cluster.
    pub(crate) fn new(me: SocketAddr) -> Result<Self> {
        let [small, large] = FETCH_SIZES;
        Ok(Self {
            me,
            produced: answer(PRODUCE, 9, &produced()?)?,
            fetched: [answer(FETCH, 12, &fetched(small)?)?, answer(FETCH, 12, &fetched(large)?)?],
            groups: answer(LIST_GROUPS, 4, &groups()?)?,
        })
    }

    /// Whether the answer to a request depends on more than its first bytes.
    pub(crate) fn needs_whole(first: &[u8]) -> bool {
        first.get(..2) != Some(&PRODUCE.to_be_bytes())
    }

    /// The answer to a request, of which a Produce may be cut off behind its correlation id.
    pub(crate) fn to(&mut self, frame: &[u8], write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let [k0, k1, _, _, rest @ ..] = frame else { return Err(wrong("a short request")) };
        let id = rest.first_chunk::<4>().map_or(0, |id| i32::from_be_bytes(*id));
        match i16::from_be_bytes([*k0, *k1]) {
            PRODUCE => write(self.produced.with_id(id)),
            LIST_GROUPS => write(self.groups.with_id(id)),
            FETCH => {
                let body = wire::request_header(frame).map_err(wrong)?.body_at;
                let max_bytes = frame.get(body + 12..).and_then(<[u8]>::first_chunk::<4>);
                let max_bytes = max_bytes.map_or(0, |max| u32::from_be_bytes(*max)) as usize;
                let [small, large] = &mut self.fetched;
                write(if max_bytes <= 100_000 { small.with_id(id) } else { large.with_id(id) })
            }
            _ => write(self.handshake(frame)?.with_id(id)),
        }
    }

    /// What Evenkeel asks before it lets a client through.
    fn handshake(&self, frame: &[u8]) -> Result<Frame> {
        let frame = Bytes::copy_from_slice(frame);
        let (RequestHeader { api_key, api_version, .. }, _) = wire::decode_request(&frame).map_err(wrong)?;
        let mut body = known(wire::response(api_key))?;
        match api_key {
            API_VERSIONS => {
                for &(key, min, max) in SPOKEN {
                    let mut row = body.new_struct("api_keys");
                    row.set_i16("api_key", key);
                    row.set_i16("min_version", min);
                    row.set_i16("max_version", max);
                    body.push_struct("api_keys", row);
                }
            }
            METADATA => {
                let mut broker = body.new_struct("brokers");
                broker.set_i32("node_id", 1);
                broker.set_str("host", &self.me.ip().to_string());
                broker.set_i32("port", i32::from(self.me.port()));
                body.push_struct("brokers", broker);
                body.set_str("cluster_id", "benchmark-cluster-one1");
                body.set_i32("controller_id", 1);
            }
            DESCRIBE_CONFIGS => {
                let mut result = body.new_struct("results");
                result.set_i8("resource_type", 4);
                result.set_str("resource_name", "1");
                body.push_struct("results", result);
            }
            INIT_PRODUCER_ID => body.set_i64("producer_id", 1),
            other => return Err(wrong(format!("a request that no load has: API key {other}"))),
        }
        answer(api_key, api_version, &body)
    }
}

fn answer(key: i16, version: i16, body: &Struct) -> Result<Frame> {
    let payload = wire::encode_response(key, version, 0, body).map_err(wrong)?;
    Frame::new(&payload, ANSWER_ID_AT)
}

fn produced() -> Result<Struct> {
    let mut body = known(wire::response(PRODUCE))?;
    let mut topic = body.new_struct("responses");
    topic.set_str("name", TOPIC);
    let mut partition = topic.new_struct("partition_responses");
    partition.set_i64("base_offset", 4711);
    partition.set_i64("log_start_offset", 0);
    topic.push_struct("partition_responses", partition);
    body.push_struct("responses", topic);
    Ok(body)
}

fn fetched(size: usize) -> Result<Struct> {
    let mut body = known(wire::response(FETCH))?;
    let mut topic = body.new_struct("responses");
    topic.set_str("topic", TOPIC);
    let mut partition = topic.new_struct("partitions");
    partition.set_i64("high_watermark", 1_000_000);
    partition.set_i64("last_stable_offset", 1_000_000);
    partition.set_bytes("records", Some(batch(size)));
    topic.push_struct("partitions", partition);
    body.push_struct("responses", topic);
    Ok(body)
}

fn groups() -> Result<Struct> {
    let mut body = known(wire::response(LIST_GROUPS))?;
    for name in ["orders-billing", "orders-shipping", "orders-audit"] {
        let mut group = body.new_struct("groups");
        group.set_str("group_id", name);
        group.set_str("protocol_type", "consumer");
        group.set_str("group_state", "Stable");
        body.push_struct("groups", group);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel::kafka::wire::batch;

    #[test]
    fn a_batch_is_one_that_kafka_would_know() {
        for size in [100, 100_000] {
            let bytes = super::batch(size);
            assert!(bytes.len().abs_diff(size) < 8, "{}", bytes.len());
            let mut headers = batch::headers(&bytes);
            assert!(!headers.next().unwrap().is_sequenced());
            assert_eq!(headers.rest(), 0);
        }
    }

    #[test]
    fn every_load_gets_an_answer_that_carries_its_id() {
        let mut answers = Answers::new("127.0.0.1:9092".parse().unwrap()).unwrap();
        for load in [Workload::Produce, Workload::Fetch, Workload::FetchLarge, Workload::Opaque] {
            let mut frame = request(load).unwrap();
            let mut got = Vec::new();
            answers
                .to(&frame.with_id(77)[4..], &mut |bytes| {
                    got.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            assert_eq!(got[4..8], 77i32.to_be_bytes(), "{load:?}");
            let least = if load == Workload::FetchLarge { 1_000_000 } else { 40 };
            assert!(got.len() >= least, "{load:?}: {}", got.len());
        }
    }
}
