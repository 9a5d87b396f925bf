//! Light clients: many raw producers on one thread each, a record now and then, no retries. Each has a sidecar of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::judge::{ClientError, History, Outcome};
use crate::scene::micros;
use crate::wire::{Identity, Wire, batch};
use crate::{Error, Result};

/// The time that a Produce carries: above what Evenkeel holds.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Producers at work. Dropping it stops them.
#[derive(Debug)]
pub struct Trickle {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<History>>>,
}

impl Trickle {
    /// Starts one for each address of a bootstrap listener. It writes to one partition (its number modulo `partitions`), a record every
    /// `every`, each when the one before was answered.
    pub fn start(through: &[SocketAddr], topic: &str, partitions: u32, every: Duration) -> Result<Self> {
        let mut trickle = Self { stop: Arc::default(), threads: Vec::new() };
        for (number, at) in (0u32..).zip(through) {
            let partition = i32::try_from(number % partitions).unwrap_or(0);
            let leader = Wire::connect(*at, "trickle", PATIENCE)
                .and_then(|mut wire| wire.leader(topic, partition))
                .map_err(Error::io("asking for a leader"))?;
            let leader = leader.ok_or_else(|| Error::program("trickle", "no leader"))?;
            let name = format!("trickle-{number}");
            let wire = Wire::connect(leader.addr, &name, PATIENCE).map_err(Error::io("connecting"))?;
            let one =
                One { name, topic: topic.to_owned(), partition, every, stop: Arc::clone(&trickle.stop) };
            trickle.threads.push(std::thread::spawn(move || one.run(wire)));
        }
        Ok(trickle)
    }

    /// Ends all of them; gives what each went through.
    pub fn finish(mut self) -> Result<Vec<History>> {
        self.stop.store(true, Ordering::Release);
        self.threads
            .drain(..)
            .map(|thread| thread.join().map_err(|_| Error::program("trickle", "a thread failed"))?)
            .collect()
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct One {
    name: String,
    topic: String,
    partition: i32,
    every: Duration,
    stop: Arc<AtomicBool>,
}

impl One {
    fn run(self, mut wire: Wire) -> Result<History> {
        let mut outcomes = Vec::new();
        let failed = |class: &str, message: String| ClientError { class: class.to_owned(), message };
        for seq in 0.. {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            let value = format!("{}|{}|{seq}", self.name, self.partition);
            let batch = batch(Identity::NONE, 0, value).map_err(Error::io("making a batch"))?;
            let sent_us = micros();
            let answer = wire.produce(DEADLINE, &self.topic, self.partition, &batch);
            let over = answer.is_err();
            let result = match answer {
                Ok((0, offset)) => Ok(offset),
                Ok((code, _)) => Err(failed("refused", format!("error {code}"))),
                Err(error) => Err(failed("disconnected", error.to_string())),
            };
            outcomes.push(Outcome { partition: self.partition, seq, sent_us, done_us: micros(), result });
            if over {
                break;
            }
            std::thread::sleep(self.every);
        }
        Ok(History { producer: self.name, outcomes })
    }
}
