//! Commits of offsets (`InOrder` in the operation table): one that was refused or lost must not be sent again behind a later one of its group, or the group's position
//! would go back.

use super::Session;
use super::slot::{Answer, Slot, State};
use crate::kafka::honest::{self, COORDINATOR_NOT_AVAILABLE};
use crate::kafka::operations::Unknown;
use crate::kafka::wire;
use bytes::Bytes;
use std::time::Instant;

fn group(slot: &Slot) -> Option<Bytes> {
    let (_, request) = wire::decode_request(&slot.frame).ok()?;
    request.bytes_field("group_id").cloned()
}

impl Session {
    /// Whether `matches` holds for the state of a later commit of the same group; only of one that is in trouble.
    fn later_commit(&self, number: u64, matches: fn(&State) -> bool) -> bool {
        let Some(at) = self.at(number) else { return false };
        let Some(slot) = self.slots.get(at).filter(|slot| slot.op.unknown == Unknown::InOrder) else {
            return false;
        };
        if slot.trouble.is_none() {
            return false;
        }
        let mut later = self.slots.iter().skip(at + 1).filter(|other| other.op.key == slot.op.key);
        later.any(|other| matches(&other.state) && group(other) == group(slot))
    }

    /// A later commit is at the coordinator: whether this one may go depends on what becomes of that.
    pub(super) fn may_be_overtaken(&self, number: u64) -> bool {
        self.later_commit(number, |state| matches!(state, State::Sent))
    }

    /// A later commit has been answered.
    pub(super) fn is_overtaken(&self, number: u64) -> bool {
        self.later_commit(number, |state| matches!(state, State::Done(_)))
    }

    /// The client gets the true error that there was, and has its later commit's answer besides.
    pub(super) fn give_up_overtaken(&mut self, number: u64, now: Instant) {
        let Some(slot) = self.slot_mut(number) else { return };
        let (key, version, correlation) = (slot.op.key, slot.version, slot.correlation);
        let last = slot.trouble.as_deref_mut().and_then(|trouble| trouble.last.take());
        let made = || {
            let (_, request) = wire::decode_request(&slot.frame).ok()?;
            let answer = honest::error(key, version, &request, COORDINATOR_NOT_AVAILABLE)?;
            wire::encode_response(key, version, correlation, &answer).ok()
        };
        let answer = last.or_else(made);
        if let Some((_, answer)) =
            answer.as_ref().and_then(|frame| wire::decode_response(key, version, frame).ok())
        {
            self.count_errors(&answer);
        }
        let reason = || Answer::Close("a commit was overtaken by a later one".to_owned());
        self.release(number, now, None);
        self.set_state(number, State::Done(answer.map_or_else(reason, Answer::Frame)));
    }
}
