//! The session lease: how long a client may go on believing in its session while its server is away.
//!
//! Pure: `now` is passed in, on the clock that counts suspend ([`Boot`]); no socket, no timer. One [`Lease`] belongs to one
//! client connection with a session. The session task tells it what happens and asks it what may be done; it never does
//! anything by itself.
//!
//! T is the timeout that the client was told, G the one that the ensemble granted (the same, unless
//! `session.min_upstream_timeout` asked for more), S = G − T. A is the time of sending of the newest upstream frame that
//! was answered. C, never later than A, is the time of sending of the newest frame whose touch the leader surely has
//! (`touches`).
//!
//! - L1. Bytes that evenkeel makes up go out only until **C + S + T/3** ([`Lease::may_make_up`]). A client that hears
//!   something waits 2T/3 more, so it can't believe in its session after C + G, before which the ensemble expires nothing,
//!   even if evenkeel is frozen the next moment. Bytes from the server are passed on as they come, and what evenkeel has to say may
//!   go along with them. But what may have lain in the kernel while evenkeel was frozen waits until a frame counts that is sent
//!   afterwards ([`Lease::may_pass`]), and so does the answer to the client's own attach if it was so long on its way that L1
//!   is over.
//! - L2. After that the socket stays open in silence.
//! - L3. It is closed at **A + S + 2T/3**, or C + G if that is earlier ([`Lease::must_close`]).
//! - L4. A reattached session counts only if the same session comes back with a timeout that is not shorter
//!   ([`Lease::reattached`]).
//! - L5. Expiry is never invented: only a server's answer with timeout 0 is called [`Reattach::Expired`].
//! - L6. No dead application's session is kept alive: own frames stop when the client's socket ends or nothing came from it
//!   for T/3 ([`Lease::own_frame`]); and once nothing came from it for T, no other server is asked to take the session from one that is lost,
//!   since that touches it ([`Lease::may_attach`]). With S > 0 evenkeel ends the session itself, T after the client's last bytes
//!   ([`Lease::must_end_session`]).
//! - L7. That there is nobody to ask never stops the clock.
//! - L8. In [`Mode::Strict`] A and C are moved only by answers in which the leader had a part, and evenkeel's own frames are
//!   `sync`s.
//!
//! Facts: any request touches its session when it is submitted (`ZooKeeperServer.submitRequestNow`); a follower keeps
//! touches in a table that goes to the leader with the answer to its ping (`LearnerSessionTracker.snapshot`,
//! `Learner.ping`), which comes every half tick (`Leader.lead`); attaching touches at the leader itself
//! (`Learner.validateSession`, `LearnerHandler` REVALIDATE); expiry is rounded up to a tick (`ExpiryQueue.update`); a new
//! leader tracks every session anew (`SessionTrackerImpl`). A client gives up 2T/3 after it last heard something and pings
//! after T/3 (`ClientCnxn.SendThread`: `readTimeout`).

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod times;
mod touches;

use super::mistake::{Mistake, made};
use crate::time::Boot;
use std::time::Duration;
use touches::Touches;

/// How many frames of evenkeel's own may be unanswered: a server that is slow gets no more for it.
const MOST_OWN: usize = 4;

/// Whose answers prove the lease (L8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Any server's. While a follower doesn't know yet that it is cut off, a client believes at most T/3 longer than it
    /// would without evenkeel.
    #[default]
    Direct,
    /// Only those in which the leader had a part.
    Strict,
}

/// What holds for every session of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The servers' `tickTime`.
    pub tick: Duration,
    /// Whose answers count.
    pub mode: Mode,
    /// How long nothing may be sent upstream before evenkeel sends something itself. `None`: a twelfth of the timeout, or less
    /// where half a tick is nearly a third of it (`times`).
    pub pace: Option<Duration>,
}

/// What a `ConnectResponse` granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The session id.
    pub session: i64,
    /// The timeout; zero says that the session is over.
    pub timeout: Duration,
}

/// What kind of frame was sent upstream, as far as the lease minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// A ping, the client's or ours.
    Ping,
    /// A request that its server answers alone.
    Request,
    /// A `sync`: it goes to the leader and back.
    Sync,
    /// A write: the leader proposes it.
    Write,
}

impl Frame {
    /// Whether its answer proves that the server is joined to its leader.
    const fn has_leaders_part(self) -> bool {
        matches!(self, Self::Sync | Self::Write)
    }
}

/// What came of an attempt to reattach (L4, L5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Reattach {
    /// The session is held again.
    Held,
    /// The server says that the session is over: pass its own answer on.
    Expired,
    /// The same session with a shorter timeout: close, so that the client negotiates anew.
    Shorter,
    /// Another session's id. This is no reattach, and that other session is nobody's.
    Another,
}

/// A frame that evenkeel sends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// A ping.
    Ping,
    /// A `sync` of `/` (L8).
    Sync,
}

/// The lease of one session, as one client connection has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    rules: Rules,
    session: i64,
    /// T: what the client was told.
    told: Duration,
    /// G: what the ensemble granted, never shorter than what the client was told.
    granted: Duration,
    /// A.
    newest: Boot,
    /// C.
    counted: Boot,
    /// Answered frames that don't count yet.
    touches: Touches,
    /// When the last attach was sent; answers to what was sent before it are of another connection.
    attached: Boot,
    /// Whether there is a server.
    upstream: bool,
    /// When the last frame was sent that makes one of evenkeel's own needless for a while: any; in strict mode, one of its own.
    sent: Boot,
    /// How many frames of evenkeel's own are unanswered.
    unanswered: usize,
    /// When the client's last bytes came.
    heard: Boot,
    /// Whether the client's socket is open.
    client: bool,
    /// Whether frames of evenkeel's own are withheld.
    muted: bool,
    /// When the session task last ran.
    awake: Boot,
    /// When evenkeel went on after it had been frozen, until something that was sent later counts.
    thawed: Option<Boot>,
}

impl Lease {
    /// The lease of a session that has just been granted, or resumed by its client: the attach was sent at `sent`, its
    /// answer came `now`. The client is told `told`, or what was granted if that is shorter.
    pub fn new(rules: Rules, told: Duration, grant: Grant, sent: Boot, now: Boot) -> Self {
        let lease = Self {
            rules,
            session: grant.session,
            told: told.min(grant.timeout),
            granted: grant.timeout,
            newest: sent,
            counted: sent,
            touches: Touches::default(),
            attached: sent,
            upstream: true,
            sent,
            unanswered: 0,
            heard: now,
            client: true,
            muted: false,
            awake: now,
            thawed: None,
        };
        // An answer that has lain in the kernel for so long says as little as one that is read after a freeze.
        let late = now >= lease.speaks_until() && !made(Mistake::LateGrantTrusted);
        Self { thawed: late.then_some(now), ..lease }
    }

    /// The session's id.
    pub const fn session(&self) -> i64 {
        self.session
    }

    /// The timeout that the client was told, T.
    pub const fn told(&self) -> Duration {
        self.told
    }

    /// The timeout to ask for when reattaching: always the original one.
    pub const fn granted(&self) -> Duration {
        self.granted
    }

    /// Whether half a tick leaves anything of the third of the timeout for which evenkeel may speak. If not, it makes nothing up but
    /// for a while after an attach, and in strict mode lets nothing pass but then.
    pub fn has_room(&self) -> bool {
        self.rules.has_room(self.told)
    }

    /// Evenkeel is awake. To be told before anything else, whenever the session task runs: if it runs later than it has to look
    /// again whatever is due, by more than a little, it was frozen.
    pub fn awake(&mut self, now: Boot) {
        let late = now.since(self.awake + self.pace());
        if late > self.rules.lateness(self.told) {
            self.thawed = Some(now);
        }
        self.awake = self.awake.max(now);
    }

    /// Frames of evenkeel's own are withheld from now on, or no longer: none is due meanwhile, and that none goes out is no sign
    /// of a freeze.
    pub fn mute(&mut self, on: bool) {
        self.muted = on;
    }

    /// A frame of the client's goes upstream. Told when it is handed to the write queue, which can only make the lease shorter.
    ///
    /// In [`Mode::Strict`] none of them makes one of evenkeel's own needless: its answer may be a refusal, which proves nothing.
    pub fn client_sent(&mut self, now: Boot) {
        if self.rules.mode == Mode::Direct {
            self.sent = self.sent.max(now);
        }
    }

    /// One of evenkeel's own does ([`Self::own_frame`]).
    pub fn own_sent(&mut self, now: Boot) {
        self.sent = self.sent.max(now);
    }

    /// How many frames of evenkeel's own are unanswered. To be told before [`Self::own_frame`] is asked.
    pub fn unanswered(&mut self, own: usize) {
        self.unanswered = own;
    }

    /// The answer to a frame came `now`, which was sent at `sent` on the connection that was attached last. A refusal is the answer
    /// to a [`Frame::Request`], whatever was refused: the leader need have had no part in it.
    pub fn answered(&mut self, frame: Frame, sent: Boot, now: Boot) {
        if sent < self.attached || !self.upstream {
            return;
        }
        let half_tick = self.rules.half_tick(self.told);
        if self.proves(frame) {
            let sent = if made(Mistake::ArrivalForSending) { now } else { sent };
            self.newest = self.newest.max(sent);
            self.counted = self.counted.max(self.touches.counted_by(sent, half_tick));
            if made(Mistake::HalfTickIgnored) {
                self.counted = self.newest;
            }
            if made(Mistake::GapIgnored) {
                self.counted = self.counted.max(self.newest - half_tick);
            }
            self.refresh();
        }
        self.touches.add(sent, now, self.rules.spacing(self.told));
    }

    /// The connection to the server is lost.
    pub fn lost(&mut self) {
        self.upstream = false;
        // Their follower may have died with them.
        self.touches.clear();
    }

    /// The answer to an attach came `now`, which was sent at `sent`.
    pub fn reattached(&mut self, grant: Grant, sent: Boot, now: Boot) -> Reattach {
        if made(Mistake::ExpiryInvented) && now > self.speaks_until() {
            return Reattach::Expired;
        }
        if grant.timeout.is_zero() {
            return Reattach::Expired;
        }
        if grant.session != self.session && !made(Mistake::AnotherAccepted) {
            return Reattach::Another;
        }
        if grant.timeout < self.granted && !made(Mistake::ShorterAccepted) {
            return Reattach::Shorter;
        }
        let sent = if made(Mistake::ArrivalForSending) { now } else { sent };
        // A longer one changes nothing: for half a tick the touches of the old server can bring the older one back.
        self.upstream = true;
        self.attached = self.attached.max(sent);
        self.sent = self.sent.max(sent);
        self.touches.clear();
        // Attaching touches the session at the leader itself.
        self.newest = self.newest.max(sent);
        self.counted = self.counted.max(sent);
        self.refresh();
        Reattach::Held
    }

    /// A freeze is over when a frame counts that was sent after it: until then the ensemble may have heard nothing since
    /// before it, and the follower that answers may die with what it has.
    fn refresh(&mut self) {
        self.thawed = self.thawed.filter(|thawed| *thawed > self.counted);
    }

    /// Bytes came from the client.
    pub fn heard(&mut self, now: Boot) {
        self.heard = self.heard.max(now);
    }

    /// The client's socket has ended.
    pub fn client_gone(&mut self) {
        self.client = false;
    }

    /// L1: whether evenkeel may answer the client by itself.
    pub fn may_make_up(&self, now: Boot) -> bool {
        self.client && (now < self.speaks_until() || self.is_stopped()) && !self.must_close(now)
    }

    /// L1, L8: whether bytes from the server may go to the client now. If not, they wait: send [`Self::own_frame`]s, and go
    /// on reading; their answers make them fresh, or L3 closes the socket.
    ///
    /// In [`Mode::Strict`] they wait as soon as L1 forbids bytes of our own, since nothing else shows how old they are.
    pub fn may_pass(&self, now: Boot) -> bool {
        let fresh = match self.rules.mode {
            Mode::Direct => self.thawed.is_none() || made(Mistake::OldBytesPassed),
            Mode::Strict => made(Mistake::OldBytesPassed),
        };
        (fresh || now < self.speaks_until() || self.is_stopped()) && !self.must_close(now)
    }

    /// L3: whether the client's socket must be closed. It must be, too, before evenkeel ends the session (L6).
    pub fn must_close(&self, now: Boot) -> bool {
        if made(Mistake::ClosedAtSilence) && now >= self.speaks_until() {
            return true;
        }
        (now >= self.closes_at() && !self.is_stopped()) || self.must_end_session(now)
    }

    /// L6: the frame that evenkeel has to send by itself now, if any.
    pub fn own_frame(&self, now: Boot) -> Option<Own> {
        let due = self.own_due().is_some_and(|due| due <= now) && now < self.minds_until();
        due.then_some(match self.rules.mode {
            Mode::Direct => Own::Ping,
            Mode::Strict => Own::Sync,
        })
    }

    /// L6: whether another server may be asked to take the session from one that is lost.
    pub fn may_attach(&self, now: Boot) -> bool {
        now < self.heard + self.told || made(Mistake::AttachedForSilent)
    }

    /// L6: whether evenkeel has to end the session itself (closeSession), because the ensemble would do it later than the
    /// client was told. Only with a longer timeout upstream.
    pub fn must_end_session(&self, now: Boot) -> bool {
        self.ends_at().is_some_and(|end| end <= now) && !made(Mistake::EndForgotten)
    }

    /// When this must be asked again, though nothing happens: the next own frame, the end of L3, the end of the session; and
    /// while a client is there never much later than the last time, or a freeze would not be noticed.
    pub fn deadline(&self) -> Boot {
        // One that was due at the very end of L6, and came too late for it, is due no more.
        let minded = |due: &Boot| (*due).max(self.awake) < self.minds_until();
        let own = self.own_due().filter(minded);
        let client = self.client.then(|| self.closes_at().min(self.awake + self.pace()));
        let times = [own, client, self.ends_at()];
        times.into_iter().flatten().min().unwrap_or(self.awake + self.granted)
    }

    /// What the ensemble gives beyond the client's clock, S.
    fn slack(&self) -> Duration {
        self.granted.saturating_sub(self.told)
    }

    /// L1.
    fn speaks_until(&self) -> Boot {
        let thirds = if made(Mistake::TwoThirds) { 2 } else { 1 };
        self.counted + self.slack() + self.told / 3 * thirds
    }

    /// L3: when the client's socket must be closed, unless an answer comes.
    pub fn closes_at(&self) -> Boot {
        if made(Mistake::NeverClosed) {
            return Boot::at(Duration::MAX);
        }
        (self.newest + self.slack() + self.told * 2 / 3).min(self.counted + self.granted)
    }

    /// L6: until when the client's silence is not minded.
    fn minds_until(&self) -> Boot {
        if made(Mistake::SilentForgotten) { Boot::at(Duration::MAX) } else { self.heard + self.told / 3 }
    }

    /// L6: when a longer timeout upstream must not go on.
    fn ends_at(&self) -> Option<Boot> {
        (self.granted > self.told).then(|| self.heard + self.told)
    }

    /// When the next own frame is due, if the client is minded.
    fn own_due(&self) -> Option<Boot> {
        let client = self.client || made(Mistake::GoneForgotten);
        let due = self.thawed.filter(|thawed| *thawed > self.sent).unwrap_or(self.sent + self.pace());
        let few = self.unanswered < MOST_OWN;
        (self.upstream && client && !self.muted && few).then_some(due)
    }

    /// How long nothing may be sent upstream.
    fn pace(&self) -> Duration {
        self.rules.pace(self.told)
    }

    /// L8: whether an answer to this frame moves A.
    fn proves(&self, frame: Frame) -> bool {
        match self.rules.mode {
            Mode::Direct => true,
            Mode::Strict => frame.has_leaders_part() || made(Mistake::FollowerTrusted),
        }
    }

    /// L7: never.
    fn is_stopped(&self) -> bool {
        !self.upstream && made(Mistake::LossStopsClock)
    }
}
