//! `evenkeel check --connect` before scripted servers: what it finds, what it says to do, and that it leaves no session behind.

use crate::fake::{Act, Attach, Fake};
use crate::make::SASL;
use crate::sasl::{File, USER, WORD};
use crate::tunnel::{Files, door};
use evenkeel::app::check;
use evenkeel::config;
use evenkeel::findings::{Finding, Findings, Verdict, table};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use testbed::keys::{Authority, replace};

/// Longer than any check may take here.
const BOUND: Duration = Duration::from_secs(20);

async fn checked(servers: &[String], keys: &str) -> Findings {
    let text = format!(
        "[net]\nconnect_timeout = \"1s\"\n[[zookeeper]]\nname = \"z\"\nlisten = \"127.0.0.1:0\"\nservers = {servers:?}\n\
         attach_timeout = \"1s\"\n{keys}\n"
    );
    let config = config::parse(&text, "test.toml", []).unwrap();
    let found = tokio::time::timeout(BOUND, check::connect(&config)).await.expect("it ends").unwrap();
    let [found] = <[_; 1]>::try_from(found).unwrap();
    println!("{}", table(std::slice::from_ref(&found), None));
    found
}

async fn of(fake: &Fake, keys: &str) -> Findings {
    let servers: Vec<String> = fake.ids().into_iter().map(|id| fake.addr(id).to_string()).collect();
    checked(&servers, keys).await
}

fn at<'a>(found: &'a Findings, title: &str) -> &'a [Finding] {
    let group = found.groups.iter().find(|group| group.title == title);
    &group.unwrap_or_else(|| panic!("no {title}")).findings
}

/// The one that failed: its stage, why, and what to do. What is before it is well, what is behind it was not tried.
fn failed(findings: &[Finding]) -> (&str, &str, &str) {
    let at = findings.iter().position(|finding| finding.verdict == Verdict::Failed).expect("one failed");
    assert!(findings[..at].iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:#?}");
    assert!(findings[at + 1..].iter().all(|finding| finding.verdict == Verdict::NotTried), "{findings:#?}");
    (findings[at].stage, &findings[at].text, &findings[at].remedy)
}

#[tokio::test]
async fn a_sound_ensemble_is_shown_and_no_session_is_opened_without_need() {
    let fake = Fake::start(2).await;
    let found = of(&fake, "").await;
    assert_eq!((found.count(Verdict::Failed), found.count(Verdict::Warning)), (0, 0));
    let stages: Vec<&str> =
        at(&found, &fake.addr(2).to_string()).iter().map(|finding| finding.stage).collect();
    assert_eq!(stages, ["dns", "tcp", "tls", "state", "session", "sasl"]);
    let text = table(&[found], None);
    for part in [
        "2 of 2 servers serve, ZooKeeper 3.9.6",
        "leader, ZooKeeper 3.9.6",
        "follower, ZooKeeper",
        "none was opened",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(fake.world().sessions.is_empty());
    assert_eq!(fake.world().attached.len(), 2);
}

/// Credentials can be tried in a session alone: it is closed before the check ends.
#[tokio::test]
async fn credentials_are_tried_in_sessions_that_are_closed() {
    let fake = Fake::start(3).await;
    for id in fake.ids() {
        fake.server(id, |server| server.wants = Some((USER, if id == 3 { "another" } else { WORD })));
    }
    fake.script(2, SASL, Act::Close);
    let file = File::new("check", WORD);
    let found = of(&fake, &file.keys()).await;
    let good = at(&found, &fake.addr(1).to_string());
    assert!(good.iter().all(|finding| finding.verdict == Verdict::Ok), "{good:#?}");
    let (stage, why, _) = failed(at(&found, &fake.addr(2).to_string()));
    assert!(stage == "sasl" && why.contains("in the middle of a SASL authentication"), "{why}");
    let (stage, why, remedy) = failed(at(&found, &fake.addr(3).to_string()));
    assert!(
        stage == "sasl" && why.contains(&format!("SASL as {USER} in ensemble z: it does not accept")),
        "{why}"
    );
    assert!(why.contains(&fake.addr(3).to_string()), "{why}");
    assert!(remedy.contains("evenkeel-") && remedy.contains("on every server"), "{remedy}");
    assert!(!table(&[found], None).contains(WORD));
    let world = fake.world();
    let alive: Vec<i32> =
        world.sessions.values().filter(|known| known.alive).map(|known| known.timeout).collect();
    // Who hasn't proved who it is can't close its session: it has the shortest life that there is.
    assert_eq!(alive, [world.timeouts.0; 2]);
}

#[tokio::test]
async fn servers_that_can_not_be_used_are_told_apart_in_time() {
    let fake = Fake::start(5).await;
    fake.server(2, |server| server.mode = "none");
    fake.freeze(3, true);
    fake.server(4, |server| server.always = Some(Attach::Close));
    fake.down(5).await;
    let began = Instant::now();
    let found = of(&fake, "").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for (id, stage, why, remedy) in [
        (2, "state", "it says that it is not serving requests", "bring up enough servers for a quorum"),
        (3, "state", "it accepted the connection and did not answer", "is the server at work?"),
        (4, "session", "it closed the connection without an answer", "is it in a quorum"),
        (5, "tcp", "refused: nothing listens there", "is the member running"),
    ] {
        let addr = fake.addr(id).to_string();
        let found = failed(at(&found, &addr));
        assert_eq!(found.0, stage, "{found:?}");
        assert!(found.1.contains(why) && found.1.contains(&addr) && found.2.contains(remedy), "{found:?}");
    }
}

#[tokio::test]
async fn each_fault_of_encryption_is_told_with_what_to_do() {
    let files = Files::new();
    let one = &files.authority;
    let other = Authority::new("other").unwrap();
    replace(&files.path("other.pem"), other.pem()).unwrap();
    let trust = |name: &str| format!("tls.enabled = true\ntls.ca = '{}'", files.path(name).display());
    let (trusted, foreign) = (trust("ca.pem"), trust("other.pem"));
    let here: IpAddr = Ipv4Addr::LOCALHOST.into();
    let fake = Fake::start(1).await;
    let plain = fake.addr(1);
    let good = door(plain, &one.issue("zk-1.test", &[here]).unwrap()).await;
    let named = door(plain, &one.issue("elsewhere.test", &[]).unwrap()).await;
    let expired = door(plain, &one.expired("zk-1.test", &[here]).unwrap()).await;
    for (addr, keys, why, remedy) in [
        (
            good,
            foreign.as_str(),
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
        (plain, &trusted, "TLS", "name the port of its encrypted listener"),
    ] {
        let found = checked(&[addr.to_string()], keys).await;
        let found = failed(at(&found, &addr.to_string()));
        assert!(
            found.0 == "tls" && found.1.contains(why) && found.1.contains(&addr.to_string()),
            "{found:?}"
        );
        assert!(found.2.contains(remedy), "{found:?}");
    }
    let found = checked(&[good.to_string()], &trusted).await;
    assert_eq!(found.count(Verdict::Failed), 0);
}
