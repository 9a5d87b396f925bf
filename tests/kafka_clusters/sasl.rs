//! Brokers that ask who is there and allow only what they are told to: a roll over `SASL_SSL` in which all that proves anything is
//! renewed, each mechanism, and what is said to those who may not come in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::kafka::wire::{self, Struct};
use testbed::keys::{Authority, replace};
use testbed::python::PythonClient;
use testbed::{Asking, Cluster, KafkaVersion, Library, Load, Roll, Sidecar, Spec, wait};

use crate::tls::certify;
use crate::{assert_planned, binary, is_zero, metric};

const ALTER_SCRAM: i16 = 51;
const CREATE_ACLS: i16 = 30;
const USER: &str = "evenkeel";

/// Asks the administrator's listener of node 1, where everything is allowed; no part of the answer may be an error.
fn order(cluster: &Cluster, key: i16, version: i16, rows: &str, body: &Struct) {
    let frame = wire::encode_request(key, version, 1, "test", body).unwrap();
    let mut stream = TcpStream::connect((cluster.fixed_ip(1), 9094)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    let (_, answer) = wire::decode_response(key, version, &Bytes::from(answer)).unwrap();
    let failed: Vec<String> = answer
        .structs(rows)
        .filter(|row| row.i16("error_code") != 0)
        .map(|row| format!("{} {:?}", row.i16("error_code"), row.str("error_message")))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Gives the user a password for SCRAM, with SHA-256 and SHA-512 (KIP-554); a request changes a user once.
fn set_password(cluster: &Cluster, password: &str) {
    let iterations = NonZeroU32::new(4096).unwrap();
    let upsertions = [(1, ring::pbkdf2::PBKDF2_HMAC_SHA256, 32), (2, ring::pbkdf2::PBKDF2_HMAC_SHA512, 64)];
    for (mechanism, algorithm, length) in upsertions {
        let mut body = wire::request(ALTER_SCRAM).unwrap().new();
        let mut salted = vec![0; length];
        ring::pbkdf2::derive(algorithm, iterations, b"some salt", password.as_bytes(), &mut salted);
        let mut row = body.new_struct("upsertions");
        row.set_str("name", USER);
        row.set_i8("mechanism", mechanism);
        row.set_i32("iterations", 4096);
        row.set_bytes("salt", Some(Bytes::from_static(b"some salt")));
        row.set_bytes("salted_password", Some(salted.into()));
        body.push_struct("upsertions", row);
        order(cluster, ALTER_SCRAM, 0, "results", &body);
    }
}

/// The least that clients and Evenkeel need, as the documents have it.
fn allow(cluster: &Cluster) {
    let mut body = wire::request(CREATE_ACLS).unwrap().new();
    // Resources: 2 topics, 3 groups, 4 the cluster. Operations: 3 read, 4 write, 8 describe, 10 describe configs.
    let rows = [
        (2, "*", 3),
        (2, "*", 4),
        (2, "*", 8),
        (3, "*", 3),
        (4, "kafka-cluster", 8),
        (4, "kafka-cluster", 10),
    ];
    let rows = rows.map(|(kind, name, operation)| {
        let mut row = body.new_struct("creations");
        row.set_i8("resource_type", kind);
        row.set_str("resource_name", name);
        row.set_i8("resource_pattern_type", 3);
        row.set_str("principal", &format!("User:{USER}"));
        row.set_str("host", "*");
        row.set_i8("operation", operation);
        row.set_i8("permission_type", 3);
        row
    });
    body.set_structs("creations", rows.into());
    order(cluster, CREATE_ACLS, 2, "results", &body);
}

/// A cluster whose listener for clients asks.
fn asking(version: KafkaVersion, asking: &Asking, authority: Option<&Authority>) -> Cluster {
    let mut cluster = Cluster::prepare(Spec::new(version).fast()).unwrap();
    for id in cluster.ids() {
        let store = authority.map(|authority| certify(&cluster, id, authority));
        asking.set(&mut cluster, id, store).unwrap();
        cluster.start_node(id).unwrap();
    }
    cluster.wait_ready().unwrap();
    if asking.acls {
        allow(&cluster);
    }
    cluster
}

fn secret(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.folder().join(name);
    replace(&path, &format!("{text}\n")).unwrap();
    path
}

fn with_password(mechanism: &str, user: &str, file: &Path) -> String {
    format!(
        "sasl.mechanism = \"{mechanism}\"\nsasl.username = \"{user}\"\nsasl.password_file = '{}'",
        file.display()
    )
}

/// No secret stands in what a sidecar has written or shows.
fn assert_discreet(sidecar: &Sidecar, secrets: &[&str]) {
    let mut all = fs::read_to_string(sidecar.log()).unwrap();
    for path in ["/metrics", "/v1/clusters/bed", "/"] {
        all.push_str(&sidecar.get(path).unwrap().1);
    }
    for secret in secrets {
        assert!(!all.contains(secret), "{secret} is shown");
    }
}

/// A token without a signature, for brokers that take such (`OAuthBearerUnsecuredValidatorCallbackHandler`).
fn token(user: &str, lasts: Duration) -> String {
    use base64::Engine as _;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims =
        format!("{{\"sub\":\"{user}\",\"iat\":{},\"exp\":{}}}", now.as_secs(), (now + lasts).as_secs());
    format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(&claims))
}

/// A token that is replaced before it ends, as whoever issues them does, until it is dropped.
struct Tokens {
    over: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Tokens {
    const LAST: Duration = Duration::from_secs(12);

    fn into(path: PathBuf) -> Self {
        replace(&path, &token(USER, Self::LAST)).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let writer = std::thread::spawn(move || {
            let mut written = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if written.elapsed() > Self::LAST / 2 {
                    replace(&path, &token(USER, Self::LAST)).unwrap();
                    written = Instant::now();
                }
            }
        });
        Self { over, writer: Some(writer) }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

/// In the middle of a roll under load, with sessions of five seconds: the brokers' certificates are of another authority, the password is
/// another, tokens end and are followed by others.
#[test]
fn a_roll_over_sasl_ssl_with_short_sessions_in_which_all_that_proves_anything_is_renewed() {
    let [old, new] = ["old", "new"].map(|name| Authority::new(name).unwrap());
    let asks = Asking { reauth_ms: Some(5000), acls: true, ..Asking::default() };
    let cluster = asking(KafkaVersion::V3_9_2, &asks, Some(&old));
    set_password(&cluster, "first-secret");
    let ca = cluster.folder().join("ca.pem");
    replace(&ca, old.pem()).unwrap();
    let file = secret(&cluster, "password", "first-secret");
    let tls = format!("tls.enabled = true\ntls.ca = '{}'\n", ca.display());
    let scram = format!("{tls}{}", with_password("SCRAM-SHA-512", USER, &file));
    let token_file = cluster.folder().join("token");
    let tokens = Tokens::into(token_file.clone());
    let bearer =
        format!("{tls}sasl.mechanism = \"OAUTHBEARER\"\nsasl.token_file = '{}'", token_file.display());
    let [(scram, front), (bearer, other)] = [scram, bearer].map(|keys| {
        let (mut sidecar, front) = Sidecar::kafka_with(binary(), &cluster.bootstrap(), "", &keys).unwrap();
        sidecar.wait_ready(Duration::from_secs(60)).unwrap();
        (sidecar, front)
    });
    let through = [front.listen.to_string(), other.listen.to_string()];
    let librdkafka = Load::java("librdkafka").library(Library::Python(PythonClient::Confluent));
    let producers = [Load::java("by-password"), Load::java("by-token"), librdkafka];
    let mut cluster = cluster;
    let mut load = Load::through(&mut cluster, "asked", &through, &producers).unwrap();
    replace(&ca, &format!("{}{}", old.pem(), new.pem())).unwrap();
    for id in cluster.ids() {
        load.note_stop();
        certify(&cluster, id, &new);
        cluster.restart(id, Roll::Soft).unwrap();
        if id == 2 {
            // Whoever is connected stays; whoever renews or connects from now on shows the new one.
            set_password(&cluster, "second-secret");
            secret(&cluster, "password", "second-secret");
        }
    }
    replace(&ca, new.pem()).unwrap();
    load.go_on().unwrap();
    for sidecar in [&scram, &bearer] {
        wait::until("sessions renewed", Duration::from_secs(60), || {
            metric(sidecar, "kafka_sasl_renewals_total", &["outcome=\"ok\""]) >= 10.0
        })
        .unwrap();
    }
    let report = load.finish(&mut cluster).unwrap();
    drop(tokens);
    for sidecar in [&scram, &bearer] {
        assert_planned(&report, sidecar);
        // Brokers learn of a new password one after the other, so a renewal may be refused at that moment; none may be late.
        assert!(is_zero(metric(sidecar, "kafka_sasl_renewals_total", &["outcome=\"late\""])));
        let failed = metric(sidecar, "upstream_connect_total", &["outcome=\"tls\""]);
        assert!(is_zero(failed), "{failed} handshakes failed:\n{}", sidecar.log_tail(40));
        let log = fs::read_to_string(sidecar.log()).unwrap();
        assert!(log.contains("a file of credentials has changed and was read again"), "{log}");
        assert!(log.contains("TLS files have changed and were read again"), "{log}");
        assert!(!log.contains("a request of Evenkeel's own is refused"), "{log}");
        assert_discreet(sidecar, &["first-secret", "second-secret", "eyJ"]);
    }
}

#[test]
fn each_mechanism_and_each_refusal() {
    let asks =
        Asking { plain: vec![(USER.to_owned(), "plain-secret".to_owned())], acls: true, reauth_ms: None };
    let mut cluster = asking(KafkaVersion::V4_3_1, &asks, None);
    set_password(&cluster, "scram-secret");
    cluster.create_topic("t", 3, 3, &[]).unwrap();
    let [plain, scram, wrong] =
        [("plain", "plain-secret"), ("scram", "scram-secret"), ("wrong", "wrong-secret")]
            .map(|(name, text)| secret(&cluster, name, text));
    let token = secret(&cluster, "token", &token(USER, Duration::from_secs(3600)));
    let bearer = format!("sasl.mechanism = \"OAUTHBEARER\"\nsasl.token_file = '{}'", token.display());
    let good = [
        with_password("PLAIN", USER, &plain),
        with_password("SCRAM-SHA-256", USER, &scram),
        with_password("SCRAM-SHA-512", USER, &scram),
        bearer,
    ];
    for keys in good {
        let (mut sidecar, _) = Sidecar::kafka_with(binary(), &cluster.bootstrap(), "", &keys).unwrap();
        let ready = sidecar.wait_ready(Duration::from_secs(60));
        assert!(ready.is_ok(), "{keys}\n{}", sidecar.log_tail(20));
    }
    let internal = cluster.internal_bootstrap();
    let refused = "is refused: Authentication failed";
    for (at, keys, why) in [
        (cluster.bootstrap(), with_password("PLAIN", USER, &wrong), refused),
        (cluster.bootstrap(), with_password("SCRAM-SHA-512", USER, &wrong), refused),
        (cluster.bootstrap(), with_password("SCRAM-SHA-256", "nobody", &scram), refused),
        (cluster.bootstrap(), String::new(), "the broker asks for SASL, by "),
        (internal, with_password("PLAIN", USER, &plain), "this listener asks for no SASL"),
    ] {
        let (sidecar, _) = Sidecar::kafka_with(binary(), &at, "", &keys).unwrap();
        let told = wait::until("the reason in the log", Duration::from_secs(60), || {
            fs::read_to_string(sidecar.log()).is_ok_and(|log| log.contains(why))
        });
        assert!(told.is_ok(), "{why}\n{keys}\n{}", sidecar.log_tail(20));
        assert_eq!(sidecar.get("/readyz").unwrap().0, 503, "{why}");
        assert_discreet(&sidecar, &["plain-secret", "scram-secret", "wrong-secret"]);
    }
}
