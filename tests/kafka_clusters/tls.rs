//! Encrypted listeners that want a certificate: a roll with renewed certificates and another authority, and what is said when there
//! is no trust.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testbed::keys::{Authority, replace};
use testbed::python::PythonClient;
use testbed::{Cluster, KafkaVersion, Library, Load, Roll, Scene, Sidecar, Spec, wait};

use crate::{assert_planned, binary, metric};

/// The store of a node, with a certificate for where clients find it.
pub(crate) fn certify(cluster: &Cluster, id: u8, authority: &Authority) -> PathBuf {
    let path = cluster.folder().join(format!("kafka-{id}.pem"));
    let at: IpAddr = cluster.addr(id).unwrap().ip();
    authority.issue(&format!("kafka-{id}.test"), &[at]).unwrap().store(&path).unwrap();
    path
}

/// Brokers whose listener for clients is encrypted, and wants a certificate of an authority in `trusted`.
fn encrypted(version: KafkaVersion, authority: &Authority, trusted: &str) -> Cluster {
    let mut cluster = Cluster::prepare(Spec::new(version).fast()).unwrap();
    let trust = cluster.folder().join("clients.pem");
    replace(&trust, trusted).unwrap();
    for id in cluster.ids() {
        let store = certify(&cluster, id, authority);
        for (key, value) in [
            ("listener.security.protocol.map", "CLIENT:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            ("listener.name.client.ssl.keystore.type", "PEM"),
            ("listener.name.client.ssl.keystore.location", &store.display().to_string()),
            ("listener.name.client.ssl.truststore.type", "PEM"),
            ("listener.name.client.ssl.truststore.location", &trust.display().to_string()),
            ("listener.name.client.ssl.client.auth", "required"),
        ] {
            cluster.set(id, key, value).unwrap();
        }
        cluster.start_node(id).unwrap();
    }
    cluster.wait_ready().unwrap();
    cluster
}

fn keys_of(ca: &Path, own: &Path) -> String {
    format!(
        "tls.enabled = true\ntls.ca = '{}'\ntls.certificate = '{}'\ntls.key = '{}'",
        ca.display(),
        own.with_extension("pem").display(),
        own.with_extension("key").display()
    )
}

#[test]
fn a_roll_over_tls_with_renewed_certificates_and_another_authority() {
    let [old, new] = ["old", "new"].map(|name| Authority::new(name).unwrap());
    let both = format!("{}{}", old.pem(), new.pem());
    let cluster = encrypted(KafkaVersion::V3_9_2, &old, &both);
    let (ca, own) = (cluster.folder().join("ca.pem"), cluster.folder().join("sidecar.pem"));
    let renew = |authority: &Authority| {
        let pair = authority.issue("sidecar.test", &[]).unwrap();
        replace(&own.with_extension("key"), &pair.key).unwrap();
        replace(&own, &pair.certificate).unwrap();
    };
    replace(&ca, old.pem()).unwrap();
    renew(&old);
    let keys = keys_of(&ca, &own);
    let (mut sidecar, front) = Sidecar::kafka_with(binary(), &cluster.bootstrap(), "", &keys).unwrap();
    sidecar.wait_ready(Duration::from_secs(60)).unwrap();
    let mut scene = Scene { sidecar, front, cluster };
    let through = scene.front.listen.to_string();
    let mut load = Load::start(&mut scene.cluster, "encrypted", &through, &[Load::java("plain")]).unwrap();
    // Both are trusted while one takes the place of the other, then the new one alone.
    replace(&ca, &both).unwrap();
    renew(&new);
    for id in scene.cluster.ids() {
        certify(&scene.cluster, id, &new);
        load.note_stop();
        scene.cluster.restart(id, Roll::Soft).unwrap();
    }
    load.go_on().unwrap();
    replace(&ca, new.pem()).unwrap();
    load.note_stop();
    scene.cluster.restart(1, Roll::Soft).unwrap();
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    let failed = metric(&scene.sidecar, "upstream_connect_total", &["outcome=\"tls\""]);
    assert!(crate::is_zero(failed), "{failed} handshakes failed:\n{}", scene.sidecar.log_tail(40));
    let log = fs::read_to_string(scene.sidecar.log()).unwrap();
    assert!(log.contains("TLS files have changed and were read again"), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

/// Encrypted on both sides: clients check that they speak to the sidecar, which checks that it speaks to brokers.
#[test]
fn a_roll_with_encrypted_clients() {
    let authority = Authority::new("all").unwrap();
    let cluster = encrypted(KafkaVersion::V3_9_2, &authority, authority.pem());
    let file = |name: &str| cluster.folder().join(name);
    let (ca, own, listen) = (file("ca.pem"), file("sidecar.pem"), file("listen.pem"));
    let here: IpAddr = [127, 0, 0, 1].into();
    replace(&ca, authority.pem()).unwrap();
    for (path, pair) in
        [(&own, authority.issue("sidecar.test", &[])), (&listen, authority.issue("localhost", &[here]))]
    {
        let pair = pair.unwrap();
        replace(&path.with_extension("key"), &pair.key).unwrap();
        replace(path, &pair.certificate).unwrap();
    }
    let keys = format!(
        "{}\nlisten_tls.certificate = '{}'\nlisten_tls.key = '{}'",
        keys_of(&ca, &own),
        listen.display(),
        listen.with_extension("key").display()
    );
    let (mut sidecar, front) = Sidecar::kafka_with(binary(), &cluster.bootstrap(), "", &keys).unwrap();
    sidecar.wait_ready(Duration::from_secs(60)).unwrap();
    let mut scene = Scene { sidecar, front, cluster };
    let ca = ca.display().to_string();
    let java = [
        ("security.protocol", "SSL"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", ca.as_str()),
    ];
    let plain = java.iter().fold(Load::java("java"), |spec, (key, value)| spec.set(key, value));
    let librdkafka = Load::java("librdkafka")
        .library(Library::Python(PythonClient::Confluent))
        .set("security.protocol", "SSL")
        .set("ssl.ca.location", &ca);
    let through = [scene.front.listen.to_string()];
    let producers = [plain, librdkafka];
    let mut load = Load::of(&mut scene.cluster, "both-sides", &through, &producers, &java).unwrap();
    load.roll(&mut scene.cluster, Roll::Soft).unwrap();
    load.go_on().unwrap();
    let report = load.finish(&mut scene.cluster).unwrap();
    assert_planned(&report, &scene.sidecar);
    let count = |name: &str, label: &str| metric(&scene.sidecar, name, &[label]);
    for failed in ["not_tls", "certificate", "distrust", "timeout", "files"] {
        let failed = count("client_handshakes_total", &format!("outcome=\"{failed}\""));
        assert!(crate::is_zero(failed), "{failed} clients were not let in:\n{}", scene.sidecar.log_tail(40));
    }
    let [full, resumed] =
        ["full", "resumed"].map(|kind| count("client_handshakes_total", &format!("outcome=\"{kind}\"")));
    assert!(full > 0.0, "no client connected in full");
    let [up_full, up_resumed] =
        ["full", "resumed"].map(|kind| count("upstream_handshakes_total", &format!("kind=\"{kind}\"")));
    println!("clients: {full} full, {resumed} resumed; brokers: {up_full} full, {up_resumed} resumed");
    assert!(up_resumed > 0.0, "of {up_full} connections to brokers none was resumed");
}

#[test]
fn without_trust_nothing_is_sent_and_each_reason_is_told() {
    let [authority, other] = ["one", "other"].map(|name| Authority::new(name).unwrap());
    let cluster = encrypted(KafkaVersion::V4_3_1, &authority, authority.pem());
    let folder = cluster.folder().to_owned();
    let ca = folder.join("ca.pem");
    let of = |name: &str, authority: &Authority| {
        let own = folder.join(name).with_extension("pem");
        let pair = authority.issue("sidecar.test", &[]).unwrap();
        replace(&own.with_extension("key"), &pair.key).unwrap();
        replace(&own, &pair.certificate).unwrap();
        own
    };
    let [good, foreign] = [of("good", &authority), of("foreign", &other)];
    let not_ca = folder.join("other.pem");
    replace(&ca, authority.pem()).unwrap();
    replace(&not_ca, other.pem()).unwrap();
    let plain = format!("tls.enabled = true\ntls.ca = '{}'", ca.display());
    let cases = [
        (keys_of(&not_ca, &good), format!("no authority in {} (tls.ca)", not_ca.display())),
        (keys_of(&ca, &foreign), format!("it refuses the certificate in {}", foreign.display())),
        (plain, "it wants a certificate: set tls.certificate and tls.key".to_owned()),
        (String::new(), "an encrypted listener".to_owned()),
    ];
    for (keys, why) in cases {
        let (sidecar, _) = Sidecar::kafka_with(binary(), &cluster.bootstrap(), "", &keys).unwrap();
        let told = wait::until("the reason in the log", Duration::from_secs(60), || {
            fs::read_to_string(sidecar.log()).is_ok_and(|log| log.contains(&why))
        });
        assert!(told.is_ok(), "{why}\n{keys}\n{}", sidecar.log_tail(20));
        assert_eq!(sidecar.get("/readyz").unwrap().0, 503, "{why}");
        let mut check = Command::new(binary());
        let output = check.args(["check", "--connect", "--config"]).arg(sidecar.config()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let failed = text.lines().any(|line| line.contains("tls         failed     ") && line.contains(&why));
        assert!(failed && output.status.code() == Some(3), "{why}\n{text}");
        assert!(metric(&sidecar, "kafka_bootstrap_connect_total", &["outcome=\"tls\""]) >= 1.0, "{why}");
    }
}
