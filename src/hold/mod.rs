//! Holding: what waits for a cluster to recover, within bounds of bytes and time, and fully accounted for.
//!
//! Floor 3: protocol-blind. Time is passed in.

mod ledger;

pub use ledger::{Ledger, Ticket};
