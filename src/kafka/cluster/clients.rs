//! Which API versions the connected clients have used, and who of them a newer broker would break: known before the first
//! member is stopped.
//!
//! Noted once for each version that a connection uses, never for each request.

use super::{Cluster, Versions, lock};
use crate::kafka::wire;
use crate::metrics::{DroppedBy, Library};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What brokers of 4.0 and later no longer speak (KIP-896): the lowest version that each API has left, of those that lost
/// any. From the message descriptions in `kafka-clients` 4.3.1. Produce is offered from 0 on, and refused below 3.
const KAFKA_4: &[(i16, i16)] = &[
    (0, 3),
    (1, 4),
    (2, 1),
    (8, 2),
    (9, 1),
    (19, 2),
    (20, 1),
    (23, 2),
    (27, 1),
    (29, 1),
    (30, 1),
    (31, 1),
    (32, 1),
    (34, 1),
    (35, 1),
    (38, 1),
    (39, 1),
    (40, 1),
    (41, 1),
];

/// One client connection.
#[derive(Debug)]
struct Client {
    id: String,
    library: Library,
    used: BTreeSet<(i16, i16)>,
}

/// The client connections by their session.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: BTreeMap<u64, Client>,
}

/// A client that uses what some brokers don't speak, or that Kafka 4.0 doesn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedVersion {
    /// Its client id.
    pub client: String,
    /// Its library.
    pub library: &'static str,
    /// How many of its connections do.
    pub connections: u64,
    /// The API.
    pub api: &'static str,
    /// The version of it.
    pub version: i16,
    /// The members that don't speak it.
    pub members: Vec<String>,
    /// Whether Kafka 4.0 does.
    pub in_kafka_4: bool,
}

/// Whether Kafka 4.0 speaks a version.
fn in_kafka_4(key: i16, version: i16) -> bool {
    KAFKA_4.iter().all(|(dropped, min)| *dropped != key || version >= *min)
}

impl Cluster {
    /// A connection uses a version for the first time.
    pub fn note_version(&self, session: u64, id: &str, library: Library, key: i16, version: i16) {
        let mut clients = lock(&self.clients);
        let fresh = || Client { id: id.to_owned(), library, used: BTreeSet::new() };
        let client = clients.sessions.entry(session).or_insert_with(fresh);
        client.library = library;
        client.used.insert((key, version));
        drop(clients);
        let api = wire::api_name(key);
        if !in_kafka_4(key, version) {
            tracing::info!(
                client = id,
                library = library.as_str(),
                api,
                version,
                "this client uses an API version that Kafka 4.0 drops (KIP-896)"
            );
        }
    }

    /// A connection ends.
    pub fn forget_client(&self, session: u64) {
        lock(&self.clients).sessions.remove(&session);
    }

    /// A member is reached, for the first time or with other versions than before: says which clients it breaks.
    pub(super) fn check_clients(&self, node: i32, versions: &Versions) {
        let mut said = BTreeSet::new();
        for client in lock(&self.clients).sessions.values() {
            for &(key, version) in
                client.used.iter().filter(|(key, version)| !versions.speaks(*key, *version))
            {
                if said.insert((client.id.clone(), key, version)) {
                    let (library, api) = (client.library.as_str(), wire::api_name(key));
                    tracing::warn!(
                        node,
                        client = client.id,
                        library,
                        api,
                        version,
                        "a broker does not speak what this client uses"
                    );
                }
            }
        }
    }

    /// Sets `client_versions_dropped`.
    pub(super) fn count_dropped(&self) {
        let members = self.members_versions();
        let (mut kafka_4, mut by_member) = (0, 0);
        for client in lock(&self.clients).sessions.values() {
            kafka_4 += i64::from(client.used.iter().any(|(key, version)| !in_kafka_4(*key, *version)));
            by_member += i64::from(
                client
                    .used
                    .iter()
                    .any(|(key, version)| members.iter().any(|(_, member)| !member.speaks(*key, *version))),
            );
        }
        self.metrics.client_versions_dropped.get(DroppedBy::Kafka4).set(kafka_4);
        self.metrics.client_versions_dropped.get(DroppedBy::Member).set(by_member);
    }

    /// The clients that would break, by client id, library, API and version: with the members that don't speak it, and
    /// whether Kafka 4.0 doesn't.
    pub fn dropped_versions(&self) -> Vec<DroppedVersion> {
        let members = self.members_versions();
        let mut rows: BTreeMap<(String, Library, i16, i16), u64> = BTreeMap::new();
        for client in lock(&self.clients).sessions.values() {
            for &(key, version) in &client.used {
                *rows.entry((client.id.clone(), client.library, key, version)).or_default() += 1;
            }
        }
        let row = |((client, library, key, version), connections): ((String, Library, i16, i16), u64)| {
            let without = members.iter().filter(|(_, member)| !member.speaks(key, version));
            let members: Vec<String> = without.map(|(node, _)| node.to_string()).collect();
            let in_kafka_4 = in_kafka_4(key, version);
            let (library, api) = (library.as_str(), wire::api_name(key));
            let row = DroppedVersion { client, library, connections, api, version, members, in_kafka_4 };
            (!row.members.is_empty() || !in_kafka_4).then_some(row)
        };
        rows.into_iter().filter_map(row).collect()
    }

    pub(super) fn dropped_json(&self) -> Vec<Value> {
        let json = |row: DroppedVersion| {
            json!({
                "client": row.client, "library": row.library, "connections": row.connections,
                "api": row.api, "version": row.version,
                "members": row.members, "in_kafka_4": row.in_kafka_4,
            })
        };
        self.dropped_versions().into_iter().map(json).collect()
    }

    fn members_versions(&self) -> Vec<(i32, std::sync::Arc<Versions>)> {
        self.read(|view| {
            let known = |(id, node): (&i32, &super::Node)| Some((*id, node.versions.clone()?));
            view.nodes.iter().filter_map(known).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_4_dropped_is_in_the_format_that_is_known_here() {
        assert!(KAFKA_4.is_sorted());
        for (key, min) in KAFKA_4 {
            let known = wire::request(*key).unwrap().versions();
            assert!(known.contains(min) && *known.start() < *min, "{key}");
            assert!(in_kafka_4(*key, *min) && !in_kafka_4(*key, *min - 1));
        }
        assert!(in_kafka_4(3, 0), "Metadata has lost none");
    }
}
