//! Ensembles become others under clients that don't notice.

use testbed::ZooKeeperVersion;
use testbed::zookeeper::{Load, Refit, ZooKeeperLibrary, breaches_of, table};

fn refitted(version: ZooKeeperVersion, refit: Refit) {
    // Two that are as different as can be; all of them in `make acceptance`.
    let mut libraries = ZooKeeperLibrary::here(version, |text| println!("{text}"));
    libraries.retain(|library| matches!(library, ZooKeeperLibrary::Kazoo | ZooKeeperLibrary::Java(_)));
    let mut load = Load::new(&libraries);
    // No client has a persistent watch here: the leader takes every connection with it when it goes, and Evenkeel closes those of such
    // clients then. Planned moves with persistent watches, and what the leader's stop costs them, are shown by the announced rolls.
    load.trees = false;
    let ending = refit.run(version, &load, crate::binary(), |text| println!("{text}")).unwrap();
    let rows = &ending.rows;
    println!("{}", table(rows));
    let breaches = breaches_of(rows, 0);
    let log = ending.sidecar.as_ref().unwrap().log_tail(60);
    assert!(breaches.is_empty(), "{breaches:#?}\n{}\n{log}", table(rows));
    for row in rows {
        assert!(row.writes.done > 50 && row.watches.told > 10, "{}", table(rows));
        assert_eq!(row.writes.unknown(), 0, "{}\n{log}", table(rows));
    }
}

#[test]
fn an_upgrade_from_3_8_to_3_9_is_not_noticed() {
    refitted(ZooKeeperVersion::V3_8_6, Refit::Upgrade(ZooKeeperVersion::V3_9_5));
}

#[test]
fn other_addresses_behind_the_same_names_are_not_noticed() {
    refitted(ZooKeeperVersion::V3_9_5, Refit::Names);
}

#[test]
fn another_list_in_the_configuration_is_not_noticed() {
    refitted(ZooKeeperVersion::V3_8_6, Refit::List);
}

#[test]
fn other_members_by_reconfig_are_not_noticed() {
    refitted(ZooKeeperVersion::V3_9_5, Refit::Members);
}
