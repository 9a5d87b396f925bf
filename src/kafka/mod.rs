//! The Kafka protocol proxy.
pub mod wire;
