//! Two writers that measure how long a partition can't be written to, each with one record under way for each partition.
//!
//! The *ideal* one talks to the brokers directly and does all that a client can do: when a leader is lost or refuses, it
//! polls all brokers for the new one and tries again at once, under a sequence by which a repeat is recognised. No
//! client gets its records in sooner. The *plain* one does nothing of the kind: it sends each record once, to the leader that
//! it was told, and takes the answer for final. What lies between the two, in one run, is Evenkeel's own share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::judge::{ClientError, History, Outcome};
use crate::scene::micros;
use crate::wire::{Identity, Leader, Wire, batch};
use crate::{Error, Result};

/// From one record of a partition to the next, if its answer is there by then.
const PACE: Duration = Duration::from_millis(25);
/// From one question for the new leader to the next.
const POLL: Duration = Duration::from_millis(5);
/// How long an answer may take: longer than any outage here.
const PATIENCE: Duration = Duration::from_secs(60);
/// The deadline that a Produce carries.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often the plain writer asks for the leaders anew, as client libraries do.
const REFRESH: Duration = Duration::from_secs(1);
/// What the ideal writer retries: every error that says that another broker leads, or that this one can't yet.
const RETRIED: [i16; 9] = [3, 5, 6, 7, 9, 14, 19, 20, 75];

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The ideal one, with the addresses of all brokers.
    Ideal(Vec<SocketAddr>),
    /// The plain one, with the address that it is told first.
    Plain(SocketAddr),
}

/// A writer at work: a thread for each partition. Dropping it stops the threads.
#[derive(Debug)]
pub struct Writing {
    name: String,
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writing {
    /// Starts writing to all partitions of `topic`. `name` goes into the records.
    pub fn start(writer: &Writer, name: &str, topic: &str, partitions: u32) -> Result<Self> {
        let (stop, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut writing = Self { name: name.to_owned(), stop, outcomes, threads: Vec::new() };
        for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            let mut lane = Lane {
                name: name.to_owned(),
                topic: topic.to_owned(),
                partition,
                stop: Arc::clone(&writing.stop),
                way: Way::new(writer)?,
            };
            let outcomes = Arc::clone(&writing.outcomes);
            writing.threads.push(std::thread::spawn(move || lane.write(&outcomes)));
        }
        Ok(writing)
    }

    /// The outcomes known so far.
    pub fn history(&self) -> History {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        History { producer: self.name.clone(), outcomes }
    }

    /// Stops it once each record under way has its outcome; gives all of them.
    pub fn stop(mut self) -> Result<History> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| Error::program(&self.name, "a thread failed"))?;
        }
        Ok(self.history())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// The longest time in which a writer had no success in one partition, from `at` or later, before `until` or beginning there:
/// what an event at `at` cost it. In microseconds, all three.
pub fn stall(history: &History, at: i64, until: i64) -> i64 {
    let mut lanes: HashMap<i32, Vec<i64>> = HashMap::new();
    for outcome in history.outcomes.iter().filter(|outcome| outcome.result.is_ok()) {
        lanes.entry(outcome.partition).or_default().push(outcome.done_us);
    }
    let gaps = lanes.values_mut().flat_map(|times| {
        times.sort_unstable();
        times.windows(2).filter_map(|pair| match *pair {
            [from, to] if to > at && from < until => Some(to - from.max(at)),
            _ => None,
        })
    });
    gaps.max().unwrap_or(0)
}

/// One partition of a writer.
struct Lane {
    name: String,
    topic: String,
    partition: i32,
    stop: Arc<AtomicBool>,
    way: Way,
}

enum Way {
    Ideal { brokers: Vec<Asked>, identity: Identity, leader: Option<(Leader, Wire)> },
    Plain { bootstrap: Asked, leader: Option<(SocketAddr, Wire)>, asked: Option<Instant> },
}

impl Way {
    fn new(writer: &Writer) -> Result<Self> {
        match writer {
            Writer::Plain(bootstrap) => {
                Ok(Self::Plain { bootstrap: Asked::new(*bootstrap), leader: None, asked: None })
            }
            Writer::Ideal(brokers) => {
                let mut brokers: Vec<Asked> = brokers.iter().copied().map(Asked::new).collect();
                let identity = crate::wait::poll("a producer id", PATIENCE, POLL, || {
                    Ok(brokers
                        .iter_mut()
                        .find_map(|b| b.ask(|wire| wire.identity().map(std::result::Result::ok))))
                })?;
                Ok(Self::Ideal { brokers, identity, leader: None })
            }
        }
    }
}

/// Somebody who is asked for leaders, with a connection that is kept.
struct Asked {
    addr: SocketAddr,
    wire: Option<Wire>,
}

impl Asked {
    fn new(addr: SocketAddr) -> Self {
        Self { addr, wire: None }
    }

    /// Asks it something; `None` when it isn't there or has no answer.
    fn ask<T>(&mut self, question: impl FnOnce(&mut Wire) -> std::io::Result<Option<T>>) -> Option<T> {
        if self.wire.is_none() {
            self.wire = Wire::connect(self.addr, "prober", Duration::from_secs(5)).ok();
        }
        let answer = question(self.wire.as_mut()?);
        if answer.is_err() {
            self.wire = None;
        }
        answer.ok().flatten()
    }
}

impl Lane {
    fn write(&mut self, outcomes: &Mutex<Vec<Outcome>>) {
        let mut due = Instant::now();
        let mut seq = 0;
        while !self.stop.load(Ordering::Acquire) {
            if let Some(left) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(left);
            }
            due = Instant::now() + PACE;
            let sent_us = micros();
            let result = self.send(seq);
            let outcome =
                Outcome { partition: self.partition, seq: seq.into(), sent_us, done_us: micros(), result };
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            seq += 1;
        }
    }

    fn send(&mut self, seq: i32) -> std::result::Result<i64, ClientError> {
        let value = format!("{}|{}|{seq}|", self.name, self.partition);
        let identity = match &self.way {
            Way::Ideal { identity, .. } => *identity,
            Way::Plain { .. } => Identity::NONE,
        };
        let batch = batch(identity, seq, value).map_err(|error| failed("batch", &error))?;
        match &mut self.way {
            Way::Ideal { brokers, leader, .. } => {
                let start = Instant::now();
                loop {
                    if let Some(result) = once(brokers, leader, &self.topic, self.partition, &batch) {
                        return result;
                    }
                    if start.elapsed() > PATIENCE {
                        return Err(failed("patience", &"no leader took it"));
                    }
                    std::thread::sleep(POLL);
                }
            }
            Way::Plain { bootstrap, leader, asked } => {
                if leader.is_none() || asked.is_none_or(|at| at.elapsed() > REFRESH) {
                    *asked = Some(Instant::now());
                    let told = bootstrap.ask(|wire| wire.leader(&self.topic, self.partition));
                    if let Some(told) = told.filter(|told| leader.as_ref().is_none_or(|l| l.0 != told.addr)) {
                        let wire = Wire::connect(told.addr, &self.name, PATIENCE);
                        *leader = wire.ok().map(|wire| (told.addr, wire));
                    }
                }
                let Some((_, wire)) = leader.as_mut() else { return Err(failed("leader", &"none known")) };
                match wire.produce(DEADLINE, &self.topic, self.partition, &batch) {
                    Ok((0, offset)) => Ok(offset),
                    Ok((7, _)) => Err(failed("REQUEST_TIMED_OUT", &"by the answer")),
                    Ok((code, _)) => Err(failed("refused", &format!("error {code}"))),
                    Err(error) => {
                        *leader = None;
                        Err(failed("disconnected", &error))
                    }
                }
            }
        }
    }
}

/// One try of the ideal writer; `None` when it has to try again.
fn once(
    brokers: &mut [Asked],
    leader: &mut Option<(Leader, Wire)>,
    topic: &str,
    partition: i32,
    batch: &bytes::Bytes,
) -> Option<std::result::Result<i64, ClientError>> {
    if leader.is_none() {
        let told = brokers.iter_mut().filter_map(|b| b.ask(|wire| wire.leader(topic, partition)));
        let newest = told.max_by_key(|told| told.epoch)?;
        let wire = Wire::connect(newest.addr, "ideal", PATIENCE).ok()?;
        *leader = Some((newest, wire));
    }
    let (_, wire) = leader.as_mut()?;
    match wire.produce(DEADLINE, topic, partition, batch) {
        // A repeat that is older than what the broker remembers can't come: one record is under way.
        Ok((0 | 46, offset)) => Some(Ok(offset)),
        Ok((code, _)) if RETRIED.contains(&code) => {
            *leader = None;
            None
        }
        Ok((code, _)) => Some(Err(failed("refused", &format!("error {code}")))),
        Err(_) => {
            *leader = None;
            None
        }
    }
}

fn failed(class: &str, message: &dyn ToString) -> ClientError {
    ClientError { class: class.to_owned(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_the_longest_gap_of_one_partition_after_the_event() {
        let success = |partition, done_us| Outcome { partition, seq: 0, sent_us: 0, done_us, result: Ok(0) };
        let outcomes = vec![
            success(0, 10),
            success(0, 500), // before the event
            success(0, 990),
            success(0, 1300), // 300 after it
            success(1, 1000),
            success(1, 1250),
            success(1, 1290),
            success(0, 2500), // a gap that begins in time and ends later: 1200
            success(0, 9000), // a gap that begins too late
        ];
        let history = History { producer: "p".to_owned(), outcomes };
        assert_eq!(stall(&history, 1000, 1200), 300);
        assert_eq!(stall(&history, 1000, 2000), 1200);
        assert_eq!(stall(&history, 9000, 9999), 0);
    }
}
