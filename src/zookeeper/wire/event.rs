//! Events of watches.

use bytes::Bytes;

use super::header::{reply_body, xid};
use super::jute::{Malformed, Reader, Text, Writer};

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Nothing to a node: the session's state.
    Session,
    /// It was created.
    NodeCreated,
    /// It was deleted: data, exist and child watches of it are gone.
    NodeDeleted,
    /// Its data was set.
    NodeDataChanged,
    /// A child came or went.
    NodeChildrenChanged,
    /// A watch was taken away; servers don't send it.
    DataWatchRemoved,
    /// A watch was taken away; servers don't send it.
    ChildWatchRemoved,
    /// A watch was taken away; servers don't send it.
    PersistentWatchRemoved,
    /// One that 3.9 doesn't know.
    Other(i32),
}

impl EventType {
    /// From the number of the wire (`Watcher.Event.EventType`).
    pub fn from_wire(number: i32) -> Self {
        match number {
            -1 => Self::Session,
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            other => Self::Other(other),
        }
    }

    /// The number of the wire.
    pub fn to_wire(self) -> i32 {
        match self {
            Self::Session => -1,
            Self::NodeCreated => 1,
            Self::NodeDeleted => 2,
            Self::NodeDataChanged => 3,
            Self::NodeChildrenChanged => 4,
            Self::DataWatchRemoved => 5,
            Self::ChildWatchRemoved => 6,
            Self::PersistentWatchRemoved => 7,
            Self::Other(number) => number,
        }
    }
}

/// An event: a frame whose header has the xid −1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// The session's state, 3 (connected) from a server.
    pub state: i32,
    /// The node.
    pub path: Text<'a>,
}

impl<'a> WatchEvent<'a> {
    /// Reads the event of a frame whose header was found to be one's.
    ///
    /// # Errors
    /// The frame is cut short or has a negative length in it.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(reply_body(frame));
        Ok(Self {
            kind: EventType::from_wire(reader.i32("type")?),
            state: reader.i32("state")?,
            path: reader.text("path")?.unwrap_or_default(),
        })
    }

    /// The bytes to send, with their length in front. `zxid` is the header's: see
    /// [`ReplyHeader`](super::ReplyHeader::zxid).
    pub fn encode(&self, zxid: i64) -> Bytes {
        let header = Writer::frame().i32(xid::NOTIFICATION).i64(zxid).i32(0);
        header.i32(self.kind.to_wire()).i32(self.state).text(self.path.0).finish()
    }
}
