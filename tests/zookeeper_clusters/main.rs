//! Real `ZooKeeper` ensembles with real clients: short runs of the promises.
//!
//! The rows of clients that connect to the servers themselves show what there is to be gained, and that the judges see it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test says what it expects, and nobody imports it"
)]

mod changes;
mod chaos;
mod closed_gates;
mod cut;
mod direct;
mod driven;
mod epoch;
mod gates;
mod lease;
#[allow(dead_code, reason = "requests for more tests than these")]
#[path = "../zookeeper_proxy/make.rs"]
mod make;
mod moves;
mod operations;
mod plain;
mod rolls;
mod sasl;
mod script;
mod shield;
mod small;

/// The binary that Cargo built for this test.
fn binary() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_evenkeel"))
}
