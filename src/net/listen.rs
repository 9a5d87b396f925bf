//! Listening sockets: bound with an error that says what to do, and accepting whatever happens.
//!
//! May import: [`super::sockopt`]. Must never: give up a listener because of one failed accept.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::warn;

use super::sockopt::SocketOptions;

/// How to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that the kernel keeps ready before we accept them; it caps the number by `net.core.somaxconn`.
    pub backlog: u32,
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {addr}: {}", advice(.source, .addr))]
pub struct ListenError {
    /// The address that was asked for.
    pub addr: SocketAddr,
    /// The system's error.
    pub source: io::Error,
}

fn advice(source: &io::Error, addr: &SocketAddr) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "another process listens there; stop it (`ss -ltnp 'sport = {}'` names it) or choose another port",
                addr.port()
            )
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; choose a port from 1024 up, or give the process CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine; use one of its own, 127.0.0.1 or ::1", addr.ip())
        }
        _ => source.to_string(),
    }
}

/// Binds and listens. An IPv6 address takes IPv6 alone: `[::]` leaves the IPv4 port free.
///
/// # Errors
/// [`ListenError`], with the address and advice.
pub fn bind(addr: SocketAddr, options: &ListenOptions) -> Result<TcpListener, ListenError> {
    try_bind(addr, options.backlog).map_err(|source| ListenError { addr, source })
}

fn try_bind(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old process's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Sets the options of an accepted socket.
///
/// # Errors
/// The system's own; mostly that the client is gone already.
pub fn accepted(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    options.apply(SockRef::from(stream))
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The next connection. Errors are survived: one that concerns a single connection is passed over, after any other
/// (most likely no file descriptor is left) accepting pauses for 10 ms, doubled up to 1 s. Cancel-safe.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(e) => e,
        };
        if !concerns_one_connection(&error) {
            ACCEPTS_FAILED.fetch_add(1, Relaxed);
            if log_now(&LAST_LOG, Instant::now()) {
                warn!(listener = ?listener.local_addr().ok(), %error, "can't accept connections; trying again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::Interrupted | K::WouldBlock)
}

/// How often no connection could be accepted since the process began, for want of descriptors or memory.
pub fn accepts_failed() -> u64 {
    ACCEPTS_FAILED.load(Relaxed)
}

static ACCEPTS_FAILED: AtomicU64 = AtomicU64::new(0);

/// One for all listeners: what fails here (descriptors, memory) fails for all of them.
static LAST_LOG: Mutex<Option<Instant>> = Mutex::new(None);

fn log_now(last: &Mutex<Option<Instant>>, now: Instant) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.is_none_or(|t| now.saturating_duration_since(t) >= Duration::from_secs(1));
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
