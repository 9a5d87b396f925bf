//! The life of one client connection, from its accept to its end. One task; it owns its upstream connections.
//!
//! Reads top to bottom: [`Session::run`] drives `Session::poll`, which (1) takes what upstreams have to say, (2) sees
//! to what waits, (3) hands finished answers to the client in order, (4) reads the client's next requests. In the steady
//! state a request goes to the node that the client chose as the bytes it came in (a Produce without a producer id is
//! stamped first, see `inject`), and so does its answer; the rest is about the days when that does not work.

mod advance;
mod ahead;
mod answers;
mod asked;
mod bypass;
mod commits;
mod confirm;
mod doors;
mod ending;
mod fetch;
mod gaps;
mod gather;
mod guard;
mod hand_out;
mod hold;
mod inject;
mod intake;
mod judge;
mod leave;
mod link;
mod lost;
mod metadata;
#[cfg(test)]
mod model;
mod pack;
mod produce;
mod publish;
mod reading;
mod route;
mod showing;
mod slot;
mod splits;
mod stamp;
mod stranger;
mod stray;
mod swallow;
mod unknown;
mod watermarks;
mod zone;

use crate::kafka::cluster::{Cluster, TopicKey};
use crate::kafka::order::Progress;
use crate::lifecycle::Drain;
use crate::metrics::{ApiVersionsInUse, ClientGuard, Library};
use crate::net::{FrameReader, Patience, Stream, WriteQueue};
use crate::time::now;
use ahead::{Ahead, Lanes, Way};
use bypass::Mode;
use bytes::Bytes;
pub use ending::End;
use gather::Gathering;
use guard::Guard;
use inject::Injection;
use link::{Event, Link};
use rand::{SeedableRng, rngs::StdRng};
use showing::Showing;
use slot::{Slot, State};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;
use stray::Strays;
use tokio::time::Sleep;
use watermarks::Watermarks;
use zone::Zone;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;

/// How often one poll goes round before other connections get their turn.
const ROUNDS: u32 = 64;

/// The node that a client chose by connecting to its port.
struct Home {
    /// The port of a broker listener; `None` for the bootstrap listener, where any broker will do.
    port: Option<u16>,
    /// The node, once it is known or picked.
    node: Option<i32>,
}

/// One client connection.
pub struct Session {
    cluster: Arc<Cluster>,
    id: u64,
    client: Stream,
    peer: Option<SocketAddr>,
    reader: FrameReader,
    out: WriteQueue,
    patience: Patience,
    home: Home,
    host: String,
    slots: VecDeque<Slot>,
    /// The number of the first slot; they are counted through.
    base: u64,
    /// Answers before this number have gone to the client, though what is silent before them may be undecided.
    answered_to: u64,
    /// Slots that are neither on their way nor done.
    unsettled: usize,
    /// Those of them that are no Produce.
    unsettled_others: usize,
    /// The partitions that were written to in trouble, and the slot from which on none has been looked up.
    lanes: Lanes,
    laned_to: u64,
    /// What earlier slots stand in the way of; kept for its capacity. Slots before `looked_to` have been looked at.
    ahead: Ahead,
    looked_to: u64,
    gathering: Gathering,
    links: Vec<Link>,
    /// Partitions that the client's choice of node is wrong for.
    stray: Strays,
    /// Which nodes took the latest batches of partitions of split requests, and of whom: those lead them.
    trusted: HashMap<(TopicKey, i32), Way>,
    /// Coordinators other than the client's choice, by kind and key.
    moved: HashMap<(i8, Bytes), i32>,
    watermarks: Watermarks,
    guard: Guard,
    zone: Zone,
    own: Arc<Progress>,
    injection: Injection,
    /// A Produce that waits for earlier batches of its partitions to be decided: no more is read until it is on its way.
    paced: Option<u64>,
    /// Another connection of the client's wants to know when what lies unread is read.
    question: Option<asked::Asked>,
    /// What the other connections are told: the oldest undecided Produce of each lane, 0 for none.
    published: Option<Vec<u64>>,
    held_bytes: usize,
    library: Library,
    client_id: String,
    in_use: ApiVersionsInUse,
    /// What the client was told that all brokers speak; it keeps it.
    offered: Option<BTreeMap<i16, (i16, i16)>>,
    client_info: Option<ClientGuard>,
    _connected: ClientGuard,
    rng: StdRng,
    timer: Pin<Box<Sleep>>,
    wake_at: Option<Instant>,
    /// When the overdue answers of each node were last looked at.
    looked_at: HashMap<i32, Instant>,
    armed: Option<Instant>,
    /// What was found at nodes' addresses has been looked at so far.
    words: u64,
    drain: Drain,
    draining: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    is_draining: bool,
    /// Whether everything passes as it is.
    mode: Mode,
    /// How far the client has come in showing who it is.
    showing: Showing,
    /// Why the client's connection ends behind what is answered.
    lost: Option<String>,
    /// The client will send nothing more.
    eof: bool,
    /// The client's connection has ended so, and what it sent with acks=0 is finished.
    ended: Option<End>,
    /// What it has left in brokers' sockets has been said.
    left: bool,
}

impl Session {
    /// A session for an accepted connection. `port`: of the broker listener it came in by, `None` for bootstrap.
    /// `host`: what the client is told as every broker's host.
    pub fn new(cluster: Arc<Cluster>, client: Stream, port: Option<u16>, host: String, drain: Drain) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let settings = cluster.settings();
        let draining = Box::pin(drain.signaled());
        let id = NEXT.fetch_add(1, Relaxed);
        Self {
            id,
            injection: Injection::new(id, settings.kafka.idempotence, settings.kafka.raise_acks),
            peer: client.peer_addr(),
            client,
            reader: FrameReader::new(settings.net.max_frame),
            out: WriteQueue::new(settings.net.write_queue),
            patience: Patience::new(&settings.limits, now()),
            home: Home { port, node: None },
            host,
            slots: VecDeque::new(),
            base: 0,
            answered_to: 0,
            unsettled: 0,
            unsettled_others: 0,
            lanes: Lanes::default(),
            laned_to: 0,
            ahead: Ahead::default(),
            looked_to: 0,
            gathering: Gathering::default(),
            links: Vec::new(),
            stray: Strays::default(),
            trusted: HashMap::new(),
            moved: HashMap::new(),
            watermarks: Watermarks::default(),
            guard: Guard::default(),
            zone: Zone::new(settings.kafka.zone.as_deref()),
            own: cluster.order.connection(),
            paced: None,
            question: None,
            published: None,
            held_bytes: 0,
            library: Library::Other,
            client_id: String::new(),
            in_use: cluster.metrics.api_versions(),
            offered: None,
            client_info: None,
            _connected: cluster.metrics.client_connection(),
            rng: StdRng::from_rng(&mut rand::rng()),
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            wake_at: None,
            looked_at: HashMap::new(),
            armed: None,
            words: 0,
            drain,
            draining,
            is_draining: false,
            mode: Mode::of(&cluster),
            showing: Showing::new(&settings.kafka.sasl),
            lost: None,
            eof: false,
            ended: None,
            left: false,
            cluster,
        }
    }

    /// Serves the client until it, or the process, ends.
    pub async fn run(mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        drop(self.drain.clone()); // held to here: a drain waits for this session
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.is_draining && self.draining.as_mut().poll(cx).is_ready() {
            self.is_draining = true;
        }
        self.own.runs_as(cx.waker());
        for _ in 0..ROUNDS {
            let now = now();
            let mut moved = self.follow_bypass(now)
                | self.poll_links(cx, now)
                | self.poll_guard(cx)
                | self.watch_links(now)
                | self.leave_drained(now)
                | self.leave_strangers(now);
            if self.eof {
                self.client_gone();
            }
            if self.is_bypassing() {
                moved |= self.unsettled > 0 && self.advance_bypassed(now);
            } else if self.unsettled > 0 || self.published.is_some() {
                moved |= self.advance(now);
            }
            match self.exchange(cx, now) {
                Ok(some) => moved |= some,
                Err(end) => match self.finish(cx, end) {
                    Some(end) => return Poll::Ready(end),
                    None => moved = true,
                },
            }
            if !moved {
                let awaited = self.awaited();
                if let Some(late) = self.patience.poll(cx, awaited, now) {
                    let Some(end) = self.finish(cx, End::Late(late)) else { continue };
                    return Poll::Ready(end);
                }
                self.arm(cx, now);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// (3) and (4): answers go to the client, and its next requests are read. Answers whether anything changed.
    ///
    /// # Errors
    /// How the client's connection ends.
    fn exchange(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        let mut moved = self.hand_out(now)?;
        if self.ended.is_some() && !self.is_owed() {
            return Err(End::Client); // `finish` knows how it really was
        }
        if !self.out.is_empty() {
            let was_full = self.out.is_full();
            if let Poll::Ready(Err(error)) = self.out.poll_write(cx, &mut self.client) {
                return Err(End::Broken(error));
            }
            // Links were not read while it was full, and nothing else would wake this task for them.
            moved |= was_full && !self.out.is_full();
        }
        // As soon as the client has its answers, as a broker closes: what it writes from here on is read by nobody.
        let told = |slot: &Slot| slot.silent || matches!(slot.state, State::Done(_));
        if let Some(reason) = self.lost.take_if(|_| self.out.is_empty() && self.slots.iter().all(told)) {
            return Err(End::Closed(reason));
        }
        let was_there = !self.eof;
        moved |= self.poll_client(cx, now)?;
        moved |= was_there && self.eof;
        // Nothing is held for a client that has gone: it may have sent the same elsewhere by now. What is on its
        // way to a broker is finished, as a broker does; so is what it would never send twice (acks=0).
        if self.eof && self.slots.iter().any(|slot| slot.is_held() && !slot.silent) && !self.is_owed() {
            return Err(End::Client);
        }
        if self.slots.is_empty() && self.out.is_empty() && (self.eof || self.is_draining) {
            return Err(if self.eof { End::Client } else { End::Drained });
        }
        Ok(moved)
    }

    /// (1) Upstreams: connected, refused, answered, lost.
    fn poll_links(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        let mut at = 0;
        while let Some(link) = self.links.get_mut(at) {
            let read = !self.out.is_full();
            let (node, was_full) = (link.node, link.is_full());
            match link.poll(cx, read) {
                Poll::Pending => {
                    at += 1;
                    moved |= was_full && !link.is_full(); // what waits can go again
                }
                Poll::Ready(event) => {
                    moved = true;
                    match event {
                        Event::Connected(taken) | Event::Renewed(taken) => self.on_taken(node, taken),
                        Event::GoesOn => {}
                        Event::NotRenewed(failure, message) => {
                            self.on_not_renewed(node, &failure, message, now);
                        }
                        Event::Refused(error, message) => self.on_refused(node, &error, message),
                        Event::Answer(due, frame) => self.on_answer(node, due, frame, now),
                        Event::Written(slot, part) => self.on_written(slot, part),
                        Event::Disconnected { reason, lost, silent } => {
                            self.on_disconnect(node, &reason, lost, silent, now);
                        }
                    }
                }
            }
        }
        moved
    }

    /// Makes sure that the session is polled at `at` or before.
    fn wake_before(&mut self, at: Instant) {
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.unsettled > 0 {
            self.cluster.wake_on_news(self.id, cx.waker());
        }
        // While something is unanswered, a look now and then; re-armed only when it has run out, since a timer for each
        // request would cost more than the request.
        if !self.slots.is_empty() && self.wake_at.is_none() && self.armed.is_none_or(|at| at <= now) {
            self.wake_at = Some(now + std::time::Duration::from_secs(1));
        }
        if let Some(at) =
            self.wake_at.take().filter(|at| self.armed.is_none_or(|armed| armed <= now || *at < armed))
        {
            self.armed = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        if self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Where in the queue the slot of this number is, unless it has been answered.
    fn at(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.base)?).ok().filter(|at| *at < self.slots.len())
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        self.slots.get(self.at(number)?)
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot> {
        let at = self.at(number)?;
        self.slots.get_mut(at)
    }

    /// Changes a slot's state and keeps count of the unsettled ones.
    fn set_state(&mut self, number: u64, state: State) {
        let Some(slot) = self.slot_mut(number) else { return };
        let before = slot.is_unsettled();
        let decided = matches!(state, State::Done(_)) && slot.trouble.is_some();
        slot.state = state;
        let (after, other) = (slot.is_unsettled(), usize::from(!slot.is_produce()));
        match (before, after) {
            (false, true) => {
                self.unsettled += 1;
                self.unsettled_others += other;
            }
            (true, false) => {
                self.unsettled -= 1;
                self.unsettled_others -= other;
            }
            _ => {}
        }
        if decided {
            self.release(number, now(), None); // whatever decided it: what is done is held no longer
        }
    }

    fn link_mut(&mut self, node: i32) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.node == node)
    }
}
