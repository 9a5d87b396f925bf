//! The Kafka protocol: virtual brokers on loopback that never go down.
//!
//! Floor 4. Imports the floors below, never another protocol. [`operations`] is the table that decides, [`session`] the
//! life of a client connection, [`cluster`] what all of them know together, [`order`] what keeps batches in order
//! between them, [`wire`] the bytes, [`authenticate`] how connections prove who they are from. [`manage`] is for controllers: it changes a cluster.

pub mod authenticate;
pub mod channel;
pub mod cluster;
pub mod honest;
pub mod listener;
pub mod manage;
mod mistake;
#[cfg(test)]
mod model;
pub mod operations;
pub mod order;
pub mod patience;
pub mod ports;
pub mod rewrite;
pub mod service;
pub mod session;
pub mod split;
pub mod topic;
pub mod wire;
