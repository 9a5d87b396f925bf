//! What a gap (45) proves of a batch that is sent again: nothing by itself.
//!
//! A broker that was started again has of each producer only the last batch, which is all that its snapshot holds (seen on 3.9.2). The repeat of an earlier one is a gap to it, though it is in the log. So those behind it that may be in the log, too, go
//! again, one after the other. The first that is recognised shows that all before it are there, for a broker takes a sequence only
//! behind its predecessor; so does one that was acknowledged meanwhile. If there is none, none is there: a predecessor was cut off, and what is injected starts over.
//!
//! Except where a batch was given up while its outcome was unknown. It may lie unread in a socket (of a broker that is frozen and stays
//! leader), and earlier copies of those behind it as well; or it is the one that would have been recognised. Under another
//! identity they would be appended twice. So they go again as they are, until their bound.

use super::judge::REFUSED_PAUSE;
use super::slot::State;
use super::unknown::{Action, Doubt};
use super::{PRODUCE, Session};
use crate::kafka::cluster::{Producer, TopicKey};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::split::{Item, error_for};
use crate::kafka::wire;
use std::time::{Duration, Instant};

/// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
pub(super) const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// The pause before batches go again as they are that wait for another to be read before them.
const GAP_PAUSE: Duration = Duration::from_millis(100);

const CUT_OFF: &str = "a predecessor was cut off";
const LATER_LANDED: &str = "a later batch of its producer is in the log";

/// Whose batches stand behind each other: a topic, a partition, a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    topic: TopicKey,
    partition: i32,
    producer: Producer,
}

impl Row {
    pub(super) fn of(item: &Item) -> Self {
        Self { topic: item.key.clone(), partition: item.partition, producer: item.producer }
    }

    fn has(&self, item: &Item) -> bool {
        item.partition == self.partition && item.producer == self.producer && item.key == self.topic
    }
}

impl Session {
    /// Decides the batches of this request that wait at a gap, where no batch behind them can say more. Answers whether it did.
    pub(super) fn close_gaps(&mut self, number: u64, now: Instant) -> bool {
        let mut moved = false;
        let waiting: Vec<Row> = self
            .items_from(number)
            .take_while(|(of, _)| *of == number)
            .map(|(_, item)| item)
            .filter(|item| item.gap)
            .map(Row::of)
            .collect();
        for row in waiting {
            if self.is_behind(&row, number) {
                self.leave_gap(&row, number, now + GAP_PAUSE);
                moved = true;
                continue;
            }
            let more = self.may_say_more(&row, number);
            if !more || made(Mistake::GapProvesAlone) {
                self.close_gap(&row, number, now);
                moved = true;
            }
        }
        moved
    }

    /// Whether a batch before those of this request is undecided, and not known to be gone: then that one made the gap, and what
    /// is behind it goes again when it is decided. A copy of them may lie unread behind one of it.
    fn is_behind(&self, row: &Row, number: u64) -> bool {
        let before = self.items_from(self.base).take_while(|(of, _)| *of < number);
        let mut open = before.map(|(_, item)| item).filter(|item| row.has(item) && !item.is_done());
        open.any(|item| !item.gap && !item.restamp)
    }

    /// Those of this request go again as they are, not before this.
    fn leave_gap(&mut self, row: &Row, number: u64, not_before: Instant) {
        let Some(slot) = self.slot_mut(number) else { return };
        let State::Split(split) = &mut slot.state else { return };
        for item in split.items_mut().iter_mut().filter(|item| item.gap && row.has(item)) {
            item.leave_gap(not_before);
        }
    }

    /// Whether a batch behind those that wait at a gap may be in the log, and has not said so yet. None is behind one that provably isn't.
    fn may_say_more(&self, row: &Row, number: u64) -> bool {
        let behind = self.items_from(number).map(|(_, item)| item).filter(|item| row.has(item));
        let open = behind.filter(|item| !item.gap && !item.is_done());
        open.map(|item| item.doubt || !item.is_waiting()).next().unwrap_or(false)
    }

    /// The partitions of undecided Produce requests in parts, from this one on, each with its request's number.
    fn items_from(&self, number: u64) -> impl Iterator<Item = (u64, &Item)> {
        let first = self.at(number).unwrap_or(self.slots.len());
        let slots = (number..).zip(self.slots.iter().skip(first));
        slots.filter(|(_, slot)| slot.is_produce()).flat_map(|(of, slot)| {
            let items = if let State::Split(split) = &slot.state { split.items() } else { &[] };
            items.iter().map(move |item| (of, item))
        })
    }

    /// None of the batches that wait at a gap is in the log.
    fn close_gap(&mut self, row: &Row, number: u64, now: Instant) {
        let Some(message) = wire::response(PRODUCE) else { return };
        let waiting =
            || self.items_from(number).map(|(_, item)| item).filter(|item| item.gap && row.has(item));
        let open = waiting().any(|item| self.injection.has_given_up(item)) && !made(Mistake::GapTakenForGood);
        let some_landed = waiting().any(|item| self.injection.has_landed_behind(item));
        let mut told = Vec::new();
        let from = self.at(number).unwrap_or(self.slots.len());
        for slot in self.slots.iter_mut().skip(from).filter(|slot| slot.is_produce()) {
            let stamped = slot.stamped;
            let State::Split(split) = &mut slot.state else { continue };
            let shape = split.shape();
            for item in split.items_mut().iter_mut().filter(|item| item.gap && row.has(item)) {
                if some_landed {
                    // Of those behind the one that landed nothing is known yet.
                    if self.injection.has_landed_behind(item) {
                        told.push((Doubt::of(item), Action::Recognised, LATER_LANDED));
                        item.settle(error_for(shape, message, item.partition, 0));
                    }
                } else if open {
                    item.leave_gap(now + GAP_PAUSE);
                } else if stamped || item.counted {
                    told.push((Doubt::of(item), Action::Gap(OUT_OF_ORDER_SEQUENCE_NUMBER), CUT_OFF));
                    item.start_over(now + REFUSED_PAUSE * (1 << item.restamps.min(5)));
                } else {
                    told.push((Doubt::of(item), Action::Refused(OUT_OF_ORDER_SEQUENCE_NUMBER), CUT_OFF));
                    item.settle(error_for(shape, message, item.partition, OUT_OF_ORDER_SEQUENCE_NUMBER));
                    self.cluster.metrics.client_errors.kafka(OUT_OF_ORDER_SEQUENCE_NUMBER).inc();
                }
            }
        }
        for (doubt, action, why) in told {
            self.unknown_batch(&doubt, action, why);
        }
    }

    /// Batches of these, which had been sent again, are in the log, and so are those before them that wait at a gap.
    pub(super) fn prove_gaps(&mut self, proved: &[Row], before: u64, now: Instant) {
        let Some(message) = wire::response(PRODUCE) else { return };
        let (mut told, mut done) = (Vec::new(), Vec::new());
        let numbers = self.base..before;
        for (number, slot) in numbers.zip(self.slots.iter_mut()).filter(|(_, slot)| slot.is_produce()) {
            let State::Split(split) = &mut slot.state else { continue };
            let shape = split.shape();
            let mut some = false;
            for item in split.items_mut().iter_mut().filter(|item| item.gap) {
                if proved.iter().any(|row| row.has(item)) {
                    told.push(Doubt::of(item));
                    item.settle(error_for(shape, message, item.partition, 0));
                    some = true;
                }
            }
            if some && split.is_done() {
                done.push(number);
            }
        }
        for doubt in told {
            self.unknown_batch(&doubt, Action::Recognised, LATER_LANDED);
        }
        for number in done {
            self.finish_split(number, now);
        }
    }
}
