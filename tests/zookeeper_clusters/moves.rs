//! Drains move sessions of a crowd, and no watch event is lost.

use std::time::Duration;
use testbed::zookeeper::{Moves, Size, moves_table};
use testbed::{EnsembleSpec, ZooKeeperVersion};

/// Pauses are measured in `bench/`: what else runs on this machine is no business of theirs.
fn drained(version: ZooKeeperVersion) {
    let every = Duration::from_millis(50);
    let size = Size {
        sessions: 60,
        group: 10,
        change_every: every,
        beat: every,
        one_in: 10,
        hot: version == ZooKeeperVersion::V3_9_6,
    };
    let moves = Moves { spec: EnsembleSpec::new(version), alone: 9, size, drains: 6, events: 2000 };
    let found = moves.run(crate::binary(), |text| println!("{text}")).unwrap();
    let table = moves_table(&found);
    println!("{table}");
    assert!(found.breaches.is_empty(), "{:#?}\n{table}", found.breaches);
    let there: usize = found.drains.iter().map(|drain| drain.sessions).sum();
    let least = f64::from(u32::try_from(there).unwrap());
    assert!(there > 100 && found.moves >= least, "a drain that moves nobody proves nothing\n{table}");
    assert!(found.events.seen >= 2000, "{table}");
}

#[test]
fn drains_of_3_8_lose_no_event() {
    drained(ZooKeeperVersion::V3_8_7);
}

#[test]
fn drains_of_3_9_lose_no_event() {
    drained(ZooKeeperVersion::V3_9_6);
}
