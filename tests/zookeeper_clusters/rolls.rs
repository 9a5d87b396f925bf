//! Clients behind Evenkeel don't notice a roll.

use testbed::zookeeper::{
    Course, Ending, Excuse, Load, Through, ZooKeeperLibrary, breaches_of, closes, table, unaccounted,
};
use testbed::{EnsembleSpec, Roll, ZooKeeperVersion};

fn roll(version: ZooKeeperVersion, how: Roll, announced: bool) {
    roll_of(EnsembleSpec::new(version), how, announced);
}

fn roll_of(spec: EnsembleSpec, how: Roll, announced: bool) {
    let load = Load::new(&ZooKeeperLibrary::here(spec.version, |text| println!("{text}")));
    roll_with(spec, load, how, announced);
}

fn roll_with(spec: EnsembleSpec, mut load: Load, how: Roll, announced: bool) -> Ending {
    let plants = load.libraries.iter().filter(|library| library.plants()).count();
    // Nobody can tell what a persistent watch would have told in a gap, so that its client is let go then: when its server is
    // lost, or the leader, which takes all connections with it. Where moves are planned, only the latter is left.
    load.trees = announced;
    let (keys, excuse) = ("", Excuse::Closed);
    let course = Course { spec, load, how, rolls: 1, announced, keys, excuse };
    let ending = course.run(Through::Evenkeel(crate::binary()), |text| println!("{text}")).unwrap();
    let rows = &ending.rows;
    println!("{}\n{}", table(rows), closes(rows));
    let unknown = if announced { 0 } else { ending.closed("unknown_outcome").unwrap() };
    let mut breaches = breaches_of(rows, unknown);
    breaches.extend(unaccounted(rows, ending.closed("persistent_watches").unwrap()));
    let log = ending.sidecar.as_ref().unwrap().log_tail(60);
    assert!(breaches.is_empty(), "{breaches:#?}\n{}\n{log}", table(rows));
    if spec.secure {
        let handshakes = |kind: &str| {
            let sidecar = ending.sidecar.as_ref().unwrap();
            sidecar.metric_sum("evenkeel_upstream_handshakes_total", &[&format!("kind=\"{kind}\"")]).unwrap()
        };
        let (full, resumed) = (handshakes("full"), handshakes("resumed"));
        println!("connections to servers: {full} with a full handshake, {resumed} resumed");
        // The servers make their TLS context anew for each connection (3.9.5), and remember no session.
        assert!(full > 0.0, "no connection to a server was encrypted");
    }
    for row in rows {
        assert!(row.writes.done > 50 && row.watches.told > 10, "{}", table(rows));
        let closed = row.sessions.closed > 0;
        assert!(!announced || closed || row.writes.unknown() == 0, "{}\n{log}", table(rows));
        let tree = row.tree.as_ref().map_or(usize::MAX, |tree| tree.due);
        assert!(tree > 10, "too few changes below its persistent watch\n{}", table(rows));
    }
    assert_eq!(rows.iter().filter(|row| row.tree.is_some()).count(), if announced { plants } else { 0 });
    ending
}

#[test]
fn an_announced_roll_of_3_8_is_not_noticed() {
    roll(ZooKeeperVersion::V3_8_6, Roll::Soft, true);
}

#[test]
fn an_announced_roll_of_3_9_is_not_noticed() {
    roll(ZooKeeperVersion::V3_9_5, Roll::Soft, true);
}

/// Evenkeel and the servers prove who they are to each other; the clients speak plain text on the loopback.
#[test]
fn an_announced_roll_over_tls_is_not_noticed() {
    roll_of(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).secure(), Roll::Soft, true);
}

/// Servers that serve nobody who hasn't proved to be a certain user; Evenkeel does so on each connection. kazoo knows nothing of it; Java's client
/// proves to Evenkeel that it is that user. Both authenticate themselves besides (digest), and make nodes that are only for those that their
/// sessions are.
fn with_sasl(version: ZooKeeperVersion, how: Roll, announced: bool) {
    let mut load = Load::new(&[ZooKeeperLibrary::Kazoo, ZooKeeperLibrary::Java(version)]);
    (load.own, load.login) = (true, true);
    let ending = roll_with(EnsembleSpec::new(version).sasl(), load, how, announced);
    let count = |fate: &str| {
        let label = format!("fate=\"{fate}\"");
        ending
            .sidecar
            .as_ref()
            .unwrap()
            .metric_sum("evenkeel_zookeeper_client_sasl_total", &[&label])
            .unwrap()
    };
    let (answered, refused) = (count("answered"), count("refused"));
    println!("clients' own exchanges: {answered} answered, {refused} refused");
    assert!(answered >= 1.0 && refused == 0.0, "{answered} {refused}");
}

#[test]
fn an_announced_roll_with_sasl_of_3_9_is_not_noticed() {
    with_sasl(ZooKeeperVersion::V3_9_5, Roll::Soft, true);
}

#[test]
fn a_hard_roll_with_sasl_of_3_8_is_not_noticed() {
    with_sasl(ZooKeeperVersion::V3_8_6, Roll::Hard, false);
}

#[test]
fn a_soft_roll_of_3_9_is_not_noticed() {
    roll(ZooKeeperVersion::V3_9_5, Roll::Soft, false);
}

#[test]
fn a_hard_roll_of_3_8_is_not_noticed() {
    roll(ZooKeeperVersion::V3_8_6, Roll::Hard, false);
}
