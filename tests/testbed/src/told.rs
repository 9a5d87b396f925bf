//! A client that asks once what versions there are and then uses them for as long as it lives, the newest and the oldest that it was
//! told, on one connection: what a pin has to keep true while the brokers behind it become others. Asks only what changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupDescribeRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
    DescribeTransactionsRequest, FindCoordinatorRequest, ListGroupsRequest, ListOffsetsRequest,
    ListTransactionsRequest, MetadataRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};

use crate::wire::Wire;
use crate::{Error, Result};

/// From one round of questions to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer may take: a restart's time, and more.
const PATIENCE: Duration = Duration::from_secs(90);

/// What it went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Answers.
    pub answers: usize,
    /// The APIs asked, with the versions.
    pub asked: BTreeMap<i16, BTreeSet<i16>>,
    /// What must not happen: answers that say `UNSUPPORTED_VERSION`, and the end of the connection.
    pub wrong: Vec<String>,
}

/// By API key: the oldest and the newest version that a client is told of.
pub type Offered = BTreeMap<i16, (i16, i16)>;

/// Such clients, one for each address. Dropping it stops them.
#[derive(Debug)]
pub struct Told {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
    threads: Vec<JoinHandle<()>>,
    offered: Option<Offered>,
}

impl Told {
    /// Connects to each of `addrs`, asks for the versions, and starts asking.
    pub fn start(addrs: &[SocketAddr]) -> Result<Self> {
        let mut told =
            Self { stop: Arc::default(), heard: Arc::default(), threads: Vec::new(), offered: None };
        for &addr in addrs {
            let mut client = Client::connect(addr).map_err(Error::io(format!("asking {addr}")))?;
            if told.offered.get_or_insert_with(|| client.told.clone()) != &client.told {
                return Err(Error::program("told", format!("{addr} offers other versions than the others")));
            }
            let (stop, heard) = (Arc::clone(&told.stop), Arc::clone(&told.heard));
            told.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    if let Err(error) = client.round(&heard) {
                        let wrong = format!("{addr}: the connection ended: {error}");
                        heard.lock().unwrap_or_else(PoisonError::into_inner).wrong.push(wrong);
                        return;
                    }
                    std::thread::sleep(PAUSE);
                }
            }));
        }
        Ok(told)
    }

    /// Number of answers so far.
    pub fn answers(&self) -> usize {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).answers
    }

    /// What all of them were told.
    pub fn offered(&self) -> Offered {
        self.offered.clone().unwrap_or_default()
    }

    /// What went wrong so far.
    pub fn wrong(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).wrong.clone()
    }

    /// Ends them, each after its round; gives what they heard.
    pub fn stop(mut self) -> Result<Heard> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| Error::program("told", "a thread failed"))?;
        }
        Ok(self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Client {
    wire: Wire,
    told: Offered,
}

impl Client {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let mut wire = Wire::connect(addr, "told", PATIENCE)?;
        let answer = wire.call(3, &software())?;
        let told = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        Ok(Self { told: told.collect(), wire })
    }

    /// Everything once, at the newest and the oldest version.
    fn round(&mut self, heard: &Mutex<Heard>) -> io::Result<()> {
        let key = StrBytes::from_static_str("told");
        self.ask(heard, &software())?;
        self.ask(heard, &MetadataRequest::default().with_topics(Some(Vec::new())))?;
        // One key up to version 3, many from version 4 on.
        self.ask_as(heard, |version| match version {
            0..4 => FindCoordinatorRequest::default().with_key(key.clone()),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![key.clone()]),
        })?;
        self.ask(heard, &ListOffsetsRequest::default().with_replica_id((-1).into()))?;
        self.ask_as(heard, |version| {
            let group = key.clone().into();
            if version < 8 {
                return OffsetFetchRequest::default().with_group_id(group).with_topics(Some(Vec::new()));
            }
            // Brokers of 3.9 never answer one that names no group.
            let group = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(Some(Vec::new()));
            OffsetFetchRequest::default().with_groups(vec![group])
        })?;
        self.ask(heard, &OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()))?;
        self.ask(heard, &DescribeGroupsRequest::default())?;
        self.ask(heard, &ListGroupsRequest::default())?;
        self.ask(heard, &DescribeConfigsRequest::default())?;
        self.ask(heard, &DescribeClusterRequest::default())?;
        self.ask(heard, &DescribeProducersRequest::default())?;
        self.ask(heard, &DescribeTransactionsRequest::default())?;
        self.ask(heard, &ListTransactionsRequest::default())?;
        self.ask(heard, &ConsumerGroupDescribeRequest::default())?;
        self.ask(heard, &DescribeTopicPartitionsRequest::default().with_response_partition_limit(100))
    }

    fn ask<Q>(&mut self, heard: &Mutex<Heard>, request: &Q) -> io::Result<()>
    where
        Q: Request + Clone,
        Q::Response: Debug,
    {
        self.ask_as(heard, |_| request.clone())
    }

    /// The same with a request that is another one by version.
    fn ask_as<Q>(&mut self, heard: &Mutex<Heard>, request: impl Fn(i16) -> Q) -> io::Result<()>
    where
        Q: Request,
        Q::Response: Debug,
    {
        let key = Q::KEY;
        let Some(&(oldest, newest)) = self.told.get(&key) else { return Ok(()) };
        // The schema here ends somewhere, too.
        let known = Q::VERSIONS;
        let versions = BTreeSet::from([oldest.max(known.min), newest.min(known.max)]);
        for version in versions.into_iter().filter(|v| (oldest..=newest).contains(v)) {
            let answer = self.wire.call(version, &request(version))?;
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.answers += 1;
            heard.asked.entry(key).or_default().insert(version);
            // Wherever in the answer the error may stand.
            if format!("{answer:?}").contains("error_code: 35,") {
                heard.wrong.push(format!("UNSUPPORTED_VERSION to API key {key} version {version}"));
            }
        }
        Ok(())
    }
}

fn software() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("testbed"))
        .with_client_software_version(StrBytes::from_static_str("1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{
        ApiVersionsResponse, ListGroupsResponse, OffsetFetchResponse, RequestHeader, ResponseHeader,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    fn read(stream: &mut TcpStream) -> bytes::Bytes {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        stream.read_exact(&mut request).unwrap();
        request.into()
    }

    fn reply<R: Encodable + HeaderVersion>(stream: &mut TcpStream, correlation: i32, version: i16, body: &R) {
        let mut frame = bytes::BytesMut::from(&[0; 4][..]);
        let head = ResponseHeader::default().with_correlation_id(correlation);
        head.encode(&mut frame, R::header_version(version)).unwrap();
        body.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&frame).unwrap();
    }

    /// Reads a request; gives its API key and version, and answers with this.
    fn answer<R: Encodable + HeaderVersion>(stream: &mut TcpStream, body: &R) -> (i16, i16) {
        let request = read(stream);
        let short = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        reply(stream, i32::from_be_bytes(request[4..8].try_into().unwrap()), short(2), body);
        (short(0), short(2))
    }

    #[test]
    fn uses_what_it_was_told_and_tells_of_refusals_and_of_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let broker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let api = |key: i16, min: i16, max: i16| {
                ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
            };
            let told = ApiVersionsResponse::default().with_api_keys(vec![api(9, 8, 8), api(16, 1, 3)]);
            assert_eq!(answer(&mut stream, &told), (18, 3));
            let mut request = read(&mut stream);
            let head = RequestHeader::decode(&mut request, 2).unwrap();
            let offsets = OffsetFetchRequest::decode(&mut request, 8).unwrap();
            assert_eq!(offsets.groups.len(), 1, "a broker of 3.9 would never answer it");
            reply(&mut stream, head.correlation_id, 8, &OffsetFetchResponse::default());
            let good = ListGroupsResponse::default();
            let asked = [answer(&mut stream, &good), answer(&mut stream, &good.with_error_code(35))];
            assert_eq!(asked, [(16, 1), (16, 3)]);
        });
        let told = Told::start(&[addr]).unwrap();
        assert_eq!(told.offered(), BTreeMap::from([(9, (8, 8)), (16, (1, 3))]));
        broker.join().unwrap();
        crate::wait::until("its end", PATIENCE, || told.threads.iter().all(JoinHandle::is_finished)).unwrap();
        let heard = told.stop().unwrap();
        let asked = BTreeMap::from([(9, BTreeSet::from([8])), (16, BTreeSet::from([1, 3]))]);
        assert_eq!((heard.answers, heard.asked), (3, asked));
        let [refused, ended] = &heard.wrong[..] else { panic!("{:?}", heard.wrong) };
        assert!(refused.contains("UNSUPPORTED_VERSION to API key 16 version 3"), "{refused}");
        assert!(ended.contains("the connection ended"), "{ended}");
    }
}
