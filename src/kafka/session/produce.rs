//! Produce: what its answers prove, and when a batch may go.
//!
//! What an answer proves was seen on real brokers of 2.8.2, 3.9.2 and 4.3.1; the decisions stand in [`judge`].

use super::slot::{Answer, State};
use super::{PRODUCE, Session};
use crate::kafka::cluster::TopicKey;
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::order::Barrier;
use crate::kafka::split::{Again, Item, Judgement, Refusal, error_for};
use crate::kafka::wire::{self, Struct, TopicRef, batch, produce};
use crate::metrics::{HoldTrigger, ReleaseOutcome, UnknownAction};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a topic that is known may be unknown to a broker that has just come back.
const TOPIC_LAG: Duration = Duration::from_secs(5);
/// The first pause before a batch that was refused for want of in-sync replicas goes again.
const CAPACITY_PAUSE: Duration = Duration::from_millis(100);
/// The pause before a refused batch goes again, if its new leader is known by then.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Whether every batch of a partition's records carries a producer id, so that a broker recognises a repeat.
pub(super) fn is_sequenced(records: Option<&Bytes>) -> bool {
    let Some(records) = records else { return false };
    let mut headers = batch::headers(records);
    let mut some = false;
    for header in headers.by_ref() {
        some = true;
        if !header.is_sequenced() {
            return false;
        }
    }
    some && headers.rest() == 0
}

impl Session {
    /// The barriers that a Produce which has just arrived must wait for.
    pub(super) fn barriers(&self, version: i16, body: &[u8]) -> Vec<Arc<Barrier>> {
        let mut found = Vec::new();
        let scanned = produce::scan_request(version, body, &mut |row| {
            found.extend(self.cluster.order.barrier(&owned(row.topic), row.partition, &self.own));
        });
        if scanned.is_err() {
            found.clear(); // the broker will say what it thinks of it
        }
        found
    }

    /// Whether a waiting Produce may go to `home` as it came: none of its partitions is known to be led elsewhere, and
    /// none has an earlier undecided batch in parts.
    pub(super) fn produce_may_go(&mut self, number: u64, home: i32, now: Instant) -> bool {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return false };
        let undecided = self.undecided_before(number);
        if undecided.is_empty() && self.stray.is_empty() {
            return true;
        }
        let body = slot.frame.get(slot.body_at..).unwrap_or_default();
        let mut partitions = Vec::new();
        if produce::scan_request(slot.version, body, &mut |row| {
            partitions.push((owned(row.topic), row.partition));
        })
        .is_err()
        {
            return true;
        }
        partitions.iter().all(|key| !undecided.contains(key))
            && !partitions.iter().any(|key| self.is_stray(key, home, now))
    }

    fn undecided_before(&self, number: u64) -> Vec<(TopicKey, i32)> {
        let earlier = self.slots.iter().take(self.at(number).unwrap_or(0)).filter(|slot| slot.is_produce());
        let items = earlier.filter_map(|slot| match &slot.state {
            State::Split(split) => Some(split.items()),
            _ => None,
        });
        items
            .flatten()
            .filter(|item| !item.is_done())
            .map(|item| (item.topic.clone(), item.partition))
            .collect()
    }

    /// Whether a partition is led elsewhere than at the client's choice, as far as is known. One that has come home is
    /// forgotten.
    pub(super) fn is_stray(&mut self, key: &(TopicKey, i32), home: i32, now: Instant) -> bool {
        let Some(since) = self.stray.get(key).copied() else { return false };
        match self.cluster.read(|view| view.leader(&key.0, key.1)) {
            Some(leader) if leader.asked > since && leader.node == home => {
                self.stray.remove(key);
                self.trusted.remove(key);
                false
            }
            Some(leader) if leader.asked > since => true,
            _ => {
                self.cluster.want_topics([key.0.clone()], now);
                true
            }
        }
    }

    /// The answer to a Produce that went as it came.
    pub(super) fn on_produced(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return };
        let version = slot.version;
        let body_at = wire::response_body_at(PRODUCE, version, &frame).unwrap_or(frame.len());
        let body = frame.get(body_at..).unwrap_or_default();
        match produce::scan_response(version, body, &mut |_| {}) {
            Ok(head) if !head.any_error && !head.has_node_endpoints => {
                if slot.trouble.is_some() {
                    self.release(number, now, Some(ReleaseOutcome::Answered));
                }
                self.set_state(number, State::Done(Answer::Frame(frame)));
            }
            Ok(_) => {
                let Some(mut split) = self.taken_apart(number, now) else { return };
                let part = split.was_sent_whole();
                self.set_state(number, State::Split(Box::new(split)));
                self.on_part_answer(node, number, part, &frame, now);
            }
            Err(error) => {
                tracing::warn!(node, %error, "a broker's Produce answer can't be read");
                self.set_state(
                    number,
                    State::Done(Answer::Close("a broker's answer can't be read".to_owned())),
                );
            }
        }
    }

    /// Takes in the answer to a part: each partition is decided, and what it tells of leaders is noted.
    pub(super) fn absorb(&mut self, node: i32, number: u64, part: u32, answer: Struct, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return };
        let (key, arrived) = (slot.op.key, slot.arrived);
        let home = self.home.node;
        let mut trust = Vec::new();
        let (mut strays, mut unknown, mut hints, mut told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let cluster = Arc::clone(&self.cluster);
        let Some(State::Split(split)) = self.slot_mut(number).map(|slot| &mut slot.state) else { return };
        let (shape, Some(message)) = (split.shape(), wire::response(key)) else { return };
        let look = Look { node, now, arrived, key };
        let mut judge = |item: &Item, partition: Struct| {
            let code = partition.i16("error_code");
            if hinted_leader(&partition).is_some()
                && let Some(leader) = partition.strukt("current_leader")
            {
                hints.push((
                    item.topic.clone(),
                    item.partition,
                    leader.i32("leader_id"),
                    leader.i32("leader_epoch"),
                ));
            }
            let known = || cluster.read(|view| view.knows(&item.topic));
            let verdict = judge(&look, item, partition, &known);
            match &verdict {
                Judgement::Again(again) => {
                    cluster.metrics.masked_errors.kafka(again.code).inc();
                    trust.push((item.topic.clone(), item.partition, false));
                    if again.refused.is_some() && Some(node) == home {
                        strays.push((item.topic.clone(), item.partition));
                    }
                }
                Judgement::Done(answer) => {
                    let passed = answer.i16("error_code");
                    trust.push((item.topic.clone(), item.partition, passed == 0));
                    if passed != 0 {
                        cluster.metrics.client_errors.kafka(passed).inc();
                    }
                    told.extend(
                        hinted_leader(answer).map(|leader| (item.topic.clone(), item.partition, leader)),
                    );
                    if code != 0 && passed == REQUEST_TIMED_OUT && key == PRODUCE && code != REQUEST_TIMED_OUT
                    {
                        unknown.push((item.topic.clone(), item.partition));
                    }
                }
            }
            verdict
        };
        let mut missing = |item: &Item| Judgement::Done(error_for(shape, message, item.partition, -1));
        split.absorb(part, answer, &mut judge, &mut missing);
        for (topic, partition, leader, epoch) in hints {
            let changes = self.cluster.update(|view| view.absorb_hint(&topic, partition, leader, epoch, now));
            self.cluster.note(&changes);
        }
        // A client that is shown a new leader by a hint (KIP-951, with whatever error) goes there at once: what is undecided
        // here comes first.
        self.cluster.order.tell(told, now);
        for (topic, partition, leads) in trust.into_iter().filter(|_| key == PRODUCE) {
            if leads {
                self.trusted.insert((topic, partition), node);
            } else {
                self.trusted.remove(&(topic, partition));
            }
        }
        for stray in strays {
            self.stray.insert(stray, now);
        }
        for (topic, partition) in unknown {
            self.log_unknown(
                &topic,
                partition,
                "appended, then leadership moved while it waited for followers",
            );
        }
    }

    /// One line for each outcome that can't be known, so that people can reconcile.
    pub(super) fn log_unknown(&self, topic: &TopicKey, partition: i32, why: &str) {
        self.cluster.metrics.unknown_outcomes.inc(UnknownAction::Error);
        let topic = match topic {
            TopicKey::Name(name) => String::from_utf8_lossy(name).into_owned(),
            TopicKey::Id(id) => wire::uuid::format(id),
        };
        tracing::warn!(client = %self.client_id, topic, partition, why, "unknown outcome of a Produce: error 7 to the client");
    }

    /// A Produce was written and never answered: what has a sequence goes again, the rest gets the honest error.
    pub(super) fn produce_lost(&mut self, number: u64, part: Option<u32>, now: Instant) {
        if part.is_none() {
            let Some(mut split) = self.taken_apart(number, now) else { return };
            split.was_sent_whole();
            self.set_state(number, State::Split(Box::new(split)));
        }
        let metrics = Arc::clone(&self.cluster.metrics);
        let Some(slot) = self.slot_mut(number) else { return };
        let silent = slot.silent;
        let State::Split(split) = &mut slot.state else { return };
        let (shape, Some(message)) = (split.shape(), wire::response(PRODUCE)) else { return };
        let mut unknown = Vec::new();
        split.lose(part.unwrap_or(0), crate::retry::Verdict::Unknown, &mut |item, _| {
            if silent {
                metrics.unknown_outcomes.inc(UnknownAction::Swallowed);
                return Judgement::Done(error_for(shape, message, item.partition, 0));
            }
            if is_sequenced(item.request.bytes_field("records")) {
                metrics.unknown_outcomes.inc(UnknownAction::Replayed);
                return Judgement::Again(Again { not_before: now, code: 0, doubt: true, refused: None });
            }
            unknown.push((item.topic.clone(), item.partition));
            metrics.client_errors.kafka(REQUEST_TIMED_OUT).inc();
            Judgement::Done(error_for(shape, message, item.partition, REQUEST_TIMED_OUT))
        });
        let done = split.is_done();
        for (topic, partition) in unknown {
            self.log_unknown(&topic, partition, "the connection was lost before the answer");
        }
        if done {
            self.finish_split(number, now);
        } else {
            self.hold(number, HoldTrigger::Disconnect, now);
        }
    }
}

/// What a decision is made on, besides the partition itself.
struct Look {
    node: i32,
    now: Instant,
    arrived: Instant,
    key: i16,
}

/// The leader that a partition's answer hints at (KIP-951).
fn hinted_leader(partition: &Struct) -> Option<i32> {
    let hint =
        if partition.has("current_leader") { partition.strukt("current_leader")? } else { return None };
    Some(hint.i32("leader_id")).filter(|leader| *leader >= 0)
}

/// What a partition's answer proves.
fn judge(look: &Look, item: &Item, mut partition: Struct, topic_known: &dyn Fn() -> bool) -> Judgement {
    let code = partition.i16("error_code");
    let Look { node, now, arrived, key } = *look;
    let refused = Some(Refusal { node, at: now });
    let again = |doubt| Judgement::Again(Again { not_before: now + REFUSED_PAUSE, code, doubt, refused });
    match code {
        // UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID: of a topic that is known, from a broker that is behind.
        3 | 100 if now.saturating_duration_since(arrived) < TOPIC_LAG && topic_known() => again(false),
        // NOT_LEADER_OR_FOLLOWER with an offset: it was appended before leadership moved. It may survive or be cut off.
        6 if key == PRODUCE && partition.i64("base_offset") >= 0 => {
            if is_sequenced(item.request.bytes_field("records")) {
                again(true)
            } else {
                partition.set_i16("error_code", REQUEST_TIMED_OUT);
                partition.set_i64("base_offset", -1);
                Judgement::Done(partition)
            }
        }
        5 | 6 | 9 | 56 => again(false),
        // FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH: only where the client sent no epoch (KIP-320).
        74 | 75 if key == PRODUCE => again(false),
        // OFFSET_NOT_AVAILABLE: a new leader doesn't know its high watermark yet.
        78 if key != PRODUCE => {
            Judgement::Again(Again { not_before: now + CAPACITY_PAUSE, code, doubt: false, refused: None })
        }
        // NOT_ENOUGH_REPLICAS: refused before it was appended.
        19 if key == PRODUCE => {
            Judgement::Again(Again { not_before: now + CAPACITY_PAUSE, code, doubt: false, refused: None })
        }
        // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is in the leader's log. Its repeat is recognised.
        7 | 20 if key == PRODUCE && is_sequenced(item.request.bytes_field("records")) => {
            Judgement::Again(Again { not_before: now + CAPACITY_PAUSE, code, doubt: true, refused: None })
        }
        // DUPLICATE_SEQUENCE_NUMBER, after a replay of our own: it had landed.
        46 if key == PRODUCE && item.doubt => Judgement::Done(error_for_success(partition)),
        _ => Judgement::Done(partition),
    }
}

fn error_for_success(mut partition: Struct) -> Struct {
    partition.set_i16("error_code", 0);
    partition
}

/// A topic as a key of its own.
pub(super) fn owned(topic: TopicRef<'_>) -> TopicKey {
    match topic {
        TopicRef::Name(name) => TopicKey::Name(Bytes::copy_from_slice(name)),
        TopicRef::Id(id) => TopicKey::Id(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::split::shape;

    fn item(sequenced: bool) -> Item {
        let mut request = wire::request(PRODUCE).unwrap().new();
        let mut topic = request.new_struct("topic_data");
        let mut partition = topic.new_struct("partition_data");
        let mut records = vec![0u8; 61];
        records[8..12].copy_from_slice(&49i32.to_be_bytes());
        records[16] = 2;
        let id: i64 = if sequenced { 7 } else { -1 };
        records[43..51].copy_from_slice(&id.to_be_bytes());
        records[53..57].copy_from_slice(&if sequenced { 0i32 } else { -1 }.to_be_bytes());
        partition.set_bytes("records", Some(Bytes::from(records)));
        topic.push_struct("partition_data", partition);
        request.push_struct("topic_data", topic);
        let split = crate::kafka::split::Split::new(shape(PRODUCE).unwrap(), request, Instant::now());
        let mut items: Vec<Item> = split.into_items();
        items.remove(0)
    }

    fn decide(item: &Item, code: i16, base_offset: i64) -> Judgement {
        let mut answer = error_for(shape(PRODUCE).unwrap(), wire::response(PRODUCE).unwrap(), 0, code);
        answer.set_i64("base_offset", base_offset);
        let now = Instant::now();
        judge(&Look { node: 1, now, arrived: now, key: PRODUCE }, item, answer, &|| true)
    }

    fn passed(judgement: Judgement) -> i16 {
        match judgement {
            Judgement::Done(answer) => answer.i16("error_code"),
            Judgement::Again(again) => panic!("{again:?}"),
        }
    }

    fn again(judgement: Judgement) -> Again {
        match judgement {
            Judgement::Again(again) => again,
            Judgement::Done(answer) => panic!("{answer:?}"),
        }
    }

    #[test]
    fn not_leader_without_an_offset_was_not_applied_and_goes_again() {
        let verdict = again(decide(&item(false), 6, -1));
        assert!(!verdict.doubt && verdict.refused.is_some());
    }

    #[test]
    fn not_leader_with_an_offset_is_unknown() {
        assert_eq!(passed(decide(&item(false), 6, 41)), REQUEST_TIMED_OUT, "no sequence: the honest error");
        assert!(again(decide(&item(true), 6, 41)).doubt, "a sequence: the broker recognises the repeat");
    }

    #[test]
    fn a_hint_stays_with_the_honest_error_and_is_seen_there() {
        let mut answer = error_for(shape(PRODUCE).unwrap(), wire::response(PRODUCE).unwrap(), 0, 6);
        assert_eq!(hinted_leader(&answer), None);
        answer.set_i64("base_offset", 41);
        let mut leader = answer.new_struct("current_leader");
        leader.set_i32("leader_id", 3);
        leader.set_i32("leader_epoch", 8);
        answer.set_strukt("current_leader", Some(leader));
        let now = Instant::now();
        let look = Look { node: 1, now, arrived: now, key: PRODUCE };
        match judge(&look, &item(false), answer, &|| true) {
            Judgement::Done(answer) => {
                assert_eq!((answer.i16("error_code"), hinted_leader(&answer)), (REQUEST_TIMED_OUT, Some(3)));
            }
            Judgement::Again(again) => panic!("{again:?}"),
        }
    }

    #[test]
    fn a_timeout_is_passed_on_without_a_sequence_and_repeated_with_one() {
        assert_eq!(passed(decide(&item(false), 7, -1)), 7);
        assert!(again(decide(&item(true), 7, -1)).doubt);
    }

    #[test]
    fn what_says_something_true_about_the_client_is_passed_on() {
        for code in [2, 10, 29, 30, 31, 44, 45, 47, 87, 89] {
            assert_eq!(passed(decide(&item(true), code, -1)), code);
        }
    }

    #[test]
    fn a_duplicate_is_success_only_after_a_replay_of_our_own() {
        let mut doubtful = item(true);
        assert_eq!(passed(decide(&doubtful, 46, -1)), 46);
        doubtful.doubt = true;
        assert_eq!(passed(decide(&doubtful, 46, -1)), 0);
    }

    #[test]
    fn too_few_replicas_waits() {
        assert!(again(decide(&item(false), 19, -1)).refused.is_none());
    }

    #[test]
    fn old_message_sets_and_torn_records_are_not_sequenced() {
        assert!(!is_sequenced(Some(&Bytes::from_static(&[0; 40]))));
        assert!(!is_sequenced(Some(&Bytes::from_static(&[0; 5]))));
        assert!(!is_sequenced(None));
    }
}
