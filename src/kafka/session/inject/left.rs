//! What a client leaves behind that gives its connection up.

use super::Injection;
use crate::kafka::cluster::Producer;
use std::collections::{BTreeMap, HashMap};

impl Injection {
    /// The identities under which batches are undecided, or were given up as such, each once: under the highest epoch that any partition has come to,
    /// or what takes it over would begin one of them anew under an epoch that it has had.
    pub(in crate::kafka::session) fn left(&self) -> Vec<Producer> {
        let mut known: BTreeMap<i64, (i16, bool)> = BTreeMap::new();
        for sequence in self.sequences.values().flat_map(HashMap::values) {
            let Producer { id, epoch } = sequence.producer;
            let (highest, undecided) = known.entry(id).or_insert((epoch, false));
            *highest = epoch.max(*highest);
            *undecided |= sequence.undecided > 0 || sequence.given_up.is_some();
        }
        let left = known.into_iter().filter(|(_, (_, undecided))| *undecided);
        left.map(|(id, (epoch, _))| Producer { id, epoch }).collect()
    }
}
