//! `evenkeel check --connect` before scripted brokers: what it finds, what it says to do, and what it must not do.

use crate::asks::Asks;
use crate::fake::Fake;
use crate::sasl::{AUTHENTICATE, HANDSHAKE, Password};
use crate::tunnel::door;
use evenkeel::app::check;
use evenkeel::config;
use evenkeel::findings::{Finding, Findings, Verdict, table};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testbed::keys::{Authority, replace};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Longer than any check may take here.
const BOUND: Duration = Duration::from_secs(20);

async fn checked(bootstrap: &[String], keys: &str) -> Findings {
    let text = format!(
        "[net]\nconnect_timeout = \"1s\"\n[[kafka]]\nname = \"k\"\nlisten = \"127.0.0.1:0\"\nbootstrap = {bootstrap:?}\n\
         broker_ports = \"10100-10109\"\n{keys}\n"
    );
    let config = config::parse(&text, "test.toml", []).unwrap();
    let found = tokio::time::timeout(BOUND, check::connect(&config)).await.expect("it ends").unwrap();
    let [found] = <[_; 1]>::try_from(found).unwrap();
    println!("{}", table(std::slice::from_ref(&found), None));
    found
}

async fn of(fake: &Fake, nodes: &[i32], keys: &str) -> Findings {
    let bootstrap: Vec<String> = nodes.iter().map(|node| fake.addr(*node).to_string()).collect();
    checked(&bootstrap, keys).await
}

fn group<'a>(found: &'a Findings, part: &str) -> &'a [Finding] {
    let group = found.groups.iter().find(|group| group.title.contains(part));
    &group.unwrap_or_else(|| panic!("no {part}")).findings
}

fn stages(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings.iter().map(|finding| (finding.stage, finding.verdict.word())).collect()
}

/// The one that failed: its stage, why, and what to do. What is before it is well, what is behind it was not tried.
fn failed(findings: &[Finding]) -> (&str, &str, &str) {
    let at = findings.iter().position(|finding| finding.verdict == Verdict::Failed).expect("one failed");
    assert!(findings[..at].iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:#?}");
    assert!(findings[at + 1..].iter().all(|finding| finding.verdict == Verdict::NotTried), "{findings:#?}");
    (findings[at].stage, &findings[at].text, &findings[at].remedy)
}

#[tokio::test]
async fn each_stage_of_a_sound_cluster_is_shown_and_nothing_is_written() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    fake.ask(&Asks { lasts: Duration::from_secs(60), ..Asks::plain(&[("held", "very-s3cret")]) });
    let password = Password::new("very-s3cret");
    let found = of(&fake, &[1], &password.keys("PLAIN")).await;
    assert_eq!((found.count(Verdict::Failed), found.count(Verdict::Warning)), (0, 0));
    let titles: Vec<&str> = found.groups.iter().map(|group| group.title.as_str()).collect();
    let [one, two] = [1, 2].map(|node| fake.addr(node));
    let (one, two) = (format!("{one} (node 1, bootstrap)"), format!("{two} (node 2)"));
    assert_eq!(
        titles,
        ["the cluster", &one, &two],
        "an address that is looked at as a node's is not shown twice"
    );
    let all =
        [("dns", "ok"), ("tcp", "ok"), ("tls", "ok"), ("sasl", "ok"), ("versions", "ok"), ("node", "ok")];
    assert_eq!(stages(group(&found, "node 2")), all);
    let text = table(&[found], None);
    for part in [
        "cluster id the-cluster; brokers 1, 2\n",
        "PLAIN as \"held\"; the session lasts 60s",
        "it is node 2 of this cluster",
        "APIs: Produce 0-",
        "what Evenkeel needs for itself; 1 topics are seen",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
    let seen = fake.world().seen.clone();
    // Versions, Metadata, DescribeConfigs, and what shows who we are.
    assert!(seen.iter().all(|seen| [18, 3, 32, HANDSHAKE, AUTHENTICATE].contains(&seen.key)));
    assert_eq!(seen.iter().filter(|seen| seen.key == AUTHENTICATE).count(), 3);
}

/// Nothing listens, nobody knows the name, nobody answers, something else does, all ends at once: each is told, in order and in time.
#[tokio::test]
async fn what_is_no_broker_is_told_apart_in_time() {
    let serve = async |answer: Option<&'static [u8]>| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut kept: Vec<TcpStream> = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                match answer {
                    None => kept.push(stream),
                    Some(answer) => {
                        let _ = stream.readable().await;
                        let _ = stream.try_read(&mut [0; 4096]);
                        let _ = stream.write_all(answer).await;
                    }
                }
            }
        });
        addr.to_string()
    };
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let silent = serve(None).await;
    let http = serve(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let ends = serve(Some(b"")).await;
    let all = [closed, "nowhere.invalid:9092".to_owned(), silent, http, ends];
    let began = Instant::now();
    let found = checked(&all, "").await;
    // All at once: the silent one's second, and what the name takes.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for (at, stage, why, remedy) in [
        (0, "tcp", "refused: nothing listens there", "does it listen on port"),
        (1, "dns", "can't resolve \"nowhere.invalid\"", "mend the name nowhere.invalid"),
        (2, "versions", "no answer within 1s", "doesn't answer as a broker"),
        (3, "versions", "the answer is no Kafka frame", "Something else answers there"),
        (
            4,
            "versions",
            "the broker closed the connection without an answer",
            "is this the port of a Kafka listener",
        ),
    ] {
        let found = failed(&found.groups[at].findings);
        assert_eq!(found.0, stage, "{found:?}");
        assert!(found.1.contains(why) && found.1.contains(&all[at]), "{found:?}");
        assert!(found.2.contains(remedy), "{found:?}");
    }
    assert_eq!(stages(group(&found, "the cluster")), [("members", "not tried"), ("rights", "not tried")]);
}

#[tokio::test]
async fn each_refusal_of_credentials_is_told_with_what_to_do() {
    let (right, wrong) = (Password::new("s3cret"), Password::new("wr0ng"));
    let asking = Asks::plain(&[("held", "s3cret")]);
    for (asks, keys, why, remedy) in [
        (
            true,
            wrong.keys("PLAIN"),
            "PLAIN as \"held\" is refused: Authentication failed: who are you?",
            "the password in",
        ),
        (
            true,
            right.keys("SCRAM-SHA-512"),
            "doesn't take this mechanism, but PLAIN",
            "set sasl.mechanism to one that",
        ),
        (true, String::new(), "the broker asks for SASL, by PLAIN", "clients' own are of no use without it"),
    ] {
        let fake = Fake::start(&[1]).await;
        if asks {
            fake.ask(&asking);
        }
        let found = of(&fake, &[1], &keys).await;
        let found = failed(&found.groups[0].findings);
        assert!(found.0 == "sasl" && found.1.contains(why) && found.2.contains(remedy), "{found:?}");
        assert!(!format!("{found:?}").contains("wr0ng"));
    }
}

/// The classic: bootstrap works, and what the brokers advertise doesn't.
#[tokio::test]
async fn what_a_broker_advertises_is_reached_too() {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.topic("t", &[1]);
    fake.down(2).await;
    fake.broker(3, |broker| broker.claims = 7);
    let found = of(&fake, &[1], "").await;
    assert_eq!(found.count(Verdict::Failed), 2);
    let (stage, why, remedy) = failed(group(&found, "(node 2)"));
    assert!(stage == "tcp" && why.contains("nothing listens there"), "{why}");
    assert!(remedy.starts_with("node 2 advertises this address (advertised.listeners)"), "{remedy}");
    let (stage, why, remedy) = failed(group(&found, "(node 3)"));
    assert!(stage == "node" && why.contains("another broker than node 3 answers here"), "{why}");
    assert!(remedy.contains("node 3 advertises"), "{remedy}");
}

#[tokio::test]
async fn bootstrap_addresses_of_two_clusters_are_told() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    fake.broker(2, |broker| broker.other_cluster = Some("another".to_owned()));
    let found = of(&fake, &[1, 2], "").await;
    let text = table(std::slice::from_ref(&found), None);
    assert!(text.contains("a broker of another cluster answers here (cluster id "), "{text}");
    assert!(found.count(Verdict::Failed) > 0);
}

#[tokio::test]
async fn rights_that_are_lacking_are_warnings_with_the_command_that_gives_them() {
    let fake = Fake::start(&[1]).await;
    fake.world().denies_configs = true;
    fake.world().operations = (1 << 8, 1 << 8);
    fake.topic("t", &[1]);
    let found = of(&fake, &[1], "").await;
    assert_eq!(found.count(Verdict::Failed), 0);
    let text = table(&[found], None);
    for part in [
        "lacks DESCRIBE_CONFIGS on the cluster: whether a connection leads to the node",
        "lacks IDEMPOTENT_WRITE on the cluster, and WRITE on every topic that there is",
        "remedy: kafka-acls.sh --bootstrap-server BROKER --command-config ADMIN.properties --add --allow-principal PRINCIPAL --operation IdempotentWrite --cluster",
        "whether it is node 1 may not be asked (CLUSTER_AUTHORIZATION_FAILED)",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn a_range_of_ports_that_is_too_small_is_told() {
    let nodes: Vec<i32> = (1..=11).collect();
    let fake = Fake::start(&nodes).await;
    let found = of(&fake, &[1], "").await;
    let ports = group(&found, "the cluster").iter().find(|finding| finding.stage == "ports").unwrap();
    assert_eq!(ports.verdict, Verdict::Failed);
    assert!(
        ports.text.starts_with("no port of broker_ports (10100-10109) is left for brokers 11"),
        "{}",
        ports.text
    );
}

/// Files of TLS, which are removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("evenkeel-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn trust(&self, name: &str, authority: &Authority) -> String {
        let path = self.0.join(name);
        replace(&path, authority.pem()).unwrap();
        format!("tls.enabled = true\ntls.ca = '{}'", path.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn each_fault_of_encryption_is_told_with_what_to_do() {
    let folder = Folder::new("kafka");
    let [one, other] = ["one", "other"].map(|name| Authority::new(name).unwrap());
    let (trusted, foreign) = (folder.trust("ca.pem", &one), folder.trust("other.pem", &other));
    let here: IpAddr = Ipv4Addr::LOCALHOST.into();
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let plain = fake.addr(1);
    let good = door(plain, &one.issue("kafka-1.test", &[here]).unwrap()).await;
    let named = door(plain, &one.issue("elsewhere.test", &[]).unwrap()).await;
    let expired = door(plain, &one.expired("kafka-1.test", &[here]).unwrap()).await;
    fake.broker(1, |broker| broker.addr = good);
    let cases: [(SocketAddr, &str, &str, &str); 5] = [
        (
            good,
            &foreign,
            "its certificate was issued by no authority in",
            "put the certificate of the authority",
        ),
        (
            named,
            &trusted,
            "its certificate is not for the name 127.0.0.1, but for",
            "look the member up by a name that",
        ),
        (expired, &trusted, "its certificate has expired (2021-01-01)", "renew the member's certificate"),
        (
            good,
            "",
            "it is an encrypted listener: set tls.enabled = true",
            "tls.ca to the file of the authority",
        ),
        (plain, &trusted, "no answer in the TLS handshake within 1s", "is it a port that speaks TLS"),
    ];
    for (at, keys, why, remedy) in cases {
        let found = checked(&[at.to_string()], keys).await;
        let group = found.groups.iter().find(|group| group.title.contains("bootstrap")).unwrap();
        let found = failed(&group.findings);
        assert!(found.0 == "tls" && found.1.contains(why) && found.1.contains(&at.to_string()), "{found:?}");
        assert!(found.2.contains(remedy), "{found:?}");
    }
    let found = checked(&[good.to_string()], &trusted).await;
    assert_eq!(found.count(Verdict::Failed), 0);
    let text = table(&[found], None);
    assert!(text.contains("TLS 1.3; its certificate is for kafka-1.test, 127.0.0.1, until "), "{text}");
    assert!(text.contains("ca.pem: for "), "{text}");
}
