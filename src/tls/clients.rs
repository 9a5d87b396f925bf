//! A listener's side of clients' connections: its certificate, and what it wants of them.

use super::TlsError;
use super::files::{Kept, Shown, current, load_listener};
use crate::config::Tls as Options;
use rustls::{Error, ServerConfig};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A client's encrypted connection. Its end is said (`close_notify`), as far as the client takes that at once: libraries tell an end without a
/// word from one that was meant.
#[derive(Debug)]
pub struct ServedStream(pub(crate) TlsStream<TcpStream>);

impl Drop for ServedStream {
    fn drop(&mut self) {
        let (socket, connection) = self.0.get_mut();
        connection.send_close_notify();
        let mut last = Vec::new();
        while connection.wants_write() && connection.write_tls(&mut last).is_ok() {}
        let _ = socket.try_write(&last);
    }
}

/// What clients' connections are encrypted with: a certificate and its key; with `ca` a client must show a certificate of one of its
/// authorities. The files are read when they are first needed, and again when they have changed.
#[derive(Debug, Default)]
pub struct Clients {
    loaded: Kept<ServerConfig>,
}

/// Why a client's connection is not encrypted.
#[derive(Debug)]
pub enum NoClient {
    /// Our own files can't be used.
    Files(TlsError),
    /// Something about the client, in words.
    Peer(Fault, String),
}

/// Whose fault it is, or what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It speaks something else than TLS.
    NotTls,
    /// It shows no certificate, or none that is good.
    Certificate,
    /// It does not trust ours.
    Distrust,
    /// It went, or anything else.
    Other,
}

impl Clients {
    /// The handshake with a client, as a server with these files. There is no bound in time.
    ///
    /// # Errors
    /// [`NoClient`]; nothing of a protocol was read.
    pub async fn accept(&self, options: &Options, stream: TcpStream) -> Result<Box<ServedStream>, NoClient> {
        let settings = current(&self.loaded, options, load).map_err(NoClient::Files)?;
        let accepted = TlsAcceptor::from(settings).accept(stream).await;
        accepted.map(|stream| Box::new(ServedStream(stream))).map_err(|error| explain(&error))
    }
}

fn load(options: &Options) -> Result<Arc<ServerConfig>, TlsError> {
    load_listener(options, Shown::Must)
}

/// Why a handshake failed, seen from the listener.
fn explain(error: &io::Error) -> NoClient {
    let (fault, text) = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) => {
            (Fault::NotTls, "it doesn't speak TLS, and this listener is encrypted (listen_tls)".to_owned())
        }
        Some(Error::NoCertificatesPresented) => (
            Fault::Certificate,
            "it shows no certificate, and one is wanted (listen_tls.client_ca)".to_owned(),
        ),
        Some(Error::InvalidCertificate(wrong)) => {
            (Fault::Certificate, format!("its certificate is not good: {wrong} (listen_tls.client_ca)"))
        }
        Some(Error::AlertReceived(alert)) => (
            Fault::Distrust,
            format!("it does not trust the certificate in listen_tls.certificate: {alert:?}"),
        ),
        Some(Error::PeerIncompatible(what)) => {
            (Fault::Other, format!("it speaks no TLS that is safe (1.2 or 1.3): {what:?}"))
        }
        Some(other) => (Fault::Other, other.to_string()),
        None => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
                (Fault::Other, "it went in the middle of the TLS handshake".to_owned())
            }
            _ => (Fault::Other, error.to_string()),
        },
    };
    NoClient::Peer(fault, text)
}
