//! Holding: a request that can't go on keeps its place, within its bound, and is accounted for.

use super::slot::{Answer, Slot, State, Trouble};
use super::unknown::{Action, Doubt};
use super::{FETCH, METADATA, PRODUCE, Session};
use crate::kafka::honest;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::operations::{Route, Unknown};
use crate::kafka::patience::{hold_bound, line_bound, millis};
use crate::kafka::split::{Judgement, Refusal, error_for};
use crate::kafka::wire::{self, produce};
use crate::metrics::{ClusterMetrics, HoldEnd, HoldTrigger, Library, ReleaseOutcome};
use rand::RngExt;
use std::time::{Duration, Instant};

/// `JoinGroup`: the broker answers it when all members have joined.
const JOIN_GROUP: i16 = 11;

/// Ends a wait whose bound is reached, in the book and in the metrics; answers how long it was.
fn expire_ticket(trouble: &mut Trouble, metrics: &ClusterMetrics, now: Instant) -> Duration {
    let Some(ticket) = trouble.ticket.take() else { return Duration::ZERO };
    let waited = ticket.expire(now);
    metrics.hold_requests.dec();
    metrics.hold_ended.inc(HoldEnd::Expired);
    metrics.hold_seconds.observe(waited.as_secs_f64());
    waited
}

/// What the client is told of a batch whose bound is reached, where `code` is the true error. librdkafka sends a batch that
/// was refused for want of its leader again whatever its retries are set to, behind those that it has sent since: out of order.
/// Its request did time out, and of that error it makes what its user has configured.
fn expired_produce(library: Library, code: i16) -> i16 {
    if library == Library::Librdkafka && matches!(code, 5 | 6) { honest::REQUEST_TIMED_OUT } else { code }
}

impl Session {
    /// What went wrong with a request, from now on. Its bound is set when the trouble begins, from when it arrived.
    pub(super) fn trouble(&mut self, number: u64, now: Instant) -> Option<&mut Trouble> {
        let settings = self.cluster.settings();
        let library = self.library;
        let slot = self.slot_mut(number)?;
        if slot.trouble.is_none() {
            let (version, own_timeout) = (slot.version, slot.own_timeout);
            let body = slot.frame.get(slot.body_at..).unwrap_or_default();
            // Of a Produce the first few bytes say it; thousands may come to be held at once.
            let head = slot.is_produce().then(|| produce::request_head(version, body).ok()).flatten();
            let request = if head.is_some() { None } else { wire::decode_request(&slot.frame).ok() };
            let ms = |name: &str| {
                let request = request.as_ref().map(|(_, request)| request);
                let field = request.filter(|request| request.has_in(name, version)).map(|r| r.i32(name));
                field.or(head.filter(|_| name == "timeout_ms").map(|head| head.timeout_ms)).and_then(millis)
            };
            let own = own_timeout.map_or_else(|| ms("timeout_ms"), millis);
            let mut bound = hold_bound(library, own, settings.hold.max);
            let line = if head.is_some() { line_bound(library, own, settings.hold.max) } else { bound };
            if slot.op.key == JOIN_GROUP {
                // The library waits for the others too before it gives the request up.
                bound += ms("rebalance_timeout_ms").unwrap_or_default();
            }
            slot.trouble = Some(Box::new(Trouble {
                ticket: None,
                deadline: slot.arrived + bound,
                last_call: slot.arrived + bound.max(line),
                refused: None,
                not_before: now,
                losses: 0,
                refusals: 0,
                replayed: false,
                last: None,
            }));
        }
        slot.trouble.as_deref_mut()
    }

    /// When a request in trouble must be decided, one way or the other. A Produce that stands in line behind others of its partitions has
    /// its bound from the last of them that landed, so that a backlog which moves, however slowly, fails nobody who would wait for it. Of
    /// several partitions the one counts that has waited for longest, or a later request for that one alone would be decided earlier. What
    /// waits for another connection of its client's is decided after what it waits for, which arrived earlier and has a bound of its own; what lies unread there is waited for
    /// for a third of that time at most.
    pub(super) fn deadline(&self, slot: &Slot) -> Option<Instant> {
        let Trouble { deadline, last_call, .. } = **slot.trouble.as_ref()?;
        if last_call <= deadline {
            return Some(deadline);
        }
        if !slot.barriers.is_empty() {
            return Some(last_call);
        }
        let undecided = |at: usize| match &slot.state {
            State::Split(split) => split.items().get(at).is_some_and(|item| !item.is_done()),
            _ => true,
        };
        let lanes = slot.lanes().iter().enumerate().filter(|(at, _)| undecided(*at));
        let bound = deadline.saturating_duration_since(slot.arrived);
        let of = |lane| {
            self.lanes.moved(lane).map_or(deadline, |moved| (moved + bound).clamp(deadline, last_call))
        };
        Some(lanes.map(|(_, lane)| of(*lane)).min().unwrap_or(deadline))
    }

    /// A request begins to be held, or goes on being held.
    pub(super) fn hold(&mut self, number: u64, trigger: HoldTrigger, now: Instant) {
        let ledger = std::sync::Arc::clone(&self.cluster.ledger);
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        let Some(trouble) = self.trouble(number, now) else { return };
        if trouble.ticket.is_none() {
            trouble.ticket = Some(ledger.hold(now));
            metrics.hold_started.inc(trigger);
            metrics.hold_requests.inc();
            if let Some(slot) = self.slot_mut(number) {
                slot.compact();
            }
        }
    }

    /// A held request is on its way again, or decided.
    pub(super) fn release(&mut self, number: u64, now: Instant, outcome: Option<ReleaseOutcome>) {
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        let deadline = self.slot(number).and_then(|slot| self.deadline(slot));
        let trouble = self.slot_mut(number).and_then(|slot| slot.trouble.as_deref_mut());
        let Some((deadline, trouble)) = deadline.zip(trouble) else { return };
        if let Some(ticket) = trouble.ticket.take() {
            if made(Mistake::TicketLost) {
                std::mem::forget(ticket);
                return;
            }
            let waited = ticket.release(now);
            metrics.hold_requests.dec();
            metrics.hold_ended.inc(HoldEnd::Released);
            metrics.hold_seconds.observe(waited.as_secs_f64());
            metrics.hold_headroom_seconds.observe(deadline.saturating_duration_since(now).as_secs_f64());
        }
        if let Some(outcome) = outcome {
            metrics.hold_released.inc(outcome);
        }
    }

    /// A pause that grows with each refusal of the same request, with jitter.
    pub(super) fn pause(&mut self, number: u64, now: Instant, first: Duration) -> Instant {
        let jitter = self.rng.random::<f64>() + 0.5;
        let Some(trouble) = self.trouble(number, now) else { return now };
        let grown = first.saturating_mul(1 << trouble.refusals.min(4)).min(Duration::from_millis(250));
        trouble.refusals += 1;
        now + grown.mul_f64(jitter)
    }

    /// A node refused a whole request: it waits for a better one.
    pub(super) fn refuse(&mut self, number: u64, node: i32, code: i16, now: Instant) {
        self.cluster.metrics.masked_errors.kafka(code).inc();
        let not_before = self.pause(number, now, Duration::from_millis(10));
        if let Some(trouble) = self.trouble(number, now) {
            let news = trouble.refused.is_none_or(|before| before.node != node);
            trouble.refused = Some(Refusal { node, at: now });
            trouble.not_before = not_before;
            if news {
                self.cluster.news();
            }
        }
        if matches!(code, 6 | 16) {
            self.refused_by(node, now);
        }
        let trigger = match code {
            14..=16 => HoldTrigger::Coordinator,
            41 => HoldTrigger::Controller,
            7 | 19 => HoldTrigger::Capacity,
            _ => HoldTrigger::Leader,
        };
        self.set_state(number, State::Waiting);
        self.hold(number, trigger, now);
    }

    /// The bound of a request is reached: the client gets the true error that there is.
    pub(super) fn expire(&mut self, number: u64, now: Instant) {
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        let Some(slot) = self.slot_mut(number) else { return };
        let (op, key, version, correlation) = (slot.op, slot.op.key, slot.version, slot.correlation);
        let silent = slot.silent;
        let mut waited = Duration::ZERO;
        let mut last = None;
        if let Some(trouble) = slot.trouble.as_deref_mut() {
            last = trouble.last.take();
            waited = expire_ticket(trouble, &metrics, now);
        }
        let name = wire::api_name(key);
        tracing::warn!(client = %self.client_id, api = name, ?waited, "the bound of a held request is reached");
        if let Some(slot) = self.slot(number).filter(|slot| slot.stamped) {
            let body = slot.frame.slice(slot.body_at.min(slot.frame.len())..);
            self.injection.end_whole(version, &body);
        }
        if silent {
            // With acks=0 no answer is expected: one would be taken for that of the next request.
            self.slot(number)
                .into_iter()
                .for_each(|slot| self.drop_whole(slot, honest::LEADER_NOT_AVAILABLE));
            self.set_state(number, State::Done(Answer::Nothing));
            return;
        }
        if key == FETCH {
            self.expire_fetch(number, now);
            return;
        }
        if key == METADATA
            && let Some(frame) = last
        {
            self.answer_metadata(number, &frame, now);
            return;
        }
        if let Some(frame) = last {
            self.count_errors_in(key, version, &frame);
            self.set_state(number, State::Done(Answer::Frame(frame)));
            return;
        }
        let code = match (op.unknown, op.route) {
            _ if key == PRODUCE => expired_produce(self.library, honest::LEADER_NOT_AVAILABLE),
            (Unknown::Settle(code), _) => code,
            (_, Route::Group(_) | Route::Transaction(_)) => honest::COORDINATOR_NOT_AVAILABLE,
            _ => honest::LEADER_NOT_AVAILABLE,
        };
        let answer = self.slot_mut(number).and_then(|slot| {
            let (_, request) = wire::decode_request(&slot.frame).ok()?;
            let answer = honest::error(key, version, &request, code)?;
            wire::encode_response(key, version, correlation, &answer).ok()
        });
        let answer = if let Some(frame) = answer {
            metrics.client_errors.kafka(code).inc();
            Answer::Frame(frame)
        } else {
            metrics.client_errors.disconnected().inc();
            Answer::Close(format!("no broker could answer {name} within the hold's bound"))
        };
        self.set_state(number, State::Done(answer));
    }

    /// The bound of a split request is reached: what was refused gets its true error, what may have been applied the
    /// error that says so, a Fetch an empty success.
    pub(super) fn expire_split(&mut self, number: u64, now: Instant) {
        let metrics = std::sync::Arc::clone(&self.cluster.metrics);
        let (library, mut doubts, mut ended) = (self.library, Vec::new(), Vec::new());
        let mut dropped = Vec::new();
        let Some(slot) = self.slot_mut(number) else { return };
        let Some(message) = wire::response(slot.op.key) else { return };
        if let Some(trouble) = slot.trouble.as_deref_mut() {
            expire_ticket(trouble, &metrics, now);
        }
        let (stamped, produce, silent) = (slot.stamped, slot.is_produce(), slot.silent);
        let State::Split(split) = &mut slot.state else { return };
        let shape = split.shape();
        split.settle(&mut |item| {
            if !item.doubt && produce && (stamped || item.counted) {
                ended.push((Doubt::of(item), item.restamp));
            }
            let code = if item.doubt {
                doubts.push(Doubt::of(item));
                honest::REQUEST_TIMED_OUT
            } else if matches!(item.code, 45 | 47 | 59) && (stamped || item.counted) {
                // About a sequence that its client knows nothing of. It proves that the batch is not in the log.
                honest::LEADER_NOT_AVAILABLE
            } else if item.code != 0 {
                item.code
            } else {
                honest::LEADER_NOT_AVAILABLE
            };
            let code = if produce { expired_produce(library, code) } else { code };
            if !silent {
                metrics.client_errors.kafka(code).inc();
            } else if !item.doubt {
                dropped.push((Doubt::of(item), Action::Dropped(code)));
            }
            Judgement::Done(error_for(shape, message, item.partition, code))
        });
        for (batch, behind_gap) in ended {
            let (topic, partition, records) = batch.batch();
            self.injection.end(topic, partition, records, behind_gap);
        }
        for doubt in doubts {
            let (topic, partition, records) = doubt.batch();
            self.injection.give_up(topic, partition, records);
            let why = "its bound was reached before a replay could settle it";
            let told = Action::Told(honest::REQUEST_TIMED_OUT);
            self.unknown_batch(&doubt, if silent { Action::Swallowed } else { told }, why);
        }
        for (batch, action) in dropped {
            self.unknown_batch(&batch, action, "its bound was reached before it could be written");
        }
    }
}
