//! The `ZooKeeper` protocol: sessions, ephemerals and watches that outlive the server.
//!
//! Floor 4. Imports the floors below, never another protocol. [`operations`] is the table that decides, [`outcome`] what
//! became of the writes that a lost server didn't answer, [`words`] what may come in the place of a session, [`wire`]
//! the bytes.

pub mod operations;
pub mod outcome;
pub mod wire;
pub mod words;
