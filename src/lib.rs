//! Evenkeel: a client-side resilience sidecar for Apache Kafka and Apache ZooKeeper.
//!
//! The floors of the house, lowest first; a file imports only lower floors or its own folder
//! (`tests/floors.rs` enforces it, `ARCHITECTURE.md` gives the reasons):
//!
//! 1. base: [`config`], [`files`], [`findings`], [`metrics`], [`telemetry`], [`lifecycle`], [`time`]
//! 2. platform: [`net`], [`dns`], [`tls`], [`sasl`]
//! 3. resilience: [`upstream`], [`retry`], [`hold`]
//! 4. protocols: [`kafka`], [`zookeeper`]
//! 5. operability: [`admin`], [`upgrade`]
//! 6. fleets: [`fleet`], [`driver`]
//!
//! [`app`] alone sees everything.

pub mod admin;
pub mod app;
pub mod config;
pub mod dns;
pub mod driver;
pub mod files;
pub mod findings;
pub mod fleet;
pub mod hold;
pub mod kafka;
pub mod lifecycle;
pub mod metrics;
pub mod net;
pub mod retry;
pub mod sasl;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod upgrade;
pub mod upstream;
pub mod zookeeper;
