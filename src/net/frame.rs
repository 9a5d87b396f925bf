//! Cuts a byte stream into frames: a signed 32-bit big-endian length, then that many bytes. Kafka and `ZooKeeper` both
//! frame this way.
//!
//! May import: [`super::stream`], `super::pool`. Must never: size an allocation by a length that a peer only claims, or hold a buffer
//! for a connection that is idle.
//!
//! Memory: a buffer is taken when the socket has become readable, and let go when all its bytes were handed out and
//! the socket has no more. Frames are slices of it. For a frame that is longer than the buffer, the buffer grows with
//! what has really arrived, so a claimed 2 GiB costs a liar as much memory here as the bytes that it really sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::io::poll_read_buf;

use super::pool;
use super::stream::Stream;

/// The length prefix, in bytes.
pub const PREFIX: usize = 4;

/// The least that a fresh buffer takes, in bytes. The bulk cost of a proxy is system calls, and with 64 KiB per read it
/// is within a tenth of the cost of a bare copy loop.
const READ_SIZE: usize = 64 * 1024;

/// The most that a fresh buffer takes before a frame is known to be on its way, in bytes.
const FRESH_MAX: usize = pool::LARGEST;

/// With less room than this (and more to come than fits) a partly read frame gets more room before the next read.
const LOW_ROOM: usize = READ_SIZE / 2;

/// Slices shorter than this are worth a copy when they are kept; see [`compact`].
const COMPACT_BELOW: usize = READ_SIZE / 4;

/// Why no further frame can be read. The stream is of no more use after any of these.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The prefix claims more than this listener or upstream allows.
    #[error("the peer announced a frame of {len} bytes; at most {max} are allowed{}", hint(*len))]
    TooLarge {
        /// What the prefix says, in bytes.
        len: usize,
        /// The cap, in bytes.
        max: usize,
    },
    /// The prefix is a negative number: the peer speaks another protocol, or the stream is out of step.
    #[error("the peer announced a frame of {len} bytes; a length can't be negative")]
    Negative {
        /// What the prefix says.
        len: i32,
    },
    /// The peer closed inside a frame.
    #[error("the peer closed the connection inside a frame: {have} of {want} bytes had arrived")]
    Truncated {
        /// Bytes of the frame that arrived, the prefix included.
        have: usize,
        /// Bytes that were needed, the prefix included; only the prefix itself when not even that was whole.
        want: usize,
    },
    /// The socket's own error.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// What a length that is none may be: the beginning of a TLS handshake (content type 22, version 3.1 to 3.3).
fn hint(len: usize) -> &'static str {
    match u32::try_from(len).unwrap_or(0).to_be_bytes() {
        [22, 3, 1..=3, _] => " (it speaks TLS, and plain text is expected here)",
        _ => "",
    }
}

/// Reads frames off one stream. One reader for each direction of each connection.
#[derive(Debug)]
pub struct FrameReader {
    buf: BytesMut,
    max_frame: usize,
    /// The largest frame that this peer sent whole, in bytes with its prefix: that much is reserved at once for a frame
    /// that claims as much, so that a steady flow of large frames is read in place.
    largest: usize,
    /// As `largest`, but falls by an eighth with each smaller frame: the size of a fresh buffer, when no prefix is
    /// known yet. One huge frame must not make every later small request take a huge buffer.
    typical: usize,
    /// Bytes of the frames that were handed out, their prefixes included.
    taken: u64,
}

impl FrameReader {
    /// `max_frame`: the cap on one frame, in bytes without the prefix.
    pub fn new(max_frame: usize) -> Self {
        Self { buf: BytesMut::new(), max_frame, largest: 0, typical: 0, taken: 0 }
    }

    /// The next frame, without its prefix; `None` when the peer closed between two frames.
    ///
    /// Frames that came with one read are handed out one by one with no further read. Cancel-safe: a call that returns
    /// `Pending` has lost nothing. After an error the same error, or one that follows from it, comes again.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<Result<Option<Bytes>, FrameError>> {
        self.poll_frame_mut(cx, stream).map_ok(|frame| frame.map(BytesMut::freeze))
    }

    /// As [`poll_frame`](Self::poll_frame), for who changes a few bytes of the frame in place.
    pub fn poll_frame_mut(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<Result<Option<BytesMut>, FrameError>> {
        loop {
            let missing = match self.take_buffered()? {
                Taken::Frame(frame) => return Poll::Ready(Ok(Some(frame))),
                Taken::Missing(n) => n,
            };
            if self.buf.is_empty() {
                if stream.poll_read_ready(cx)?.is_pending() {
                    self.let_go();
                    return Poll::Pending;
                }
                self.fresh_room();
            } else {
                self.more_room(missing);
            }
            let Poll::Ready(n) = poll_read_buf(Pin::new(&mut *stream), cx, &mut self.buf)? else {
                if self.buf.is_empty() {
                    self.let_go();
                }
                return Poll::Pending;
            };
            if n == 0 {
                return Poll::Ready(self.end_of_stream(missing));
            }
        }
    }

    /// The next frame that is already whole in the buffer, without reading.
    pub fn next_buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        Ok(match self.take_buffered()? {
            Taken::Frame(frame) => Some(frame.freeze()),
            Taken::Missing(_) => None,
        })
    }

    /// Bytes that were read and not handed out yet: whole frames, or the part of one that has arrived.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// How many bytes of the stream are handed out, in whole frames with their prefixes.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    fn take_buffered(&mut self) -> Result<Taken, FrameError> {
        let Some(prefix) = self.buf.first_chunk::<PREFIX>() else {
            return Ok(Taken::Missing(PREFIX - self.buf.len()));
        };
        let announced = i32::from_be_bytes(*prefix);
        let Ok(len) = usize::try_from(announced) else {
            return Err(FrameError::Negative { len: announced });
        };
        if len > self.max_frame {
            return Err(FrameError::TooLarge { len, max: self.max_frame });
        }
        let whole = PREFIX + len;
        if let Some(missing) = whole.checked_sub(self.buf.len()).filter(|n| *n > 0) {
            return Ok(Taken::Missing(missing));
        }
        self.largest = self.largest.max(whole);
        self.typical = whole.max(self.typical - self.typical / 8);
        self.taken += whole as u64;
        self.buf.advance(PREFIX);
        Ok(Taken::Frame(self.buf.split_to(len)))
    }

    /// A buffer for the first read. Never the old one: that may have grown with a huge frame, and of the typical
    /// size a flow of equal large frames fills it to the byte, so that no frame's start must be moved.
    fn fresh_room(&mut self) {
        self.let_go();
        self.buf = pool::take(self.typical.clamp(READ_SIZE, FRESH_MAX));
    }

    /// Room for the rest of a frame of which a part is here. It grows by at most what has arrived (or by the smallest
    /// read, or by what this peer has proved before), so the capacity stays under twice the arrived bytes and a read.
    fn more_room(&mut self, missing: usize) {
        let room = self.buf.capacity() - self.buf.len();
        if room >= missing.min(LOW_ROOM) {
            return;
        }
        let trusted = self.largest.saturating_sub(self.buf.len());
        let step = READ_SIZE.max(self.buf.len()).max(trusted);
        self.buf.reserve(missing.min(step));
    }

    fn let_go(&mut self) {
        if self.buf.capacity() > 0 {
            pool::give(std::mem::take(&mut self.buf));
        }
    }

    fn end_of_stream(&mut self, missing: usize) -> Result<Option<BytesMut>, FrameError> {
        if self.buf.is_empty() {
            self.let_go();
            return Ok(None);
        }
        Err(FrameError::Truncated { have: self.buf.len(), want: self.buf.len() + missing })
    }
}

enum Taken {
    Frame(BytesMut),
    /// So many bytes are needed before more can be said: the rest of the prefix, or the rest of the frame.
    Missing(usize),
}

/// A copy of its own of a small slice; a larger one as it is.
///
/// A frame is a slice of a read buffer of at least 64 KiB and keeps all of it alive. That is of no account while a
/// request passes through. What is kept for longer (a held request, a copy for a replay) and is shorter than a quarter of
/// that buffer should be compacted, or a budget that counts bytes of requests misses what they really cost.
#[must_use]
pub fn compact(frame: Bytes) -> Bytes {
    if frame.len() < COMPACT_BELOW { Bytes::copy_from_slice(&frame) } else { frame }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
