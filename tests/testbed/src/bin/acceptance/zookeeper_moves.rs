//! Planned moves of a thousand `ZooKeeper` sessions.

use testbed::zookeeper::{Moves, moves_table};
use testbed::{Result, ZooKeeperVersion};

use super::{Bench, Finding};

pub(super) fn run(bench: &Bench, version: ZooKeeperVersion) -> Result<Finding> {
    let moved = Moves::thousand(version).run(&bench.binary, |text| bench.say(text))?;
    // How long clients wait is the benchmark's to say (`bench moves`), beside what they wait without a move.
    Ok(Finding {
        figures: format!("ZooKeeper {version}.\n\n{}", moves_table(&moved)),
        breaches: moved.breaches,
    })
}
