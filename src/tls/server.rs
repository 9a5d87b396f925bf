//! A listener's side: its certificate, and what it makes of a client's.

use super::TlsError;
use super::files::{self, Kept, certificates, pair, private_key, wrong};
use crate::config::Tls as Options;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
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
        server.loaded.now(&server.options, load)?;
        Ok(server)
    }

    /// The handshake, without a bound in time.
    ///
    /// # Errors
    /// [`TlsError::Handshake`].
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Result<Accepted, TlsError> {
        let settings = self.loaded.now(&self.options, load)?;
        let accepted = TlsAcceptor::from(settings).accept(stream).await;
        let stream = accepted.map_err(|error| TlsError::Handshake { addr: peer, why: error.to_string() })?;
        // Those that don't hold were refused in the handshake.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
        Ok(Accepted { stream: Box::new(stream), certified })
    }
}

fn load(options: &Options) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsError::NoRoots(error.to_string()))?;
    let builder = match &options.ca {
        Some(ca) => {
            let roots = Arc::new(files::roots_of(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(ca, error.to_string()))?)
        }
        None => builder.with_no_client_auth(),
    };
    let (Some(certificate), Some(key)) = (&options.certificate, &options.key) else {
        return Err(TlsError::NoCertificate);
    };
    let settings = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    Ok(Arc::new(settings.map_err(|error| wrong(key, pair(&error, certificate)))?))
}
