//! Metadata and `FindCoordinator`: waited for until they can be answered well, taken note of, and shown with the
//! brokers' doors instead of their addresses.

use super::slot::{Answer, State};
use super::{FIND_COORDINATOR, METADATA, Session};
use crate::kafka::cluster::TopicKey;
use crate::kafka::rewrite;
use crate::kafka::wire::{self, Struct};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// From this version on, Metadata carries leader epochs, so that old news can be told from new.
const WITH_EPOCHS: i16 = 7;
/// How long a topic that is known here may be unknown to a broker that has just come back.
const TOPIC_LAG: Duration = Duration::from_secs(5);

impl Session {
    /// A Metadata answer: one without brokers, or with partitions that have no leader, is asked again within the hold.
    pub(super) fn on_metadata(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return };
        let (version, arrived) = (slot.version, slot.arrived);
        let Ok((_, answer)) = wire::decode_response(METADATA, version, &frame) else {
            self.set_state(
                number,
                State::Done(Answer::Close("a broker's Metadata can't be read".to_owned())),
            );
            return;
        };
        if let Some(code) = self.unready(&answer, arrived, now) {
            let has_brokers = answer.structs("brokers").next().is_some();
            self.learn(&answer, version, now);
            if let Some(trouble) = self.trouble(number, now)
                && has_brokers
            {
                trouble.last = Some(frame);
            }
            self.refuse(number, node, code, now);
            return;
        }
        self.answer_metadata(number, &frame, now);
    }

    /// Why an answer is no good for a client yet, as an error code.
    fn unready(&self, answer: &Struct, arrived: Instant, now: Instant) -> Option<i16> {
        if answer.structs("brokers").next().is_none() {
            return Some(8); // BROKER_NOT_AVAILABLE
        }
        let max = self.cluster.settings().hold.max;
        for topic in answer.structs("topics") {
            let key = TopicKey::Name(topic.bytes_field("name").cloned().unwrap_or_default());
            match topic.i16("error_code") {
                5 => return Some(5),
                code @ (3 | 100) => {
                    let lag = now.saturating_duration_since(arrived) < TOPIC_LAG;
                    if lag && self.cluster.read(|view| view.knows(&key)) {
                        return Some(code);
                    }
                }
                _ => {}
            }
            for partition in topic.structs("partitions") {
                let leaderless = partition.i32("leader_id") < 0 || partition.i16("error_code") == 5;
                if !leaderless {
                    continue;
                }
                // One that has had no leader for longer than a hold lasts won't get one by waiting.
                let index = partition.i32("partition_index");
                let since =
                    self.cluster.read(|view| view.leader(&key, index)).and_then(|leader| leader.leaderless);
                let hopeless = since.is_some_and(|at| now.saturating_duration_since(at) > max);
                if !hopeless {
                    // An old answer without epochs isn't taken note of, so that the look must be our own.
                    self.cluster.want_topics([key], now);
                    return Some(5);
                }
            }
        }
        None
    }

    fn learn(&self, answer: &Struct, version: i16, now: Instant) {
        if version >= WITH_EPOCHS {
            self.cluster.learn_metadata(answer, now);
        } else {
            // Without epochs its leaders might be older than what is known; its brokers are news all the same.
            let mut brokers = answer.clone();
            brokers.set_structs("topics", Vec::new());
            self.cluster.learn_metadata(&brokers, now);
        }
    }

    /// Gives a Metadata answer to the client.
    pub(super) fn answer_metadata(&mut self, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        let Ok((_, mut answer)) = wire::decode_response(METADATA, version, frame) else { return };
        self.learn(&answer, version, now);
        let mut leaders = Vec::new();
        for topic in answer.structs("topics") {
            let name = TopicKey::Name(topic.bytes_field("name").cloned().unwrap_or_default());
            let id = Some(topic.uuid("topic_id")).filter(|id| *id != [0; 16]).map(TopicKey::Id);
            for partition in topic.structs("partitions") {
                let (index, leader) = (partition.i32("partition_index"), partition.i32("leader_id"));
                leaders.push((name.clone(), index, leader));
                leaders.extend(id.clone().map(|id| (id, index, leader)));
            }
        }
        // Before the client can act on it: what is undecided elsewhere for a partition that has moved comes first.
        self.cluster.order.tell(leaders, now);
        self.cluster.read(|view| rewrite::metadata(&mut answer, view, &self.doors()));
        self.count_errors(&answer);
        self.release(number, now, None);
        let answer = wire::encode_response(METADATA, version, correlation, &answer)
            .map_or_else(|error| Answer::Close(error.to_string()), Answer::Frame);
        self.set_state(number, State::Done(answer));
    }

    /// A `FindCoordinator` answer: while there is no coordinator it is asked again within the hold.
    pub(super) fn on_coordinator(&mut self, node: i32, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { return };
        let (version, correlation, request) = (slot.version, slot.correlation, slot.frame.clone());
        let Ok((_, mut answer)) = wire::decode_response(FIND_COORDINATOR, version, frame) else {
            self.set_state(
                number,
                State::Done(Answer::Close("a broker's FindCoordinator can't be read".to_owned())),
            );
            return;
        };
        let mut waiting = None;
        answer.visit_errors(&mut |code| {
            if matches!(code, 14 | 15) {
                waiting = Some(code);
            }
        });
        if let Some(code) = waiting {
            let mut shown = answer;
            rewrite::find_coordinator(&mut shown, version, &self.doors());
            let last = wire::encode_response(FIND_COORDINATOR, version, correlation, &shown).ok();
            if let Some(trouble) = self.trouble(number, now) {
                trouble.last = last;
            }
            self.refuse(number, node, code, now);
            return;
        }
        if let Ok((_, request)) = wire::decode_request(&request) {
            let kind = request.i8("key_type");
            self.cluster.update_quietly(|view| {
                if version < 4 {
                    let key = request.bytes_field("key").cloned().unwrap_or_default();
                    view.absorb_coordinator(kind, key, answer.i32("node_id"), now);
                }
                for row in answer.structs("coordinators") {
                    let key = row.bytes_field("key").cloned().unwrap_or_default();
                    view.absorb_coordinator(kind, key, row.i32("node_id"), now);
                }
            });
        }
        rewrite::find_coordinator(&mut answer, version, &self.doors());
        self.count_errors(&answer);
        self.release(number, now, None);
        let answer = wire::encode_response(FIND_COORDINATOR, version, correlation, &answer)
            .map_or_else(|error| Answer::Close(error.to_string()), Answer::Frame);
        self.set_state(number, State::Done(answer));
    }
}
