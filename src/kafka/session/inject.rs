//! Injected producer identity: a producer that has none is given one, and each of its batches a sequence, so that a broker
//! recognises the repeat of a batch whose answer was lost.
//!
//! One producer id for each client connection (another for topics that go by their id); its epoch is bumped for a partition
//! when a gap shows that a predecessor is gone. A sequence is assigned when a batch is first sent. At most five batches of a partition
//! are undecided at a time, since a broker remembers five. A batch is stamped in place and its checksum corrected from the
//! changed bytes: the records are not read, and a batch that arrived corrupt stays corrupt.

mod fate;
mod left;
mod raise;
mod sequence;
mod successor;

use super::slot::Raised;
use crate::config::{Idempotence, RaiseAcks};
use crate::kafka::cluster::{Cluster, Fetched, Producer, TopicKey};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::split::Item;
use crate::kafka::wire::{TopicRef, batch, produce};
use bytes::{Bytes, BytesMut};
use raise::Goes;
pub(super) use raise::is_ours;
use sequence::Sequence;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use successor::{patiently, strip, successor};

/// How many batches of a producer a broker remembers for each partition.
pub(super) const REMEMBERED: u32 = 5;
/// Produce versions from this one on carry record batches of format 2.
const WITH_BATCHES: i16 = 3;
/// Produce versions from this one on call topics by their id.
const BY_ID: i16 = 13;
/// How long a producer waits for its id before its batches pass as they are.
const PATIENCE: Duration = Duration::from_secs(5);

/// What stamping a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamped {
    /// Nothing in it is ours to stamp: it passes as it is.
    AsItIs,
    /// Stamped, and perhaps raised.
    Yes {
        /// What became of its acks.
        raised: Raised,
        /// The client's own time-out, in milliseconds, where another was written into the request.
        own_timeout: Option<i32>,
    },
    /// Not now: no producer id yet, or five batches of a partition are undecided.
    Wait,
}

/// What one client connection's producer is stamped with.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is known of it by itself")]
pub(super) struct Injection {
    session: u64,
    on: bool,
    /// For topics that are named.
    named: Option<Producer>,
    /// For topics that go by their id. A client may call the same topic both ways on one connection, and the two count
    /// their sequences apart.
    by_id: Option<Producer>,
    raise: RaiseAcks,
    said_raised: bool,
    /// How many topics had been made anew when that was last looked at.
    anew: u64,
    /// Since when an id has been wanted.
    asked: Option<Instant>,
    /// By topic (its name, or the bytes of its id) and partition.
    sequences: HashMap<Box<[u8]>, HashMap<i32, Sequence>>,
    /// Some sequence may be open: only then what lands is looked at, where nothing else asks for it.
    open: bool,
    /// Batches to stamp: where, how long, and with what. Kept for its capacity.
    plan: Vec<(usize, usize, Producer, i32)>,
}

fn topic_bytes<'a>(topic: &'a TopicRef<'_>) -> &'a [u8] {
    match topic {
        TopicRef::Name(name) => name,
        TopicRef::Id(id) => id,
    }
}

fn key_bytes(topic: &TopicKey) -> &[u8] {
    match topic {
        TopicKey::Name(name) => name,
        TopicKey::Id(id) => id,
    }
}

fn is_by_id(topic: &TopicKey) -> bool {
    matches!(topic, TopicKey::Id(_))
}

/// Bytes that can be changed: the same if nobody else sees them, else a copy.
pub(super) fn own(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// The one batch of format 2 without a producer id that these records are; nothing if they are anything else.
fn bare(records: &[u8]) -> Option<batch::BatchHeader> {
    let mut headers = batch::headers(records);
    let only = headers.next()?;
    let alone = headers.next().is_none() && headers.rest() == 0;
    let plain = only.magic == 2 && only.producer_id == -1 && !only.is_transactional() && !only.is_control();
    (alone && plain && only.last_offset_delta >= 0).then_some(only)
}

fn of_header(header: &batch::BatchHeader) -> Producer {
    Producer { id: header.producer_id, epoch: header.producer_epoch }
}

/// The producer id and epoch that records carry, or none.
pub(super) fn producer_of(records: Option<&Bytes>) -> Producer {
    let first = records.and_then(|records| batch::headers(records).next());
    first.filter(|header| header.producer_id >= 0).map_or(Producer::NONE, |header| of_header(&header))
}

/// The sequence behind a batch: they wrap at 2³¹ to 0.
pub(super) fn after(base: i32, last_offset_delta: i32) -> i32 {
    let next = i64::from(base) + i64::from(last_offset_delta) + 1;
    i32::try_from(next % (1 << 31)).unwrap_or(0)
}

impl Injection {
    pub(super) fn new(session: u64, idempotence: Idempotence, raise: RaiseAcks) -> Self {
        Self {
            session,
            on: idempotence == Idempotence::Inject,
            named: None,
            by_id: None,
            raise,
            said_raised: false,
            anew: 0,
            asked: None,
            sequences: HashMap::new(),
            open: false,
            plan: Vec::new(),
        }
    }

    /// Whether producers of this connection are given an identity.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether it was said that this client's acks are raised; it counts as said from now on.
    pub(super) fn said_raised(&mut self) -> bool {
        std::mem::replace(&mut self.said_raised, true)
    }

    /// Whether it is on and a broker has not handed out the id yet that requests of this version need.
    pub(super) fn lacks_id(&self, version: i16) -> bool {
        self.on && self.identity(version >= BY_ID).is_none()
    }

    /// Topics made anew have no memory of producers. It isn't kept here which: a batch that goes alone costs little.
    fn renew(&mut self, cluster: &Cluster) {
        let anew = cluster.topics_made_anew();
        if self.anew != anew {
            self.anew = anew;
            self.sequences.values_mut().flat_map(HashMap::values_mut).for_each(Sequence::open_again);
        }
    }

    /// The sequence of a partition that has one. `topic`: its name, or the bytes of its id.
    fn known(&self, topic: &[u8], partition: i32) -> Option<&Sequence> {
        self.sequences.get(topic)?.get(&partition)
    }

    fn known_mut(&mut self, topic: &[u8], partition: i32) -> Option<&mut Sequence> {
        self.sequences.get_mut(topic)?.get_mut(&partition)
    }

    fn identity(&self, by_id: bool) -> Option<Producer> {
        if by_id { self.by_id } else { self.named }
    }

    fn producer(&mut self, by_id: bool, cluster: &Cluster, now: Instant) -> Fetched {
        if let Some(producer) = self.identity(by_id) {
            return Fetched::Producer(producer);
        }
        let fetched = cluster.fetch_producer(self.session);
        match fetched {
            Fetched::Producer(producer) => {
                *(if by_id { &mut self.by_id } else { &mut self.named }) = Some(producer);
            }
            Fetched::Denied => self.on = false,
            Fetched::Wait => {}
        }
        patiently(fetched, &mut self.asked, now)
    }

    /// Stamps a request that is about to be sent for the first time, in place.
    pub(super) fn stamp(
        &mut self,
        cluster: &Cluster,
        version: i16,
        body_at: usize,
        frame: &mut BytesMut,
        now: Instant,
    ) -> Stamped {
        if !self.on || version < WITH_BATCHES {
            return Stamped::AsItIs;
        }
        self.renew(cluster);
        let body = frame.get(body_at..).unwrap_or_default();
        let (mut some, mut all, mut room, mut lowered) = (false, true, true, false);
        let head = produce::scan_request(version, body, &mut |row| {
            let ours = row.records.and_then(bare).is_some();
            all &= ours;
            if ours {
                some = true;
                let known = self.known(topic_bytes(&row.topic), row.partition);
                room &= known.is_none_or(|sequence| !sequence.is_full());
                lowered |= known.is_some_and(|sequence| sequence.is_lowered(now));
            }
        });
        let Ok(head) = head else { return Stamped::AsItIs };
        if !some || head.transactional || (head.acks == 0 && !(all && self.raises_silent())) {
            return Stamped::AsItIs;
        }
        if !room {
            return Stamped::Wait;
        }
        let producer = match self.producer(version >= BY_ID, cluster, now) {
            Fetched::Producer(producer) => producer,
            Fetched::Wait => return Stamped::Wait,
            Fetched::Denied => return Stamped::AsItIs,
        };
        match self.mend_broken(cluster, version, body, now) {
            Fetched::Producer(_) => {}
            Fetched::Wait => return Stamped::Wait,
            Fetched::Denied => return Stamped::AsItIs,
        }
        self.assign(version, body, producer);
        for (at, len, producer, sequence) in self.plan.drain(..) {
            let at = body_at + at;
            let stamped =
                frame.get_mut(at..at + len).map(|b| batch::stamp(b, producer.id, producer.epoch, sequence));
            debug_assert!(matches!(stamped, Some(Ok(()))), "it was looked at before");
            cluster.metrics.kafka_injected_batches.inc();
        }
        let Some(goes) = self.goes(head.acks, head.timeout_ms, lowered) else {
            return Stamped::Yes { raised: Raised::No, own_timeout: None };
        };
        goes.write(frame, body_at + head.acks_at);
        let Goes { raised, timeout_ms, .. } = goes;
        Stamped::Yes { raised, own_timeout: (timeout_ms != head.timeout_ms).then_some(head.timeout_ms) }
    }

    /// Whether a request that has waited could be stamped now, as far as the bound on undecided batches goes. Asked
    /// before its frame is copied for the stamps.
    pub(super) fn has_room(&self, version: i16, body: &[u8]) -> bool {
        let mut room = true;
        let scanned = produce::scan_request(version, body, &mut |row| {
            let known = self.known(topic_bytes(&row.topic), row.partition);
            room &= known.is_none_or(|sequence| !sequence.is_full());
        });
        room || scanned.is_err()
    }

    /// Partitions of this request whose sequence is broken begin anew, if another epoch or id can be had for each.
    fn mend_broken(&mut self, cluster: &Cluster, version: i16, body: &[u8], now: Instant) -> Fetched {
        let mut all = Fetched::Producer(Producer::NONE);
        let mut asked = self.asked;
        let scanned = produce::scan_request(version, body, &mut |row| {
            let (session, known) = (self.session, self.known_mut(topic_bytes(&row.topic), row.partition));
            let Some(sequence) = known.filter(|sequence| sequence.broken) else { return };
            match successor(sequence.producer, cluster, session, &mut asked, now) {
                Fetched::Producer(next) => {
                    sequence.begin_anew(next);
                    sequence.opening = true; // whole requests are not kept behind what is unproven
                    self.open = true;
                }
                other => all = other,
            }
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
        self.asked = asked;
        all
    }

    fn assign(&mut self, version: i16, body: &[u8], producer: Producer) {
        let (sequences, plan) = (&mut self.sequences, &mut self.plan);
        plan.clear();
        let scanned = produce::scan_request(version, body, &mut |row| {
            let Some(records) = row.records else { return };
            let Some(header) = bare(records) else { return };
            let name = topic_bytes(&row.topic);
            if !sequences.contains_key(name) {
                sequences.insert(name.into(), HashMap::new());
            }
            let Some(topic) = sequences.get_mut(name) else { return };
            let sequence = topic.entry(row.partition).or_insert(Sequence::new(producer));
            let base = sequence.take(header.last_offset_delta);
            plan.push((row.records_at, records.len(), sequence.producer, base));
            sequence.undecided += 1;
        });
        debug_assert!(scanned.is_ok(), "it was scanned before");
    }

    /// Stamps one partition of a request in parts that is about to be sent for the first time, or anew after a gap.
    /// Answers whether it can be sent.
    pub(super) fn stamp_item(&mut self, cluster: &Cluster, item: &mut Item, now: Instant) -> bool {
        let Some(records) = item.request.bytes_field("records").cloned() else { return true };
        let header = batch::headers(&records).next();
        let anew = header.as_ref().filter(|_| item.restamp).map(of_header);
        if anew.is_none() && bare(&records).is_none() && !(made(Mistake::StampedTwice) && item.counted) {
            return true; // stamped before, the client's own, or nothing that can be stamped
        }
        let Some(header) = header else { return true };
        self.renew(cluster);
        let producer = match self.producer(is_by_id(&item.topic), cluster, now) {
            Fetched::Producer(producer) => producer,
            Fetched::Wait => return false,
            Fetched::Denied => return true,
        };
        let known = self.known_mut(key_bytes(&item.topic), item.partition);
        if anew.is_none() && known.is_some_and(Sequence::keeps_back) {
            return false;
        }
        let topic = self.sequences.entry(key_bytes(&item.topic).into()).or_default();
        let sequence = topic.entry(item.partition).or_insert(Sequence::new(producer));
        if sequence.broken || anew == Some(sequence.producer) {
            match successor(sequence.producer, cluster, self.session, &mut self.asked, now) {
                Fetched::Producer(next) => {
                    sequence.begin_anew(next);
                    self.open = true;
                }
                Fetched::Wait => return false,
                Fetched::Denied => {
                    if anew.is_some() {
                        strip(item, records);
                    }
                    return true;
                }
            }
        }
        let Sequence { producer, next, .. } = *sequence;
        item.request.set_bytes("records", None); // or there would be two of them
        let mut stamped = own(records);
        let done = batch::stamp(&mut stamped, producer.id, producer.epoch, next).is_ok();
        item.request.set_bytes("records", Some(stamped.freeze()));
        if !done {
            return true; // no single batch: brokers refuse it
        }
        sequence.take(header.last_offset_delta);
        if anew.is_none() {
            sequence.undecided += 1;
            item.counted = true;
            cluster.metrics.kafka_injected_batches.inc();
        }
        item.restamp = false;
        item.producer = producer;
        true
    }

    /// A raised batch of this partition had to fall back, with this error.
    pub(super) fn lower(&mut self, topic: &TopicKey, partition: i32, code: i16, now: Instant) {
        if let Some(sequence) = self.known_mut(key_bytes(topic), partition) {
            sequence.lower(code, now);
        }
    }

    /// Whether raised batches of this partition had to fall back lately.
    pub(super) fn is_lowered(&self, topic: &TopicKey, partition: i32, now: Instant) -> bool {
        self.known(key_bytes(topic), partition).is_some_and(|sequence| sequence.is_lowered(now))
    }

    /// The producer that a part would go under if it went now; `None` for one that has to begin anew, or whose id is not there yet:
    /// such a one goes behind nothing that is undecided.
    pub(super) fn producer_for(&self, item: &Item) -> Option<Producer> {
        let records = item.request.bytes_field("records");
        let carried = producer_of(records);
        let anew = item.restamp || records.is_some_and(|records| bare(records).is_some());
        if !self.is_on() || !anew {
            return Some(carried);
        }
        let known = self.known(key_bytes(&item.topic), item.partition);
        match known {
            Some(sequence)
                if sequence.unproven || sequence.broken || (item.restamp && sequence.producer == carried) =>
            {
                None
            }
            Some(sequence) => Some(sequence.producer),
            None => {
                let unnamed = || made(Mistake::FollowsUnnamed).then_some(carried);
                self.identity(is_by_id(&item.topic)).or_else(unnamed)
            }
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
