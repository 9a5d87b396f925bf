//! Where a whole request goes: to the node that the client chose as long as that can serve it, else where the operation
//! table says.

use super::ahead::Ahead;
use super::{FETCH, PRODUCE, Session, slot::State};
use crate::kafka::cluster::API_VERSIONS;
use crate::kafka::operations::Route;
use crate::kafka::wire::{self, Struct, Value};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What to do with a waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this node.
    Node(i32),
    /// In parts, to the leaders of its partitions.
    Leaders,
    /// Not yet.
    Wait,
    /// It has been decided.
    Decided,
}

/// How long a node that refused is not believed again, unless something newer names it.
const REFUSED_FOR: Duration = Duration::from_millis(250);

impl Session {
    /// The node that the client chose, if it is known; on the bootstrap listener any broker, for as long as it is up.
    pub(super) fn home_node(&mut self) -> Option<i32> {
        match self.home.port {
            Some(port) => {
                if self.home.node.is_none() {
                    self.home.node = self.cluster.node_at(port);
                }
            }
            None => {
                let gone = self.home.node.is_none_or(|node| !self.usable(node));
                if gone {
                    let pick = usize::try_from(self.id).unwrap_or(0);
                    let except = self.home.node;
                    self.home.node = self.cluster.read(|view| view.any_node(except, pick));
                }
            }
        }
        self.home.node
    }

    /// Whether a node is worth a try: connected, or not known to be down; and not drained.
    pub(super) fn usable(&self, node: i32) -> bool {
        if !self.is_bypassing() && self.cluster.is_drained(node) {
            return false;
        }
        self.links.iter().any(|link| link.node == node && link.is_open())
            || !self.showing.rests()
                && self.cluster.read(|view| view.nodes.contains_key(&node) && !view.is_down(node))
    }

    /// Where a waiting request goes now.
    pub(super) fn target(&mut self, number: u64, ahead: &Ahead, now: Instant) -> Target {
        let Some(slot) = self.slot(number) else { return Target::Decided };
        let (op, refused) = (slot.op, slot.trouble.as_ref().and_then(|trouble| trouble.refused));
        if op.key == API_VERSIONS {
            self.answer_api_versions(number);
            let waits = self.slot(number).is_some_and(|s| matches!(s.state, State::Waiting));
            return if waits { Target::Wait } else { Target::Decided };
        }
        let home = self.home_node().filter(|&node| self.usable(node));
        let at_home = home.map_or(Target::Wait, Target::Node);
        match op.route {
            Route::Local | Route::Node | Route::Internal => at_home,
            Route::Leader if op.key == PRODUCE => match home {
                Some(node) if refused.is_none() && self.produce_may_go(number, node, ahead, now) => {
                    Target::Node(node)
                }
                _ => Target::Leaders,
            },
            Route::Leader if op.key == FETCH => self.fetch_target(number, home),
            Route::Leader => match home {
                Some(node) if refused.is_none() => Target::Node(node),
                _ => Target::Leaders,
            },
            Route::Any => match (home, refused) {
                (Some(node), None) => Target::Node(node),
                (_, refused) => self.any_other(refused.map(|refused| refused.node)),
            },
            Route::Controller => match (home, refused) {
                (Some(node), None) => Target::Node(node),
                (_, None) => self.any_other(None),
                (_, Some(refused)) => {
                    let controller = self.cluster.read(|view| view.controller);
                    match controller.filter(|&node| node != refused.node && self.usable(node)) {
                        Some(node) => Target::Node(node),
                        None => {
                            self.cluster.want_topics([], now);
                            self.any_other(Some(refused.node))
                        }
                    }
                }
            },
            Route::Group(field) => self.coordinator_target(number, 0, field, home, now),
            Route::Transaction(field) => self.coordinator_target(number, 1, field, home, now),
        }
    }

    fn any_other(&self, except: Option<i32>) -> Target {
        if self.showing.rests() {
            // No connection is opened for a moment: one that there is, or none.
            let open = |node: &i32| Some(*node) != except && self.is_open(*node) && self.usable(*node);
            let open = self.links.iter().map(|link| link.node).find(open);
            return open.map_or(Target::Wait, Target::Node);
        }
        let pick = usize::try_from(self.id).unwrap_or(0);
        self.cluster.read(|view| view.any_node(except, pick)).map_or(Target::Wait, Target::Node)
    }

    /// The client's own choice, until that refuses; then whom the cluster names as the coordinator after that.
    fn coordinator_target(
        &mut self,
        number: u64,
        kind: i8,
        field: &str,
        home: Option<i32>,
        now: Instant,
    ) -> Target {
        let Some(slot) = self.slot(number) else { return Target::Decided };
        let refused = slot.trouble.as_ref().and_then(|trouble| trouble.refused);
        if let (Some(node), None, true) = (home, refused, self.moved.is_empty()) {
            return Target::Node(node);
        }
        let key = wire::decode_request(&slot.frame).ok().and_then(|(_, request)| key_of(&request, field));
        let Some(key) = key else {
            // InitProducerId without a transactional id: any broker.
            return home.map_or_else(|| self.any_other(None), Target::Node);
        };
        let known = self.cluster.read(|view| view.coordinator(kind, &key));
        let moved = self.moved.get(&(kind, key.clone())).copied();
        if refused.is_none()
            && let Some(node) = home
            && (moved.is_none() || known.is_none_or(|(named, _)| named == node))
        {
            self.moved.remove(&(kind, key));
            return Target::Node(node);
        }
        if let Some((node, asked)) = known {
            let news = refused.is_none_or(|refused| {
                asked > refused.at
                    && (node != refused.node || now.saturating_duration_since(refused.at) > REFUSED_FOR)
            });
            if news && self.usable(node) {
                self.moved.insert((kind, key), node);
                return Target::Node(node);
            }
        }
        self.cluster.want_coordinator(kind, &key, now);
        Target::Wait
    }
}

/// The group or transactional id that a request is about: a string, or the first of an array of them.
fn key_of(request: &Struct, field: &str) -> Option<Bytes> {
    let filled = |value: &Bytes| (!value.is_empty()).then(|| value.clone());
    let first = |value: &Value| match value {
        Value::Str(Some(key)) => filled(key),
        Value::Array(Some(values)) => match values.first()? {
            Value::Str(Some(key)) => filled(key),
            Value::Struct(Some(group)) => group.bytes_field("group_id").and_then(filled),
            _ => None,
        },
        _ => None,
    };
    // OffsetFetch v8+ names its groups in an array instead.
    let array = || if request.has("groups") { request.get("groups").and_then(first) } else { None };
    request.get(field).and_then(first).or_else(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::operations::OPERATIONS;

    #[test]
    fn every_coordinator_api_has_its_key_field() {
        for row in OPERATIONS {
            if let Route::Group(field) | Route::Transaction(field) = row.route {
                let request = wire::request(row.key).unwrap().new();
                assert!(request.has(field), "{} has no field {field}", row.key);
            }
        }
    }

    #[test]
    fn keys_are_found_as_strings_arrays_and_groups() {
        let mut heartbeat = wire::request(12).unwrap().new();
        heartbeat.set_str("group_id", "g");
        assert_eq!(key_of(&heartbeat, "group_id"), Some(Bytes::from_static(b"g")));
        let mut describe = wire::request(15).unwrap().new();
        describe.set_strs("groups", &["a", "b"]);
        assert_eq!(key_of(&describe, "groups"), Some(Bytes::from_static(b"a")));
        let mut fetch = wire::request(9).unwrap().new();
        let mut group = fetch.new_struct("groups");
        group.set_str("group_id", "h");
        fetch.push_struct("groups", group);
        assert_eq!(key_of(&fetch, "group_id"), Some(Bytes::from_static(b"h")));
        let mut init = wire::request(22).unwrap().new();
        init.set_bytes("transactional_id", None);
        assert_eq!(key_of(&init, "transactional_id"), None);
    }
}
