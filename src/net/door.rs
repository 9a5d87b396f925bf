//! The door of a cluster's listeners: clients' connections are encrypted there, if they are to be. It stands behind the accepting, so that
//! no client waits for another's handshake; each has a bound in time, and all of them one in number.
//!
//! May import: `config`, `lifecycle`, `metrics`, `tls`. Must never: let a client in whose handshake has failed.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::stream::Stream;
use crate::config::Tls as Options;
use crate::lifecycle::Drain;
use crate::metrics::{ClientHandshake, ClientHandshakes, TlsHandshake};
use crate::tls::{Clients, Fault, NoClient};

/// A client that has not finished its handshake by then is let go, the wait for its turn included.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once. Far more than are at work at any moment: most of them wait for the other side, and some are idle on purpose.
const AT_ONCE: usize = 1024;

/// Between two lines about clients that are not let in: one that tries again and again must not fill the log.
const QUIET: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Door {
    clients: Clients,
    turns: Semaphore,
    /// When one was told of last, and how many since then were not.
    told: Mutex<(Option<Instant>, u64)>,
}

impl Default for Door {
    fn default() -> Self {
        Self { clients: Clients::default(), turns: Semaphore::new(AT_ONCE), told: Mutex::default() }
    }
}

impl Door {
    /// Lets a client in, by a handshake with these files. Nothing if it isn't let in, which is counted and said, and nothing when the
    /// process drains.
    pub async fn enter(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        options: Options,
        drain: &Drain,
        metrics: &ClientHandshakes,
    ) -> Option<Stream> {
        let handshake = async {
            // It is never closed.
            let _turn = self.turns.acquire().await.ok();
            self.clients.accept(&options, stream).await
        };
        let ended = tokio::select! {
            () = drain.signaled() => return None,
            ended = tokio::time::timeout(HANDSHAKE, handshake) => ended,
        };
        let (outcome, why) = match ended {
            Ok(Ok(stream)) => {
                let stream = Stream::Served(stream);
                metrics.inc(match stream.handshake() {
                    Some(TlsHandshake::Resumed) => ClientHandshake::Resumed,
                    _ => ClientHandshake::Full,
                });
                return Some(stream);
            }
            Ok(Err(NoClient::Files(error))) => (ClientHandshake::Files, error.to_string()),
            Ok(Err(NoClient::Peer(fault, why))) => (of(fault), why),
            Err(_) => (ClientHandshake::Timeout, format!("its TLS handshake took longer than {HANDSHAKE:?}")),
        };
        metrics.inc(outcome);
        self.tell(peer, &why);
        None
    }

    fn tell(&self, peer: SocketAddr, why: &str) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.is_some_and(|last| now < last + QUIET) {
            told.1 += 1;
            tracing::debug!(%peer, why, "client not let in");
            return;
        }
        let untold = std::mem::take(&mut told.1);
        told.0 = Some(now);
        tracing::warn!(%peer, why, untold, "client not let in");
    }
}

fn of(fault: Fault) -> ClientHandshake {
    match fault {
        Fault::NotTls => ClientHandshake::NotTls,
        Fault::Certificate => ClientHandshake::Certificate,
        Fault::Distrust => ClientHandshake::Distrust,
        Fault::Other => ClientHandshake::Broken,
    }
}
