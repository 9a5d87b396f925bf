//! The lease on real servers: the moment at which the leader ends a session, and the moment at which its client stops
//! believing in it.

use testbed::ZooKeeperVersion;
use testbed::zookeeper::lease::{HEAD, Trouble, Via, breaches, round, rows};

#[test]
fn behind_a_frozen_sidecar_nobody_believes_too_long() {
    let trouble = Trouble::SidecarFrozen;
    let fates = round(crate::binary(), ZooKeeperVersion::V3_9_5, trouble, 3).unwrap();
    println!("{HEAD}{}", rows(trouble, &fates));
    assert_eq!(breaches(trouble, &fates), Vec::<String>::new());
    // Those behind it were ended; the others were not touched.
    for fate in fates {
        assert_eq!(fate.expired_us.is_some(), fate.via != Via::Direct, "{fate:?}");
    }
}
