//! Attaching a session to a server: connect, ask, wait for the answer; the next server if it doesn't come.
//!
//! One `ConnectRequest` of a session is under way at a time: a late revalidation on another server would take the
//! session back there (ZOOKEEPER-710, ZOOKEEPER-2886).

use super::{Ensemble, Place};
use crate::config::HostPort;
use crate::metrics::ConnectOutcome;
use crate::net::{ConnectOptions, FrameReader, Stream, connect};
use crate::time::{Boot, boot, now};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long to wait before asking for a server again when there is none at all.
const NO_SERVER: Duration = Duration::from_millis(200);

/// What is to be attached.
pub struct Wish {
    /// The `ConnectRequest`, its length in front.
    pub request: Bytes,
    /// Where the session was: tried last.
    pub avoid: Option<HostPort>,
    /// Not there at all: the session is still there.
    pub only_other: bool,
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
    let mut avoid = wish.avoid.clone();
    loop {
        let place = match ensemble.place(avoid.as_ref(), &mut rng) {
            Ok(place) if !(wish.only_other && wish.avoid.as_ref() == Some(place.at())) => place,
            refused => {
                let again = refused.err().flatten();
                let pause = again.map_or(NO_SERVER, |at| at.saturating_duration_since(now()));
                // A crowd waits for the same moment.
                let jitter = Duration::from_millis(rng.random_range(1..20));
                tokio::time::sleep(pause + jitter).await;
                continue;
            }
        };
        let at = place.at().clone();
        // The pool is never closed.
        let Ok(_turn) = ensemble.attaches.acquire().await else { continue };
        match once(&ensemble, place, &wish.request).await {
            Ok(attached) => {
                ensemble.server_is_up(&at);
                return attached;
            }
            Err(error) => ensemble.server_is_down(&at, &error),
        }
        avoid = Some(at);
    }
}

async fn once(ensemble: &Arc<Ensemble>, place: Place, request: &Bytes) -> Result<Attached, String> {
    let settings = ensemble.settings();
    let net = &settings.net;
    let options = ConnectOptions {
        timeout: net.connect_timeout.min(settings.zookeeper.attach_timeout),
        stagger: net.connect_stagger,
        keepalive: net.keepalive,
        user_timeout: net.user_timeout,
    };
    let metrics = Arc::clone(place.metrics());
    let (started, at) = (now(), place.at().clone());
    let connected = connect(&ensemble.resolver, &at.host, at.port, &options).await;
    let stream = match connected {
        Ok(connected) => connected.stream,
        Err(error) => {
            let outcome = if error.is_timeout() { ConnectOutcome::Timeout } else { ConnectOutcome::Refused };
            metrics.connect(outcome);
            return Err(error.to_string());
        }
    };
    let mut stream = Stream::from(stream);
    let mut reader = FrameReader::new(settings.zookeeper.jute_maxbuffer);
    let asked = ask(&mut stream, &mut reader, request);
    let (sent, response) = match tokio::time::timeout(settings.zookeeper.attach_timeout, asked).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => {
            metrics.connect(ConnectOutcome::Error);
            return Err(error);
        }
        Err(_) => {
            metrics.connect(ConnectOutcome::Timeout);
            return Err("it accepted the connection and did not answer".to_owned());
        }
    };
    metrics.connect(ConnectOutcome::Ok);
    metrics.connect_seconds.observe(now().saturating_duration_since(started).as_secs_f64());
    Ok(Attached { place, stream, reader, response, sent })
}

async fn ask(
    stream: &mut Stream,
    reader: &mut FrameReader,
    request: &Bytes,
) -> Result<(Boot, Bytes), String> {
    let sent = boot();
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    match poll_fn(|cx| reader.poll_frame(cx, stream)).await {
        Ok(Some(response)) => Ok((sent, response)),
        // Without a quorum, behind the client's last zxid, or read-only: it closes without a word.
        Ok(None) => Err("it closed the connection without an answer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
