//! How many clients there are at once, and a bound on it: of a cluster, and of the process.
//!
//! May import: `config`, `metrics`. Must never: make anyone wait; who finds no place is turned away.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::metrics::{ClientRefusal, ClientRefusals};

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
static TURNED_AWAY: Seldom = Seldom::new(20, Duration::from_secs(1));

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
        if let Some(untold) = TURNED_AWAY.may() {
            tracing::warn!(
                cluster,
                limit,
                untold,
                "a client was turned away: limits.{} is reached",
                why.as_str()
            );
        }
        None
    }
}

/// Lines that anyone can bring about, kept from filling the log: so many in so long, at most.
#[derive(Debug)]
pub struct Seldom {
    lines: u32,
    within: Duration,
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    since: Option<Instant>,
    lines: u32,
    untold: u64,
}

impl Seldom {
    /// None yet; so many `within` that time.
    pub const fn new(lines: u32, within: Duration) -> Self {
        Self { lines, within, said: Mutex::new(Said { since: None, lines: 0, untold: 0 }) }
    }

    /// Whether another one may be logged now: then how many since the last one were not.
    pub fn may(&self) -> Option<u64> {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| now.saturating_duration_since(since) >= self.within) {
            (said.since, said.lines) = (Some(now), 0);
        }
        if said.lines >= self.lines {
            said.untold = said.untold.saturating_add(1);
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.untold))
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
    async fn lines_are_few_and_say_how_many_were_left_out() {
        let seldom = Seldom::new(20, Duration::from_secs(3));
        for left_out in [0, 980, 980] {
            assert_eq!(seldom.may(), Some(left_out));
            let more: Vec<u64> = (1..1000).filter_map(|_| seldom.may()).collect();
            assert_eq!(more, [0; 19]);
            tokio::time::advance(Duration::from_secs(3)).await;
        }
    }
}
