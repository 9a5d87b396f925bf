//! A client's side of TLS, for clients that speak plain text: a tunnel on the loopback that encrypts what it is given. And a member's
//! side, for those that speak plain text: an encrypted door before one.
#![allow(dead_code, reason = "not every test needs all of it")]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, crypto};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testbed::keys::{Authority, Pair, replace};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The files of an encrypted listener on the loopback, which are removed at the end.
pub struct Files {
    folder: PathBuf,
    pub authority: Authority,
}

impl Files {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-listen-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self { folder, authority: Authority::new(&format!("authority {number}")).unwrap() };
        files.certify(&files.authority);
        replace(&files.path("ca.pem"), files.authority.pem()).unwrap();
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new certificate for the listener, by this authority.
    pub fn certify(&self, authority: &Authority) {
        let pair = authority.issue("localhost", &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
        replace(&self.path("listen.key"), &pair.key).unwrap();
        replace(&self.path("listen.pem"), &pair.certificate).unwrap();
    }

    /// Keys of a cluster's configuration.
    pub fn keys(&self) -> String {
        let [certificate, key] = ["listen.pem", "listen.key"].map(|name| self.path(name));
        format!(
            "listen_tls.certificate = \"{}\"\nlisten_tls.key = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }

    /// The same, where clients have to show a certificate.
    pub fn mutual(&self) -> String {
        format!("{}listen_tls.client_ca = \"{}\"\n", self.keys(), self.path("ca.pem").display())
    }

    /// What a client that trusts this authority connects with.
    pub fn client(&self) -> Arc<ClientConfig> {
        trusting(&self.authority, None)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a client that trusts an authority connects with, and shows, if anything.
pub fn trusting(authority: &Authority, shown: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// An encrypted connection to 127.0.0.1.
pub async fn open(to: SocketAddr, with: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    TlsConnector::from(Arc::clone(with)).connect(name, stream).await
}

/// How an encrypted connection began.
pub fn kind(stream: &TlsStream<TcpStream>) -> HandshakeKind {
    stream.get_ref().1.handshake_kind().unwrap()
}

/// Where members are found that speak plain text at `to`, by those who speak TLS; they show this certificate.
pub async fn door(to: SocketAddr, shown: &Pair) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut encrypted = acceptor.accept(stream).await?;
                let mut plain = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await
            });
        }
    });
    addr
}

/// Where clients connect in plain text to come out encrypted there.
pub async fn tunnel(to: SocketAddr, with: Arc<ClientConfig>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let with = Arc::clone(&with);
            tokio::spawn(async move {
                plain.set_nodelay(true)?;
                let mut encrypted = open(to, &with).await?;
                tokio::io::copy_bidirectional(&mut plain, &mut encrypted).await
            });
        }
    });
    addr
}
