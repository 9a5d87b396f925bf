//! Asks every broker some times in a second what it leads, at its address for clients and beside Evenkeel, and notes
//! the answers for [`super::outages`].

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::outages::Sample;
use crate::kafka::led;
use crate::scene::micros;

/// Between two questions to a broker.
const EVERY: Duration = Duration::from_millis(100);
/// A broker that takes longer to answer is not there.
const PATIENCE: Duration = Duration::from_secs(1);

/// The threads that ask. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Monitor {
    places: Vec<Arc<Place>>,
    samples: Arc<Mutex<Vec<Sample>>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Place {
    node: u8,
    addr: Mutex<SocketAddr>,
    alone: AtomicBool,
}

impl Monitor {
    /// Asks the brokers, each an id with its address for clients, about a topic.
    pub(super) fn start(topic: &str, brokers: &[(u8, SocketAddr)]) -> Self {
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let end: Arc<AtomicBool> = Arc::default();
        let (mut places, mut threads) = (Vec::new(), Vec::new());
        for &(node, addr) in brokers {
            let place = Arc::new(Place { node, addr: Mutex::new(addr), alone: AtomicBool::new(false) });
            places.push(Arc::clone(&place));
            let (samples, end, topic) = (Arc::clone(&samples), Arc::clone(&end), topic.to_owned());
            threads.push(std::thread::spawn(move || {
                while !end.load(Ordering::Acquire) {
                    let sample = place.ask(&topic);
                    samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                    std::thread::sleep(EVERY);
                }
            }));
        }
        Self { places, samples, end, threads }
    }

    /// Where a broker serves clients from now on.
    pub(super) fn set_addr(&self, node: u8, addr: SocketAddr) {
        for place in self.places.iter().filter(|place| place.node == node) {
            *place.addr.lock().unwrap_or_else(PoisonError::into_inner) = addr;
        }
    }

    /// Whether a broker is cut off from the others: what it leads then can't be replicated, whatever it says.
    pub(super) fn set_alone(&self, node: u8, alone: bool) {
        for place in self.places.iter().filter(|place| place.node == node) {
            place.alone.store(alone, Ordering::Release);
        }
    }

    /// Ends the questions; gives all answers in the order of their ends.
    pub(super) fn finish(mut self) -> Vec<Sample> {
        self.end();
        let mut samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by_key(|sample| sample.end_us);
        samples
    }

    fn end(&mut self) {
        self.end.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Place {
    fn ask(&self, topic: &str) -> Sample {
        let addr = *self.addr.lock().unwrap_or_else(PoisonError::into_inner);
        let (node, start_us) = (i32::from(self.node), micros());
        let alone = self.alone.load(Ordering::Acquire);
        let leads = led(addr, node, topic, PATIENCE).ok();
        // Cut off when it was asked or by now: neither answer tells anything of replication.
        let alone = alone || self.alone.load(Ordering::Acquire);
        let leads = leads.map(|leads| if alone { Vec::new() } else { leads });
        Sample { node, start_us, end_us: micros(), leads }
    }
}
