//! A listener's side: its certificate, and what it makes of a client's.

use super::files::{Kept, Shown, current, load_listener};
use super::{TlsError, Why};
use crate::config::Tls as Options;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What a listener is encrypted with; its files are read again when they change.
#[derive(Debug)]
pub struct Server {
    options: Options,
    loaded: Kept<ServerConfig>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Box<TlsStream<TcpStream>>,
    /// Whether the peer has shown a certificate of an authority that counts.
    pub certified: bool,
}

impl Server {
    /// With these files: a certificate and its key; with `ca` clients may show a certificate, which must be of one of its authorities.
    ///
    /// # Errors
    /// The first file that can't be used.
    pub fn new(options: Options) -> Result<Self, TlsError> {
        let server = Self { options, loaded: Kept::new() };
        current(&server.loaded, &server.options, load)?;
        Ok(server)
    }

    /// The handshake, without a bound in time.
    ///
    /// # Errors
    /// [`TlsError::Handshake`].
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Result<Accepted, TlsError> {
        let settings = current(&self.loaded, &self.options, load)?;
        let accepted = TlsAcceptor::from(settings).accept(stream).await;
        let stream =
            accepted.map_err(|error| TlsError::Handshake { addr: peer, why: Why::of_a_client(&error) })?;
        // Those that don't hold were refused in the handshake.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        Ok(Accepted { stream: Box::new(stream), certified })
    }
}

fn load(options: &Options) -> Result<Arc<ServerConfig>, TlsError> {
    load_listener(options, Shown::May)
}
