//! The sequences as the model check prints them. Tests only.

use super::Injection;
use crate::kafka::model::print::{Print, hash_of};
use std::time::Instant;

impl Injection {
    /// Prints who is stamped with what.
    pub(in crate::kafka::session) fn print(&self, print: &mut Print, now: Instant) {
        print.put(&(self.on, self.named, self.by_id, self.open));
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
