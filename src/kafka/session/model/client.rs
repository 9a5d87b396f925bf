//! A client without retries that sends batch upon batch, what it is told of each, and what must be true of that.

use super::scenario::{Identity, Scenario};
use super::world::TOPIC;
use crate::kafka::model::log::{Outcome, Partition, Request};
use crate::kafka::wire::{self, produce, response_body_at};
use bytes::Bytes;
use std::collections::VecDeque;

/// What a client was told of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    /// Nothing yet.
    Open,
    /// That it is in the log.
    Landed,
    /// This error.
    Error(i16),
}

/// A batch as its client knows it, and what really became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Told {
    /// Its number: the client's order.
    pub id: u8,
    /// Where it belongs.
    pub partition: usize,
    /// What its client was told.
    pub fate: Fate,
    /// The errors that brokers really gave for it.
    codes: Vec<i16>,
    /// An attempt may have been applied without anybody having said so.
    doubtful: bool,
    /// The leader alone has confirmed it, since nobody asked it for more.
    weak: bool,
}

/// The client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The leaders that the answers on their way to it name.
    pub told: Vec<i32>,
    /// The leaders that it acts on.
    pub believes: Vec<i32>,
    /// Whether the bound of what was held has been reached once.
    pub expired: bool,
    /// What it has sent.
    pub records: Vec<Told>,
    /// How many of the scenario's requests are sent.
    sent: usize,
    /// Parts of the request that is being sent, for other nodes.
    rest: VecDeque<(usize, u8)>,
    /// What it waits for: the correlation id and the batches.
    waits: Vec<(i32, Vec<u8>)>,
    correlation: i32,
}

/// A batch of format 2 whose last byte is its number, with a right checksum or a wrong one.
fn batch(id: u8, records: i32, producer: i64, first: i32, sound: bool) -> Vec<u8> {
    let mut covered = 0i16.to_be_bytes().to_vec();
    covered.extend((records - 1).to_be_bytes());
    covered.extend([0; 16]);
    covered.extend(producer.to_be_bytes());
    covered.extend(if producer < 0 { -1i16 } else { 0 }.to_be_bytes());
    covered.extend(first.to_be_bytes());
    covered.extend(records.to_be_bytes());
    covered.push(id);
    let mut out = 0i64.to_be_bytes().to_vec();
    out.extend((9 + i32::try_from(covered.len()).unwrap()).to_be_bytes());
    out.extend((-1i32).to_be_bytes());
    out.push(2);
    out.extend((crc32c::crc32c(&covered) ^ u32::from(!sound)).to_be_bytes());
    out.extend(covered);
    out
}

/// The place of a batch's request.
fn request_of(id: u8) -> usize {
    usize::from(id / 4)
}

/// How many records a batch has: one or two, so that sequences and offsets differ.
fn records_of(id: u8) -> i32 {
    1 + i32::from(id % 2)
}

impl Client {
    pub(super) fn new(_: &Scenario, leaders: Vec<i32>) -> Self {
        Self {
            told: leaders.clone(),
            believes: leaders,
            expired: false,
            records: Vec::new(),
            sent: 0,
            rest: VecDeque::new(),
            waits: Vec::new(),
            correlation: 0,
        }
    }

    /// The node that its next request goes to, if there is one.
    pub(super) fn next(&self, scenario: &Scenario) -> Option<i32> {
        let partition = match self.rest.front() {
            Some((partition, _)) => *partition,
            None => *scenario.requests.get(self.sent)?.first()?,
        };
        Some(self.believes[partition])
    }

    /// Its next request: to whom, and the frame.
    pub(super) fn send(&mut self, scenario: &Scenario) -> (i32, Bytes) {
        if self.rest.is_empty() {
            let id = |at: usize| u8::try_from(self.sent * 4 + at).unwrap();
            self.rest = scenario.requests[self.sent].iter().enumerate().map(|(at, p)| (*p, id(at))).collect();
            self.sent += 1;
        }
        let node = self.believes[self.rest[0].0];
        let (now, later): (Vec<_>, Vec<_>) =
            self.rest.drain(..).partition(|(p, _)| self.believes[*p] == node);
        self.rest = later.into();
        self.correlation += 1;
        let mut request = wire::request(0).unwrap().new();
        request.set_i16("acks", scenario.acks);
        request.set_i32("timeout_ms", i32::MAX);
        let mut topic = request.new_struct("topic_data");
        topic.set_bytes("name", Some(Bytes::from_static(TOPIC)));
        for (partition, id) in &now {
            let before = self.records.iter().filter(|told| told.partition == *partition);
            let first: i32 = before.map(|told| records_of(told.id)).sum();
            let (producer, first) = if scenario.identity == Identity::Own { (50, first) } else { (-1, -1) };
            let mut row = topic.new_struct("partition_data");
            row.set_i32("index", i32::try_from(*partition).unwrap());
            let sound = !scenario.corrupt.contains(&request_of(*id));
            row.set_bytes("records", Some(batch(*id, records_of(*id), producer, first, sound).into()));
            topic.push_struct("partition_data", row);
            self.records.push(Told {
                id: *id,
                partition: *partition,
                fate: Fate::Open,
                codes: Vec::new(),
                doubtful: false,
                weak: false,
            });
        }
        request.push_struct("topic_data", topic);
        if scenario.acks != 0 {
            self.waits.push((self.correlation, now.iter().map(|(_, id)| *id).collect()));
        }
        let frame = wire::encode_request(0, scenario.version(), self.correlation, "model", &request).unwrap();
        (node, frame)
    }

    fn record(&mut self, id: u8) -> &mut Told {
        self.records.iter_mut().find(|told| told.id == id).unwrap()
    }

    /// It is told what became of a request.
    pub(super) fn receive(&mut self, scenario: &Scenario, frame: &Bytes) {
        let correlation = i32::from_be_bytes(*frame.first_chunk().unwrap());
        let at = self.waits.iter().position(|(waited, _)| *waited == correlation).unwrap();
        let (_, ids) = self.waits.remove(at);
        let version = scenario.version();
        let body_at = response_body_at(0, version, frame).unwrap();
        let mut fates = Vec::new();
        produce::scan_response(version, &frame[body_at..], &mut |row| {
            let fate = if row.error_code == 0 { Fate::Landed } else { Fate::Error(row.error_code) };
            fates.push((usize::try_from(row.partition).unwrap(), fate));
        })
        .unwrap();
        assert_eq!(fates.len(), ids.len(), "every partition is answered, once");
        for id in ids {
            let told = self.record(id);
            told.fate = fates.iter().find(|(partition, _)| *partition == told.partition).unwrap().1;
        }
    }

    /// A session hears of a request.
    pub(super) fn answered(&mut self, scenario: &Scenario, request: &Request) {
        for row in &request.rows {
            let told = self.record(row.batch.id);
            match row.outcome {
                // Where the client has asked for all, one that said so for itself alone has decided nothing.
                Outcome::Is(0, _) if request.acks != scenario.acks => {
                    told.weak |= scenario.acks == 1 || (scenario.acks == 0 && request.acks == 1);
                    told.doubtful |= request.acks == 1;
                }
                Outcome::Is(0, _) => told.weak |= request.acks == 1,
                Outcome::Is(code, offset) => {
                    told.doubtful |= matches!(code, 7 | 20) || offset >= 0;
                    told.weak |= scenario.acks == 0 && matches!(code, 7 | 20);
                    if !told.codes.contains(&code) {
                        told.codes.push(code);
                        told.codes.sort_unstable();
                    }
                }
                Outcome::Waits(..) => {}
            }
        }
    }

    /// Nobody will hear of a request.
    pub(super) fn doubt(&mut self, request: &Request) {
        for row in &request.rows {
            if let Some(told) = self.records.iter_mut().find(|told| told.id == row.batch.id) {
                told.doubtful = true;
            }
        }
    }

    /// Whether a batch was given up and another met a gap.
    pub(super) fn waits_at_a_gap(&self) -> bool {
        let gap = |told: &Told| told.fate == Fate::Open && told.codes.contains(&45);
        self.expired && self.records.iter().any(gap)
    }

    /// Whether it has sent everything and has been told of all of it.
    pub(super) fn is_done(&self, scenario: &Scenario) -> bool {
        self.sent == scenario.requests.len() && self.rest.is_empty() && self.waits.is_empty()
    }

    /// What it was told nothing of, against the logs, when nothing is under way any more.
    pub(super) fn check_untold(&self, scenario: &Scenario, partitions: &[Partition]) -> Option<String> {
        let missing = |told: &&Told| {
            let partition = &partitions[told.partition];
            let cut_off = told.weak && partition.cut.contains(&told.id);
            !partition.log.iter().any(|batch| batch.id == told.id) && !cut_off
        };
        let lost = self.records.iter().find(missing).filter(|_| scenario.acks == 0 && !self.expired);
        lost.map(|told| format!("lost without a word: batch {} of partition {}", told.id, told.partition))
    }

    /// What it was told, against the logs.
    pub(super) fn check(&self, scenario: &Scenario, partitions: &[Partition]) -> Option<String> {
        for (at, partition) in partitions.iter().enumerate() {
            let ids: Vec<u8> = partition.log.iter().map(|batch| batch.id).collect();
            for (place, id) in ids.iter().enumerate() {
                if ids[..place].contains(id) {
                    return Some(format!("repeated: batch {id} in partition {at}: {ids:?}"));
                }
            }
            // A client that is told that an outcome is unknown can't expect an order of that batch, nor one that is refused what may
            // have been written before; but where a sequence tells the ones behind it of the gap, it has one.
            let told = |id: &u8| self.records.iter().find(|told| told.id == *id).unwrap();
            let counts = |id: &u8| scenario.in_order || !matches!(told(id).fate, Fate::Error(7 | 29));
            let known: Vec<u8> = ids.iter().copied().filter(counts).collect();
            if !known.is_sorted() {
                return Some(format!("reordered: partition {at}: {ids:?}"));
            }
        }
        self.records.iter().find_map(|told| told.check(self, scenario, &partitions[told.partition]))
    }
}

impl Told {
    fn check(&self, client: &Client, scenario: &Scenario, partition: &Partition) -> Option<String> {
        let id = self.id;
        let lies = partition.log.iter().any(|batch| batch.id == id);
        match self.fate {
            Fate::Open => None,
            Fate::Landed if lies => None,
            Fate::Landed if self.weak && partition.cut.contains(&id) => None,
            Fate::Landed => Some(format!("lost: batch {id} of partition {}", self.partition)),
            // What says something about the client itself is passed on, whatever became of earlier attempts.
            Fate::Error(2) if scenario.corrupt.contains(&request_of(id)) => None,
            Fate::Error(29) if self.codes.contains(&29) && (self.doubtful || !lies) => None,
            Fate::Error(7) if !self.doubtful => Some(format!("batch {id}: 7 though nothing is unknown")),
            Fate::Error(7 | 20) if client.expired || scenario.goes_bare() => None,
            Fate::Error(code) if !client.expired => Some(format!("batch {id}: error {code} for no need")),
            Fate::Error(code) if lies => Some(format!("batch {id}: error {code}, but it is in the log")),
            Fate::Error(code) => (code != 5 && !self.codes.contains(&code))
                .then(|| format!("batch {id}: error {code} that no broker gave")),
        }
    }
}
