//! The offset guard: a Fetch that is told `OFFSET_OUT_OF_RANGE` (1) around a change of leadership. A client that believes
//! it resets its position and reads everything again, or nothing of what is in between.
//!
//! The partition's leader is asked first ([`ranges`]). Where it has the offset, or can't be asked yet, the client gets an
//! empty success and fetches again; where it doesn't have it, the error is true and is passed on. Bounded: the same offset
//! is guarded so often, and for so long; after that the broker's word is passed on whatever the leader says.

use super::slot::{Answer, State};
use super::{FETCH, Session};
use crate::kafka::cluster::{Cluster, Doubtful, Range, TopicKey, ranges};
use crate::kafka::rewrite;
use crate::kafka::wire::{self, Struct, fetch};
use crate::metrics::GuardOutcome;
use crate::time::now;
use bytes::Bytes;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// `OFFSET_OUT_OF_RANGE`.
pub(super) const OUT_OF_RANGE: i16 = 1;
/// So often in a row the same offset is guarded.
const TIMES: u32 = 10;
/// For so long the same offset is guarded.
const AT_MOST: Duration = Duration::from_secs(60);
/// The pause before a client hears of a guarded offset, times how often it was guarded: the broker that was wrong has a
/// moment to catch up, and the client doesn't spin.
const REST: Duration = Duration::from_millis(50);

/// A partition whose offset has been guarded.
#[derive(Clone, Copy, Debug)]
struct Saved {
    offset: i64,
    since: Instant,
    times: u32,
}

impl Saved {
    fn is_spent(&self, now: Instant) -> bool {
        self.times >= TIMES || now.saturating_duration_since(self.since) >= AT_MOST
    }
}

type Asking = Pin<Box<dyn Future<Output = Vec<Range>> + Send>>;

/// An answer that is kept back while leaders are asked.
struct Check {
    slot: u64,
    answer: Struct,
    doubtful: Vec<Doubtful>,
    asking: Asking,
}

/// What is guarded of one client connection.
#[derive(Default)]
pub(super) struct Guard {
    checks: Vec<Check>,
    saved: HashMap<(TopicKey, i32), Saved>,
}

impl Session {
    /// Keeps an answer back whose errors (1) are to be looked into, if there are any. `said_by`: who answered for a
    /// partition. Answers what is not kept back.
    pub(super) fn guarded(
        &mut self,
        number: u64,
        answer: Struct,
        said_by: &dyn Fn(&TopicKey, i32) -> Option<i32>,
        now: Instant,
    ) -> Option<Struct> {
        let Some(slot) = self.slot(number) else { return Some(answer) };
        let (version, arrived) = (slot.version, slot.arrived);
        let mut offsets = HashMap::new();
        let body = slot.frame.get(slot.body_at..).unwrap_or_default();
        let scanned = fetch::scan_request(version, body, &mut |row| {
            offsets.insert((super::produce::owned(row.topic), row.partition), row.fetch_offset);
        });
        let mut doubtful = Vec::new();
        for (topic, partition) in out_of_range(&answer) {
            let (Some(&offset), Some(said_by)) =
                (offsets.get(&(topic.clone(), partition)), said_by(&topic, partition))
            else {
                continue;
            };
            let known = self.guard.saved.get(&(self.cluster.named(topic.clone()), partition));
            if known.is_some_and(|saved| saved.offset == offset && saved.is_spent(now)) {
                self.cluster.metrics.kafka_offset_guard.inc(GuardOutcome::Spent);
                continue;
            }
            let read_from = self.watermarks.read_from(&topic, partition);
            doubtful.push(Doubtful { topic, partition, offset, said_by, read_from });
        }
        if doubtful.is_empty() || scanned.is_err() {
            return Some(answer);
        }
        let times = doubtful.iter().filter_map(|one| {
            self.guard
                .saved
                .get(&(self.cluster.named(one.topic.clone()), one.partition))
                .map(|saved| saved.times)
        });
        let rest = REST * (1 + times.max().unwrap_or(0));
        let until = (arrived + self.max_wait(number)).max(now + REST);
        let asking = ask(Arc::clone(&self.cluster), doubtful.clone(), now, until, rest);
        self.guard.checks.push(Check { slot: number, answer, doubtful, asking: Box::pin(asking) });
        // Nothing is due for it any more, and nothing is to be done about it.
        self.set_state(number, State::Sent);
        None
    }

    /// Leaders have answered, or could not be asked in time.
    pub(super) fn poll_guard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut done = Vec::new();
        let mut at = 0;
        while let Some(check) = self.guard.checks.get_mut(at) {
            match check.asking.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(found) => done.push((self.guard.checks.swap_remove(at), found)),
            }
        }
        let moved = !done.is_empty();
        for (Check { slot, mut answer, doubtful, .. }, found) in done {
            for (one, range) in doubtful.iter().zip(found) {
                if self.is_guarded(one, range) {
                    let told = self.watermarks.last(&one.topic, one.partition);
                    let high_watermark = match range {
                        Range::Known { latest, .. } if told < 0 => latest,
                        _ => told,
                    };
                    make_empty(&mut answer, one, high_watermark);
                }
            }
            self.finish_fetch(slot, answer);
        }
        moved
    }

    /// What becomes of one partition: whether its error is kept from the client.
    fn is_guarded(&mut self, one: &Doubtful, range: Range) -> bool {
        let now = now();
        let outcome = match range {
            Range::Settled => GuardOutcome::Settled,
            Range::Unknown => GuardOutcome::Unknown,
            Range::Known { first, end, .. } if (first..=end).contains(&one.offset) => GuardOutcome::Valid,
            Range::Known { .. } => GuardOutcome::OutOfRange,
        };
        self.cluster.metrics.kafka_offset_guard.inc(outcome);
        let key = (self.cluster.named(one.topic.clone()), one.partition);
        let guarded = matches!(outcome, GuardOutcome::Valid | GuardOutcome::Unknown);
        let topic = one.topic.to_string();
        tracing::info!(
            client = %self.client_id, topic, partition = one.partition, offset = one.offset, node = one.said_by,
            leader_says = ?range, passed_on = !guarded, "a broker calls an offset out of range"
        );
        if guarded {
            self.cluster.metrics.masked_errors.kafka(OUT_OF_RANGE).inc();
        } else {
            self.guard.saved.remove(&key);
            return false;
        }
        self.guard.saved.retain(|_, saved| now.saturating_duration_since(saved.since) < 2 * AT_MOST);
        let saved = self.guard.saved.entry(key).or_insert(Saved { offset: one.offset, since: now, times: 0 });
        if saved.offset != one.offset {
            *saved = Saved { offset: one.offset, since: now, times: 0 };
        }
        // What can't be found out is bounded by its time alone: an election takes longer than ten fetches.
        saved.times += u32::from(outcome == GuardOutcome::Valid);
        true
    }

    /// Gives a Fetch answer that was decoded to the client.
    pub(super) fn finish_fetch(&mut self, number: u64, mut answer: Struct) {
        let Some(slot) = self.slot(number) else { return };
        let (version, correlation) = (slot.version, slot.correlation);
        rewrite::node_endpoints(&mut answer, &self.doors());
        self.count_errors(&answer);
        let answer = wire::encode_response(FETCH, version, correlation, &answer).map_or_else(
            |error| Answer::Close(format!("a Fetch answer can't be written: {error}")),
            Answer::Frame,
        );
        self.set_state(number, State::Done(answer));
    }
}

async fn ask(
    cluster: Arc<Cluster>,
    doubtful: Vec<Doubtful>,
    since: Instant,
    until: Instant,
    rest: Duration,
) -> Vec<Range> {
    let found = ranges(&cluster, &doubtful, since, until).await;
    if found.iter().any(|range| matches!(range, Range::Known { .. } | Range::Unknown)) {
        tokio::time::sleep_until((since + rest).min(until).into()).await;
    }
    found
}

fn key(topic: &Struct) -> TopicKey {
    match topic.uuid("topic_id") {
        wire::uuid::ZERO => TopicKey::Name(topic.bytes_field("topic").cloned().unwrap_or_default()),
        id => TopicKey::Id(id),
    }
}

fn out_of_range(answer: &Struct) -> Vec<(TopicKey, i32)> {
    let mut found = Vec::new();
    for topic in answer.structs("responses") {
        let rows = topic.structs("partitions").filter(|row| row.i16("error_code") == OUT_OF_RANGE);
        found.extend(rows.map(|row| (key(topic), row.i32("partition_index"))));
    }
    found
}

/// An empty success for one partition, with the last high watermark that its client was told.
fn make_empty(answer: &mut Struct, one: &Doubtful, high_watermark: i64) {
    for topic in answer.structs_mut("responses") {
        if key(topic) != one.topic {
            continue;
        }
        for row in topic.structs_mut("partitions").filter(|row| row.i32("partition_index") == one.partition) {
            row.set_i16("error_code", 0);
            row.set_i64("high_watermark", high_watermark);
            row.set_bytes("records", Some(Bytes::new()));
        }
    }
}
