//! Rolls of `ZooKeeper` ensembles under clients of six libraries: first as they see it without Evenkeel, for comparison, then
//! through it.

use std::fmt::Write as _;

use testbed::zookeeper::{Course, Load, Row, Through, ZooKeeperLibrary, breaches_of, table};
use testbed::{EnsembleSpec, Result, Roll, ZooKeeperVersion};

use super::{Bench, Finding};

const ROLLS: usize = 10;

/// Planned rolls.
pub(super) fn soft(bench: &Bench, version: ZooKeeperVersion) -> Result<Finding> {
    rolled(bench, version, Roll::Soft)
}

/// Rolls without warning. Without persistent watches: of those nobody can tell what a gap has hidden.
pub(super) fn hard(bench: &Bench, version: ZooKeeperVersion) -> Result<Finding> {
    rolled(bench, version, Roll::Hard)
}

fn rolled(bench: &Bench, version: ZooKeeperVersion, how: Roll) -> Result<Finding> {
    let mut load = Load::new(&ZooKeeperLibrary::here(version, |text| bench.say(text)));
    load.trees = how == Roll::Soft;
    let spec = EnsembleSpec::new(version);
    let run = |through, title: &str| {
        let announced = how == Roll::Soft;
        let keys = if announced { "persistent_watches = \"keep\"" } else { "" };
        let course = Course { spec, load: load.clone(), how, rolls: ROLLS, announced, keys };
        course.run(through, |text| bench.say(&format!("{title}, {text}")))
    };
    let direct = run(Through::Nothing, "directly")?;
    let mut figures = format!(
        "ZooKeeper {version}, {ROLLS} rolls, {how:?}; sessions of {} ms, a tick of {} ms.\n\n",
        load.timeout_ms, spec.tick_ms
    );
    let _ = write!(figures, "Directly:\n\n{}", table(&direct.rows));
    // Whoever lies to a client that asks the servers themselves, it isn't Evenkeel: then the judge is wrong, or the servers.
    let mut breaches: Vec<String> =
        direct.rows.iter().flat_map(Row::lies).map(|text| format!("directly: {text}")).collect();
    if bench.direct {
        return Ok(Finding { figures, breaches });
    }
    let behind = run(Through::Evenkeel(&bench.binary), "through Evenkeel")?;
    let _ = write!(figures, "\nThrough Evenkeel:\n\n{}", table(&behind.rows));
    let closed = behind.sidecar.as_ref().map_or(Ok(0.0), |sidecar| {
        sidecar.metric_sum("evenkeel_zookeeper_lease_closes_total", &["reason=\"unknown_outcome\""])
    })?;
    let _ = writeln!(figures, "\nConnections that Evenkeel closed for an unknown outcome: {closed}.");
    let closed = format!("{closed}").parse().unwrap_or(0);
    breaches.extend(breaches_of(&behind.rows, closed));
    Ok(Finding { figures, breaches })
}
