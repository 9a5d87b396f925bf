//! Closed sets of label values as enums, and series resolved for every value beforehand: the sets of both protocols.
//!
//! Each set gives an enum with its label values, and a struct that holds one counter or gauge for each of them: counting
//! is a `match` and one atomic addition, without a look-up, a lock or an allocation, and every series exists at zero.
//! What only one protocol has is in that protocol's file.

use prometheus::IntCounter;

use super::protocol::{DISCONNECTED, OTHER, Protocol, TIMEOUT};

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident counted by $series:ident { $($values:tt)+ }) => {
        $crate::metrics::closed::closed_set! { @ [$(#[$doc])*] $name $series [prometheus::IntCounter, "counter"] $($values)+ }

        impl $series {
            /// Counts one.
            pub fn inc(&self, value: $name) {
                self.get(value).inc();
            }
        }
    };
    ($(#[$doc:meta])* $name:ident shown by $series:ident { $($values:tt)+ }) => {
        $crate::metrics::closed::closed_set! { @ [$(#[$doc])*] $name $series [prometheus::IntGauge, "gauge"] $($values)+ }
    };
    (
        @ [$(#[$doc:meta])*] $name:ident $series:ident [$metric:ty, $word:literal]
        $( $(#[$vdoc:meta])* $variant:ident $field:ident = $text:literal, )+
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

        #[doc = concat!("One ", $word, " for each value of [`", stringify!($name), "`].")]
        #[derive(Debug)]
        pub struct $series { $( $field: $metric, )+ }

        impl $series {
            pub(super) fn new(resolve: impl Fn(&'static str) -> $metric) -> Self {
                Self { $( $field: resolve($text), )+ }
            }

            #[doc = concat!("The ", $word, " of one value.")]
            pub fn get(&self, value: $name) -> &$metric {
                match value { $( $name::$variant => &self.$field, )+ }
            }
        }
    };
}
pub(super) use closed_set;

closed_set! {
    /// Why a client's connection was closed that broke no rule of its protocol.
    ClientRefusal counted by ClientRefusals {
        /// The cluster has as many as it may.
        Cluster cluster = "cluster_connections",
        /// The process has as many as it may.
        Process process = "connections",
        /// No whole request came in time.
        FirstRequest first_request = "first_request",
        /// It stood still in the middle of a frame, or took no answer.
        Stall stall = "stall",
        /// It asked for nothing any more.
        Idle idle = "idle",
    }
}

closed_set! {
    /// How an attempt to connect to a member ended.
    ConnectOutcome counted by Connects {
        /// Connected, and the peer is the member that was meant.
        Ok ok = "ok",
        /// Every address refused or reset the connection, or closed it within a TLS handshake such as had succeeded before.
        Refused refused = "refused",
        /// No address answered in time.
        Timeout timeout = "timeout",
        /// The name has no address and had none before.
        Dns dns = "dns",
        /// Connected, but to another node or another cluster.
        WrongNode wrong_node = "wrong_node",
        /// Connected, and the TLS handshake failed, or a file for it can't be used.
        Tls tls = "tls",
        /// Connected, and the member does not accept our credentials, or there are none that it would take, or they can't be read.
        Sasl sasl = "sasl",
        /// Anything else.
        Error error = "error",
    }
}

closed_set! {
    /// How an encrypted connection to a member began.
    TlsHandshake counted by TlsHandshakes {
        /// Both sides proved who they are.
        Full full = "full",
        /// They went on with a session from before.
        Resumed resumed = "resumed",
    }
}

closed_set! {
    /// How a client's handshake on an encrypted listener ended.
    ClientHandshake counted by ClientHandshakes {
        /// It is let in, with a handshake of its own.
        Full full = "full",
        /// It is let in, with a session from before.
        Resumed resumed = "resumed",
        /// It speaks something else than TLS.
        NotTls not_tls = "not_tls",
        /// It shows no certificate, or none that is good.
        Certificate certificate = "certificate",
        /// It doesn't trust the listener's.
        Distrust distrust = "distrust",
        /// It took too long.
        Timeout timeout = "timeout",
        /// It was still under way when there was no room for another one.
        GaveWay gave_way = "gave_way",
        /// It went, or anything else.
        Broken broken = "broken",
        /// The listener's own files can't be used.
        Files files = "files",
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

/// Errors that say something of a client's own request and of what stands in the cluster, and nothing of the servers.
const OF_CLIENTS: &[&str] = &[
    "NoNode",
    "NodeExists",
    "BadVersion",
    "NotEmpty",
    "NoChildrenForEphemerals",
    "NoWatcher",
    "InvalidACL",
    "BadArguments",
    "TOPIC_ALREADY_EXISTS",
    "MEMBER_ID_REQUIRED",
];

/// One counter for each error of a protocol that is listed, and one for all others.
#[derive(Debug)]
pub struct ErrorCounters {
    listed: Box<[(i32, &'static str, IntCounter)]>,
    other: IntCounter,
    disconnected: IntCounter,
    timeout: IntCounter,
}

impl ErrorCounters {
    pub(super) fn new(protocol: Protocol, resolve: impl Fn(&'static str) -> IntCounter) -> Self {
        Self {
            listed: protocol.errors().iter().map(|(code, name)| (*code, *name, resolve(name))).collect(),
            other: resolve(OTHER),
            disconnected: resolve(DISCONNECTED),
            timeout: resolve(TIMEOUT),
        }
    }

    /// The counter of an error by the protocol's name for it, or by `disconnected` or `timeout`; `other` when the name
    /// isn't listed.
    pub fn get(&self, name: &str) -> &IntCounter {
        match name {
            DISCONNECTED => &self.disconnected,
            TIMEOUT => &self.timeout,
            _ => self.listed.iter().find(|(_, listed, _)| *listed == name).map_or(&self.other, |(_, _, c)| c),
        }
    }

    /// The counter of one of Kafka's error codes, `other` when the code isn't listed.
    pub fn kafka(&self, code: i16) -> &IntCounter {
        self.code(i32::from(code))
    }

    /// The counter of one of `ZooKeeper`'s error codes, `other` when the code isn't listed.
    pub fn zookeeper(&self, code: i32) -> &IntCounter {
        self.code(code)
    }

    fn code(&self, code: i32) -> &IntCounter {
        self.listed.iter().find(|(listed, _, _)| *listed == code).map_or(&self.other, |(_, _, c)| c)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        let listed = self.listed.iter().map(|(_, _, counter)| counter);
        listed.chain([&self.other, &self.disconnected, &self.timeout]).map(IntCounter::get).sum()
    }

    /// All but those that a client's own request brings about, whatever servers do: applications that live by such answers
    /// (does the node exist already?) get them all day.
    pub fn of_servers(&self) -> u64 {
        let own = self.listed.iter().filter(|(_, name, _)| OF_CLIENTS.contains(name));
        self.total().saturating_sub(own.map(|(_, _, counter)| counter.get()).sum())
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
