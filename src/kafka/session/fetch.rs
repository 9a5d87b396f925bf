//! Fetch: never held. While a partition has no leader its client gets an empty success within `max_wait`, so that the
//! connection keeps moving; a client that sends no leader epoch is served from the new leader.
//!
//! Incremental sessions live in one broker's memory. When that broker can't be asked any more the client is told so
//! (70), which is true, and every client that uses sessions then asks for all its partitions again by itself.

use super::guard::OUT_OF_RANGE;
use super::route::Target;
use super::slot::{Answer, State};
use super::{FETCH, Session};
use crate::kafka::cluster::TOPIC_LAG;
use crate::kafka::honest::fetch_session_gone;
use crate::kafka::operations::Absorb;
use crate::kafka::session::produce::owned;
use crate::kafka::split::{Judgement, error_for};
use crate::kafka::wire::{self, fetch};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// While a Fetch goes to several leaders, one of them without records must not keep those of another for long.
const SHORT_WAIT: Duration = Duration::from_millis(100);

impl Session {
    fn fetch_head(&self, number: u64) -> Option<fetch::FetchHead> {
        let slot = self.slot(number)?;
        fetch::scan_request(slot.version, slot.frame.get(slot.body_at..)?, &mut |_| {}).ok()
    }

    /// The time that the client gave the broker to answer.
    pub(super) fn max_wait(&self, number: u64) -> Duration {
        let ms = self.fetch_head(number).map_or(500, |head| head.max_wait_ms);
        // A client that doesn't wait at all gives the new leader a moment all the same.
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).max(SHORT_WAIT)
    }

    /// Where a waiting Fetch goes.
    pub(super) fn fetch_target(&mut self, number: u64, home: Option<i32>) -> Target {
        let Some(head) = self.fetch_head(number) else { return home.map_or(Target::Wait, Target::Node) };
        let incremental = head.session_epoch > 0;
        match home {
            Some(node) if incremental || self.stray.is_empty() => Target::Node(node),
            Some(node) if !self.fetches_stray(number, node) => Target::Node(node),
            None if incremental => {
                self.fetch_session_is_gone(number);
                Target::Decided
            }
            _ => Target::Leaders,
        }
    }

    fn fetches_stray(&mut self, number: u64, home: i32) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        let mut partitions = Vec::new();
        let body = slot.frame.get(slot.body_at..).unwrap_or_default();
        if fetch::scan_request(slot.version, body, &mut |row| {
            partitions.push((self.cluster.named(owned(row.topic)), row.partition));
        })
        .is_err()
        {
            return false;
        }
        let now = crate::time::now();
        partitions.iter().any(|key| self.is_stray(key, home, false, now))
    }

    /// The client's fetch session is gone: it will ask for everything again.
    pub(super) fn fetch_session_is_gone(&mut self, number: u64) {
        let Some(slot) = self.slot(number) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        let frame =
            fetch_session_gone().and_then(|a| wire::encode_response(FETCH, version, correlation, &a).ok());
        let answer =
            frame.map_or_else(|| Answer::Close("a Fetch answer can't be written".to_owned()), Answer::Frame);
        self.set_state(number, State::Done(answer));
    }

    /// The bound of a Fetch that waits as a whole is reached: an empty success, or the end of its session.
    pub(super) fn expire_fetch(&mut self, number: u64, now: Instant) {
        if self.fetch_head(number).is_some_and(|head| head.session_epoch > 0) {
            self.fetch_session_is_gone(number);
        } else if self.split(number, now) {
            self.settle_fetch(number);
            self.finish_split(number, now);
        }
    }

    /// The answer to a Fetch that went as it came.
    pub(super) fn on_fetched(&mut self, node: i32, number: u64, frame: Bytes, now: Instant) {
        let Some(slot) = self.slot(number) else { return };
        let version = slot.version;
        let body_at = wire::response_body_at(FETCH, version, &frame).unwrap_or(frame.len());
        let watermarks = &mut self.watermarks;
        let mut nearer = false;
        let head = fetch::scan_response(version, frame.get(body_at..).unwrap_or_default(), &mut |row| {
            if row.error_code == 0 {
                watermarks.note(row.topic, row.partition, row.high_watermark, node);
            }
            nearer |= row.preferred_read_replica >= 0;
        });
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(node, %error, "a broker's Fetch answer can't be read");
                self.set_state(
                    number,
                    State::Done(Answer::Close("a broker's answer can't be read".to_owned())),
                );
                return;
            }
        };
        if self.zone.answered(nearer, now) {
            tracing::info!(client = %self.client_id, "this client does not follow to the replicas of its zone: its fetches are left as they are");
        }
        if head.any_error && self.on_fetch_errors(node, number, &frame, body_at, now) {
            return;
        }
        if head.any_error || head.has_node_endpoints {
            match wire::decode_response(FETCH, version, &frame) {
                Ok((_, answer)) => {
                    if let Some(answer) = self.guarded(number, answer, &|_, _| Some(node), now) {
                        self.finish_fetch(number, answer);
                    }
                }
                Err(error) => self.set_state(number, State::Done(Answer::Close(error.to_string()))),
            }
        } else {
            if head.error_code != 0 {
                self.cluster.metrics.client_errors.kafka(head.error_code).inc();
            }
            self.set_state(number, State::Done(Answer::Frame(frame)));
        }
    }

    /// Partitions with errors: what is led elsewhere is asked for there. What a client must see may still be news of a
    /// leader or of a topic. Answers whether the request goes on.
    fn on_fetch_errors(
        &mut self,
        node: i32,
        number: u64,
        frame: &Bytes,
        body_at: usize,
        now: Instant,
    ) -> bool {
        let Some(head) = self.fetch_head(number) else { return false };
        let Some(slot) = self.slot(number) else { return false };
        let mut rows = Vec::new();
        let body = frame.get(body_at..).unwrap_or_default();
        let scanned = fetch::scan_response(slot.version, body, &mut |row| {
            if row.error_code != 0 {
                rows.push((owned(row.topic), row.partition, row.error_code));
            }
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
        let (op, lag) = (slot.op, now.saturating_duration_since(slot.arrived) < TOPIC_LAG);
        let (mut refused, mut outdated) = (Vec::new(), Vec::new());
        for (topic, partition, code) in rows {
            let absorbed = match op.absorbed(code) {
                Some(Absorb::TopicKnown) => lag && self.cluster.read(|view| view.knows(&topic, now)),
                Some(_) => true,
                // In an incremental session the offset is not in the request: asked for again, it is, and is looked into.
                None => code == OUT_OF_RANGE && head.session_epoch > 0,
            };
            if absorbed {
                refused.push((self.cluster.named(topic.clone()), partition, code));
            }
            if matches!(code, 3 | 6 | 74 | 75 | 100 | 103) {
                outdated.push(topic);
            }
        }
        if !outdated.is_empty() {
            // FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH: only clients that know of epochs see them, and settle them
            // themselves (KIP-320).
            self.cluster.want_topics(outdated, now);
        }
        if refused.is_empty() {
            return false;
        }
        if head.session_epoch <= 0 {
            let Some(mut split) = self.taken_apart(number, now) else { return true };
            let part = split.was_sent_whole();
            self.set_state(number, State::Split(Box::new(split)));
            self.on_part_answer(node, number, part, frame, now);
            return true;
        }
        // The places of its partitions are not in the request: the client is made to ask for everything again, and loses
        // nothing by it, since its positions have not moved.
        for (topic, partition, code) in refused {
            self.cluster.metrics.masked_errors.kafka(code).inc();
            if matches!(code, 5 | 6 | 9 | 56) {
                self.stray.add(topic, partition, now);
            }
        }
        self.refused_by(node, now);
        self.fetch_session_is_gone(number);
        true
    }

    /// The wait that the parts of a Fetch are sent with, in ms: what is left of the client's own.
    pub(super) fn fetch_wait(&self, number: u64, targets: &[Option<i32>], now: Instant) -> Option<i32> {
        let slot = self.slot(number).filter(|slot| slot.op.key == FETCH)?;
        let left = (slot.arrived + self.max_wait(number)).saturating_duration_since(now);
        let mut nodes = targets.iter().flatten();
        let first = nodes.next();
        let several = nodes.any(|node| Some(node) != first) || targets.iter().any(Option::is_none);
        let wait = if several { left.min(SHORT_WAIT) } else { left };
        i32::try_from(wait.as_millis()).ok()
    }

    /// Whether a Fetch in parts has something to give: records, a nearer replica, or an error that the client must see.
    pub(super) fn fetch_is_enough(&mut self, number: u64) -> bool {
        let Some(State::Split(split)) = self.slot_mut(number).map(|slot| &slot.state) else { return false };
        split.items().iter().filter_map(super::super::split::Item::answer).any(|answer| {
            answer.i16("error_code") != 0
                || answer.i32("preferred_read_replica") >= 0
                || answer.bytes_field("records").is_some_and(|records| !records.is_empty())
        })
    }

    /// Decides what a Fetch still waits for: an empty success, with the last known high watermark.
    pub(super) fn settle_fetch(&mut self, number: u64) {
        let Some(at) = self.at(number) else { return };
        let (watermarks, Some(message)) = (&self.watermarks, wire::response(FETCH)) else { return };
        let Some(State::Split(split)) = self.slots.get_mut(at).map(|slot| &mut slot.state) else { return };
        let shape = split.shape();
        split.settle_all(&mut |item| {
            let mut empty = error_for(shape, message, item.partition, 0);
            empty.set_i64("high_watermark", watermarks.last(&item.topic, item.partition));
            Judgement::Done(empty)
        });
    }
}
