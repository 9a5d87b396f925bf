//! What somebody is told who wrote a key that isn't one: the key that was meant, if it can be guessed.
//!
//! Imports files of this folder only.

use super::keys::{ROOT, Row, rows, tables};
use super::kinds::{KINDS, Kind};
use super::parse::Around;
use super::report::Report;
use super::suggest::nearest;
use super::tree::Entry;
use super::units;

/// Reports the key `name`, which stands in `table`, or directly in its owner.
pub(super) fn key(around: &Around<'_>, table: Option<&str>, name: &str, entry: &Entry, report: &mut Report) {
    let holder = table.map(|table| format!("{table}.")).unwrap_or_default();
    let path = format!("{}{holder}{}", around.base, units::key(name));
    report.add(&entry.key, path, text(around.kind, table, name));
}

fn text(kind: Option<&'static Kind>, table: Option<&str>, name: &str) -> String {
    if table.is_none()
        && let Some(owners) = owners(kind, name)
    {
        return format!("is not a known key here; {name} belongs into a {owners}");
    }
    let known = known(kind, table);
    if let Some(near) = nearest(name, known.iter().copied()) {
        let holder = table.map(|table| format!("{table}.")).unwrap_or_default();
        return format!("is not a known key; did you mean {holder}{near}?");
    }
    match (elsewhere(name), kind) {
        (Some(path), None) => format!("is not a known key; did you mean {path}?"),
        (Some(path), Some(kind)) => {
            let table = kind.table;
            format!("is not a known key of a cluster; did you mean {path}, outside of [[{table}]]?")
        }
        (None, _) => format!("is not a known key; remove it, or write one of {}", known.join(", ")),
    }
}

/// What may stand in that place.
fn known(kind: Option<&'static Kind>, table: Option<&str>) -> Vec<&'static str> {
    let rows = kind.map_or_else(|| rows(ROOT), Kind::rows);
    let here = rows.iter().filter(|row| row.table() == table).map(|row| row.name());
    let mut known: Vec<&str> = here.collect();
    known.extend(rows.iter().filter_map(|row| {
        let (holder, inner) = row.table()?.rsplit_once('.')?;
        (Some(holder) == table).then_some(inner)
    }));
    known.dedup();
    if table.is_none() {
        known.extend(tables(&rows));
        if kind.is_none() {
            known.extend(KINDS.iter().map(|kind| kind.table));
        }
    }
    known
}

/// The kinds of clusters that have this very key or table, when the one it stands in doesn't.
fn owners(kind: Option<&'static Kind>, name: &str) -> Option<String> {
    let has = |row: &&Row| row.path == name || row.table() == Some(name);
    let owners = KINDS
        .iter()
        .filter(|other| kind.is_none_or(|kind| kind.table != other.table))
        .filter(|other| other.rows().iter().any(has));
    let headings: Vec<String> = owners.map(|owner| format!("[[{}]]", owner.table)).collect();
    (!headings.is_empty()).then(|| headings.join(" or "))
}

/// The key outside of clusters that has exactly this name, or nearly; or the table.
fn elsewhere(name: &str) -> Option<&'static str> {
    let rows = rows(ROOT);
    let names = rows.iter().map(|row| row.name()).filter(|known| known.len() > 3);
    match nearest(name, names) {
        Some(near) => rows.iter().map(|row| row.path).find(|path| path.rsplit('.').next() == Some(near)),
        None => tables(&rows).into_iter().find(|table| *table == name),
    }
}
