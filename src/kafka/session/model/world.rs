//! The world of the model check: a client with a connection to each of two brokers, its two sessions, the brokers, and
//! everything that can happen next.
//!
//! The sessions are the real ones, polled as they are in life, on streams in memory. What is modelled is around them: the
//! brokers ([`log`](crate::kafka::model::log)), the wire, the client, the watcher, and the clock.

use super::super::Session;
use super::action::{Action, FOR_EVER};
use super::client::Client;
use super::scenario::{Budget, Identity, Scenario};
use super::traffic::write;
use crate::kafka::cluster::{Cluster, Health, Producer, TopicKey};
use crate::kafka::model::log::{Connection, Partition, REMEMBERED};
use crate::kafka::model::print::Print;
use crate::kafka::order::{Copies, Progress};
use crate::kafka::wire;
use crate::net::Stream;
use crate::time;
use bytes::Bytes;
use std::sync::{Arc, LazyLock};
use std::time::Instant;
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

/// The other of the two nodes.
pub(super) fn other(node: i32) -> i32 {
    3 - node
}

pub(super) const TOPIC: &[u8] = b"t";
/// More than ever lies in a stream.
pub(super) const ROOM: usize = 1 << 16;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Timers are made and polled in it, and never fire: the model polls after everything that happens.
pub(super) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// A connection of a session to a broker.
pub(super) struct Wire {
    pub session: usize,
    pub node: i32,
    /// `None`: the session has lost it, and its broker has not read everything yet.
    pub stream: Option<DuplexStream>,
    pub connection: Connection,
}

/// One state.
pub(super) struct World {
    pub scenario: &'static Scenario,
    pub client: Client,
    pub partitions: Vec<Partition>,
    pub left: Budget,
    pub now: Instant,
    /// The first thing that was found wrong.
    pub broken: Option<String>,
    pub sessions: Vec<Session>,
    pub ends: Vec<DuplexStream>,
    /// What the client has written to each session.
    pub written: Vec<Vec<Bytes>>,
    pub wires: Vec<Wire>,
    pub cluster: Arc<Cluster>,
    pub up: [bool; 2],
    pub producers: i64,
}

pub(super) fn topic() -> TopicKey {
    TopicKey::Name(Bytes::from_static(TOPIC))
}

impl World {
    /// The beginning: two brokers are up, partition by partition led in turn, and nothing has been sent.
    pub(super) fn new(scenario: &'static Scenario) -> Self {
        let _entered = RUNTIME.enter();
        let now = *START;
        time::fix(now);
        let cluster = Cluster::modelled(&scenario.settings());
        let count = scenario.partitions();
        let leader = |partition: usize| {
            if scenario.together { 1 } else { 1 + i32::try_from(partition % 2).unwrap() }
        };
        cluster.learn_metadata(&metadata(count, &leader), now);
        cluster.set_health(1, Health::Up);
        cluster.set_health(2, Health::Up);
        let (mut sessions, mut ends) = (Vec::new(), Vec::new());
        for node in [1, 2] {
            let (ours, theirs) = duplex(ROOM);
            let mut session = Session::modelled(&cluster, Stream::Memory(theirs), node);
            if scenario.begins_at > 0 {
                let producer = Producer { id: 90 + i64::from(node), epoch: 0 };
                for partition in 0..i32::try_from(count).unwrap() {
                    session.injection.begin_at(&topic(), partition, producer, scenario.begins_at);
                }
            }
            sessions.push(session);
            ends.push(ours);
        }
        let leaders: Vec<i32> = (0..count).map(leader).collect();
        cluster.order.tell(told(&leaders), now);
        let partitions = leaders.iter().map(|leader| Partition::new(*leader)).collect();
        let mut world = Self {
            scenario,
            client: Client::new(scenario, leaders),
            partitions,
            left: scenario.budget,
            now,
            broken: None,
            sessions,
            ends,
            written: vec![Vec::new(); 2],
            wires: Vec::new(),
            cluster,
            up: [true, true],
            producers: 100,
        };
        world.run();
        for action in scenario.prelude.iter().copied().flatten() {
            world.act(*action);
        }
        world
    }

    /// The same state once more.
    pub(super) fn copy(&self) -> Self {
        let _entered = RUNTIME.enter();
        time::fix(self.now);
        let mut copies = Copies::default();
        let cluster = self.cluster.copy(&mut copies);
        let (mut sessions, mut ends) = (Vec::new(), Vec::new());
        let mut wires: Vec<Wire> = self
            .wires
            .iter()
            .map(|wire| Wire { stream: None, connection: wire.connection.clone(), ..*wire })
            .collect();
        for (at, session) in self.sessions.iter().enumerate() {
            let mut links = Vec::new();
            for node in session.open_nodes() {
                let (ours, theirs) = duplex(ROOM);
                let is_it = |wire: &&Wire| wire.session == at && wire.node == node && wire.stream.is_some();
                let place = self.wires.iter().position(|wire| is_it(&wire)).unwrap();
                wires[place].stream = Some(ours);
                links.push(Stream::Memory(theirs));
            }
            let (mut ours, theirs) = duplex(ROOM);
            for frame in self.unread(at) {
                write(&mut ours, frame);
            }
            let client = Stream::Memory(theirs);
            sessions.push(session.copy(&cluster, client, &mut links.into_iter(), &mut copies));
            ends.push(ours);
        }
        cluster.order.copy(&self.cluster.order, &mut copies);
        Self {
            scenario: self.scenario,
            client: self.client.clone(),
            partitions: self.partitions.clone(),
            left: self.left,
            now: self.now,
            broken: self.broken.clone(),
            sessions,
            ends,
            written: self.written.clone(),
            wires,
            cluster,
            up: self.up,
            producers: self.producers,
        }
    }

    /// What lies unread in the socket of a session.
    fn unread(&self, session: usize) -> &[Bytes] {
        &self.written[session][self.sessions[session].taken()..]
    }

    /// Its print.
    pub(super) fn print(&self) -> u64 {
        let mut print = Print::new(self.now);
        let number = |progress: &Arc<Progress>| {
            self.sessions.iter().position(|session| Arc::ptr_eq(&session.own, progress)).unwrap_or(9)
        };
        print.put(&(&self.client, &self.partitions, self.left, self.up, self.producers, &self.broken));
        for (at, session) in self.sessions.iter().enumerate() {
            session.print(&mut print, self.now, &number);
            print.put(self.unread(at));
        }
        for wire in &self.wires {
            print.put(&(wire.session, wire.node, wire.stream.is_some(), &wire.connection));
        }
        let count = i32::try_from(self.partitions.len()).unwrap();
        self.cluster.print(&topic(), count, self.now, &mut print);
        self.cluster.order.print(&mut print, &number);
        print.finish()
    }

    /// What is wrong with this state, if anything is.
    pub(super) fn check(&self) -> Option<String> {
        let told = self.client.check(self.scenario, &self.partitions);
        told.or_else(|| self.check_book()).or_else(|| self.check_window())
    }

    /// How many batches of a partition each session has given a sequence, and not heard of.
    fn check_window(&self) -> Option<String> {
        if self.scenario.identity != Identity::Injected {
            return None; // the client sees to it
        }
        for (session, partition) in
            (0..self.sessions.len()).flat_map(|s| (0..self.partitions.len()).map(move |p| (s, p)))
        {
            let wires = self.wires.iter().filter(|wire| wire.session == session && wire.stream.is_some());
            let requests = wires.flat_map(|wire| wire.connection.requests());
            let out =
                requests.flat_map(|request| &request.rows).filter(|row| row.partition == partition).count();
            if out > REMEMBERED {
                return Some(format!("{out} batches of partition {partition} are on their way"));
            }
        }
        None
    }

    /// The book of what is held.
    fn check_book(&self) -> Option<String> {
        let slots = || self.sessions.iter().flat_map(|session| &session.slots);
        let held = slots().filter(|slot| slot.is_held()).count() as u64;
        let bytes: usize = slots().map(|slot| slot.charged).sum();
        let account = self.cluster.ledger.account();
        let ended = account.released + account.expired + account.cancelled;
        if account.started != ended + account.waiting || account.waiting != held {
            return Some(format!("the book does not balance: {account:?}, {held} are held"));
        }
        let charged = self.cluster.ledger.bytes();
        (charged != bytes).then(|| format!("{bytes} bytes are held, and {charged} are in the book"))
    }

    /// From here on nothing goes wrong any more: whether everything gets decided, and rightly.
    pub(super) fn settle(&mut self) -> Option<String> {
        self.left = Budget::default();
        let mut steps = 0;
        while steps < 200 && self.broken.is_none() {
            let mut actions = Vec::new();
            self.actions(&mut actions);
            if self.scenario.stays_short {
                actions.retain(|action| !matches!(action, Action::Grow(_)));
            }
            let idle = |world: &Self| {
                world.client.is_done(world.scenario)
                    && world.wires.iter().all(|wire| wire.connection.is_idle())
                    && world.sessions.iter().all(|session| session.slots.is_empty())
            };
            if idle(self) {
                return self.check().or_else(|| self.client.check_untold(self.scenario, &self.partitions));
            }
            if steps == 150 && self.client.waits_at_a_gap() {
                // What was given up is never read: its bound is left to a batch behind it.
                self.now += FOR_EVER;
                time::fix(self.now);
            }
            // Work first, then news, then time.
            let rank = |action: &Action| match action {
                Action::Deliver(_) | Action::Serve(_) => 0,
                Action::Fence(_)
                | Action::Start(_)
                | Action::Grow(_)
                | Action::Follow(_)
                | Action::Confirm(_)
                | Action::Grant => 1,
                Action::Learn | Action::Send => 2,
                Action::Tell => 3,
                Action::Look => 4,
                Action::Soon => 5 - (steps % 2) * 2,
                _ => 6,
            };
            let Some(action) = actions.into_iter().min_by_key(rank) else { break };
            self.act(action);
            steps += 1;
        }
        let what = self.broken.take();
        Some(what.unwrap_or_else(|| format!("not decided after {steps} steps: {:?}", self.client)))
    }
}

pub(super) fn told(leaders: &[i32]) -> Vec<(TopicKey, i32, i32)> {
    let of = |(partition, leader): (usize, &i32)| (topic(), i32::try_from(partition).unwrap(), *leader);
    leaders.iter().enumerate().map(of).collect()
}

/// The cluster's answer at the beginning.
fn metadata(partitions: usize, leader: &dyn Fn(usize) -> i32) -> wire::Struct {
    let mut answer = wire::response(3).unwrap().new();
    for node in [1, 2] {
        let mut broker = answer.new_struct("brokers");
        broker.set_i32("node_id", node);
        broker.set_str("host", "127.0.0.1");
        broker.set_i32("port", 9000 + node);
        answer.push_struct("brokers", broker);
    }
    let mut topic = answer.new_struct("topics");
    topic.set_bytes("name", Some(Bytes::from_static(TOPIC)));
    for index in 0..partitions {
        let mut partition = topic.new_struct("partitions");
        partition.set_i32("partition_index", i32::try_from(index).unwrap());
        partition.set_i32("leader_id", leader(index));
        partition.set_i32("leader_epoch", 0);
        topic.push_struct("partitions", partition);
    }
    answer.push_struct("topics", topic);
    answer
}
