//! The task that asks a cluster for all of its clients: brokers now and then, leaders and coordinators while somebody
//! waits for them, one question in flight; and one probe for each broker.

use super::acls::Right;
use super::dial::{Opened, open, open_node, outcome};
use super::pace::Pace;
use super::{Cluster, Producer, TopicKey};
use crate::config::HostPort;
use crate::kafka::channel::{Channel, ChannelError, Question};
use crate::kafka::wire::{self, Struct};
use crate::metrics::ConnectOutcome;
use crate::retry::Backoff;
use crate::time::now;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const METADATA: i16 = 3;
/// The newest Metadata asked for: v12 can name topics by id.
const METADATA_NEWEST: i16 = 12;
const FIND_COORDINATOR: i16 = 10;
/// One key a question: the same in every broker, and coordinators are sought one by one anyway.
const FIND_COORDINATOR_VERSION: i16 = 3;
const INIT_PRODUCER_ID: i16 = 22;
const INIT_PRODUCER_ID_VERSION: i16 = 1;
/// So many producer ids are asked for in one look.
const PRODUCERS_AT_ONCE: usize = 16;
/// A broker that doesn't answer a look for so long is left for another.
const LOOK_BOUND: Duration = Duration::from_secs(2);
/// So many topics are asked about in one look that nobody has asked for in long.
const UNHEARD_OF_AT_ONCE: usize = 100;
/// How often it is said that a bootstrap address still can't be used.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// What is wanted and not found through one broker for so long is asked of another, too. A broker whose controllers have not fenced it
/// yet tells what was; less than the 5 s after which a topic that nobody knows counts as deleted.
const ASK_ANOTHER: Duration = Duration::from_secs(2);

/// Watches a cluster for as long as the process lives: what is held when it drains is still to be saved.
pub async fn watch(cluster: Arc<Cluster>) {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let mut watcher = Watcher {
        // Not the same broker first for each of a thousand sidecars.
        turn: rng.random_range(0..1 << 16),
        rng,
        channel: None,
        cluster,
        pace: Pace::new(now()),
        unsatisfied: None,
        probed: BTreeSet::new(),
        said: BTreeMap::new(),
        probes: JoinSet::new(),
    };
    watcher.run().await;
}

struct Watcher {
    cluster: Arc<Cluster>,
    channel: Option<(Option<i32>, Opened)>,
    rng: StdRng,
    turn: usize,
    pace: Pace,
    /// Since when something is wanted in vain, and how long that goes on before another broker is asked.
    unsatisfied: Option<(Instant, Duration)>,
    probed: BTreeSet<i32>,
    /// Why bootstrap addresses can't be used, and when that was said.
    said: BTreeMap<HostPort, (String, Instant)>,
    /// End with this task.
    probes: JoinSet<()>,
}

impl Watcher {
    async fn run(&mut self) {
        let settings = self.cluster.settings();
        let mut backoff = Backoff::new(settings.retry.min, settings.retry.max);
        loop {
            if let Err(error) = self.round().await {
                tracing::debug!(%error, "a look at the cluster failed");
                if let Some((Some(node), _)) = self.channel.take() {
                    self.cluster.suspect(node);
                }
                let pause = backoff.next(&mut self.rng);
                tokio::time::sleep(pause).await;
                continue;
            }
            backoff.reset();
            self.pause().await;
        }
    }

    /// One look: connected first, then what is wanted, or the brokers alone.
    async fn round(&mut self) -> Result<(), ChannelError> {
        if let Some((Some(node), _)) = &self.channel
            && self.cluster.is_drained(*node)
        {
            self.channel = None;
        }
        if self.channel.is_none() {
            self.connect().await?;
        }
        let (topics, coordinators) = self.cluster.wanted(now());
        if self.wants_another(topics.is_empty() && coordinators.is_empty()) {
            self.channel = None;
            self.connect().await?;
        }
        let wanted = !topics.is_empty();
        let topics = if wanted { topics } else { self.unheard_of() };
        let Some((_, opened)) = &mut self.channel else { return Err(ChannelError::Closed) };
        let asked = now();
        let version = opened.versions.highest(METADATA, METADATA_NEWEST);
        let answer = ask_metadata(&mut opened.channel, version, &topics).await?;
        self.pace.answered(now().saturating_duration_since(asked));
        if answer.structs("brokers").next().is_none() {
            return Err(ChannelError::Closed); // it has just come up and knows nobody: ask another
        }
        for topic in answer.structs("topics").filter(|_| wanted) {
            let name = topic.str("name").unwrap_or_default();
            self.cluster.note_refused(Right::Topics, name, topic.i16("error_code"));
        }
        self.cluster.learn_metadata(&answer, asked);
        self.cluster.forget_stale();
        self.cluster.move_pin();
        self.spawn_probes();
        let Some((_, opened)) = &mut self.channel else { return Err(ChannelError::Closed) };
        for (kind, key) in coordinators {
            let asked = now();
            let answer = ask_coordinator(&mut opened.channel, kind, &key).await?;
            let right = if kind == 0 { Right::Groups } else { Right::Transactions };
            self.cluster.note_refused(right, &String::from_utf8_lossy(&key), answer.i16("error_code"));
            if answer.i16("error_code") == 0 {
                let node = answer.i32("node_id");
                self.cluster.update(|view| view.absorb_coordinator(kind, key, node, asked));
            }
        }
        for _ in 0..self.cluster.producers_wanted().min(PRODUCERS_AT_ONCE) {
            let answer = ask_producer(&mut opened.channel).await?;
            let (code, id) = (answer.i16("error_code"), answer.i64("producer_id"));
            match code {
                // Right after a cluster's start it says COORDINATOR_LOAD_IN_PROGRESS with id -1: asked again.
                0 if id >= 0 => {
                    self.cluster.add_producer(Producer { id, epoch: answer.i16("producer_epoch") });
                }
                29 | 31 => self.cluster.deny_producers(code),
                _ => break,
            }
        }
        Ok(())
    }

    /// Topics that may have been deleted without anybody asking for them since.
    fn unheard_of(&self) -> Vec<TopicKey> {
        let names = self.cluster.update_quietly(|view| view.unheard_of(now(), UNHEARD_OF_AT_ONCE));
        names.into_iter().map(TopicKey::Name).collect()
    }

    /// Whether what is wanted is not found through this broker: one that is cut off from the controllers answers as before, and
    /// knows nothing new. Each next one is given twice the time, since mostly nobody knows.
    fn wants_another(&mut self, satisfied: bool) -> bool {
        if satisfied {
            self.unsatisfied = None;
            return false;
        }
        let (since, patience) = *self.unsatisfied.get_or_insert((now(), ASK_ANOTHER));
        if now().saturating_duration_since(since) < patience {
            return false;
        }
        self.unsatisfied = Some((now(), patience.saturating_mul(2)));
        true
    }

    /// To a broker that is up if one is known, else to the next bootstrap address.
    async fn connect(&mut self) -> Result<(), ChannelError> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        if let Some(node) = self.cluster.read(|view| view.any_node(None, turn)) {
            match open_node(&self.cluster, node).await {
                Ok(opened) => {
                    self.channel = Some((Some(node), opened));
                    return Ok(());
                }
                Err(error) => tracing::debug!(node, %error, "no look through this broker"),
            }
        }
        let settings = self.cluster.settings();
        let bootstrap = &settings.kafka.bootstrap;
        let Some(at) = bootstrap.get(turn % bootstrap.len().max(1)) else { return Err(ChannelError::Closed) };
        let opened = open(&self.cluster, &at.host, at.port, None, &self.cluster.credentials(), None).await;
        let ended = opened.as_ref().map_or_else(outcome, |_| ConnectOutcome::Ok);
        self.cluster.metrics.kafka_bootstrap_connects.inc(ended);
        match opened {
            Ok(opened) => {
                self.said.remove(at);
                self.cluster.learn_metadata(&opened.metadata, opened.asked);
                self.spawn_probes();
                self.channel = Some((None, opened));
                Ok(())
            }
            Err(error) => {
                self.cluster.say_unready(ended);
                let text = error.to_string();
                if self.is_news(at, &text) {
                    tracing::warn!(bootstrap = %at, error = text, "no answer from this bootstrap address");
                } else {
                    tracing::debug!(bootstrap = %at, error = text, "no answer from this bootstrap address yet");
                }
                Err(ChannelError::Closed)
            }
        }
    }

    /// Whether why a bootstrap address can't be used is worth a line: when it is another reason than before, and once in a while.
    fn is_news(&mut self, at: &HostPort, why: &str) -> bool {
        let now = now();
        let said = self.said.get(at);
        let is_known =
            said.is_some_and(|(said, when)| said == why && now.saturating_duration_since(*when) < SAY_AGAIN);
        if !is_known {
            self.said.insert(at.clone(), (why.to_owned(), now));
        }
        !is_known
    }

    /// Until the next look: short while somebody waits, else until it is time or somebody asks.
    async fn pause(&mut self) {
        let settings = self.cluster.settings();
        let (first, refresh) = (settings.kafka.leader_poll, settings.kafka.metadata_refresh);
        if self.nobody_waits() {
            self.pace.rest();
            let _ = tokio::time::timeout(refresh, self.cluster.poke.notified()).await;
            if self.nobody_waits() {
                return;
            }
        }
        let mut until = now() + self.pace.next(first, now(), &mut self.rng);
        while tokio::time::timeout_at(until.into(), self.cluster.news.notified()).await.is_ok() {
            if self.pace.news(now()) {
                until = now() + self.pace.next(first, now(), &mut self.rng);
            }
        }
    }

    fn nobody_waits(&self) -> bool {
        let (topics, coordinators) = self.cluster.wanted(now());
        topics.is_empty() && coordinators.is_empty() && self.cluster.producers_wanted() == 0
    }

    /// One probe for each node that is listed, whoever learned of it; a forgotten one ends by itself.
    fn spawn_probes(&mut self) {
        let nodes: BTreeSet<i32> = self.cluster.read(|view| view.nodes.keys().copied().collect());
        for &node in nodes.difference(&self.probed) {
            let cluster = Arc::clone(&self.cluster);
            self.probes.spawn(async move { probe(&cluster, node).await });
        }
        while self.probes.try_join_next().is_some() {} // of brokers that were forgotten
        self.probed = nodes;
    }
}

/// Keeps the health and versions of one broker true: looks now and then while it is up and at once when a connection
/// to it was lost; while it is down, tries with back-off, and for all clients at once. While it is drained no client has a
/// connection to lose: one without a word is kept then, whose end tells that the broker was stopped, however soon it is back.
async fn probe(cluster: &Arc<Cluster>, node: i32) {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let settings = cluster.settings();
    let mut backoff = Backoff::new(settings.retry.min, settings.retry.max);
    let asked_for = cluster.probe_of(node);
    loop {
        if let Err(wait) = cluster.take_attempt(node) {
            tokio::time::sleep(wait).await;
            continue;
        }
        if cluster.read(|view| !view.nodes.contains_key(&node)) {
            return;
        }
        let Ok(mut opened) = open_node(cluster, node).await else {
            // It may be back at another address, which only metadata can tell.
            cluster.poke.notify_one();
            tokio::time::sleep(backoff.next(&mut rng)).await;
            continue;
        };
        backoff.reset();
        let refresh = cluster.settings().kafka.metadata_refresh;
        if cluster.is_drained(node) {
            let gone = async {
                tokio::select! {
                    () = opened.channel.ended() => {}
                    () = asked_for.notified() => {}
                }
            };
            let _ = tokio::time::timeout(refresh, gone).await;
        } else {
            drop(opened);
            let _ = tokio::time::timeout(refresh, asked_for.notified()).await;
        }
    }
}

async fn ask_metadata(
    channel: &mut Channel,
    version: i16,
    wanted: &[TopicKey],
) -> Result<Struct, ChannelError> {
    let mut body = wire::request(METADATA).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    let topics = wanted.iter().filter_map(|topic| {
        let mut row = body.new_struct("topics");
        match topic {
            TopicKey::Name(name) => row.set_bytes("name", Some(name.clone())),
            TopicKey::Id(id) if version >= 12 => {
                row.set_null("name");
                row.set_uuid("topic_id", *id);
            }
            TopicKey::Id(_) => return None,
        }
        Some(row)
    });
    let topics = topics.collect();
    body.set_structs("topics", topics);
    body.set_bool("allow_auto_topic_creation", false);
    channel.ask(Question { key: METADATA, version, body: &body }, LOOK_BOUND).await
}

async fn ask_coordinator(channel: &mut Channel, kind: i8, key: &Bytes) -> Result<Struct, ChannelError> {
    let mut body = wire::request(FIND_COORDINATOR).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    body.set_bytes("key", Some(key.clone()));
    body.set_i8("key_type", kind);
    let question = Question { key: FIND_COORDINATOR, version: FIND_COORDINATOR_VERSION, body: &body };
    channel.ask(question, LOOK_BOUND).await
}

async fn ask_producer(channel: &mut Channel) -> Result<Struct, ChannelError> {
    let mut body = wire::request(INIT_PRODUCER_ID).map(wire::Message::new).ok_or(ChannelError::Closed)?;
    body.set_bytes("transactional_id", None);
    body.set_i32("transaction_timeout_ms", 60_000);
    let question = Question { key: INIT_PRODUCER_ID, version: INIT_PRODUCER_ID_VERSION, body: &body };
    channel.ask(question, LOOK_BOUND).await
}
