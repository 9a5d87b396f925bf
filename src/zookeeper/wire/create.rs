//! The requests that create a node, alone or as a part of a multi.

use super::acl::AclList;
use super::jute::{Malformed, Reader, Text};
use super::opcode;

/// What kind of node is made (`CreateMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateMode {
    /// Stays until it is deleted.
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Stays; a number is appended to its name.
    PersistentSequential,
    /// Goes with its session; a number is appended to its name.
    EphemeralSequential,
    /// Goes some time after its last child.
    Container,
    /// Goes some time after it was set last.
    Ttl,
    /// Goes some time after it was set last; a number is appended to its name.
    TtlSequential,
}

impl CreateMode {
    /// From the flags of the wire; `None` for those that servers answer with −8.
    pub fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => Self::Persistent,
            1 => Self::Ephemeral,
            2 => Self::PersistentSequential,
            3 => Self::EphemeralSequential,
            4 => Self::Container,
            5 => Self::Ttl,
            6 => Self::TtlSequential,
            _ => return None,
        })
    }

    /// Whether it goes with its session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// Whether a number is appended to its name.
    pub fn is_sequential(self) -> bool {
        matches!(self, Self::PersistentSequential | Self::EphemeralSequential | Self::TtlSequential)
    }
}

/// A request to create a node: opcodes 1, 15, 19 and 21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Create<'a> {
    /// Which of the four: 1 is answered with the path, the others with path and stat.
    pub opcode: i32,
    /// The path, before a number is appended. Null gets an error.
    pub path: Option<Text<'a>>,
    /// The data; null is kept apart from empty by servers.
    pub data: Option<&'a [u8]>,
    /// The access control list; null gets an error.
    pub acl: Option<AclList<'a>>,
    /// See [`CreateMode::from_flags`].
    pub flags: i32,
    /// The time to live in milliseconds, of opcode 21.
    pub ttl: Option<i64>,
}

impl<'a> Create<'a> {
    pub(super) fn read(opcode: i32, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            opcode,
            path: reader.text("path")?,
            data: reader.buffer("data")?,
            acl: AclList::read(reader)?,
            flags: reader.i32("flags")?,
            ttl: if opcode == opcode::CREATE_TTL { Some(reader.i64("ttl")?) } else { None },
        })
    }

    /// What kind of node is asked for; `None` if there is no such kind.
    pub fn mode(&self) -> Option<CreateMode> {
        CreateMode::from_flags(self.flags)
    }
}
