//! What a connection that holds something lets the others know: the oldest undecided batch of each partition, so that one
//! partition without a leader does not stop every other that has moved.

use super::Session;
use super::produce::owned;
use super::slot::State;
use crate::kafka::wire::produce;

/// With more partitions than this on one connection their numbers are given anew when nothing is under way.
const LANES_KEPT: usize = 1024;

impl Session {
    /// Gives the partitions of every Produce in the queue their numbers; of each request once.
    pub(super) fn number_lanes(&mut self) {
        if self.laned_to <= self.base {
            self.laned_to = self.base;
            if self.lanes.len() > LANES_KEPT && self.published.is_none() {
                self.lanes.clear();
            }
        }
        let end = self.base + self.slots.len() as u64;
        let from = std::mem::replace(&mut self.laned_to, end);
        for number in from..end {
            let Some(at) = self.at(number) else { continue };
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.is_produce()) else { continue };
            let mut numbers = Vec::new();
            let body = slot.frame.get(slot.body_at..).unwrap_or_default();
            let scanned = produce::scan_request(slot.version, body, &mut |row| {
                numbers.push(self.lanes.number(self.cluster.named(owned(row.topic)), row.partition));
            });
            match scanned {
                Ok(_) => slot.lanes = Some(numbers.into()),
                Err(error) => {
                    tracing::debug!(%error, "a Produce that can't be read stands in nobody's way");
                }
            }
        }
    }

    /// Tells the other connections which partitions this one has undecided batches of, as long as it holds something.
    pub(super) fn publish_undecided(&mut self) {
        let holds = self.slots.iter().any(|slot| slot.is_produce() && slot.is_unsettled());
        if !holds {
            if self.unpublish() {
                self.cluster.wake_all();
            }
            return;
        }
        if !self.cluster.order.any_marked() {
            // What was told is about to be out of date, and an old word would let a later batch overtake.
            self.unpublish();
            return;
        }
        let mut oldest = vec![0; self.lanes.len()];
        let mut missing = oldest.len();
        let produces = self.slots.iter().filter(|slot| slot.is_produce());
        for (slot, number) in produces.zip(self.own.decided_count() + 1..) {
            if matches!(slot.state, State::Done(_)) {
                continue;
            }
            let Some(lanes) = &slot.lanes else {
                self.unpublish(); // it can't be read and will be refused; until then nothing is promised
                return;
            };
            for lane in lanes {
                if let Some(known) = oldest.get_mut(*lane as usize).filter(|known| **known == 0) {
                    *known = number;
                    missing -= 1;
                }
            }
            if missing == 0 {
                break;
            }
        }
        let before = self.published.take();
        let news = oldest.iter().enumerate().filter(|(at, now)| {
            before.as_ref().is_none_or(|before| before.get(*at).copied().unwrap_or(0) != **now)
        });
        let news: Vec<_> = news
            .filter_map(|(at, number)| {
                let key = self.lanes.key(u32::try_from(at).ok()?)?;
                Some((key.clone(), *number))
            })
            .collect();
        if before.is_none() || !news.is_empty() {
            self.own.publish(news);
        }
        if before.is_none() {
            self.cluster.wake_all();
        }
        self.published = Some(oldest);
    }

    /// A Produce is about to be counted as sent: while the others are told something, they are told of it first.
    pub(super) fn publish_arrival(&mut self, version: i16, body: &[u8]) {
        let Some(mut told) = self.published.take() else { return };
        let (lanes, cluster, next) = (&mut self.lanes, &self.cluster, self.own.sent_count() + 1);
        let mut news = Vec::new();
        let scanned = produce::scan_request(version, body, &mut |row| {
            let (topic, partition) = (cluster.named(owned(row.topic)), row.partition);
            let lane = lanes.number(topic.clone(), partition) as usize;
            if told.len() <= lane {
                told.resize(lane + 1, 0);
            }
            if let Some(oldest) = told.get_mut(lane).filter(|oldest| **oldest == 0) {
                *oldest = next;
                news.push(((topic, partition), next));
            }
        });
        if scanned.is_err() {
            self.own.unpublish();
            return;
        }
        if !news.is_empty() {
            self.own.publish(news);
        }
        self.published = Some(told);
    }

    /// Takes back what the others were told; from here on they wait for everything that was sent here. Answers whether
    /// anything had been told.
    pub(super) fn unpublish(&mut self) -> bool {
        let told = self.published.take().is_some();
        if told {
            self.own.unpublish();
        }
        told
    }
}
