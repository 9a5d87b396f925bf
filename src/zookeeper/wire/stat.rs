//! What a server knows of a node beside its data.

use super::jute::{Malformed, Reader, Writer};

/// The `Stat` record. Times are milliseconds since 1970 by the leader's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction that set its data last; that of its creation at first.
    pub mzxid: i64,
    /// When it was created.
    pub ctime: i64,
    /// When its data was set last.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How often children came and went: twice the number ever created, less those that are there
    /// (`DataNode.copyStat`).
    pub cversion: i32,
    /// How often its access control list was set.
    pub aversion: i32,
    /// The session whose ephemeral it is, or 0 (0 too for containers and nodes with a time to live).
    pub ephemeral_owner: i64,
    /// The bytes of its data.
    pub data_length: i32,
    /// The children that are there.
    pub num_children: i32,
    /// The transaction in which a child came or went last; that of its creation at first.
    pub pzxid: i64,
}

impl Stat {
    /// Reads one.
    ///
    /// # Errors
    /// The bytes end before it does.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            czxid: reader.i64("czxid")?,
            mzxid: reader.i64("mzxid")?,
            ctime: reader.i64("ctime")?,
            mtime: reader.i64("mtime")?,
            version: reader.i32("version")?,
            cversion: reader.i32("cversion")?,
            aversion: reader.i32("aversion")?,
            ephemeral_owner: reader.i64("ephemeralOwner")?,
            data_length: reader.i32("dataLength")?,
            num_children: reader.i32("numChildren")?,
            pzxid: reader.i64("pzxid")?,
        })
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self, writer: Writer) -> Writer {
        writer
            .i64(self.czxid)
            .i64(self.mzxid)
            .i64(self.ctime)
            .i64(self.mtime)
            .i32(self.version)
            .i32(self.cversion)
            .i32(self.aversion)
            .i64(self.ephemeral_owner)
            .i32(self.data_length)
            .i32(self.num_children)
            .i64(self.pzxid)
    }

    /// How many children were ever created below it, which is the number that the next sequential child gets.
    pub fn children_ever(&self) -> i64 {
        i64::midpoint(i64::from(self.cversion), i64::from(self.num_children))
    }
}
