//! What became of batches that were stamped: in the log, refused, given up.

use super::sequence::Sequence;
use super::{Injection, after, key_bytes, of_header, topic_bytes};
use crate::kafka::cluster::TopicKey;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::split::Item;
use crate::kafka::wire::{batch, produce};
use bytes::Bytes;
use std::collections::HashMap;

impl Injection {
    /// The sequence of a partition, if it still goes on from this batch of it; and the batch.
    fn same(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        records: Option<&Bytes>,
    ) -> Option<(&mut Sequence, batch::BatchHeader)> {
        let header = batch::headers(records?).next()?;
        let sequence = self.known_mut(key_bytes(topic), partition)?;
        let any_epoch = made(Mistake::GivenBackOfAnyEpoch) && sequence.producer.id == header.producer_id;
        (sequence.producer == of_header(&header) || any_epoch).then_some((sequence, header))
    }

    /// A batch is in the log.
    pub(in crate::kafka::session) fn landed(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        records: Option<&Bytes>,
    ) {
        if let Some((sequence, header)) = self.same(topic, partition, records) {
            let was_open = sequence.is_open();
            sequence.landed(header.base_sequence);
            self.look_again(was_open);
        }
    }

    /// Whether what lands may settle something.
    pub(in crate::kafka::session) fn is_open(&self) -> bool {
        self.open
    }

    /// A sequence that was open may be no more: whether another one is.
    fn look_again(&mut self, some_closed: bool) {
        if some_closed && self.open {
            self.open = self.sequences.values().flat_map(HashMap::values).any(Sequence::is_open);
        }
    }

    /// The client was told that the outcome of a batch is unknown: it may still lie unread in a broker's socket.
    pub(in crate::kafka::session) fn give_up(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        records: Option<&Bytes>,
    ) {
        if let Some((sequence, header)) = self.same(topic, partition, records) {
            sequence.give_up(after(header.base_sequence, header.last_offset_delta));
            self.open = true;
        }
    }

    /// Whether a gap proves nothing of this batch: another one of its producer was given up, and may be in the log or be read late.
    pub(in crate::kafka::session) fn has_given_up(&self, item: &Item) -> bool {
        let known = self.known(key_bytes(&item.topic), item.partition);
        known.is_some_and(|sequence| sequence.producer == item.producer && sequence.given_up.is_some())
    }

    /// Whether a later batch of its producer is known to be in the log: a broker takes a sequence only behind its predecessor.
    pub(in crate::kafka::session) fn has_landed_behind(&self, item: &Item) -> bool {
        let header = item.request.bytes_field("records").and_then(|records| batch::headers(records).next());
        let known = self.known(key_bytes(&item.topic), item.partition);
        known.zip(header).is_some_and(|(sequence, header)| {
            sequence.producer == of_header(&header) && sequence.has_landed_behind(header.base_sequence)
        })
    }

    /// A request that went whole is in the log, with all its batches.
    pub(in crate::kafka::session) fn landed_whole(&mut self, version: i16, body: &Bytes) {
        let mut was_open = false;
        let scanned = produce::scan_request(version, body, &mut |row| {
            let header = row.records.and_then(|records| batch::headers(records).next());
            if let Some(header) = header
                && let Some(sequence) = self.known_mut(topic_bytes(&row.topic), row.partition)
                && sequence.producer == of_header(&header)
            {
                was_open |= sequence.is_open();
                sequence.landed(header.base_sequence);
            }
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
        self.look_again(was_open);
    }

    /// A batch was refused and not appended: its sequence is given back if nothing has taken a later one. Otherwise the
    /// later ones meet the gap and are stamped anew.
    pub(in crate::kafka::session) fn give_back(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        records: Option<&Bytes>,
    ) {
        if let Some((sequence, header)) = self.same(topic, partition, records)
            && (sequence.next == after(header.base_sequence, header.last_offset_delta)
                || made(Mistake::GivenBackUnderOthers))
        {
            sequence.next = header.base_sequence;
        }
    }

    /// A batch comes to its bound that isn't in the log and never will be. `behind_gap`: its sequence had been refused.
    pub(in crate::kafka::session) fn end(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        records: Option<&Bytes>,
        behind_gap: bool,
    ) {
        if let Some((sequence, header)) = self.same(topic, partition, records) {
            sequence.end(&header, behind_gap);
        }
    }

    /// The same of a request that was stamped and never written.
    pub(in crate::kafka::session) fn end_whole(&mut self, version: i16, body: &[u8]) {
        let scanned = produce::scan_request(version, body, &mut |row| {
            let header = row.records.and_then(|records| batch::headers(records).next());
            if let Some(header) = header
                && let Some(sequence) = self.known_mut(topic_bytes(&row.topic), row.partition)
                && sequence.producer == of_header(&header)
            {
                sequence.end(&header, false);
            }
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
    }

    /// A stamped request, which had gone out whole, is decided.
    pub(in crate::kafka::session) fn decided_whole(&mut self, version: i16, body: &[u8]) {
        let scanned = produce::scan_request(version, body, &mut |row| {
            if let Some(sequence) = self.known_mut(topic_bytes(&row.topic), row.partition) {
                sequence.decided();
            }
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
    }

    /// A partition of a request in parts, stamped there, is decided.
    pub(in crate::kafka::session) fn decided_item(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(sequence) = self.known_mut(key_bytes(topic), partition) {
            sequence.decided();
        }
    }
}
