//! A partition's log as brokers keep it: what they remember of producers, and the ids that they hand out.
//!
//! What mimics a real broker was seen on 2.8.2, 3.9.2 and 4.3.1: a repeat of one of a producer's last five batches, known by
//! its first and last sequence, gets 0 and its first offset, on the new leader too; a gap gets (45); the first batch of a
//! producer that isn't known may have any sequence; one that was started again remembers a producer's last batch alone; a higher epoch begins at 0, and the lower one then gets (47); two
//! batches in one field get (87); a wrong checksum (2).

use crate::fake::Batch;
use bytes::Bytes;
use evenkeel::kafka::wire::{Struct, batch};
use std::collections::VecDeque;

/// `InitProducerId`, as all brokers answer it.
pub struct Identities {
    pub next: i64,
    /// Errors, which come with id −1, for the next ones that ask.
    pub codes: VecDeque<i16>,
    /// Nobody gets an answer.
    pub silent: bool,
    pub asked: usize,
}

impl Default for Identities {
    fn default() -> Self {
        Self { next: 1000, codes: VecDeque::new(), silent: false, asked: 0 }
    }
}

impl Identities {
    /// Answers whether there is an answer.
    pub fn hand_out(&mut self, answer: &mut Struct) -> bool {
        self.asked += 1;
        let code = self.codes.pop_front().unwrap_or(0);
        answer.set_i16("error_code", code);
        answer.set_i64("producer_id", if code == 0 { self.next } else { -1 });
        answer.set_i16("producer_epoch", if code == 0 { 0 } else { -1 });
        self.next += i64::from(code == 0);
        !self.silent
    }
}

pub fn end(log: &[Batch]) -> i64 {
    log.last().map_or(0, |batch| batch.offset + batch.records)
}

/// Sequences wrap at 2³¹ to 0.
pub fn later(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) % (1 << 31)) as i32
}

/// Appends, or recognises; the error code and the base offset.
pub fn append(log: &mut Vec<Batch>, by: i32, records: &Bytes) -> (i16, i64) {
    let headers: Vec<_> = batch::headers(records).collect();
    if headers.len() > 1 && headers.iter().any(|header| header.magic == 2) {
        return (87, -1);
    }
    let mut first = None;
    for header in headers {
        let bytes = records.slice(header.at..header.at + header.size);
        if header.magic == 2 && crc32c::crc32c(&bytes[21..]) != header.crc {
            return (2, -1);
        }
        if bytes.get(61..).is_some_and(|text| text.starts_with(b"too large")) {
            return (10, -1); // whatever its sequence is
        }
        let last = later(header.base_sequence, header.last_offset_delta);
        let sequence = header.is_sequenced().then_some((header.producer_id, header.base_sequence, last));
        if let Some((id, base, _)) = sequence {
            let of_producer: Vec<&Batch> =
                log.iter().rev().filter(|batch| batch.sequence.is_some_and(|known| known.0 == id)).collect();
            let newest = of_producer.first().map(|batch| batch.epoch);
            if newest.is_some_and(|epoch| epoch > header.producer_epoch) {
                return (47, -1);
            }
            let same = of_producer.iter().filter(|batch| batch.epoch == header.producer_epoch);
            let mut known =
                same.clone().take(5).enumerate().filter(|(nth, batch)| *nth == 0 || !batch.before_start);
            if let Some((_, known)) = known.find(|(_, batch)| batch.sequence == sequence) {
                return (0, known.offset);
            }
            let due = match (newest, same.clone().next().and_then(|batch| batch.sequence)) {
                (None, _) => base,
                (Some(_), None) => 0,
                (Some(_), Some((.., last))) => later(last, 1),
            };
            if base != due {
                return (45, -1);
            }
        }
        let offset = end(log);
        first = first.or(Some(offset));
        let count = i64::from(header.last_offset_delta) + 1;
        log.push(Batch {
            offset,
            records: count,
            bytes,
            by,
            sequence,
            epoch: header.producer_epoch,
            before_start: false,
        });
    }
    first.map_or((2, -1), |offset| (0, offset))
}

/// What the log itself must do before it can judge anybody.
#[test]
fn sequences_are_checked_as_brokers_do() {
    let put = |log: &mut Vec<Batch>, id, epoch, base| {
        append(log, 1, &crate::make::batch_of("x", 2, id, epoch, base))
    };
    let log = &mut Vec::new();
    assert_eq!(put(log, 7, 0, 40), (0, 0), "any first sequence");
    assert_eq!(put(log, 7, 0, 44), (45, -1), "a gap");
    for n in 1..6 {
        assert_eq!(put(log, 7, 0, 40 + 2 * n), (0, i64::from(2 * n)));
    }
    assert_eq!(put(log, 7, 0, 42), (0, 2), "the fifth from the end");
    assert_eq!(put(log, 7, 0, 40), (45, -1), "older than the last five");
    assert_eq!(put(log, 7, 1, 52), (45, -1), "a higher epoch begins at 0");
    assert_eq!(put(log, 7, 1, 0), (0, 12));
    assert_eq!(put(log, 7, 0, 52), (47, -1));
    assert_eq!(put(log, 8, 0, i32::MAX), (0, 14));
    assert_eq!(put(log, 8, 0, 1), (0, 16), "wrapped at 2^31");
    assert_eq!(log.len(), 9);
}
