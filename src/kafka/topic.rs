//! How requests name topics.

use super::wire::{TopicRef, uuid};
use bytes::Bytes;
use std::fmt;

/// A topic as requests name it: by name, or by id (Fetch v13+, Produce v13+).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Bytes),
    /// By topic id.
    Id([u8; 16]),
}

impl TopicKey {
    /// The same in memory of its own: a name is a slice of its request's frame otherwise, and would keep all of that for as
    /// long as anything goes by it.
    #[must_use]
    pub fn detached(self) -> Self {
        match self {
            Self::Name(name) => Self::Name(Bytes::copy_from_slice(&name)),
            id @ Self::Id(_) => id,
        }
    }

    /// As a message names it.
    pub fn topic_ref(&self) -> TopicRef<'_> {
        match self {
            Self::Name(name) => TopicRef::Name(name),
            Self::Id(id) => TopicRef::Id(*id),
        }
    }
}

impl fmt::Display for TopicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
            Self::Id(id) => f.write_str(&uuid::format(id)),
        }
    }
}
