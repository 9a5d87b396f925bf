//! What the model check (`session/model`) stands on: brokers with their logs ([`log`]) and the print by which states
//! are told apart ([`print`]). Tests only.
//!
//! Imports [`super::wire`], to read what a session has sent, and [`super::topic`].

pub(in crate::kafka) mod log;
pub(in crate::kafka) mod print;
