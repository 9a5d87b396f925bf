//! The wire format held against itself, against exact bytes, and against hostile ones.

mod connect;
mod frames;
mod hostile;
pub(in crate::zookeeper) mod requests;
