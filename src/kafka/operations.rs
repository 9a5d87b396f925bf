//! The operation table: for each API that brokers offer, where it goes, which errors its client is spared, and what may
//! be done when its outcome is unknown.
//!
//! This is the heart of the Kafka module and is data: the rows stand in `table.rs`, `docs/kafka-operations.md` is
//! written from them, and `tests/proxy/operations.rs` holds each of them against the proxy's behaviour. Imports only
//! [`wire`](super::wire), for names. Decides nothing by itself.
//!
//! Sources: the message descriptions in `kafka-clients` 2.8.2, 3.9.2 and 4.3.1 for the keys; what each verdict rests on
//! was seen on real brokers of those versions.

mod document;
mod table;

pub use document::markdown;
pub use table::OPERATIONS;

/// Which node a request belongs to when the one that the client chose can't serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Answered here, from what is known of all members.
    Local,
    /// Every broker can answer it.
    Any,
    /// The leaders of the partitions it names; it may be split by leader.
    Leader,
    /// The coordinator of a group, named by this field of the request.
    Group(&'static str),
    /// The coordinator of a transactional id, named by this field; without one, any broker.
    Transaction(&'static str),
    /// The controller in a ZooKeeper-mode cluster; in KRaft any broker, which forwards it.
    Controller,
    /// That node and no other: it asks about, or keeps state in, the node itself.
    Node,
    /// Between brokers and controllers only: not offered to clients.
    Internal,
}

/// When an error is kept from the client, and what is done instead, within the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absorb {
    /// "Not here": nothing was applied, and it goes to where it belongs by then.
    Elsewhere,
    /// "Not yet": nothing was applied, and it goes to the same place again in a moment.
    Later,
    /// "Not here", of a topic that is known here, from a broker that is behind: for 5 s from the request's arrival.
    TopicKnown,
    /// It was applied at one broker: its repeat is recognised, so only batches with a sequence go again.
    Sequenced,
    /// A gap in an injected sequence: it goes again under the next epoch.
    Injected,
    /// The first attempt is still being finished: only after a replay of Evenkeel's own.
    AfterReplay,
}

/// What is done with a request that was written whole and never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Harmless to repeat: sent again.
    Replay,
    /// Sent again, unless a later one of the same group has gone out: the group's position would go back.
    InOrder,
    /// Sent again where each batch has a producer id and sequence; else the honest error.
    Sequenced,
    /// Sent again; afterwards, and only then, these errors mean that the first attempt had done it.
    ReplayThen(&'static [i16]),
    /// Not sent again: answered with this error, which lets the client's own protocol settle it.
    Settle(i16),
    /// Nothing true can be said: the client's connection is closed, as its broker's was.
    Disconnect,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The API key.
    pub key: i16,
    /// Where it goes.
    pub route: Route,
    /// The errors that its client is spared.
    pub absorbs: &'static [(i16, Absorb)],
    /// The verdict when the outcome is unknown.
    pub unknown: Unknown,
    /// Where its answer can carry addresses of nodes, which clients must not see. `.` is the answer itself.
    pub addresses: &'static [&'static str],
    /// Why it is so.
    pub note: &'static str,
}

impl Operation {
    /// Whether and how an error is kept from the client.
    pub fn absorbed(&self, code: i16) -> Option<Absorb> {
        self.absorbs.iter().find(|(absorbed, _)| *absorbed == code).map(|(_, how)| *how)
    }

    /// Whether an answer's error sends the request elsewhere or round again though nothing else is known of it.
    /// `replayed`: it was sent again though an earlier attempt may have been applied.
    pub fn goes_again(&self, code: i16, replayed: bool) -> bool {
        match self.absorbed(code) {
            Some(Absorb::Elsewhere | Absorb::Later) => true,
            Some(Absorb::AfterReplay) => replayed,
            Some(Absorb::TopicKnown | Absorb::Sequenced | Absorb::Injected) | None => false,
        }
    }
}

/// The row of an API key, whoever it is for.
pub fn row(key: i16) -> Option<&'static Operation> {
    OPERATIONS.binary_search_by_key(&key, |row| row.key).ok().and_then(|at| OPERATIONS.get(at))
}

/// The row of an API key, if clients are offered it.
pub fn operation(key: i16) -> Option<&'static Operation> {
    row(key).filter(|row| row.route != Route::Internal)
}

#[cfg(test)]
mod tests;
