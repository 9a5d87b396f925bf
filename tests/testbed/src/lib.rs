//! Real clusters.
pub mod admin;
pub mod cache;
pub mod claim;
mod error;
pub mod helper;
pub mod kafka;
pub mod process;
pub mod wait;
pub use admin::Admin;
pub use error::{Error, Result};
pub use kafka::{Cluster, KafkaVersion, Roll, Session, Spec};
