//! Requests in parts: taken apart, sent to the leaders that are known, merged.

use super::ahead::{Ahead, Before, Way};
use super::inject::producer_of;
use super::slot::{Answer, State};
use super::unknown::{Action, Doubt};
use super::{FETCH, PRODUCE, Session};
use crate::kafka::cluster::{TopicKey, View};
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::rewrite;
use crate::kafka::split::{Item, Judgement, Split, error_for, shape};
use crate::kafka::wire;
use crate::metrics::{HoldTrigger, ReleaseOutcome, ReplayVerdict};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// `DeleteRecords`.
const DELETE_RECORDS: i16 = 21;

/// How long the node that refused a partition is not believed to lead it again, unless its epoch is newer.
const REFUSED_FOR: Duration = Duration::from_millis(250);

/// What a waiting item needs.
enum Plan {
    /// To this node.
    Go(i32),
    /// Nothing can be done before this.
    Later(Instant),
    /// An earlier batch of its partition is undecided.
    Order,
    /// Its leader has to be looked up.
    Want,
    /// Its topic is no more, and this error says so.
    Gone(i16),
    /// It does not wait.
    Nothing,
}

impl Session {
    /// Takes a waiting request apart. One that can't be read is refused: its client's connection ends.
    pub(super) fn split(&mut self, number: u64, now: Instant) -> bool {
        match self.taken_apart(number, now) {
            Some(split) => {
                self.set_state(number, State::Split(Box::new(split)));
                let is_fetch = self.slot(number).is_some_and(|slot| slot.op.key == FETCH);
                if !is_fetch {
                    self.hold(number, HoldTrigger::Leader, now);
                    self.number_lanes(); // from its frame, as the bound of its wait
                    self.keep_the_head(number);
                }
                true
            }
            None => false,
        }
    }

    /// A Produce that will be stamped in parts holds its records in those, and needs no second copy.
    fn keep_the_head(&mut self, number: u64) {
        let Some(slot) = self.slot_mut(number).filter(|slot| slot.is_produce() && !slot.stamped) else {
            return;
        };
        if let Some(head) = slot.frame.get(..slot.body_at) {
            slot.frame = Bytes::copy_from_slice(head);
        }
    }

    /// The request of a slot in parts.
    pub(super) fn taken_apart(&mut self, number: u64, now: Instant) -> Option<Split> {
        self.slot_mut(number)?.compact();
        let slot = self.slot(number)?;
        let (key, is_fetch) = (slot.op.key, slot.op.key == FETCH);
        match wire::decode_request(&slot.frame) {
            Ok((_, request)) => {
                let mut split = Split::new(shape(key)?, request, now);
                for item in split.items_mut() {
                    item.key = self.cluster.named(item.topic.clone());
                    if key == PRODUCE {
                        item.producer = producer_of(item.request.bytes_field("records"));
                    }
                }
                if is_fetch {
                    let template = split.template_mut();
                    template.set_i32("session_id", 0);
                    template.set_i32("session_epoch", -1);
                    template.set_structs("forgotten_topics_data", Vec::new());
                }
                Some(split)
            }
            Err(error) => {
                let reason = format!("a {} request can't be read: {error}", wire::api_name(key));
                self.set_state(number, State::Done(Answer::Close(reason)));
                None
            }
        }
    }

    /// Sends the parts of a split request that can go. Answers whether anything changed.
    pub(super) fn dispatch(&mut self, number: u64, ahead: &Ahead, now: Instant) -> bool {
        let plans = self.plans(number, ahead, now);
        let mut moved = false;
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        let mut targets = Vec::with_capacity(plans.len());
        for (at, plan) in plans.into_iter().enumerate() {
            let mut target = None;
            match plan {
                // One whose queue is full gets no more: what is not on a link can still go to another node.
                Plan::Go(node) if self.links.iter().any(|link| link.node == node && link.is_full()) => {}
                Plan::Go(node) if !self.speaks_parts_of(number, node) => {
                    if self.is_untouched(number) {
                        self.outdated(number, node);
                        return true;
                    }
                    self.wake_before(now + REFUSED_FOR); // another may lead it by then; else its bound ends it
                }
                Plan::Go(node) if self.is_open(node) => target = Some(node),
                Plan::Go(node) => moved |= self.reach(node),
                Plan::Later(until) => self.wake_before(until),
                Plan::Gone(code) => gone.push((at, code)),
                Plan::Want => {
                    wanted.extend(self.item_topic(number, at));
                    self.note_part_held_by_drain(number, at, now);
                }
                Plan::Order | Plan::Nothing => {}
            }
            targets.push(target);
        }
        if !wanted.is_empty() {
            self.cluster.want_topics(wanted, now);
        }
        moved |= !gone.is_empty();
        self.settle_gone(number, gone);
        self.stamp_parts(number, &mut targets, now);
        if targets.iter().any(Option::is_some) {
            self.send_parts(number, &targets, now);
            moved = true;
        }
        moved
    }

    /// Partitions of topics that have been deleted: nothing that was meant for one lands in another of its name.
    fn settle_gone(&mut self, number: u64, gone: Vec<(usize, i16)>) {
        const IN_DOUBT: &str = "its topic was deleted before a replay could settle it";
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        for (at, gone) in gone {
            let Some(slot) = self.at(number).and_then(|at| self.slots.get_mut(at)) else { return };
            let (stamped, silent) = (slot.stamped, slot.silent);
            let Some(message) = wire::response(slot.op.key) else { return };
            let State::Split(split) = &mut slot.state else { return };
            let Some(item) = split.items().get(at) else { continue };
            let (topic, partition) = (item.topic.clone(), item.partition);
            let in_doubt = item.doubt;
            let batch = (in_doubt || silent).then(|| Doubt::of(item)); // of a Produce
            let injected = slot.op.key == PRODUCE && (stamped || item.counted);
            let records = if injected { item.request.bytes_field("records").cloned() } else { None };
            // What may have been applied to the old one is gone with it, and still nobody can say that it was not.
            let code = if in_doubt { REQUEST_TIMED_OUT } else { gone };
            split.decide(at, error_for(split.shape(), message, partition, code));
            if !silent {
                metrics.client_errors.kafka(code).inc();
            }
            if !in_doubt {
                self.injection.give_back(&topic, partition, records.as_ref());
            }
            if let Some(batch) = batch {
                let (action, why) = match (in_doubt, silent) {
                    (false, _) => (Action::Dropped(code), "its topic was deleted"),
                    (true, true) => (Action::Swallowed, IN_DOUBT),
                    (true, false) => (Action::Told(code), IN_DOUBT),
                };
                self.unknown_batch(&batch, action, why);
            }
            if silent && self.injection.raises_silent() {
                self.tell_by_closing(gone);
            }
        }
    }

    /// Whether a broker takes the version that a request is in: one that was rolled back may not.
    fn speaks_parts_of(&self, number: u64, node: i32) -> bool {
        let Some(slot) = self.slot(number) else { return true };
        let link = self.links.iter().find(|link| link.node == node);
        link.is_none_or(|link| link.speaks(slot.op.key, slot.version))
    }

    /// Whether no broker has seen any part of a request, so that its client may be told nothing.
    fn is_untouched(&self, number: u64) -> bool {
        let Some(State::Split(split)) = self.slot(number).map(|slot| &slot.state) else { return false };
        split.items().iter().all(|item| item.is_waiting() && !item.doubt && item.losses == 0)
    }

    fn item_topic(&self, number: u64, at: usize) -> Option<TopicKey> {
        let State::Split(split) = &self.slots.get(self.at(number)?)?.state else { return None };
        split.items().get(at).map(|item| item.topic.clone())
    }

    fn plans(&self, number: u64, ahead: &Ahead, now: Instant) -> Vec<Plan> {
        let Some(slot) = self.slot(number) else { return Vec::new() };
        let State::Split(split) = &slot.state else { return Vec::new() };
        let produce = slot.op.key == PRODUCE;
        let writes = produce || slot.op.key == DELETE_RECORDS;
        let barred = produce && !self.barriers_passed(number);
        let lanes = slot.lanes();
        let plan = |(at, item): (usize, &Item)| {
            if !item.is_waiting() {
                return Plan::Nothing;
            }
            if item.gap {
                return Plan::Order; // those behind it say more
            }
            let gone = |view: &View| view.is_gone(&item.topic, slot.arrived, writes, now);
            if let Some(code) = self.cluster.read(gone) {
                return Plan::Gone(code);
            }
            if now < item.not_before {
                return Plan::Later(item.not_before);
            }
            if let Some(lane) = lanes.get(at) {
                // The same partition twice in one request: one after the other, too.
                if barred || lanes.iter().take(at).any(|earlier| earlier == lane) {
                    return Plan::Order;
                }
                if ahead.gap(*lane).is_some_and(|producer| !item.doubt || item.producer != producer) {
                    return Plan::Order;
                }
                let way = match ahead.before(*lane) {
                    _ if made(Mistake::PartOvertakes) => return self.leader_of(item, now),
                    Before::Nothing => return self.leader_of(item, now),
                    Before::Stopped => return Plan::Order,
                    Before::OnWay(_) if made(Mistake::FollowsAnybody) => return self.leader_of(item, now),
                    Before::OnWay(way) => way,
                };
                // Behind others only on the way to one node, which has shown that it leads the partition, and under
                // their producer id: so the client's own pipeline to its leader goes on, as it would without a move.
                let trusted = self.trusted.get(&(item.key.clone(), item.partition)).copied();
                let producer = self.injection.producer_for(item);
                let same = |node| producer.is_some_and(|producer| way == Way { node, producer });
                let same = |node| same(node) || (made(Mistake::FollowsOthers) && way.node == node);
                let leads = |node| trusted.is_some_and(|trusted| trusted.node == node);
                return match self.leader_of(item, now) {
                    Plan::Go(node) if (leads(node) || made(Mistake::FollowsUntrusted)) && same(node) => {
                        Plan::Go(node)
                    }
                    _ => Plan::Order,
                };
            }
            self.leader_of(item, now)
        };
        split.items().iter().enumerate().map(plan).collect()
    }

    fn leader_of(&self, item: &Item, now: Instant) -> Plan {
        let stray = self.stray.get(&item.key, item.partition);
        self.cluster.read(|view| {
            let Some(leader) = view.leader(&item.topic, item.partition).filter(|leader| leader.node >= 0)
            else {
                return Plan::Want;
            };
            let unreachable = view.is_down(leader.node)
                || view.drained.contains(&leader.node)
                || !view.nodes.contains_key(&leader.node);
            if unreachable || stray.is_some_and(|stray| leader.asked < stray.since) {
                return Plan::Want;
            }
            if let Some(refused) = item.refused {
                let waited = now.saturating_duration_since(refused.at) > REFUSED_FOR;
                if leader.asked < refused.at || (leader.node == refused.node && !waited) {
                    return Plan::Want;
                }
            }
            Plan::Go(leader.node)
        })
    }

    fn send_parts(&mut self, number: u64, targets: &[Option<i32>], now: Instant) {
        let remaining = self.fetch_wait(number, targets, now);
        let Some(slot) = self.slot_mut(number) else { return };
        let (key, version, correlation) =
            (slot.op.key, slot.version, slot.is_answered().then_some(slot.correlation));
        let header = slot.frame.slice(..slot.body_at.min(slot.frame.len()));
        slot.as_it_is |= !slot.is_answered(); // one request has one acks: what is left of it goes as this does
        let State::Split(split) = &mut slot.state else { return };
        if let Some(remaining) = remaining {
            split.template_mut().set_i32("max_wait_ms", remaining);
        }
        let Some(message) = wire::request(key) else { return };
        let mut frames = Vec::new();
        let parts = split.dispatch(targets);
        let doubt = split.items().iter().any(|item| item.doubt);
        for part in parts {
            let Some(part) = self.gather(number, part) else { continue };
            // The records are kept for a replay anyway: what waits to be written are slices of them.
            match message.encode_pieces(version, &part.body, BytesMut::from(&header[..])) {
                Ok(pieces) => frames.push((part.node, part.number, pieces)),
                Err(error) => {
                    tracing::error!(%error, "a part of a request can't be written");
                    self.take_back(number, part.number);
                }
            }
        }
        if !frames.is_empty() {
            self.send_gathered(now); // what was gathered before is earlier
        }
        for (node, part, pieces) in frames {
            let sent =
                self.link_mut(node).is_some_and(|link| link.send(pieces, number, part, correlation, now));
            if sent {
                let verdict = if doubt { ReplayVerdict::Unknown } else { ReplayVerdict::NotSent };
                self.cluster.metrics.replays.inc(verdict);
            } else {
                self.take_back(number, part);
            }
        }
    }

    /// A part that could not be sent waits again.
    pub(super) fn take_back(&mut self, number: u64, part: u32) {
        if let Some(State::Split(split)) = self.slot_mut(number).map(|slot| &mut slot.state) {
            split.take_back(part);
        }
    }

    /// The answer to a part of a split request.
    pub(super) fn on_part_answer(&mut self, node: i32, number: u64, part: u32, frame: &Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let (key, version) = (slot.op.key, slot.version);
        let answer = match wire::decode_response(key, version, frame) {
            Ok((_, answer)) => answer,
            Err(error) => {
                tracing::warn!(node, api = wire::api_name(key), %error, "a broker's answer can't be read");
                self.set_state(
                    number,
                    State::Done(Answer::Close("a broker's answer can't be read".to_owned())),
                );
                return;
            }
        };
        self.absorb(node, number, part, answer, now);
        let done = match self.slot_mut(number).map(|slot| &slot.state) {
            Some(State::Split(split)) => split.is_done() || (key == FETCH && self.fetch_is_enough(number)),
            _ => false,
        };
        if done {
            if key == FETCH {
                self.settle_fetch(number);
            }
            self.finish_split(number, now);
        } else {
            let waiting = match self.slot_mut(number).map(|slot| &slot.state) {
                Some(State::Split(split)) => split.items().iter().find(|item| item.is_waiting()),
                _ => None,
            };
            if let Some(item) = waiting.filter(|_| key != FETCH) {
                // NOT_ENOUGH_REPLICAS: its leader is there, its followers are not.
                let trigger = if item.code == 19 { HoldTrigger::Capacity } else { HoldTrigger::Leader };
                self.hold(number, trigger, now);
            }
        }
    }

    /// All parts are decided: one answer, in the order of the request.
    pub(super) fn finish_split(&mut self, number: u64, now: Instant) {
        let Some(slot) = self.at(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let (key, version, correlation, silent) = (slot.op.key, slot.version, slot.correlation, slot.silent);
        let State::Split(split) = &mut slot.state else { return };
        let Some(message) = wire::response(key) else { return };
        for item in split.items().iter().filter(|item| item.counted) {
            self.injection.decided_item(&item.topic, item.partition);
        }
        let said_by: HashMap<_, _> = match key {
            FETCH => split.items().iter().map(|i| ((i.topic.clone(), i.partition), i.sent_to)).collect(),
            _ => HashMap::new(),
        };
        let mut answer = split.finish(message);
        if key == FETCH {
            // A session that a broker may have opened is not told: what the client asks next may go in parts again.
            answer.set_i32("session_id", 0);
            self.release(number, now, None);
            let home = self.home.node;
            let said_by = |topic: &TopicKey, partition| {
                said_by.get(&(topic.clone(), partition)).copied().map(|node| node.or(home))?
            };
            if let Some(answer) = self.guarded(number, answer, &said_by, now) {
                self.finish_fetch(number, answer);
            }
            return;
        }
        rewrite::addresses(message, version, &mut answer, &self.doors());
        let mut error = false;
        answer.visit_errors(&mut |code| error |= code != 0);
        let answer = if silent {
            Answer::Nothing
        } else {
            match wire::encode_response(key, version, correlation, &answer) {
                Ok(frame) => Answer::Frame(frame),
                Err(error) => Answer::Close(format!("a merged answer can't be written: {error}")),
            }
        };
        self.release(number, now, Some(if error { ReleaseOutcome::Error } else { ReleaseOutcome::Answered }));
        self.set_state(number, State::Done(answer));
    }

    /// A request without an answer is in the kernel's hands, whole or in part.
    pub(super) fn on_written(&mut self, number: u64, part: u32) {
        let Some(slot) = self.slot_mut(number) else { return };
        let Some(message) = wire::response(slot.op.key) else { return };
        match &mut slot.state {
            State::Split(split) => {
                let shape = split.shape();
                let mut done = |item: &Item| Judgement::Done(error_for(shape, message, item.partition, 0));
                split.absorb(part, message.new(), &mut |_, answer| Judgement::Done(answer), &mut done);
                if split.is_done() {
                    self.set_state(number, State::Done(Answer::Nothing));
                }
            }
            State::Sent => self.set_state(number, State::Done(Answer::Nothing)),
            _ => {}
        }
    }
}
