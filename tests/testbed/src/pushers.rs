//! Raw producers that push as hard as their connection takes it: each sends large batches one behind the other without waiting
//! for answers, as a library with much in flight does, and notes when it can't get rid of them. No retries.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::judge::{ClientError, History, Outcome};
use crate::scene::micros;
use crate::wire::{Identity, Wire, batch};
use crate::{Error, Result, wait};

/// The time that a Produce carries: long, so that what bounds a hold is Evenkeel's own `hold.max`.
const DEADLINE: Duration = Duration::from_secs(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(200);

/// Pushers at work, one connection each. Dropping it stops them.
#[derive(Debug)]
pub struct Pushers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Result<History>>>,
}

impl Pushers {
    /// Starts `count` of them on a topic. Each sends `batches` batches of one record of `size` bytes to one partition (its own number
    /// modulo `partitions`), the first when `go` is set, and ends when each has its answer.
    pub fn start(
        bootstrap: SocketAddr,
        topic: &str,
        partitions: u32,
        count: u32,
        (batches, size): (i32, usize),
        go: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut pushers = Self { stop, written, threads: Vec::new() };
        for number in 0..count {
            let partition = i32::try_from(number % partitions).unwrap_or(0);
            // Connected before it matters.
            let leader = Wire::connect(bootstrap, "pusher", PATIENCE)
                .and_then(|mut wire| wire.leader(topic, partition))
                .map_err(Error::io("asking for a leader"))?;
            let leader = leader.ok_or_else(|| Error::program("pusher", "no leader"))?;
            let name = format!("pusher-{number}");
            let wire = Wire::connect(leader.addr, &name, PATIENCE).map_err(Error::io("connecting"))?;
            let push = Push {
                name,
                topic: topic.to_owned(),
                partition,
                batches,
                size,
                go: Arc::clone(go),
                stop: Arc::clone(&pushers.stop),
                written: Arc::clone(&pushers.written),
            };
            pushers.threads.push(std::thread::spawn(move || push.run(wire)));
        }
        Ok(pushers)
    }

    /// Bytes of records that their connections have taken so far.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Waits until for `quiet` nothing more could be written, while `still` says so; gives the bytes written.
    pub fn wait_stuck(&self, quiet: Duration, bound: Duration) -> Result<usize> {
        let (mut last, mut since) = (self.written(), std::time::Instant::now());
        wait::poll("pushers that get rid of nothing", bound, Duration::from_millis(50), || {
            let now = self.written();
            if now != last {
                (last, since) = (now, std::time::Instant::now());
            }
            Ok((since.elapsed() >= quiet && now > 0).then_some(now))
        })
    }

    /// Waits until all have ended; gives what each went through.
    pub fn finish(mut self) -> Result<Vec<History>> {
        self.threads
            .drain(..)
            .map(|thread| thread.join().map_err(|_| Error::program("pusher", "a thread failed"))?)
            .collect()
    }
}

impl Drop for Pushers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Push {
    name: String,
    topic: String,
    partition: i32,
    batches: i32,
    size: usize,
    go: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
}

impl Push {
    fn run(self, mut wire: Wire) -> Result<History> {
        let mut answers = wire.another_reader().map_err(Error::io("sharing a connection"))?;
        let sent: Arc<Mutex<Vec<i64>>> = Arc::default();
        let (shared, partition, batches) = (Arc::clone(&sent), self.partition, self.batches);
        // Answers come in the order of the requests; a thread of its own reads them.
        let reader = std::thread::spawn(move || {
            let mut outcomes = Vec::new();
            for seq in 0..i64::from(batches) {
                let answer = answers.produced();
                let index = usize::try_from(seq).unwrap_or(usize::MAX);
                let sent_us = shared.lock().unwrap_or_else(PoisonError::into_inner).get(index).copied();
                let over = answer.is_err();
                let failed = |class: &str, message: String| ClientError { class: class.to_owned(), message };
                let result = match answer {
                    Ok((_, 0, offset)) => Ok(offset),
                    Ok((_, code, _)) => Err(failed("refused", format!("error {code}"))),
                    Err(error) => Err(failed("disconnected", error.to_string())),
                };
                let sent_us = sent_us.unwrap_or_else(micros);
                outcomes.push(Outcome { partition, seq, sent_us, done_us: micros(), result });
                if over {
                    break;
                }
            }
            outcomes
        });
        while !self.go.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let padding = "x".repeat(self.size);
        for seq in 0..self.batches {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            let value = format!("{}|{}|{seq}|{padding}", self.name, self.partition);
            let batch = batch(Identity::NONE, seq, value).map_err(Error::io("making a batch"))?;
            sent.lock().unwrap_or_else(PoisonError::into_inner).push(micros());
            if wire.send_produce(-1, DEADLINE, &self.topic, self.partition, &batch).is_err() {
                break; // what the reader sees counts
            }
            self.written.fetch_add(batch.len(), Ordering::AcqRel);
        }
        let outcomes = reader.join().map_err(|_| Error::program(&self.name, "a thread failed"))?;
        Ok(History { producer: self.name, outcomes })
    }
}
