use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, crypto, server::WebPkiClientVerifier};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A folder of files that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self::named(&format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str, until: i32) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    fn good(&self) -> Pair {
        self.issue("broker.test", 2099)
    }
}

/// What encrypts connections for a server; `clients`: who issues the certificates that it wants.
fn acceptor(pair: &Pair, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let settings = builder.with_single_cert(chain, key).unwrap();
    TlsAcceptor::from(Arc::new(settings))
}

/// A server that answers each byte with the same, and with one more at the beginning; for `clients` see [`acceptor`].
async fn serve(pair: &Pair, clients: Option<&Authority>) -> SocketAddr {
    let acceptor = acceptor(pair, clients);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.write_all(b"!").await?;
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    addr
}

fn trusting(ca: &Path) -> Options {
    Options { enabled: true, ca: Some(ca.to_owned()), ..Options::default() }
}

async fn open(tls: &Tls, options: &Options, addr: SocketAddr) -> Result<Box<TlsStream<TcpStream>>, TlsError> {
    let stream = TcpStream::connect(addr).await.unwrap();
    tls.connect(options, stream, "broker.test", addr).await
}

async fn refused(options: &Options, addr: SocketAddr) -> String {
    open(&Tls::new(), options, addr).await.expect_err("it is refused").to_string()
}

/// Reads the server's greeting, and with it what comes behind the handshake.
async fn greeted(stream: &mut TlsStream<TcpStream>) -> io::Result<u8> {
    stream.read_u8().await
}

#[tokio::test]
async fn a_peer_with_a_certificate_for_its_name_is_trusted_and_its_session_resumed() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let options = trusting(&folder.put("ca.pem", &authority.pem));
    let addr = serve(&authority.good(), None).await;
    let tls = Tls::new();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = open(&tls, &options, addr).await.unwrap();
        assert_eq!(greeted(&mut stream).await.unwrap(), b'!');
        stream.write_all(b"ping").await.unwrap();
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"ping");
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_peer_that_can_not_be_trusted_is_told_in_one_line() {
    let (folder, authority, other) = (Folder::new(), Authority::named("one"), Authority::new());
    let ca = folder.put("ca.pem", &authority.pem);
    let options = trusting(&ca);
    let cases = [
        (other.good(), format!("its certificate was issued by no authority in {} (tls.ca)", ca.display())),
        (
            Authority::named("one").good(),
            format!(
                "its certificate was issued by an authority that {} (tls.ca) has with another key",
                ca.display()
            ),
        ),
        (
            authority.issue("other.test", 2099),
            "its certificate is not for the name broker.test, but for other.test".to_owned(),
        ),
        (authority.issue("broker.test", 2021), "its certificate has expired (2021-01-01)".to_owned()),
    ];
    for (pair, why) in cases {
        let addr = serve(&pair, None).await;
        assert_eq!(refused(&options, addr).await, format!("{addr}: {why}"));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_told_so() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let options = trusting(&folder.put("ca.pem", &authority.pem));
    for (answer, why) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it doesn't speak TLS on this port"),
        (b"", "it closed the connection in the TLS handshake; does it speak TLS on this port?"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 16]).await;
            stream.write_all(answer).await.unwrap();
        });
        assert_eq!(refused(&options, addr).await, format!("{addr}: {why}"));
    }
}

/// Members close connections at any point when they are stopped; only one that never encrypted any may not speak TLS.
#[tokio::test]
async fn a_peer_that_has_spoken_tls_and_closes_is_lost() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let options = trusting(&folder.put("ca.pem", &authority.pem));
    let acceptor = acceptor(&authority.good(), None);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut encrypted = acceptor.accept(stream).await.unwrap();
        encrypted.write_all(b"!").await.unwrap();
        let (mut stopped, _) = listener.accept().await.unwrap();
        let _ = stopped.read(&mut [0; 16]).await;
    });
    let tls = Tls::new();
    greeted(&mut open(&tls, &options, addr).await.unwrap()).await.unwrap();
    let error = open(&tls, &options, addr).await.expect_err("it was closed");
    assert_eq!(error.to_string(), format!("{addr}: it closed the connection in the TLS handshake"));
    assert!(matches!(error, TlsError::Lost { .. }), "{error:?}");
}

/// With TLS 1.3 a server's refusal comes with the first read.
#[tokio::test]
async fn our_own_certificate_is_shown_where_it_is_wanted() {
    let (folder, authority, other) = (Folder::new(), Authority::new(), Authority::new());
    let addr = serve(&authority.good(), Some(&authority)).await;
    let with = |name: &str, pair: &Pair| Options {
        certificate: Some(folder.put(&format!("{name}.pem"), &pair.certificate)),
        key: Some(folder.put(&format!("{name}.key"), &pair.key)),
        ..trusting(&folder.put("ca.pem", &authority.pem))
    };
    let good = with("good", &authority.issue("us.test", 2099));
    let mut stream = open(&Tls::new(), &good, addr).await.unwrap();
    assert_eq!(greeted(&mut stream).await.unwrap(), b'!');
    let foreign = with("foreign", &other.issue("us.test", 2099));
    let none = Options { certificate: None, key: None, ..good.clone() };
    let file = foreign.certificate.clone().unwrap();
    let cases = [
        (
            none,
            "it wants a certificate: set tls.certificate and tls.key (TLS alert CertificateRequired)"
                .to_owned(),
        ),
        (foreign, format!("it refuses the certificate in {} (TLS alert UnknownCA)", file.display())),
    ];
    for (options, why) in cases {
        let mut stream = open(&Tls::new(), &options, addr).await.unwrap();
        let error = greeted(&mut stream).await.expect_err("it was refused");
        let said = explain(&error, &options, "broker.test");
        assert_eq!(said.to_string(), why);
        assert!(!said.remedy().is_empty());
    }
}

#[test]
fn a_file_that_can_not_be_used_is_named() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.put("ca.pem", &authority.pem);
    let [one, two] = [authority.good(), authority.good()];
    let certificate = folder.put("client.pem", &one.certificate);
    let said = |options: &Options| check(options).expect_err("it can't be used").to_string();
    let with =
        |key: PathBuf| Options { certificate: Some(certificate.clone()), key: Some(key), ..trusting(&ca) };
    let missing = folder.0.join("missing.pem");
    let text = said(&trusting(&missing));
    assert_eq!(text, format!("{}: can't be read: No such file or directory (os error 2)", missing.display()));
    let empty = folder.put("empty.pem", "nothing\n");
    let text = said(&trusting(&empty));
    assert!(text.starts_with(&format!("{}: holds no certificate in PEM", empty.display())), "{text}");
    // No byte of what is in them: they may hold keys.
    let garbage = "-----BEGIN PRIVATE KEY----- hunter2 -----END PRIVATE KEY-----";
    for (content, why) in [
        (&authority.pem[..80], "its CERTIFICATE has no end (-----END …-----); is it half-written?"),
        (&one.key[..80], "its PRIVATE KEY has no end (-----END …-----); is it half-written?"),
        (garbage, "a section has no end (-----END …-----); is it half-written?"),
        ("-----BEGIN hunter2\n", "a line that begins with -----BEGIN does not end with -----"),
        (
            "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n",
            "what stands between BEGIN and END is not base64",
        ),
    ] {
        let torn = folder.put("torn.pem", content);
        for options in [trusting(&torn), with(torn.clone())] {
            assert_eq!(said(&options), format!("{}: is no whole PEM file: {why}", torn.display()));
        }
    }
    let text = said(&with(empty.clone()));
    assert!(text.starts_with(&format!("{}: holds no private key", empty.display())), "{text}");
    let other = folder.put("other.key", &two.key);
    let text = said(&with(other.clone()));
    let expected =
        format!("{}: is not the key of the certificate in {}", other.display(), certificate.display());
    assert_eq!(text, expected);
    check(&with(folder.put("client.key", &one.key))).unwrap();
}

#[tokio::test]
async fn files_that_change_are_read_again_and_a_bad_one_leaves_what_was() {
    let (folder, old, new) = (Folder::new(), Authority::new(), Authority::new());
    let (before, after) = (serve(&old.good(), None).await, serve(&new.good(), None).await);
    let options = trusting(&folder.put("ca.pem", &old.pem));
    let tls = Tls::new();
    open(&tls, &options, before).await.unwrap();
    open(&tls, &options, after).await.expect_err("it is not trusted yet");
    folder.put("ca.pem", &format!("{}{}", old.pem, new.pem));
    open(&tls, &options, before).await.unwrap();
    open(&tls, &options, after).await.unwrap();
    folder.put("ca.pem", "torn");
    open(&tls, &options, after).await.unwrap();
    folder.put("ca.pem", &new.pem);
    open(&tls, &options, before).await.expect_err("it is trusted no more");
}

/// A certificate that nobody else has signed, for this name or none.
fn alone(name: Option<&str>, is_ca: IsCa) -> Pair {
    let mut params = CertificateParams::new(name.map(str::to_owned).into_iter().collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "broker.test");
    params.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// What keytool and openssl make when nothing more is said, as many clusters have it.
#[tokio::test]
async fn certificates_as_tools_make_them_are_told_from_others() {
    let folder = Folder::new();
    let unconstrained = IsCa::Ca(BasicConstraints::Unconstrained);
    for (pair, why, remedy) in [
        (
            alone(None, IsCa::NoCa),
            "its certificate has no subjectAltName, so it is not for the name broker.test: its CN is not looked at",
            "-ext SAN=dns:broker.test",
        ),
        (
            alone(Some("broker.test"), unconstrained),
            "its certificate is an authority's own (CA:TRUE), which is for issuing others and not for a server",
            "basicConstraints = CA:FALSE and subjectAltName = DNS:broker.test",
        ),
    ] {
        let options = trusting(&folder.put("ca.pem", &pair.certificate));
        let addr = serve(&pair, None).await;
        let error = open(&Tls::new(), &options, addr).await.expect_err("it can't be trusted");
        assert_eq!(error.to_string(), format!("{addr}: {why}"));
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
    }
    // What the remedy is about is taken.
    let pair = alone(Some("broker.test"), IsCa::ExplicitNoCa);
    let options = trusting(&folder.put("ca.pem", &pair.certificate));
    open(&Tls::new(), &options, serve(&pair, None).await).await.unwrap();
}

#[tokio::test]
async fn names_of_every_kind_are_shown_as_they_are() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let mut params = CertificateParams::new(vec!["*.example.net".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://example.net/broker".try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap().pem();
    let addr = serve(&Pair { certificate, key: key.serialize_pem() }, None).await;
    let said = refused(&trusting(&folder.put("ca.pem", &authority.pem)), addr).await;
    let names = "*.example.net, 10.0.0.1, spiffe://example.net/broker";
    assert_eq!(said, format!("{addr}: its certificate is not for the name broker.test, but for {names}"));
}

/// Servers of TLS 1.1 and before, or without a cipher in common, send one alert (RFC 8446, section 6.2) and close.
#[tokio::test]
async fn a_peer_without_a_safe_tls_is_told_from_one_that_does_not_know_the_name() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let options = trusting(&folder.put("ca.pem", &authority.pem));
    let safe = "it speaks no TLS that is safe (1.2 or 1.3): TLS alert ";
    let today = "let the member's listener speak TLS 1.2 or 1.3";
    for (alert, why, remedy) in [
        (70, format!("{safe}ProtocolVersion"), today),
        (40, format!("{safe}HandshakeFailure"), today),
        (40, format!("{safe}HandshakeFailure"), "wants a certificate of ours (tls.certificate)"),
        (71, format!("{safe}InsufficientSecurity"), today),
        (112, "it broke the TLS handshake off (alert UnrecognisedName)".to_owned(), "does it know the name"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(&[21, 3, 1, 0, 2, 2, alert]).await.unwrap();
        });
        let error = open(&Tls::new(), &options, addr).await.expect_err("it was refused");
        assert_eq!(error.to_string(), format!("{addr}: {why}"));
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
    }
}

/// What `keytool -list -rfc` writes of a truststore: each authority among lines of text.
#[tokio::test]
async fn authorities_of_a_truststore_are_read_with_the_text_between_them() {
    let (folder, one, two) = (Folder::new(), Authority::new(), Authority::new());
    let entry = |alias: &str, pem: &str| {
        let stars = "*".repeat(43);
        format!(
            "Alias name: {alias}\nCreation date: Jan 1, 2026\nEntry type: trustedCertEntry\n\n{pem}\n\n{stars}\n{stars}\n\n\n"
        )
    };
    let head = "Keystore type: PKCS12\nKeystore provider: SUN\n\nYour keystore contains 2 entries\n\n";
    let text = format!("{head}{}{}", entry("caroot", &one.pem), entry("other", &two.pem));
    let options = trusting(&folder.put("ca.pem", &text));
    for authority in [one, two] {
        open(&Tls::new(), &options, serve(&authority.good(), None).await).await.unwrap();
    }
}
