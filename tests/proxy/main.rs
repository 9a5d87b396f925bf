//! The Kafka proxy, whole and in this process, between scripted brokers and a raw client: what its user would notice.
//!
//! `fake`, `broker` and `log` are the brokers, `client` speaks to Evenkeel, `bed` starts all of it. Nothing waits for luck:
//! each wait is for a condition and has a bound.

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

mod asks;
mod bed;
mod broker;
mod client;
mod fake;
mod log;
mod make;
mod reads;
mod tables;
mod trial;
#[path = "../tunnel/mod.rs"]
mod tunnel;

mod addresses;
mod backlog;
mod bypass;
mod check;
mod drain;
mod encrypted;
mod fetch;
mod fetch_errors;
mod gaps;
mod garbage;
mod groups;
mod guard;
mod holds;
mod identity;
mod inject;
mod leave;
mod life;
mod limits;
mod members;
mod operations;
mod order;
mod own;
mod own_again;
mod produce;
mod sasl;
mod showing;
mod silent;
mod silent_end;
mod steady;
mod stranger;
mod topics;
mod unknown;
mod versions;
mod zone;
