//! What waits to be written to one stream: in order, bounded, sent with vectored writes.
//!
//! May import: [`super::stream`], `super::pool`. Must never: drop or reorder what was pushed, or copy a payload of any size.
//!
//! Short pieces (length prefixes, patched header fields, small answers) are copied together into runs of 1 KiB: that
//! costs a few nanoseconds, saves an I/O vector for each of them, and frees the read buffers that they are slices of.
//! Longer pieces are sent from where they lie.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::pool;
use super::stream::Stream;

/// The most I/O vectors for one system call. Linux takes 1024; past some dozens there is nothing to gain.
const MAX_SLICES: usize = 64;

/// Pieces up to this many bytes are copied into a run.
const COPY_MAX: usize = 512;

/// The size of a run, in bytes. An allocation of this size still comes out of the allocator's per-thread cache.
const RUN_SIZE: usize = 1024;

/// An empty queue keeps room for at most so many segments.
const KEEP_SEGMENTS: usize = 64;

#[derive(Debug)]
enum Segment {
    /// Sent from where it lies.
    Shared(Bytes),
    /// Short pieces copied together; `sent` bytes of it are written already.
    Run { bytes: Vec<u8>, sent: usize },
}

impl Segment {
    fn unsent(&self) -> &[u8] {
        match self {
            Self::Shared(b) => b,
            Self::Run { bytes, sent } => bytes.get(*sent..).unwrap_or_default(),
        }
    }
}

/// A bounded queue of bytes for one stream.
///
/// The bound is advice to the caller: a push is always accepted (what was read must not be lost), and a caller stops
/// reading more while [`is_full`](Self::is_full) says so.
#[derive(Debug)]
pub struct WriteQueue {
    segments: VecDeque<Segment>,
    limit: usize,
    /// Stream offsets. Invariant: their difference is the sum of all segments' unsent bytes.
    pushed: u64,
    written: u64,
    /// Something was written since the last flush. TCP needs no flush; a stream that buffers (TLS) does.
    unflushed: bool,
}

impl WriteQueue {
    /// `limit_bytes`: from how many waiting bytes on the queue counts as full.
    pub fn new(limit_bytes: usize) -> Self {
        Self { segments: VecDeque::new(), limit: limit_bytes, pushed: 0, written: 0, unflushed: false }
    }

    /// Appends bytes. Always accepted.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_MAX {
            self.push_copy(&bytes);
            pool::recycle(bytes);
        } else {
            self.pushed += bytes.len() as u64;
            self.segments.push_back(Segment::Shared(bytes));
        }
    }

    /// Appends one frame: a length prefix for the sum of the parts, then the parts. Always accepted.
    ///
    /// # Errors
    /// [`FrameTooLong`], and nothing is pushed, when the sum does not fit the prefix (2 GiB).
    pub fn push_frame<P>(&mut self, parts: P) -> Result<(), FrameTooLong>
    where
        P: AsRef<[Bytes]> + IntoIterator<Item = Bytes>,
    {
        let sum = parts.as_ref().iter().map(Bytes::len).sum();
        let prefix = i32::try_from(sum).map_err(|_| FrameTooLong { len: sum })?;
        self.push_copy(&prefix.to_be_bytes());
        for part in parts {
            self.push(part);
        }
        Ok(())
    }

    /// Appends a copy of the bytes: for short pieces that are made on the spot.
    pub fn push_copy(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.pushed += piece.len() as u64;
        if let Some(Segment::Run { bytes, .. }) = self.segments.back_mut() {
            // A run is never grown: it would copy what it holds already.
            if bytes.capacity() - bytes.len() >= piece.len() {
                bytes.extend_from_slice(piece);
                return;
            }
        }
        let mut bytes = pool::take_run(RUN_SIZE.max(piece.len()));
        bytes.extend_from_slice(piece);
        self.segments.push_back(Segment::Run { bytes, sent: 0 });
    }

    /// Bytes that wait to be written.
    pub fn len_bytes(&self) -> usize {
        usize::try_from(self.pushed - self.written).unwrap_or(usize::MAX)
    }

    /// Nothing waits, and nothing that was written waits for a flush: there is no need to poll.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && !self.unflushed
    }

    /// The bound is reached: read no more of what ends up here.
    pub fn is_full(&self) -> bool {
        self.len_bytes() >= self.limit
    }

    /// Stream offset behind the last byte that the stream took.
    ///
    /// A frame whose first byte has the offset `at` (`pushed_total()` before its push) was not sent, not even in part,
    /// as long as `written_total() <= at`.
    pub fn written_total(&self) -> u64 {
        self.written
    }

    /// Stream offset behind the last byte that was pushed.
    pub fn pushed_total(&self) -> u64 {
        self.pushed
    }

    /// Writes until the queue is empty and flushed (ready), or the stream takes no more (pending). Cancel-safe.
    ///
    /// # Errors
    /// The stream's own, and [`io::ErrorKind::WriteZero`] when it takes nothing without an error. The counters stay
    /// true after an error: they say what had been taken before.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while !self.segments.is_empty() {
            let n = ready!(self.poll_write_once(cx, stream))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.advance(n);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Drops all that waits. Only for a stream that is given up: its last frame may have been written in part.
    ///
    /// `pushed_total` falls back to `written_total`. Ask for the verdicts on frames before, not after.
    pub fn clear(&mut self) {
        self.segments = VecDeque::new();
        self.pushed = self.written;
        self.unflushed = false;
    }

    fn poll_write_once(&self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let mut segments = self.segments.iter();
        if let (Some(only), None) = (segments.next(), segments.next()) {
            return stream.poll_write(cx, only.unsent());
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            *slot = IoSlice::new(segment.unsent());
            used += 1;
        }
        stream.poll_write_vectored(cx, slices.get(..used).unwrap_or_default())
    }

    /// `n` more bytes were taken by the stream.
    fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        while n > 0 {
            let Some(front) = self.segments.front_mut() else { break };
            let unsent = front.unsent().len();
            if n < unsent {
                match front {
                    Segment::Shared(b) => b.advance(n),
                    Segment::Run { sent, .. } => *sent += n,
                }
                break;
            }
            n -= unsent;
            match self.segments.pop_front() {
                Some(Segment::Run { bytes, .. }) if bytes.capacity() <= RUN_SIZE => pool::give_run(bytes),
                Some(Segment::Shared(bytes)) => pool::recycle(bytes),
                _ => {}
            }
        }
        if self.segments.is_empty() && self.segments.capacity() > KEEP_SEGMENTS {
            self.segments = VecDeque::new();
        }
    }
}

/// A frame of 2 GiB or more can't be written: its length doesn't fit the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes doesn't fit a 32-bit length")]
pub struct FrameTooLong {
    /// The sum of the parts, in bytes.
    pub len: usize,
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
