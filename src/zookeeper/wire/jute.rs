//! Jute, the encoding: bounded reading from a slice, writing into a buffer.
//!
//! Imports nothing of this crate. Reading accepts and refuses what the server's `BinaryInputArchive` does: a length of
//! −1 is null, any other negative length of a string or buffer is an error, and of a vector an empty one; text need not
//! be UTF-8. Nothing here allocates by a length that was read.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// What is wrong with bytes that claim to be a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated,
    /// A length below −1.
    Length(i32),
    /// An operation that can't be part of a multi.
    Operation(i32),
    /// Reads and writes in one multi.
    Mixed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end here"),
            Self::Length(n) => write!(f, "impossible length {n}"),
            Self::Operation(opcode) => write!(f, "operation {opcode} can't be part of a multi"),
            Self::Mixed => f.write_str("reads and writes in one multi"),
        }
    }
}

/// A record that can't be decoded: what is wrong, in which field, at which byte of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (field {field}, byte {at})")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// The field, in the names of `zookeeper.jute`.
    pub field: &'static str,
    /// The offset in the bytes that were given.
    pub at: usize,
}

/// A string of the wire: bytes that should be UTF-8 and need not be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Text<'a> {
    /// The bytes as they came.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The string, if it is UTF-8.
    pub fn to_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The string with U+FFFD where it isn't UTF-8, as a server takes it.
    pub fn lossy(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lossy())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.lossy(), f)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

/// A place in a record.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `buf`.
    pub fn new(buf: &'a [u8]) -> Self {
        Self { buf, at: 0 }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// What was read between an earlier place and here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.buf.get(start..self.at).unwrap_or_default()
    }

    #[cold]
    pub(super) fn error(&self, fault: Fault, field: &'static str) -> Malformed {
        Malformed { fault, field, at: self.at }
    }

    fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n);
        match end.and_then(|end| self.buf.get(self.at..end)) {
            Some(bytes) => {
                self.at += n;
                Ok(bytes)
            }
            None => Err(self.error(Fault::Truncated, field)),
        }
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        match self.rest().first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error(Fault::Truncated, field)),
        }
    }

    /// A byte of which anything but zero is true.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, Malformed> {
        Ok(self.fixed::<1>(field)? != [0])
    }

    /// A signed number of 32 bits.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.fixed(field)?))
    }

    /// A signed number of 64 bits.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.fixed(field)?))
    }

    /// Bytes, or null.
    pub fn buffer(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        let start = self.at;
        let length = self.i32(field)?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(length) => self.take(length, field).map(Some),
            Err(_) => Err(Malformed { fault: Fault::Length(length), field, at: start }),
        }
    }

    /// A string, or null.
    pub fn text(&mut self, field: &'static str) -> Result<Option<Text<'a>>, Malformed> {
        Ok(self.buffer(field)?.map(Text))
    }

    /// How many items a vector claims to have, or null. The claim is checked by nothing yet.
    pub(super) fn claimed(&mut self, field: &'static str) -> Result<Option<usize>, Malformed> {
        let length = self.i32(field)?;
        // Java's loop runs while the number is above zero.
        Ok(if length == -1 { None } else { Some(usize::try_from(length).unwrap_or(0)) })
    }

    /// A vector of strings, or null. Every one of them is stepped over, so that the list is known to be whole.
    pub fn names(&mut self, field: &'static str) -> Result<Option<Names<'a>>, Malformed> {
        let Some(count) = self.claimed(field)? else {
            return Ok(None);
        };
        let start = self.at;
        for _ in 0..count {
            self.text(field)?;
        }
        Ok(Some(Names { bytes: self.since(start), count }))
    }
}

/// A vector of strings that was found to be whole: reads them one by one from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Names<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each of them; null is shown as the empty string.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // The list is whole, so no item can fail.
        (0..self.count).map_while(move |_| reader.text("name").ok().map(Option::unwrap_or_default))
    }
}

/// Writes a record. [`Writer::frame`] for one that is sent: its length stands in front.
#[derive(Debug, Default)]
pub struct Writer {
    buf: BytesMut,
    framed: bool,
}

/// The bytes of a frame's length.
const PREFIX: usize = 4;

impl Writer {
    /// A bare record.
    pub fn record() -> Self {
        Self::default()
    }

    /// A frame: four bytes are kept free for its length.
    pub fn frame() -> Self {
        Self { buf: BytesMut::from([0; PREFIX].as_slice()), framed: true }
    }

    /// How many bytes were written, without those of the length.
    pub fn len(&self) -> usize {
        self.buf.len() - if self.framed { PREFIX } else { 0 }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One byte.
    #[must_use]
    pub fn bool(mut self, value: bool) -> Self {
        self.buf.put_u8(u8::from(value));
        self
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn i32(mut self, value: i32) -> Self {
        self.buf.put_i32(value);
        self
    }

    /// A number of 64 bits.
    #[must_use]
    pub fn i64(mut self, value: i64) -> Self {
        self.buf.put_i64(value);
        self
    }

    /// Bytes, or null.
    #[must_use]
    pub fn buffer(self, value: Option<&[u8]>) -> Self {
        match value {
            Some(bytes) => self.i32(length(bytes.len())).raw(bytes),
            None => self.i32(-1),
        }
    }

    /// A string that is not null.
    #[must_use]
    pub fn text(self, value: &[u8]) -> Self {
        self.buffer(Some(value))
    }

    /// Bytes as they are, with no length in front.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.buf.put_slice(bytes);
        self
    }

    /// A vector of strings that is not null.
    #[must_use]
    pub fn names<'a>(self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let head = self.i32(length(names.len()));
        names.fold(head, Self::text)
    }

    /// What was written, with the length in front if it is a frame.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        if self.framed {
            let written = length(self.len());
            if let Some(prefix) = self.buf.first_chunk_mut::<PREFIX>() {
                *prefix = written.to_be_bytes();
            }
        }
        self.buf.freeze()
    }
}

/// A length as the wire has it. Nothing that is written here comes near 2 GiB: all of it came in frames, which are
/// capped.
fn length(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}
