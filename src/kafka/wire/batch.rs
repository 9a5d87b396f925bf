//! The headers of record batches, and stamping a producer's identity into one.
//!
//! Format 2 (`DefaultRecordBatch.java`): base offset 0, length 8 (of what follows it), leader epoch 12, magic 16, CRC32C
//! 17 (of everything from 21), attributes 21, last offset delta 23, timestamps 27 and 35, producer id 43, epoch 51, base
//! sequence 53, count 57, records from 61. The older message sets share offset, length and the place of the magic; their
//! messages have no producer.

use super::super::mistake::{Mistake, made};
use super::crc;
use super::error::{Fault, WireError};
use super::read::Reader;

/// The bytes in front of what a batch's length counts.
const OVERHEAD: usize = 12;
/// A batch of format 2 without records.
const HEADER: usize = 61;
/// The smallest message of format 0: checksum, magic, attributes, and two null lengths.
const SMALLEST_MESSAGE: usize = 14;

const CRC_AT: usize = 17;
const PRODUCER_AT: usize = 43;
/// Producer id, epoch and base sequence.
const PRODUCER_BYTES: usize = 14;

/// What the header of a record batch says; or of a message of the older formats, which has no producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Where the batch begins in the records.
    pub at: usize,
    /// How many bytes it takes there.
    pub size: usize,
    /// The format: 2, or 0 and 1 for message sets.
    pub magic: i8,
    /// The first offset, as the producer or the log says.
    pub base_offset: i64,
    /// The checksum as it is written; not verified.
    pub crc: u32,
    /// The attributes: compression in the lowest 3 bits, timestamp type, transactional, control.
    pub attributes: i16,
    /// The last offset less the first; 0 for a message.
    pub last_offset_delta: i32,
    /// The producer id; −1 for none.
    pub producer_id: i64,
    /// The producer's epoch; −1 for none.
    pub producer_epoch: i16,
    /// The sequence of the first record; −1 for none.
    pub base_sequence: i32,
}

impl BatchHeader {
    /// Whether the batch has sequences by which the broker recognises a repeat.
    pub fn is_sequenced(&self) -> bool {
        self.magic == 2 && self.producer_id >= 0
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.magic == 2 && self.attributes & 0x10 != 0
    }

    /// Whether the batch carries markers and no records; no client produces such.
    pub fn is_control(&self) -> bool {
        self.magic == 2 && self.attributes & 0x20 != 0
    }
}

/// The batches of `records`, one after another; ends at the first that isn't whole.
pub fn headers(records: &[u8]) -> Headers<'_> {
    Headers { records, at: 0 }
}

/// See [`headers`].
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    records: &'a [u8],
    at: usize,
}

impl Headers<'_> {
    /// The bytes that aren't read yet; when the iteration has ended, what wasn't a whole batch.
    pub fn rest(&self) -> usize {
        self.records.len().saturating_sub(self.at)
    }

    fn read(&self) -> Result<Option<BatchHeader>, WireError> {
        let mut r = Reader::new("record batch", 2, self.records, self.at);
        let base_offset = r.i64("base_offset")?;
        let length = r.i32("batch_length")?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if length > r.remaining() {
            return Ok(None);
        }
        // The leader epoch of format 2, the checksum of the others.
        let word = r.fixed::<4>("partition_leader_epoch")?;
        let magic = r.i8("magic")?;
        let mut header = BatchHeader {
            at: self.at,
            size: OVERHEAD + length,
            magic,
            base_offset,
            crc: u32::from_be_bytes(word),
            attributes: 0,
            last_offset_delta: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        };
        if magic < 2 {
            header.attributes = i16::from(r.i8("attributes")?);
            return Ok((magic >= 0 && length >= SMALLEST_MESSAGE).then_some(header));
        }
        if magic > 2 {
            return Ok(Some(BatchHeader { crc: 0, ..header }));
        }
        header.crc = u32::from_be_bytes(r.fixed("crc")?);
        header.attributes = r.i16("attributes")?;
        header.last_offset_delta = r.i32("last_offset_delta")?;
        r.take(16, "timestamps")?;
        header.producer_id = r.i64("producer_id")?;
        header.producer_epoch = r.i16("producer_epoch")?;
        header.base_sequence = r.i32("base_sequence")?;
        r.i32("records_count")?;
        Ok((header.size >= HEADER).then_some(header))
    }
}

impl Iterator for Headers<'_> {
    type Item = BatchHeader;

    fn next(&mut self) -> Option<BatchHeader> {
        let header = self.read().ok().flatten()?;
        self.at += header.size;
        Some(header)
    }
}

/// Writes a producer's identity into the batch that `batch` is, and corrects its checksum by the change: a batch that
/// arrived corrupt stays corrupt, and the records aren't read.
///
/// `batch` is exactly one whole batch of format 2; anything else is left as it is, with [`Fault::NotABatch`].
pub fn stamp(
    batch: &mut [u8],
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) -> Result<(), WireError> {
    let not_a_batch =
        || WireError { fault: Fault::NotABatch, message: "record batch", version: 2, field: "batch", at: 0 };
    let size = batch.len();
    if !headers(batch).next().is_some_and(|h| h.magic == 2 && h.size == size) {
        return Err(not_a_batch());
    }
    let mut identity = [0u8; PRODUCER_BYTES];
    let parts = producer_id
        .to_be_bytes()
        .into_iter()
        .chain(producer_epoch.to_be_bytes())
        .chain(base_sequence.to_be_bytes());
    identity.iter_mut().zip(parts).for_each(|(to, from)| *to = from);

    let place = batch.get_mut(PRODUCER_AT..PRODUCER_AT + PRODUCER_BYTES).ok_or_else(not_a_batch)?;
    let mut difference = identity;
    difference.iter_mut().zip(place.iter()).for_each(|(d, old)| *d ^= old);
    place.copy_from_slice(&identity);

    let change = crc::change(&difference, size - PRODUCER_AT - PRODUCER_BYTES);
    let change = if made(Mistake::ChecksumLeft) { 0 } else { change };
    let checksum = batch.get_mut(CRC_AT..CRC_AT + 4).ok_or_else(not_a_batch)?;
    checksum.iter_mut().zip(change.to_be_bytes()).for_each(|(byte, c)| *byte ^= c);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A batch of format 2 with a right checksum; the records are any bytes.
    pub(in super::super) fn batch(
        attributes: i16,
        delta: i32,
        producer: (i64, i16, i32),
        records: &[u8],
    ) -> Vec<u8> {
        let mut covered = attributes.to_be_bytes().to_vec();
        covered.extend(delta.to_be_bytes());
        covered.extend([3; 16]);
        covered.extend(producer.0.to_be_bytes());
        covered.extend(producer.1.to_be_bytes());
        covered.extend(producer.2.to_be_bytes());
        covered.extend((delta + 1).to_be_bytes());
        covered.extend(records);
        let mut out = 70i64.to_be_bytes().to_vec();
        out.extend((9 + i32::try_from(covered.len()).unwrap()).to_be_bytes());
        out.extend(5i32.to_be_bytes());
        out.push(2);
        out.extend(crc32c::crc32c(&covered).to_be_bytes());
        out.extend(covered);
        out
    }

    /// A message of an older format.
    fn message(magic: u8, offset: i64, value: &[u8]) -> Vec<u8> {
        let mut body = vec![1, 2, 3, 4, magic, 1];
        body.extend([9; 8].iter().take(if magic == 1 { 8 } else { 0 }));
        body.extend((-1i32).to_be_bytes());
        body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
        let mut out = offset.to_be_bytes().to_vec();
        out.extend(i32::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn a_header_is_read_field_by_field() {
        let mut records = batch(0x10, 4, (77, 3, 12), b"abc");
        let first = records.len();
        records.extend(batch(0x20, 0, (-1, -1, -1), b""));
        let mut all = headers(&records);
        let a = all.next().unwrap();
        assert_eq!((a.at, a.size, a.magic, a.base_offset), (0, first, 2, 70));
        assert_eq!((a.attributes, a.last_offset_delta), (0x10, 4));
        assert_eq!((a.producer_id, a.producer_epoch, a.base_sequence), (77, 3, 12));
        assert_eq!(a.crc, crc32c::crc32c(&records[21..first]));
        assert!(a.is_sequenced() && a.is_transactional() && !a.is_control());
        let b = all.next().unwrap();
        assert_eq!((b.at, b.size, b.producer_id), (first, 61, -1));
        assert!(!b.is_sequenced() && !b.is_transactional() && b.is_control());
        assert_eq!((all.next(), all.rest()), (None, 0));
    }

    #[test]
    fn message_sets_have_no_sequence() {
        let mut records = message(0, 4, b"v");
        records.extend(message(1, 5, b"value"));
        let all: Vec<_> = headers(&records).collect();
        let seen: Vec<_> =
            all.iter().map(|h| (h.magic, h.base_offset, h.crc, h.attributes, h.is_sequenced())).collect();
        assert_eq!(seen, [(0, 4, 0x0102_0304, 1, false), (1, 5, 0x0102_0304, 1, false)]);
        assert!(stamp(&mut records[..all[0].size], 1, 1, 1).is_err());
    }

    #[test]
    fn truncation_and_nonsense_end_the_iteration() {
        let whole = batch(0, 1, (1, 1, 1), b"payload");
        let mut two = whole.clone();
        two.extend(&whole);
        for cut in 0..two.len() {
            let mut all = headers(&two[..cut]);
            assert_eq!(all.by_ref().count(), cut / whole.len(), "cut at {cut}");
            assert_eq!(all.rest(), cut % whole.len());
        }
        for length in [i32::MIN, -1, 0, 4, 5, 48, i32::MAX] {
            let mut bad = whole.clone();
            bad[8..12].copy_from_slice(&length.to_be_bytes());
            assert_eq!(headers(&bad).count(), 0, "length {length}");
        }
        let mut negative = whole.clone();
        negative[16] = 0xff;
        assert_eq!(headers(&negative).count(), 0);
        let mut future = whole.clone();
        future[16] = 3;
        assert!(headers(&future).next().is_some_and(|h| h.magic == 3 && !h.is_sequenced()));
        assert_eq!(stamp(&mut future, 1, 1, 1).unwrap_err().fault, Fault::NotABatch);
        assert!(stamp(&mut two.clone(), 1, 1, 1).is_err(), "one batch at a time");
        assert!(stamp(&mut [], 1, 1, 1).is_err());
    }

    proptest! {
        #[test]
        fn a_stamped_batch_is_what_a_producer_would_have_sent(
            attributes in any::<i16>(),
            records in prop::collection::vec(any::<u8>(), 0..5000),
            old in any::<(i64, i16, i32)>(),
            new in any::<(i64, i16, i32)>(),
        ) {
            let mut stamped = batch(attributes, 2, old, &records);
            stamp(&mut stamped, new.0, new.1, new.2).unwrap();
            prop_assert_eq!(stamped, batch(attributes, 2, new, &records));
        }

        #[test]
        fn a_corrupt_batch_stays_exactly_as_corrupt(
            records in prop::collection::vec(any::<u8>(), 1..500),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            new in any::<(i64, i16, i32)>(),
        ) {
            let mut corrupt = batch(0, 2, (-1, -1, -1), &records);
            // Anywhere in what the checksum covers.
            let at = 21 + at.index(corrupt.len() - 21);
            corrupt[at] ^= flip;
            let wrong_by = |b: &[u8]| crc32c::crc32c(&b[21..]) ^ u32::from_be_bytes([b[17], b[18], b[19], b[20]]);
            let before = wrong_by(&corrupt);
            prop_assert_ne!(before, 0);
            stamp(&mut corrupt, new.0, new.1, new.2).unwrap();
            prop_assert_eq!(wrong_by(&corrupt), before);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut all = headers(&bytes);
            let mut sum = 0;
            for h in all.by_ref() {
                prop_assert_eq!(h.at, sum);
                sum += h.size;
            }
            prop_assert_eq!(sum + all.rest(), bytes.len());
            let _ = stamp(&mut bytes, 1, 2, 3);
        }
    }
}
