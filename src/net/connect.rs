//! Connects to a host by name: resolves it anew, then tries every address of both families, staggered (RFC 8305).
//!
//! May import: [`super::sockopt`], `metrics`, `dns`, `tls`. Must never: prefer an address because it worked before; a member may have moved.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::sockopt::SocketOptions;
use super::stream::Stream;
use crate::config;
use crate::dns::{DnsError, Resolver};
use crate::metrics::ConnectOutcome;
use crate::tls::{Tls, TlsError};

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The most time for all addresses together, and again for the handshake of an encrypted connection. Resolving the name is not
    /// in it: it has a bound of its own.
    pub timeout: Duration,
    /// The head start of one address over the next (RFC 8305 section 5 suggests 250 ms).
    pub stagger: Duration,
    /// See [`SocketOptions::keepalive`].
    pub keepalive: Duration,
    /// See [`SocketOptions::user_timeout`].
    pub user_timeout: Duration,
}

impl ConnectOptions {
    /// As `[net]` has them.
    pub fn of(net: &config::Net) -> Self {
        Self {
            timeout: net.connect_timeout,
            stagger: net.connect_stagger,
            keepalive: net.keepalive,
            user_timeout: net.user_timeout,
        }
    }
}

/// How a connection is encrypted, if it is.
#[derive(Debug, Clone, Copy)]
pub struct Secure<'a> {
    /// What was read of the files.
    pub tls: &'a Tls,
    /// Whether, and with which files.
    pub options: &'a config::Tls,
}

/// A fresh connection.
#[derive(Debug)]
pub struct Connected {
    /// The stream: its socket's options set, its handshake done if it is encrypted.
    pub stream: Stream,
    /// The address that took the connection.
    pub addr: SocketAddr,
}

/// How the reason of an address that was silent begins.
const NO_ANSWER: &str = "no answer";

/// Why there is no connection. Nothing was sent to anybody.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("can't connect to {host}:{port}: {source}")]
    Dns {
        /// The host as it was asked for.
        host: String,
        /// The port as it was asked for.
        port: u16,
        /// What DNS said.
        source: DnsError,
    },
    /// Every address failed, or none answered in time.
    #[error("can't connect to {host}:{port}: {tried}")]
    Unreachable {
        /// The host as it was asked for.
        host: String,
        /// The port as it was asked for.
        port: u16,
        /// Each address, in the order of the attempts, and why it failed.
        tried: Tried,
    },
    /// An address took the connection, and was silent in the handshake that encrypts it.
    #[error("can't connect to {host}:{port}: {addr} ({NO_ANSWER} in the TLS handshake within {bound:?})")]
    Silent {
        /// The host as it was asked for.
        host: String,
        /// The port as it was asked for.
        port: u16,
        /// The address.
        addr: SocketAddr,
        /// For how long.
        bound: Duration,
    },
    /// An address took the connection, and it can't be encrypted.
    #[error("can't connect to {host}:{port}: {source}")]
    Tls {
        /// The host as it was asked for.
        host: String,
        /// The port as it was asked for.
        port: u16,
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: Box<TlsError>,
    },
}

/// How far an attempt to connect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStage {
    /// The name is looked up.
    Dns,
    /// Its addresses are connected.
    Tcp,
    /// The connection is encrypted.
    Tls,
}

impl ConnectError {
    /// Whether some address gave no answer at all in time, rather than a refusal.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Unreachable { tried, .. } => tried.0.iter().any(|(_, why)| why.starts_with(NO_ANSWER)),
            Self::Silent { .. } => true,
            Self::Dns { .. } | Self::Tls { .. } => false,
        }
    }

    /// Where it failed, and the address that had taken the connection by then.
    pub fn stage(&self) -> (ConnectStage, Option<SocketAddr>) {
        match self {
            Self::Dns { .. } => (ConnectStage::Dns, None),
            Self::Unreachable { .. } => (ConnectStage::Tcp, None),
            Self::Silent { addr, .. } | Self::Tls { addr, .. } => (ConnectStage::Tls, Some(*addr)),
        }
    }

    /// How it counts.
    pub fn outcome(&self) -> ConnectOutcome {
        match self {
            Self::Dns { .. } => ConnectOutcome::Dns,
            // A peer that is known to encrypt closed the connection, as one does that is stopped.
            Self::Tls { source, .. } if matches!(**source, TlsError::Lost { .. }) => ConnectOutcome::Refused,
            Self::Tls { .. } => ConnectOutcome::Tls,
            error if error.is_timeout() => ConnectOutcome::Timeout,
            Self::Unreachable { .. } | Self::Silent { .. } => ConnectOutcome::Refused,
        }
    }

    /// What to set or to do, in one line.
    pub fn remedy(&self) -> String {
        match self {
            Self::Dns { host, .. } => {
                format!("mend the name {host}, or let DNS on this host (or [dns] servers) know it")
            }
            Self::Unreachable { port, .. } if self.is_timeout() => format!(
                "nobody answers there: is the host up, is it the right address, and does no firewall between here and there drop port {port}?"
            ),
            Self::Unreachable { port, .. } => {
                format!("is the member running, and does it listen on port {port} of that address?")
            }
            Self::Silent { .. } => {
                "it takes connections and says nothing: is it a port that speaks TLS, and is the member at work?"
                    .to_owned()
            }
            Self::Tls { source, .. } => source.remedy(),
        }
    }
}

/// Addresses and what each of them said.
#[derive(Debug)]
pub struct Tried(pub Vec<(SocketAddr, String)>);

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (addr, why)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{addr} ({why})")?;
        }
        Ok(())
    }
}

/// Connects to a name or a literal address; the first address that answers wins, the others are dropped.
/// Cancel-safe: a dropped call drops its attempts.
///
/// # Errors
/// [`ConnectError`], with every address and its reason.
pub async fn connect(
    resolver: &Resolver,
    host: &str,
    port: u16,
    options: &ConnectOptions,
    secure: Secure<'_>,
) -> Result<Connected, ConnectError> {
    let found = resolver.resolve(host).await;
    let found = found.map_err(|source| ConnectError::Dns { host: host.to_owned(), port, source })?;
    let addrs = interleave(&found.addrs).into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let raced = race(addrs, options).await;
    let unreachable = |tried| ConnectError::Unreachable { host: host.to_owned(), port, tried };
    let (stream, addr) = raced.map_err(unreachable)?;
    let stream = secured(stream, addr, host, options, secure).await?;
    Ok(Connected { stream, addr })
}

/// Encrypts a connection to `addr`, if it is to be, whose peer must prove to be `host`.
///
/// # Errors
/// [`ConnectError`], with the reason in words.
pub async fn secured(
    stream: TcpStream,
    addr: SocketAddr,
    host: &str,
    options: &ConnectOptions,
    secure: Secure<'_>,
) -> Result<Stream, ConnectError> {
    if !secure.options.enabled {
        return Ok(Stream::Tcp(stream));
    }
    let handshake = secure.tls.connect(secure.options, stream, host, addr);
    let (host, port) = (host.to_owned(), addr.port());
    match tokio::time::timeout(options.timeout, handshake).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(stream)),
        Ok(Err(source)) => Err(ConnectError::Tls { host, port, addr, source: Box::new(source) }),
        Err(_) => Err(ConnectError::Silent { host, port, addr, bound: options.timeout }),
    }
}

/// IPv6 and IPv4 in turns, IPv6 first, each family in its own order (RFC 8305 section 4).
fn interleave(addrs: &[IpAddr]) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = addrs.iter().partition(|a| a.is_ipv6());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut out = Vec::with_capacity(addrs.len());
    while out.len() < addrs.len() {
        out.extend(v6.next());
        out.extend(v4.next());
    }
    out
}

async fn race(addrs: Vec<SocketAddr>, options: &ConnectOptions) -> Result<(TcpStream, SocketAddr), Tried> {
    let sockets = SocketOptions { keepalive: options.keepalive, user_timeout: options.user_timeout };
    let deadline = Instant::now() + options.timeout;
    let mut reasons: Vec<Option<String>> = vec![None; addrs.len()];
    let mut waiting = addrs.iter().copied().enumerate();
    let mut running = JoinSet::new();
    let mut next_start = Instant::now();
    let mut more = true;
    loop {
        if more && Instant::now() >= next_start {
            match waiting.next() {
                Some((i, addr)) => {
                    running.spawn(async move { (i, addr, try_one(addr, sockets).await) });
                }
                None => more = false,
            }
            next_start = Instant::now() + options.stagger;
        }
        if running.is_empty() && !more {
            break;
        }
        tokio::select! {
            biased;
            Some(done) = running.join_next(), if !running.is_empty() => match done {
                Ok((_, addr, Ok(stream))) => return Ok((stream, addr)),
                Ok((i, _, Err(e))) => {
                    if let Some(reason) = reasons.get_mut(i) {
                        *reason = Some(plain(&e));
                    }
                    // The head start is of no more use to an address that has failed.
                    next_start = Instant::now();
                }
                // Not aborted by anybody, so it panicked: the address stays without a reason of its own.
                Err(_) => next_start = Instant::now(),
            },
            () = sleep_until(deadline) => break,
            () = sleep_until(next_start), if more => {}
        }
    }
    let untried = waiting.len();
    let started = addrs.len() - untried;
    let tried = addrs.iter().zip(reasons).enumerate().map(|(i, (addr, reason))| {
        let reason = reason.unwrap_or_else(|| {
            if i < started {
                format!("{NO_ANSWER} within {:?}", options.timeout)
            } else {
                "not tried: the time was up".to_owned()
            }
        });
        (*addr, reason)
    });
    Err(Tried(tried.collect()))
}

async fn try_one(addr: SocketAddr, options: SocketOptions) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    options.apply(SockRef::from(&socket))?;
    socket.connect(addr).await
}

fn plain(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "refused: nothing listens there".to_owned(),
        io::ErrorKind::TimedOut => NO_ANSWER.to_owned(),
        io::ErrorKind::NetworkUnreachable => "no route to this network".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
