//! The life of one client connection: connect, forward, ping, lose, reattach, fence, verify, re-arm, drain, close. One
//! task; it owns its connection to a server.
//!
//! Reads top to bottom: [`Session::run`] drives `Session::poll`, which goes round: (1) news of servers, (2) the attach that is
//! under way, (3) what the server has to say, (4) the lease, (5) what waits, (6) answers to the client, in order, (7) the
//! client's next requests. In the steady state a request goes to the server as the bytes it came in, and so does its
//! answer.

mod answers;
mod greet;
mod intake;
mod leases;
mod lost;
mod moving;
mod parting;
mod proof;
mod settle;
mod slot;
#[cfg(test)]
mod tests;
mod upstream;

use crate::lifecycle::Drain;
use crate::metrics::ClientGuard;
use crate::metrics::zookeeper::HoldTrigger;
use crate::metrics::zookeeper::MoveKind;
use crate::net::{FrameReader, Late, Patience, Stream, WriteQueue};
use crate::time::{Boot, boot, now};
use crate::zookeeper::ensemble::{Attached, Ensemble};
use crate::zookeeper::lease::Lease;
use crate::zookeeper::sasl::Offer;
use crate::zookeeper::watches::Watches;
use bytes::Bytes;
use greet::Identity;
use moving::{Move, Turn};
use settle::Settling;
use slot::{Slot, State};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use upstream::Upstream;

/// An empty queue of requests keeps room for at most so many.
const KEEP_SLOTS: usize = 64;

/// For what a client sent before it went to be written to its server.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Between two looks whether a client is still there whose socket isn't read.
const LOOK: Duration = Duration::from_millis(250);

/// The answer to a four-letter word, on its way.
type Asking = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// How often one poll goes round before other connections get their turn.
const ROUNDS: u32 = 64;

/// How a session's connection ended.
#[derive(Debug)]
pub enum End {
    /// The client closed it, or its session.
    Client,
    /// The process drains, and all answers are out.
    Drained,
    /// It was a four-letter word, and is answered.
    Word,
    /// The connection broke.
    Broken(std::io::Error),
    /// What the client sent is nothing that a `ZooKeeper` client sends.
    Rejected(String),
    /// It was closed from here, as a server that is lost would close it.
    Closed(String),
    /// The client did nothing for too long.
    Late(Late),
}

/// The present moment, on both clocks.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    boot: Boot,
}

/// How far a session has come.
enum Phase {
    /// The client has said nothing yet.
    Greeting,
    /// The client's own `ConnectRequest` looks for a server, until this moment.
    Opening(Instant),
    /// Its server is lost, and another one is looked for.
    Reattaching,
    /// It is attached again, and what the old connection carried is found out.
    Settling(Box<Settling>),
    /// Requests go to the server.
    Serving,
    /// It moves to another server while the old one still serves.
    Moving(Box<Move>),
}

/// One client connection.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Session {
    id: u64,
    ensemble: Arc<Ensemble>,
    client: Stream,
    reader: FrameReader,
    out: WriteQueue,
    patience: Patience,
    phase: Phase,
    identity: Option<Identity>,
    slots: VecDeque<Slot>,
    /// The number of the first slot; they are counted through.
    base: u64,
    /// No slot before this one waits to be sent.
    next: u64,
    held_bytes: usize,
    /// Writes that are not answered.
    writes: usize,
    /// The highest zxid in an answer that the client was shown. Events don't count: of two that one transaction brings, the
    /// second may be lost with its server, and is told again only to who has seen less.
    zxid: i64,
    /// The same without what was found out here about a write: a server's own answer comes behind every event before it, and such a
    /// verdict doesn't. Watches are set again from here on.
    told: i64,
    /// A persistent watch was told something since: a server that hasn't come so far would tell it again.
    told_since: bool,
    /// The highest zxid in the header of any answer, shown or not.
    answered: i64,
    /// The client came with a session that it had, and no write was answered since: what it had sent on other connections may
    /// have been applied behind `answered` (a server that answers a read may lag).
    inherits: bool,
    /// From the moment on at which the session was granted.
    lease: Option<Lease>,
    /// The server answers the client at this very moment, so that what was made here may go with it.
    server_speaks: bool,
    /// Pings of the client's that no server answered, and that could not be answered here yet.
    owed_pings: usize,
    watches: Watches,
    /// So many of each list are counted in the metrics.
    counted: [usize; 5],
    /// The client's authentications that succeeded, to be repeated elsewhere.
    auths: Vec<Bytes>,
    /// Why it can't be authenticated on another server: what it has done, which only the client itself can repeat.
    unrepeatable: Option<&'static str>,
    /// The challenge that it was given here, by SASL.
    offer: Option<Offer>,
    upstream: Option<Upstream>,
    /// When it was attached to its server; at first, when its client connected.
    attached_at: Instant,
    /// So many servers in a row were lost as soon as they had the session, with nothing answered.
    short: u32,
    /// So many of those owed an answer to more than a ping.
    unlucky: u32,
    /// Since when a request that was lost with its server has brought nothing but answers to pings, if there is one.
    lost_since: Option<Instant>,
    attaching: Option<Pin<Box<dyn Future<Output = Attached> + Send>>>,
    /// The client's connection ends when all that is queued for it is out.
    ending: Option<End>,
    /// Since when the client sends nothing more.
    eof: Option<Instant>,
    /// The news of servers that were looked at.
    heard: Option<u64>,
    /// Whether its server has to be left was not looked at since there was news.
    unlooked: bool,
    /// It has to leave its server, and waits for its turn.
    turn: Option<Turn>,
    /// It is on its way to another server, and how that ends is to be counted.
    under_way: Option<MoveKind>,
    /// No planned move before this moment.
    not_before: Option<Instant>,
    /// The answer of a server to a four-letter word.
    asking: Option<Asking>,
    timer: Pin<Box<Sleep>>,
    wake_at: Option<Instant>,
    armed: Option<Instant>,
    drain: Drain,
    draining: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    is_draining: bool,
    _connected: ClientGuard,
}

impl Session {
    /// A session for an accepted connection.
    pub fn new(ensemble: Arc<Ensemble>, client: Stream, drain: Drain) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let settings = ensemble.settings();
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            client,
            reader: FrameReader::new(settings.zookeeper.jute_maxbuffer),
            out: WriteQueue::new(settings.net.write_queue),
            patience: Patience::new(&settings.limits, now()),
            phase: Phase::Greeting,
            identity: None,
            slots: VecDeque::new(),
            base: 0,
            next: 0,
            held_bytes: 0,
            writes: 0,
            zxid: 0,
            told: 0,
            told_since: false,
            answered: 0,
            inherits: false,
            lease: None,
            server_speaks: false,
            owed_pings: 0,
            watches: Watches::default(),
            counted: [0; 5],
            auths: Vec::new(),
            unrepeatable: None,
            offer: None,
            upstream: None,
            attached_at: now(),
            short: 0,
            unlucky: 0,
            lost_since: None,
            attaching: None,
            ending: None,
            eof: None,
            heard: None,
            unlooked: true,
            turn: None,
            under_way: None,
            not_before: None,
            asking: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            wake_at: None,
            armed: None,
            draining: Box::pin(drain.signaled()),
            drain,
            is_draining: false,
            _connected: ensemble.metrics.client_connection(),
            ensemble,
        }
    }

    /// Serves the client until it, its session or the process ends.
    ///
    /// The future is small: the session is in one place of its own, and not once for each future around it.
    pub fn run(self) -> impl Future<Output = End> + Send {
        let mut session = Box::new(self);
        async move {
            let end = poll_fn(|cx| session.poll(cx)).await;
            session.left_under_way(&end);
            drop(session.drain.clone()); // held to here: a drain waits for this session
            end
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.is_draining && self.draining.as_mut().poll(cx).is_ready() {
            self.is_draining = true;
        }
        for _ in 0..ROUNDS {
            let at = self.moment();
            if let Some(end) = self.notice_the_end(cx, at) {
                return Poll::Ready(end);
            }
            let mut moved = self.poll_attach(cx, at) | self.poll_upstream(cx, at) | self.poll_move(cx, at);
            // A freeze since then would make what has been read older than it looks.
            let at = self.moment();
            if self.ending.is_none() {
                moved |= self.keep_lease(at) | self.follow_servers(cx, at) | self.advance(at);
            } else if let Some(lease) = &mut self.lease {
                lease.mute(true);
            }
            moved |= self.hand_out(at);
            // Nothing is written to a client that has gone: that would only end what is still done for it.
            if !self.out.is_empty() && self.eof.is_none() && self.may_write(at) {
                let was_full = self.out.is_full();
                if let Poll::Ready(Err(error)) = self.out.poll_write(cx, &mut self.client) {
                    return Poll::Ready(End::Broken(error));
                }
                moved |= was_full && !self.out.is_full();
            }
            moved |= self.pay_pings(at);
            if let Some(end) = self.ending.take_if(|end| matches!(end, End::Closed(_)) || self.out.is_empty())
            {
                return Poll::Ready(end);
            }
            if self.ending.is_some() && self.lease.as_ref().is_some_and(|lease| lease.must_close(at.boot)) {
                return Poll::Ready(End::Closed("its last answer was not taken in time".to_owned()));
            }
            match self.poll_client(cx, at) {
                Ok(some) => moved |= some,
                Err(end) => {
                    // What was answered before goes out first, as far as the client takes it at once.
                    let _ = self.out.poll_write(cx, &mut self.client);
                    return Poll::Ready(end);
                }
            }
            // Nothing is done for a client that has gone: its session lives on by itself, for its time-out. What it had said
            // before (perhaps that its session is over) still goes to its server.
            if self.eof.is_some() && !self.has_last_words(at) {
                return Poll::Ready(End::Client);
            }
            if self.is_draining && self.slots.is_empty() && self.out.is_empty() {
                return Poll::Ready(End::Drained);
            }
            if !moved {
                let awaited = self.awaited(at);
                if let Some(late) = self.patience.poll(cx, awaited, at.now) {
                    return Poll::Ready(End::Late(late));
                }
                self.arm(cx, at);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The present moment. The lease is told that this process runs in it.
    fn moment(&mut self) -> Moment {
        let at = Moment { now: now(), boot: boot() };
        if let Some(lease) = &mut self.lease {
            lease.awake(at.boot);
        }
        at
    }

    /// (2) A server answered the attach, or a four-letter word.
    fn poll_attach(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(answer) = asking.as_mut().poll(cx)
        {
            self.asking = None;
            self.out.push(Bytes::from(answer));
            self.ending = Some(End::Word);
            return true;
        }
        let Some(attaching) = &mut self.attaching else { return false };
        let Poll::Ready(attached) = attaching.as_mut().poll(cx) else { return false };
        self.attaching = None;
        self.on_attached(attached, at);
        true
    }

    /// (3) What the server has to say.
    fn poll_upstream(&mut self, cx: &mut Context<'_>, at: Moment) -> bool {
        let mut moved = false;
        while let Some(upstream) = &mut self.upstream {
            let was_full = upstream.is_full();
            match upstream.poll(cx, !self.out.is_full(), at.boot) {
                Poll::Pending => return moved | (was_full && !upstream.is_full()),
                Poll::Ready(event) => {
                    moved = true;
                    self.on_event(event, at);
                    // At once: an event must not overtake the answers before it (a library that has not been told of its watch drops
                    // what that one tells), and what is queued bounds what is read.
                    self.hand_out(at);
                    self.server_speaks = false;
                }
            }
        }
        moved
    }

    /// (5) What waits is sent, oldest first.
    fn advance(&mut self, at: Moment) -> bool {
        if !matches!(self.phase, Phase::Serving) {
            return false;
        }
        let mut some = false;
        while let Some(number) = self.position(self.next) {
            let full = self.upstream.as_ref().is_none_or(Upstream::is_full);
            let Some(slot) = self.slots.get(number) else { break };
            if matches!(slot.state, State::Waiting) {
                if full {
                    break;
                }
                if slot.needs_leader() && self.ensemble.is_quiet() {
                    self.hold(self.next, HoldTrigger::Move, at);
                    break;
                }
                self.send_slot(self.next, at);
                some = true;
            }
            self.next += 1;
        }
        some
    }

    /// Where in the queue the slot of this number is, unless it has been answered or isn't there yet.
    fn position(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.base)?).ok().filter(|at| *at < self.slots.len())
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot> {
        let at = self.position(number)?;
        self.slots.get_mut(at)
    }

    /// Keeps count of the writes that are not answered, here and, whether there are any, for all sessions.
    fn set_writes(&mut self, count: usize) {
        let before = std::mem::replace(&mut self.writes, count);
        if (before == 0) != (count == 0) {
            self.ensemble.writes(count > 0);
        }
    }

    /// Makes sure that the session is polled at `at` or before.
    fn wake_before(&mut self, at: Instant) {
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>, at: Moment) {
        self.plan_wakes(at);
        if let Some(since) = self.eof {
            self.wake_before(since + LAST_WORDS);
        } else if self.looks_for_the_end() {
            self.wake_before(at.now + LOOK);
        }
        if let Some(when) =
            self.wake_at.take().filter(|when| self.armed.is_none_or(|armed| armed <= at.now || *when < armed))
        {
            self.armed = Some(when);
            self.timer.as_mut().reset(when.into());
        }
        if self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ensemble.forget_waker(self.id);
        self.ensemble.ledger.refund(self.held_bytes);
        self.cancel_holds();
        self.set_writes(0);
        self.watches = Watches::default();
        self.count_watches();
    }
}
