//! What a client leaves behind that gives its connection up.

use super::Injection;
use crate::kafka::cluster::Producer;
use std::collections::{BTreeSet, HashMap};

impl Injection {
    /// The identities under which batches are undecided.
    pub(in crate::kafka::session) fn left(&self) -> Vec<Producer> {
        let all = self.sequences.values().flat_map(HashMap::values);
        let undecided = all.filter(|sequence| sequence.undecided > 0);
        let distinct: BTreeSet<(i64, i16)> =
            undecided.map(|sequence| (sequence.producer.id, sequence.producer.epoch)).collect();
        distinct.into_iter().map(|(id, epoch)| Producer { id, epoch }).collect()
    }
}
