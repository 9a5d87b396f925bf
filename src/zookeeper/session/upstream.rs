//! A session's connection to its server: requests out, answers and events in, each with what it belongs to.
//!
//! Knows nothing of what requests mean but whether an answer may come before those of earlier requests: a server
//! answers `auth` and `sasl` at once, and everything else in the order of its arrival (`ZooKeeperServer.processPacket`,
//! `CommitProcessor`); the answer to a `ping`, which can be told by its xid, may come at any time all the same. Requests aren't told
//! apart by their xid otherwise: libraries use them as they like.

use crate::net::{FrameReader, Stream, WriteQueue};
use crate::retry::Verdict;
use crate::time::Boot;
use crate::zookeeper::ensemble::{Attached, Place};
use crate::zookeeper::wire::{ReplyHeader, reply_header, xid};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// An empty list of what is due keeps room for at most so many.
const KEEP_DUE: usize = 64;

/// Whose a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The client's, with a place in the order of answers.
    Slot(u64),
    /// The client's ping.
    Ping,
    /// Our own.
    Own(Own),
}

impl Who {
    /// Whether a server that ends the connection for what it is sent may do so for this: what the client asked, or what is asked in its
    /// place.
    pub(super) const fn is_demanding(self) -> bool {
        matches!(self, Self::Slot(_) | Self::Own(Own::Fence | Own::ReadBack(_) | Own::Watches | Own::Auth))
    }

    /// Whether it is asked to find out what became of requests that were lost.
    pub(super) const fn is_about_lost(self) -> bool {
        matches!(self, Self::Own(Own::Fence | Own::ReadBack(_)))
    }

    /// Whether it is one of those that renew the lease.
    const fn is_own_frame(self) -> bool {
        matches!(self, Self::Own(Own::Ping | Own::Sync))
    }
}

/// What we ask on our own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// To renew the lease.
    Ping,
    /// To renew it with the leader's part (`lease = "strict"`).
    Sync,
    /// An authentication of the client's, again.
    Auth,
    /// The empty multi that settles what the old connection carried.
    Fence,
    /// The n-th question about what became of a write.
    ReadBack(usize),
    /// Watches, again.
    Watches,
    /// That the server learns of what another one has told.
    CatchUp,
    /// An empty multi, so that there is a transaction that all servers have.
    First,
}

/// A request whose answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub who: Who,
    pub xid: i32,
    /// Its answer may come before those of earlier requests.
    pub early: bool,
    /// When it was queued for the wire: never later than when it was sent.
    pub sent: Boot,
    /// The stream offset behind its last byte.
    end: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Event {
    /// An answer: its header is decoded, and still in the frame.
    Answer(Due, ReplyHeader, Bytes),
    /// A watch event, header included.
    Watch(ReplyHeader, Bytes),
    /// The connection is of no more use, for this reason.
    Lost(String),
}

/// A connection on which the session is attached.
pub(super) struct Upstream {
    place: Place,
    stream: Stream,
    reader: FrameReader,
    out: WriteQueue,
    due: VecDeque<Due>,
    /// How many of those are pings and syncs of our own.
    own: usize,
    /// When an answer came last, or it was not read.
    heard: Boot,
}

/// What a server owes an answer to first.
pub(super) struct Owed {
    /// When that was sent.
    pub sent: Boot,
    /// Whether it waits for nothing but the server. A ping does, when everything before it is answered: until then it stands in
    /// line behind the session's own writes and syncs (`CommitProcessor` queues whatever comes from a session with a request that
    /// needs a commit; 3.8.6, 3.9.5).
    pub alone: bool,
    /// When the server answered something last, or nobody listened.
    pub heard: Boot,
}

impl Upstream {
    pub(super) fn new(attached: Attached, write_queue: usize) -> (Self, Bytes, Boot) {
        let Attached { place, stream, reader, response, sent } = attached;
        place.metrics().connections.inc();
        let (out, due) = (WriteQueue::new(write_queue), VecDeque::new());
        let upstream = Self { place, stream, reader, out, due, own: 0, heard: sent };
        (upstream, response, sent)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where the server is; nothing for a pipe in memory.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Whether so much waits to be written that no more should be read for it.
    pub(super) fn is_full(&self) -> bool {
        self.out.is_full()
    }

    /// Whether nothing is unanswered.
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether everything is written.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// The oldest unanswered request.
    pub(super) fn owed(&self) -> Option<Owed> {
        self.due.front().map(|due| Owed { sent: due.sent, alone: due.early, heard: self.heard })
    }

    /// How many pings and syncs of our own are unanswered.
    pub(super) fn own_frames(&self) -> usize {
        self.own
    }

    /// Queues a request of the client's, as it came. `xid`: what its answer will carry.
    pub(super) fn forward(&mut self, frame: Bytes, xid: i32, who: Who, early: bool, now: Boot) {
        // It came in a frame, so that it fits one.
        let _ = self.out.push_frame([frame]);
        self.expect(who, xid, early, now);
    }

    /// Queues a request of our own, its length in front.
    pub(super) fn ask(&mut self, frame: Bytes, xid: i32, own: Own, now: Boot) {
        self.out.push(frame);
        self.expect(Who::Own(own), xid, matches!(own, Own::Ping | Own::Auth), now);
    }

    fn expect(&mut self, who: Who, xid: i32, early: bool, now: Boot) {
        self.place.metrics().in_flight.inc();
        self.own += usize::from(who.is_own_frame());
        self.due.push_back(Due { who, xid, early, sent: now, end: self.out.pushed_total() });
    }

    /// Drives it; `read` is false while the client can't take more, which is no silence of the server's.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: bool, now: Boot) -> Poll<Event> {
        if !self.out.is_empty() {
            let before = self.out.written_total();
            let written = self.out.poll_write(cx, &mut self.stream);
            self.place.metrics().bytes_sent.inc_by(self.out.written_total() - before);
            if let Poll::Ready(Err(error)) = written {
                // What the server answered before it closed is still there to be read.
                return Poll::Ready(match self.reader.poll_frame(cx, &mut self.stream) {
                    Poll::Ready(Ok(Some(frame))) => self.take(frame, now),
                    _ => Event::Lost(error.to_string()),
                });
            }
        }
        if !read {
            self.heard = self.heard.max(now);
            return Poll::Pending;
        }
        match self.reader.poll_frame(cx, &mut self.stream) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(frame))) => Poll::Ready(self.take(frame, now)),
            Poll::Ready(Ok(None)) => Poll::Ready(Event::Lost("closed by the server".to_owned())),
            Poll::Ready(Err(error)) => Poll::Ready(Event::Lost(error.to_string())),
        }
    }

    fn take(&mut self, frame: Bytes, now: Boot) -> Event {
        self.place.metrics().bytes_received.inc_by(frame.len() as u64 + 4);
        let header = match reply_header(&frame) {
            Ok(header) => header,
            Err(error) => return Event::Lost(format!("an answer that can't be read: {error}")),
        };
        if header.xid == xid::NOTIFICATION {
            return Event::Watch(header, frame);
        }
        let ordered = self.due.iter().position(|due| !due.early);
        let early = self.due.iter().position(|due| due.early && due.xid == header.xid);
        let in_order = ordered.filter(|at| self.due.get(*at).is_some_and(|due| due.xid == header.xid));
        // Of two with the same xid the older one.
        let at = match (in_order, early) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        match at.and_then(|at| self.due.remove(at)) {
            Some(due) => {
                if self.due.is_empty() && self.due.capacity() > KEEP_DUE {
                    self.due = VecDeque::new();
                }
                self.place.metrics().in_flight.dec();
                self.own -= usize::from(due.who.is_own_frame());
                self.heard = self.heard.max(now);
                Event::Answer(due, header, frame)
            }
            None => Event::Lost(format!("an answer with xid {}, which nothing asked for", header.xid)),
        }
    }

    /// Gives it up. What was unanswered, oldest first, each with its verdict: not sent, or unknown.
    pub(super) fn give_up(mut self) -> Vec<(Due, Verdict)> {
        let written = self.out.written_total();
        let due = std::mem::take(&mut self.due);
        self.place.metrics().in_flight.sub(i64::try_from(due.len()).unwrap_or(0));
        due.into_iter().map(|due| (due, Verdict::of_unanswered(due.end, written))).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.place.metrics().connections.dec();
        self.place.metrics().in_flight.sub(i64::try_from(self.due.len()).unwrap_or(0));
    }
}
