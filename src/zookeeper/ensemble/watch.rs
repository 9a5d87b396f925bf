//! The task that looks at the servers of an ensemble: are they there, what are they (`srvr`).
//!
//! `srvr` is the one four-letter word that servers answer by default (`4lw.commands.whitelist`). Where it is not
//! allowed, its refusal shows that the server is up, and nothing more. A good answer is no proof that writes work.

use super::attach::accepts as accepts_session;
use super::check::Told;
use super::failure::Failure;
use super::follow::{NOBODY, session_request};
use super::{Ensemble, Health, lock};
use crate::config::HostPort;
use crate::metrics::ConnectOutcome;
use crate::net::{ConnectOptions, Secure, connect, secured};
use crate::time::now;
use crate::zookeeper::words::{Mode, read_srvr, read_zxid};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

/// Between looks at a server that is up.
const PAUSE: Duration = Duration::from_secs(10);
/// Between looks at one that is not: sessions that wait try it themselves, with their own back-off.
const PAUSE_DOWN: Duration = Duration::from_secs(1);
/// Between looks at all; and at a drained server, whose mode decides who waits, and at those that may lead when it has gone.
const LEAST: Duration = Duration::from_millis(100);
/// For one answer.
const BOUND: Duration = Duration::from_secs(2);
/// The most that is read of an answer: those of `dump` and `wchp` can be long.
const ANSWER_MOST: u64 = 4 * 1024 * 1024;

/// Looks at each server for as long as the process lives.
pub async fn watch(ensemble: Arc<Ensemble>) {
    let mut looks = JoinSet::new();
    let mut looked: BTreeMap<HostPort, AbortHandle> = BTreeMap::new();
    loop {
        let listed: Vec<HostPort> =
            ensemble.read(|servers| servers.all().iter().map(|server| server.at.clone()).collect());
        looked.retain(|at, task| {
            let stays = listed.contains(at);
            if !stays {
                task.abort();
            }
            stays
        });
        for at in listed {
            looked.entry(at.clone()).or_insert_with(|| looks.spawn(look(Arc::clone(&ensemble), at)));
        }
        while looks.try_join_next().is_some() {}
        ensemble.poke.notified().await;
    }
}

async fn look(ensemble: Arc<Ensemble>, at: HostPort) {
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let mut look_now = ensemble.look_now.subscribe();
    let (mut proved, mut was_up) = (None, false);
    loop {
        look_now.mark_unchanged();
        let asked = now();
        let answer = tokio::time::timeout(BOUND, ask_telling(&ensemble, &at, b"srvr", None)).await;
        let answer = match answer.unwrap_or(Err(Failure::Silent)) {
            Err(Failure::Silent) if !was_up => Err(why_silent(&ensemble, &at).await),
            answer => answer,
        };
        let failure = match answer {
            Ok(text) => {
                let (version, mode, serves) = parse(&String::from_utf8_lossy(&text));
                if let Some(server) = lock(&ensemble.servers).get_mut(&at) {
                    if version.is_some() && server.version != version {
                        tracing::info!(server = %at, version = version.as_deref(), "server's version");
                    }
                    (server.mode, server.version) = (mode, version.or(server.version.take()));
                }
                (!serves).then(|| Failure::unserved(&text, &at))
            }
            Err(failure) => Some(failure),
        };
        let up = failure.is_none();
        was_up |= up;
        if let Some(failure) = &failure {
            let outcome = failure.outcome();
            ensemble.metrics.member(&at.to_string()).connect(outcome);
            ensemble.say_unready(outcome);
        }
        if let Some(server) = lock(&ensemble.servers).get_mut(&at) {
            server.looked = Some(asked);
        }
        ensemble.look_whether_quiet();
        let denied = if up { denial(&ensemble, &at, &mut proved).await } else { None };
        if let Some(why) = denied {
            ensemble.say_unready(ConnectOutcome::Sasl);
            ensemble.server_is_down(&at, &why);
        } else if up {
            ensemble.server_is_up(&at);
        } else if ensemble.read(|s| s.get(&at).is_none_or(|s| s.health != Health::Up || s.sessions == 0)) {
            // One that sessions still use is not called down for a probe that failed: they know better.
            let why = failure.map_or_else(String::new, |failure| failure.to_string());
            ensemble.server_is_down(&at, &why);
        }
        let quiet = ensemble.is_quiet();
        let pause = match (ensemble.read(|servers| servers.is_urgent(&at, quiet, now())), up) {
            (true, _) => LEAST,
            (false, true) => PAUSE,
            (false, false) => PAUSE_DOWN,
        };
        // However often it is asked for, not without a pause.
        tokio::time::sleep(LEAST).await;
        let rest = pause.mul_f64(rng.random_range(0.75..1.25)).saturating_sub(LEAST);
        let _ = tokio::time::timeout(rest, look_now.changed()).await;
    }
}

/// Why a server that says that it serves would not take a session, as far as that is about our credentials: `srvr` needs none. One that has
/// taken a session isn't asked; one that refuses them is asked again after a while, or sooner by a client's session. `tried`: when that was last.
async fn denial(ensemble: &Arc<Ensemble>, at: &HostPort, tried: &mut Option<Instant>) -> Option<String> {
    if ensemble.look_at_settings(|settings| settings.zookeeper.sasl.held().is_none()) {
        return None;
    }
    let accepts = ensemble.read(|servers| servers.get(at).and_then(|server| server.accepts));
    if accepts == Some(true) {
        return None;
    }
    if accepts == Some(false) && tried.is_some_and(|last| now() < last + PAUSE) {
        return Some("it does not accept our credentials".to_owned());
    }
    *tried = Some(now());
    let said = accepts_session(ensemble, at).await?;
    ensemble.server_accepts(at, said.is_ok());
    said.err()
}

/// Asks a server a four-letter word, and reads until it closes.
pub(super) async fn ask_word(ensemble: &Ensemble, at: &HostPort, word: [u8; 4]) -> Result<Vec<u8>, String> {
    ask_telling(ensemble, at, &word, None).await.map_err(|failure| failure.to_string())
}

/// Sends a server these bytes, and reads until it closes. `told`: how far it has come, for who wants to know.
pub(super) async fn ask_telling(
    ensemble: &Ensemble,
    at: &HostPort,
    bytes: &[u8],
    told: Option<&mut Told>,
) -> Result<Vec<u8>, Failure> {
    let settings = ensemble.settings();
    let options = ConnectOptions::of(&settings.net);
    let secure = Secure { tls: &ensemble.tls, options: &settings.zookeeper.tls };
    let connected = connect(&ensemble.resolver, &at.host, at.port, &options, secure).await?;
    if let Some(told) = told {
        told.connected(&connected);
    }
    let mut stream = connected.stream;
    ensemble.metrics.member(&at.to_string()).handshake(stream.handshake());
    let broken = |error: io::Error| Failure::broken(&error, &settings, at);
    stream.write_all(bytes).await.map_err(broken)?;
    let mut text = Vec::new();
    let mut stream = stream.take(ANSWER_MOST);
    let read = stream.read_to_end(&mut text);
    match tokio::time::timeout(settings.net.connect_timeout, read).await {
        Ok(Ok(_)) => Ok(text),
        // An encrypted connection whose end nobody has announced: what was said is judged by itself.
        Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(text),
        Ok(Err(error)) => Err(broken(error)),
        Err(_) => Err(Failure::Silent),
    }
}

/// Why a server says nothing to a word. An encrypted port waits for more (a record of TLS has five bytes in front, and Netty judges none before they
/// are there), and closes when it comes; a server that hangs stays silent. The request is for a session that there can't be.
pub(super) async fn why_silent(ensemble: &Ensemble, at: &HostPort) -> Failure {
    if ensemble.look_at_settings(|settings| settings.zookeeper.tls.enabled) {
        return Failure::Silent;
    }
    let request = session_request(NOBODY, 1);
    match tokio::time::timeout(BOUND, ask_telling(ensemble, at, &request, None)).await {
        Ok(Ok(answer)) => Failure::silent_at_first(&answer, at),
        Ok(Err(_)) | Err(_) => Failure::Silent,
    }
}

/// Between questions how far a server has come.
const AGAIN: Duration = Duration::from_millis(2);

/// Waits until the server at `peer` says that it has applied this transaction: then it has queued what that one makes it tell
/// (`DataTree.processTxn` triggers watches before it counts the transaction as processed). Answers how far it has come; nothing if
/// it says nothing of the kind, as when the word is not allowed.
pub async fn has_reached(ensemble: Arc<Ensemble>, at: HostPort, peer: SocketAddr, zxid: i64) -> Option<i64> {
    let settings = ensemble.settings();
    let options = ConnectOptions::of(&settings.net);
    let secure = Secure { tls: &ensemble.tls, options: &settings.zookeeper.tls };
    let asked = async {
        loop {
            let stream = TcpStream::connect(peer).await.ok()?;
            let mut stream = secured(stream, peer, &at.host, &options, secure).await.ok()?;
            stream.write_all(b"srvr").await.ok()?;
            let mut text = Vec::new();
            stream.take(ANSWER_MOST).read_to_end(&mut text).await.ok()?;
            let reached = read_zxid(&String::from_utf8_lossy(&text))?;
            if reached >= zxid {
                return Some(reached);
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(BOUND, asked).await.ok().flatten()
}

/// What a server says of itself: version, mode, and whether it serves. One that refuses the word is there all the same.
pub(super) fn parse(text: &str) -> (Option<Box<str>>, Option<Mode>, bool) {
    let (version, mode) = read_srvr(text);
    (version.map(Into::into), mode, mode.is_some() || text.contains("not in the whitelist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_no_quorum_does_not_serve() {
        assert!(!parse("This ZooKeeper instance is not currently serving requests\n").2);
        assert!(!parse("").2);
        assert_eq!(parse("Zookeeper version: 3.9.5-x, built\nMode: follower\n").1, Some(Mode::Follower));
    }

    #[test]
    fn one_that_refuses_the_word_is_there() {
        assert_eq!(parse("srvr is not executed because it is not in the whitelist.\n"), (None, None, true));
    }
}
