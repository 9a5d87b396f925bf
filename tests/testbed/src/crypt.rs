//! Connections that are encrypted, or not: blocking ones, of programs that nobody measures. Imports bare connections and the error.

use std::fmt::Display;
use std::io::{Read, Result as Io, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::raw::connect;
use crate::{Error, Result};

/// What a client encrypts with.
pub type Settings = Arc<ClientConfig>;

/// A connection.
#[derive(Debug)]
pub enum Crypt {
    /// In plain text.
    Plain(TcpStream),
    /// A client's side of an encrypted one.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A server's side.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

fn failed(error: &impl Display) -> Error {
    Error::program("TLS", error.to_string())
}

/// What a server encrypts with: the key and the certificate in this file (PEM).
///
/// # Errors
/// The file can't be used.
pub fn server(store: &Path) -> Result<Arc<ServerConfig>> {
    let key = PrivateKeyDer::from_pem_file(store).map_err(|error| failed(&error))?;
    let certificate = CertificateDer::from_pem_file(store).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(&error))?.with_no_client_auth();
    Ok(Arc::new(builder.with_single_cert(vec![certificate], key).map_err(|error| failed(&error))?))
}

/// What a client encrypts with that trusts this authority (PEM); `resumes`: it goes on with sessions from before.
///
/// # Errors
/// That is no certificate.
pub fn client(authority: &str, resumes: bool) -> Result<Settings> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|error| failed(&error))?;
    roots.add(authority).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(&error))?;
    let mut settings = builder.with_root_certificates(roots).with_no_client_auth();
    if !resumes {
        settings.resumption = Resumption::disabled();
    }
    Ok(Arc::new(settings))
}

impl Crypt {
    /// Connects; encrypted if there is something to encrypt with, and then its handshake is over.
    ///
    /// # Errors
    /// It can't connect, or the handshake fails.
    pub fn connect(at: SocketAddr, settings: Option<&Settings>) -> Result<Self> {
        let mut stream = connect(at)?;
        stream.set_nodelay(true).map_err(Error::io("setting a socket's option"))?;
        let Some(settings) = settings else { return Ok(Self::Plain(stream)) };
        let name = ServerName::from(at.ip());
        let mut session =
            ClientConnection::new(Arc::clone(settings), name).map_err(|error| failed(&error))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(Error::io(format!("the TLS handshake with {at}")))?;
        }
        Ok(Self::Client(Box::new(StreamOwned::new(session, stream))))
    }

    /// A server's side.
    ///
    /// # Errors
    /// The settings can't be used.
    pub fn accept(stream: TcpStream, settings: Option<Arc<ServerConfig>>) -> Result<Self> {
        stream.set_nodelay(true).map_err(Error::io("setting a socket's option"))?;
        let Some(settings) = settings else { return Ok(Self::Plain(stream)) };
        let session = ServerConnection::new(settings).map_err(|error| failed(&error))?;
        Ok(Self::Server(Box::new(StreamOwned::new(session, stream))))
    }

    /// Its socket.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }

    /// Says that there will be no more.
    pub fn end(&mut self) {
        if let Self::Client(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

impl Read for Crypt {
    fn read(&mut self, room: &mut [u8]) -> Io<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Client(stream) => stream.read(room),
            Self::Server(stream) => stream.read(room),
        }
    }
}

impl Write for Crypt {
    fn write(&mut self, bytes: &[u8]) -> Io<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Client(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Io<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}
