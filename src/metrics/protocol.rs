//! The protocols, and what each of them gives the metrics that both have.

use super::kafka::{self, names as kafka_names};
use super::zookeeper::{self, names as zookeeper_names};

/// The label value for whatever isn't in a closed list.
pub const OTHER: &str = "other";
/// The connection ended before the answer came.
pub const DISCONNECTED: &str = "disconnected";
/// The answer did not come in time.
pub const TIMEOUT: &str = "timeout";

/// A protocol, as the label `protocol` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Apache Kafka.
    Kafka,
    /// Apache `ZooKeeper`.
    ZooKeeper,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Kafka, Self::ZooKeeper];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::ZooKeeper => "zookeeper",
        }
    }

    /// The errors that are counted by name.
    pub(super) const fn errors(self) -> &'static [(i32, &'static str)] {
        match self {
            Self::Kafka => kafka_names::ERRORS,
            Self::ZooKeeper => zookeeper_names::ERRORS,
        }
    }

    /// The label values of errors: names as the protocol writes them, and in small letters what isn't an error of it.
    pub(super) fn codes(self) -> Vec<&'static str> {
        self.errors().iter().map(|(_, name)| *name).chain([DISCONNECTED, TIMEOUT, OTHER]).collect()
    }

    /// The APIs or operations whose times are measured by themselves.
    pub(super) fn timed(self) -> Vec<&'static str> {
        let mut names: Vec<&str> = match self {
            Self::Kafka => kafka_names::APIS.iter().filter(|api| api.timed).map(|api| api.name).collect(),
            Self::ZooKeeper => zookeeper_names::OPERATIONS
                .iter()
                .filter(|listed| listed.timed)
                .map(|listed| listed.name)
                .collect(),
        };
        names.push(OTHER);
        names
    }

    pub(super) fn hold_triggers(self) -> Vec<&'static str> {
        match self {
            Self::Kafka => kafka::HoldTrigger::LABELS.to_vec(),
            Self::ZooKeeper => zookeeper::HoldTrigger::LABELS.to_vec(),
        }
    }

    pub(super) fn replay_verdicts(self) -> Vec<&'static str> {
        match self {
            Self::Kafka => kafka::ReplayVerdict::LABELS.to_vec(),
            Self::ZooKeeper => zookeeper::ReplayVerdict::LABELS.to_vec(),
        }
    }

    pub(super) fn unknown_actions(self) -> Vec<&'static str> {
        match self {
            Self::Kafka => kafka::UnknownAction::LABELS.to_vec(),
            Self::ZooKeeper => zookeeper::UnknownAction::LABELS.to_vec(),
        }
    }

    /// The client libraries that are told apart.
    pub(super) const fn libraries(self) -> &'static [&'static str] {
        match self {
            Self::Kafka => kafka::Library::LABELS,
            Self::ZooKeeper => zookeeper::Library::LABELS,
        }
    }
}
