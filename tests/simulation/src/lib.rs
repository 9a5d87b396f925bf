//! Fleets of simulated sidecars: the real admin listener, plans, phases and gates over real HTTP, above a Kafka cluster in memory that all
//! of them share. Only what a sidecar would learn from brokers is made up here. It counts how often the cluster is asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use evenkeel::admin::{self, Admin, Asked, ClusterStatus, Door, ErrorCounts, Limits, Wish};
use evenkeel::config;
use evenkeel::lifecycle::{DrainTrigger, Readiness, drain};
use evenkeel::metrics::{KafkaMetrics, Metrics, UpgradeMetrics, UpgradePhase};
use evenkeel::time::now;
use evenkeel::upgrade::{
    Cluster as Of, DrainState, Facts, Hold, Kafka, Member, Partition, Quorum, Reach, Voter,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The cluster's name in every sidecar's configuration.
pub const NAME: &str = "bed";
/// Its brokers.
pub const MEMBERS: [&str; 3] = ["1", "2", "3"];
/// How long brokers take for all that a gathering asks.
const ANSWER: Duration = Duration::from_millis(10);
/// Followers are in sync again so long after a broker's return.
const IN_SYNC: Duration = Duration::from_millis(500);

/// The cluster that all sidecars see.
#[derive(Debug)]
pub struct Cluster {
    state: Mutex<State>,
    partitions: i32,
    /// How often sidecars have asked it for facts. Each time is one Metadata for all topics, and two requests to each broker.
    pub gathered: AtomicU64,
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<String, Node>,
    controller: String,
    /// What is known of all partitions, for everyone.
    partitions: Arc<Vec<Partition>>,
}

#[derive(Clone, Debug)]
struct Node {
    up: bool,
    since: Instant,
    version: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Three brokers of a version, and so many partitions.
    pub fn new(version: &str, partitions: i32) -> Arc<Self> {
        // It has been there for long.
        let since = now().checked_sub(IN_SYNC).unwrap_or_else(now);
        let node = || Node { up: true, since, version: version.to_owned() };
        let nodes = MEMBERS.iter().map(|id| ((*id).to_owned(), node())).collect();
        let state = State { nodes, controller: "1".to_owned(), partitions: Arc::default() };
        let cluster = Arc::new(Self { state: Mutex::new(state), partitions, gathered: AtomicU64::new(0) });
        cluster.describe();
        cluster
    }

    /// Works out who leads and who is in sync.
    fn describe(&self) {
        let mut state = lock(&self.state);
        let up: Vec<i32> =
            state.nodes.iter().filter(|(_, node)| node.up).filter_map(|(id, _)| id.parse().ok()).collect();
        let topic: Arc<str> = "orders".into();
        let all = (0..self.partitions).map(|index| {
            let replicas: Vec<i32> = (0..3).map(|k| (index + k) % 3 + 1).collect();
            let isr: Vec<i32> = replicas.iter().copied().filter(|id| up.contains(id)).collect();
            let leader = isr.first().copied().unwrap_or(-1);
            Partition { topic: Arc::clone(&topic), index, leader, replicas, isr, min_isr: Some(2) }
        });
        state.partitions = Arc::new(all.collect());
    }

    /// Stops a broker, and starts it again with a version after a while.
    pub async fn restart(&self, member: &str, version: &str, away: Duration) {
        self.set(member, |node| (node.up, node.since) = (false, now()));
        tokio::time::sleep(away).await;
        self.set(member, |node| {
            (node.up, node.since) = (true, now());
            version.clone_into(&mut node.version);
        });
    }

    fn set(&self, member: &str, change: impl FnOnce(&mut Node)) {
        let mut state = lock(&self.state);
        if let Some(node) = state.nodes.get_mut(member) {
            change(node);
        }
        if !state.nodes.get(&state.controller).is_some_and(|node| node.up) {
            let next = state.nodes.iter().find(|(_, node)| node.up).map(|(id, _)| id.clone());
            state.controller = next.unwrap_or_default();
        }
        drop(state);
        self.describe();
    }
}

/// One sidecar's view of it.
struct Sidecar {
    cluster: Arc<Cluster>,
    drains: Mutex<BTreeMap<String, Draining>>,
    gathered: Mutex<Option<Instant>>,
    asking: tokio::sync::Mutex<()>,
    /// How long clients take to leave a member.
    leave: Duration,
    metrics: Arc<KafkaMetrics>,
}

#[derive(Clone, Copy)]
struct Draining {
    since: Instant,
    until: Instant,
}

impl Sidecar {
    fn member(&self, id: &str, node: &Node) -> Member {
        let reach = if node.up { Reach::Up } else { Reach::Down("refused".to_owned()) };
        let asked = lock(&self.gathered).is_some();
        let version =
            if asked && node.up { Ok(node.version.clone()) } else { Err("it was not asked".to_owned()) };
        let listed = if asked { Ok(node.up) } else { Err("the cluster was not asked yet".to_owned()) };
        Member {
            id: id.to_owned(),
            address: format!("kafka-{id}.example.net:9092"),
            zone: None,
            listed,
            reach,
            was_away: None,
            version,
            drain: self.drain_state(id).unwrap_or_default(),
            in_flight: 0,
            sessions: 0,
        }
    }
}

impl ClusterStatus for Sidecar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn status(&self) -> Value {
        let state = lock(&self.cluster.state);
        let members: Vec<Value> = state
            .nodes
            .iter()
            .map(|(id, node)| {
                let drain = self.drain_state(id).unwrap_or_default();
                let (phase, left) = match (node.up, drain) {
                    (false, _) => ("down", 0),
                    (true, DrainState::Draining { left }) => ("draining", left),
                    (true, DrainState::Drained) => ("drained", 0),
                    (true, DrainState::Off | DrainState::Expired) => ("serving", 1),
                };
                json!({
                    "id": id, "address": format!("kafka-{id}.example.net:9092"), "phase": phase,
                    "state": if node.up { "up" } else { "down" }, "drain_expired": drain == DrainState::Expired,
                    "connections": left, "in_flight": left, "leaders_seen": 1,
                })
            })
            .collect();
        json!({
            "name": NAME, "protocol": "kafka", "controller": state.controller, "clients": 3, "bypass": false,
            "members": members, "hold": { "waiting": 0, "bytes": 0, "limit_bytes": 1000 },
        })
    }

    fn set_bypass(&self, _: bool) {}

    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        self.drain_state(member)?;
        let mut drains = lock(&self.drains);
        match lasts {
            Some(lasts) => {
                let since = drains.get(member).map_or_else(now, |drain| drain.since);
                drains.insert(member.to_owned(), Draining { since, until: now() + lasts });
            }
            None => {
                drains.remove(member);
            }
        }
        drop(drains);
        self.drain_state(member)
    }

    fn drain_state(&self, member: &str) -> Option<DrainState> {
        if !MEMBERS.contains(&member) {
            return None;
        }
        let mut drains = lock(&self.drains);
        drains.retain(|_, drain| now() < drain.until);
        Some(match drains.get(member) {
            None => DrainState::Off,
            Some(drain) if now().saturating_duration_since(drain.since) < self.leave => {
                DrainState::Draining { left: 1 }
            }
            Some(_) => DrainState::Drained,
        })
    }

    fn facts(&self) -> Facts {
        let state = lock(&self.cluster.state);
        let members = state.nodes.iter().map(|(id, node)| self.member(id, node)).collect();
        let in_sync = state.nodes.values().all(|node| now().saturating_duration_since(node.since) >= IN_SYNC);
        let number = |id: &str| id.parse().unwrap_or(-1);
        let voters =
            state.nodes.iter().map(|(id, node)| Voter { id: number(id), caught_up: node.up && in_sync });
        Facts {
            age: lock(&self.gathered).map(|at| now().saturating_duration_since(at)),
            members,
            hold: Hold { waiting: 0, bytes: 0, limit: 1000 },
            client_errors: 0,
            cluster: Of::Kafka(Ok(Kafka {
                partitions: Ok(Arc::clone(&state.partitions)),
                quorum: Ok(Quorum::Raft { leader: number(&state.controller), voters: voters.collect() }),
                reassigning: Ok(Vec::new()),
                rebalancing: Ok(Vec::new()),
                loading: Ok(Vec::new()),
                finalized: Ok(1),
                upgrade_check: Ok(()),
                downgrade_check: Ok(()),
                dropped: Vec::new(),
            })),
        }
    }

    fn version(&self) -> Option<String> {
        None
    }

    fn gather(&self, wish: Wish) -> Asked<'_> {
        Box::pin(async move {
            let _one_at_a_time = self.asking.lock().await;
            let fresh = |at: &Instant| now().saturating_duration_since(*at) <= wish.fresh;
            if lock(&self.gathered).as_ref().is_some_and(fresh) {
                return;
            }
            let asked = now();
            self.cluster.gathered.fetch_add(1, Relaxed);
            tokio::time::sleep(ANSWER).await;
            *lock(&self.gathered) = Some(asked);
        })
    }

    fn rest(&self) -> Asked<'_> {
        Box::pin(async {})
    }

    fn hold_pin(&self, _: bool) {}

    fn lift_pin(&self) {}

    fn errors(&self) -> ErrorCounts {
        ErrorCounts { shown: 0, masked: 0 }
    }

    fn upgrade_metrics(&self) -> &UpgradeMetrics {
        &self.metrics.upgrade
    }

    fn show_phase(&self, member: &str, phase: UpgradePhase) {
        self.metrics.member(member).upgrade_phase.show(phase);
    }
}

/// A running fleet, in the runtime that it was started in. Sidecars end when it is dropped.
pub struct Fleet {
    /// What all of them see.
    pub cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    sidecars: Vec<Running>,
}

struct Running {
    at: SocketAddr,
    _watch: JoinSet<()>,
    _listener: JoinSet<()>,
    _end: DrainTrigger,
}

impl Fleet {
    /// Starts so many, each at an address of its own.
    pub async fn start(cluster: Arc<Cluster>, count: u16) -> io::Result<Self> {
        // One registry for all of them: what a registry of its own costs a sidecar is no matter here.
        let mut fleet = Self { cluster, metrics: Metrics::new(), sidecars: Vec::new() };
        for index in 0..count {
            let [high, low] = index.to_be_bytes();
            fleet.add(SocketAddr::from((Ipv4Addr::new(127, 77, high, low), 0))).await?;
        }
        Ok(fleet)
    }

    async fn add(&mut self, at: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(at).await?;
        let at = listener.local_addr()?;
        let index = u64::try_from(self.sidecars.len()).unwrap_or(0);
        let sidecar = Arc::new(Sidecar {
            cluster: Arc::clone(&self.cluster),
            drains: Mutex::default(),
            gathered: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            leave: Duration::from_millis(50 + index * 37 % 400),
            metrics: self.metrics.kafka(NAME),
        });
        let admin = Admin::new(Arc::clone(&self.metrics), Readiness::new(), vec![sidecar]);
        let (end, holder) = drain::new();
        let watch = admin.watch();
        let mut serving = JoinSet::new();
        let door = Door::control(&config::Admin::default()).map_err(io::Error::other)?;
        serving.spawn(admin::serve(listener, admin, Arc::new(door), Limits::default(), holder));
        self.sidecars.push(Running { at, _watch: watch, _listener: serving, _end: end });
        Ok(())
    }

    /// Their admin listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sidecars.iter().map(|one| one.at).collect()
    }

    /// Ends one for good.
    pub fn kill(&mut self, at: SocketAddr) {
        self.sidecars.retain(|one| one.at != at);
    }

    /// Starts one again at its address, without a memory.
    pub async fn revive(&mut self, at: SocketAddr) -> io::Result<()> {
        self.kill(at);
        // Its listener ends when its task does, which is a moment later.
        let until = now() + Duration::from_secs(10);
        loop {
            match self.add(at).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && now() < until => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                done => return done,
            }
        }
    }
}
