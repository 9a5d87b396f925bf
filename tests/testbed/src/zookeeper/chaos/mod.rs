//! Chaos for `ZooKeeper`: an ensemble under many sessions is broken in every way there is, in an order that a seed decides;
//! each request is recorded with its times and its outcome, and a checker proves from the records, and from the servers' own
//! transaction logs, what became of the promises.
//!
//! `schedule` says what happens, `run` does it, `client` is one session, `record` what it went through, `txnlog` what the
//! servers wrote down, `ends` what they have at the end, `checker` judges. The first and the last are pure.

pub mod checker;
mod client;
mod ends;
pub mod record;
mod report;
mod run;
pub mod schedule;
mod txnlog;

pub use report::table;
pub use run::{Order, Outcome, Plan, Size, carry_out, prove};
