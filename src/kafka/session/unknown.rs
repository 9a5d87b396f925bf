//! Unknown outcomes, told: one log line for each, so that people can reconcile what an application believes with what is
//! in the log.
//!
//! A request was written and never answered, or its answer says that it was applied before its leader stepped down. The
//! line comes when Evenkeel is done with it: with what is known by then. All have the target [`TARGET`] and the message
//! "unknown outcome"; `action` says what became of it. Only told here: what is done is decided in `lost`, `judge`, `produce`.

use super::Session;
use super::slot::{Answer, Slot, State};
use crate::kafka::cluster::TopicKey;
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::operations::Unknown;
use crate::kafka::split::Item;
use crate::kafka::wire::{self, Struct, batch, errors};
use crate::metrics::UnknownAction;
use crate::time::now;
use bytes::Bytes;

/// What every line is filtered by.
pub(super) const TARGET: &str = "evenkeel::unknown_outcome";

/// What became of a request whose outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Sent again, and answered without an error; the base offset of a batch.
    Landed(Option<i64>),
    /// Sent again, and a broker said that it had had it before (46).
    Recognised,
    /// Sent again, and refused with this error, which the client was given, if it waits for an answer.
    Refused(i16),
    /// Sent again, and proved not to be in the log: it goes on under the next epoch.
    Gap(i16),
    /// The client was told so with this error.
    Told(i16),
    /// Nobody waits for an answer (acks=0, or the client is gone).
    Swallowed,
    /// Nobody does (acks=0), and it is known what became of it: refused with this error (0: with none), or never sent.
    Dropped(i16),
    /// The client's connection is closed.
    Disconnected,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Landed(_) | Self::Recognised => "landed",
            Self::Refused(_) => "refused",
            Self::Gap(_) => "not_in_log",
            Self::Told(_) => "told",
            Self::Swallowed => "swallowed",
            Self::Dropped(_) => "dropped",
            Self::Disconnected => "disconnected",
        }
    }

    fn code(self) -> Option<i16> {
        match self {
            Self::Refused(code) | Self::Gap(code) | Self::Told(code) | Self::Dropped(code) => {
                Some(code).filter(|code| *code != 0)
            }
            Self::Landed(_) | Self::Recognised | Self::Swallowed | Self::Disconnected => None,
        }
    }

    /// Whether the client is left with it.
    const fn is_open(self) -> bool {
        !matches!(self, Self::Landed(_) | Self::Recognised | Self::Gap(_))
    }
}

/// A batch whose outcome is or was unknown.
#[derive(Debug)]
pub(super) struct Doubt {
    topic: TopicKey,
    partition: i32,
    records: Option<Bytes>,
    appended: Option<i64>,
}

impl Doubt {
    /// The batch of a partition.
    pub(super) fn of(item: &Item) -> Self {
        Self {
            topic: item.topic.clone(),
            partition: item.partition,
            records: item.request.bytes_field("records").cloned(),
            appended: item.appended,
        }
    }

    /// A batch that was not taken apart.
    pub(super) fn of_records(topic: TopicKey, partition: i32, records: Option<Bytes>) -> Self {
        Self { topic, partition, records, appended: None }
    }

    /// Its topic, partition and records.
    pub(super) fn batch(&self) -> (&TopicKey, i32, Option<&Bytes>) {
        (&self.topic, self.partition, self.records.as_ref())
    }
}

/// What there is to say of a batch that has been decided: the broker said `code` with the offset `appended_at`, and
/// `answer` is what its client gets, or would get if it were not `silent`.
pub(super) fn decided(
    item: &Item,
    answer: &Struct,
    code: i16,
    appended_at: i64,
    silent: bool,
) -> Option<(Doubt, Action, &'static str)> {
    let passed = answer.i16("error_code");
    if passed == REQUEST_TIMED_OUT && code != 0 && code != REQUEST_TIMED_OUT {
        let why = "appended, then leadership moved while it waited for followers";
        let action = if silent { Action::Swallowed } else { Action::Told(passed) };
        return Some((Doubt { appended: Some(appended_at), ..Doubt::of(item) }, action, why));
    }
    if silent && passed != 0 && !item.doubt {
        return Some((Doubt::of(item), Action::Dropped(passed), "a broker refused it"));
    }
    let action = match (passed, code) {
        (0, 0) => Action::Landed(Some(answer.i64("base_offset"))),
        (0, _) => Action::Recognised,
        (passed, _) => Action::Refused(passed),
    };
    item.doubt.then(|| (Doubt::of(item), action, "a broker answered the repeat"))
}

impl Session {
    /// One line for a batch.
    pub(super) fn unknown_batch(&self, doubt: &Doubt, action: Action, why: &str) {
        self.count_unknown(action);
        // Of clients that call topics by their id only: its name, if it has been seen.
        let topic = self.cluster.named(doubt.topic.clone()).to_string();
        let header = doubt.records.as_ref().and_then(|records| batch::headers(records).next());
        let sequenced = header.filter(batch::BatchHeader::is_sequenced);
        let last = sequenced.map(|header| {
            (i64::from(header.base_sequence) + i64::from(header.last_offset_delta)) % (1 << 31)
        });
        let offset = match action {
            Action::Landed(offset) => offset.filter(|offset| *offset >= 0),
            _ => None,
        };
        let repeat = match (action, offset, doubt.appended) {
            (Action::Recognised, ..) => Some(true),
            (_, Some(offset), Some(appended)) => Some(offset == appended),
            _ => None,
        };
        let settings = self.cluster.settings();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    cluster = settings.kafka.name,
                    client = %self.client_id,
                    peer = self.peer.map(tracing::field::display),
                    library = self.library.as_str(),
                    api = wire::api_name(super::PRODUCE),
                    topic,
                    partition = doubt.partition,
                    producer_id = sequenced.map(|header| header.producer_id),
                    producer_epoch = sequenced.map(|header| header.producer_epoch),
                    first_sequence = sequenced.map(|header| header.base_sequence),
                    last_sequence = last,
                    records = header.map(|header| i64::from(header.last_offset_delta) + 1),
                    offset,
                    first_offset = doubt.appended,
                    repeat,
                    action = action.word(),
                    code = action.code(),
                    error = action.code().map(errors::name),
                    why,
                    "unknown outcome"
                )
            };
        }
        if action.is_open() { line!(warn) } else { line!(info) }
    }

    /// One line for a request that is no Produce.
    pub(super) fn unknown_request(&self, slot: &Slot, action: Action, why: &str) {
        self.count_unknown(action);
        let request = wire::decode_request(&slot.frame).ok().map(|(_, request)| request);
        let text = |field: &str| {
            let request = request.as_ref().filter(|request| request.has(field))?;
            request.str(field).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = |field: &str| {
            let request = request.as_ref().filter(|request| request.has_in(field, slot.version))?;
            match request.get(field)? {
                wire::Value::I64(number) => Some(*number),
                wire::Value::I32(number) => Some(i64::from(*number)),
                wire::Value::I16(number) => Some(i64::from(*number)),
                _ => None,
            }
        };
        let (group, member) = (text("group_id"), text("member_id"));
        let transactional_id = text("transactional_id").or_else(|| text("v3_and_below_transactional_id"));
        let settings = self.cluster.settings();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    cluster = settings.kafka.name,
                    client = %self.client_id,
                    peer = self.peer.map(tracing::field::display),
                    library = self.library.as_str(),
                    api = wire::api_name(slot.op.key),
                    group,
                    member,
                    transactional_id,
                    producer_id = number("producer_id"),
                    producer_epoch = number("producer_epoch"),
                    action = action.word(),
                    code = action.code(),
                    error = action.code().map(errors::name),
                    why,
                    "unknown outcome"
                )
            };
        }
        // A repeat that changes nothing leaves nothing to reconcile.
        let harmless = slot.op.unknown == Unknown::Replay && !matches!(action, Action::Disconnected);
        match (action.is_open(), harmless) {
            (_, true) => line!(debug),
            (true, false) => line!(warn),
            (false, false) => line!(info),
        }
    }

    /// A request that had been sent again has been decided: what the client is given.
    pub(super) fn unknown_settled(&self, slot: &Slot) {
        let frame = match &slot.state {
            State::Done(Answer::Frame(frame) | Answer::Leaders(frame, _)) => frame,
            State::Done(Answer::Close(_)) => {
                self.unknown_request(slot, Action::Disconnected, "nothing settled it within its bound");
                return;
            }
            _ => return, // its client is gone, which has been told
        };
        let mut code = 0;
        if let Ok((_, answer)) = wire::decode_response(slot.op.key, slot.version, frame) {
            answer.visit_errors(&mut |found| code = if code == 0 { found } else { code });
        }
        let expired = self.deadline(slot).is_some_and(|deadline| deadline <= now());
        let action = match code {
            0 => Action::Landed(None),
            _ if expired => Action::Told(code),
            _ => Action::Refused(code),
        };
        self.unknown_request(slot, action, "what the repeat came to");
    }

    /// What of a slot is left in doubt when nobody waits for it any more.
    pub(super) fn unknown_abandoned(&self, slot: &Slot) {
        let why = "its client is gone";
        match &slot.state {
            State::Done(_) => {}
            State::Split(split) if slot.is_produce() => {
                for item in split.items().iter().filter(|item| item.doubt && item.is_waiting()) {
                    self.unknown_batch(&Doubt::of(item), Action::Swallowed, why);
                }
            }
            _ if slot.is_replayed() => self.unknown_request(slot, Action::Swallowed, why),
            _ => {}
        }
    }

    /// What is left in doubt when a session ends.
    pub(super) fn unknown_left(&self) {
        for slot in &self.slots {
            if slot.silent { self.silent_left(slot) } else { self.unknown_abandoned(slot) }
        }
    }

    fn count_unknown(&self, action: Action) {
        let counted = match action {
            Action::Told(_) | Action::Disconnected => UnknownAction::Error,
            Action::Swallowed => UnknownAction::Swallowed,
            Action::Dropped(_) => UnknownAction::Dropped,
            // Counted when they were sent again.
            Action::Landed(_) | Action::Recognised | Action::Refused(_) | Action::Gap(_) => return,
        };
        self.cluster.metrics.unknown_outcomes.inc(counted);
    }
}
