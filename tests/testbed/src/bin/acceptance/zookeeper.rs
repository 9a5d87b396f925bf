//! Rolls of `ZooKeeper` ensembles under clients of six libraries: first as they see it without Evenkeel, for comparison, then
//! through it.

use std::fmt::Write as _;

use testbed::zookeeper::{
    Course, Ending, Excuse, Load, Row, Through, ZooKeeperLibrary, breaches_of, closes, table, unaccounted,
};
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
    let announced = how == Roll::Soft;
    let mut load = Load::new(&ZooKeeperLibrary::here(version, |text| bench.say(text)));
    load.trees = announced;
    let spec = EnsembleSpec::new(version);
    let run = |through, title: &str, keys, excuse| -> Result<Ending> {
        let mut load = load.clone();
        if excuse == Excuse::Kept {
            load.libraries.retain(|library| library.plants());
        }
        let course = Course { spec, load, how, rolls: ROLLS, announced, keys, excuse };
        course.run(through, |text| bench.say(&format!("{title}, {text}")))
    };
    let direct = run(Through::Nothing, "directly", "", Excuse::Nothing)?;
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
    let through = Through::Evenkeel(&bench.binary);
    let behind = run(through, "through Evenkeel", "", Excuse::Closed)?;
    let _ = write!(figures, "\nThrough Evenkeel:\n\n{}", table(&behind.rows));
    let unknown = behind.closed("unknown_outcome")?;
    let _ = writeln!(figures, "\nConnections that Evenkeel closed for an unknown outcome: {unknown}.");
    breaches.extend(breaches_of(&behind.rows, unknown));
    breaches.extend(settled(&behind, &mut figures)?);
    if announced {
        let kept = run(through, "persistent watches kept", "persistent_watches = \"keep\"", Excuse::Kept)?;
        let _ = write!(
            figures,
            "\nThrough Evenkeel with `persistent_watches = \"keep\"`, clients with such a watch alone:\n\n{}",
            table(&kept.rows)
        );
        breaches.extend(breaches_of(&kept.rows, 0).into_iter().map(|text| format!("kept: {text}")));
        breaches.extend(settled(&kept, &mut figures)?);
    }
    Ok(Finding { figures, breaches })
}

/// Says what was closed for persistent watches, which is right at the stop of a leader alone: it takes all connections of all
/// servers with it, and nobody tells these watches what they missed. Answers what was not right.
fn settled(ending: &Ending, figures: &mut String) -> Result<Option<String>> {
    let closed = ending.closed("persistent_watches")?;
    let _ = writeln!(figures, "\nConnections that Evenkeel closed for persistent watches: {closed}.");
    let each = closes(&ending.rows);
    if !each.is_empty() {
        let _ = write!(figures, "\n{each}");
    }
    Ok(unaccounted(&ending.rows, closed))
}
