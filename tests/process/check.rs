//! What `check` says of a configuration, and with `--connect` of members that can't be reached; and what a running Evenkeel does then.

use super::{Folder, PATIENCE, Running, config, once};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

const BROKEN: &str = "worker_threads = 0\nwat = 1\n[admin]\nlisten = \"localhost\"\n";

#[test]
fn check_says_ok_or_every_problem() {
    let folder = Folder::new("check");
    let output = once(&["check"], &folder.write(&config("info", "21000-21009")));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ok: "));
    let output = once(&["check"], &folder.write(BROKEN));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    for part in ["worker_threads", "wat", "admin.listen", "kafka"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(once(&["check"], Path::new("/nonexistent/evenkeel.toml")).status.code(), Some(1));
}

#[test]
fn run_refuses_what_check_refuses_in_the_same_words() {
    let folder = Folder::new("refuse");
    let file = folder.write(BROKEN);
    let run = once(&["run"], &file);
    assert_eq!(run.status.code(), Some(1));
    let text = String::from_utf8(run.stderr).unwrap();
    assert!(text.lines().count() >= 4, "{text}");
    assert_eq!(text, String::from_utf8(once(&["check"], &file).stderr).unwrap());
}

/// It ends in time whatever is there, says what it found on the standard output alone, and tells by its exit code.
#[test]
fn check_connect_tells_what_can_not_be_reached() {
    let folder = Folder::new("connect");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = [silent.local_addr().unwrap().to_string(), "127.0.0.1:1".to_owned()];
    let ensemble = format!(
        "[[zookeeper]]\nname = \"coord\"\nlisten = \"127.0.0.1:0\"\nservers = {servers:?}\n[net]\nconnect_timeout = \"1s\"\n"
    );
    let file = folder.write(&(config("info", "21020-21029") + &ensemble));
    let began = Instant::now();
    let output = once(&["check", "--connect"], &file);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(3), &b""[..]), "{text}");
    for part in [
        "kafka orders\n  127.0.0.1:1 (bootstrap)\n    dns         ok         127.0.0.1\n    tcp         failed     can't connect",
        "remedy: is the member running",
        "zookeeper coord\n",
        "state       failed     ",
        "\n3 failed, 0 to look after\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let output = once(&["check", "--connect"], &folder.write(BROKEN));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "what can't be used isn't tried");
}

/// Nothing spins, and nothing fills the log: the reason is said once, each attempt is counted, and who asks is told how the last one ended.
#[test]
fn a_bootstrap_address_that_can_not_be_reached_is_said_once_and_tried_at_a_pace() {
    let folder = Folder::new("pace");
    let mut running = Running::start(&folder.write(&config("info", "21090-21099")));
    let attempts = |text: &str| {
        let series = "evenkeel_kafka_bootstrap_connect_total{cluster=\"orders\",outcome=\"refused\"";
        let line = text.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).unwrap()
    };
    let (began, until) = (Instant::now(), Instant::now() + PATIENCE);
    while attempts(&running.get("/metrics")) < 5 {
        assert!(Instant::now() < until, "it gave up");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Four pauses, of which none is shorter than 25 ms.
    assert!(began.elapsed() > Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(
        running.get("/readyz").contains("kafka orders: no broker reached yet (the last attempt: refused)")
    );
    running.signal(Signal::TERM);
    running.exit();
    while let Ok(line) = running.lines.recv_timeout(PATIENCE) {
        running.seen.push(line);
    }
    let said = running.seen.iter().filter(|line| line.contains("no answer from this bootstrap address"));
    assert_eq!(said.count(), 1, "{:#?}", running.seen);
}

/// A certificate of our own that has expired is said by a plain `check`, by one that connects, and at the start.
#[test]
fn an_expired_certificate_of_our_own_is_said() {
    let folder = Folder::new("expired");
    let authority = testbed::keys::Authority::new("an authority").unwrap();
    let pair = authority.expired("localhost", &[]).unwrap();
    let (certificate, key) = (folder.0.join("own.pem"), folder.0.join("own.key"));
    std::fs::write(&certificate, &pair.certificate).unwrap();
    std::fs::write(&key, &pair.key).unwrap();
    let keys = |table: &str| {
        format!("{table}.certificate = '{}'\n{table}.key = '{}'\n", certificate.display(), key.display())
    };
    let text = config("info", "21120-21129");
    let admin = text.replacen("[log]", &format!("{}[log]", keys("tls")), 1);
    for (name, text) in [("orders", format!("{text}{}", keys("listen_tls"))), ("admin", admin)] {
        let file = folder.write(&text);
        let output = once(&["check"], &file);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains(&format!("warning: {name}: ")) && said.contains("it has expired; renew"),
            "{said}"
        );
        let connected = String::from_utf8(once(&["check", "--connect"], &file).stdout).unwrap();
        assert!(connected.contains("it has expired"), "{connected}");
    }
}
