//! Floor 2, `tls`: encrypted connections to members, a listener's side of clients' (`clients`), and that of controllers' (`server`).
//!
//! What it is: the files of a cluster's `[….tls]` table become a client's settings (`files`), read again when they change; a
//! handshake that fails says why in one line (`why`), and what certificates say of themselves is for people to read (`certificate`). Sessions are resumed on reconnect, as long as the files stay.
//!
//! May import: `config`, `files`, `findings`. Must never: show what is in a key file, or go on without a check of the peer's certificate.

mod certificate;
mod clients;
mod files;
mod server;
mod why;

use crate::config::Tls as Options;
use files::Kept;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use certificate::{Certificate, Seen, finding, of_file, seen};
pub use clients::{Clients, Fault, NoClient, ServedStream};
pub use files::{faults, listener_faults};
pub use server::{Accepted, Server};
pub use tokio_rustls::client::TlsStream;
use why::is_loss;
pub use why::{Why, explain, is_alert, is_of_tls};

/// Why there is no encrypted connection. One line, which names the file or the peer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or doesn't hold what it should.
    #[error("{path}: {why}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no certificates of authorities.
    #[error("no certificate of an authority was found on this system; name a file of them as tls.ca ({0})")]
    NoRoots(String),
    /// A listener has no certificate of its own.
    #[error("a listener needs a certificate and its key")]
    NoCertificate,
    /// The peer's name can't stand in a certificate.
    #[error("{0:?} is no name that a certificate can be checked against")]
    Name(String),
    /// The handshake failed.
    #[error("{addr}: {why}")]
    Handshake {
        /// The address that took the connection.
        addr: SocketAddr,
        /// In words of the user's.
        why: Why,
    },
    /// A peer with which handshakes have succeeded closed the connection within one, without a word: as a member does that is stopped.
    #[error("{addr}: it closed the connection in the TLS handshake")]
    Lost {
        /// The address that took the connection.
        addr: SocketAddr,
    },
}

impl TlsError {
    /// What to set or to do, in one line.
    pub fn remedy(&self) -> String {
        match self {
            Self::File { path, .. } => {
                format!("mend {}: whole PEM files that Evenkeel's user may read", path.display())
            }
            Self::NoRoots(_) => {
                "set tls.ca to a file with the certificate of the authority that issued the members'"
                    .to_owned()
            }
            Self::NoCertificate => "set a certificate and its key".to_owned(),
            Self::Name(_) => {
                "name the member by a host name or an address that can stand in a certificate".to_owned()
            }
            Self::Handshake { why, .. } => why.remedy().to_owned(),
            Self::Lost { .. } => {
                "nothing, if it is being stopped; if it stays so, see the member's own log".to_owned()
            }
        }
    }
}

/// The settings that a cluster's connections are encrypted with; read when they are first needed, and again when a file has changed.
#[derive(Debug)]
pub struct Tls {
    loaded: Kept<rustls::ClientConfig>,
    /// Names and ports with which a handshake has succeeded.
    spoken: Mutex<BTreeSet<(String, u16)>>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// Nothing read yet.
    pub const fn new() -> Self {
        Self { loaded: Kept::new(), spoken: Mutex::new(BTreeSet::new()) }
    }

    /// Encrypts a fresh connection to the peer called `host`, whose certificate must be good for that name. There is no bound in time.
    ///
    /// # Errors
    /// [`TlsError`]; nothing of a protocol was sent.
    pub async fn connect(
        &self,
        options: &Options,
        stream: TcpStream,
        host: &str,
        addr: SocketAddr,
    ) -> Result<Box<TlsStream<TcpStream>>, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        let settings = files::current(&self.loaded, options, files::load)?;
        let connected = TlsConnector::from(settings).connect(name, stream).await;
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = (host.to_owned(), addr.port());
        match connected {
            Ok(stream) => {
                spoken.insert(peer);
                Ok(Box::new(stream))
            }
            Err(error) if is_loss(&error) && spoken.contains(&peer) => Err(TlsError::Lost { addr }),
            Err(error) => Err(TlsError::Handshake { addr, why: explain(&error, options, host) }),
        }
    }
}

/// Whether a handshake went on with a session from before.
pub fn is_resumed(kind: HandshakeKind) -> bool {
    !matches!(kind, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
}

/// Whether these files can be used.
///
/// # Errors
/// The first that can't.
pub fn check(options: &Options) -> Result<(), TlsError> {
    files::load(options).map(drop)
}

#[cfg(test)]
mod tests;
