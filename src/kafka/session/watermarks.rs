//! The last high watermark seen of each partition that this client fetches, for the empty answers that are made here.

use crate::kafka::cluster::TopicKey;
use crate::kafka::wire::TopicRef;
use std::collections::HashMap;

/// A high watermark, and the node that told it.
type Mark = (i64, i32);

/// High watermarks, and the nodes that told them, by topic (its name, or the bytes of its id) and partition. No allocation
/// for one that is known.
#[derive(Debug, Default)]
pub(super) struct Watermarks(HashMap<Box<[u8]>, HashMap<i32, Mark>>);

impl Watermarks {
    /// Notes what a Fetch answer of `node` said.
    pub(super) fn note(&mut self, topic: TopicRef<'_>, partition: i32, high_watermark: i64, node: i32) {
        let name: &[u8] = match &topic {
            TopicRef::Name(name) => name,
            TopicRef::Id(id) => id,
        };
        if let Some(partitions) = self.0.get_mut(name) {
            partitions.insert(partition, (high_watermark, node));
        } else {
            self.0.insert(name.into(), HashMap::from([(partition, (high_watermark, node))]));
        }
    }

    /// The last one seen, or −1: unknown.
    pub(super) fn last(&self, topic: &TopicKey, partition: i32) -> i64 {
        self.get(topic, partition).map_or(-1, |(high_watermark, _)| high_watermark)
    }

    /// The node that a partition was last read from.
    pub(super) fn read_from(&self, topic: &TopicKey, partition: i32) -> Option<i32> {
        self.get(topic, partition).map(|(_, node)| node)
    }

    fn get(&self, topic: &TopicKey, partition: i32) -> Option<Mark> {
        let name: &[u8] = match topic {
            TopicKey::Name(name) => name,
            TopicKey::Id(id) => id,
        };
        self.0.get(name).and_then(|partitions| partitions.get(&partition)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_last_word_counts_and_the_unknown_is_minus_one() {
        let mut marks = Watermarks::default();
        marks.note(TopicRef::Name(b"t"), 0, 5, 1);
        marks.note(TopicRef::Name(b"t"), 0, 7, 2);
        marks.note(TopicRef::Id([3; 16]), 1, 9, 2);
        assert_eq!(marks.last(&TopicKey::Name(Bytes::from_static(b"t")), 0), 7);
        assert_eq!(marks.last(&TopicKey::Id([3; 16]), 1), 9);
        assert_eq!(marks.last(&TopicKey::Name(Bytes::from_static(b"t")), 1), -1);
        assert_eq!(marks.read_from(&TopicKey::Name(Bytes::from_static(b"t")), 0), Some(2));
    }
}
