//! From the tree to a [`Config`]: walks it by the tables of keys, reports what is unknown or missing.
//!
//! Imports files of this folder only. Rules between keys are in `validate`.

use super::clusters::{Kafka, ZooKeeper};
use super::keys::{Key, Need, ROOT, rows, tables};
use super::kinds::{Cluster, KINDS, Kind};
use super::problem::Place;
use super::read::Field;
use super::report::Report;
use super::tree::{Entry, Node, Table, Value};
use super::types::Config;
use super::unknown;

/// Whose keys are being read.
pub(super) struct Around<'a> {
    /// The kind of the cluster; none outside of clusters.
    pub(super) kind: Option<&'static Kind>,
    /// What goes before the key in a path: nothing, or `kafka[0].`.
    pub(super) base: &'a str,
}

/// Reads the whole tree. The result is complete only when nothing was reported.
pub(super) fn config(tree: &Table, report: &mut Report) -> Config {
    let mut config = Config::default();
    read_keys(&mut config, ROOT, tree, &Around { kind: None, base: "" }, report);
    clusters::<Kafka>(tree, &mut config, report);
    clusters::<ZooKeeper>(tree, &mut config, report);
    nothing_to_serve(tree, report);
    config
}

/// Reads the keys of one owner, and of the tables in it.
fn read_keys<T>(
    owner: &mut T,
    keys: &'static [Key<T>],
    tree: &Table,
    around: &Around<'_>,
    report: &mut Report,
) {
    let tables = tables(&rows(keys));
    for (name, entry) in tree {
        let key = keys.iter().find(|key| key.row.path == name && key.row.table().is_none());
        if let Some(key) = key {
            read_key(owner, key, around, &entry.node, report);
        } else if tables.contains(&name.as_str()) {
            read_table(owner, keys, name, entry, around, report);
        } else if around.kind.is_some() || KINDS.iter().all(|kind| kind.table != name) {
            unknown::key(around, None, name, entry, report);
        }
    }
}

fn read_key<T>(owner: &mut T, key: &Key<T>, around: &Around<'_>, node: &Node, report: &mut Report) {
    let path = format!("{}{}", around.base, key.row.path);
    report.seen(path.clone(), &node.place);
    (key.read)(owner, &Field { node, path: &path, example: key.row.example }, report);
}

fn read_table<T>(
    owner: &mut T,
    keys: &'static [Key<T>],
    name: &str,
    entry: &Entry,
    around: &Around<'_>,
    report: &mut Report,
) {
    let path = format!("{}{name}", around.base);
    report.seen(path.clone(), &entry.node.place);
    let Value::Table(table) = &entry.node.value else {
        let holder = around.kind.map_or_else(|| name.to_owned(), |kind| format!("{}.{name}", kind.table));
        report.add(&entry.node.place, path, not_a_table(&entry.node.value, &format!("[{holder}]")));
        return;
    };
    for (inner, entry) in table {
        let nested = format!("{name}.{inner}");
        match keys.iter().find(|key| key.row.table() == Some(name) && key.row.name() == inner) {
            Some(key) => read_key(owner, key, around, &entry.node, report),
            None if tables(&rows(keys)).contains(&nested.as_str()) => {
                read_table(owner, keys, &nested, entry, around, report);
            }
            None => unknown::key(around, Some(name), inner, entry, report),
        }
    }
}

fn not_a_table(value: &Value, heading: &str) -> String {
    format!("is {}, not a table; write {heading} and its keys below", value.kind())
}

fn clusters<T: Cluster>(tree: &Table, config: &mut Config, report: &mut Report) {
    let Some(entry) = tree.get(T::TABLE) else { return };
    let node = &entry.node;
    report.seen(T::TABLE, &node.place);
    let Value::List(nodes) = &node.value else {
        let found = node.value.kind();
        let text = format!("is {found}, not a list of tables; write [[{}]], with two brackets", T::TABLE);
        report.add(&node.place, T::TABLE, text);
        return;
    };
    let read = nodes.iter().enumerate().map(|(index, node)| cluster::<T>(index, node, report));
    *T::all_mut(config) = read.collect();
}

fn cluster<T: Cluster>(index: usize, node: &Node, report: &mut Report) -> T {
    let mut cluster = T::default();
    let path = format!("{}[{index}]", T::TABLE);
    report.seen(path.clone(), &node.place);
    let Value::Table(table) = &node.value else {
        report.add(&node.place, path, not_a_table(&node.value, &format!("[[{}]]", T::TABLE)));
        return cluster;
    };
    let base = format!("{path}.");
    read_keys(&mut cluster, T::KEYS, table, &Around { kind: Some(T::KIND), base: &base }, report);
    let missing = |key: &&Key<T>| key.row.need == Need::Required && !table.contains_key(key.row.path);
    for key in T::KEYS.iter().filter(missing) {
        let text = format!("is missing; write {} = {}", key.row.path, key.row.example);
        report.add(&node.place, format!("{base}{}", key.row.path), text);
    }
    cluster
}

/// At least one cluster of any kind must be there, right or wrong.
fn nothing_to_serve(tree: &Table, report: &mut Report) {
    let written = |kind: &'static Kind| tree.get(kind.table).map(|entry| &entry.node);
    let serves = |node: &Node| !matches!(&node.value, Value::List(nodes) if nodes.is_empty());
    if KINDS.into_iter().filter_map(written).any(serves) {
        return;
    }
    // An empty list is where somebody looked for clusters before.
    let (place, path) = KINDS
        .into_iter()
        .find_map(|kind| Some((written(kind)?.place.clone(), kind.table)))
        .unwrap_or((Place::Line(1), ""));
    let choices: Vec<String> =
        KINDS.iter().map(|kind| format!("a [[{}]] with {}", kind.table, kind.required())).collect();
    report.add(&place, path, format!("nothing to serve; write {}", choices.join(", or ")));
}
