//! The configuration: read from a TOML file and the environment, checked whole, then plain data.
//!
//! Floor 1 (base): may be imported by everyone, imports nothing of this crate. Never reads the process's
//! environment by itself, never logs, never keeps anything between two calls.

mod problem;
mod types;

pub use problem::{Place, Problem, Problems};
pub use types::{Admin, Config, Dns, Hold, HostPort, Kafka, Log, LogFormat, Net, PortRange, Retry, Shutdown};
