//! A Kafka cluster of real brokers on loopback addresses.
//!
//! Each node has two addresses. At `127.0.N.ID:9092` (or wherever [`Cluster::set_addr`] puts it) it serves clients; at
//! `127.0.N.(100+ID)` it keeps its controller quorum, its replication and the administrator of the tests, which
//! never move. So a client's view of a node can move while the cluster's own does not.

mod archive;
mod cluster;
mod properties;
mod sasl;
mod spec;
mod users;
mod view;

pub use cluster::{Cluster, Roll};
pub use sasl::Asking;
pub use spec::{KafkaVersion, Session, Spec};
pub use users::token;
pub(crate) use view::led;

/// Where clients connect, on every node.
pub const CLIENT_PORT: u16 = 9092;
/// The controller quorum's port on a node's fixed address.
pub(crate) const CONTROLLER_PORT: u16 = 9093;
/// Replication's and the administrator's port on a node's fixed address.
pub(crate) const INTERNAL_PORT: u16 = 9094;
