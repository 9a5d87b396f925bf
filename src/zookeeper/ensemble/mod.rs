//! One `ZooKeeper` ensemble as all its client connections share it: its servers, who is on which, and how many may attach
//! at once.
//!
//! Sessions come here when they need a server and when they have news of one. May import `config`, `metrics`, `net`,
//! `dns`, `retry`, `hold` and its own folder; must never know what a client's requests mean.

mod attach;
mod check;
mod drains;
mod facts;
mod failure;
mod follow;
mod servers;
mod status;
mod turns;
mod watch;

pub use attach::{Attached, Wish, attach};
pub use check::check;
pub use facts::{Facts, Said};
pub use follow::follow_config;
pub use servers::{Drain, Health, Server, Servers};
pub use turns::Turn;
pub use watch::{has_reached, watch};

use crate::config::{self, HostPort};
use crate::dns::Resolver;
use crate::hold::Ledger;
use crate::lifecycle::Block;
use crate::metrics::zookeeper::SaslFate;
use crate::metrics::{ConnectOutcome, ServerMetrics, ZooKeeperMetrics};
use crate::net::{Door, Seldom};
use crate::time::now;
use crate::tls::Tls;
use crate::zookeeper::sasl::Held;
use arc_swap::ArcSwap;
use rand::Rng;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use turns::Turns;

/// The configuration that concerns one ensemble, replaced whole by a reload.
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
    /// This cluster's `[[zookeeper]]`.
    pub zookeeper: config::ZooKeeper,
}

/// Shared state of one ensemble. See the module.
pub struct Ensemble {
    /// Its metrics.
    pub metrics: Arc<ZooKeeperMetrics>,
    /// The process's book of held requests.
    pub ledger: Arc<Ledger>,
    /// Where clients come in.
    pub door: Door,
    /// Names to addresses.
    pub resolver: Resolver,
    tls: Tls,
    /// The password that sessions authenticate themselves with.
    pub(in crate::zookeeper) held: Held,
    /// For who tries a server that didn't accept our credentials.
    proving: Semaphore,
    /// That clients authenticate themselves to their servers was said.
    passed_said: AtomicBool,
    settings: ArcSwap<Settings>,
    servers: Mutex<Servers>,
    /// Attaches at once; how many there may be by the settings that were looked at last.
    attaches: Semaphore,
    allowed: Mutex<usize>,
    /// Turns for planned moves.
    moves: Arc<Turns>,
    wakers: Mutex<HashMap<u64, Waker>>,
    news: AtomicU64,
    poke: Notify,
    /// For looks at the servers before it is time.
    look_now: tokio::sync::watch::Sender<()>,
    quiet: AtomicBool,
    /// Sessions with writes that are not answered.
    writing: AtomicUsize,
    followed: Notify,
    /// What the ensemble has said of its servers.
    heard: Mutex<follow::Heard>,
    /// Warnings that clients bring about.
    warned: Seldom,
    bypassed: AtomicBool,
    not_ready: Mutex<Option<Block>>,
    facts: Mutex<Option<Arc<Facts>>>,
    asking: tokio::sync::Mutex<facts::Asking>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session's place on a server, counted until it is dropped.
pub struct Place {
    ensemble: Arc<Ensemble>,
    at: HostPort,
    metrics: Arc<ServerMetrics>,
}

impl Place {
    /// The server.
    pub fn at(&self) -> &HostPort {
        &self.at
    }

    /// The server's metrics.
    pub fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.metrics
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.ensemble.servers).let_go(&self.at);
    }
}

impl Ensemble {
    /// An ensemble of which nothing is known yet. `not_ready` is held until a server has been reached.
    pub fn new(
        settings: Settings,
        resolver: Resolver,
        metrics: Arc<ZooKeeperMetrics>,
        ledger: Arc<Ledger>,
        not_ready: Block,
    ) -> Arc<Self> {
        let allowed = settings.zookeeper.reattach_concurrency;
        let servers = Servers::new(&settings.zookeeper.servers, (settings.retry.min, settings.retry.max));
        for server in servers.all() {
            metrics.member(&server.at.to_string());
        }
        Arc::new(Self {
            metrics,
            ledger,
            door: Door::default(),
            resolver,
            tls: Tls::new(),
            held: Held::default(),
            proving: Semaphore::new(1),
            passed_said: AtomicBool::new(false),
            settings: ArcSwap::from_pointee(settings),
            servers: Mutex::new(servers),
            attaches: Semaphore::new(allowed),
            allowed: Mutex::new(allowed),
            moves: Turns::new(),
            wakers: Mutex::default(),
            news: AtomicU64::new(0),
            poke: Notify::new(),
            look_now: tokio::sync::watch::Sender::new(()),
            quiet: AtomicBool::new(false),
            writing: AtomicUsize::new(0),
            followed: Notify::new(),
            heard: Mutex::default(),
            warned: Seldom::new(1, Duration::from_secs(1)),
            bypassed: AtomicBool::new(false),
            not_ready: Mutex::new(Some(not_ready)),
            facts: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// The configuration as it is now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Looks at the configuration as it is now: cheaper than to hold it.
    pub fn look_at_settings<R>(&self, look: impl FnOnce(&Settings) -> R) -> R {
        look(&self.settings.load())
    }

    /// Replaces the configuration (a reload).
    pub fn set_settings(&self, settings: Settings) {
        let allowed = settings.zookeeper.reattach_concurrency;
        let mut before = lock(&self.allowed);
        if allowed > *before {
            self.attaches.add_permits(allowed - *before);
            *before = allowed;
        } else {
            // Those that are in use can't be taken back: they stay, and are counted.
            *before -= self.attaches.forget_permits(*before - allowed);
        }
        drop(before);
        let (list, followed) = (settings.zookeeper.servers.clone(), settings.zookeeper.follow_config);
        let news = self.settings().zookeeper.servers != list;
        self.settings.store(Arc::new(settings));
        // What the ensemble says of itself counts until the list is changed by hand.
        if news || !followed {
            self.unhear();
            self.follow(&list);
        }
        self.followed.notify_one();
    }

    /// Takes over another list of servers. Sessions on one that has gone are moved away.
    pub fn follow(&self, list: &[HostPort]) {
        let (came, gone) = lock(&self.servers).follow(list);
        for at in &came {
            tracing::info!(server = %at, "server is listed");
            self.metrics.member(&at.to_string());
        }
        for at in &gone {
            tracing::info!(server = %at, "server is listed no more: its sessions are moved");
            self.metrics.forget_member(&at.to_string());
        }
        if !came.is_empty() || !gone.is_empty() {
            self.poke.notify_one();
            self.wake_all();
        }
    }

    /// Looks at what is known of the servers.
    pub fn read<R>(&self, look: impl FnOnce(&Servers) -> R) -> R {
        look(&lock(&self.servers))
    }

    /// Whether requests pass as they are: nothing is held, and a lost server ends its clients' connections.
    pub fn is_bypassed(&self) -> bool {
        self.bypassed.load(Relaxed)
    }

    /// Switches bypass on or off. Sessions follow when they next lose their server.
    pub fn set_bypass(&self, on: bool) {
        if self.bypassed.swap(on, Relaxed) != on {
            let name = &self.settings().zookeeper.name;
            tracing::warn!(
                cluster = name,
                on,
                "bypass: a lost server ends its clients' connections while it is on"
            );
        }
        self.metrics.bypass.set(i64::from(on));
        self.wake_all();
    }

    /// Whether a session on this server has to move: it is drained, or is listed no more.
    pub fn is_left(&self, at: &HostPort) -> bool {
        let now = now();
        let servers = lock(&self.servers);
        servers.get(at).is_none_or(|server| server.is_drained(now)) && servers.has_other(at, now)
    }

    /// Whether a server is drained.
    pub fn is_drained(&self, at: &HostPort) -> bool {
        self.read(|servers| servers.get(at).is_some_and(|server| server.is_drained(now())))
    }

    /// Waits for the turn of a planned move, which lasts until it is dropped.
    pub async fn turn_to_move(self: Arc<Self>) -> Option<Turn> {
        Arc::clone(&self.moves).next().await
    }

    /// Whether writes wait, since a server is about to stop that takes every client's connection with it.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// A session begins or ends to have writes under way.
    pub fn writes(&self, some: bool) {
        if some {
            self.writing.fetch_add(1, Relaxed);
        } else {
            self.writing.fetch_sub(1, Relaxed);
        }
    }

    /// Servers are looked at before it is time.
    pub fn look_now(&self) {
        self.look_now.send_replace(());
    }

    fn look_whether_quiet(&self) {
        let longest = self.settings().hold.max;
        let quiet = lock(&self.servers).is_quiet(now(), longest);
        if self.quiet.swap(quiet, Relaxed) != quiet {
            tracing::info!(quiet, "writes wait while the leader, or the quorum, is about to go");
            self.wake_all();
        }
    }

    /// A server for a session that attaches now, and its place there. See [`Servers::pick`].
    fn place(
        self: &Arc<Self>,
        tried: &[(HostPort, u32)],
        rng: &mut impl Rng,
    ) -> Result<Place, Option<Instant>> {
        let mut servers = lock(&self.servers);
        let at = servers.pick(tried, now(), rng)?;
        servers.took(&at);
        drop(servers);
        let metrics = self.metrics.member(&at.to_string());
        Ok(Place { ensemble: Arc::clone(self), at, metrics })
    }

    /// A place on this server, if it is listed.
    fn place_at(self: &Arc<Self>, at: &HostPort) -> Option<Place> {
        let mut servers = lock(&self.servers);
        servers.get(at)?;
        servers.took(at);
        drop(servers);
        let metrics = self.metrics.member(&at.to_string());
        Some(Place { ensemble: Arc::clone(self), at: at.clone(), metrics })
    }

    /// Whether a server takes sessions as they are now, with our credentials where there are any.
    fn server_accepts(&self, at: &HostPort, accepts: bool) {
        if let Some(server) = lock(&self.servers).get_mut(at) {
            server.accepts = Some(accepts);
        }
    }

    /// A client authenticates itself by SASL to its server, since no credentials are held. Said once.
    pub(in crate::zookeeper) fn count_passed_sasl(&self) {
        self.metrics.client_sasl.inc(SaslFate::Passed);
        if !self.passed_said.swap(true, Relaxed) {
            tracing::warn!(
                "a client authenticates itself by SASL, which only the client itself can repeat: its connection ends with its \
                 server's; with sasl.username and sasl.password_file it would not"
            );
        }
    }

    /// An attach or a probe showed that a server serves.
    pub(in crate::zookeeper) fn server_is_up(&self, at: &HostPort) {
        let Some((before, down_for)) = lock(&self.servers).is_up(at, now()) else { return };
        self.look_whether_quiet();
        if before == Health::Up {
            return;
        }
        if let Some(down_for) = down_for {
            tracing::info!(server = %at, ?down_for, "server is up again");
        }
        self.metrics.member(&at.to_string()).up.set(1);
        self.heed();
        if lock(&self.not_ready).take().is_some() {
            tracing::info!(server = %at, "ready: a server has been reached");
        }
        self.wake_all();
    }

    /// An attempt has failed: as long as no server was ever reached, that is why clients can't be served. How it ended is all that is said;
    /// who asks whether this is ready may be anybody.
    fn say_unready(&self, ended: ConnectOutcome) {
        if let Some(block) = &*lock(&self.not_ready) {
            let (name, ended) = (&self.settings().zookeeper.name, ended.as_str());
            block.reword(format!("zookeeper {name}: no server reached yet (the last attempt: {ended})"));
        }
    }

    /// An attach or a probe failed.
    fn server_is_down(&self, at: &HostPort, error: &str) {
        let Some(before) = lock(&self.servers).is_down(at, now(), &mut rand::rng()) else { return };
        self.look_whether_quiet();
        self.heed();
        if matches!(before, Health::Down(_)) {
            tracing::debug!(server = %at, error, "server is still down");
            return;
        }
        tracing::warn!(server = %at, error, "server is down");
        self.metrics.member(&at.to_string()).up.set(0);
        if self.is_quiet() {
            // Who leads now is asked at once.
            self.look_now();
        }
        self.poke.notify_one();
    }

    /// A server closed an attach without a word. Answers whether that is its state and not the session's fault; as long as
    /// that isn't known it is asked.
    fn is_refusing(&self, at: &HostPort) -> bool {
        let refusing = lock(&self.servers).is_refusing(at, now());
        if !refusing {
            self.look_now();
        }
        refusing
    }

    /// Whether no server has served for longer than a session of this time-out lasts: then its client is turned away at once, since an
    /// accepted connection is a sign of life to some (Java from 3.9.3 on).
    pub fn is_dead(&self, lasts: Duration) -> bool {
        let since = lock(&self.servers).all_down_since();
        since.is_some_and(|since| now().saturating_duration_since(since) > lasts)
    }

    /// Whether something that clients bring about as often as they like is worth a warning now: one a second is. Then how many were not.
    pub fn may_warn(&self) -> Option<u64> {
        self.warned.may()
    }

    /// A server's answer to a four-letter word; nothing if no server answers in time.
    pub async fn ask_word(self: Arc<Self>, word: [u8; 4]) -> Vec<u8> {
        let at = self.read(|servers| servers.pick(&[], now(), &mut rand::rng()));
        let Ok(at) = at else { return Vec::new() };
        let asked = watch::ask_word(&self, &at, word);
        let bound = self.settings().zookeeper.attach_timeout;
        tokio::time::timeout(bound, asked).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Counts the news of servers: with another number than before, something may have changed.
    pub fn news(&self) -> u64 {
        self.news.load(Relaxed)
    }

    /// Wakes the task behind `waker` at the next news of servers; each session has one place, `id`.
    pub fn wake_on_news(&self, id: u64, waker: &Waker) {
        let mut wakers = lock(&self.wakers);
        match wakers.get_mut(&id) {
            Some(known) => known.clone_from(waker),
            None => drop(wakers.insert(id, waker.clone())),
        }
    }

    /// The session `id` is over.
    pub fn forget_waker(&self, id: u64) {
        lock(&self.wakers).remove(&id);
    }

    /// Wakes every session.
    pub fn wake_all(&self) {
        self.news.fetch_add(1, Relaxed);
        let wakers: Vec<Waker> = lock(&self.wakers).drain().map(|(_, waker)| waker).collect();
        for waker in wakers {
            waker.wake();
        }
    }
}
