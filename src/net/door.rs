//! The door of a cluster's listeners: clients' connections are encrypted there, if they are to be. It stands behind the accepting, so that
//! no client waits for another's handshake; each has a bound in time, and all of them one in number. What is said of clients that are closed
//! has a bound, too: anyone can bring it about.
//!
//! May import: `config`, `lifecycle`, `metrics`, `tls`. Must never: let a client in whose handshake has failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::crowd::Seldom;
use super::stream::Stream;
use super::turns::Turns;
use crate::config::Tls as Options;
use crate::lifecycle::Drain;
use crate::metrics::{ClientHandshake, ClientHandshakes, TlsHandshake};
use crate::tls::{Clients, Fault, NoClient};
use tokio::net::TcpStream;

/// A client that has not finished its handshake by then is let go.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once, of clients that have said something. Far more than are at work at any moment: most of them wait for the other side,
/// and some are idle on purpose. For one more the oldest gives way: it had the longest time.
const AT_ONCE: usize = 1024;
/// Not before it had so long, or a crowd that comes at once would push itself out; one more waits until then. Libraries take the end of a
/// connection in its handshake for wrong credentials.
const ITS_OWN: Duration = Duration::from_secs(2);

/// Between two lines about clients that are not let in: one that tries again and again must not fill the log.
const QUIET: Duration = Duration::from_secs(5);
/// In the same time so many lines about clients that were let in and closed, at most: each may be another application's mistake.
const CLOSED: u32 = 10;

/// See the module.
#[derive(Debug)]
pub struct Door {
    clients: Clients,
    turns: Arc<Turns>,
    told: Seldom,
    closed: Seldom,
}

impl Default for Door {
    fn default() -> Self {
        Self::of(AT_ONCE)
    }
}

impl Door {
    /// With so many handshakes at once.
    fn of(at_once: usize) -> Self {
        let (clients, turns) = (Clients::default(), Turns::new(at_once));
        Self { clients, turns, told: Seldom::new(1, QUIET), closed: Seldom::new(CLOSED, QUIET) }
    }

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
            // One that says nothing takes no turn, and readiness alone may be a mistake. What else may be the matter the handshake finds.
            let _ = stream.peek(&mut [0]).await;
            let turn = self.turns.wait(ITS_OWN).await;
            tokio::select! {
                biased;
                accepted = self.clients.accept(&options, stream) => Some(accepted),
                () = turn.lost() => None,
            }
        };
        let ended = tokio::select! {
            () = drain.signaled() => return None,
            ended = tokio::time::timeout(HANDSHAKE, handshake) => ended,
        };
        let (outcome, why) = match ended {
            Ok(Some(Ok(stream))) => {
                let stream = Stream::Served(stream);
                metrics.inc(match stream.handshake() {
                    Some(TlsHandshake::Resumed) => ClientHandshake::Resumed,
                    _ => ClientHandshake::Full,
                });
                return Some(stream);
            }
            Ok(Some(Err(NoClient::Files(error)))) => (ClientHandshake::Files, error.to_string()),
            Ok(Some(Err(NoClient::Peer(fault, why)))) => (of(fault), why),
            Ok(None) => (
                ClientHandshake::GaveWay,
                "its TLS handshake was the oldest of too many at once, and gave way".to_owned(),
            ),
            Err(_) => (ClientHandshake::Timeout, format!("its TLS handshake took longer than {HANDSHAKE:?}")),
        };
        metrics.inc(outcome);
        self.tell(peer, &why);
        None
    }

    /// Says that a client's connection was closed for what it sent or is: as a warning, unless there were many.
    pub fn tell_closed(&self, peer: SocketAddr, reason: &str, what: &'static str) {
        match self.closed.may() {
            Some(untold) => tracing::warn!(%peer, reason, untold, "client connection closed{what}"),
            None => tracing::debug!(%peer, reason, "client connection closed{what}"),
        }
    }

    fn tell(&self, peer: SocketAddr, why: &str) {
        match self.told.may() {
            Some(untold) => tracing::warn!(%peer, why, untold, "client not let in"),
            None => tracing::debug!(%peer, why, "client not let in"),
        }
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

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
