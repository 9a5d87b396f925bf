//! A Kafka cluster as the admin listener shows it: the words of the one in those of the other.

use std::sync::Arc;

use serde_json::Value;

use crate::admin::{ClusterStatus, MemberDrain};
use crate::kafka::cluster::Cluster;

/// See the module.
struct Shown {
    name: String,
    cluster: Arc<Cluster>,
}

/// A cluster for the admin listener.
pub(super) fn shown(cluster: &Arc<Cluster>) -> Arc<dyn ClusterStatus> {
    let name = cluster.settings().kafka.name.clone();
    Arc::new(Shown { name, cluster: Arc::clone(cluster) })
}

impl ClusterStatus for Shown {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> Value {
        self.cluster.status_json()
    }

    fn set_bypass(&self, on: bool) {
        self.cluster.set_bypass(on);
    }

    fn drain(&self, _: &str, _: bool) -> MemberDrain {
        MemberDrain::Unsupported
    }
}
