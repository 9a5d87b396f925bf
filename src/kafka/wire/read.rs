//! Bounded reading of the protocol's primitive types from a slice. Nothing here allocates or panics.

use std::fmt;

use super::error::{Fault, WireError};

/// A topic as a request or an answer names it: by name, or by id in the newer versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// The topic's name, as bytes of the frame.
    Name(&'a [u8]),
    /// The topic's id.
    Id([u8; 16]),
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
            Self::Id(id) => f.write_str(&super::uuid::format(id)),
        }
    }
}

/// A place in a message.
pub(super) struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
    message: &'static str,
    version: i16,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'static str, version: i16, buf: &'a [u8], at: usize) -> Self {
        Self { buf, at, message, version }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.buf.len().saturating_sub(self.at)
    }

    #[cold]
    pub(super) fn error(&self, fault: Fault, field: &'static str) -> WireError {
        WireError { fault, message: self.message, version: self.version, field, at: self.at }
    }

    /// The next `n` bytes.
    #[inline]
    pub(super) fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(n);
        match end.and_then(|end| self.buf.get(self.at..end)) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => Err(self.error(Fault::Truncated, field)),
        }
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        match self.buf.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error(Fault::Truncated, field)),
        }
    }

    #[inline]
    pub(super) fn i8(&mut self, field: &'static str) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.fixed(field)?))
    }

    #[inline]
    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.fixed(field)?))
    }

    #[inline]
    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.fixed(field)?))
    }

    #[inline]
    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.fixed(field)?))
    }

    /// An unsigned number in groups of 7 bits, lowest first, of at most 32 bits.
    #[inline]
    pub(super) fn uvarint(&mut self, field: &'static str) -> Result<u32, WireError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>(field)?;
            if shift == 28 && byte > 0x0f {
                return Err(self.error(Fault::Varint, field));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Fault::Varint, field))
    }

    /// A compact length: one more than the number, 0 for null.
    #[inline]
    fn compact(&mut self, field: &'static str) -> Result<Option<usize>, WireError> {
        match self.uvarint(field)?.checked_sub(1) {
            None => Ok(None),
            Some(n) => match usize::try_from(n) {
                Ok(n) if n <= self.remaining() => Ok(Some(n)),
                _ => Err(self.error(Fault::Length(i64::from(n)), field)),
            },
        }
    }

    /// A plain length: −1 for null.
    #[inline]
    fn plain(&mut self, n: i32, field: &'static str) -> Result<Option<usize>, WireError> {
        match usize::try_from(n) {
            Ok(n) if n <= self.remaining() => Ok(Some(n)),
            Err(_) if n == -1 => Ok(None),
            _ => Err(self.error(Fault::Length(i64::from(n)), field)),
        }
    }

    /// The number of elements of an array, `None` for null. Each element takes at least one byte, so a count beyond the
    /// remaining bytes is refused here.
    #[inline]
    pub(super) fn array(&mut self, flexible: bool, field: &'static str) -> Result<Option<usize>, WireError> {
        if flexible {
            self.compact(field)
        } else {
            let n = self.i32(field)?;
            self.plain(n, field)
        }
    }

    /// A string's bytes, `None` for null.
    #[inline]
    pub(super) fn string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, WireError> {
        let n = if flexible {
            self.compact(field)?
        } else {
            let n = self.i16(field)?;
            self.plain(i32::from(n), field)?
        };
        n.map(|n| self.take(n, field)).transpose()
    }

    /// Bytes or records, `None` for null.
    #[inline]
    pub(super) fn bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a [u8]>, WireError> {
        let n = self.array(flexible, field)?;
        n.map(|n| self.take(n, field)).transpose()
    }

    /// A topic: a name that can't be null, or an id.
    #[inline]
    pub(super) fn topic(&mut self, by_id: bool, flexible: bool) -> Result<TopicRef<'a>, WireError> {
        if by_id {
            return Ok(TopicRef::Id(self.fixed("topic_id")?));
        }
        match self.string(flexible, "topic")? {
            Some(name) => Ok(TopicRef::Name(name)),
            None => Err(self.error(Fault::Null, "topic")),
        }
    }

    /// A length of an array that can't be null.
    #[inline]
    pub(super) fn some_array(&mut self, flexible: bool, field: &'static str) -> Result<usize, WireError> {
        match self.array(flexible, field)? {
            Some(n) => Ok(n),
            None => Err(self.error(Fault::Null, field)),
        }
    }

    /// Steps over a structure's tagged fields, handing each to `visit`.
    #[inline]
    pub(super) fn tags(
        &mut self,
        flexible: bool,
        mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if !flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint("tagged fields")? {
            let tag = self.uvarint("tag")?;
            let size = self.uvarint("tag size")?;
            let Ok(size) = usize::try_from(size) else {
                return Err(self.error(Fault::Truncated, "tagged field"));
            };
            visit(tag, self.take(size, "tagged field")?)?;
        }
        Ok(())
    }

    /// Steps over a structure's tagged fields.
    #[inline]
    pub(super) fn skip_tags(&mut self, flexible: bool) -> Result<(), WireError> {
        self.tags(flexible, |_, _| Ok(()))
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            n => Err(self.error(Fault::Trailing(n), "end")),
        }
    }
}
