//! Overrides from environment variables: `EVENKEEL_HOLD_MAX=5s`, `EVENKEEL_KAFKA_0_LISTEN=127.0.0.1:9092`.
//!
//! A variable is a key's path in upper case with `_` between its parts. Keys have underscores themselves,
//! so names are matched against the table of keys, never split. The variables are passed in; this file
//! never looks at the process. Imports files of this folder only.

use std::collections::BTreeMap;

use super::keys::{KAFKA, Key, ROOT};
use super::parse::NO_ZOOKEEPER;
use super::problem::Place;
use super::report::Report;
use super::suggest::nearest;
use super::tree::{Entry, Node, Table, Value};
use super::units::quote;

const PREFIX: &str = "EVENKEEL_";

/// Names with the prefix that are no keys: the path of the file, which the command line reads.
const RESERVED: [&str; 1] = ["CONFIG"];

/// A key that a variable names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A key outside of clusters, by its path.
    Root(&'static str),
    /// A cluster's key.
    Cluster { index: usize, key: &'static str },
    /// One entry of a cluster's `node_ports`.
    NodePort { index: usize, id: String },
}

/// Puts the variables into the tree; reports those that name no key.
pub(super) fn apply(tree: &mut Table, env: impl IntoIterator<Item = (String, String)>, report: &mut Report) {
    // Sorted by name, so that the result does not depend on the order of the environment.
    let mut clusters: BTreeMap<usize, Vec<(Target, String, Node)>> = BTreeMap::new();
    let env: BTreeMap<String, String> = env.into_iter().collect();
    for (variable, text) in env {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if RESERVED.contains(&name) || is_service_link(name, &text) {
            continue;
        }
        let place = Place::Variable(variable.clone());
        let node = Node { value: Value::Text(text), place };
        match target(name) {
            Some(Target::Root(path)) => set(tree, path, node),
            Some(target) => {
                let (Target::Cluster { index, .. } | Target::NodePort { index, .. }) = target else {
                    continue;
                };
                clusters.entry(index).or_default().push((target, variable, node));
            }
            None => report.add(&node.place, "", unknown(name)),
        }
    }
    for (index, targets) in clusters {
        into_cluster(tree, index, targets, report);
    }
}

fn target(name: &str) -> Option<Target> {
    if let Some(key) = ROOT.iter().find(|key| key.variable() == name) {
        return Some(Target::Root(key.path));
    }
    let (index, rest) = name.strip_prefix("KAFKA_")?.split_once('_')?;
    let index = number(index)?;
    if let Some(key) = KAFKA.iter().find(|key| key.variable() == rest) {
        return Some(Target::Cluster { index, key: key.path });
    }
    let id = rest.strip_prefix("NODE_PORTS_")?;
    number(id).map(|_| Target::NodePort { index, id: id.to_owned() })
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

fn set(tree: &mut Table, path: &str, node: Node) {
    let place = node.place.clone();
    let Some((table, name)) = path.split_once('.') else {
        tree.insert(path.to_owned(), Entry { key: place, node });
        return;
    };
    let holder = tree.entry(table.to_owned()).or_insert_with(|| empty_table(&place));
    // A holder that is no table is reported by the reader; there is nothing to override in it.
    if let Value::Table(table) = &mut holder.node.value {
        table.insert(name.to_owned(), Entry { key: place, node });
    }
}

fn empty_table(place: &Place) -> Entry {
    let node = Node { value: Value::Table(Table::new()), place: place.clone() };
    Entry { key: place.clone(), node }
}

fn into_cluster(tree: &mut Table, index: usize, targets: Vec<(Target, String, Node)>, report: &mut Report) {
    let Some((_, _, first)) = targets.first() else { return };
    let place = first.place.clone();
    let list = tree.entry("kafka".to_owned()).or_insert_with(|| Entry {
        key: place.clone(),
        node: Node { value: Value::List(Vec::new()), place: place.clone() },
    });
    let Value::List(nodes) = &mut list.node.value else { return };
    if index > nodes.len() {
        let next = nodes.len();
        for (_, _, node) in &targets {
            report.add(
                &node.place,
                format!("kafka[{index}]"),
                format!("there is no such cluster; the next one is EVENKEEL_KAFKA_{next}_…"),
            );
        }
        return;
    }
    if index == nodes.len() {
        nodes.push(empty_table(&place).node);
    }
    let Some(Value::Table(table)) = nodes.get_mut(index).map(|node| &mut node.value) else { return };
    // NODE_PORTS sorts before NODE_PORTS_1001, so the single entries win over the whole.
    for (target, _, node) in targets {
        let place = node.place.clone();
        match target {
            Target::Root(_) => {}
            Target::Cluster { key, .. } => {
                table.insert(key.to_owned(), Entry { key: place, node });
            }
            Target::NodePort { id, .. } => {
                let holder = table.entry("node_ports".to_owned()).or_insert_with(|| empty_table(&place));
                match &mut holder.node.value {
                    Value::Table(ports) => {
                        ports.insert(id, Entry { key: place, node });
                    }
                    Value::Text(all) => {
                        if let Value::Text(port) = &node.value {
                            *all = format!("{all},{id}={port}");
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn unknown(name: &str) -> String {
    if name.split('_').next() == Some("ZOOKEEPER") {
        return NO_ZOOKEEPER.to_owned();
    }
    let index = name
        .strip_prefix("KAFKA_")
        .and_then(|rest| rest.split_once('_'))
        .and_then(|(index, _)| number(index));
    let mut known: Vec<String> = ROOT.iter().map(Key::variable).collect();
    known.extend(KAFKA.iter().map(|key| format!("KAFKA_{}_{}", index.unwrap_or(0), key.variable())));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("names no key; did you mean {PREFIX}{near}?"),
        None => {
            format!("{} names no key; unset it, or write a key's path as in {PREFIX}HOLD_MAX", quote(name))
        }
    }
}
