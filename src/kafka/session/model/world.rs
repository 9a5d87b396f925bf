//! The world of the model check: a client with a connection to each of two brokers, its two sessions, the brokers, and
//! everything that can happen next.
//!
//! The sessions are the real ones, polled as they are in life, on streams in memory. What is modelled is around them: the
//! brokers ([`log`](crate::kafka::model::log)), the wire, the client, the watcher, and the clock.

use super::super::Session;
use super::client::Client;
use super::scenario::{Budget, Scenario};
use crate::kafka::cluster::{Cluster, Health, Producer, TopicKey};
use crate::kafka::model::log::{Batch, Connection, Outcome, Partition, Request, Row};
use crate::kafka::model::print::{LATER, Print, SOON};
use crate::kafka::order::{Copies, Progress};
use crate::kafka::wire::{self, batch, produce, request_header};
use crate::net::Stream;
use crate::time;
use bytes::{Bytes, BytesMut};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};

/// The other of the two nodes.
pub(super) fn other(node: i32) -> i32 {
    3 - node
}

pub(super) const TOPIC: &[u8] = b"t";
/// More than ever lies in a stream.
const ROOM: usize = 1 << 16;
/// Longer than anything is held.
const FOR_EVER: Duration = Duration::from_secs(5000);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Timers are made and polled in it, and never fire: the model polls after everything that happens.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The client sends its next request to whom it believes to lead.
    Send,
    /// The client is told who leads, by an answer of some other connection of its.
    Tell,
    /// It has read that, and acts on it.
    Learn,
    /// A broker reads the next request of a connection.
    Serve(usize),
    /// An answer reaches the session.
    Deliver(usize),
    /// The follower of a partition has caught up; its leader gets to know.
    Follow(usize),
    Confirm(usize),
    /// The other replica of a partition leads from now on.
    Move(usize),
    /// A connection is lost. Its broker may still read what was sent on it.
    Lose(usize),
    /// What waits for followers has waited too long.
    TimeOut(usize),
    /// A broker is killed; found to be gone; back.
    Kill(i32),
    Fence(i32),
    Start(i32),
    /// A partition's follower falls behind, or is in sync again.
    Shrink(usize),
    Grow(usize),
    /// Metadata is looked up: as it is, or as a broker knows it that is behind.
    Look,
    LookBehind,
    /// Time goes on, a little or more.
    Soon,
    Later,
    /// So much that everything held is over.
    Expire,
}

/// A connection of a session to a broker.
struct Wire {
    session: usize,
    node: i32,
    /// `None`: the session has lost it, and its broker has not read everything yet.
    stream: Option<DuplexStream>,
    connection: Connection,
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
    sessions: Vec<Session>,
    ends: Vec<DuplexStream>,
    wires: Vec<Wire>,
    cluster: Arc<Cluster>,
    up: [bool; 2],
    producers: i64,
}

fn topic() -> TopicKey {
    TopicKey::Name(Bytes::from_static(TOPIC))
}

fn write(stream: &mut DuplexStream, frame: &[u8]) {
    let mut bytes = BytesMut::from(&u32::try_from(frame.len()).unwrap().to_be_bytes()[..]);
    bytes.extend_from_slice(frame);
    let written = Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), &bytes);
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()), "a stream of the model is full");
}

/// The frames that have arrived, whole.
fn read(stream: &mut DuplexStream) -> Vec<Bytes> {
    let mut all = BytesMut::new();
    let mut room = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => all.extend_from_slice(buffer.filled()),
            _ => break,
        }
    }
    let mut frames = Vec::new();
    while let Some(prefix) = all.first_chunk::<4>() {
        let len = u32::from_be_bytes(*prefix) as usize;
        let _ = all.split_to(4);
        frames.push(all.split_to(len).freeze());
    }
    frames
}

impl World {
    /// The beginning: two brokers are up, partition by partition led in turn, and nothing has been sent.
    pub(super) fn new(scenario: &'static Scenario) -> Self {
        let _entered = RUNTIME.enter();
        let now = *START;
        time::fix(now);
        let cluster = Cluster::modelled(&scenario.settings());
        let count = scenario.partitions();
        let leader = |partition: usize| 1 + i32::try_from(partition % 2).unwrap();
        cluster.learn_metadata(&metadata(count, &leader), now);
        cluster.set_health(1, Health::Up);
        cluster.set_health(2, Health::Up);
        let (mut sessions, mut ends) = (Vec::new(), Vec::new());
        for node in [1, 2] {
            let (ours, theirs) = duplex(ROOM);
            sessions.push(Session::modelled(&cluster, Stream::Memory(theirs), node));
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
            wires: Vec::new(),
            cluster,
            up: [true, true],
            producers: 100,
        };
        world.run();
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
            let (ours, theirs) = duplex(ROOM);
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
            wires,
            cluster,
            up: self.up,
            producers: self.producers,
        }
    }

    /// Its print.
    pub(super) fn print(&self) -> u64 {
        let mut print = Print::new(self.now);
        let number = |progress: &Arc<Progress>| {
            self.sessions.iter().position(|session| Arc::ptr_eq(&session.own, progress)).unwrap_or(9)
        };
        print.put(&(&self.client, &self.partitions, self.left, self.up, self.producers, &self.broken));
        for session in &self.sessions {
            session.print(&mut print, &number);
        }
        for wire in &self.wires {
            print.put(&(wire.session, wire.node, wire.stream.is_some(), &wire.connection));
        }
        let count = i32::try_from(self.partitions.len()).unwrap();
        self.cluster.print(&topic(), count, self.now, &mut print);
        self.cluster.order.print(&mut print, &number);
        print.finish()
    }

    /// Everything that can happen next.
    pub(super) fn actions(&mut self, to: &mut Vec<Action>) {
        let _entered = RUNTIME.enter();
        time::fix(self.now);
        if self.broken.is_some() {
            return;
        }
        if self.client.next(self.scenario).is_some_and(|node| self.may_send(node)) {
            to.push(Action::Send);
        }
        let leaders = self.leaders();
        if self.client.told != leaders && leaders.iter().all(|leader| *leader > 0) {
            to.push(Action::Tell);
        }
        if self.client.believes != self.client.told {
            to.push(Action::Learn);
        }
        for (at, wire) in self.wires.iter().enumerate() {
            if wire.connection.head.is_none() && !wire.connection.queue.is_empty() {
                to.push(Action::Serve(at));
            }
            if wire.stream.is_some() {
                if !wire.connection.answers.is_empty() {
                    to.push(Action::Deliver(at));
                }
                if wire.connection.head.is_some() && self.left.time_outs > 0 {
                    to.push(Action::TimeOut(at));
                }
                if !wire.connection.is_idle() && self.left.losses > 0 {
                    to.push(Action::Lose(at));
                }
            }
        }
        for (at, partition) in self.partitions.iter().enumerate() {
            if self.can_follow(partition) {
                to.push(Action::Follow(at));
            }
            if partition.in_sync && partition.leader.is_some() && partition.high < partition.followed {
                to.push(Action::Confirm(at));
            }
            if self.left.moves > 0 && partition.in_sync && partition.leader.is_some() && self.up == [true; 2]
            {
                to.push(Action::Move(at));
            }
            if self.left.shrinks > 0 && partition.in_sync {
                to.push(Action::Shrink(at));
            }
            if !partition.in_sync && self.up == [true; 2] {
                to.push(Action::Grow(at));
            }
        }
        for node in [1, 2] {
            let up = self.is_up(node);
            if self.left.kills > 0 && self.up == [true; 2] {
                to.push(Action::Kill(node));
            }
            if !up && self.partitions.iter().any(|partition| partition.leader == Some(node)) {
                to.push(Action::Fence(node));
            }
            if !up {
                to.push(Action::Start(node));
            }
        }
        if self.cluster.wants(&topic(), self.now) {
            to.push(Action::Look);
            if self.left.behind > 0 && self.partitions.iter().any(|partition| partition.epoch > 0) {
                to.push(Action::LookBehind);
            }
        }
        // A client reads what it is told within TELLING_TAKES.
        let waits = self.sessions.iter().any(|session| session.unsettled > 0);
        if (waits || self.cluster.order.any_marked()) && self.client.believes == self.client.told {
            to.extend([Action::Soon, Action::Later]);
            if self.left.expiries > 0 && waits {
                to.push(Action::Expire);
            }
        }
    }

    fn may_send(&mut self, node: i32) -> bool {
        self.sessions[usize::try_from(node - 1).unwrap()].has_room() || self.scenario.unread
    }

    fn can_follow(&self, partition: &Partition) -> bool {
        partition.in_sync
            && partition.followed < partition.log.len()
            && partition.leader.is_some_and(|leader| self.is_up(leader) && self.is_up(other(leader)))
    }

    fn is_up(&self, node: i32) -> bool {
        self.up[usize::try_from(node - 1).unwrap()]
    }

    fn set_up(&mut self, node: i32, up: bool) {
        self.up[usize::try_from(node - 1).unwrap()] = up;
    }

    fn leaders(&self) -> Vec<i32> {
        self.partitions.iter().map(|partition| partition.leader.unwrap_or(-1)).collect()
    }

    /// What the cluster says of its leaders is taken in.
    fn learn(&self, behind: bool) {
        for (at, partition) in self.partitions.iter().enumerate() {
            let (mut node, mut epoch) = (partition.leader.unwrap_or(-1), partition.epoch);
            if behind && epoch > 0 {
                (node, epoch) = (partition.leader.map_or(-1, other), epoch - 1);
            }
            let index = i32::try_from(at).unwrap();
            self.cluster.update(|view| view.absorb_hint(&topic(), index, node, epoch, self.now));
        }
    }

    /// Lets something happen, and everybody act on it.
    pub(super) fn act(&mut self, action: Action) {
        let _entered = RUNTIME.enter();
        self.now += Duration::from_micros(1);
        time::fix(self.now);
        match action {
            Action::Send => {
                let (node, frame) = self.client.send(self.scenario);
                write(&mut self.ends[usize::try_from(node - 1).unwrap()], &frame);
            }
            Action::Tell => {
                let leaders = self.leaders();
                self.learn(false);
                self.cluster.order.tell(told(&leaders), self.now);
                self.client.told = leaders;
            }
            Action::Learn => self.client.believes.clone_from(&self.client.told),
            Action::Serve(at) => {
                let wire = &mut self.wires[at];
                wire.connection.serve(wire.node, &mut self.partitions, self.scenario.min_in_sync);
            }
            Action::Deliver(at) => self.deliver(at),
            Action::Follow(at) => self.partitions[at].followed = self.partitions[at].log.len(),
            Action::Confirm(at) => self.partitions[at].high = self.partitions[at].followed,
            Action::Move(at) => {
                self.left.moves -= 1;
                let partition = &mut self.partitions[at];
                let to = other(partition.leader.unwrap());
                partition.elect(to);
            }
            Action::Lose(at) => {
                self.left.losses -= 1;
                let wire = &mut self.wires[at];
                wire.stream = None;
                let lost = wire.connection.head.take();
                let answers = std::mem::take(&mut wire.connection.answers);
                for request in wire.connection.queue.iter().chain(&lost).chain(&answers) {
                    self.client.doubt(request);
                }
            }
            Action::TimeOut(at) => {
                self.left.time_outs -= 1;
                self.wires[at].connection.time_out();
            }
            Action::Kill(node) => {
                self.left.kills -= 1;
                self.kill(node);
            }
            Action::Fence(node) => {
                for partition in &mut self.partitions {
                    if partition.leader == Some(node) {
                        partition.leader = None;
                        if partition.in_sync {
                            partition.elect(other(node));
                        }
                    }
                    partition.in_sync = false;
                }
            }
            Action::Start(node) => {
                self.set_up(node, true);
                for partition in &mut self.partitions {
                    partition.leader = partition.leader.or(Some(node));
                }
                self.cluster.set_health(node, Health::Up);
            }
            Action::Shrink(at) => {
                self.left.shrinks -= 1;
                self.partitions[at].in_sync = false;
            }
            Action::Grow(at) => {
                let partition = &mut self.partitions[at];
                partition.followed = partition.log.len();
                partition.high = partition.followed;
                partition.in_sync = true;
            }
            Action::Look => self.learn(false),
            Action::LookBehind => {
                self.left.behind -= 1;
                self.learn(true);
            }
            Action::Soon => self.now += SOON,
            Action::Later => self.now += LATER,
            Action::Expire => {
                self.left.expiries -= 1;
                self.client.expired = true;
                self.now += FOR_EVER;
            }
        }
        time::fix(self.now);
        self.run();
        self.broken = self.broken.take().or_else(|| self.check());
    }

    /// A killed broker takes its connections and what it had not read with it.
    fn kill(&mut self, node: i32) {
        self.set_up(node, false);
        for wire in self.wires.iter().filter(|wire| wire.node == node) {
            let connection = &wire.connection;
            for request in connection.queue.iter().chain(&connection.head).chain(&connection.answers) {
                self.client.doubt(request);
            }
        }
        self.wires.retain(|wire| wire.node != node);
    }

    /// An answer reaches its session.
    fn deliver(&mut self, at: usize) {
        let Some(request) = self.wires[at].connection.answers.pop_front() else { return };
        self.client.answered(&request);
        let version = self.scenario.version();
        let mut answer = wire::response(0).unwrap().new();
        let mut topic = answer.new_struct("responses");
        topic.set_bytes("name", Some(Bytes::from_static(TOPIC)));
        for row in &request.rows {
            let Outcome::Is(code, offset) = row.outcome else { panic!("answered before it was decided") };
            let mut partition = topic.new_struct("partition_responses");
            partition.set_i32("index", i32::try_from(row.partition).unwrap());
            partition.set_i16("error_code", code);
            partition.set_i64("base_offset", offset);
            let known = &self.partitions[row.partition];
            if self.scenario.hints
                && code == 6
                && let Some(leader) = known.leader
            {
                let mut hint = partition.strukt("current_leader").unwrap().clone();
                hint.set_i32("leader_id", leader);
                hint.set_i32("leader_epoch", known.epoch);
                partition.set_strukt("current_leader", Some(hint));
            }
            topic.push_struct("partition_responses", partition);
        }
        answer.push_struct("responses", topic);
        let frame = wire::encode_response(0, version, request.correlation, &answer).unwrap();
        write(self.wires[at].stream.as_mut().unwrap(), &frame);
    }

    /// Everybody acts until nobody has anything to do.
    fn run(&mut self) {
        self.settle_brokers();
        loop {
            let mut moved = false;
            for _ in 0..2 {
                for at in 0..self.sessions.len() {
                    moved |= self.poll(at);
                }
            }
            if self.cluster.wants_producer() {
                self.producers += 1;
                self.cluster.grant(Producer { id: self.producers, epoch: 0 });
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.settle_brokers();
    }

    fn settle_brokers(&mut self) {
        for wire in &mut self.wires {
            wire.connection.settle(wire.node, &self.partitions, self.scenario.min_in_sync);
            if wire.stream.is_none() {
                // Nobody reads what a lost connection is answered.
                wire.connection.answers.clear();
                wire.connection.head = None;
            }
        }
        self.wires.retain(|wire| wire.stream.is_some() || !wire.connection.is_idle());
    }

    /// Polls a session, and sees to what it wants: connections, its requests, its answers.
    fn poll(&mut self, at: usize) -> bool {
        let session = &mut self.sessions[at];
        if let Poll::Ready(end) = session.poll(&mut Context::from_waker(Waker::noop())) {
            self.broken.get_or_insert(format!("the client's connection {at} has ended: {end:?}"));
            return false;
        }
        let mut moved = false;
        let mut health = Vec::new();
        for link in session.links.iter_mut().filter(|link| link.is_dialing()) {
            moved = true;
            let node = link.node;
            let up = self.up[usize::try_from(node - 1).unwrap()];
            let pair = up.then(|| duplex(ROOM));
            let (ours, theirs) = pair.map_or((None, None), |(ours, theirs)| (Some(ours), Some(theirs)));
            link.dialed(theirs.map(Stream::Memory));
            if ours.is_some() {
                let connection = Connection::default();
                self.wires.push(Wire { session: at, node, stream: ours, connection });
            }
            health.push((node, if up { Health::Up } else { Health::Down(self.now) }));
        }
        for (node, health) in health {
            self.cluster.set_health(node, health);
        }
        for wire in self.wires.iter_mut().filter(|wire| wire.session == at) {
            for frame in wire.stream.as_mut().map(read).unwrap_or_default() {
                moved = true;
                wire.connection.queue.push_back(request(&frame));
            }
        }
        for frame in read(&mut self.ends[at]) {
            moved = true;
            self.client.receive(self.scenario, &frame);
        }
        moved
    }

    /// What is wrong with this state, if anything is.
    pub(super) fn check(&self) -> Option<String> {
        self.client.check(self.scenario, &self.partitions).or_else(|| self.check_book())
    }

    /// The book of what is held.
    fn check_book(&self) -> Option<String> {
        let slots = || self.sessions.iter().flat_map(|session| &session.slots);
        let held = slots().filter(|slot| slot.is_held()).count() as u64;
        let bytes: usize = slots().map(|slot| slot.frame.len()).sum();
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
                return self.check();
            }
            // Work first, then news, then time.
            let rank = |action: &Action| match action {
                Action::Deliver(_) | Action::Serve(_) => 0,
                Action::Fence(_)
                | Action::Start(_)
                | Action::Grow(_)
                | Action::Follow(_)
                | Action::Confirm(_) => 1,
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

fn told(leaders: &[i32]) -> Vec<(TopicKey, i32, i32)> {
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

/// What a broker reads.
fn request(frame: &Bytes) -> Request {
    let header = request_header(frame).unwrap();
    let mut rows = Vec::new();
    let head = produce::scan_request(header.api_version, &frame[header.body_at..], &mut |row| {
        let records = row.records.unwrap();
        let known = batch::headers(records).next().unwrap();
        let batch = Batch {
            id: *records.last().unwrap(),
            records: known.last_offset_delta + 1,
            producer: known.producer_id,
            first: known.base_sequence,
            sound: crc32c::crc32c(&records[21..]) == known.crc,
        };
        let partition = usize::try_from(row.partition).unwrap();
        rows.push(Row { partition, batch, outcome: Outcome::Waits(0, -1) });
    });
    Request { correlation: header.correlation_id, acks: head.unwrap().acks, rows }
}
