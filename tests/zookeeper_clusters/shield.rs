//! The poison shield: what stops all writes of a 3.9 ensemble doesn't reach it through Evenkeel.

use testbed::zookeeper::{Due, Malformed, shielded, stopped};
use testbed::{Ensemble, Sidecar, ZooKeeperVersion};

#[test]
fn no_malformed_request_stops_an_ensemble_of_3_9_behind_evenkeel() {
    let mut ensemble = Ensemble::start(ZooKeeperVersion::V3_9_5, 3).unwrap();
    let (mut sidecar, listen) =
        Sidecar::zookeeper(crate::binary(), &ensemble.servers(), "", "tick_time = \"500ms\"").unwrap();
    sidecar.wait_ready(std::time::Duration::from_secs(60)).unwrap();
    let requests = Malformed::all();
    let rows = shielded(listen, &ensemble, &requests).unwrap();
    let breaches: Vec<String> =
        requests.iter().zip(&rows).filter_map(|(request, row)| row.breach(request)).collect();
    assert!(breaches.is_empty(), "{breaches:#?}\n{}", sidecar.log_tail(40));
    drop(sidecar);
    // It is poison: the first of them, given to a server, is enough.
    let first: Vec<Malformed> =
        requests.into_iter().filter(|request| request.due == Due::Refused).take(1).collect();
    let direct = stopped(&mut ensemble, &first, |text| println!("{text}")).unwrap();
    assert!(direct.iter().all(|row| row.stopped), "{direct:?}");
}
