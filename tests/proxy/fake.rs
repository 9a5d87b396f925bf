//! A cluster of scripted brokers on loopback: what they know together, and the strings that a test pulls.
//!
//! What a broker does with a request is in `broker.rs`. The log of a partition is shared, as if it were replicated in no
//! time; only the leader serves it.

use crate::asks::Asks;
use crate::broker;
use crate::log::Identities;
use bytes::Bytes;
use evenkeel::kafka::wire::Struct;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What a broker does with one request instead of serving it.
#[derive(Clone)]
pub enum Act {
    /// Reads it, does nothing, closes.
    Close,
    /// Does it, and closes without an answer.
    ApplyThenClose,
    /// Does it, and answers something else.
    Change(Arc<dyn Fn(&mut Struct) + Send + Sync>),
    /// Doesn't do it: this error for every partition, or for all.
    Fail(i16),
    /// Does it; half of the answer, then the end.
    Torn,
    /// Does it; the answer comes byte by byte.
    Drip,
    /// Does it once the gate has been opened.
    Wait(Gate),
    /// Does it, and answers once the gate has been opened.
    AnswerLater(Gate),
    /// Does it; the answer carries another correlation id.
    WrongCorrelation,
    /// These bytes instead of an answer.
    Raw(Bytes),
    /// The right correlation id (and a flexible header's tags), then these bytes.
    Body(Bytes),
}

/// Opened once for each request that waits at it.
pub type Gate = Arc<Semaphore>;

pub fn gate() -> Gate {
    Arc::new(Semaphore::new(0))
}

pub fn change(how: impl Fn(&mut Struct) + Send + Sync + 'static) -> Act {
    Act::Change(Arc::new(how))
}

/// A request as a broker got it.
#[derive(Clone)]
pub struct Seen {
    pub node: i32,
    pub key: i16,
    pub version: i16,
    pub client_id: String,
    pub frame: Bytes,
    /// What was answered, if anything was.
    pub answer: Option<Bytes>,
}

/// One batch in a log.
#[derive(Clone, Debug)]
pub struct Batch {
    pub offset: i64,
    pub records: i64,
    pub bytes: Bytes,
    /// The broker that appended it.
    pub by: i32,
    /// Producer id, first and last sequence, where it has them.
    pub sequence: Option<(i64, i32, i32)>,
    /// The producer's epoch, or −1.
    pub epoch: i16,
    /// It was there when its leader was started: unless it is its producer's last, its repeat isn't recognised.
    pub before_start: bool,
}

impl Batch {
    /// What stands behind the header.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[61..]).into_owned()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub leader: i32,
    pub epoch: i32,
    /// Where the log begins: what was before is deleted.
    pub start: i64,
    pub log: Vec<Batch>,
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub id: [u8; 16],
    pub partitions: Vec<Partition>,
}

pub struct Broker {
    pub addr: SocketAddr,
    /// Whether Metadata lists it.
    pub listed: bool,
    /// Its `broker.rack`. A leader elsewhere sends consumers of this rack to it (KIP-392).
    pub rack: Option<String>,
    /// The node that it is; another id makes it a stranger at this address.
    pub claims: i32,
    /// A cluster id other than everyone's.
    pub other_cluster: Option<String>,
    pub versions: BTreeMap<i16, (i16, i16)>,
    /// Whether it names the new leader in its errors (KIP-951).
    pub hints: bool,
    /// The topics as it knew them when its knowledge froze.
    pub frozen: Option<BTreeMap<String, Topic>>,
    pub scripts: HashMap<i16, VecDeque<Act>>,
    pub always: HashMap<i16, Act>,
    /// How long a Produce with acks=all waits for the followers.
    pub followers: Duration,
    /// Whom it takes; none: it asks nobody.
    pub asks: Option<Asks>,
    /// Its answers to handshakes wait here.
    pub slow_handshakes: Option<Gate>,
    running: Option<(watch::Sender<()>, JoinHandle<()>)>,
}

/// What all brokers share.
pub struct World {
    pub cluster_id: String,
    pub controller: i32,
    /// `DescribeConfigs` of a broker is denied to everybody.
    pub denies_configs: bool,
    /// What Metadata says that one may do: on the cluster, and on each topic (a bit for each `AclOperation`).
    pub operations: (i32, i32),
    pub brokers: BTreeMap<i32, Broker>,
    pub topics: BTreeMap<String, Topic>,
    /// Group to coordinator; −1 while it has none. Others are at the lowest node.
    pub coordinators: HashMap<String, i32>,
    pub left: Vec<String>,
    pub committed: Vec<i64>,
    pub identities: Identities,
    /// Fetch sessions: the node that keeps it, and the last full request's partitions with later changes.
    pub sessions: HashMap<i32, (i32, Struct)>,
    pub seen: Vec<Seen>,
}

pub struct Fake {
    world: Arc<Mutex<World>>,
}

impl Fake {
    pub async fn start(nodes: &[i32]) -> Self {
        let world = World {
            cluster_id: "the-cluster".to_owned(),
            controller: nodes[0],
            denies_configs: false,
            operations: (0x1ffc, 0xff8),
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            coordinators: HashMap::new(),
            left: Vec::new(),
            committed: Vec::new(),
            identities: Identities::default(),
            sessions: HashMap::new(),
            seen: Vec::new(),
        };
        let fake = Self { world: Arc::new(Mutex::new(world)) };
        for &node in nodes {
            fake.add(node).await;
        }
        fake
    }

    /// Another broker.
    pub async fn add(&self, node: i32) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = Broker {
            addr: listener.local_addr().unwrap(),
            listed: true,
            rack: None,
            claims: node,
            other_cluster: None,
            versions: broker::all_versions(),
            hints: false,
            frozen: None,
            scripts: HashMap::new(),
            always: HashMap::new(),
            followers: Duration::ZERO,
            asks: None,
            slow_handshakes: None,
            running: None,
        };
        self.world().brokers.insert(node, broker);
        self.serve(node, listener);
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn broker<R>(&self, node: i32, with: impl FnOnce(&mut Broker) -> R) -> R {
        with(self.world().brokers.get_mut(&node).unwrap())
    }

    /// From now on all brokers ask who is there.
    pub fn ask(&self, asks: &Asks) {
        for broker in self.world().brokers.values_mut() {
            broker.asks = Some(asks.clone());
        }
    }

    pub fn addr(&self, node: i32) -> SocketAddr {
        self.broker(node, |broker| broker.addr)
    }

    fn serve(&self, node: i32, listener: TcpListener) {
        let running = self.listen(node, listener);
        self.broker(node, |broker| broker.running = Some(running));
    }

    /// `node` answers at an address that was another's, until what this gives is dropped.
    pub async fn stranger(&self, at: SocketAddr, node: i32) -> watch::Sender<()> {
        self.listen(node, TcpListener::bind(at).await.unwrap()).0
    }

    fn listen(&self, node: i32, listener: TcpListener) -> (watch::Sender<()>, JoinHandle<()>) {
        let (stop, stopped) = watch::channel(());
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut end = stopped.clone();
            loop {
                tokio::select! {
                    _ = end.changed() => break,
                    Ok((stream, _)) = listener.accept() => {
                        stream.set_nodelay(true).unwrap();
                        connections.spawn(broker::connection(Arc::clone(&world), node, stream));
                    }
                }
            }
            drop(listener);
            connections.shutdown().await;
        });
        (stop, task)
    }

    /// Ends a broker: connections are refused from now on, those that there are end.
    pub async fn down(&self, node: i32) {
        if let Some((stop, task)) = self.broker(node, |broker| broker.running.take()) {
            drop(stop);
            task.await.unwrap();
        }
    }

    /// Starts it again where it was.
    pub async fn up(&self, node: i32) {
        let listener = TcpListener::bind(self.addr(node)).await.unwrap();
        self.serve(node, listener);
    }

    /// Starts it again at another port, which Metadata then gives.
    pub async fn up_elsewhere(&self, node: i32) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.broker(node, |broker| broker.addr = listener.local_addr().unwrap());
        self.serve(node, listener);
    }

    /// A topic with a partition for each of `leaders`.
    pub fn topic(&self, name: &str, leaders: &[i32]) {
        let partition = |&leader| Partition { leader, epoch: 3, start: 0, log: Vec::new() };
        let mut id = [7; 16];
        id[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
        let topic = Topic { id, partitions: leaders.iter().map(partition).collect() };
        self.world().topics.insert(name.to_owned(), topic);
    }

    /// The topic is deleted and made anew, with another id, and nothing in it.
    pub fn topic_anew(&self, name: &str, leaders: &[i32]) {
        let last = self.world().topics.get(name).map_or(0, |topic| topic.id[15]);
        self.topic(name, leaders);
        self.world().topics.get_mut(name).unwrap().id[15] = last.wrapping_add(1);
    }

    /// Closes all connections to a broker, and goes on.
    pub async fn hang_up(&self, node: i32) {
        self.down(node).await;
        self.up(node).await;
    }

    /// Evenkeel's own requests of this API, in the order in which brokers got them.
    pub fn own(&self, key: i16) -> Vec<Seen> {
        let world = self.world();
        world.seen.iter().filter(|seen| seen.key == key && seen.client_id == "evenkeel").cloned().collect()
    }

    /// An election: another leader (−1: none), with the next epoch.
    pub fn elect(&self, topic: &str, partition: usize, leader: i32) {
        let mut world = self.world();
        let partition = &mut world.topics.get_mut(topic).unwrap().partitions[partition];
        partition.leader = leader;
        partition.epoch += 1;
    }

    /// An election after which the new leader lacks what comes behind the first `batches`: no follower had it yet.
    pub fn elect_cut_off(&self, topic: &str, partition: usize, leader: i32, batches: usize) {
        self.world().topics.get_mut(topic).unwrap().partitions[partition].log.truncate(batches);
        self.elect(topic, partition, leader);
    }

    /// The leader of a partition has been started again: of what it has it remembers each producer's last batch (as 3.9.2 does).
    pub fn remember_less(&self, topic: &str, partition: usize) {
        let mut world = self.world();
        let log = &mut world.topics.get_mut(topic).unwrap().partitions[partition].log;
        for batch in log {
            batch.before_start = true;
        }
    }

    /// From now on brokers give the topics in Metadata as they are now, for `how_long`.
    pub fn stale_metadata(&self, nodes: &[i32], how_long: Duration) {
        let topics = self.world().topics.clone();
        for node in nodes {
            self.broker(*node, |broker| broker.frozen = Some(topics.clone()));
        }
        let (world, nodes) = (Arc::clone(&self.world), nodes.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(how_long).await;
            for node in nodes {
                world.lock().unwrap().brokers.get_mut(&node).unwrap().frozen = None;
            }
        });
    }

    /// What `node` does with the next request of this API from a client.
    pub fn script(&self, node: i32, key: i16, act: Act) {
        self.broker(node, |broker| broker.scripts.entry(key).or_default().push_back(act));
    }

    /// What `node` does with each request of this API from a client.
    pub fn always(&self, node: i32, key: i16, act: Act) {
        self.broker(node, |broker| broker.always.insert(key, act));
    }

    pub fn never(&self, node: i32, key: i16) {
        self.broker(node, |broker| broker.always.remove(&key));
    }

    pub fn log(&self, topic: &str, partition: usize) -> Vec<Batch> {
        self.world().topics[topic].partitions[partition].log.clone()
    }

    /// The texts of a log, in order.
    pub fn texts(&self, topic: &str, partition: usize) -> Vec<String> {
        self.log(topic, partition).iter().map(Batch::text).collect()
    }

    /// Requests of clients (not Evenkeel's own) of this API, in the order in which brokers got them.
    pub fn seen(&self, key: i16) -> Vec<Seen> {
        let world = self.world();
        world.seen.iter().filter(|seen| seen.key == key && seen.client_id != "evenkeel").cloned().collect()
    }

    /// All requests of clients at a node.
    pub fn seen_at(&self, node: i32) -> Vec<Seen> {
        let world = self.world();
        world.seen.iter().filter(|seen| seen.node == node && seen.client_id != "evenkeel").cloned().collect()
    }
}
