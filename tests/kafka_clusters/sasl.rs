//! Brokers that ask who is there and allow only what they are told to: a roll over `SASL_SSL` in which all that proves anything is
//! renewed, each mechanism, and what is said to those who may not come in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::kafka::wire::{self, Struct};
use testbed::kafka::token;
use testbed::keys::{Authority, Pair, replace};
use testbed::python::PythonClient;
use testbed::sidecar::Front;
use testbed::{Asking, Cluster, KafkaVersion, Library, Load, Roll, Sidecar, Spec, wait};

use crate::tls::certify;
use crate::{assert_planned, binary, is_zero, metric};

const USER: &str = "evenkeel";

/// One question on a connection.
fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &Struct) -> Struct {
    let frame = wire::encode_request(key, version, 1, "test", body).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    wire::decode_response(key, version, &Bytes::from(answer)).unwrap().1
}

/// A cluster whose listener for clients is encrypted and asks; `certify` gives each node at its address a certificate.
fn asking(
    version: KafkaVersion,
    asking: &Asking,
    certify: impl Fn(u8, IpAddr) -> testbed::Result<Pair>,
) -> Cluster {
    let cluster = asking.start(Spec::new(version).fast(), certify).unwrap();
    if asking.acls {
        cluster.allow(USER, "", true).unwrap();
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

/// What `check --connect` says of a sidecar's configuration, and its exit code.
fn checked(sidecar: &Sidecar) -> (i32, String) {
    let began = Instant::now();
    let mut command = Command::new(binary());
    let output = command.args(["check", "--connect", "--config"]).arg(sidecar.config()).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    println!("{text}");
    (output.status.code().unwrap(), text)
}

/// No secret stands in what a sidecar has written or shows, nor in what a check of its configuration says.
fn assert_discreet(sidecar: &Sidecar, secrets: &[&str]) {
    let mut all = fs::read_to_string(sidecar.log()).unwrap() + &checked(sidecar).1;
    for path in ["/metrics", "/v1/clusters/bed", "/"] {
        all.push_str(&sidecar.get(path).unwrap().1);
    }
    for secret in secrets {
        assert!(!all.contains(secret), "{secret} is shown");
    }
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
    let first = |id: u8, at| old.issue(&format!("kafka-{id}.test"), &[at]);
    let cluster = asking(KafkaVersion::V3_9_2, &asks, first);
    cluster.set_password(USER, "first-secret").unwrap();
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
            cluster.set_password(USER, "second-secret").unwrap();
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
    let (code, text) = checked(&scram);
    assert!(code == 0 && text.ends_with("\n0 failed, 0 to look after\n"), "{code}\n{text}");
    for part in [
        "(node 3, bootstrap)",
        "TLS 1.3; its certificate is for kafka-2.test, ",
        "SCRAM-SHA-512 as \"evenkeel\"; the session lasts 5s",
        "Kafka 3.9",
        "it is node 1 of this cluster",
        "what Evenkeel needs for itself",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

/// A configuration that can't work, where it is seen, and how it is told: in the log, by a check, and in a metric.
struct Fault {
    at: SocketAddr,
    keys: String,
    why: String,
    stage: &'static str,
    outcome: &'static str,
}

impl Fault {
    /// A sidecar is started with it, and all three are right.
    fn told(&self) -> (Sidecar, Front) {
        let Self { at, keys, why, stage, outcome } = self;
        let (sidecar, front) = Sidecar::kafka_with(binary(), &at.to_string(), "", keys).unwrap();
        let told = wait::until("the reason in the log", Duration::from_secs(60), || {
            fs::read_to_string(sidecar.log())
                .is_ok_and(|log| log.contains(why) && log.contains(&at.to_string()))
        });
        assert!(told.is_ok(), "{why}\n{keys}\n{}", sidecar.log_tail(20));
        let (code, text) = checked(&sidecar);
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{stage:<11} failed ")));
        let line = line.unwrap_or_else(|| panic!("{stage} didn't fail\n{text}"));
        assert!(code == 3 && line.contains(why) && line.contains(&at.to_string()), "{code} {why}\n{text}");
        assert!(text.contains("remedy: "), "{text}");
        assert!(tries(&sidecar, outcome) >= 1.0, "{}", sidecar.get("/metrics").unwrap().1);
        let (status, unready) = sidecar.get("/readyz").unwrap();
        assert!(
            status == 503 && unready.contains(&format!("(the last attempt: {outcome})")),
            "{status} {unready}"
        );
        assert_discreet(&sidecar, &["plain-secret", "scram-secret", "wrong-secret"]);
        (sidecar, front)
    }
}

/// Attempts to reach the cluster that ended so.
fn tries(sidecar: &Sidecar, outcome: &str) -> f64 {
    metric(sidecar, "kafka_bootstrap_connect_total", &[&format!("outcome=\"{outcome}\"")])
}

/// Every way to get in, and each in which a configuration can be wrong: told at the start in the log, by `check --connect` and in a metric, and
/// tried again at a pace.
#[test]
fn each_mechanism_and_each_refusal() {
    let [authority, other] = ["one", "other"].map(|name| Authority::new(name).unwrap());
    // Node 1 is as it should be. The certificate of node 2 is for another name, and that of node 3 has expired.
    let certify = |id: u8, at| match id {
        1 => authority.issue("kafka-1.test", &[at]),
        2 => authority.issue("elsewhere.test", &[]),
        _ => authority.expired("kafka-3.test", &[at]),
    };
    let plain = vec![(USER.to_owned(), "plain-secret".to_owned())];
    let mut cluster = asking(KafkaVersion::V4_3_1, &Asking { plain, acls: true, reauth_ms: None }, certify);
    cluster.set_password(USER, "scram-secret").unwrap();
    cluster.create_topic("t", 3, 3, &[]).unwrap();
    let trust = |name: &str, authority: &Authority| {
        let path = cluster.folder().join(name);
        replace(&path, authority.pem()).unwrap();
        format!("tls.enabled = true\ntls.ca = '{}'\n", path.display())
    };
    let (tls, not_tls) = (trust("ca.pem", &authority), trust("other.pem", &other));
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
    let [one, two, three] = [1, 2, 3].map(|id| cluster.addr(id).unwrap());
    for keys in good {
        let keys = tls.clone() + &keys;
        let (mut sidecar, _) = Sidecar::kafka_with(binary(), &one.to_string(), "", &keys).unwrap();
        let ready = sidecar.wait_ready(Duration::from_secs(60));
        assert!(ready.is_ok(), "{keys}\n{}", sidecar.log_tail(20));
        // The others are found, and can't be used.
        let (code, text) = checked(&sidecar);
        assert!(code == 3 && text.ends_with("\n2 failed, 0 to look after\n"), "{code}\n{text}");
        assert!(text.contains(&format!("{one} (node 1, bootstrap)\n")), "{text}");
    }
    let internal: SocketAddr = cluster.internal_bootstrap().split(',').next().unwrap().parse().unwrap();
    let fault =
        |at, keys: String, why: &str, stage, outcome| Fault { at, keys, why: why.to_owned(), stage, outcome };
    let refused = "is refused: Authentication failed";
    let right = with_password("PLAIN", USER, &plain);
    let not_held = fault(one, tls.clone(), "the broker asks for SASL, by ", "sasl", "sasl");
    let faults = [
        fault(one, tls.clone() + &with_password("PLAIN", USER, &wrong), refused, "sasl", "sasl"),
        fault(one, tls.clone() + &with_password("SCRAM-SHA-512", USER, &wrong), refused, "sasl", "sasl"),
        fault(one, tls.clone() + &with_password("SCRAM-SHA-256", "nobody", &scram), refused, "sasl", "sasl"),
        fault(one, not_tls + &right, "its certificate was issued by no authority in ", "tls", "tls"),
        fault(two, tls.clone() + &right, "its certificate is not for the name ", "tls", "tls"),
        fault(three, tls.clone() + &right, "its certificate has expired (2021-01-01)", "tls", "tls"),
        fault(one, right.clone(), "it is an encrypted listener: set tls.enabled = true", "tls", "tls"),
        fault(internal, tls + &right, "in the TLS handshake", "tls", "tls"),
        fault(internal, right, "this listener asks for no SASL", "sasl", "sasl"),
        not_held,
    ];
    let told: Vec<(Sidecar, Front)> = faults.iter().map(Fault::told).collect();
    // Nothing hangs, and nothing spins: all of them try on, with pauses of up to a second.
    let counts = || {
        faults
            .iter()
            .zip(&told)
            .map(|(fault, (sidecar, _))| tries(sidecar, fault.outcome))
            .collect::<Vec<_>>()
    };
    let before = counts();
    std::thread::sleep(Duration::from_secs(5));
    for ((before, after), fault) in before.into_iter().zip(counts()).zip(&faults) {
        let more = after - before;
        assert!((2.0..=25.0).contains(&more), "{more} attempts in 5 s: {}", fault.why);
    }
    // A client that shows its own credentials by SCRAM is told that they are of no use.
    let (sidecar, front) = told.last().unwrap();
    let mut client = TcpStream::connect(front.listen).unwrap();
    let mut hello = wire::request(17).unwrap().new();
    hello.set_str("mechanism", "SCRAM-SHA-512");
    assert_eq!(ask(&mut client, 17, 1, &hello).i16("error_code"), 0);
    let mut first = wire::request(36).unwrap().new();
    first.set_bytes("auth_bytes", Some(Bytes::from_static(b"n,,n=evenkeel,r=abcdefgh")));
    let answer = ask(&mut client, 36, 2, &first);
    assert_eq!(answer.i16("error_code"), 58);
    assert!(answer.str("error_message").unwrap().contains("it has no credentials; set [kafka.sasl]"));
    let refused = metric(sidecar, "kafka_client_sasl_total", &["outcome=\"refused\""]);
    assert!(refused >= 1.0, "{refused}");
}
