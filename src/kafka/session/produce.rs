//! Produce: what its answers prove, and when a batch may go.
//!
//! What an answer proves was seen on real brokers of 2.8.2, 3.9.2 and 4.3.1; the decisions stand in [`judge`].

use super::ahead::{Ahead, Way};
use super::gaps::Row;
use super::judge::{Look, is_sequenced, judge};
use super::link::Link;
use super::lost::{LOSSES_MAX, after_losses};
use super::slot::{Answer, Raised, Slot, State};
use super::swallow::is_closing;
use super::unknown::{Action, Doubt, decided};
use super::{FETCH, PRODUCE, Session};
use crate::kafka::cluster::{Producer, TopicKey, View};
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::order::{Arrival, Barrier};
use crate::kafka::patience::{line_bound, millis};
use crate::kafka::split::{Again, Item, Judgement, Refusal, error_for};
use crate::kafka::wire::{self, Struct, TopicRef, produce};
use crate::metrics::{HoldTrigger, ReleaseOutcome, UnknownAction};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Session {
    /// The node that the client came to, without any other in its place.
    pub(super) fn home_of(&self) -> Option<i32> {
        self.home.node.or_else(|| self.cluster.node_at(self.home.port?))
    }

    /// The barriers that a Produce which has just arrived must wait for. `was_there`: it was, when other connections asked.
    pub(super) fn barriers(&self, version: i16, body: &[u8], was_there: bool, now: Instant) -> Vec<Barrier> {
        let mut found = Vec::new();
        let own = produce::request_head(version, body).ok().and_then(|head| millis(head.timeout_ms));
        let bound = line_bound(self.library, own, self.cluster.settings().hold.max);
        let arrival = Arrival { home: self.home_of(), was_there, bound, at: now };
        let scanned = produce::scan_request(version, body, &mut |row| {
            if made(Mistake::SecondUnbarred) && row.partition > 0 {
                return;
            }
            found.extend(self.cluster.order.barrier(
                &self.cluster.named(owned(row.topic)),
                row.partition,
                &self.own,
                &arrival,
            ));
        });
        if scanned.is_err() {
            found.clear(); // the broker will say what it thinks of it
        }
        found
    }

    /// Whether a waiting Produce may go to `home` as it came: none of its partitions is known to be led elsewhere, and
    /// none has an earlier undecided batch in parts.
    pub(super) fn produce_may_go(&mut self, number: u64, home: i32, ahead: &Ahead, now: Instant) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let mut lanes = slot.lanes().iter().take(if made(Mistake::SecondOvertaken) { 1 } else { usize::MAX });
        if lanes.any(|lane| ahead.is_in_parts(*lane)) && !made(Mistake::WholeOvertakes) {
            return false;
        }
        let (silent, arrived) = (slot.silent, slot.arrived);
        let disturbed = self.cluster.read(|view| view.topics_disturbed_since(arrived));
        if self.stray.is_empty() && !disturbed {
            return true;
        }
        let keys: Vec<_> = slot.lanes().iter().filter_map(|lane| self.lanes.key(*lane).cloned()).collect();
        let gone =
            |view: &View| keys.iter().any(|(topic, _)| view.is_gone(topic, arrived, true, now).is_some());
        if disturbed && self.cluster.read(gone) {
            return false;
        }
        !keys.iter().any(|key| self.is_stray(key, home, silent, now))
    }

    /// The answer to a Produce that went as it came.
    pub(super) fn on_produced(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some((at, slot)) = self.at(number).and_then(|at| Some((at, self.slots.get(at)?))) else { return };
        let version = slot.version;
        let body_at = wire::response_body_at(PRODUCE, version, &frame).unwrap_or(frame.len());
        let body = frame.get(body_at..).unwrap_or_default();
        match produce::scan_response(version, body, &mut |_| {}) {
            Ok(head) if !head.any_error && !head.has_node_endpoints => {
                if slot.stamped && (self.unsettled > 0 || self.injection.is_open()) {
                    // It may be what shows that those before it are in the log.
                    let body = slot.frame.slice(slot.body_at.min(slot.frame.len())..);
                    self.injection.landed_whole(version, &body);
                }
                for lane in self.slots.get(at).and_then(|slot| slot.lanes.as_deref()).unwrap_or_default() {
                    self.lanes.moves(*lane, now);
                }
                if self.slot(number).is_some_and(|slot| slot.trouble.is_some()) {
                    self.release(number, now, Some(ReleaseOutcome::Answered));
                }
                let silent = self.slot(number).is_some_and(|slot| slot.silent);
                let answer = if silent { Answer::Nothing } else { Answer::Frame(frame) };
                self.set_state(number, State::Done(answer));
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
        let Some(slot) = self.slot(number) else { return };
        let (op, key, arrived, stamped, raised) =
            (slot.op, slot.op.key, slot.arrived, slot.stamped, slot.raised == Raised::Up);
        let silent = slot.silent;
        let home = self.home.node;
        let cluster = Arc::clone(&self.cluster);
        let behind = self.undecided_before(number, &answer);
        let Some(slot) = self.at(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let State::Split(split) = &mut slot.state else { return };
        let (shape, Some(message)) = (split.shape(), wire::response(key)) else { return };
        let asked: Vec<bool> = split.items().iter().map(|item| item.is_in(part)).collect();
        let for_all = key == PRODUCE && split.template().i16("acks") == -1;
        let look = Look { node, now, arrived, op, stamped, raised, silent, for_all, behind: &behind };
        let mut found = Findings::default();
        let mut judge = |item: &Item, partition: Struct| {
            let code = partition.i16("error_code");
            found.hint(item, &partition);
            let appended_at = if key == PRODUCE { partition.i64("base_offset") } else { -1 };
            let known = || cluster.read(|view| view.knows(&item.topic, now));
            let verdict = judge(&look, item, partition, &known);
            match &verdict {
                Judgement::Again(again) => {
                    if again.code == 0 {
                        cluster.metrics.unknown_outcomes.inc(UnknownAction::Replayed); // nothing proved it
                    } else {
                        cluster.metrics.masked_errors.kafka(again.code).inc();
                    }
                    found.again(&look, item, again, Some(node) == home);
                }
                Judgement::Done(answer) => {
                    let passed = answer.i16("error_code");
                    if passed != 0 && key != FETCH && !silent {
                        // Those of a Fetch are counted when it is decided; nobody is given those of acks=0.
                        cluster.metrics.client_errors.kafka(passed).inc();
                    }
                    found.done(&look, item, answer, (code, appended_at));
                }
            }
            verdict
        };
        let mut missing = |item: &Item| Judgement::Done(error_for(shape, message, item.partition, -1));
        split.absorb(part, answer, &mut judge, &mut missing);
        let landed = |item: &Item| item.answer().is_some_and(|answer| answer.i16("error_code") == 0);
        for ((item, lane), asked) in
            split.items().iter().zip(slot.lanes.as_deref().unwrap_or_default()).zip(asked)
        {
            if asked && landed(item) {
                self.lanes.moves(*lane, now);
            }
        }
        if !found.lower.is_empty() {
            // The leader has it, or too few followers are there: the client has not asked for more than acks=1.
            split.template_mut().set_i16("acks", 1);
            slot.raised = Raised::Down;
        }
        let proved = std::mem::take(&mut found.proved);
        self.take_in(node, key, found, now);
        if !proved.is_empty() {
            self.prove_gaps(&proved, number, now);
        }
    }

    /// The partitions of which a batch that came before this request is undecided; only looked for where the answer tells of a
    /// gap (45).
    fn undecided_before(&self, number: u64, answer: &Struct) -> Vec<(TopicKey, i32)> {
        // Other APIs' answers have other fields.
        if !self.slot(number).is_some_and(Slot::is_produce) {
            return Vec::new();
        }
        let mut rows = answer.structs("responses").flat_map(|topic| topic.structs("partition_responses"));
        if !rows.any(|row| row.i16("error_code") == 45) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let earlier = self.slots.iter().take(self.at(number).unwrap_or(0));
        for slot in earlier.filter(|slot| slot.is_produce()) {
            match &slot.state {
                State::Done(_) => {}
                State::Split(split) => {
                    let undecided = split.items().iter().filter(|item| !item.is_done() && !item.gap);
                    found.extend(undecided.map(|item| (item.topic.clone(), item.partition)));
                }
                State::Waiting | State::Sent => {
                    let body = slot.frame.get(slot.body_at..).unwrap_or_default();
                    // One that can't be read stands before nothing: its broker refuses it.
                    let _ = produce::scan_request(slot.version, body, &mut |row| {
                        found.push((owned(row.topic), row.partition));
                    });
                }
            }
        }
        found
    }

    /// What an answer has shown is noted.
    fn take_in(&mut self, node: i32, key: i16, found: Findings, now: Instant) {
        if found.served {
            self.link_mut(node).into_iter().for_each(Link::served);
        } else if found.refused {
            self.refused_by(node, now);
        }
        for (topic, partition, high_watermark) in found.read {
            self.watermarks.note(topic.topic_ref(), partition, high_watermark, node);
        }
        for (topic, partition, code) in found.lower {
            self.injection.lower(&topic, partition, code, now);
        }
        for (topic, partition, records) in found.landed {
            self.injection.landed(&topic, partition, records.as_ref());
        }
        for (topic, partition, records) in found.given_up {
            self.injection.give_up(&topic, partition, records.as_ref());
        }
        for (topic, partition, records) in found.given_back {
            self.injection.give_back(&topic, partition, records.as_ref());
        }
        // Dated behind the refusal that it came with, or it would count as what was known before.
        let dated = now + Duration::from_nanos(1);
        for (topic, partition, leader, epoch) in found.hints {
            let changes =
                self.cluster.update(|view| view.absorb_hint(&topic, partition, leader, epoch, dated));
            self.cluster.note(&changes);
        }
        // A client that is shown a new leader by a hint (KIP-951, with whatever error) goes there at once: what is undecided
        // here comes first.
        self.cluster.order.tell(found.told, now);
        for (topic, partition, leads) in found.trust.into_iter().filter(|_| key == PRODUCE) {
            if let Some(producer) = leads {
                self.trusted.insert((topic, partition), Way { node, producer });
            } else {
                self.trusted.remove(&(topic, partition));
            }
        }
        if found.news {
            self.cluster.news();
        }
        for stray in found.strays {
            self.stray.add(stray.0, stray.1, now);
        }
        for (doubt, action, why) in found.unknown {
            self.unknown_batch(&doubt, action, why);
        }
        found.closing.into_iter().for_each(|code| self.tell_by_closing(code));
    }

    /// A Produce was written and never answered: what has a sequence goes again, the rest gets the honest error.
    pub(super) fn produce_lost(&mut self, number: u64, part: Option<u32>, now: Instant) {
        if part.is_none() {
            let Some(mut split) = self.taken_apart(number, now) else { return };
            split.was_sent_whole();
            self.set_state(number, State::Split(Box::new(split)));
        }
        let metrics = Arc::clone(&self.cluster.metrics);
        let Some(slot) = self.at(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let (silent, answered) = (slot.silent, slot.is_answered());
        let State::Split(split) = &mut slot.state else { return };
        let (shape, Some(message)) = (split.shape(), wire::response(PRODUCE)) else { return };
        let mut unknown = Vec::new();
        split.lose(part.unwrap_or(0), crate::retry::Verdict::Unknown, &mut |item, _| {
            if !answered {
                unknown.push((Doubt::of(item), Action::Swallowed, "acks=0: nobody waits for an answer"));
                return Judgement::Done(error_for(shape, message, item.partition, 0));
            }
            let sequenced = is_sequenced(item.request.bytes_field("records"));
            if item.losses < LOSSES_MAX && (sequenced || made(Mistake::UnsequencedRepeated)) {
                metrics.unknown_outcomes.inc(UnknownAction::Replayed);
                let not_before = after_losses(item.losses, now);
                let restamp = made(Mistake::NewSequenceForUnknown);
                return Judgement::Again(Again { doubt: true, restamp, ..Again::at(not_before) });
            }
            let why = "the connection was lost before the answer";
            self.injection.give_up(&item.topic, item.partition, item.request.bytes_field("records"));
            if silent {
                unknown.push((Doubt::of(item), Action::Swallowed, why));
            } else {
                unknown.push((Doubt::of(item), Action::Told(REQUEST_TIMED_OUT), why));
                metrics.client_errors.kafka(REQUEST_TIMED_OUT).inc();
            }
            Judgement::Done(error_for(shape, message, item.partition, REQUEST_TIMED_OUT))
        });
        let done = split.is_done();
        for (doubt, action, why) in unknown {
            self.unknown_batch(&doubt, action, why);
        }
        if done {
            self.finish_split(number, now);
        } else {
            self.hold(number, HoldTrigger::Disconnect, now);
        }
    }
}

/// What the answer to a part has shown, by partition.
#[derive(Default)]
struct Findings {
    /// Whether the node leads it; and whose batch is acknowledged by all, or none's.
    trust: Vec<(TopicKey, i32, Option<Producer>)>,
    /// Led elsewhere than at the client's choice.
    strays: Vec<(TopicKey, i32)>,
    /// Of unknown outcome, and done with.
    unknown: Vec<(Doubt, Action, &'static str)>,
    /// What a client of acks=0 has to know.
    closing: Option<i16>,
    /// Leader and epoch that were hinted at.
    hints: Vec<(TopicKey, i32, i32, i32)>,
    /// Leaders that the client is told of.
    told: Vec<(TopicKey, i32, i32)>,
    /// Refused for good: the sequence is free again.
    given_back: Vec<(TopicKey, i32, Option<Bytes>)>,
    /// Refused, though an earlier attempt may have been applied or lie unread.
    given_up: Vec<(TopicKey, i32, Option<Bytes>)>,
    /// In the log.
    landed: Vec<(TopicKey, i32, Option<Bytes>)>,
    /// In the log after it had been sent again.
    proved: Vec<Row>,
    /// The high watermarks of what a Fetch has read.
    read: Vec<(TopicKey, i32, i64)>,
    /// Raised acks have to fall back, for this error.
    lower: Vec<(TopicKey, i32, i16)>,
    /// A node has refused what it had not refused before.
    news: bool,
    /// The node has refused something as not its own; has done, or refused for another reason, something else.
    refused: bool,
    served: bool,
}

impl Findings {
    fn hint(&mut self, item: &Item, partition: &Struct) {
        if hinted_leader(partition).is_some()
            && let Some(leader) = partition.strukt("current_leader")
        {
            let (node, epoch) = (leader.i32("leader_id"), leader.i32("leader_epoch"));
            self.hints.push((item.topic.clone(), item.partition, node, epoch));
        }
    }

    fn again(&mut self, look: &Look<'_>, item: &Item, again: &Again, at_home: bool) {
        if look.raised && matches!(again.code, 7 | 19 | 20) && !made(Mistake::RaisedForEver) {
            self.lower.push((item.topic.clone(), item.partition, again.code));
        }
        if again.restamp && item.doubt {
            self.unknown.push((Doubt::of(item), Action::Gap(again.code), "a predecessor was cut off"));
        }
        self.trust.push((item.key.clone(), item.partition, None));
        let other_than = |before: Refusal| before.node != look.node;
        self.news |= again.refused.is_some() && item.refused.is_none_or(other_than);
        self.refused |= again.refused.is_some();
        self.served |= again.refused.is_none();
        if again.refused.is_some() && at_home {
            self.strays.push((item.key.clone(), item.partition));
        }
    }

    /// `code` and `appended_at`: what the broker had answered.
    fn done(&mut self, look: &Look<'_>, item: &Item, answer: &Struct, (code, appended_at): (i16, i64)) {
        let passed = answer.i16("error_code");
        self.served = true;
        let late = look.raised && matches!(code, 7 | 20);
        if late && passed == 0 && !made(Mistake::RaisedForEver) {
            self.lower.push((item.topic.clone(), item.partition, code));
        }
        let producer = if look.for_all && !late { item.producer } else { Producer::NONE };
        self.trust.push((item.key.clone(), item.partition, (passed == 0).then_some(producer)));
        if passed == 0 && look.op.key == FETCH {
            self.read.push((item.topic.clone(), item.partition, answer.i64("high_watermark")));
        }
        if passed == 0 && item.doubt {
            self.proved.push(Row::of(item));
        }
        if look.stamped || item.counted {
            let records = item.request.bytes_field("records").cloned();
            let into = match (passed, code) {
                (0, _) => Some(&mut self.landed),
                _ if item.doubt && !made(Mistake::GivenBackAlways) => Some(&mut self.given_up),
                (_, 7 | 20) => None,
                _ => Some(&mut self.given_back),
            };
            if let Some(into) = into {
                into.push((item.topic.clone(), item.partition, records));
            }
        }
        self.told.extend(hinted_leader(answer).map(|leader| (item.key.clone(), item.partition, leader)));
        if look.op.key == PRODUCE {
            self.unknown.extend(decided(item, answer, code, appended_at, look.silent));
            self.closing = self.closing.or(Some(passed).filter(|code| look.silent && is_closing(*code)));
        }
    }
}

/// The leader that a partition's answer hints at (KIP-951).
fn hinted_leader(partition: &Struct) -> Option<i32> {
    let hint =
        if partition.has("current_leader") { partition.strukt("current_leader")? } else { return None };
    Some(hint.i32("leader_id")).filter(|leader| *leader >= 0)
}

/// A topic as a key of its own.
pub(super) fn owned(topic: TopicRef<'_>) -> TopicKey {
    match topic {
        TopicRef::Name(name) => TopicKey::Name(Bytes::copy_from_slice(name)),
        TopicRef::Id(id) => TopicKey::Id(id),
    }
}
