//! Closed sets of label values as enums, and counters resolved for every value beforehand.
//!
//! Each set gives an enum with its label values, and a struct that holds one counter for each of them: counting is a
//! `match` and one atomic addition, without a look-up, a lock or an allocation, and every series exists at zero.

use prometheus::{IntCounter, IntGauge};

use super::names::{ERRORS, OTHER};

macro_rules! closed_set {
    (
        $(#[$doc:meta])*
        $name:ident counted by $counters:ident {
            $( $(#[$vdoc:meta])* $variant:ident $field:ident = $text:literal, )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$vdoc])* $variant, )+
        }

        impl $name {
            /// Every label value of the set.
            pub const LABELS: &'static [&'static str] = &[$($text),+];

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        #[doc = concat!("One counter for each value of [`", stringify!($name), "`].")]
        #[derive(Debug)]
        pub struct $counters { $( $field: IntCounter, )+ }

        impl $counters {
            pub(super) fn new(resolve: impl Fn(&'static str) -> IntCounter) -> Self {
                Self { $( $field: resolve($text), )+ }
            }

            /// The counter of one value.
            pub fn get(&self, value: $name) -> &IntCounter {
                match value { $( $name::$variant => &self.$field, )+ }
            }

            /// Counts one.
            pub fn inc(&self, value: $name) {
                self.get(value).inc();
            }
        }
    };
}

closed_set! {
    /// How an attempt to connect to a member ended.
    ConnectOutcome counted by Connects {
        /// Connected, and the peer is the member that was meant.
        Ok ok = "ok",
        /// Every address refused or reset the connection.
        Refused refused = "refused",
        /// No address answered in time.
        Timeout timeout = "timeout",
        /// The name has no address and had none before.
        Dns dns = "dns",
        /// Connected, but to another node or another cluster.
        WrongNode wrong_node = "wrong_node",
        /// Anything else.
        Error error = "error",
    }
}

closed_set! {
    /// The direction of bytes on an upstream connection, seen from here.
    Direction counted by Bytes {
        /// Written to the member.
        Sent sent = "sent",
        /// Read from the member.
        Received received = "received",
    }
}

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
    /// How a request stopped being held. With what still waits, these add up to what was started.
    HoldEnd counted by HoldEnded {
        /// It was sent on.
        Released released = "released",
        /// Its bound was over first.
        Expired expired = "expired",
        /// Its client went away, or evenkeel stops.
        Cancelled cancelled = "cancelled",
    }
}

closed_set! {
    /// What a released request got.
    ReleaseOutcome counted by HoldReleased {
        /// An answer without an error of routing.
        Answered answered = "answered",
        /// An error.
        Error error = "error",
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
    }
}

closed_set! {
    /// Why a client's bytes were refused and its connection closed.
    FrameRejection counted by FramesRejected {
        /// The length is above the cap, or negative.
        TooLarge too_large = "too_large",
        /// The bytes aren't a request.
        Malformed malformed = "malformed",
        /// The connection ended inside a frame.
        Truncated truncated = "truncated",
    }
}

/// What does not speak an API version that a connected client has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DroppedBy {
    /// A member that is known.
    Member,
    /// Kafka 4.0 and later (KIP-896).
    Kafka4,
}

impl DroppedBy {
    /// Every label value of the set.
    pub const LABELS: &'static [&'static str] = &["member", "kafka_4"];
}

/// One gauge for each value of [`DroppedBy`].
#[derive(Debug)]
pub struct Dropped([IntGauge; 2]);

impl Dropped {
    pub(super) fn new(resolve: impl Fn(&'static str) -> IntGauge) -> Self {
        Self([resolve("member"), resolve("kafka_4")])
    }

    /// The gauge of one value.
    pub fn get(&self, by: DroppedBy) -> &IntGauge {
        let [member, kafka_4] = &self.0;
        match by {
            DroppedBy::Member => member,
            DroppedBy::Kafka4 => kafka_4,
        }
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

/// One counter for each listed error name, and one for all others.
#[derive(Debug)]
pub struct ErrorCounters {
    listed: Box<[(i16, &'static str, IntCounter)]>,
    other: IntCounter,
    disconnected: IntCounter,
    timeout: IntCounter,
}

impl ErrorCounters {
    pub(super) fn new(resolve: impl Fn(&'static str) -> IntCounter) -> Self {
        Self {
            listed: ERRORS.iter().map(|(code, name)| (*code, *name, resolve(name))).collect(),
            other: resolve(OTHER),
            disconnected: resolve(super::names::DISCONNECTED),
            timeout: resolve(super::names::TIMEOUT),
        }
    }

    /// The counter of an error by Kafka's name for it, or by `disconnected` or `timeout`; `other` when the name
    /// isn't listed.
    pub fn get(&self, name: &str) -> &IntCounter {
        match name {
            super::names::DISCONNECTED => &self.disconnected,
            super::names::TIMEOUT => &self.timeout,
            _ => self.listed.iter().find(|(_, listed, _)| *listed == name).map_or(&self.other, |(_, _, c)| c),
        }
    }

    /// The counter of a Kafka error code, `other` when the code isn't listed.
    pub fn kafka(&self, code: i16) -> &IntCounter {
        self.listed.iter().find(|(listed, _, _)| *listed == code).map_or(&self.other, |(_, _, c)| c)
    }

    /// The counter of lost connections.
    pub fn disconnected(&self) -> &IntCounter {
        &self.disconnected
    }

    /// The counter of answers that did not come in time.
    pub fn timeout(&self) -> &IntCounter {
        &self.timeout
    }
}
