//! The `ZooKeeper` protocol: sessions, ephemerals and watches that outlive the server.
//!
//! Floor 4. Imports the floors below, never another protocol. [`wire`] is the bytes.

pub mod wire;
