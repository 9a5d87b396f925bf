//! Access control lists.

use super::jute::{Malformed, Reader, Text};

/// One entry: who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acl<'a> {
    /// Bits: 1 read, 2 write, 4 create, 8 delete, 16 admin.
    pub perms: i32,
    /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl` or a plug-in's.
    pub scheme: Option<Text<'a>>,
    /// The identity, in the scheme's own form.
    pub id: Option<Text<'a>>,
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Acl<'a>, Malformed> {
    Ok(Acl { perms: reader.i32("perms")?, scheme: reader.text("scheme")?, id: reader.text("id")? })
}

/// A list that was found to be whole: reads its entries one by one from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AclList<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> AclList<'a> {
    /// Steps over a list, or null.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let Some(count) = reader.claimed("acl")? else {
            return Ok(None);
        };
        let start = reader.at();
        for _ in 0..count {
            entry(reader)?;
        }
        Ok(Some(Self { bytes: reader.since(start), count }))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each entry.
    pub fn iter(&self) -> impl Iterator<Item = Acl<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // The list is whole, so no entry can fail.
        (0..self.count).map_while(move |_| entry(&mut reader).ok())
    }

    /// Whether it gives everything to everyone and nothing else: the one list that servers keep as it came.
    pub fn is_open(&self) -> bool {
        let open = |acl: Acl<'_>| {
            acl.perms == 31 && acl.scheme == Some("world".into()) && acl.id == Some("anyone".into())
        };
        self.count == 1 && self.iter().all(open)
    }
}
