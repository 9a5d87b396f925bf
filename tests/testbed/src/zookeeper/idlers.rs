//! Many idle sessions of one process: each on a connection of its own, with nothing but its pings, and watches if wanted. None
//! ever reconnects: who has lost its connection has lost it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Bare, Met};
use crate::{Error, Result};

/// Threads that they share.
const THREADS: usize = 4;
/// For a connection and a session on it, while many others want the same.
const CONNECT: Duration = Duration::from_secs(60);

/// What became of those that are no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Their connection was closed, or broke.
    pub closed: usize,
    /// A ping had no answer for a whole time-out; the connection stays.
    pub silent: usize,
}

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicUsize,
    silent: AtomicUsize,
    events: AtomicU64,
    slowest_us: AtomicU64,
    refused: Mutex<Option<String>>,
}

/// What a thread is to do with each of its sessions; it answers when it has.
enum Order {
    /// Set a watch on the data of each of these nodes.
    Watch(Arc<Vec<String>>, Sender<()>),
    /// Ping, now.
    Ping(Sender<()>),
}

/// The sessions. Dropping it closes their connections.
#[derive(Debug)]
pub struct Idlers {
    shared: Arc<Shared>,
    threads: Vec<(Sender<Order>, JoinHandle<()>)>,
}

impl Idlers {
    /// Connects `count` of them, with this time-out, a third of which is between their pings.
    pub fn gather(addr: SocketAddr, count: usize, timeout: Duration) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let gathering: Vec<_> = (0..THREADS)
            .map(|thread| {
                let own = count / THREADS + usize::from(thread < count % THREADS);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || Part { members: Vec::new(), timeout, shared }.grown(addr, own))
            })
            .collect();
        let mut threads = Vec::new();
        for thread in gathering {
            let part = thread.join().map_err(|_| Error::program("a thread", "panicked"))??;
            let (orders, inbox) = channel();
            threads.push((orders, std::thread::spawn(move || part.live(&inbox))));
        }
        Ok(Self { shared, threads })
    }

    /// Each sets a watch on the data of each of these nodes.
    pub fn watch(&self, nodes: &[String]) -> Result<()> {
        let nodes = Arc::new(nodes.to_vec());
        self.all(|done| Order::Watch(Arc::clone(&nodes), done))?;
        let refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        refused.map_or(Ok(()), |text| Err(Error::program("a session", text)))
    }

    /// Each pings and waits for the answer.
    pub fn ping(&self) -> Result<()> {
        self.all(Order::Ping)
    }

    /// Those that are no more.
    pub fn lost(&self) -> Lost {
        Lost { closed: self.shared.closed.load(Relaxed), silent: self.shared.silent.load(Relaxed) }
    }

    /// Watch events that came before the last ping of each.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Relaxed)
    }

    /// The longest time from a ping to its answer since this was asked last, at most: those of a thread are read one by one.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.shared.slowest_us.swap(0, Relaxed))
    }

    fn all(&self, order: impl Fn(Sender<()>) -> Order) -> Result<()> {
        let gone = || Error::program("a thread of sessions", "has ended");
        let (done, all_done) = channel();
        for (orders, _) in &self.threads {
            orders.send(order(done.clone())).map_err(|_| gone())?;
        }
        drop(done);
        self.threads.iter().try_for_each(|_| all_done.recv().map_err(|_| gone()))
    }
}

impl Drop for Idlers {
    fn drop(&mut self) {
        for (orders, thread) in self.threads.drain(..) {
            drop(orders);
            let _ = thread.join();
        }
    }
}

/// The sessions of one thread.
struct Part {
    members: Vec<Bare>,
    timeout: Duration,
    shared: Arc<Shared>,
}

impl Part {
    /// Connects so many. Those that are there already go on pinging, as they have to.
    fn grown(mut self, addr: SocketAddr, count: usize) -> Result<Self> {
        let mut last = Instant::now();
        for _ in 0..count {
            self.members.push(Bare::connect(addr, self.timeout, CONNECT)?);
            if last.elapsed() > self.timeout / 6 {
                self.ping();
                last = Instant::now();
            }
        }
        self.ping();
        Ok(self)
    }

    fn live(mut self, inbox: &Receiver<Order>) {
        let mut next = Instant::now() + self.timeout / 3;
        loop {
            match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Order::Watch(nodes, done)) => {
                    self.watch(&nodes);
                    let _ = done.send(());
                    continue;
                }
                Ok(Order::Ping(done)) => {
                    self.ping();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.ping(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            next = Instant::now() + self.timeout / 3;
        }
    }

    fn watch(&mut self, nodes: &[String]) {
        let (bound, mut last) = (self.timeout, Instant::now());
        for at in 0..self.members.len() {
            for node in nodes {
                let Some(member) = self.members.get_mut(at) else { continue };
                let met = member.watch(node, bound);
                if met != Met::Code(0) {
                    let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    *refused = Some(format!("a watch on {node} met {met:?}"));
                }
            }
            // The others go on pinging, as they have to.
            if last.elapsed() > self.timeout / 6 {
                self.ping();
                last = Instant::now();
            }
        }
    }

    fn ping(&mut self) {
        let (shared, bound) = (&self.shared, self.timeout);
        let start = Instant::now();
        let before: u64 = self.members.iter().map(Bare::events).sum();
        let sent: Vec<Met> = self.members.iter_mut().map(Bare::ping).collect();
        let mut events = 0;
        let mut sent = sent.into_iter();
        self.members.retain_mut(|member| {
            let met = match sent.next() {
                Some(Met::Code(0)) => member.pong(bound),
                _ => Met::Closed,
            };
            let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            shared.slowest_us.fetch_max(took, Relaxed);
            events += member.events();
            match met {
                Met::Code(_) => {}
                Met::Closed => drop(shared.closed.fetch_add(1, Relaxed)),
                Met::Silence => drop(shared.silent.fetch_add(1, Relaxed)),
            }
            met != Met::Closed
        });
        shared.events.fetch_add(events.saturating_sub(before), Relaxed);
    }
}
