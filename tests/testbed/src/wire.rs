//! A Kafka client by hand: one connection, one request after another, no retries and no knowledge but what it is told. The
//! tests' own clients are made of it, where a library's habits would blur what is measured. Imports only the error.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion as _, Request, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// An answer longer than this is none.
const LARGEST: u32 = 64 << 20;
/// Versions that brokers of 3.9 and 4.3 have: topics by name, no hints of leaders.
const PRODUCE: i16 = 9;
const METADATA: i16 = 9;
const INIT_PRODUCER_ID: i16 = 4;

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    client: String,
    correlation: i32,
}

/// A producer's identity in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl Identity {
    /// That of a producer without one.
    pub const NONE: Self = Self { id: -1, epoch: -1 };
}

/// A partition's leader, as somebody told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where it serves.
    pub addr: SocketAddr,
    /// The epoch of its leadership.
    pub epoch: i32,
}

impl Wire {
    /// Connects. No answer may take longer than `patience`.
    pub fn connect(addr: SocketAddr, client: &str, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, client: client.to_owned(), correlation: 0 })
    }

    /// The same connection once more, to read its answers elsewhere.
    pub fn another_reader(&self) -> io::Result<Self> {
        let (stream, client) = (self.stream.try_clone()?, self.client.clone());
        Ok(Self { stream, client, correlation: self.correlation })
    }

    /// Sends a request; gives its correlation id.
    pub fn send<Q: Request>(&mut self, version: i16, request: &Q) -> io::Result<i32> {
        let mut body = bytes::BytesMut::new();
        request.encode(&mut body, version).map_err(io::Error::other)?;
        self.send_bytes(Q::KEY, version, Q::header_version(version), &body)
    }

    /// The same with a body that is encoded already.
    pub fn send_bytes(&mut self, key: i16, version: i16, header: i16, body: &[u8]) -> io::Result<i32> {
        self.correlation += 1;
        let head = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_string(self.client.clone())));
        let mut frame = bytes::BytesMut::from(&[0u8; 4][..]);
        head.encode(&mut frame, header).map_err(io::Error::other)?;
        frame.extend_from_slice(body);
        let length = u32::try_from(frame.len().saturating_sub(4)).map_err(io::Error::other)?;
        if let Some(place) = frame.get_mut(..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.stream.write_all(&frame)?;
        Ok(self.correlation)
    }

    /// Waits for the next answer.
    pub fn receive<Q: Request>(&mut self, version: i16) -> io::Result<(i32, Q::Response)> {
        let mut frame = read_frame(&mut self.stream)?;
        let head = ResponseHeader::decode(&mut frame, Q::Response::header_version(version));
        let head = head.map_err(io::Error::other)?;
        let body = Q::Response::decode(&mut frame, version).map_err(io::Error::other)?;
        Ok((head.correlation_id, body))
    }

    /// One request and its answer.
    pub fn call<Q: Request>(&mut self, version: i16, request: &Q) -> io::Result<Q::Response> {
        let sent = self.send(version, request)?;
        let (answered, body) = self.receive::<Q>(version)?;
        if answered != sent {
            return Err(io::Error::other(format!("an answer to request {answered} instead of {sent}")));
        }
        Ok(body)
    }

    /// What this node says about a topic.
    pub fn metadata(&mut self, topic: &str) -> io::Result<MetadataResponse> {
        let asked = MetadataRequestTopic::default().with_name(Some(named(topic)));
        self.call(METADATA, &MetadataRequest::default().with_topics(Some(vec![asked])))
    }

    /// The leader of a partition, as this node knows it; `None` when it knows none.
    pub fn leader(&mut self, topic: &str, partition: i32) -> io::Result<Option<Leader>> {
        let answer = self.metadata(topic)?;
        let found = answer.topics.iter().flat_map(|t| &t.partitions).find(|p| p.partition_index == partition);
        let Some(found) = found.filter(|p| p.leader_id.0 >= 0) else { return Ok(None) };
        let node = answer.brokers.iter().find(|broker| broker.node_id == found.leader_id);
        let addr = node
            .and_then(|node| Some(SocketAddr::new(node.host.parse().ok()?, u16::try_from(node.port).ok()?)));
        Ok(addr.map(|addr| Leader { addr, epoch: found.leader_epoch }))
    }

    /// An identity of its own for a producer; the error code when it is refused.
    pub fn identity(&mut self) -> io::Result<std::result::Result<Identity, i16>> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = self.call(INIT_PRODUCER_ID, &request)?;
        Ok(match answer.error_code {
            0 => Ok(Identity { id: answer.producer_id.0, epoch: answer.producer_epoch }),
            code => Err(code),
        })
    }

    /// Sends a Produce of one batch; gives its correlation id.
    pub fn send_produce(
        &mut self,
        acks: i16,
        deadline: Duration,
        topic: &str,
        partition: i32,
        batch: &bytes::Bytes,
    ) -> io::Result<i32> {
        let row = PartitionProduceData::default().with_index(partition).with_records(Some(batch.clone()));
        let rows = TopicProduceData::default().with_name(named(topic)).with_partition_data(vec![row]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![rows]);
        self.send(PRODUCE, &request)
    }

    /// The answer to a Produce of one batch: its correlation id, the error code and the offset.
    pub fn produced(&mut self) -> io::Result<(i32, i16, i64)> {
        let (correlation, answer) = self.receive::<ProduceRequest>(PRODUCE)?;
        let row = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
        let row = row.ok_or_else(|| io::Error::other("an answer to Produce without a partition"))?;
        Ok((correlation, row.error_code, row.base_offset))
    }

    /// A Produce of one batch, acks=all, and its answer: the error code and the offset.
    pub fn produce(
        &mut self,
        deadline: Duration,
        topic: &str,
        partition: i32,
        batch: &bytes::Bytes,
    ) -> io::Result<(i16, i64)> {
        self.send_produce(-1, deadline, topic, partition, batch)?;
        self.produced().map(|(_, code, offset)| (code, offset))
    }
}

/// A batch of one record.
pub fn batch(identity: Identity, sequence: i32, value: String) -> io::Result<bytes::Bytes> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: identity.id,
        producer_epoch: identity.epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: if identity == Identity::NONE { -1 } else { sequence },
        timestamp: crate::scene::micros() / 1000,
        key: None,
        value: Some(value.into()),
        headers: IndexMap::default(),
    };
    let mut out = bytes::BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, [&record], &options).map_err(io::Error::other)?;
    Ok(out.freeze())
}

fn named(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Reads one frame. Its memory grows as bytes are really there: the length by itself allocates nothing.
fn read_frame(stream: &mut TcpStream) -> io::Result<bytes::Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LARGEST {
        return Err(io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut frame = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut frame)?;
    if frame.len() != usize::try_from(length).unwrap_or(usize::MAX) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn a_batch_carries_its_value_and_sequence() {
        let mut bytes = batch(Identity { id: 9, epoch: 2 }, 5, "p|0|5|".to_owned()).unwrap();
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        let [record] = &set.records[..] else { panic!("{set:?}") };
        assert_eq!((record.producer_id, record.producer_epoch, record.sequence), (9, 2, 5));
        assert_eq!(record.value.as_deref(), Some(&b"p|0|5|"[..]));
        let mut bytes = batch(Identity::NONE, 5, String::new()).unwrap();
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        assert_eq!((set.records[0].producer_id, set.records[0].sequence), (-1, -1));
    }
}
