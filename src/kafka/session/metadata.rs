//! Metadata and `FindCoordinator`: waited for until they can be answered well, taken note of, and shown with the
//! brokers' doors instead of their addresses.

use super::slot::{Answer, State};
use super::{FIND_COORDINATOR, METADATA, Session};
use crate::kafka::cluster::{TOPIC_LAG, TopicKey};
use crate::kafka::operations::{Absorb, Operation};
use crate::kafka::rewrite;
use crate::kafka::wire::{self, Struct};
use bytes::Bytes;
use std::time::Instant;

impl Session {
    /// A Metadata answer: one without brokers, or with partitions that have no leader, is asked again within the hold.
    pub(super) fn on_metadata(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (op, version, arrived) = (slot.op, slot.version, slot.arrived);
        let Ok((_, answer)) = wire::decode_response(METADATA, version, &frame) else {
            self.set_state(
                number,
                State::Done(Answer::Close("a broker's Metadata can't be read".to_owned())),
            );
            return;
        };
        if let Some(code) = self.unready(op, &answer, arrived, now) {
            let has_brokers = answer.structs("brokers").next().is_some();
            self.cluster.learn_metadata(&answer, now);
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
    fn unready(&self, op: &Operation, answer: &Struct, arrived: Instant, now: Instant) -> Option<i16> {
        if answer.structs("brokers").next().is_none() {
            return Some(8); // BROKER_NOT_AVAILABLE
        }
        let max = self.cluster.settings().hold.max;
        for topic in answer.structs("topics") {
            let key = TopicKey::Name(topic.bytes_field("name").cloned().unwrap_or_default());
            let code = topic.i16("error_code");
            match op.absorbed(code) {
                Some(Absorb::Later) => return Some(code),
                Some(Absorb::TopicKnown) => {
                    let lag = now.saturating_duration_since(arrived) < TOPIC_LAG;
                    if lag && self.cluster.read(|view| view.knows(&key, now)) {
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
                // The leader that it had is shown; one that has had none for longer than a hold lasts won't get one by
                // waiting.
                let index = partition.i32("partition_index");
                let leader = self.cluster.read(|view| view.leader(&key, index));
                let shown = leader.is_some_and(|leader| leader.node >= 0 || leader.before.is_some());
                let since = leader.and_then(|leader| leader.leaderless);
                let lag = now.saturating_duration_since(arrived) < TOPIC_LAG;
                if !shown && lag && since.is_none_or(|at| now.saturating_duration_since(at) <= max) {
                    return Some(5);
                }
            }
        }
        None
    }

    /// Gives a Metadata answer to the client.
    pub(super) fn answer_metadata(&mut self, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        let Ok((_, mut answer)) = wire::decode_response(METADATA, version, frame) else { return };
        self.cluster.learn_metadata(&answer, now);
        self.show_leaders_before(&mut answer, now);
        let mut leaders = Vec::new();
        for topic in answer.structs("topics").filter(|topic| matches!(topic.i16("error_code"), 3 | 100)) {
            if let Some(name) = topic.bytes_field("name") {
                self.cluster.update_quietly(|view| view.forget_topic(name, now));
            }
        }
        for topic in answer.structs("topics") {
            let name = TopicKey::Name(topic.bytes_field("name").cloned().unwrap_or_default());
            for partition in topic.structs("partitions") {
                let (index, leader) = (partition.i32("partition_index"), partition.i32("leader_id"));
                leaders.push((name.clone(), index, leader));
            }
        }
        self.cluster.read(|view| rewrite::metadata(&mut answer, view, &self.doors()));
        self.count_errors(&answer);
        self.release(number, now, None);
        let answer = match wire::encode_response(METADATA, version, correlation, &answer) {
            Ok(frame) => Answer::Leaders(frame, leaders),
            Err(error) => Answer::Close(error.to_string()),
        };
        self.set_state(number, State::Done(answer));
    }

    /// A partition that has no leader for the moment is shown with the one that it had: its clients go on to that node's
    /// port and are held there. Were this answer held instead, everything behind it on its connection would be, too.
    fn show_leaders_before(&self, answer: &mut Struct, now: Instant) {
        let max = self.cluster.settings().hold.max;
        for topic in answer.structs_mut("topics") {
            let key = TopicKey::Name(topic.bytes_field("name").cloned().unwrap_or_default());
            for partition in topic.structs_mut("partitions") {
                if partition.i32("leader_id") >= 0 && partition.i16("error_code") != 5 {
                    continue;
                }
                let index = partition.i32("partition_index");
                let Some(leader) = self.cluster.read(|view| view.leader(&key, index)) else { continue };
                let hopeless = leader.leaderless.is_some_and(|at| now.saturating_duration_since(at) > max);
                let current = (leader.node >= 0).then_some((leader.node, leader.epoch));
                if let Some((node, epoch)) = current.or(leader.before).filter(|_| !hopeless) {
                    self.cluster.metrics.masked_errors.kafka(5).inc();
                    partition.set_i32("leader_id", node);
                    partition.set_i32("leader_epoch", epoch);
                    partition.set_i16("error_code", 0);
                }
            }
        }
    }

    /// The coordinator that a key had, while a broker knows of none: its clients are held at that node's port.
    fn show_coordinator_before(&self, request: &Bytes, version: i16, answer: &mut Struct) -> bool {
        let Ok((_, request)) = wire::decode_request(request) else { return false };
        let kind = request.i8("key_type");
        let known = |key: &Bytes| {
            let coordinator = self.cluster.read(|view| view.coordinator(kind, key)).map(|(node, _)| node);
            coordinator.filter(|node| self.cluster.port_of(*node).is_some())
        };
        if version < 4 {
            let Some(node) = request.bytes_field("key").and_then(known) else { return false };
            answer.set_i32("node_id", node);
            answer.set_i16("error_code", 0);
            answer.set_null("error_message");
            return true;
        }
        let needed = |row: &&Struct| matches!(row.i16("error_code"), 14 | 15);
        if !answer
            .structs("coordinators")
            .filter(needed)
            .all(|row| row.bytes_field("key").and_then(known).is_some())
        {
            return false;
        }
        for row in answer.structs_mut("coordinators") {
            if !matches!(row.i16("error_code"), 14 | 15) {
                continue;
            }
            let Some(node) = row.bytes_field("key").and_then(known) else { return false };
            row.set_i32("node_id", node);
            row.set_i16("error_code", 0);
            row.set_null("error_message");
        }
        true
    }

    /// A `FindCoordinator` answer: while there is no coordinator it is asked again within the hold.
    pub(super) fn on_coordinator(&mut self, node: i32, number: u64, frame: &Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (op, version, correlation, request) =
            (slot.op, slot.version, slot.correlation, slot.frame.clone());
        let Ok((_, mut answer)) = wire::decode_response(FIND_COORDINATOR, version, frame) else {
            self.set_state(
                number,
                State::Done(Answer::Close("a broker's FindCoordinator can't be read".to_owned())),
            );
            return;
        };
        let (mut waiting, mut others) = (None, false);
        if version < 4 {
            waiting = Some(answer.i16("error_code")).filter(|code| op.absorbed(*code).is_some());
        }
        for row in answer.structs("coordinators") {
            let code = row.i16("error_code");
            match op.absorbed(code) {
                Some(_) => waiting = Some(code),
                None => others = true,
            }
        }
        if let Some(code) = waiting
            && self.show_coordinator_before(&request, version, &mut answer)
        {
            self.cluster.metrics.masked_errors.kafka(code).inc();
        } else if let Some(code) = waiting.filter(|_| !others) {
            let mut shown = answer;
            rewrite::find_coordinator(&mut shown, version, &self.doors());
            let last = wire::encode_response(FIND_COORDINATOR, version, correlation, &shown).ok();
            if let Some(trouble) = self.trouble(number, now) {
                trouble.last = last;
            }
            self.refuse(number, node, code, now);
            return;
        }
        if waiting.is_none()
            && let Ok((_, request)) = wire::decode_request(&request)
        {
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
