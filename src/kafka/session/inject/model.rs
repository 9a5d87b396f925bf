//! The sequences as the model check prints them. Tests only.

use super::sequence::Sequence;
use super::{Injection, PATIENCE, key_bytes};
use crate::kafka::cluster::{Producer, TopicKey};
use crate::kafka::model::print::{Print, hash_of};
use std::time::Instant;

impl Injection {
    /// A partition of a named topic goes on at this sequence under this producer id.
    pub(in crate::kafka::session) fn begin_at(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        producer: Producer,
        next: i32,
    ) {
        self.named = Some(producer);
        let topic = self.sequences.entry(key_bytes(topic).into()).or_default();
        topic.insert(partition, Sequence { next, ..Sequence::new(producer) });
    }

    /// Prints who is stamped with what.
    pub(in crate::kafka::session) fn print(&self, print: &mut Print, now: Instant) {
        print.put(&(self.on, self.named, self.by_id, self.open));
        print.over(self.asked, PATIENCE);
        let all = self.sequences.iter().flat_map(|(topic, of)| of.iter().map(move |(p, s)| (topic, p, s)));
        print.unordered(
            all,
            |(topic, partition, _)| hash_of(&(topic, partition)),
            |print, (_, at, known)| {
                print.put(&(at, known.producer, known.next, known.undecided, known.unproven));
                print.put(&(known.opening, known.older, known.crowded, known.is_lowered(now)));
                print.put(&(known.given_up, known.landed, known.broken));
            },
        );
    }
}
