//! One Kafka cluster as all its client connections share it: what is known, who wants to know more, who waits.
//!
//! Client sessions read it only when something is wrong, or when an answer that carries addresses passes. They never
//! look metadata up themselves: they say what they want, and one task asks for all of them ([`watch`]).

mod acls;
mod check;
mod clients;
mod dial;
mod drains;
pub mod facts;
mod identity;
mod members;
#[cfg(test)]
mod model;
mod offsets;
mod pace;
mod pin;
mod ramp;
mod status;
mod topics;
pub(in crate::kafka) mod versions;
mod view;
mod watch;
mod witness;

pub use check::check;
pub use clients::DroppedVersion;
pub use dial::{DialError, Dialed, dial, dial_bare};
pub use drains::end_drains;
pub use identity::{Fetched, Producer, Whose};
pub use offsets::{Doubtful, Range, ranges};
pub use topics::{Leader, TOPIC_LAG};
pub use versions::{
    API_VERSIONS, Versions, answer as versions_answer, everything, is_supported, unsupported,
};
pub use view::{Changes, Health, Node, View};

use clients::Clients;
use pin::Pin;

pub use super::topic::TopicKey;
pub use watch::watch;
pub use witness::Peer;

use super::authenticate::Credentials;
use super::order::Order;
use super::ports::Ports;
use crate::config;
use crate::dns::Resolver;
use crate::hold::Ledger;
use crate::lifecycle::Block;
use crate::metrics::KafkaMetrics;
use crate::net::ConnectOptions;
use crate::net::Door;
use crate::sasl::Keeper;
use crate::tls::Tls;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long one word that something is wanted counts; who still waits says it again at each look.
const WANT_LASTS: Duration = Duration::from_millis(500);

/// The configuration that concerns one cluster, replaced whole by a reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[net]`.
    pub net: config::Net,
    /// `[limits]`.
    pub limits: config::Limits,
    /// `[hold]`.
    pub hold: config::Hold,
    /// `[retry]`.
    pub retry: config::Retry,
    /// This cluster's `[[kafka]]`.
    pub kafka: config::Kafka,
}

#[derive(Clone, Debug, Default)]
struct Wants {
    topics: HashMap<TopicKey, Instant>,
    coordinators: HashMap<(i8, Bytes), Instant>,
}

/// Shared state of one cluster. See the module.
pub struct Cluster {
    /// Its metrics.
    pub metrics: Arc<KafkaMetrics>,
    /// The process's book of held requests.
    pub ledger: Arc<Ledger>,
    /// Marks that keep the order across connections.
    pub order: Order,
    /// Where clients come in.
    pub door: Door,
    /// Names to addresses.
    pub resolver: Resolver,
    /// With what connections to brokers are opened, where clients don't show their own.
    pub sasl: Arc<Keeper>,
    tls: Tls,
    /// Whether a broker was met that asks for SASL while none is configured.
    asked: AtomicBool,
    /// The rights that our own requests were seen to lack.
    rights: Mutex<acls::Said>,
    /// What was found at nodes' addresses where that may not be asked, and how often it was news.
    heard: Mutex<witness::Heard>,
    words: AtomicU64,
    /// Whether it was said that an exchange can't be repeated.
    unrepeatable: AtomicBool,
    settings: ArcSwap<Settings>,
    view: Mutex<View>,
    ports: Mutex<Ports>,
    wants: Mutex<Wants>,
    wakers: Mutex<HashMap<u64, Waker>>,
    budgets: Mutex<BTreeMap<i32, crate::retry::Budget>>,
    producers: Mutex<identity::Producers>,
    made_anew: AtomicU64,
    poke: Notify,
    news: Notify,
    probes: Mutex<BTreeMap<i32, Arc<Notify>>>,
    ramps: Mutex<BTreeMap<i32, Arc<ramp::Ramp>>>,
    not_ready: Mutex<Option<Block>>,
    bypassed: AtomicBool,
    drains: Mutex<drains::Drains>,
    drains_changed: Notify,
    /// Whether any node is drained: the view says which.
    draining: AtomicBool,
    pin: Mutex<Pin>,
    clients: Mutex<Clients>,
    facts: Mutex<Option<(Arc<facts::Facts>, facts::Wish)>>,
    asking: tokio::sync::Mutex<facts::Asking>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// A cluster of which nothing is known yet. `not_ready` is held until a member has been reached.
    pub fn new(
        settings: Settings,
        ports: Ports,
        resolver: Resolver,
        metrics: Arc<KafkaMetrics>,
        ledger: Arc<Ledger>,
        not_ready: Block,
    ) -> Arc<Self> {
        let options = ConnectOptions::of(&settings.net);
        Arc::new(Self {
            metrics,
            ledger,
            order: Order::default(),
            sasl: Keeper::new(settings.kafka.sasl.clone(), resolver.clone(), options),
            door: Door::default(),
            resolver,
            tls: Tls::new(),
            asked: AtomicBool::new(false),
            rights: Mutex::default(),
            heard: Mutex::default(),
            words: AtomicU64::new(0),
            unrepeatable: AtomicBool::new(false),
            settings: ArcSwap::from_pointee(settings),
            view: Mutex::default(),
            ports: Mutex::new(ports),
            wants: Mutex::default(),
            wakers: Mutex::default(),
            budgets: Mutex::default(),
            producers: Mutex::default(),
            made_anew: AtomicU64::new(0),
            poke: Notify::new(),
            news: Notify::new(),
            probes: Mutex::default(),
            ramps: Mutex::default(),
            not_ready: Mutex::new(Some(not_ready)),
            bypassed: AtomicBool::new(false),
            drains: Mutex::default(),
            drains_changed: Notify::new(),
            draining: AtomicBool::new(false),
            pin: Mutex::default(),
            clients: Mutex::default(),
            facts: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// The configuration as it is now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Replaces the configuration (a reload).
    pub fn set_settings(&self, settings: Settings) {
        self.sasl.set_options(settings.kafka.sasl.clone());
        self.settings.store(Arc::new(settings));
        self.poke.notify_one();
    }

    /// With what our own connections are opened.
    pub fn credentials(&self) -> Credentials {
        Credentials::Held(Arc::clone(&self.sasl))
    }

    /// A broker asks for SASL, and none is configured.
    fn note_asked(&self) {
        self.asked.store(true, Relaxed);
        self.wake_all();
    }

    /// Whether brokers ask for SASL while none is configured: no client can be served before that is.
    pub fn is_asked_in_vain(&self) -> bool {
        self.asked.load(Relaxed) && self.settings().kafka.sasl.mechanism.is_none()
    }

    /// A client shows who it is by a mechanism whose exchange only itself can repeat. Said once.
    pub fn say_unrepeatable(&self, mechanism: &str) {
        if !self.unrepeatable.swap(true, Relaxed) {
            let mechanism: String = mechanism.chars().filter(|c| !c.is_control()).take(40).collect();
            let cluster = &self.settings().kafka.name;
            tracing::warn!(
                cluster,
                mechanism,
                "clients with this mechanism lose their connection with their broker's, and reach no other broker on it: only they \
                 can repeat its exchange; with sasl.clients = \"held\" they need not"
            );
        }
    }

    /// Whether clients' requests pass as they are: nothing held, stamped or sent elsewhere.
    pub fn is_bypassed(&self) -> bool {
        self.bypassed.load(Relaxed)
    }

    /// Switches bypass on or off. Each connection follows when nothing of it is under way.
    pub fn set_bypass(&self, on: bool) {
        if self.bypassed.swap(on, Relaxed) != on {
            let name = &self.settings().kafka.name;
            tracing::warn!(
                cluster = name,
                on,
                "bypass: nothing is held, stamped or sent elsewhere while it is on"
            );
        }
        self.metrics.bypass.set(i64::from(on));
        self.wake_all();
    }

    /// Looks at what is known.
    pub fn read<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        look(&lock(&self.view))
    }

    /// Changes what is known and wakes all that wait for news.
    pub fn update<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        let result = change(&mut lock(&self.view));
        self.wake_all();
        result
    }

    /// Changes what is known without waking anyone.
    pub fn update_quietly<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        change(&mut lock(&self.view))
    }

    /// A topic by its name if that is known, so that it is one topic however requests call it.
    pub fn named(&self, topic: TopicKey) -> TopicKey {
        match topic {
            TopicKey::Name(_) => topic,
            TopicKey::Id(_) => self.read(|view| view.name_of(&topic)).map_or(topic, TopicKey::Name),
        }
    }

    /// Counts topics that were made anew: with another number than before, what is known of a topic may be of one that is
    /// gone.
    pub fn topics_made_anew(&self) -> u64 {
        self.made_anew.load(Relaxed)
    }

    /// Wakes the task behind `waker` at the next news; each waiting session has one place, `id`.
    pub fn wake_on_news(&self, id: u64, waker: &Waker) {
        let mut wakers = lock(&self.wakers);
        match wakers.get_mut(&id) {
            Some(known) => known.clone_from(waker),
            None => drop(wakers.insert(id, waker.clone())),
        }
    }

    /// The session `id` no longer waits.
    pub fn forget_waker(&self, id: u64) {
        lock(&self.wakers).remove(&id);
    }

    /// Wakes all that wait for news.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = lock(&self.wakers).drain().map(|(_, waker)| waker).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Asks for the leaders of these topics to be looked up, again and again for the next half second.
    pub fn want_topics(&self, topics: impl IntoIterator<Item = TopicKey>, now: Instant) {
        // By name: the answer to an id that is no more would not say that the name has another one.
        let topics: Vec<TopicKey> = topics.into_iter().map(|topic| self.named(topic)).collect();
        let mut wants = lock(&self.wants);
        let idle = wants.topics.is_empty() && wants.coordinators.is_empty();
        for topic in topics {
            wants.topics.insert(topic, now + WANT_LASTS);
        }
        if idle {
            self.poke.notify_one();
        }
    }

    /// Something has just changed in the cluster: what is looked up for those who wait is looked up soon.
    pub fn news(&self) {
        self.news.notify_one();
    }

    /// Asks for a coordinator (`kind` 0: group, 1: transaction) to be looked up.
    pub fn want_coordinator(&self, kind: i8, key: &Bytes, now: Instant) {
        let mut wants = lock(&self.wants);
        let idle = wants.topics.is_empty() && wants.coordinators.is_empty();
        wants.coordinators.insert((kind, key.clone()), now + WANT_LASTS);
        if idle {
            self.poke.notify_one();
        }
    }

    fn wanted(&self, now: Instant) -> (Vec<TopicKey>, Vec<(i8, Bytes)>) {
        let mut wants = lock(&self.wants);
        wants.topics.retain(|_, until| *until > now);
        wants.coordinators.retain(|_, until| *until > now);
        (wants.topics.keys().cloned().collect(), wants.coordinators.keys().cloned().collect())
    }

    /// The loopback port that stands for a node; assigned when the node is first heard of, in whatever answer. `None` for
    /// no node (−1), and when the range is used up.
    pub fn port_of(&self, node: i32) -> Option<u16> {
        if node < 0 { None } else { lock(&self.ports).assign(node) }
    }

    /// The node behind a loopback port.
    pub fn node_at(&self, port: u16) -> Option<i32> {
        lock(&self.ports).node_at(port)
    }
}
