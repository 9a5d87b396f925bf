//! SIGHUP with a configuration that names files that can't be used.

use super::{Folder, PATIENCE, Running, config};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate for the loopback that is its own authority; files of both are in the folder, under this name.
struct Pair {
    der: CertificateDer<'static>,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(folder: &Folder, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
        let put = |kind: &str, text: String| {
            let path = folder.0.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = put("pem", made.pem());
        Self { der: made.der().clone(), certificate, key: put("key", key.serialize_pem()) }
    }
}

/// A client that connects now, as one that trusts this certificate and no other.
fn connects(port: u16, pair: &Pair) {
    let mut roots = RootCertStore::empty();
    roots.add(pair.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let settings = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = ClientConnection::new(settings, name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
}

#[test]
fn sighup_takes_over_no_file_that_can_not_be_used_and_says_again_what_is_dangerous() {
    const PORT: u16 = 21_109;
    let folder = Folder::new("hup-files");
    let (pair, other) = (Pair::new(&folder, "one"), Pair::new(&folder, "other"));
    let password = folder.0.join("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let good = config("info", "21110-21119").replace(
        "name = \"orders\"\nlisten = \"127.0.0.1:0\"",
        &format!("name = \"orders\"\nlisten = \"127.0.0.1:{PORT}\""),
    ) + &format!(
        "listen_tls.certificate = {:?}\nlisten_tls.key = {:?}\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"me\"\n\
         sasl.password_file = {password:?}\n",
        pair.certificate, pair.key
    );
    let dangerous = "sasl.mechanism PLAIN without tls.enabled";
    let mut running = Running::start(&folder.write(&good));
    assert!(running.seen.iter().any(|line| line.contains(dangerous)), "{:#?}", running.seen);
    connects(PORT, &pair);
    let missing = folder.0.join("missing");
    let lines = folder.0.join("lines");
    std::fs::write(&lines, "hunter2\nhunter3\n").unwrap();
    let with =
        |file: &PathBuf, instead: &PathBuf| good.replace(&format!("{file:?}"), &format!("{instead:?}"));
    let at = |path: &PathBuf| path.display().to_string();
    let unread = "can't be read: No such file or directory (os error 2)";
    let admin = format!("[admin]\ntoken_file = {missing:?}");
    let tls = format!("{good}tls.enabled = true\ntls.ca = {lines:?}\n");
    for (text, key, why) in [
        (with(&password, &missing), "kafka[0].sasl.password_file", format!("{}: {unread}", at(&missing))),
        (
            with(&password, &lines),
            "kafka[0].sasl.password_file",
            format!("{}: holds more than one line; write the secret alone", at(&lines)),
        ),
        (
            with(&pair.key, &other.key),
            "kafka[0].listen_tls.key",
            format!("{}: is not the key of the certificate in {}", at(&other.key), at(&pair.certificate)),
        ),
        (
            with(&pair.certificate, &missing),
            "kafka[0].listen_tls.certificate",
            format!("{}: {unread}", at(&missing)),
        ),
        (
            tls,
            "kafka[0].tls.ca",
            format!("{}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", at(&lines)),
        ),
        (good.replace("[admin]", &admin), "admin.token_file", format!("{}: {unread}", at(&missing))),
    ] {
        let file = folder.write(&text.replace("level = \"info\"", "level = \"off\""));
        running.signal(Signal::HUP);
        let line = running.line(key);
        assert!(line.ends_with(&format!("{}: {key}: {why}", file.display())), "{line}");
        assert!(running.line("nothing has changed").contains("problems=1"), "{key}");
        // As before: clients, and the log's level.
        connects(PORT, &pair);
    }
    assert!(!running.seen.iter().any(|line| line.contains("configuration changed")), "{:#?}", running.seen);
    // Good files are taken over, and what is dangerous is said again, as it is each time.
    folder.write(&with(&pair.certificate, &other.certificate).replace(&at(&pair.key), &at(&other.key)));
    running.signal(Signal::HUP);
    running.line("configuration changed");
    running.line(dangerous);
    connects(PORT, &other);
    running.signal(Signal::HUP);
    running.line("configuration read again: nothing has changed");
    running.line(dangerous);
    running.signal(Signal::TERM);
    assert_eq!(running.exit().code(), Some(0));
    assert!(!running.seen.iter().any(|line| line.contains("hunter")), "{:#?}", running.seen);
}
