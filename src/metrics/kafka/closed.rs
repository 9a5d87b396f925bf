//! The closed sets of label values that only Kafka has.

use crate::metrics::closed::closed_set;
use crate::metrics::protocol::OTHER;

closed_set! {
    /// Why a request began to be held.
    HoldTrigger counted by HoldStarted {
        /// The connection that it went out on was lost.
        Disconnect disconnect = "disconnect",
        /// The member can't be connected.
        Refused refused = "refused",
        /// The partition has no leader, or its leader moved.
        Leader leader = "leader",
        /// The group or transaction has no coordinator, or it moved or is loading.
        Coordinator coordinator = "coordinator",
        /// The controller moved.
        Controller controller = "controller",
        /// Too few replicas are in sync.
        Capacity capacity = "capacity",
        /// An earlier request of the same key is held.
        Order order = "order",
        /// The client chose a node that isn't known yet.
        UnknownNode unknown_node = "unknown_node",
    }
}

closed_set! {
    /// Why a request was sent again.
    ReplayVerdict counted by Replays {
        /// It is proved that it was not applied.
        NotSent not_sent = "not_sent",
        /// Its outcome is unknown, and repeating it is harmless or recognised.
        Unknown unknown = "unknown",
    }
}

closed_set! {
    /// What was done about a request whose outcome is unknown.
    UnknownAction counted by UnknownOutcomes {
        /// Sent again.
        Replayed replayed = "replayed",
        /// Answered with the protocol's own error.
        Error error = "error",
        /// Nobody waits for an answer (acks=0, or the client is gone).
        Swallowed swallowed = "swallowed",
        /// Nobody waits for an answer (acks=0), and it is known not to be written.
        Dropped dropped = "dropped",
    }
}

closed_set! {
    /// What was found of an offset that a broker called out of range.
    GuardOutcome counted by Guarded {
        /// The partition's leader has it: an empty success.
        Valid valid = "valid",
        /// The leader could not be asked in time: an empty success.
        Unknown unknown = "unknown",
        /// The leader doesn't have it: passed on.
        OutOfRange out_of_range = "out_of_range",
        /// Leadership has not moved, or the leader may not be asked: passed on.
        Settled settled = "settled",
        /// It was guarded too often: passed on.
        Spent spent = "spent",
    }
}

closed_set! {
    /// What does not speak an API version that a connected client has used.
    DroppedBy shown by Dropped {
        /// A member that is known.
        Member member = "member",
        /// Kafka 4.0 and later (KIP-896).
        Kafka4 kafka_4 = "kafka_4",
    }
}

/// The client libraries that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Library {
    /// Apache Kafka's own Java client.
    Java,
    /// librdkafka and what is built upon it.
    Librdkafka,
    /// kafka-python.
    KafkaPython,
    /// aiokafka.
    Aiokafka,
    /// Sarama (Go).
    Sarama,
    /// `KafkaJS` (JavaScript).
    Kafkajs,
    /// franz-go (Go).
    FranzGo,
    /// segmentio/kafka-go.
    KafkaGo,
    /// Not known.
    Other,
}

impl Library {
    /// Every label value of the set.
    pub const LABELS: &'static [&'static str] = &[
        "java",
        "librdkafka",
        "kafka-python",
        "aiokafka",
        "sarama",
        "kafkajs",
        "franz-go",
        "kafka-go",
        OTHER,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Librdkafka => "librdkafka",
            Self::KafkaPython => "kafka-python",
            Self::Aiokafka => "aiokafka",
            Self::Sarama => "sarama",
            Self::Kafkajs => "kafkajs",
            Self::FranzGo => "franz-go",
            Self::KafkaGo => "kafka-go",
            Self::Other => OTHER,
        }
    }
}

closed_set! {
    /// How a connection's session at a broker was renewed (KIP-368).
    SaslRenewal counted by SaslRenewals {
        /// The broker is content.
        Ok ok = "ok",
        /// The broker refused; the connection was given up.
        Refused refused = "refused",
        /// It didn't answer in time; the connection was given up.
        Late late = "late",
    }
}

closed_set! {
    /// What became of a client's own SASL exchange.
    ClientSasl counted by ClientSasls {
        /// It is in: it has shown what is held, or its broker has taken what it has shown.
        Accepted accepted = "accepted",
        /// It has shown something else.
        Refused refused = "refused",
        /// It wants a mechanism that there is not.
        Unsupported unsupported = "unsupported",
        /// It passed, by a mechanism that can't be repeated: this connection ends with its broker's.
        Unrepeatable unrepeatable = "unrepeatable",
    }
}
