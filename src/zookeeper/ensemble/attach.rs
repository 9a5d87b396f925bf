//! Attaching a session to a server: connect, ask, wait for the answer; the next server if it doesn't come. With credentials of our
//! own it is proved whose the session is before anything else is said.
//!
//! One `ConnectRequest` of a session is under way at a time: a late revalidation on another server would take the
//! session back there (ZOOKEEPER-710, ZOOKEEPER-2886).

use super::failure::Failure;
use super::follow::{end, own_session};
use super::{Ensemble, Place, Settings};
use crate::config::HostPort;
use crate::metrics::ConnectOutcome;
use crate::metrics::zookeeper::AttachOutcome;
use crate::net::{ConnectOptions, FrameReader, Secure, Stream, connect};
use crate::retry::Backoff;
use crate::time::{Boot, boot, now};
use crate::zookeeper::sasl::{self, SaslError};
use crate::zookeeper::wire::ConnectResponse;
use bytes::Bytes;
use prometheus::IntGauge;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long to wait before asking for a server again when there is none at all.
const NO_SERVER: Duration = Duration::from_millis(200);

/// The longest answer. Servers bound requests (`jute.maxbuffer`), not answers: the list of a node's children can be longer than
/// any request, and a client that takes it gets it.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// What is to be attached.
pub struct Wish {
    /// The `ConnectRequest`, its length in front.
    pub request: Bytes,
    /// Where the session was: tried last.
    pub avoid: Option<HostPort>,
    /// Not there at all: the session is still there.
    pub only_other: bool,
    /// Before anything is tried.
    pub pause: Duration,
}

/// A session on a server.
pub struct Attached {
    /// The place there.
    pub place: Place,
    /// The connection; nothing is under way on it.
    pub stream: Stream,
    /// Its reader, which may hold bytes already.
    pub reader: FrameReader,
    /// The `ConnectResponse`, without its length.
    pub response: Bytes,
    /// When the request was sent.
    pub sent: Boot,
}

/// Attaches to one server after another until one answers, whatever it answers. Never ends without: dropping it gives up.
pub async fn attach(ensemble: Arc<Ensemble>, wish: Wish) -> Attached {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    // Where it may not go is tried when everything else was tried for ever.
    let first = if wish.only_other { u32::MAX } else { 1 };
    let mut tried: Vec<(HostPort, u32)> = wish.avoid.iter().map(|at| (at.clone(), first)).collect();
    let retry = ensemble.settings().retry.clone();
    let (mut closings, mut backoff) = (0, Backoff::new(retry.min, retry.max));
    if !wish.pause.is_zero() {
        tokio::time::sleep(wish.pause).await;
    }
    loop {
        // The pool is never closed. First the turn, then the server: a crowd that had chosen one before its turn would try it
        // one by one, long after the first of them has found it dead.
        let waiting = Counted::new(&ensemble.metrics.attach_waiting);
        let Ok(turn) = ensemble.attaches.acquire().await else { continue };
        drop(waiting);
        let attaching = Counted::new(&ensemble.metrics.attaching);
        let place = match ensemble.place(&tried, &mut rng) {
            Ok(place) if !(wish.only_other && wish.avoid.as_ref() == Some(place.at())) => place,
            refused => {
                drop((turn, attaching));
                let again = refused.err().flatten();
                let pause = again.map_or(NO_SERVER, |at| at.saturating_duration_since(now()));
                // A crowd waits for the same moment.
                let jitter = Duration::from_millis(rng.random_range(1..20));
                tokio::time::sleep(pause + jitter).await;
                continue;
            }
        };
        let at = place.at().clone();
        // At a server that doesn't accept our credentials one session tries for all.
        let denied = ensemble.read(|servers| servers.get(&at).is_some_and(|s| s.accepts == Some(false)));
        let alone = denied.then(|| ensemble.proving.try_acquire());
        if matches!(alone, Some(Err(_))) {
            drop((turn, attaching, place));
            tokio::time::sleep(NO_SERVER + Duration::from_millis(rng.random_range(1..20))).await;
            continue;
        }
        let attempt = once(&ensemble, place, &wish.request).await;
        if let Some(outcome) = outcome(&attempt) {
            ensemble.metrics.attaches.inc(outcome);
        }
        match attempt {
            Ok(attached) => {
                ensemble.server_accepts(&at, true);
                ensemble.server_is_up(&at);
                return attached;
            }
            Err(Failure::Closed) if !ensemble.is_refusing(&at) => {
                // It may be for what this session asks: that is nobody else's business.
                closings += 1;
                drop((turn, attaching));
                if closings >= ensemble.read(|servers| servers.all().len()) {
                    tokio::time::sleep(backoff.next(&mut rng)).await;
                }
            }
            Err(failure) => {
                if matches!(failure, Failure::Sasl(_)) {
                    ensemble.server_accepts(&at, false);
                }
                ensemble.server_is_down(&at, &failure.to_string());
            }
        }
        match tried.iter_mut().find(|(other, _)| *other == at) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => tried.push((at, 1)),
        }
    }
}

/// How an attempt ended, as it is counted; one that found no connection is counted as that.
fn outcome(attempt: &Result<Attached, Failure>) -> Option<AttachOutcome> {
    Some(match attempt {
        Ok(attached) => match ConnectResponse::decode(&attached.response) {
            Ok(response) if response.is_expired() => AttachOutcome::Expired,
            Ok(_) => AttachOutcome::Attached,
            Err(_) => AttachOutcome::Malformed,
        },
        Err(Failure::Closed) => AttachOutcome::Closed,
        Err(Failure::Silent) => AttachOutcome::Timeout,
        Err(_) => return None,
    })
}

/// One in a gauge, for as long as it lives.
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether a server serves sessions with our credentials, by one that is ended at once; nothing if that can't be told.
pub(super) async fn accepts(ensemble: &Arc<Ensemble>, at: &HostPort) -> Option<Result<(), String>> {
    let place = ensemble.place_at(at)?;
    let request = own_session().request;
    match once(ensemble, place, &request).await {
        Ok(attached) => {
            end(attached).await;
            Some(Ok(()))
        }
        Err(Failure::Sasl(why)) => Some(Err(why)),
        Err(_) => None,
    }
}

/// One attempt to attach at a place, and with credentials of our own to prove them there.
pub(super) async fn once(
    ensemble: &Arc<Ensemble>,
    place: Place,
    request: &Bytes,
) -> Result<Attached, Failure> {
    let settings = ensemble.settings();
    let net = &settings.net;
    let timeout = net.connect_timeout.min(settings.zookeeper.attach_timeout);
    let options = ConnectOptions { timeout, ..ConnectOptions::of(net) };
    let secure = Secure { tls: &ensemble.tls, options: &settings.zookeeper.tls };
    let metrics = Arc::clone(place.metrics());
    let (started, at) = (now(), place.at().clone());
    let connected = connect(&ensemble.resolver, &at.host, at.port, &options, secure).await;
    let mut stream = match connected {
        Ok(connected) => {
            metrics.handshake(connected.stream.handshake());
            connected.stream
        }
        Err(error) => {
            metrics.connect(error.outcome());
            return Err(Failure::Connect(error));
        }
    };
    let mut reader = FrameReader::new(settings.zookeeper.jute_maxbuffer.max(LONGEST_ANSWER));
    let asked = ask(&mut stream, &mut reader, request, &settings, &at);
    let (sent, response) = match tokio::time::timeout(settings.zookeeper.attach_timeout, asked).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(failure)) => {
            metrics.connect(failure.outcome());
            return Err(failure);
        }
        Err(_) => {
            metrics.connect(ConnectOutcome::Timeout);
            return Err(Failure::Silent);
        }
    };
    let granted = ConnectResponse::decode(&response).is_ok_and(|response| !response.is_expired());
    if let Some((username, file)) = settings.zookeeper.sasl.held().filter(|_| granted) {
        let name = &settings.zookeeper.name;
        let proof = async {
            let password = ensemble.held.password(file).map_err(SaslError::Refused)?;
            sasl::authenticate(&mut stream, &mut reader, username, &password).await
        };
        let failed = match tokio::time::timeout(settings.zookeeper.attach_timeout, proof).await {
            Ok(Ok(())) => None,
            Ok(Err(SaslError::Refused(why))) => {
                let text = format!("SASL as {username} in ensemble {name}: {why}");
                Some((ConnectOutcome::Sasl, Failure::Sasl(text)))
            }
            Ok(Err(lost)) => Some((ConnectOutcome::Error, Failure::Unproven(lost.to_string()))),
            Err(_) => Some((ConnectOutcome::Timeout, Failure::Silent)),
        };
        if let Some((outcome, failure)) = failed {
            metrics.connect(outcome);
            return Err(failure);
        }
    }
    metrics.connect(ConnectOutcome::Ok);
    metrics.connect_seconds.observe(now().saturating_duration_since(started).as_secs_f64());
    Ok(Attached { place, stream, reader, response, sent })
}

async fn ask(
    stream: &mut Stream,
    reader: &mut FrameReader,
    request: &Bytes,
    settings: &Settings,
    at: &HostPort,
) -> Result<(Boot, Bytes), Failure> {
    let sent = boot();
    stream.write_all(request).await.map_err(|error| Failure::broken(&error, settings, at))?;
    match poll_fn(|cx| reader.poll_frame(cx, stream)).await {
        Ok(Some(response)) => Ok((sent, response)),
        Ok(None) => Err(Failure::Closed),
        Err(error) => Err(Failure::unread(&error, settings, at)),
    }
}
