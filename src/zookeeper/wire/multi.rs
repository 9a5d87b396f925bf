//! Requests of several parts, `multi` and `multiRead`: done all or none.

use super::create::Create;
use super::jute::{Fault, Malformed, Reader, Text};
use super::opcode;

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// Creates a node (1, 15, 19, 21).
    Create(Create<'a>),
    /// Deletes a node.
    Delete {
        /// The node.
        path: Option<Text<'a>>,
        /// The version expected, or −1.
        version: i32,
    },
    /// Sets a node's data.
    SetData {
        /// The node.
        path: Option<Text<'a>>,
        /// The data; null is kept apart from empty.
        data: Option<&'a [u8]>,
        /// The version expected, or −1.
        version: i32,
    },
    /// Fails all unless the node has this version.
    Check {
        /// The node.
        path: Option<Text<'a>>,
        /// The version expected, or −1.
        version: i32,
    },
    /// Reads children; of `multiRead`.
    GetChildren {
        /// The node.
        path: Option<Text<'a>>,
    },
    /// Reads data; of `multiRead`.
    GetData {
        /// The node.
        path: Option<Text<'a>>,
    },
}

impl<'a> Op<'a> {
    fn read(kind: i32, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
                Self::Create(Create::read(kind, reader)?)
            }
            opcode::DELETE => Self::Delete { path: reader.text("path")?, version: reader.i32("version")? },
            opcode::SET_DATA => Self::SetData {
                path: reader.text("path")?,
                data: reader.buffer("data")?,
                version: reader.i32("version")?,
            },
            opcode::CHECK => Self::Check { path: reader.text("path")?, version: reader.i32("version")? },
            opcode::GET_CHILDREN | opcode::GET_DATA => {
                let path = reader.text("path")?;
                reader.bool("watch")?; // servers set no watch in a multi
                if kind == opcode::GET_DATA { Self::GetData { path } } else { Self::GetChildren { path } }
            }
            other => return Err(reader.error(Fault::Operation(other), "type")),
        })
    }

    /// The node that it is about.
    pub fn path(&self) -> Option<Text<'a>> {
        match self {
            Self::Create(create) => create.path,
            Self::Delete { path, .. }
            | Self::SetData { path, .. }
            | Self::Check { path, .. }
            | Self::GetChildren { path }
            | Self::GetData { path } => *path,
        }
    }

    /// Whether it only reads, and so can't stand beside one that doesn't. A check is on the writers' side.
    fn is_read(&self) -> bool {
        matches!(self, Self::GetChildren { .. } | Self::GetData { .. })
    }
}

/// The header of the next part, or `None` at the end: type, whether this is the end, −1.
fn next_kind(reader: &mut Reader<'_>) -> Result<Option<i32>, Malformed> {
    let kind = reader.i32("type")?;
    let done = reader.bool("done")?;
    reader.i32("err")?;
    Ok((!done).then_some(kind))
}

/// A multi that was found to be whole: reads its parts one by one from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multi<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Multi<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let start = reader.at();
        let mut count = 0;
        let mut reads = None;
        while let Some(kind) = next_kind(reader)? {
            let op = Op::read(kind, reader)?;
            if *reads.get_or_insert(op.is_read()) != op.is_read() {
                return Err(reader.error(Fault::Mixed, "type"));
            }
            count += 1;
        }
        Ok(Self { bytes: reader.since(start), count })
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each part.
    pub fn iter(&self) -> impl Iterator<Item = Op<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // All was read once, so nothing can fail.
        std::iter::from_fn(move || {
            let kind = next_kind(&mut reader).ok().flatten()?;
            Op::read(kind, &mut reader).ok()
        })
    }
}
