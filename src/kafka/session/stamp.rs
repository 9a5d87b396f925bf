//! Parts of a request are stamped, and their acks raised, as they are about to be sent.

use super::Session;
use super::inject::is_ours;
use super::slot::{Raised, State};
use std::time::Instant;

impl Session {
    /// Stamps what is about to be sent for the first time, or anew; what can't be stamped yet goes on waiting.
    pub(super) fn stamp_parts(&mut self, number: u64, targets: &mut [Option<i32>], now: Instant) {
        let Some(at) = self.at(number) else { return };
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.is_produce()) else { return };
        if slot.version < 3 || slot.as_it_is || !self.injection.is_on() {
            return;
        }
        let (silent, answered) = (slot.silent, slot.is_answered());
        let State::Split(split) = &mut slot.state else { return };
        if split.template().bytes_field("transactional_id").is_some() {
            return;
        }
        // acks=0 is raised if all of it can be stamped: the rest would be answered for nothing.
        let may_rise = || self.injection.raises_silent() && split.items().iter().all(is_ours);
        if !answered && !may_rise() {
            return;
        }
        let (mut stamped, mut lowered) = (false, false);
        for (item, target) in split.items_mut().iter_mut().zip(targets) {
            if target.is_some() && !self.injection.stamp_item(&self.cluster, item, now) {
                *target = None;
            }
            stamped |= item.counted;
            lowered |= self.injection.is_lowered(&item.topic, item.partition, now);
        }
        if !stamped || slot.raised != Raised::No {
            return;
        }
        let template = split.template_mut();
        let (acks, timeout_ms) = (template.i16("acks"), template.i32("timeout_ms"));
        if let Some(goes) = self.injection.goes(acks, timeout_ms, lowered) {
            template.set_i16("acks", goes.acks);
            template.set_i32("timeout_ms", goes.timeout_ms);
            slot.raised = goes.raised;
            self.note_raised(goes.raised, silent);
        }
    }

    /// acks were raised: counted, and said once for each client. `silent`: acks=0.
    pub(super) fn note_raised(&mut self, raised: Raised, silent: bool) {
        if raised != Raised::Up {
            return;
        }
        self.cluster.metrics.kafka_raised_acks.inc();
        if !self.injection.said_raised() {
            let acks = u8::from(!silent);
            tracing::info!(client = %self.client_id, "acks={acks} of this client is sent as acks=all, so that a move of leadership cuts nothing off");
        }
    }
}
