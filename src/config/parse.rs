//! From the tree to a [`Config`]: walks it by the table of keys, reports what is unknown or missing.
//!
//! Imports files of this folder only. Rules between keys are in `validate`.

use super::keys::{KAFKA, Key, Need, ROOT, tables};
use super::problem::Place;
use super::read::Field;
use super::report::Report;
use super::suggest::nearest;
use super::tree::{Entry, Node, Table, Value};
use super::types::{Config, Kafka};
use super::units::key;

/// What a configuration with a `[[zookeeper]]` is told.
pub(super) const NO_ZOOKEEPER: &str =
    "this version does not serve ZooKeeper; remove it, or use a version of Evenkeel that does";

/// Reads the whole tree. The result is complete only when nothing was reported.
pub(super) fn config(tree: &Table, report: &mut Report) -> Config {
    let mut config = Config::default();
    for (name, entry) in tree {
        match name.as_str() {
            "kafka" => {}
            "zookeeper" => report.add(&entry.node.place, "zookeeper", NO_ZOOKEEPER),
            _ if tables().contains(&name.as_str()) => read_table(&mut config, name, entry, report),
            _ => match ROOT.iter().find(|key| key.path == name) {
                Some(key) => read_key(&mut config, key, name, &entry.node, report),
                None => unknown_at_root(name, entry, report),
            },
        }
    }
    match tree.get("kafka") {
        Some(entry) => config.kafka = clusters(&entry.node, report),
        None => report.add(
            &Place::Line(1),
            "kafka",
            "nothing to serve; write a [[kafka]] with name, listen, bootstrap and broker_ports",
        ),
    }
    config
}

fn read_key<T>(owner: &mut T, key: &Key<T>, path: &str, node: &Node, report: &mut Report) {
    report.seen(path, &node.place);
    (key.read)(owner, &Field { node, path, example: key.example }, report);
}

fn read_table(config: &mut Config, name: &str, entry: &Entry, report: &mut Report) {
    report.seen(name, &entry.node.place);
    let Value::Table(table) = &entry.node.value else {
        let kind = entry.node.value.kind();
        report.add(
            &entry.node.place,
            name,
            format!("is {kind}, not a table; write [{name}] and its keys below"),
        );
        return;
    };
    for (inner, entry) in table {
        let path = format!("{name}.{inner}");
        match ROOT.iter().find(|key| key.path == path) {
            Some(key) => read_key(config, key, &path, &entry.node, report),
            None => unknown_in_table(name, inner, entry, report),
        }
    }
}

fn clusters(node: &Node, report: &mut Report) -> Vec<Kafka> {
    report.seen("kafka", &node.place);
    let Value::List(nodes) = &node.value else {
        let kind = node.value.kind();
        report.add(
            &node.place,
            "kafka",
            format!("is {kind}, not a list of tables; write [[kafka]], with two brackets"),
        );
        return Vec::new();
    };
    if nodes.is_empty() {
        report.add(&node.place, "kafka", "nothing to serve; write at least one [[kafka]]");
    }
    nodes.iter().enumerate().map(|(index, node)| cluster(index, node, report)).collect()
}

fn cluster(index: usize, node: &Node, report: &mut Report) -> Kafka {
    let mut kafka = Kafka::default();
    let path = format!("kafka[{index}]");
    report.seen(path.clone(), &node.place);
    let Value::Table(table) = &node.value else {
        let kind = node.value.kind();
        report.add(&node.place, path, format!("is {kind}, not a table; write [[kafka]] and its keys below"));
        return kafka;
    };
    for (name, entry) in table {
        match KAFKA.iter().find(|key| key.path == name) {
            Some(key) => read_key(&mut kafka, key, &format!("{path}.{name}"), &entry.node, report),
            None => unknown_in_cluster(&path, name, entry, report),
        }
    }
    for key in KAFKA.iter().filter(|key| key.need == Need::Required && !table.contains_key(key.path)) {
        let text = format!("is missing; write {} = {}", key.path, key.example);
        report.add(&node.place, format!("{path}.{}", key.path), text);
    }
    kafka
}

fn unknown_at_root(name: &str, entry: &Entry, report: &mut Report) {
    let mut known = tables();
    known.extend(ROOT.iter().map(|key| key.path).filter(|path| !path.contains('.')));
    known.push("kafka");
    let text = if KAFKA.iter().any(|key| key.path == name) {
        format!("is not a known key here; {name} belongs into a [[kafka]]")
    } else {
        match nearest(name, known.iter().copied()).or_else(|| elsewhere(name)) {
            Some(near) => format!("is not a known key; did you mean {near}?"),
            None => format!("is not a known key; remove it, or write one of {}", known.join(", ")),
        }
    };
    report.add(&entry.key, key(name), text);
}

fn unknown_in_table(table: &str, name: &str, entry: &Entry, report: &mut Report) {
    let known: Vec<&str> = ROOT
        .iter()
        .filter(|key| key.path.split_once('.').is_some_and(|(holder, _)| holder == table))
        .map(Key::name)
        .collect();
    let text = match nearest(name, known.iter().copied()) {
        Some(near) => format!("is not a known key; did you mean {table}.{near}?"),
        None => match elsewhere(name) {
            Some(path) => format!("is not a known key; did you mean {path}?"),
            None => format!("is not a known key; remove it, or write one of {}", known.join(", ")),
        },
    };
    report.add(&entry.key, format!("{table}.{}", key(name)), text);
}

fn unknown_in_cluster(path: &str, name: &str, entry: &Entry, report: &mut Report) {
    let known: Vec<&str> = KAFKA.iter().map(|key| key.path).collect();
    let text = match nearest(name, known.iter().copied()) {
        Some(near) => format!("is not a known key; did you mean {near}?"),
        None => match elsewhere(name).or_else(|| tables().into_iter().find(|table| *table == name)) {
            Some(key) => {
                format!("is not a known key of a cluster; did you mean {key}, outside of [[kafka]]?")
            }
            None => format!("is not a known key; remove it, or write one of {}", known.join(", ")),
        },
    };
    report.add(&entry.key, format!("{path}.{}", key(name)), text);
}

/// The key of another table that has exactly this name, or nearly.
fn elsewhere(name: &str) -> Option<&'static str> {
    let known = ROOT.iter().map(Key::name).filter(|known| known.len() > 3);
    let near = nearest(name, known)?;
    ROOT.iter().map(|key| key.path).find(|path| path.rsplit('.').next() == Some(near))
}
