//! What real brokers offer has its row in the operation table, and a layout that is known here.

use std::time::Duration;

use evenkeel::kafka::operations::{Route, row};
use evenkeel::kafka::wire;
use testbed::{Cluster, KafkaVersion, Spec, raw};

#[test]
fn every_api_that_brokers_offer_has_a_row() {
    for version in [KafkaVersion::V2_8_2, KafkaVersion::V3_9_2, KafkaVersion::V4_3_1] {
        let cluster = Cluster::start(Spec::new(version).fast().nodes(1)).unwrap();
        let offered = raw::offered(cluster.addr(1).unwrap(), Duration::from_secs(30)).unwrap();
        assert!(offered.len() > 50, "{version}: {offered:?}");
        let internal: Vec<i16> =
            offered.iter().map(|(key, ..)| *key).filter(|key| is_internal(*key, version)).collect();
        println!("{version}: {} APIs, {internal:?} between brokers", offered.len());
        for (key, low, high) in offered.iter().filter(|(key, ..)| !internal.contains(key)) {
            let known = wire::request(*key).unwrap().versions();
            let name = wire::api_name(*key);
            assert!(known.contains(high), "{version}: {name} up to {high}, known {known:?}");
            assert!(*low <= *known.end(), "{version}: {name} from {low}, known {known:?}");
        }
    }
}

fn is_internal(key: i16, version: KafkaVersion) -> bool {
    let row = row(key).unwrap_or_else(|| panic!("{version} offers API key {key}, which has no row"));
    row.route == Route::Internal
}
