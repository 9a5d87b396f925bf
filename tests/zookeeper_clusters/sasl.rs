//! Servers that serve nobody who hasn't proved to be a certain user, and a password that is not theirs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use testbed::keys::{Authority, replace};
use testbed::zookeeper::sasl::{PASSWORD, USER};
use testbed::{Ensemble, EnsembleSpec, Sidecar, ZooKeeperVersion, wait};

/// What `check --connect` says of a sidecar's configuration, and its exit code.
fn checked(sidecar: &Sidecar) -> (i32, String) {
    let mut command = Command::new(crate::binary());
    let output = command.args(["check", "--connect", "--config"]).arg(sidecar.config()).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    println!("{text}");
    (output.status.code().unwrap(), text)
}

/// It is said at the start, once for each server, with everything that one needs to know, and shown in a metric; and it is over as soon as the
/// file is right.
#[test]
fn a_wrong_password_is_told_and_read_again() {
    let ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).servers(1).sasl()).unwrap();
    let (servers, keys) = ensemble.for_sidecar();
    replace(&ensemble.password_file(), "wr0ng-w0rd\n").unwrap();
    let binary = crate::binary();
    let (mut sidecar, _) = Sidecar::zookeeper(binary, &servers, "", &keys).unwrap();
    let log = || fs::read_to_string(sidecar.log()).unwrap();
    let line = |log: &str| {
        let all = log.lines().filter(|line| line.contains("does not accept the credentials"));
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    wait::until("the reason in the log", Duration::from_secs(30), || !line(&log()).is_empty()).unwrap();
    std::thread::sleep(Duration::from_secs(3)); // whatever else would be said
    let told = line(&log());
    assert_eq!(told.len(), 1, "{told:#?}");
    let [told] = &told[..] else { panic!("{told:#?}") };
    let who = format!("SASL as {USER} in ensemble bed");
    for word in [who.as_str(), &servers, "SessionClosedRequireSaslAuth"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(sidecar.get("/readyz").unwrap().0, 503);
    let denied = sidecar.metric_sum("evenkeel_upstream_connect_total", &["outcome=\"sasl\""]).unwrap();
    assert!(denied >= 1.0, "{denied}");
    let (code, text) = checked(&sidecar);
    let failed = text
        .lines()
        .find(|line| line.contains("sasl        failed     "))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(code == 3 && failed.contains(&who) && failed.contains(&servers), "{code}\n{text}");
    assert!(!text.contains("wr0ng"), "{text}");
    replace(&ensemble.password_file(), &format!("{PASSWORD}\n")).unwrap();
    sidecar.wait_ready(Duration::from_secs(30)).unwrap();
    let (code, text) = checked(&sidecar);
    assert!(code == 0 && text.contains("ok         it opened one, which was closed again"), "{code}\n{text}");
    assert!(text.contains(&format!("DIGEST-MD5 as {USER}")) && !text.contains(PASSWORD), "{text}");
    let log = fs::read_to_string(sidecar.log()).unwrap();
    assert!(!log.contains("wr0ng") && !log.contains(PASSWORD), "{log}");
}

/// An encrypted port that wants a certificate, and a plain one: each fault is told at the start in the log, by `check --connect` and in a metric,
/// and tried again at a pace.
#[test]
fn each_fault_of_encryption_is_told() {
    let ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).servers(1).secure()).unwrap();
    let (secure, good) = ensemble.for_sidecar();
    let plain = ensemble.servers();
    let foreign = ensemble.folder().join("foreign.pem");
    replace(&foreign, Authority::new("foreign").unwrap().pem()).unwrap();
    let ca = ensemble.folder().join("ca.pem").display().to_string();
    let alone = format!("tls.enabled = true\ntls.ca = '{ca}'");
    let distrusted = good.replace(&ca, &foreign.display().to_string());
    let faults = [
        (&secure, distrusted, "its certificate was issued by no authority in ", "tls", "tls"),
        (&secure, alone, "it wants a certificate: set tls.certificate and tls.key", "tls", "tls"),
        (&secure, String::new(), "as an encrypted port does: is tls.enabled = true missing?", "tls", "tls"),
        (&plain, good.clone(), "in the TLS handshake", "tls", "tls"),
    ];
    let count = |sidecar: &Sidecar, outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        sidecar.metric_sum("evenkeel_upstream_connect_total", &[&label]).unwrap()
    };
    let mut sidecars = Vec::new();
    for (servers, keys, why, stage, outcome) in &faults {
        let (sidecar, _) = Sidecar::zookeeper(crate::binary(), servers, "", keys).unwrap();
        let told = wait::until("the reason in the log", Duration::from_secs(30), || {
            let log = fs::read_to_string(sidecar.log()).unwrap();
            log.lines().any(|line| line.contains(why) && line.contains(servers.as_str()))
        });
        assert!(told.is_ok(), "{why}\n{}", sidecar.log_tail(20));
        let (code, text) = checked(&sidecar);
        let line = text.lines().find(|line| line.contains(&format!("{stage:<11} failed     ")));
        assert!(code == 3 && line.is_some_and(|line| line.contains(why)), "{code} {why}\n{text}");
        assert!(count(&sidecar, outcome) >= 1.0, "{}", sidecar.get("/metrics").unwrap().1);
        let (status, unready) = sidecar.get("/readyz").unwrap();
        assert!(status == 503 && unready.contains(&format!("(the last attempt: {outcome})")), "{unready}");
        sidecars.push((sidecar, outcome));
    }
    let counts = || sidecars.iter().map(|(sidecar, outcome)| count(sidecar, outcome)).collect::<Vec<_>>();
    let before = counts();
    std::thread::sleep(Duration::from_secs(5));
    for (before, after) in before.into_iter().zip(counts()) {
        assert!((1.0..=10.0).contains(&(after - before)), "{} attempts in 5 s", after - before);
    }
    let (mut sidecar, _) = Sidecar::zookeeper(crate::binary(), &secure, "", &good).unwrap();
    sidecar.wait_ready(Duration::from_secs(30)).unwrap();
    let (code, text) = checked(&sidecar);
    assert!(
        code == 0 && text.contains("TLS 1.3; its certificate is for zookeeper-1.test, "),
        "{code}\n{text}"
    );
}
