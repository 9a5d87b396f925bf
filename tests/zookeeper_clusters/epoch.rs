//! A leader that has made no transaction yet shows a zxid that no follower has, and none of them takes a session that has seen it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use testbed::zookeeper::{Direct, Ensemble};
use testbed::{EnsembleSpec, Sidecar, ZooKeeperVersion, wait};

/// Far more than a drain of one session takes. A silent one that can't leave ends before, and its client begins another.
const BOUND: Duration = Duration::from_secs(15);

#[test]
fn a_leader_that_has_made_no_transaction_is_left() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_6)).unwrap();
    let binary = crate::binary();
    let (mut sidecar, listen) = Sidecar::zookeeper(binary, &ensemble.servers(), "", "").unwrap();
    sidecar.wait_ready(Duration::from_secs(60)).unwrap();
    let places = Arc::new(Mutex::new(vec![listen]));
    let mut client = Direct::connect(places, Duration::from_secs(40)).unwrap();
    let session = client.session();
    client.exists("/").unwrap().unwrap();

    // Another one leads then, and nobody has a new session or writes anything.
    let before = ensemble.leader().unwrap();
    ensemble.stop(before).unwrap();
    // Before it is back: it would be elected again.
    wait::until("another leader", Duration::from_secs(60), || {
        ensemble.leader().is_some_and(|leader| leader != before)
    })
    .unwrap();
    ensemble.start_server(before).unwrap();
    ensemble.wait_ready().unwrap();
    let leader = ensemble.leader().unwrap();
    assert_ne!(leader, before);
    let others: Vec<u8> = ensemble.ids().into_iter().filter(|id| *id != leader).collect();
    let path = |id: u8| format!("/v1/clusters/bed/members/{}/drain", ensemble.addr(id));
    let leave = |id: u8| {
        wait::poll("the end of a drain", BOUND, Duration::from_millis(10), || {
            Ok(matches!(sidecar.ask("PUT", &path(id))?, (200, _)).then_some(()))
        })
    };
    for id in &others {
        leave(*id).unwrap();
    }
    client.exists("/").unwrap().unwrap();
    let srvr = ensemble.ask(leader, "srvr").unwrap();
    let zxid = srvr.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap();
    assert!(zxid.ends_with("00000000"), "{srvr}");

    for id in &others {
        assert_eq!(sidecar.ask("DELETE", &path(*id)).unwrap().0, 200);
    }
    if let Err(error) = leave(leader) {
        panic!("{error}\n{}", sidecar.log_tail(40));
    }
    client.exists("/").unwrap().unwrap();
    assert_eq!(client.session(), session);
    let lost = sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", &[]).unwrap();
    assert!(testbed::scene::is(lost, 0.0), "{lost} connections closed");
}
