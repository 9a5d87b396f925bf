//! Real `ZooKeeper` ensembles with real clients: short runs of the promises.
//!
//! The rows of clients that connect to the servers themselves show what there is to be gained, and that the judges see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

mod changes;
mod chaos;
mod direct;
mod driven;
mod epoch;
mod gates;
mod lease;
mod moves;
mod rolls;
mod sasl;
mod script;
mod shield;
mod small;
