//! Servers that serve nobody who hasn't proved to be a certain user, and a password that is not theirs.

use std::fs;
use std::time::Duration;

use testbed::keys::replace;
use testbed::zookeeper::sasl::{PASSWORD, USER};
use testbed::{Ensemble, EnsembleSpec, Sidecar, ZooKeeperVersion, wait};

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
    replace(&ensemble.password_file(), &format!("{PASSWORD}\n")).unwrap();
    sidecar.wait_ready(Duration::from_secs(30)).unwrap();
    let log = fs::read_to_string(sidecar.log()).unwrap();
    assert!(!log.contains("wr0ng") && !log.contains(PASSWORD), "{log}");
}
