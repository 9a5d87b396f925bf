//! The ZooKeeper protocol: a server on loopback that never goes down, with sessions, ephemerals and watches that outlive
//! the real ones.
//!
//! Floor 4. Imports the floors below, never another protocol. [`wire`] is the bytes, [`operations`] says what each request
//! means, [`lease`] how long a client may go on believing in its session, [`watches`] what it waits for, [`outcome`] what became of a write;
//! `quota` which writes to quotas no server could apply;
//! [`sasl`] proves who a session is from,
//! [`session`] is the life of one client connection, [`ensemble`] what all of them share.

pub mod config_node;
pub mod ensemble;
pub mod lease;
pub mod listener;
mod mistake;
pub mod operations;
pub mod outcome;
mod quota;
pub mod sasl;
pub mod service;
pub mod session;
mod tally;
pub mod watches;
pub mod wire;
pub mod words;
