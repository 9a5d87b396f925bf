//! What this client is told instead of the brokers' addresses.

use super::Session;
use crate::kafka::cluster::Cluster;
use crate::kafka::rewrite::Doors;

/// The host that this client is told, and the cluster's ports.
pub(super) struct SessionDoors<'a> {
    host: &'a str,
    cluster: &'a Cluster,
}

impl Doors for SessionDoors<'_> {
    fn host(&self) -> &str {
        self.host
    }

    fn is_broker(&self, node: i32) -> bool {
        self.cluster.read(|view| view.nodes.contains_key(&node))
    }

    fn port(&self, node: i32) -> Option<u16> {
        self.cluster.port_of(node)
    }
}

impl Session {
    pub(super) fn doors(&self) -> SessionDoors<'_> {
        SessionDoors { host: &self.host, cluster: &self.cluster }
    }
}
