//! The life of the process: readiness and drain as held values, signals, and the service manager.
//!
//! May import `config`; knows no protocol and no socket but the service manager's. It must never decide what stops:
//! it tells holders, and they finish by themselves.

pub mod drain;
mod readiness;
mod service;
mod signals;

pub use drain::{Drain, DrainOutcome, DrainTrigger};
pub use readiness::{Block, Readiness};
pub use service::ServiceManager;
pub use signals::{Signal, Signals};
