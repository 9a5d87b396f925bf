//! Reads frames off a blocking socket with large reads. Of a frame that isn't wanted whole only the start is kept.

use std::io::Read;
use testbed::{Error, Result};

/// Bytes for one read.
const ROOM: usize = 1024 * 1024;
/// The part of a frame that is always there to be looked at, in bytes: more than any header's fixed part.
const HEAD: usize = 16;

/// Where a frame is in the reader's buffer.
pub(crate) struct Seen<'b> {
    /// The frame without its length: whole, or its first bytes.
    pub bytes: &'b [u8],
    /// Its whole length on the wire, the length field included.
    pub wire_len: usize,
}

/// A reader with its buffer.
pub(crate) struct Reader {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// Bytes of an earlier frame that are still to come and that nobody wants.
    skip: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; ROOM], from: 0, to: 0, skip: 0 }
    }

    /// Whether the next call of [`Reader::next`] would have to read.
    pub(crate) fn would_read(&self, whole: impl Fn(&[u8]) -> bool) -> bool {
        self.skip > 0 || self.find(&whole).is_none()
    }

    /// The next frame; `None` at the end of the stream. `whole` says by a frame's first bytes whether it is wanted whole.
    pub(crate) fn next(
        &mut self,
        stream: &mut impl Read,
        whole: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Seen<'_>>> {
        loop {
            let drop = self.skip.min(self.to - self.from);
            self.skip -= drop;
            self.from += drop;
            if self.skip == 0
                && let Some((kept, wire_len)) = self.find(&whole)
            {
                let start = self.from + 4;
                let here = wire_len.min(self.to - self.from);
                self.skip = wire_len - here;
                self.from += here;
                let bytes = self.buffer.get(start..start + kept).unwrap_or_default();
                return Ok(Some(Seen { bytes, wire_len }));
            }
            if !self.fill(stream)? {
                return Ok(None);
            }
        }
    }

    /// The next frame's usable bytes and its length on the wire, if enough of it is here.
    fn find(&self, whole: &impl Fn(&[u8]) -> bool) -> Option<(usize, usize)> {
        let here = self.buffer.get(self.from..self.to)?;
        let (length, rest) = here.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let head = rest.get(..length.min(HEAD))?;
        let kept = if whole(head) { length } else { head.len() };
        (rest.len() >= kept).then_some((kept, length + 4))
    }

    fn fill(&mut self, stream: &mut impl Read) -> Result<bool> {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        let room = self.buffer.get_mut(self.to..).unwrap_or_default();
        if room.is_empty() {
            return Err(Error::program("bench", "a frame that no load has: too long"));
        }
        let n = stream.read(room).map_err(Error::io("reading"))?;
        self.to += n;
        Ok(n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of seven.
    struct Drip<'b>(&'b [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(7).min(room.len());
            let (now, later) = self.0.split_at(n);
            room[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    #[test]
    fn frames_are_found_whole_or_skipped() {
        let mut wire = Vec::new();
        for (byte, length) in [(1u8, 100usize), (2, 50), (1, 3), (2, 20)] {
            wire.extend_from_slice(&i32::try_from(length).unwrap().to_be_bytes());
            wire.extend(std::iter::repeat_n(byte, length));
        }
        let (mut stream, mut reader) = (Drip(&wire), Reader::new());
        let mut seen = Vec::new();
        while let Some(frame) = reader.next(&mut stream, |head| head[0] == 1).unwrap() {
            assert!(frame.bytes.iter().all(|b| *b == frame.bytes[0]));
            seen.push((frame.bytes[0], frame.bytes.len(), frame.wire_len));
        }
        assert_eq!(seen, [(1, 100, 104), (2, 16, 54), (1, 3, 7), (2, 16, 24)]);
    }
}
