//! One upstream connection of a client's session: dialled when needed, answers in the order of the requests.
//!
//! Knows nothing of what requests mean. When the connection is lost it gives back what was unanswered, each with its
//! verdict: not sent, or unknown.

use crate::kafka::authenticate::{Credentials, Failure};
use crate::kafka::cluster::{Cluster, DialError, Dialed, Peer, Versions, dial, dial_bare};
use crate::kafka::mistake::{Mistake, made};
use crate::metrics::{BrokerMetrics, SaslRenewals};
use crate::net::{FrameReader, Stream, WriteQueue};
use crate::retry::Verdict;
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

mod refusals;
mod renew;

use refusals::Refusals;
use renew::{Renewed, Renewing};

type Dialing = Pin<Box<dyn Future<Output = Result<Dialed, DialError>> + Send>>;

/// A request on an upstream connection whose answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The client request that it belongs to.
    pub slot: u64,
    /// The part of it, where it was split.
    pub part: u32,
    /// The correlation id that the answer must carry.
    pub correlation: i32,
    /// The stream offset behind its last byte.
    end: u64,
    /// When it was queued for the wire.
    pub since: Instant,
}

impl Due {
    /// The same of one of the parts that went together.
    pub(super) fn of_member(self, slot: u64, part: u32) -> Self {
        Self { slot, part, ..self }
    }
}

/// A request that was lost with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The client request.
    pub slot: u64,
    /// The part of it.
    pub part: u32,
    /// Not sent, or unknown.
    pub verdict: Verdict,
}

/// Its broker has taken what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How long the session lasts that it has opened; none: as long as the connection.
    pub lasts: Option<Duration>,
    /// Which of its client's messages that was; 0: none.
    pub message: u64,
}

/// What came of a link.
pub(super) enum Event {
    /// It is connected.
    Connected(Taken),
    /// The broker is asked to renew its session.
    GoesOn,
    /// Its session at the broker was renewed.
    Renewed(Taken),
    /// It was not, with this message of its client's: the connection is of no more use.
    NotRenewed(Failure, u64),
    /// It could not be connected, with this message of its client's.
    Refused(DialError, u64),
    /// An answer.
    Answer(Due, Bytes),
    /// A request, or a part of one, that has no answer (acks=0) is in the kernel's hands.
    Written(u64, u32),
    /// The connection is gone; these had no answer.
    Disconnected {
        /// Why.
        reason: String,
        /// Oldest first.
        lost: Vec<Lost>,
        /// Whether requests without an answer had been sent on it.
        silent: bool,
    },
}

enum State {
    Closed,
    Dialing(Dialing),
    Open(Box<Open>),
}

struct Open {
    stream: Stream,
    reader: FrameReader,
    out: WriteQueue,
    versions: Arc<Versions>,
    due: VecDeque<Due>,
    /// Requests without an answer: the offset behind their last byte, their slot and part.
    silent: VecDeque<(u64, u64, u32)>,
    had_silent: bool,
    /// What keeps the broker's session, where that ends before the connection.
    renewing: Option<Box<Renewing>>,
    renewals: Arc<SaslRenewals>,
}

/// An upstream connection to one node.
pub(super) struct Link {
    /// The node.
    pub node: i32,
    state: State,
    metrics: Arc<BrokerMetrics>,
    max_frame: usize,
    write_queue: usize,
    /// What it is opened with, once it has been.
    credentials: Option<Credentials>,
    /// Which of its client's messages that is; 0: none.
    message: u64,
    /// Which one its broker had been asked about when the connection was lost.
    unjudged: Option<u64>,
    client_id: String,
    bound: Duration,
    renewals: Arc<SaslRenewals>,
    /// Whether it has ever been open.
    was_open: bool,
    /// Who is at the other end, once it has been open.
    peer: Option<Peer>,
    refusals: Refusals,
}

impl Link {
    /// A link that isn't connected yet.
    pub(super) fn new(cluster: &Cluster, node: i32) -> Self {
        let settings = cluster.settings();
        let metrics = cluster.metrics.member(&node.to_string());
        let (max_frame, write_queue) = (settings.net.max_frame, settings.net.write_queue);
        Self {
            node,
            state: State::Closed,
            metrics,
            max_frame,
            write_queue,
            credentials: None,
            message: 0,
            unjudged: None,
            client_id: settings.kafka.client_id.clone(),
            bound: settings.net.connect_timeout,
            renewals: Arc::clone(&cluster.metrics.kafka_sasl_renewals),
            was_open: false,
            peer: None,
            refusals: Refusals::default(),
        }
    }

    /// Whether it has ever been open.
    pub(super) fn was_open(&self) -> bool {
        self.was_open
    }

    /// Whether it is open, and its session at the broker ends before it.
    pub(super) fn is_renewable(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.renewing.is_some())
    }

    /// Whether its broker is asked about this message of its client's, or was, on the connection that there is.
    pub(super) fn shows(&self, message: u64) -> bool {
        match &self.state {
            State::Closed => false,
            State::Dialing(_) => self.message == message,
            State::Open(open) => open.renewing.as_ref().is_some_and(|renewing| renewing.message() == message),
        }
    }

    /// Which message its broker had been asked about when the connection was lost, once.
    pub(super) fn take_unjudged(&mut self) -> Option<u64> {
        self.unjudged.take()
    }

    /// Whether requests can go out on it now.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.state, State::Open(open) if !open.is_blocked())
    }

    /// Whether the broker behind it takes a version of an API, as far as it has said.
    pub(super) fn speaks(&self, key: i16, version: i16) -> bool {
        match &self.state {
            State::Open(open) => open.versions.speaks(key, version),
            State::Closed | State::Dialing(_) => true,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether so much waits to be written that no more should be read for it.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.out.is_full())
    }

    /// Whether nothing is on its way on it: written, or to be written.
    pub(super) fn is_idle(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.due.is_empty() && open.silent.is_empty() && open.out.is_empty())
    }

    /// The requests whose answers are due, oldest first.
    pub(super) fn all_due(&self) -> impl Iterator<Item = &Due> {
        let open = if let State::Open(open) = &self.state { Some(open) } else { None };
        open.into_iter().flat_map(|open| &open.due)
    }

    /// Since when the oldest unanswered request has been on it.
    pub(super) fn oldest_due(&self) -> Option<Due> {
        match &self.state {
            State::Open(open) => open.due.front().copied(),
            _ => None,
        }
    }

    /// Begins to connect, if it is closed. `message`: which of its client's messages it is opened with; 0: none.
    pub(super) fn connect(&mut self, cluster: &Arc<Cluster>, credentials: Credentials, message: u64) {
        if self.is_closed() {
            let (cluster, node) = (Arc::clone(cluster), self.node);
            (self.credentials, self.message) = (Some(credentials.clone()), message);
            let dialing: Dialing = Box::pin(async move { dial(&cluster, node, &credentials).await });
            #[cfg(test)]
            let dialing = if crate::time::is_fixed() { Box::pin(std::future::pending()) } else { dialing };
            self.state = State::Dialing(dialing);
        }
    }

    /// The same without showing or asking anything: its client does that itself.
    pub(super) fn connect_bare(&mut self, cluster: &Arc<Cluster>) {
        if self.is_closed() {
            let (cluster, node) = (Arc::clone(cluster), self.node);
            self.state = State::Dialing(Box::pin(async move { dial_bare(&cluster, node).await }));
        }
    }

    /// The session at its broker is to be renewed with this message of its client's, if it ends at all.
    pub(super) fn renew(&mut self, credentials: &Credentials, message: u64) {
        if let State::Open(open) = &mut self.state
            && let Some(renewing) = &mut open.renewing
        {
            renewing.renew_now(credentials.clone(), message);
        }
    }

    /// Queues a request, in pieces, on an open link. Answers `false` if the link isn't open; nothing is queued then.
    pub(super) fn send<P>(
        &mut self,
        pieces: P,
        slot: u64,
        part: u32,
        correlation: Option<i32>,
        now: Instant,
    ) -> bool
    where
        P: AsRef<[Bytes]> + IntoIterator<Item = Bytes>,
    {
        let State::Open(open) = &mut self.state else { return false };
        if open.is_blocked() || open.out.push_frame(pieces).is_err() {
            return false;
        }
        let end = open.out.pushed_total();
        match correlation {
            Some(correlation) => {
                self.metrics.in_flight.inc();
                open.due.push_back(Due { slot, part, correlation, end, since: now });
            }
            None => {
                open.had_silent = true;
                open.silent.push_back((end, slot, part));
            }
        }
        true
    }

    /// Drives the link; `read` is false while the client can't take more answers.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Event> {
        match &mut self.state {
            State::Closed => Poll::Pending,
            State::Dialing(dialing) => {
                let Poll::Ready(result) = dialing.as_mut().poll(cx) else { return Poll::Pending };
                Poll::Ready(match result {
                    Ok(dialed) => {
                        self.metrics.connections.inc();
                        let (renewing, lasts) = (self.renewing(&dialed), dialed.session);
                        self.was_open = true;
                        (self.peer, self.refusals) = (Some(dialed.peer), Refusals::default());
                        self.state = State::Open(Box::new(Open {
                            stream: dialed.stream,
                            reader: FrameReader::new(self.max_frame),
                            out: WriteQueue::new(self.write_queue),
                            versions: dialed.versions,
                            due: VecDeque::new(),
                            silent: VecDeque::new(),
                            had_silent: false,
                            renewing,
                            renewals: Arc::clone(&self.renewals),
                        }));
                        Event::Connected(Taken { lasts, message: self.message })
                    }
                    Err(error) => {
                        self.state = State::Closed;
                        Event::Refused(error, self.message)
                    }
                })
            }
            State::Open(_) => self.poll_open(cx, read),
        }
    }

    /// What keeps a fresh connection's session, if that ends before the connection and another can follow it.
    fn renewing(&self, dialed: &Dialed) -> Option<Box<Renewing>> {
        let (Some(identity), Some(at)) = (dialed.identity.clone(), dialed.renew_at) else { return None };
        let credentials = self.credentials.clone()?;
        let credentials = (credentials, self.message);
        Some(Box::new(Renewing::new(credentials, identity, &self.client_id, self.bound, at)))
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Event> {
        let State::Open(open) = &mut self.state else { return Poll::Pending };
        if let Poll::Ready(reason) = open.poll_renewal(cx, read) {
            return Poll::Ready(self.disconnect(reason));
        }
        let State::Open(open) = &mut self.state else { return Poll::Pending };
        if !open.out.is_empty() {
            let before = open.out.written_total();
            let written = open.out.poll_write(cx, &mut open.stream);
            self.metrics.bytes_sent.inc_by(open.out.written_total() - before);
            if let Poll::Ready(Err(error)) = written {
                // What the peer answered before it closed is still there to be read; the reader below finds the end.
                tracing::debug!(node = self.node, %error, "writing to a broker failed");
                return match self.drain_answers(cx) {
                    Some(event) => Poll::Ready(event),
                    None => Poll::Ready(self.disconnect(error.to_string())),
                };
            }
        }
        let State::Open(open) = &mut self.state else { return Poll::Pending };
        if let Some(&(end, slot, part)) = open.silent.front()
            && end <= open.out.written_total()
        {
            open.silent.pop_front();
            return Poll::Ready(Event::Written(slot, part));
        }
        if !read {
            return Poll::Pending;
        }
        match open.reader.poll_frame(cx, &mut open.stream) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(frame))) => Poll::Ready(self.answer(frame)),
            Poll::Ready(Ok(None)) => Poll::Ready(self.disconnect("closed by the broker".to_owned())),
            Poll::Ready(Err(error)) => Poll::Ready(self.disconnect(error.to_string())),
        }
    }

    fn drain_answers(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        let State::Open(open) = &mut self.state else { return None };
        match open.reader.poll_frame(cx, &mut open.stream) {
            Poll::Ready(Ok(Some(frame))) => Some(self.answer(frame)),
            _ => None,
        }
    }

    fn answer(&mut self, frame: Bytes) -> Event {
        self.metrics.bytes_received.inc_by(frame.len() as u64 + 4);
        let State::Open(open) = &mut self.state else {
            return Event::Disconnected { reason: String::new(), lost: Vec::new(), silent: false };
        };
        if open.due.is_empty() && open.renewing.as_ref().is_some_and(|renewing| renewing.is_talking()) {
            return match open.on_renewal(&frame) {
                Renewed::GoesOn => Event::GoesOn,
                Renewed::Done(taken) => Event::Renewed(taken),
                Renewed::Failed(failure, message) => {
                    if let Some(untold) = renew::REFUSED.may() {
                        tracing::warn!(node = self.node, %failure, untold, "the session at a broker can't be renewed");
                    }
                    Event::NotRenewed(failure, message)
                }
            };
        }
        let Some(due) = open.due.front().copied() else {
            return self.disconnect("an answer that nobody asked for".to_owned());
        };
        let correlation = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if correlation != Some(due.correlation) {
            let expected = due.correlation;
            return self
                .disconnect(format!("an answer with correlation id {correlation:?}, expected {expected}"));
        }
        open.due.pop_front();
        self.metrics.in_flight.dec();
        Event::Answer(due, frame)
    }

    /// Gives the connection up; what was unanswered comes back with its verdict, oldest first.
    pub(super) fn disconnect(&mut self, reason: String) -> Event {
        let State::Open(open) = std::mem::replace(&mut self.state, State::Closed) else {
            return Event::Disconnected { reason, lost: Vec::new(), silent: false };
        };
        self.metrics.connections.dec();
        self.unjudged = open.renewing.as_ref().and_then(|renewing| renewing.asks_about());
        self.metrics.in_flight.sub(i64::try_from(open.due.len()).unwrap_or(0));
        let written = open.out.written_total();
        let due = open.due.iter().map(|due| (due.slot, due.part, due.end));
        let silent = open.silent.iter().map(|&(end, slot, part)| (slot, part, end));
        let verdict = |(slot, part, end)| {
            let unsent = made(Mistake::WrittenTakenForUnsent);
            let verdict = if unsent { Verdict::NotSent } else { Verdict::of_unanswered(end, written) };
            Lost { slot, part, verdict }
        };
        let mut lost: Vec<Lost> = due.chain(silent).map(verdict).collect();
        lost.sort_by_key(|lost| lost.slot);
        Event::Disconnected { reason, lost, silent: open.had_silent }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let State::Open(open) = &self.state {
            self.metrics.connections.dec();
            self.metrics.in_flight.sub(i64::try_from(open.due.len()).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod model;
