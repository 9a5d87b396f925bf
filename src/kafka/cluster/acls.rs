//! What Evenkeel's own requests are refused for want of a right: said once for each, with the right and with what goes without it. The
//! errors of clients' requests are their own and pass.

use super::{Cluster, lock};
use crate::kafka::wire::errors;
use std::collections::BTreeSet;

/// A right that the principal of our own connections should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// For `InitProducerId`.
    Produce,
    /// For `DescribeConfigs` of a broker.
    Configs,
    /// For Metadata.
    Topics,
    /// For `FindCoordinator` of a group.
    Groups,
    /// For `FindCoordinator` of a transactional id.
    Transactions,
}

impl Right {
    /// The right in the words of `kafka-acls.sh`, and what is not done without it.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Produce => (
                "WRITE on a topic, or IDEMPOTENT_WRITE on the cluster",
                "producers without idempotence pass as they are",
            ),
            Self::Configs => (
                "DESCRIBE_CONFIGS on the cluster",
                "whether a connection leads to the node that was meant is known only by what leaders serve",
            ),
            Self::Topics => (
                "DESCRIBE on the topic",
                "who leads its partitions isn't known, and what is held for it waits in vain",
            ),
            Self::Groups => (
                "DESCRIBE on the group",
                "its coordinator isn't looked up, and what is held for it waits in vain",
            ),
            Self::Transactions => (
                "DESCRIBE on the transactional id",
                "its coordinator isn't looked up, and what is held for it waits in vain",
            ),
        }
    }
}

/// Whether an error is about rights: `TOPIC_`, `GROUP_`, `CLUSTER_`, `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`.
pub(super) fn is_refusal(code: i16) -> bool {
    matches!(code, 29 | 30 | 31 | 53)
}

/// What was said.
pub(super) type Said = BTreeSet<Right>;

impl Cluster {
    /// A request of our own about `what` was refused with `code`, if it is about rights.
    pub(super) fn note_refused(&self, right: Right, what: &str, code: i16) {
        if !is_refusal(code) || !lock(&self.rights).insert(right) {
            return;
        }
        let (lacks, consequence) = right.words();
        let cluster = &self.settings().kafka.name;
        let error = errors::name(code);
        tracing::warn!(cluster, what, error, lacks, "a request of Evenkeel's own is refused: {consequence}");
    }
}
