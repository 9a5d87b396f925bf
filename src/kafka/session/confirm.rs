//! What went with acks=1 in place of acks=all, and what becomes of its answers.
//!
//! Such a request (`pack`) is proven by later ones, which went with acks=all on the same connection. Its answer is kept until
//! those are answered, so that to everything else it is a request that is not answered yet: its batches are undecided, count
//! among the five, and stand in the way of later ones. Where the later batch of a partition landed, the kept answer is
//! what it says. Where it did not, a success was the leader's alone: that batch's outcome is unknown, it goes
//! again with acks=all, and its broker recognises it. The same holds for all that is kept when its connection is lost.

use super::PRODUCE;
use super::Session;
use super::ahead::Lane;
use super::gather::{Gathering, Member, is_gathered};
use super::link::Due;
use super::slot::State;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::wire::{self, Struct};
use bytes::Bytes;
use std::collections::HashSet;
use std::time::Instant;

/// What proves a partition of a lowered request: the one that is nearest behind it with acks=all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proof {
    pub lane: Lane,
    /// Its number.
    pub by: u64,
}

/// A request that went with acks=1 in place of acks=all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lowered {
    /// What is still to come.
    pub proofs: Vec<Proof>,
    /// Partitions whose proof has failed.
    unproven: Vec<Lane>,
    answer: Option<(Due, Bytes)>,
}

impl Lowered {
    pub(super) fn new(proofs: Vec<Proof>) -> Self {
        Self { proofs, ..Self::default() }
    }
}

impl Gathering {
    /// A request with acks=all is decided, or could not be sent: only these partitions of it landed.
    pub(super) fn prove(&mut self, by: u64, landed: &HashSet<Lane>) {
        for lowered in self.sent.iter_mut().filter_map(|gathered| gathered.lowered.as_mut()) {
            for proof in lowered.proofs.extract_if(.., |proof| proof.by == by) {
                let another = made(Mistake::ProofOfAnother) && !landed.is_empty();
                if !landed.contains(&proof.lane) && !another && !made(Mistake::ProofUnread) {
                    lowered.unproven.push(proof.lane);
                }
            }
        }
    }

    fn is_proof(&self, number: u64) -> bool {
        let mut lowered = self.sent.iter().filter_map(|gathered| gathered.lowered.as_ref());
        lowered.any(|lowered| lowered.proofs.iter().any(|proof| proof.by == number))
    }
}

impl Session {
    /// An answer to gathered parts. Answers `false` if the number is a slot's.
    pub(super) fn on_gathered(&mut self, node: i32, due: Due, frame: &Bytes, now: Instant) -> bool {
        if !is_gathered(due.slot) {
            return false;
        }
        let known = self.gathering.sent.iter_mut().find(|gathered| gathered.number == due.slot);
        if let Some(lowered) = known.and_then(|gathered| gathered.lowered.as_mut()) {
            lowered.answer = Some((due, frame.clone()));
            self.gets_on(due.slot, now);
        } else if let Some(gathered) = self.gathering.take(due.slot) {
            if self.gathering.is_proof(due.slot) {
                let landed = self.landed(&gathered.members, frame);
                self.gathering.prove(due.slot, &landed);
            }
            self.tell_proven(now);
            self.on_members(node, &gathered.members, due, frame, &[], now);
        }
        self.tell_proven(now); // one that nothing proves any more
        true
    }

    /// A leader has answered to a lowered request: who waits behind its batches waits for a line that moves.
    fn gets_on(&mut self, number: u64, now: Instant) {
        let gathered = self.gathering.sent.iter().find(|gathered| gathered.number == number);
        for &(number, part) in gathered.map(|gathered| gathered.members.as_slice()).unwrap_or_default() {
            let Some(slot) = self.at(number).and_then(|at| self.slots.get(at)) else { continue };
            let State::Split(split) = &slot.state else { continue };
            for (_, lane) in split.items().iter().zip(slot.lanes()).filter(|(item, _)| item.is_in(part)) {
                self.lanes.moves(*lane, now);
            }
        }
    }

    /// The lowered requests that are answered and have no proof to come are decided, oldest first.
    fn tell_proven(&mut self, now: Instant) {
        loop {
            let is_ready = |lowered: &Lowered| {
                lowered.answer.is_some() && (lowered.proofs.is_empty() || made(Mistake::LeaderTakenForAll))
            };
            let mut sent = self.gathering.sent.iter();
            let ready = sent.find(|gathered| gathered.lowered.as_ref().is_some_and(is_ready));
            let Some(number) = ready.map(|gathered| gathered.number) else { return };
            let Some(gathered) = self.gathering.take(number) else { return };
            let Some(lowered) = gathered.lowered else { return };
            if let Some((due, frame)) = lowered.answer {
                self.on_members(gathered.node, &gathered.members, due, &frame, &lowered.unproven, now);
            }
        }
    }

    /// The connection to `node` is lost, and with it every proof to come: what was answered is told as far as it is known.
    pub(super) fn tell_unproven(&mut self, node: i32, now: Instant) {
        if made(Mistake::KeptAnswerForgotten) {
            return;
        }
        for gathered in self.gathering.sent.iter_mut().filter(|gathered| gathered.node == node) {
            if let Some(lowered) = gathered.lowered.as_mut().filter(|lowered| lowered.answer.is_some()) {
                lowered.unproven.extend(lowered.proofs.drain(..).map(|proof| proof.lane));
            }
        }
        self.tell_proven(now);
    }

    /// Each part of a gathered request takes what is its own of the answer. `unproven`: partitions of which only the leader
    /// has said anything.
    fn on_members(
        &mut self,
        node: i32,
        members: &[Member],
        due: Due,
        frame: &Bytes,
        unproven: &[Lane],
        now: Instant,
    ) {
        for &(slot, part) in members {
            if let Some(slot) = self.at(slot).and_then(|at| self.slots.get_mut(at))
                && let State::Split(split) = &mut slot.state
            {
                let lanes = slot.lanes.as_deref().unwrap_or_default();
                for (item, lane) in split.items_mut().iter_mut().zip(lanes) {
                    item.unproven |= item.is_in(part) && unproven.contains(lane);
                }
            }
            self.on_answer(node, due.of_member(slot, part), frame.clone(), now);
        }
    }

    /// The partitions of a request with acks=all whose batches are in the log, and so those before them.
    fn landed(&self, members: &[Member], frame: &Bytes) -> HashSet<Lane> {
        let Some((&(first, _), shape)) = members.first().zip(crate::kafka::split::shape(PRODUCE)) else {
            return HashSet::new();
        };
        let version = self.slot(first).map_or(0, |slot| slot.version);
        let Ok((_, answer)) = wire::decode_response(PRODUCE, version, frame) else { return HashSet::new() };
        let side = &shape.answer;
        let good: HashSet<_> = answer
            .structs(side.topics)
            .flat_map(|topic| topic.structs(side.partitions).map(move |row| (topic, row)))
            .filter(|(_, row)| row.i16("error_code") == 0)
            .map(|(topic, row): (&Struct, &Struct)| (side.key(topic), row.i32(side.index)))
            .collect();
        let mut landed = HashSet::new();
        for &(number, part) in members {
            let Some(slot) = self.slot(number) else { continue };
            let State::Split(split) = &slot.state else { continue };
            for (item, lane) in split.items().iter().zip(slot.lanes()).filter(|(item, _)| item.is_in(part)) {
                if good.contains(&(item.topic.clone(), item.partition)) {
                    landed.insert(*lane);
                }
            }
        }
        landed
    }
}

#[cfg(test)]
impl Lowered {
    /// Prints what is kept, and what is still to come.
    pub(super) fn print(&self, print: &mut crate::kafka::model::print::Print) {
        print.put(&(&self.proofs, &self.unproven, self.answer.as_ref().map(|(_, frame)| frame.as_ref())));
    }
}
