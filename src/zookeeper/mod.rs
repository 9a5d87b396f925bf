//! The ZooKeeper protocol: a server on loopback that never goes down.
//!
//! Floor 4. Imports the floors below, never another protocol. [`lease`] says how long a client may go on believing in its
//! session.

pub mod lease;
mod mistake;
