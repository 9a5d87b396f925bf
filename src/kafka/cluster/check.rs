//! What `evenkeel check --connect` finds of a cluster: each bootstrap address and each broker that the cluster lists is reached by the very
//! way that connections of a running Evenkeel take ([`dial`](super::dial)), so that what is said here is what would happen.
//!
//! Nothing is written, and every part of it has a bound. Stages in order: `dns`, `tcp`, `tls`, `sasl`, `versions`, and for a broker that
//! the cluster lists `node`, who it is. What failed is told in the words of the log, with a line that says what to do ([`remedy`]).

mod member;
mod remedy;
mod rights;

pub(super) use member::Told;

use super::Cluster;
use super::dial::Opened;
use crate::findings::{Finding, Findings, Group};
use crate::kafka::wire::Struct;
use member::{Found, Meant};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// So many members are reached at a time.
const AT_ONCE: usize = 16;
/// For all of a cluster. Each stage has a bound of its own; this is for a cluster of which hundreds of brokers are silent.
const BOUND: Duration = Duration::from_secs(60);

/// Looks at all of a cluster of which nothing is known yet. `release`: the release whose highest `metadata.version` this is.
pub async fn check(cluster: &Arc<Cluster>, release: fn(i16) -> Option<&'static str>) -> Findings {
    let until = Instant::now() + BOUND;
    let settings = cluster.settings();
    let bootstrap = settings.kafka.bootstrap.iter();
    let entries = bootstrap.map(|at| Meant { host: at.host.clone(), port: at.port, node: None });
    let mut entries = reach(cluster, entries.collect(), release, until).await;
    let mut opened: Option<Opened> = None;
    for entry in &mut entries {
        if let Some(own) = entry.opened.take() {
            cluster.learn_metadata(&own.metadata, own.asked);
            opened.get_or_insert(own);
        }
    }
    let listed: Vec<Meant> = cluster.read(|view| {
        let each = view.nodes.iter();
        each.map(|(id, node)| Meant { host: node.host.clone(), port: node.port, node: Some(*id) }).collect()
    });
    let nodes = reach(cluster, listed, release, until).await;
    let whole = match &mut opened {
        Some(opened) => {
            let bound = until.saturating_duration_since(Instant::now());
            let rights = tokio::time::timeout(bound, rights::look(cluster, opened)).await;
            let late = |_| vec![Finding::warning("rights", "not looked at: the time was up", "")];
            let mut findings = members(cluster, &opened.metadata);
            findings.extend(rights.unwrap_or_else(late));
            findings
        }
        None => vec![Finding::not_tried("members"), Finding::not_tried("rights")],
    };
    let mut groups = Vec::new();
    for entry in entries {
        // A broker that advertises this very address is looked at below, more closely.
        let again = nodes
            .iter()
            .any(|node| (&node.meant.host, node.meant.port) == (&entry.meant.host, entry.meant.port));
        if !again || entry.failed() {
            groups.push(entry.group(false));
        }
    }
    groups.push(Group::new("the cluster", whole));
    let is_bootstrap = |found: &Found| {
        let at = (found.meant.host.as_str(), found.meant.port);
        settings.kafka.bootstrap.iter().any(|address| (address.host.as_str(), address.port) == at)
    };
    groups.extend(nodes.into_iter().map(|node| {
        let bootstrap = is_bootstrap(&node);
        node.group(bootstrap)
    }));
    Findings { title: format!("kafka {}", settings.kafka.name), groups }
}

/// Reaches all of these, some at a time. In their order.
async fn reach(
    cluster: &Arc<Cluster>,
    all: Vec<Meant>,
    release: fn(i16) -> Option<&'static str>,
    until: Instant,
) -> Vec<Found> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for (place, meant) in all.into_iter().enumerate() {
        let (cluster, turns) = (Arc::clone(cluster), Arc::clone(&turns));
        under_way.spawn(async move {
            let look = async {
                let _turn = turns.acquire().await;
                member::look(&cluster, meant.clone(), release).await
            };
            let found = tokio::time::timeout_at(until, look).await;
            (place, found.unwrap_or_else(|_| Found::late(meant.clone(), BOUND)))
        });
    }
    let mut found = under_way.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Who belongs to the cluster, as it says itself, and whether each has a port here.
fn members(cluster: &Cluster, metadata: &Struct) -> Vec<Finding> {
    let nodes: Vec<i32> = cluster.read(|view| view.nodes.keys().copied().collect());
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let id = metadata.str("cluster_id").unwrap_or("that it doesn't tell");
    if nodes.is_empty() {
        let text = format!("cluster id {id}: it lists no broker");
        return vec![Finding::failed(
            "members",
            text,
            "it may be starting: try again when its brokers are up",
        )];
    }
    // Its controller isn't told: with KRaft brokers name any of themselves.
    let text = format!("cluster id {id}; brokers {}", ids.join(", "));
    let mut findings = vec![Finding::ok("members", text)];
    let left: Vec<String> =
        nodes.iter().filter(|node| cluster.port_of(**node).is_none()).map(ToString::to_string).collect();
    if !left.is_empty() {
        let (range, left) = (cluster.settings().kafka.broker_ports, left.join(", "));
        let text = format!(
            "no port of broker_ports ({range}) is left for brokers {left}: clients aren't shown them"
        );
        findings.push(Finding::failed(
            "ports",
            text,
            "widen broker_ports: a port for each node id there will be",
        ));
    }
    findings
}
