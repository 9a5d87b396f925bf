//! How requests name topics.

use bytes::Bytes;

/// A topic as requests name it: by name, or by id (Fetch v13+, Produce v13+).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Bytes),
    /// By topic id.
    Id([u8; 16]),
}
