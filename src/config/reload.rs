//! What a reload changes: which keys differ between two configurations, and which of them can change live.
//!
//! Follows the tables of keys. Imports files of this folder only.

use super::clusters::{Kafka, ZooKeeper};
use super::keys::{Key, Live, ROOT};
use super::kinds::Cluster;
use super::types::Config;

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `hold.max`; inside a cluster with its name, `kafka[orders].bootstrap`; `kafka[orders]` for a cluster that
    /// came or went.
    pub path: String,
    /// Whether it takes effect without a restart.
    pub live: bool,
    /// When it takes effect, for the log.
    pub note: &'static str,
}

/// The keys that differ, in the order of the tables; clusters are told apart by kind and name, not by place.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = differing(ROOT, old, new, "");
    changes.extend(cluster_changes::<Kafka>(old, new));
    changes.extend(cluster_changes::<ZooKeeper>(old, new));
    changes
}

/// `old` with the keys of `new` that can change live: what is in effect after a reload.
#[must_use]
pub fn merge_live(old: &Config, new: &Config) -> Config {
    let mut merged = old.clone();
    copy_live(ROOT, &mut merged, new);
    merge_clusters::<Kafka>(&mut merged, new);
    merge_clusters::<ZooKeeper>(&mut merged, new);
    merged
}

fn cluster_changes<T: Cluster>(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for cluster in T::all(old) {
        match named::<T>(new, cluster.name()) {
            Some(other) => {
                let prefix = format!("{}[{}].", T::TABLE, cluster.name());
                changes.extend(differing(T::KEYS, cluster, other, &prefix));
            }
            None => changes.push(came_or_went(cluster, "goes away after a restart")),
        }
    }
    for cluster in T::all(new) {
        if named::<T>(old, cluster.name()).is_none() {
            changes.push(came_or_went(cluster, "is served after a restart"));
        }
    }
    changes
}

fn merge_clusters<T: Cluster>(merged: &mut Config, new: &Config) {
    for cluster in T::all_mut(merged) {
        if let Some(other) = named::<T>(new, cluster.name()) {
            copy_live(T::KEYS, cluster, other);
        }
    }
}

fn differing<T>(keys: &[Key<T>], old: &T, new: &T, prefix: &str) -> Vec<Change> {
    keys.iter()
        .filter(|key| !(key.same)(old, new))
        .map(|key| Change {
            path: format!("{prefix}{}", key.row.path),
            live: key.row.live.is_live(),
            note: key.row.live.note(),
        })
        .collect()
}

fn copy_live<T>(keys: &[Key<T>], into: &mut T, from: &T) {
    for key in keys.iter().filter(|key| key.row.live.is_live()) {
        (key.copy)(into, from);
    }
}

fn named<'a, T: Cluster>(config: &'a Config, name: &str) -> Option<&'a T> {
    T::all(config).iter().find(|cluster| cluster.name() == name)
}

fn came_or_went<T: Cluster>(cluster: &T, note: &'static str) -> Change {
    Change { path: format!("{}[{}]", T::TABLE, cluster.name()), live: Live::Restart.is_live(), note }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::HostPort;

    fn cluster(name: &str) -> Kafka {
        Kafka { name: name.to_owned(), ..Kafka::default() }
    }

    fn with(clusters: &[&str]) -> Config {
        Config { kafka: clusters.iter().map(|name| cluster(name)).collect(), ..Config::default() }
    }

    #[test]
    fn nothing_differs_from_itself() {
        let config = with(&["a", "b"]);
        assert_eq!(changes(&config, &config), []);
        assert_eq!(merge_live(&config, &config), config);
    }

    #[test]
    fn live_keys_are_taken_and_others_only_named() {
        let old = with(&["orders"]);
        let mut new = old.clone();
        new.hold.max = Duration::from_secs(5);
        new.net.keepalive = Duration::from_secs(5);
        new.worker_threads = 4;
        new.kafka[0].bootstrap = vec![HostPort { host: "k".to_owned(), port: 1 }];
        new.kafka[0].advertise = Some("h".to_owned());
        new.kafka[0].broker_ports.last += 1;

        let found = changes(&old, &new);
        let told: Vec<(&str, bool)> =
            found.iter().map(|change| (change.path.as_str(), change.live)).collect();
        assert_eq!(
            told,
            [
                ("worker_threads", false),
                ("net.keepalive", true),
                ("hold.max", true),
                ("kafka[orders].bootstrap", true),
                ("kafka[orders].broker_ports", false),
                ("kafka[orders].advertise", true),
            ]
        );
        assert_eq!(found[0].note, "in effect after a restart");
        assert_eq!(found[1].note, "in effect for the next connections to members");

        let merged = merge_live(&old, &new);
        let mut expected = new.clone();
        expected.worker_threads = old.worker_threads;
        expected.kafka[0].broker_ports = old.kafka[0].broker_ports;
        assert_eq!(merged, expected);
        assert!(changes(&merged, &new).iter().all(|change| !change.live));
    }

    #[test]
    fn clusters_are_matched_by_name() {
        let old = with(&["a", "b"]);
        let mut new = with(&["b", "c"]);
        new.kafka[0].leader_poll = Duration::from_secs(1);
        let found = changes(&old, &new);
        let told: Vec<(&str, bool)> =
            found.iter().map(|change| (change.path.as_str(), change.live)).collect();
        assert_eq!(told, [("kafka[a]", false), ("kafka[b].leader_poll", true), ("kafka[c]", false)]);
        let merged = merge_live(&old, &new);
        assert_eq!(merged.kafka.len(), 2);
        assert_eq!(merged.kafka[0], old.kafka[0]);
        assert_eq!(merged.kafka[1].leader_poll, Duration::from_secs(1));
    }
}
