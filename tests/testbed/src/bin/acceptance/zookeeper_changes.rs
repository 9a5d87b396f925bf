//! `ZooKeeper` ensembles that become others under clients of six libraries: another version, other addresses, other members.

use testbed::zookeeper::{Load, Refit, ZooKeeperLibrary, breaches_of, table};
use testbed::{Result, ZooKeeperVersion};

use super::{Bench, Finding};

pub(super) fn run(bench: &Bench, version: ZooKeeperVersion, refit: Refit) -> Result<Finding> {
    let mut load = Load::new(&ZooKeeperLibrary::here(version, |text| bench.say(text)));
    // No client has a persistent watch here: the leader takes every connection with it when it goes, and Evenkeel closes those of such
    // clients then. Planned moves with persistent watches, and what the leader's stop costs them, are shown by the announced rolls.
    load.trees = false;
    let ending = refit.run(version, &load, &bench.binary, |text| bench.say(text))?;
    let mut breaches = breaches_of(&ending.rows, 0);
    let unknown: usize = ending.rows.iter().map(|row| row.writes.unknown()).sum();
    if unknown > 0 {
        breaches.push(format!("{unknown} writes of unknown outcome, though every server was drained first"));
    }
    let figures = format!(
        "ZooKeeper {version}; sessions of {} ms, a tick of {} ms.\n\n{}",
        load.timeout_ms,
        ending.ensemble.spec().tick_ms,
        table(&ending.rows)
    );
    Ok(Finding { figures, breaches })
}
