//! Real clusters for the tests and the demo.
//!
//! Starts Kafka brokers and `ZooKeeper` servers from their Maven jars on loopback addresses, breaks them on purpose
//! (stop, kill, freeze, move, another version), runs client programs against them and judges what came out.
//! Synchronous on purpose: threads and child processes are easier to trust than a second async runtime in a test. Only a
//! thousand `ZooKeeper` sessions at once are tasks ([`zookeeper::Crowd`]).
//!
//! This crate never imports `evenkeel`: it sees the sidecar only from outside, as a process ([`sidecar::Sidecar`]).

pub mod admin;
pub mod bad;
pub mod browser;
pub mod cache;
pub mod chaos;
pub mod claim;
pub mod clients;
pub mod copies;
pub mod crypt;
pub mod dns;
pub mod driven;
mod error;
pub mod gates;
pub mod golang;
pub mod helper;
pub mod ideal;
pub mod judge;
pub mod kafka;
pub mod keys;
pub mod process;
pub mod pushers;
pub mod python;
pub mod raw;
pub mod scene;
pub mod script;
pub mod sidecar;
pub mod stories;
pub mod tap;
pub mod told;
pub mod toolbox;
pub mod trickle;
pub mod wait;
pub mod wire;
pub mod zookeeper;

pub use admin::Admin;
pub use clients::{ConsumerProgram, ConsumerSpec, Library, ProducerProgram, ProducerSpec};
pub use dns::DnsServer;
pub use driven::{Driven, drive};
pub use error::{Error, Result};
pub use gates::Controller;
pub use judge::{ConsumerVerdict, Verdict, judge_consumer, judge_producers};
pub use kafka::{Asking, Cluster, KafkaVersion, Roll, Session, Spec};
pub use scene::{Load, Report, Scene};
pub use script::RollScript;
pub use sidecar::Sidecar;
pub use tap::Tap;
pub use zookeeper::{Ensemble, EnsembleSpec, ZooKeeperVersion};
