//! Kafka wire format.
