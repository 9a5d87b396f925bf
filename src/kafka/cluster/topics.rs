//! What is known of topics: their ids, the leaders of their partitions, and whether they are still there. Pure; time is
//! passed in.
//!
//! A topic that was deleted and made anew has another id (KIP-516). What was meant for the one before must not land in it,
//! so it is remembered when a name got another id, and since when a name is said to be unknown.

use super::Changes;
use crate::kafka::topic::TopicKey;
use crate::kafka::wire::{Struct, uuid};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a topic that is known may be unknown to a broker that has just come back.
pub const TOPIC_LAG: Duration = Duration::from_secs(5);
/// How long it is remembered that a topic is gone; no request is held for nearly as long.
const REMEMBERED: Duration = Duration::from_secs(600);
/// A topic that no answer has told of for so long may have been deleted, and nobody would say so. The common clients ask every
/// five minutes for what they use.
const UNHEARD_OF: Duration = Duration::from_secs(3600);

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its node id, or −1 while there is none.
    pub node: i32,
    /// The leader epoch, or −1 where the answer had none.
    pub epoch: i32,
    /// When the question was asked that this answers.
    pub asked: Instant,
    /// Since when there has been no leader, if there is none.
    pub leaderless: Option<Instant>,
    /// The leader before, while there is none: its node id and epoch.
    pub before: Option<(i32, i32)>,
    /// When another leader or a newer epoch was last seen; `None` if it never changed while it was watched.
    pub changed: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Topic {
    id: [u8; 16],
    /// The id of the topic that had this name before.
    before: [u8; 16],
    /// When this one was first heard of, if there was another before it.
    made_anew: Option<Instant>,
    /// When it was last described.
    seen: Instant,
    /// When it was last asked about though nobody wanted to know.
    checked: Instant,
    /// Since when brokers say that they don't know it.
    missing: Option<Instant>,
    partitions: HashMap<i32, Leader>,
}

impl Topic {
    fn new(asked: Instant) -> Self {
        Self {
            id: uuid::ZERO,
            before: uuid::ZERO,
            made_anew: None,
            seen: asked,
            checked: asked,
            missing: None,
            partitions: HashMap::new(),
        }
    }

    fn is_gone(&self, now: Instant) -> bool {
        self.missing.is_some_and(|since| now.saturating_duration_since(since) >= TOPIC_LAG)
    }

    fn make_anew(&mut self, asked: Instant) {
        self.partitions.clear();
        self.made_anew = Some(asked);
    }
}

/// All topics that have been heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Bytes, Topic>,
    /// Of present topics, and of those before them.
    names: HashMap<[u8; 16], Bytes>,
    /// When any topic was last found made anew or missing.
    disturbed: Option<Instant>,
}

impl Topics {
    /// Takes in what a Metadata answer to a question asked at `asked` says of one topic.
    pub(super) fn absorb(&mut self, topic: &Struct, asked: Instant, changes: &mut Changes) {
        let id = topic.uuid("topic_id");
        let of_id = || self.names.get(&id).filter(|_| id != uuid::ZERO);
        let Some(name) = topic.bytes_field("name").or_else(of_id).cloned() else { return };
        if topic.i16("error_code") != 0 && topic.structs("partitions").next().is_none() {
            if matches!(topic.i16("error_code"), 3 | 100) {
                // Gone, or a broker that has just come back and doesn't know yet.
                self.miss(&name, asked);
            }
            return;
        }
        let known = self.by_name.entry(name.clone()).or_insert_with(|| Topic::new(asked));
        if id != uuid::ZERO && id == known.before {
            return; // a broker that is behind still has the topic before this one
        }
        let other = id != uuid::ZERO && known.id != uuid::ZERO && known.id != id;
        let back = id == uuid::ZERO && known.is_gone(asked);
        if other || back {
            known.make_anew(asked);
            self.disturbed = Some(asked);
            changes.made_anew.push(name.clone());
        }
        if id != uuid::ZERO && known.id != id {
            known.before = known.id;
            known.id = id;
            self.names.insert(id, name);
        }
        known.missing = None;
        known.seen = known.seen.max(asked);
        for partition in topic.structs("partitions") {
            let index = partition.i32("partition_index");
            let node = if partition.i16("error_code") == 5 { -1 } else { partition.i32("leader_id") };
            let epoch = if partition.has("leader_epoch") { partition.i32("leader_epoch") } else { -1 };
            set_leader(&mut known.partitions, index, node, epoch, asked, changes);
        }
    }

    fn miss(&mut self, name: &Bytes, asked: Instant) {
        if let Some(known) = self.by_name.get_mut(name).filter(|known| known.seen <= asked) {
            known.missing.get_or_insert(asked);
            self.disturbed = Some(asked);
        }
    }

    /// Takes in a hint: the current leader of a partition that an error names.
    pub(super) fn absorb_hint(
        &mut self,
        topic: &TopicKey,
        partition: i32,
        node: i32,
        epoch: i32,
        at: Instant,
        changes: &mut Changes,
    ) {
        if let Some(known) = self.name_of(topic).and_then(|name| self.by_name.get_mut(&name)) {
            set_leader(&mut known.partitions, partition, node, epoch, at, changes);
        }
    }

    fn get(&self, topic: &TopicKey) -> Option<&Topic> {
        match topic {
            TopicKey::Name(name) => self.by_name.get(name),
            TopicKey::Id(id) => self.by_name.get(self.names.get(id)?).filter(|known| known.id == *id),
        }
    }

    /// The name of a topic, if it is one that there is.
    pub(super) fn name_of(&self, topic: &TopicKey) -> Option<Bytes> {
        match topic {
            TopicKey::Name(name) => Some(name.clone()),
            TopicKey::Id(id) => self.get(topic).and_then(|_| self.names.get(id)).cloned(),
        }
    }

    /// The leader of a partition.
    pub(super) fn leader(&self, topic: &TopicKey, partition: i32) -> Option<Leader> {
        self.get(topic)?.partitions.get(&partition).copied()
    }

    /// A partition of each topic that a node leads one of; of those that nobody misses.
    pub(super) fn led_by(&self, node: i32) -> impl Iterator<Item = (Bytes, i32)> {
        self.by_name.iter().filter(|(_, topic)| topic.missing.is_none()).filter_map(move |(name, topic)| {
            let (index, _) = topic.partitions.iter().find(|(_, leader)| leader.node == node)?;
            Some((name.clone(), *index))
        })
    }

    /// Whether a topic is there, though a broker that has just come back may not know it yet.
    pub(super) fn knows(&self, topic: &TopicKey, now: Instant) -> bool {
        self.get(topic).is_some_and(|known| !known.is_gone(now))
    }

    /// Why a request that arrived at `arrived` can't be about a topic that is there now, as an error code. `write`: it
    /// must not be done to another topic of the same name.
    pub(super) fn is_gone(
        &self,
        topic: &TopicKey,
        arrived: Instant,
        write: bool,
        now: Instant,
    ) -> Option<i16> {
        let (known, code) = match topic {
            TopicKey::Name(name) => (self.by_name.get(name)?, 3),
            TopicKey::Id(id) => match self.by_name.get(self.names.get(id)?)? {
                other if other.id != *id => return Some(100),
                known => (known, 100),
            },
        };
        let anew = write && code == 3 && known.made_anew.is_some_and(|at| at > arrived);
        (anew || known.is_gone(now)).then_some(code)
    }

    /// Whether any topic was found missing or made anew after `at`.
    pub(super) fn disturbed_since(&self, at: Instant) -> bool {
        self.disturbed.is_some_and(|then| then > at)
    }

    /// Clients are told that a topic is gone.
    pub(super) fn forget(&mut self, name: &Bytes, now: Instant) {
        if let Some(known) = self.by_name.get_mut(name) {
            known.partitions.clear();
            // Whatever has this name next is another topic.
            known.missing = Some(now.checked_sub(TOPIC_LAG).unwrap_or(now));
            self.disturbed = Some(now);
        }
    }

    /// The topics, up to `most`, that no answer has told of for long, longest first: they are to be asked about. Not again before as long.
    pub(super) fn unheard_of(&mut self, now: Instant, most: usize) -> Vec<Bytes> {
        let due = |topic: &Topic| {
            let last = topic.seen.max(topic.checked);
            topic.missing.is_none() && now.saturating_duration_since(last) >= UNHEARD_OF
        };
        let mut all: Vec<(&Bytes, &mut Topic)> =
            self.by_name.iter_mut().filter(|(_, topic)| due(topic)).collect();
        all.sort_by_key(|(_, topic)| topic.seen.max(topic.checked));
        all.truncate(most);
        let check = |(name, topic): (&Bytes, &mut Topic)| {
            topic.checked = now;
            name.clone()
        };
        all.into_iter().map(check).collect()
    }

    /// Drops what has been gone for long.
    pub(super) fn prune(&mut self, now: Instant) {
        let long = |at: Instant| now.saturating_duration_since(at) > REMEMBERED;
        self.by_name.retain(|_, topic| topic.missing.is_none_or(|at| !long(at)));
        let topics = &self.by_name;
        self.names.retain(|id, name| {
            topics
                .get(name)
                .is_some_and(|t| t.id == *id || (t.before == *id && t.made_anew.is_some_and(|at| !long(at))))
        });
    }

    /// All leaders that are known.
    pub(super) fn leaders(&self) -> impl Iterator<Item = &Leader> {
        self.by_name.values().flat_map(|topic| topic.partitions.values())
    }
}

fn set_leader(
    partitions: &mut HashMap<i32, Leader>,
    index: i32,
    node: i32,
    epoch: i32,
    asked: Instant,
    changes: &mut Changes,
) {
    let leaderless = (node < 0).then_some(asked);
    let Some(known) = partitions.get_mut(&index) else {
        partitions.insert(index, Leader { node, epoch, asked, leaderless, before: None, changed: None });
        return;
    };
    // An epoch orders answers of different brokers. An answer without one (Metadata before v7) is worth less than one
    // with; between two of that kind the later question decides.
    let newer = match (epoch >= 0, known.epoch >= 0) {
        (true, true) => epoch > known.epoch || (epoch == known.epoch && asked >= known.asked),
        (true, false) => true,
        (false, true) => false,
        (false, false) => asked >= known.asked,
    };
    if !newer {
        return;
    }
    if node >= 0 && known.node != node {
        changes.leaders += 1;
    }
    let since = known.leaderless;
    if let (Some(since), true) = (since, node >= 0) {
        changes.outages.push(asked.saturating_duration_since(since));
    }
    let before = match node {
        0.. => None,
        _ if known.node >= 0 => Some((known.node, known.epoch)),
        _ => known.before,
    };
    let other_since = if known.node != node || (known.epoch >= 0 && known.epoch != epoch) {
        Some(asked)
    } else {
        known.changed
    };
    let leaderless = leaderless.map(|now| since.unwrap_or(now));
    *known = Leader { node, epoch, asked, leaderless, before, changed: other_since };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire;

    const T: TopicKey = TopicKey::Name(Bytes::from_static(b"t"));

    fn topic(id: u8, leader: i32, epoch: i32) -> Struct {
        let mut topic = wire::response(3).unwrap().new().new_struct("topics");
        topic.set_str("name", "t");
        topic.set_uuid("topic_id", [id; 16]);
        let mut partition = topic.new_struct("partitions");
        partition.set_i32("leader_id", leader);
        partition.set_i32("leader_epoch", epoch);
        topic.push_struct("partitions", partition);
        topic
    }

    fn unknown() -> Struct {
        let mut topic = wire::response(3).unwrap().new().new_struct("topics");
        topic.set_str("name", "t");
        topic.set_i16("error_code", 3);
        topic
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_topic_made_anew_is_another_one() {
        let (mut topics, start) = (Topics::default(), Instant::now());
        let mut changes = Changes::default();
        topics.absorb(&topic(1, 1, 50), start, &mut changes);
        assert!(changes.made_anew.is_empty() && topics.knows(&T, start) && !topics.disturbed_since(start));
        let later = start + secs(10);
        topics.absorb(&topic(2, 2, 0), later, &mut changes);
        assert_eq!(changes.made_anew, [&b"t"[..]]);
        assert_eq!(topics.leader(&T, 0).map(|leader| leader.node), Some(2), "its epochs begin again");
        let (old, new) = (TopicKey::Id([1; 16]), TopicKey::Id([2; 16]));
        assert_eq!(topics.is_gone(&T, start + secs(9), true, later), Some(3));
        assert_eq!(topics.is_gone(&T, start + secs(9), false, later), None, "a read may be of the new one");
        assert_eq!(topics.is_gone(&T, later, true, later), None);
        assert_eq!(topics.is_gone(&old, later, false, later), Some(100));
        assert_eq!(topics.is_gone(&new, start, true, later), None);
        assert!(topics.name_of(&old).is_none() && topics.name_of(&new).is_some());
        // A broker that is behind changes nothing.
        topics.absorb(&topic(1, 1, 50), start + secs(11), &mut changes);
        assert_eq!(topics.leader(&T, 0).map(|leader| leader.node), Some(2));
        assert_eq!(changes.made_anew.len(), 1);
    }

    #[test]
    fn a_topic_that_stays_unknown_is_gone() {
        let (mut topics, start) = (Topics::default(), Instant::now());
        let mut changes = Changes::default();
        topics.absorb(&topic(1, 1, 5), start, &mut changes);
        topics.absorb(&unknown(), start + secs(1), &mut changes);
        topics.absorb(&unknown(), start + secs(4), &mut changes);
        assert!(topics.knows(&T, start + secs(5)) && topics.disturbed_since(start));
        assert!(!topics.knows(&T, start + secs(6)), "5 s after it was first missing");
        assert_eq!(topics.is_gone(&T, start, false, start + secs(6)), Some(3));
        topics.absorb(&topic(1, 1, 5), start + secs(7), &mut changes);
        assert!(topics.knows(&T, start + secs(60)), "it was a broker that had just come back");
        topics.absorb(&unknown(), start + secs(6), &mut changes);
        assert!(topics.knows(&T, start + secs(60)), "an older answer is no news");
        assert!(changes.made_anew.is_empty());
        topics.forget(&Bytes::from_static(b"t"), start + secs(61));
        assert!(!topics.knows(&T, start + secs(61)));
        topics.absorb(&topic(2, 1, 0), start + secs(62), &mut changes);
        assert_eq!(topics.is_gone(&T, start + secs(60), true, start + secs(62)), Some(3));
        topics.forget(&Bytes::from_static(b"t"), start + secs(63));
        topics.prune(start + secs(63) + REMEMBERED + secs(1));
        assert!(topics.by_name.is_empty() && topics.names.is_empty());
    }

    /// A topic is deleted, and no client ever asks for it again.
    #[test]
    fn a_topic_that_nobody_asks_for_is_asked_about_and_forgotten() {
        let (mut topics, start) = (Topics::default(), Instant::now());
        let mut changes = Changes::default();
        topics.absorb(&topic(1, 1, 5), start, &mut changes);
        let hour = UNHEARD_OF;
        assert!(topics.unheard_of(start + hour.mul_f64(0.999), 9).is_empty());
        topics.absorb(&topic(1, 1, 5), start + secs(60), &mut changes);
        assert!(topics.unheard_of(start + hour, 9).is_empty(), "a client has asked for it");
        let then = start + hour + secs(60);
        assert!(topics.unheard_of(then, 0).is_empty());
        assert_eq!(topics.unheard_of(then, 9), [&b"t"[..]]);
        assert!(topics.unheard_of(then + secs(60), 9).is_empty(), "not at every look, whatever the answer");
        topics.absorb(&unknown(), then, &mut changes);
        topics.prune(then + REMEMBERED);
        assert_eq!(topics.by_name.len(), 1);
        topics.prune(then + REMEMBERED + secs(1));
        assert!(topics.by_name.is_empty() && topics.names.is_empty());
    }

    #[test]
    fn changes_of_leader_are_dated() {
        let (mut topics, start) = (Topics::default(), Instant::now());
        let changed = |topics: &Topics| topics.leader(&T, 0).and_then(|leader| leader.changed);
        topics.absorb(&topic(1, 1, 5), start, &mut Changes::default());
        topics.absorb(&topic(1, 1, 5), start + secs(1), &mut Changes::default());
        assert_eq!(changed(&topics), None);
        topics.absorb(&topic(1, 1, 6), start + secs(2), &mut Changes::default());
        assert_eq!(changed(&topics), Some(start + secs(2)), "it was restarted, for one");
        topics.absorb(&topic(1, 2, 7), start + secs(3), &mut Changes::default());
        topics.absorb(&topic(1, 2, 7), start + secs(9), &mut Changes::default());
        assert_eq!(changed(&topics), Some(start + secs(3)));
    }
}
