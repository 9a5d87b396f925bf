//! What `GET /v1/clusters/{c}` says of a Kafka cluster.

use super::{Cluster, Health};
use crate::upstream::DrainState;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Cluster {
    /// Sets the gauges that are looked at rather than counted.
    pub fn before_render(&self) {
        self.metrics.hold_bytes.set(i64::try_from(self.ledger.bytes()).unwrap_or(i64::MAX));
        let oldest = self.ledger.oldest(crate::time::now());
        self.count_dropped();
        self.metrics.hold_oldest_seconds.set(oldest.map_or(0.0, |age| age.as_secs_f64()));
    }

    /// Members with their health and addresses, what is held, and the versions that clients are offered.
    pub fn status_json(&self) -> Value {
        let settings = self.settings();
        let nodes = self.read(|view| view.nodes.keys().copied().collect::<Vec<_>>());
        let drains: BTreeMap<i32, DrainState> =
            nodes.into_iter().map(|node| (node, self.drain_state(node))).collect();
        let (members, cluster_id, controller) = self.read(|view| {
            let leaders = view.leaders_by_node();
            let members = view.nodes.iter().map(|(id, node)| {
                let state = match node.health {
                    Health::Up => "up",
                    Health::Down(_) => "down",
                    Health::Untried => "untried",
                };
                let metrics = self.metrics.member(&id.to_string());
                let phase = match (node.health, drains.get(id)) {
                    (Health::Down(_), _) => "down",
                    (_, Some(DrainState::Draining { .. })) => "draining",
                    (_, Some(DrainState::Drained)) => "drained",
                    (_, Some(DrainState::Off | DrainState::Expired) | None) => "serving",
                };
                json!({
                    "id": id.to_string(),
                    "address": format!("{}:{}", node.host, node.port),
                    "rack": node.rack,
                    "state": state,
                    "phase": phase,
                    "drain_expired": drains.get(id) == Some(&DrainState::Expired),
                    "port": self.port_of(*id),
                    "connections": metrics.connections.get(),
                    "in_flight": metrics.in_flight.get(),
                    "leaders_seen": leaders.get(id).copied().unwrap_or(0),
                })
            });
            (members.collect::<Vec<_>>(), view.cluster_id.clone(), view.controller)
        });
        let account = self.ledger.account();
        let versions = self.shared_versions().unwrap_or_default();
        let pinned_for = self.pinned_for();
        json!({
            "name": settings.kafka.name,
            "protocol": "kafka",
            "cluster_id": cluster_id,
            "controller": controller.map(|id| id.to_string()),
            "clients": self.metrics.client_connections.get(),
            "bypass": self.is_bypassed(),
            "members": members,
            "hold": {
                "waiting": account.waiting, "started": account.started, "released": account.released,
                "expired": account.expired, "cancelled": account.cancelled,
                "bytes": self.ledger.bytes(), "limit_bytes": self.ledger.limit(),
                "max_s": settings.hold.max.as_secs_f64(),
            },
            "pin": {
                "active": pinned_for.is_some(),
                "wider_for_s": pinned_for.map(|time| time.as_secs_f64()),
                "quiet_s": settings.kafka.version_quiet.as_secs_f64(),
            },
            "dropped_versions": self.dropped_json(),
            "api_versions": versions.iter().map(|(key, (min, max))| {
                (crate::kafka::wire::api_name(*key).to_owned(), json!([min, max]))
            }).collect::<serde_json::Map<_, _>>(),
        })
    }
}
