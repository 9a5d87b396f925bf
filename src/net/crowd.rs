//! How many clients there are at once, and a bound on it: of a cluster, and of the process.
//!
//! May import: `config`, `metrics`. Must never: make anyone wait; who finds no place is turned away.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::metrics::{ClientRefusal, ClientRefusals};

/// So many lines of one kind are logged in a second, at most, where nothing else is said.
const LINES: u32 = 20;

/// Who is here.
#[derive(Debug, Default)]
pub struct Crowd(AtomicUsize);

impl Crowd {
    /// Nobody yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// A place for one more until the answer is dropped, if there are fewer than `limit`.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let more = |count: usize| (count < limit).then_some(count + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

/// One who is here.
#[derive(Debug)]
pub struct Place(Arc<Crowd>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Where the clients of one cluster come in.
#[derive(Clone, Debug)]
pub struct Entrance {
    all: Arc<Crowd>,
    own: Arc<Crowd>,
}

/// The lines about clients that are turned away.
static TURNED_AWAY: Seldom = Seldom::new();

impl Entrance {
    /// `all`: the clients of all clusters.
    pub fn new(all: Arc<Crowd>) -> Self {
        Self { all, own: Crowd::new() }
    }

    /// Places for one more client in its cluster and in the process, or none: that is counted, and its connection is to be closed.
    pub fn enter(&self, limits: &Limits, cluster: &str, refused: &ClientRefusals) -> Option<(Place, Place)> {
        let (own, all) = (self.own.enter(limits.cluster_connections), self.all.enter(limits.connections));
        let (why, limit) = match (own, all) {
            (Some(own), Some(all)) => return Some((own, all)),
            (None, _) => (ClientRefusal::Cluster, limits.cluster_connections),
            (_, None) => (ClientRefusal::Process, limits.connections),
        };
        refused.inc(why);
        if TURNED_AWAY.may() {
            tracing::warn!(cluster, limit, "a client was turned away: limits.{} is reached", why.as_str());
        }
        None
    }
}

/// Lines that anyone can bring about, kept from filling the log.
#[derive(Debug)]
pub struct Seldom {
    most: u32,
    said: Mutex<Option<(Instant, u32)>>,
}

impl Seldom {
    /// None yet.
    pub const fn new() -> Self {
        Self::of(LINES)
    }

    /// The same for lines of which there are `most` in a second.
    pub const fn of(most: u32) -> Self {
        Self { most, said: Mutex::new(None) }
    }

    /// Whether another one may be logged now.
    pub fn may(&self) -> bool {
        let now = Instant::now();
        let mut last = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((since, lines)) if now.saturating_duration_since(*since) < Duration::from_secs(1) => {
                *lines = lines.saturating_add(1);
                *lines <= self.most
            }
            _ => {
                *last = Some((now, 1));
                true
            }
        }
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_each_is_free_again() {
        let crowd = Crowd::new();
        let two: Vec<_> = (0..2).map(|_| crowd.enter(2).unwrap()).collect();
        assert!(crowd.enter(2).is_none());
        // A bound that was raised lets more in; one that was lowered turns nobody out.
        let third = crowd.enter(3).unwrap();
        assert!(crowd.enter(1).is_none());
        assert_eq!(crowd.count(), 3);
        drop((two, third));
        assert_eq!(crowd.count(), 0);
        assert!(crowd.enter(0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_few_in_a_second() {
        let (seldom, one) = (Seldom::new(), Seldom::of(1));
        for _ in 0..2 {
            assert_eq!((0..1000).filter(|_| seldom.may()).count(), 20);
            assert_eq!((0..1000).filter(|_| one.may()).count(), 1);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
