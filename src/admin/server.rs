//! Connections of a listener: accepted up to a number, let in or not, served for a bounded time, closed at the drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Admin;
use super::ask::Ask;
use super::door::{Caller, Door, Refused, is_local};
use super::response::{Answer, problem};
use super::routes::respond;
use crate::lifecycle::Drain;
use crate::metrics::AdminRefusal;
use crate::net::{Seldom, Turn, Turns, accept};

/// Bounds on what a peer of the admin listener can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of this host that are served at once on each listener, and as many of elsewhere: neither can take the other's.
    /// For one more the one gives way whose next request has been waited for longest; it is refused if all are being answered.
    pub connections: usize,
    /// Time for the handshake, and for the head of a request, so also for an idle connection that is kept open.
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
/// The time for an answer under way when a connection has to end.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// Connections that are being told at once that there is no room; more than that are just closed.
const TOLD: usize = 64;
/// What they are told.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\nconnection: close\r\n\
                    content-length: 27\r\n\r\nall connections are in use\n";

/// In 5 s so many lines about connections that came to nothing, at most.
const TOLD_OF: u32 = 10;

/// What all connections of a listener share.
struct Shared {
    admin: Arc<Admin>,
    door: Arc<Door>,
    limits: Limits,
    drain: Drain,
    /// Lines that anyone can bring about.
    told: Seldom,
}

impl Shared {
    fn tell(&self, peer: SocketAddr, why: &str, what: &'static str) {
        match self.told.may() {
            Some(untold) => tracing::info!(%peer, why, untold, "admin: {what}"),
            None => tracing::debug!(%peer, why, "admin: {what}"),
        }
    }
}

/// Serves `listener` until the drain is signaled; then answers under way go out, and the holder is dropped.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, door: Arc<Door>, limits: Limits, drain: Drain) {
    let turns = || Turns::new(limits.connections);
    let (near, far, being_told) = (turns(), turns(), Arc::new(Semaphore::new(TOLD)));
    let mut signaled = pin!(drain.signaled());
    let told = Seldom::new(TOLD_OF, Duration::from_secs(5));
    let shared = Arc::new(Shared { admin, door, limits, drain: drain.clone(), told });
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut signaled => return,
            accepted = accept(&listener) => accepted,
        };
        let turns = if is_local(peer.ip()) { &near } else { &far };
        if let Some(turn) = turns.take() {
            tokio::spawn(connection(stream, peer, Arc::clone(&shared), turn));
            continue;
        }
        shared.admin.own.refused.inc(AdminRefusal::Full);
        if shared.door.tls.is_none()
            && let Ok(slot) = Arc::clone(&being_told).try_acquire_owned()
        {
            tokio::spawn(turn_away(stream, slot));
        }
    }
}

/// Tells a peer that there is no room. What it asked is read, or the answer could be lost with it.
async fn turn_away(mut stream: TcpStream, _slot: OwnedSemaphorePermit) {
    let told = async {
        stream.write_all(FULL.as_bytes()).await?;
        stream.shutdown().await?;
        let mut asked = [0; 1024];
        for _ in 0..MAX_HEAD / asked.len() {
            if stream.read(&mut asked).await? == 0 {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whoever doesn't take it has no more claim to it.
    let _ = timeout(LAST_ANSWER, told).await;
}

/// The life of one connection.
async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, turn: Turn) {
    // Answers are written at once and whole; waiting for more to send gains nothing. That it failed is no matter.
    let _ = stream.set_nodelay(true);
    let (own, turn) = (&shared.admin.own, Arc::new(turn));
    own.connections.inc();
    tokio::select! {
        () = greet(stream, peer, &shared, &turn) => {}
        () = turn.lost() => {
            own.refused.inc(AdminRefusal::GaveWay);
            tracing::debug!(%peer, "admin: a connection that was waited for gave way to another one");
        }
    }
    own.connections.dec();
}

/// Encrypts a connection, if it is to be, and serves it.
async fn greet(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, turn: &Arc<Turn>) {
    let Some(tls) = &shared.door.tls else {
        return serve_http(stream, Caller { peer, certified: false }, shared, turn).await;
    };
    let why = match timeout(shared.limits.head, tls.accept(stream, peer)).await {
        Ok(Ok(accepted)) => {
            let caller = Caller { peer, certified: accepted.certified };
            return serve_http(accepted.stream, caller, shared, turn).await;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "not done in time".to_owned(),
    };
    shared.admin.own.refused.inc(AdminRefusal::Handshake);
    shared.tell(peer, &why, "no TLS connection");
}

/// Lets a request in or not, reads it, and answers it.
async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    caller: Caller,
    shared: &Shared,
    turn: &Turn,
) -> Result<Answer, Refused> {
    let (head, body) = request.into_parts();
    shared.door.judge(caller, &head)?;
    if !shared.door.shows(head.uri.path()) {
        return Ok(problem(hyper::StatusCode::NOT_FOUND, "only /metrics, /healthz and /readyz are here"));
    }
    let ask = Ask::read(head, body).await?;
    // What is being answered gives way to nobody. One that has lost its turn is over at its next wait.
    let _work = turn.work();
    Ok(respond(&shared.admin, &ask).await)
}

async fn serve_http<S>(stream: S, caller: Caller, shared: &Arc<Shared>, turn: &Arc<Turn>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = caller.peer;
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (shared, turn) = (Arc::clone(shared), Arc::clone(turn));
        async move {
            // What is left of a body that was refused is never read: the connection is closed then.
            let answer = answer(request, caller, &shared, &turn).await.unwrap_or_else(|(why, answer)| {
                shared.admin.own.refused.inc(why);
                tracing::debug!(%peer, reason = why.as_str(), "admin: a request was refused");
                *answer
            });
            Ok::<_, Infallible>(answer)
        }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.limits.head)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
    );
    let end = async {
        tokio::select! {
            () = shared.drain.signaled() => {}
            () = sleep(shared.limits.lifetime) => {}
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
        Err(error) if error.is_parse() => {
            if error.is_parse_too_large() {
                shared.admin.own.refused.inc(AdminRefusal::Length);
            }
            shared.tell(peer, &error.to_string(), "not HTTP, closed");
        }
        Err(error) => tracing::debug!(%peer, %error, "admin: the connection ended early"),
    }
}
