//! The operation table: for each operation that servers of 3.4 to 3.9 know, whether and how it is forwarded, which watches it
//! sets or takes away, and what is done with it when its server is lost before it has answered.
//!
//! This is the heart of the `ZooKeeper` module and is data: the rows stand in `table.rs`, `docs/zookeeper-operations.md`
//! is written from them. What a row's [`Loss::Verify`] means in detail is in `zookeeper/outcome`. Imports only
//! [`wire`](super::wire). Decides nothing by itself.
//!
//! Sources: `ZooDefs`, `Request`, `PrepRequestProcessor` and `FinalRequestProcessor` of 3.8.6 and 3.9.5; what is said of
//! losses was seen on real ensembles of both.

mod document;
mod effect;
mod table;

pub use document::markdown;
pub use effect::{Effect, WatcherKind, effect};
pub use table::OPERATIONS;

use super::wire::errors;

/// What an operation is to the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answered by the server that it comes to, from what that server has.
    Read,
    /// A transaction: the leader's, in the one order of all writes.
    Write,
    /// Not a transaction, but answered only when the leader has had a part in it.
    Sync,
    /// Of the connection or the session itself.
    Session,
}

/// What is done with it when it comes from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Sent on as the bytes it came in.
    AsIs,
    /// Decoded whole first; what a server couldn't decode is answered −5 here and never sent on, what it couldn't apply −8.
    Checked,
    /// Never sent on: answered with this error.
    Refuse(i32),
    /// Never sent on: answered with this error, and the client's connection closed, as its server would.
    RefuseAndClose(i32),
}

/// What it does to the watches of its client. See [`effect`] for which and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watches {
    /// Nothing.
    None,
    /// With the flag: one on data if the node is there, one on its creation if the answer is `NoNode`.
    Exists,
    /// With the flag, on success: one on data.
    Data,
    /// With the flag, on success: one on children.
    Children,
    /// On success: a persistent one, recursive with mode 1.
    Persistent,
    /// All that it lists, from the moment it is sent: events come before its answer.
    Lists,
    /// On success: takes some away.
    Remove,
}

/// Which evidence decides on a write that was sent and not answered. After the fence, before which none means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The node and its parent, or its siblings if it is sequential.
    Create,
    /// The node's `czxid`.
    Delete,
    /// The node's version and data.
    SetData,
    /// The node's version of its access control list.
    SetAcl,
    /// The most telling of its parts.
    Multi,
    /// The version in `/zookeeper/config`.
    Reconfig,
}

/// What is done with it when it was sent and its server is lost before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Sent again: it changes nothing, or nothing twice.
    Replay,
    /// Sent again when the watches are back on the new server.
    AfterWatches,
    /// Sent again at once on the new connection; the client gets one answer, not the one of each sending.
    Credentials,
    /// A step of a handshake with the server that is lost: the client's connection is closed, unless Evenkeel has
    /// credentials of its own.
    Handshake,
    /// The fence, then evidence: done, rejected, sent again, or unknown.
    Verify(Verify),
    /// The reattach tells: a session that is gone was closed; else it is sent again.
    Reattach,
    /// Never sent again; its answer is of no use to anyone by then.
    Never,
    /// It is never in flight.
    Refused,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The number of the wire.
    pub opcode: i32,
    /// Its name in `ZooDefs.OpCode`.
    pub name: &'static str,
    /// The first version that knows it; 3.4 stands for all before too.
    pub since: (u8, u8),
    /// What it is to the ensemble.
    pub kind: Kind,
    /// What is done with it when it comes.
    pub forward: Forward,
    /// What it does to watches.
    pub watches: Watches,
    /// What is done with it when its outcome is unknown.
    pub loss: Loss,
    /// Whether Evenkeel may answer it before a server does, within the session's lease.
    pub early: bool,
    /// Why it is so.
    pub note: &'static str,
}

impl Operation {
    /// Whether its answer proves that the server is in touch with a leader: what `lease = "strict"` counts.
    pub fn proves_leader(&self) -> bool {
        matches!(self.kind, Kind::Write | Kind::Sync)
    }

    /// Whether its outcome, once it is sent, can be found out only behind a fence.
    pub fn needs_fence(&self) -> bool {
        matches!(self.loss, Loss::Verify(_))
    }
}

/// What is done with an operation that no row is about: what a 3.9 server does.
pub const UNKNOWN: Forward = Forward::RefuseAndClose(errors::UNIMPLEMENTED);

/// The number of the first place of [`PLACES`]: no operation has a lower one.
const LOWEST: i32 = -16;

/// Where in the table the row of each number is, and one more; 0 for no row. Every request is looked up.
static PLACES: [u8; 128] = places(OPERATIONS);

#[allow(clippy::indexing_slicing, reason = "done by the compiler, which refuses a row that has no place")]
const fn places(rows: &[Operation]) -> [u8; 128] {
    let mut places = [0; 128];
    let mut row = 0;
    while row < rows.len() {
        #[allow(clippy::cast_sign_loss, reason = "no number is below the lowest")]
        let place = (rows[row].opcode - LOWEST) as usize;
        row += 1;
        #[allow(clippy::cast_possible_truncation, reason = "a few dozen rows")]
        let number = row as u8;
        places[place] = number;
    }
    places
}

/// The row of an operation.
pub fn operation(opcode: i32) -> Option<&'static Operation> {
    let place = usize::try_from(opcode.checked_sub(LOWEST)?).ok()?;
    let row = usize::from(*PLACES.get(place)?).checked_sub(1)?;
    OPERATIONS.get(row)
}

/// What is done with an operation when it comes from a client.
pub fn forward(opcode: i32) -> Forward {
    operation(opcode).map_or(UNKNOWN, |row| row.forward)
}

#[cfg(test)]
mod tests;
