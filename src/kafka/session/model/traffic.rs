//! What goes over the wires of the model check's world, and the polling of everybody until nobody has anything to do.

use super::world::{ROOM, TOPIC, Wire, World};
use crate::kafka::cluster::{Health, Producer};
use crate::kafka::model::log::{Batch, Connection, Outcome, Request, Row};
use crate::kafka::wire::{self, batch, produce, request_header};
use crate::net::Stream;
use bytes::{Bytes, BytesMut};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

pub(super) fn write(stream: &mut DuplexStream, frame: &[u8]) {
    let mut bytes = BytesMut::from(&u32::try_from(frame.len()).unwrap().to_be_bytes()[..]);
    bytes.extend_from_slice(frame);
    let written = Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), &bytes);
    assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()), "a stream of the model is full");
}

/// The frames that have arrived, whole.
fn read(stream: &mut DuplexStream) -> Vec<Bytes> {
    let mut all = BytesMut::new();
    let mut room = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => all.extend_from_slice(buffer.filled()),
            _ => break,
        }
    }
    let mut frames = Vec::new();
    while let Some(prefix) = all.first_chunk::<4>() {
        let len = u32::from_be_bytes(*prefix) as usize;
        let _ = all.split_to(4);
        frames.push(all.split_to(len).freeze());
    }
    frames
}

/// What a broker reads.
fn request(frame: &Bytes) -> Request {
    let header = request_header(frame).unwrap();
    let mut rows = Vec::new();
    let head = produce::scan_request(header.api_version, &frame[header.body_at..], &mut |row| {
        let records = row.records.unwrap();
        let known = batch::headers(records).next().unwrap();
        let batch = Batch {
            id: *records.last().unwrap(),
            records: known.last_offset_delta + 1,
            producer: known.producer_id,
            epoch: known.producer_epoch,
            first: known.base_sequence,
            sound: crc32c::crc32c(&records[21..]) == known.crc,
        };
        let partition = usize::try_from(row.partition).unwrap();
        rows.push(Row { partition, batch, outcome: Outcome::Waits(0, -1) });
    });
    Request { correlation: header.correlation_id, acks: head.unwrap().acks, rows }
}

impl World {
    /// An answer reaches its session.
    pub(super) fn deliver(&mut self, at: usize) {
        let Some(request) = self.wires[at].connection.answers.pop_front() else { return };
        self.client.answered(self.scenario, &request);
        let version = self.scenario.version();
        let mut answer = wire::response(0).unwrap().new();
        let mut topic = answer.new_struct("responses");
        topic.set_bytes("name", Some(Bytes::from_static(TOPIC)));
        for row in &request.rows {
            let Outcome::Is(code, offset) = row.outcome else { panic!("answered before it was decided") };
            let mut partition = topic.new_struct("partition_responses");
            partition.set_i32("index", i32::try_from(row.partition).unwrap());
            partition.set_i16("error_code", code);
            partition.set_i64("base_offset", offset);
            let known = &self.partitions[row.partition];
            if self.scenario.hints
                && code == 6
                && let Some(leader) = known.leader
            {
                let mut hint = partition.strukt("current_leader").unwrap().clone();
                hint.set_i32("leader_id", leader);
                hint.set_i32("leader_epoch", known.epoch);
                partition.set_strukt("current_leader", Some(hint));
            }
            topic.push_struct("partition_responses", partition);
        }
        answer.push_struct("responses", topic);
        let frame = wire::encode_response(0, version, request.correlation, &answer).unwrap();
        write(self.wires[at].stream.as_mut().unwrap(), &frame);
    }

    /// A broker hands a producer id out.
    pub(super) fn grant(&mut self) {
        self.producers += 1;
        self.cluster.grant(Producer { id: self.producers, epoch: 0 });
    }

    /// Everybody acts until nobody has anything to do.
    pub(super) fn run(&mut self) {
        self.settle_brokers();
        loop {
            let mut moved = false;
            for _ in 0..2 {
                for at in 0..self.sessions.len() {
                    moved |= self.poll(at);
                }
            }
            if !self.scenario.late_id && self.cluster.wants_producer() {
                self.grant();
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.settle_brokers();
    }

    fn settle_brokers(&mut self) {
        for wire in &mut self.wires {
            wire.connection.settle(wire.node, &self.partitions, self.scenario.min_in_sync);
            if wire.stream.is_none() {
                // Nobody reads what a lost connection is answered.
                wire.connection.answers.clear();
                wire.connection.head = None;
            }
        }
        self.wires.retain(|wire| wire.stream.is_some() || !wire.connection.is_idle());
    }

    /// Polls a session, and sees to what it wants: connections, its requests, its answers.
    fn poll(&mut self, at: usize) -> bool {
        let session = &mut self.sessions[at];
        if let Poll::Ready(end) = session.poll(&mut Context::from_waker(Waker::noop())) {
            self.broken.get_or_insert(format!("the client's connection {at} has ended: {end:?}"));
            return false;
        }
        let mut moved = false;
        let mut health = Vec::new();
        for link in session.links.iter_mut().filter(|link| link.is_dialing()) {
            moved = true;
            let node = link.node;
            let up = self.up[usize::try_from(node - 1).unwrap()];
            let pair = up.then(|| duplex(ROOM));
            let (ours, theirs) = pair.map_or((None, None), |(ours, theirs)| (Some(ours), Some(theirs)));
            link.dialed(theirs.map(Stream::Memory));
            if ours.is_some() {
                let connection = Connection::default();
                self.wires.push(Wire { session: at, node, stream: ours, connection });
            }
            health.push((node, if up { Health::Up } else { Health::Down(self.now) }));
        }
        for (node, health) in health {
            self.cluster.set_health(node, health);
        }
        for wire in self.wires.iter_mut().filter(|wire| wire.session == at) {
            for frame in wire.stream.as_mut().map(read).unwrap_or_default() {
                moved = true;
                let request = request(&frame);
                let of: Vec<usize> = request.rows.iter().map(|row| row.partition).collect();
                if of.iter().enumerate().any(|(at, partition)| of[..at].contains(partition)) {
                    self.broken.get_or_insert(format!("a request holds a partition twice: {of:?}"));
                }
                wire.connection.queue.push_back(request);
            }
        }
        for frame in read(&mut self.ends[at]) {
            moved = true;
            self.client.receive(self.scenario, &frame);
        }
        moved
    }
}
