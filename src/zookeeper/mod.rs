//! The `ZooKeeper` protocol: sessions, ephemerals and watches that outlive the server.
//!
//! Floor 4. Imports the floors below, never another protocol. [`operations`] is the table that decides, [`wire`] the
//! bytes.

pub mod operations;
pub mod wire;
