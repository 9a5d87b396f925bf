//! Rolls of brokers that ask who is there, on encrypted listeners, and allow only what they are told to.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use testbed::golang::GoClient;
use testbed::kafka::token;
use testbed::keys::{Authority, replace};
use testbed::python::PythonClient;
use testbed::scene::{is, unbalanced};
use testbed::sidecar::Front;
use testbed::wire::Wire;
use testbed::{
    Asking, Cluster, Error, KafkaVersion, Library, Load, ProducerSpec, Report, Result, Roll, Sidecar, Spec,
};

use super::{Bench, Finding, PATIENCE, rolls};

/// The one user. Clients know nothing of it: they connect to Evenkeel in plain text.
const USER: &str = "evenkeel";
/// Its passwords, for PLAIN and for SCRAM: each opens one door alone.
const PASSWORDS: [&str; 2] = ["plain-secret", "scram-secret"];
/// Names of the topics and groups that it may use begin so.
const PREFIX: &str = "secured-";
/// A topic that it may not use.
const FORBIDDEN: &str = "elsewhere";
/// The code of an answer that denies a topic.
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Records in a second of each producer: four of them, three consumers, and encryption, on a small machine.
const RATE: f64 = 100.0;
/// How to prove who one is, and the file of what proves it.
const MECHANISMS: [(&str, &str); 4] = [
    ("PLAIN", "password-plain"),
    ("SCRAM-SHA-256", "password-scram"),
    ("SCRAM-SHA-512", "password-scram"),
    ("OAUTHBEARER", "token"),
];

/// For each mechanism a planned roll and one with SIGKILL, each with a sidecar, a topic and clients of its own.
pub(super) fn rolls(bench: &Bench, version: KafkaVersion) -> Result<Finding> {
    let authority = Authority::new("brokers")?;
    let [plain, scram] = PASSWORDS;
    let asks = Asking { plain: vec![(USER.to_owned(), plain.to_owned())], acls: true, ..Asking::default() };
    let certify = |id: u8, at| authority.issue(&format!("kafka-{id}.test"), &[at]);
    let mut cluster = asks.start(Spec::new(version), certify)?;
    cluster.set_password(USER, scram)?;
    cluster.allow(USER, PREFIX, false)?;
    cluster.create_topic(FORBIDDEN, 1, 3, &[])?;
    let token = token(USER, Duration::from_secs(12 * 3600));
    for (name, text) in
        [("ca.pem", authority.pem()), ("password-plain", plain), ("password-scram", scram), ("token", &token)]
    {
        replace(&cluster.folder().join(name), text)?;
    }
    let mut finding = Finding::default();
    for (mechanism, file) in MECHANISMS {
        let keys = keys(cluster.folder(), mechanism, file);
        for how in [Roll::Soft, Roll::Hard] {
            let title = format!("{mechanism}, {}", if how == Roll::Soft { "planned" } else { "SIGKILL" });
            bench.say(&title);
            let (mut sidecar, front) = Sidecar::kafka_with(&bench.binary, &cluster.bootstrap(), "", &keys)?;
            sidecar.wait_ready(Duration::from_secs(60))?;
            let topic = format!("{PREFIX}{mechanism}-{how:?}").to_lowercase();
            let report = rolled(bench, &mut cluster, &topic, front, how)?;
            let _ = write!(finding.figures, "**{title}**\n\n{}", rolls::figures_of(&report, &sidecar)?);
            let mut breaches =
                if how == Roll::Soft { report.breaches_of_planned() } else { report.breaches() };
            breaches.extend(unguarded(&sidecar, front, &mut finding.figures)?);
            breaches.extend(unbalanced(&sidecar, &cluster.ids())?);
            bench.say(&format!("{title}: {} broken promises", breaches.len()));
            finding.breaches.extend(breaches.into_iter().map(|text| format!("{title}: {text}")));
        }
    }
    Ok(finding)
}

/// The keys of Evenkeel's cluster with which it is let in.
fn keys(folder: &Path, mechanism: &str, file: &str) -> String {
    let (ca, file) = (folder.join("ca.pem"), folder.join(file));
    let proof = if mechanism == "OAUTHBEARER" {
        format!("sasl.token_file = '{}'", file.display())
    } else {
        format!("sasl.username = \"{USER}\"\nsasl.password_file = '{}'", file.display())
    };
    format!("tls.enabled = true\ntls.ca = '{}'\nsasl.mechanism = \"{mechanism}\"\n{proof}", ca.display())
}

fn rolled(bench: &Bench, cluster: &mut Cluster, topic: &str, front: Front, how: Roll) -> Result<Report> {
    let through = front.listen.to_string();
    // franz-go compresses what it writes, and kafka-python can't read that.
    let go = GoClient::Sarama.unavailable();
    let mut producers = rolls::producers(bench);
    match &go {
        None => producers.push(Load::java("sarama").library(Library::Go(GoClient::Sarama))),
        Some(why) => bench.say(&format!("Go: {why}")),
    }
    let producers: Vec<ProducerSpec> = producers.into_iter().map(|spec| spec.rate(RATE)).collect();
    let mut load = Load::start(cluster, topic, &through, &producers)?;
    let python = PythonClient::KafkaPython202;
    if python.unavailable().is_none() {
        load.read_by("kafka-python-2.0.2", Library::Python(python), &through)?;
    }
    if go.is_none() {
        load.read_by("franz-go", Library::Go(GoClient::FranzGo), &through)?;
    }
    rolls::once(&mut load, cluster, how)?;
    load.finish(cluster)
}

/// Whether it was done as it should be: encrypted, never refused, with no more than the least rights, and with nothing told that is
/// secret. Answers what was not so.
fn unguarded(sidecar: &Sidecar, front: Front, figures: &mut String) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let sum = |name: &str, label: &str| sidecar.metric_sum(&format!("evenkeel_{name}"), &[label]);
    let [full, resumed] =
        ["kind=\"full\"", "kind=\"resumed\""].map(|kind| sum("upstream_handshakes_total", kind));
    let (full, resumed) = (full?, resumed?);
    let _ = writeln!(figures, "\nConnections to brokers: {full} with a full handshake, {resumed} resumed.\n");
    if is(full, 0.0) {
        found.push("no connection to a broker was encrypted".to_owned());
    }
    for outcome in ["tls", "sasl", "wrong_node"] {
        let count = sum("upstream_connect_total", &format!("outcome=\"{outcome}\""))?;
        if !is(count, 0.0) {
            found.push(format!("{count} connections to brokers ended as {outcome}"));
        }
    }
    let log = fs::read_to_string(sidecar.log()).map_err(Error::io("reading a sidecar's log"))?;
    for line in log.lines().filter(|line| line.contains("a request of Evenkeel's own is refused")) {
        found.push(line.to_owned());
    }
    for secret in PASSWORDS.iter().chain(&["eyJ"]).filter(|secret| log.contains(**secret)) {
        found.push(format!("{secret} stands in the log"));
    }
    // Last: Evenkeel says in its log, too, that it may not ask for this topic itself.
    let answer = Wire::connect(front.listen, "nosy", PATIENCE)
        .and_then(|mut wire| wire.metadata(FORBIDDEN))
        .map_err(Error::io("asking for a topic through Evenkeel"))?;
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    if codes != [TOPIC_AUTHORIZATION_FAILED] {
        found.push(format!("a topic without rights was answered with {codes:?}"));
    }
    Ok(found)
}
