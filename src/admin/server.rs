//! Connections of the admin listener: accepted up to a number, served for a bounded time, closed at the drain.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Admin;
use super::ask::Ask;
use super::routes::respond;
use crate::lifecycle::Drain;

/// Bounds on what a peer of the admin listener can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once on each listener; more wait in the kernel's queue until one ends.
    pub connections: usize,
    /// Time for the head of a request, so also for an idle connection that is kept open.
    pub head: Duration,
    /// Time for a connection as a whole, however busy: a peer that reads nothing can't stay.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, head: Duration::from_secs(5), lifetime: Duration::from_secs(300) }
    }
}

/// Bytes of a request's head: far above any real one.
const MAX_HEAD: usize = 16 * 1024;
/// Lines of a request's head.
const MAX_HEADERS: usize = 64;
/// The pause after an accept that failed, when descriptors have run out and trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time for an answer under way when a connection has to end.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Serves `listener` until the drain is signaled; then answers under way go out, and the holder is dropped.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, limits: Limits, drain: Drain) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut signaled = pin!(drain.signaled());
    loop {
        let accepted = async {
            // The slot comes first: who finds none waits outside.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = &mut signaled => return,
            accepted = accepted => accepted,
        };
        // The semaphore is never closed.
        let Ok(slot) = slot else { return };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, Arc::clone(&admin), limits, drain.clone(), slot));
            }
            Err(error) => {
                tracing::warn!(%error, "admin: a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a peer is on this host. An address of version 4 may come in the clothes of version 6.
fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The life of one connection.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    admin: Arc<Admin>,
    limits: Limits,
    drain: Drain,
    _slot: OwnedSemaphorePermit,
) {
    // Answers are written at once and whole; waiting for more to send gains nothing. That it failed is no matter.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let admin = Arc::clone(&admin);
        async move {
            // What is left of a body that was refused is never read: the connection is closed then.
            let answer = match Ask::read(request, is_local(peer.ip())).await {
                Ok(ask) => respond(&admin, &ask).await,
                Err(refusal) => *refusal,
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
    );
    let end = async {
        tokio::select! {
            () = drain.signaled() => {}
            () = sleep(limits.lifetime) => {}
        }
    };
    let result = tokio::select! {
        result = &mut served => result,
        () = end => {
            served.as_mut().graceful_shutdown();
            let Ok(result) = timeout(LAST_ANSWER, &mut served).await else {
                tracing::debug!(%peer, "admin: a peer that doesn't read was cut off");
                return;
            };
            result
        }
    };
    match result {
        Ok(()) => {}
        Err(error) if error.is_parse() => tracing::info!(%peer, %error, "admin: not HTTP, closed"),
        Err(error) => tracing::debug!(%peer, %error, "admin: the connection ended early"),
    }
}
