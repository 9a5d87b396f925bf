//! Overrides from environment variables: `EVENKEEL_HOLD_MAX=5s`, `EVENKEEL_KAFKA_0_LISTEN=127.0.0.1:9092`.
//!
//! A variable is a key's path in upper case with `_` between its parts. Keys have underscores themselves,
//! so names are matched against the tables of keys, never split. The variables are passed in; this file
//! never looks at the process. Imports files of this folder only.

use std::collections::BTreeMap;

use super::keys::{ROOT, Row, rows};
use super::kinds::{KINDS, Kind};
use super::problem::Place;
use super::report::Report;
use super::suggest::nearest;
use super::tree::{Entry, Node, Table, Value};
use super::units::quote;

const PREFIX: &str = "EVENKEEL_";

/// Names with the prefix that are no keys: the path of the file, which the command line reads.
const RESERVED: [&str; 1] = ["CONFIG"];

/// A key that a variable names.
enum Target {
    /// A key outside of clusters.
    Root(&'static Row),
    /// A cluster's key.
    Cluster(At, Inner),
}

/// Which cluster: its kind, and its index among those.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct At {
    table: &'static str,
    index: usize,
}

/// What a variable names in a cluster.
enum Inner {
    Key(&'static Row),
    /// One entry of a key that holds a table.
    Entry(&'static Row, String),
}

/// Puts the variables into the tree; reports those that name no key.
pub(super) fn apply(tree: &mut Table, env: impl IntoIterator<Item = (String, String)>, report: &mut Report) {
    // Sorted by name, so that the result does not depend on the order of the environment.
    let mut clusters: BTreeMap<At, Vec<(Inner, Node)>> = BTreeMap::new();
    let env: BTreeMap<String, String> = env.into_iter().collect();
    for (variable, text) in env {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if RESERVED.contains(&name) || is_service_link(name, &text) {
            continue;
        }
        let place = Place::Variable(variable.clone());
        let node = Node { value: Value::Text(text), place };
        match target(name) {
            Some(Target::Root(row)) => set(tree, row, node),
            Some(Target::Cluster(at, inner)) => clusters.entry(at).or_default().push((inner, node)),
            None => report.add(&node.place, "", unknown(name)),
        }
    }
    for (at, targets) in clusters {
        into_cluster(tree, &at, targets, report);
    }
}

fn target(name: &str) -> Option<Target> {
    if let Some(row) = rows(ROOT).into_iter().find(|row| row.variable() == name) {
        return Some(Target::Root(row));
    }
    let (kind, index, rest) = KINDS.iter().find_map(|kind| {
        let (index, rest) = indexed(kind, name)?.split_once('_')?;
        Some((kind, number(index)?, rest))
    })?;
    let inner = kind.rows().into_iter().find_map(|row| {
        if row.variable() == rest {
            return Some(Inner::Key(row));
        }
        let id = rest.strip_prefix(&row.variable())?.strip_prefix('_')?;
        (row.is_map() && number(id).is_some()).then(|| Inner::Entry(row, id.to_owned()))
    })?;
    Some(Target::Cluster(At { table: kind.table, index }, inner))
}

/// What follows the name of a kind: the index of a cluster, and a key.
fn indexed<'a>(kind: &Kind, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(&kind.table.to_ascii_uppercase())?.strip_prefix('_')
}

/// A whole number without a sign or leading zeros.
fn number(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|number| number.to_string() == text)
}

/// Kubernetes gives each pod variables about each Service, named after it (`{SVC}_SERVICE_HOST`,
/// `{SVC}_PORT_9092_TCP_ADDR`, …). A Service whose name begins with `evenkeel` must not stop a sidecar.
fn is_service_link(name: &str, text: &str) -> bool {
    let link = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let part = |marker: &str| name.starts_with(marker) || name.contains(&format!("_{marker}"));
    let ends = |end: &str| name == end || name.ends_with(&format!("_{end}"));
    if ends("SERVICE_HOST") || ends("SERVICE_PORT") || part("SERVICE_PORT_") || (ends("PORT") && link(text)) {
        return true;
    }
    let Some((_, rest)) = name.split_once("PORT_") else { return false };
    let Some((digits, rest)) = rest.split_once('_') else { return false };
    number(digits).is_some()
        && ["TCP", "UDP", "SCTP"].iter().any(|protocol| {
            rest.strip_prefix(protocol).is_some_and(|end| ["", "_PROTO", "_PORT", "_ADDR"].contains(&end))
        })
}

/// Writes a key, and the table that holds it where that isn't there yet.
fn set(owner: &mut Table, row: &Row, node: Node) {
    let place = node.place.clone();
    let Some(table) = row.table() else {
        owner.insert(row.path.to_owned(), Entry { key: place, node });
        return;
    };
    let mut holder = owner;
    for part in table.split('.') {
        let entry = holder.entry(part.to_owned()).or_insert_with(|| empty_table(&place));
        // A holder that is no table is reported by the reader; there is nothing to override in it.
        let Value::Table(inner) = &mut entry.node.value else { return };
        holder = inner;
    }
    holder.insert(row.name().to_owned(), Entry { key: place, node });
}

fn empty_table(place: &Place) -> Entry {
    let node = Node { value: Value::Table(Table::new()), place: place.clone() };
    Entry { key: place.clone(), node }
}

fn into_cluster(tree: &mut Table, at: &At, targets: Vec<(Inner, Node)>, report: &mut Report) {
    let Some((_, first)) = targets.first() else { return };
    let place = first.place.clone();
    let list = tree.entry(at.table.to_owned()).or_insert_with(|| Entry {
        key: place.clone(),
        node: Node { value: Value::List(Vec::new()), place: place.clone() },
    });
    let Value::List(nodes) = &mut list.node.value else { return };
    if at.index > nodes.len() {
        let next = format!("{PREFIX}{}_{}_…", at.table.to_ascii_uppercase(), nodes.len());
        for (_, node) in &targets {
            report.add(
                &node.place,
                format!("{}[{}]", at.table, at.index),
                format!("there is no such cluster; the next one is {next}"),
            );
        }
        return;
    }
    if at.index == nodes.len() {
        nodes.push(empty_table(&place).node);
    }
    let Some(Value::Table(table)) = nodes.get_mut(at.index).map(|node| &mut node.value) else { return };
    // NODE_PORTS sorts before NODE_PORTS_1001, so the single entries win over the whole.
    for (inner, node) in targets {
        match inner {
            Inner::Key(row) => set(table, row, node),
            Inner::Entry(row, id) => set_entry(table, row, id, node),
        }
    }
}

/// Writes one entry of a key that holds a table, whether the whole came from the file or from a variable.
fn set_entry(owner: &mut Table, row: &Row, id: String, node: Node) {
    let place = node.place.clone();
    let holder = owner.entry(row.path.to_owned()).or_insert_with(|| empty_table(&place));
    match &mut holder.node.value {
        Value::Table(entries) => {
            entries.insert(id, Entry { key: place, node });
        }
        Value::Text(all) => {
            if let Value::Text(value) = &node.value {
                *all = format!("{all},{id}={value}");
            }
        }
        _ => {}
    }
}

fn unknown(name: &str) -> String {
    let mut known: Vec<String> = rows(ROOT).iter().map(|row| row.variable()).collect();
    for kind in KINDS {
        let index = indexed(kind, name).and_then(|rest| number(rest.split_once('_')?.0)).unwrap_or(0);
        let table = kind.table.to_ascii_uppercase();
        known.extend(kind.rows().iter().map(|row| format!("{table}_{index}_{}", row.variable())));
    }
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("names no key; did you mean {PREFIX}{near}?"),
        None => {
            format!("{} names no key; unset it, or write a key's path as in {PREFIX}HOLD_MAX", quote(name))
        }
    }
}
