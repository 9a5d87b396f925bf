//! Rolls of `ZooKeeper` ensembles under clients of six libraries: first as they see it without Evenkeel, for comparison, then
//! through it; and of ensembles that ask who is there.

use std::fmt::Write as _;

use testbed::scene::is;
use testbed::zookeeper::{
    Course, Ending, Excuse, Load, Row, Through, ZooKeeperLibrary, breaches_of, closes, table, unaccounted,
};
use testbed::{EnsembleSpec, Result, Roll, ZooKeeperVersion};

use super::{Bench, Finding};

const ROLLS: usize = 10;
/// Of each kind of ensemble that asks who is there.
const SECURED_ROLLS: usize = 3;

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
    figures.push_str("\nThrough Evenkeel:\n\n");
    breaches.extend(judged(&behind, &mut figures)?);
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

/// Ensembles with an encrypted port that wants a certificate, and such as serve nobody who hasn't proved to be a certain user
/// (SASL, DIGEST-MD5): Evenkeel is let in, and its clients know nothing of it. Where that is a user, kazoo's and Java's are somebody besides (digest).
pub(super) fn secured(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding::default();
    for version in [ZooKeeperVersion::V3_8_6, ZooKeeperVersion::V3_9_5] {
        let load = Load::new(&ZooKeeperLibrary::here(version, |text| bench.say(text)));
        let plain = EnsembleSpec::new(version);
        for (means, spec) in [("TLS", plain.secure()), ("DIGEST-MD5", plain.sasl())] {
            for how in [Roll::Soft, Roll::Hard] {
                let announced = how == Roll::Soft;
                let title = format!("ZooKeeper {version}, {means}, {how:?}");
                // Of what is only for its owner the judge sees nothing, but as the same user.
                let load = Load { trees: announced, own: spec.sasl, ..load.clone() };
                let (rolls, excuse) = (SECURED_ROLLS, Excuse::Closed);
                let course = Course { spec, load, how, rolls, announced, keys: "", excuse };
                let behind = course
                    .run(Through::Evenkeel(&bench.binary), |text| bench.say(&format!("{title}, {text}")))?;
                let _ = write!(finding.figures, "**{title}, {rolls} rolls**\n\n");
                let mut breaches = judged(&behind, &mut finding.figures)?;
                breaches.extend(unguarded(&behind, &mut finding.figures)?);
                bench.say(&format!("{title}: {} broken promises", breaches.len()));
                finding.breaches.extend(breaches.into_iter().map(|text| format!("{title}: {text}")));
            }
        }
    }
    Ok(finding)
}

/// Whether Evenkeel was let in as it should have been: encrypted where it can be, and never refused. Answers what was not so.
fn unguarded(behind: &Ending, figures: &mut String) -> Result<Vec<String>> {
    let Some(sidecar) = &behind.sidecar else { return Ok(Vec::new()) };
    let sum = |name: &str, labels: &[&str]| sidecar.metric_sum(&format!("evenkeel_{name}"), labels);
    let encrypted = sum("upstream_handshakes_total", &[])?;
    let _ = writeln!(figures, "\nEncrypted connections to servers: {encrypted}.\n");
    let mut found = Vec::new();
    if behind.ensemble.spec().secure && is(encrypted, 0.0) {
        found.push("no connection to a server was encrypted".to_owned());
    }
    for outcome in ["tls", "sasl"] {
        let count = sum("upstream_connect_total", &[&format!("outcome=\"{outcome}\"")])?;
        if !is(count, 0.0) {
            found.push(format!("{count} connections to servers ended as {outcome}"));
        }
    }
    Ok(found)
}

/// Says what clients behind Evenkeel went through, and answers what of the promises was broken.
fn judged(behind: &Ending, figures: &mut String) -> Result<Vec<String>> {
    let _ = write!(figures, "{}", table(&behind.rows));
    let unknown = behind.closed("unknown_outcome")?;
    let _ = writeln!(figures, "\nConnections that Evenkeel closed for an unknown outcome: {unknown}.");
    let mut breaches = breaches_of(&behind.rows, unknown);
    breaches.extend(settled(behind, figures)?);
    Ok(breaches)
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
