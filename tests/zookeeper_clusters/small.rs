//! One server: its restart is an outage, and within the lease nobody notices more than a pause.

use testbed::ZooKeeperVersion;
use testbed::zookeeper::small::{HEAD, Story, breaches, row, run};

#[test]
fn a_single_server_is_killed_and_comes_back_in_time() {
    let (version, story) = (ZooKeeperVersion::V3_9_5, Story::OneShort);
    let outcome = run(crate::binary(), version, story, 1, &|text| println!("{text}")).unwrap();
    println!("{HEAD}{}", row(version, story, &outcome));
    assert_eq!(breaches(story, &outcome), Vec::<String>::new());
    assert_eq!(outcome.run.events.len(), 1);
}
