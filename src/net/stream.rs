//! One byte stream, whatever carries it: a TCP socket, one that is encrypted, or a pipe in memory for tests.
//!
//! May import: `metrics`, `tls`. Must never: buffer, or look at what passes.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::metrics::TlsHandshake;
use crate::tls::{self, ServedStream, TlsStream, is_resumed};

/// A connection to a client or to a member.
#[derive(Debug)]
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A TCP socket to a member, encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// A TCP socket from a client, encrypted.
    Served(Box<ServedStream>),
    /// One end of a pipe in memory: component tests run a whole session on it under a paused clock.
    Memory(DuplexStream),
}

impl Stream {
    /// In place of one that was closed: reads find the end, and writes fail.
    pub fn ended() -> Self {
        Self::Memory(tokio::io::duplex(1).0)
    }

    /// The socket below, if there is one.
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(s) => Some(s),
            Self::Tls(s) => Some(s.get_ref().0),
            Self::Served(s) => Some(s.0.get_ref().0),
            Self::Memory(_) => None,
        }
    }

    /// Waits until a read would make progress, without a buffer to read into; end of stream and errors count as
    /// progress. It may be ready too early: the read that follows then waits itself. A pipe in memory is always ready.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_read_ready(cx),
            // Bytes that were decrypted and not read yet make no socket readable.
            Self::Tls(s) if !s.get_ref().1.wants_read() => Poll::Ready(Ok(())),
            Self::Tls(s) => s.get_ref().0.poll_read_ready(cx),
            Self::Served(s) if !s.0.get_ref().1.wants_read() => Poll::Ready(Ok(())),
            Self::Served(s) => s.0.get_ref().0.poll_read_ready(cx),
            Self::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether the other side is known to send nothing more, though there may be unread bytes. For those who don't read at
    /// the moment; a pipe in memory doesn't know.
    pub fn is_read_closed(&self) -> bool {
        let Some(s) = self.socket() else { return false };
        let ready = std::pin::pin!(s.ready(Interest::READABLE));
        let mut cx = Context::from_waker(Waker::noop());
        matches!(ready.poll(&mut cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// How many bytes have arrived and were not read, by the kernel's word: readiness may not be known yet. Of what is encrypted no
    /// less than will come of it. A pipe in memory doesn't know; a socket that can't be asked any more has none.
    pub fn unread(&self) -> Option<usize> {
        /// What has been read of a record that isn't whole, or was decrypted and not read: less than two records of 16 KiB.
        const RECORDS: usize = 1 << 15;
        let decrypted = match self {
            Self::Tls(s) => !s.get_ref().1.wants_read(),
            Self::Served(s) => !s.0.get_ref().1.wants_read(),
            Self::Tcp(_) => false,
            Self::Memory(_) => return None,
        };
        let waits = rustix::io::ioctl_fionread(self.socket()?).unwrap_or(0);
        let waits = usize::try_from(waits).unwrap_or(usize::MAX);
        let is_plain = matches!(self, Self::Tcp(_));
        Some(if is_plain || (waits == 0 && !decrypted) { waits } else { waits.saturating_add(RECORDS) })
    }

    /// How it came to be encrypted, if it is.
    pub fn handshake(&self) -> Option<TlsHandshake> {
        let kind = match self {
            Self::Tls(s) => s.get_ref().1.handshake_kind(),
            Self::Served(s) => s.0.get_ref().1.handshake_kind(),
            Self::Tcp(_) | Self::Memory(_) => None,
        };
        Some(if is_resumed(kind?) { TlsHandshake::Resumed } else { TlsHandshake::Full })
    }

    /// What the member at the other end has shown of itself, if the connection to it is encrypted.
    pub fn seen(&self) -> Option<tls::Seen> {
        match self {
            Self::Tls(s) => Some(tls::seen(s)),
            Self::Tcp(_) | Self::Served(_) | Self::Memory(_) => None,
        }
    }

    /// The other side's address; none for a pipe, or for a socket that is already dead.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket()?.peer_addr().ok()
    }

    /// Our own address on this connection; none for a pipe, or for a socket that is already dead.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket()?.local_addr().ok()
    }
}

impl From<TcpStream> for Stream {
    fn from(s: TcpStream) -> Self {
        Self::Tcp(s)
    }
}

impl From<DuplexStream> for Stream {
    fn from(s: DuplexStream) -> Self {
        Self::Memory(s)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Self::Served(s) => Pin::new(&mut s.0).poll_read(cx, buf),
            Self::Memory(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
            Self::Served(s) => Pin::new(&mut s.0).poll_write(cx, buf),
            Self::Memory(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Self::Served(s) => Pin::new(&mut s.0).poll_write_vectored(cx, bufs),
            Self::Memory(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(s) => s.is_write_vectored(),
            Self::Tls(s) => s.is_write_vectored(),
            Self::Served(s) => s.0.is_write_vectored(),
            Self::Memory(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
            Self::Served(s) => Pin::new(&mut s.0).poll_flush(cx),
            Self::Memory(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Self::Served(s) => Pin::new(&mut s.0).poll_shutdown(cx),
            Self::Memory(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
