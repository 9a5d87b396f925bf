//! The ZooKeeper proxy, whole and in this process, between scripted servers and a raw client: what its user would notice.
//!
//! `fake`, `server`, `tree` and `told` are the servers, `client` speaks to Evenkeel, `bed` starts all of it. A scripted server is for what
//! a real one can't be made to do on cue; each file names where its servers' behaviour was seen on real ensembles. Nothing
//! waits for luck: each wait is for a condition and has a bound.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::too_many_lines,
    clippy::wildcard_imports,
    clippy::float_cmp,
    missing_docs,
    unreachable_pub,
    reason = "a test says what it expects, and nobody imports it"
)]

mod bed;
mod client;
mod fake;
mod make;
mod server;
mod told;
mod tree;
#[path = "../tunnel/mod.rs"]
mod tunnel;

mod bounds;
mod check;
mod connect;
mod drains;
mod encrypted;
mod epoch;
mod follow;
mod lease;
mod limits;
mod loss;
mod moves;
mod operations;
mod sasl;
mod shield;
mod steady;
mod unknown;
mod watches;
