//! Addresses in answers: every broker is shown at its own loopback port, and none at its real address.
//!
//! Pure: works on decoded answers. A missed address would be a leak: the client would talk past Evenkeel.

use super::cluster::{Node, View};
use super::wire::{Message, Struct};

/// Where clients are told that brokers are.
pub trait Doors {
    /// The host that this client is told.
    fn host(&self) -> &str;
    /// The port that stands for a node; `None` only when the configured range is used up.
    fn port(&self, node: i32) -> Option<u16>;
    /// Whether a node is a broker that metadata has listed, and so has somebody behind its door.
    fn is_broker(&self, node: i32) -> bool;
}

/// Shows `row` (any structure with a host and a port) at the door of `node`. Without a door (the range is used up) it is
/// shown nowhere rather than at its real address; answers whether it has one.
fn show(row: &mut Struct, node: i32, doors: &impl Doors) -> bool {
    let port = doors.port(node);
    row.set_str("host", if port.is_some() { doors.host() } else { "" });
    row.set_i32("port", port.map_or(-1, i32::from));
    port.is_some()
}

/// Shows every row of an array of nodes; those without a door are left out.
fn show_all(answer: &mut Struct, array: &str, id: &str, doors: &impl Doors) {
    let mut rows = answer.take_structs(array);
    rows.retain_mut(|row| {
        let node = row.i32(id);
        show(row, node, doors)
    });
    answer.set_structs(array, rows);
}

/// A Metadata answer: brokers at their doors, and those that are missing from it while they restart put back, so that
/// clients keep them (librdkafka#5301).
pub fn metadata(answer: &mut Struct, view: &View, doors: &impl Doors) {
    let mut brokers = answer.take_structs("brokers");
    let missing = |id: i32, brokers: &[Struct]| !brokers.iter().any(|broker| broker.i32("node_id") == id);
    for (&id, Node { rack, .. }) in &view.nodes {
        if missing(id, &brokers) && doors.port(id).is_some() {
            let mut broker = answer.new_struct("brokers");
            broker.set_i32("node_id", id);
            if let Some(rack) = rack {
                broker.set_str("rack", rack);
            }
            brokers.push(broker);
        }
    }
    answer.set_structs("brokers", brokers);
    show_all(answer, "brokers", "node_id", doors);
}

/// A `FindCoordinator` answer; one coordinator in v0–3, an array of them in v4+; node −1 on error.
pub fn find_coordinator(answer: &mut Struct, version: i16, doors: &impl Doors) {
    if version < 4 {
        show_coordinator(answer, doors);
        return;
    }
    for coordinator in answer.structs_mut("coordinators") {
        show_coordinator(coordinator, doors);
    }
}

fn show_coordinator(row: &mut Struct, doors: &impl Doors) {
    let node = row.i32("node_id");
    if !show(row, node, doors) && node >= 0 {
        row.set_i16("error_code", 15); // COORDINATOR_NOT_AVAILABLE: it can't be reached through here
        row.set_i32("node_id", -1);
    }
}

/// A `DescribeCluster` answer. Controllers that are no brokers have no door; they stay as they are.
pub fn describe_cluster(answer: &mut Struct, doors: &impl Doors) {
    // Controllers (endpoint type 2) that are no brokers have no listener of clients' kind, and stay as they are.
    if answer.i8("endpoint_type") != 2 {
        show_all(answer, "brokers", "broker_id", doors);
    }
}

/// A `DescribeQuorum` answer: the listeners of controllers that are brokers too. Other controllers have no door; no address of
/// theirs is shown.
pub fn describe_quorum(answer: &mut Struct, doors: &impl Doors) {
    for node in answer.structs_mut("nodes") {
        let id = node.i32("node_id");
        let Some(port) = Some(id).filter(|id| doors.is_broker(*id)).and_then(|id| doors.port(id)) else {
            node.set_structs("listeners", Vec::new());
            continue;
        };
        for listener in node.structs_mut("listeners") {
            listener.set_str("host", doors.host());
            listener.set_u16("port", port);
        }
    }
}

/// The `node_endpoints` of Produce v10+, Fetch v16+, `ShareFetch` and `ShareAcknowledge` (KIP-951).
pub fn node_endpoints(answer: &mut Struct, doors: &impl Doors) {
    if answer.has("node_endpoints") {
        show_all(answer, "node_endpoints", "node_id", doors);
    }
}

/// Rewrites whatever addresses the answer of an API can carry, Metadata aside (it needs the view).
pub fn addresses(message: &Message, version: i16, answer: &mut Struct, doors: &impl Doors) {
    match message.api_key() {
        10 => find_coordinator(answer, version, doors),
        55 => describe_quorum(answer, doors),
        60 => describe_cluster(answer, doors),
        _ => node_endpoints(answer, doors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::operations::OPERATIONS;
    use crate::kafka::wire;
    use std::time::Instant;

    struct Fixed;
    impl Doors for Fixed {
        fn host(&self) -> &'static str {
            "127.0.0.1"
        }
        fn port(&self, node: i32) -> Option<u16> {
            (0..100).contains(&node).then(|| 19000 + u16::try_from(node).unwrap())
        }
        fn is_broker(&self, node: i32) -> bool {
            (0..100).contains(&node)
        }
    }

    fn broker(answer: &Struct, array: &str, id_field: &str, id: i32) -> Struct {
        let mut row = answer.new_struct(array);
        row.set_i32(id_field, id);
        row.set_str("host", "kafka.real.example");
        row.set_i32("port", 9092);
        row
    }

    /// Whether the real name is still anywhere in the encoded answer.
    fn leaks(message: &'static wire::Message, version: i16, answer: &Struct) -> bool {
        let mut out = bytes::BytesMut::new();
        message.encode(version, answer, &mut out).unwrap();
        out.windows(10).any(|window| window == b"kafka.real")
    }

    #[test]
    fn no_answer_with_addresses_leaks_one_in_any_version() {
        let carriers = [
            (0, "node_endpoints", "node_id"),
            (1, "node_endpoints", "node_id"),
            (60, "brokers", "broker_id"),
            (78, "node_endpoints", "node_id"),
            (79, "node_endpoints", "node_id"),
        ];
        for (key, array, id) in carriers {
            assert!(
                OPERATIONS.iter().any(|row| row.key == key && !row.addresses.is_empty()),
                "{key} is marked in the table"
            );
            let message = wire::response(key).unwrap();
            for version in message.versions() {
                let mut answer = message.new();
                answer.set_structs(array, vec![broker(&answer, array, id, 5)]);
                let carried = leaks(message, version, &answer);
                addresses(message, version, &mut answer, &Fixed);
                assert!(!leaks(message, version, &answer), "{key} v{version}");
                assert_eq!(carried, answer.has_in(array, version), "{key} v{version}");
            }
        }
        let message = wire::response(10).unwrap();
        for version in message.versions() {
            let mut answer = message.new();
            answer.set_str("host", "kafka.real.example");
            answer.set_i32("node_id", 5);
            let mut row = answer.new_struct("coordinators");
            row.set_str("host", "kafka.real.example");
            row.set_i32("node_id", 6);
            answer.set_structs("coordinators", vec![row]);
            addresses(message, version, &mut answer, &Fixed);
            assert!(!leaks(message, version, &answer), "FindCoordinator v{version}");
        }
        let message = wire::response(55).unwrap();
        let mut answer = message.new();
        let mut node = answer.new_struct("nodes");
        let mut listener = node.new_struct("listeners");
        listener.set_str("host", "kafka.real.example");
        node.set_structs("listeners", vec![listener]);
        node.set_i32("node_id", 3);
        let mut controller = node.clone();
        controller.set_i32("node_id", 3000);
        answer.set_structs("nodes", vec![node, controller]);
        addresses(message, 2, &mut answer, &Fixed);
        assert!(!leaks(message, 2, &answer));
    }

    #[test]
    fn an_error_without_a_node_stays_without_an_address() {
        let mut answer = wire::response(10).unwrap().new();
        answer.set_i32("node_id", -1);
        answer.set_i32("port", -1);
        find_coordinator(&mut answer, 2, &Fixed);
        assert_eq!((answer.str("host"), answer.i32("port")), (Some(""), -1));
    }

    #[test]
    fn metadata_keeps_a_broker_that_is_restarting() {
        let message = wire::response(3).unwrap();
        let mut view = View::default();
        let mut full = message.new();
        full.set_structs(
            "brokers",
            vec![broker(&full, "brokers", "node_id", 1), broker(&full, "brokers", "node_id", 2)],
        );
        view.absorb_metadata(&full, Instant::now());
        let mut answer = message.new();
        answer.set_structs("brokers", vec![broker(&answer, "brokers", "node_id", 2)]);
        metadata(&mut answer, &view, &Fixed);
        let mut shown: Vec<_> =
            answer.structs("brokers").map(|b| (b.i32("node_id"), b.i32("port"))).collect();
        shown.sort_unstable();
        assert_eq!(shown, [(1, 19001), (2, 19002)]);
        assert!(!leaks(message, 9, &answer));
    }
}
