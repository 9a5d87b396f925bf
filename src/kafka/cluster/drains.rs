//! Drains: clients leave a member before it stops. What is on its way to it is answered; what it still leads or coordinates
//! is held, until leadership has moved, the drain is ended, or a held request could not wait much longer.
//!
//! A drain ends by itself: a controller that dies leaves nothing blocked. The book ([`Drains`]) is pure; time is passed in.

use super::{Cluster, Health, lock};
use crate::time::now;
use crate::upstream::DrainState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A member is drained when nothing has been on its way to it for so long. Followers fetch what is new at once
/// (`replica.fetch.wait.max.ms` bounds a wait for nothing), so that by then they have what was acknowledged with acks=1.
const SETTLE: Duration = Duration::from_millis(250);
/// Between two looks at the drains that there are.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Drain {
    /// When it ends whatever happens.
    until: Instant,
    /// When it expires, if its member is still up: before the first request that is held because of it has to be decided.
    bound: Option<Instant>,
    /// Since when nothing is on its way.
    quiet: Option<Instant>,
    expired: bool,
    /// For how long its member was down, the longest time of all since it began.
    away: Duration,
}

/// The drains of one cluster, by node.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<i32, Drain>);

/// What the passing of time does to a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody has repeated it.
    Over,
    /// See [`DrainState::Expired`].
    Expired,
}

impl Drains {
    /// Begins a drain, or makes one last longer. One that has expired stays so until it is ended. Answers whether it is new.
    fn begin(&mut self, node: i32, until: Instant) -> bool {
        let before = self.0.get(&node).copied();
        let drain =
            before.unwrap_or(Drain { until, bound: None, quiet: None, expired: false, away: Duration::ZERO });
        self.0.insert(node, Drain { until, ..drain });
        before.is_none()
    }

    /// A request that is held because of the drain can wait until `at`.
    fn bound(&mut self, node: i32, at: Instant) {
        if let Some(drain) = self.0.get_mut(&node) {
            drain.bound = Some(drain.bound.map_or(at, |bound| bound.min(at)));
        }
    }

    /// A node that is drained, perhaps, is back after so long.
    pub(super) fn note_away(&mut self, node: i32, away: Duration) {
        if let Some(drain) = self.0.get_mut(&node) {
            drain.away = drain.away.max(away);
        }
    }

    fn state(&mut self, node: i32, left: usize, down: bool, now: Instant) -> DrainState {
        let Some(drain) = self.0.get_mut(&node) else { return DrainState::Off };
        if drain.expired {
            return DrainState::Expired;
        }
        if down {
            return DrainState::Drained;
        }
        if left > 0 {
            drain.quiet = None;
            return DrainState::Draining { left };
        }
        let quiet = *drain.quiet.get_or_insert(now);
        let settled = now.saturating_duration_since(quiet) >= SETTLE;
        if settled { DrainState::Drained } else { DrainState::Draining { left } }
    }

    /// Which drains end now.
    fn due(&mut self, is_down: impl Fn(i32) -> bool, now: Instant) -> Vec<(i32, End)> {
        let mut ended = Vec::new();
        self.0.retain(|&node, drain| {
            if now >= drain.until {
                ended.push((node, End::Over));
                return false;
            }
            if is_down(node) {
                drain.bound = None; // what was held waits for another leader now; when it is back, that has nothing to say of it
            } else if !drain.expired && drain.bound.is_some_and(|bound| now >= bound) {
                drain.expired = true;
                ended.push((node, End::Expired));
            }
            true
        });
        ended
    }
}

impl Cluster {
    /// Makes clients leave a node, for at most `lasts` unless it is said again. Idempotent. `false`: no such node is known.
    pub fn drain(&self, node: i32, lasts: Duration) -> bool {
        if !self.read(|view| view.nodes.contains_key(&node)) {
            return false;
        }
        if lock(&self.drains).begin(node, now() + lasts) {
            tracing::info!(node, ?lasts, "drain of a broker: clients leave it");
            self.set_drained(node, true);
            self.drains_changed.notify_one();
            // Its probe keeps a connection from now on.
            self.suspect(node);
        }
        true
    }

    /// Ends the drain of a node. Idempotent. `false`: no such node is known.
    pub fn undrain(&self, node: i32) -> bool {
        if lock(&self.drains).0.remove(&node).is_some() {
            tracing::info!(node, "the drain of a broker is ended");
            self.set_drained(node, false);
            return true;
        }
        self.read(|view| view.nodes.contains_key(&node))
    }

    /// How far the drain of a node has come.
    pub fn drain_state(&self, node: i32) -> DrainState {
        let down = self.read(|view| view.is_down(node));
        let left = usize::try_from(self.metrics.member(&node.to_string()).in_flight.get()).unwrap_or(0);
        lock(&self.drains).state(node, left, down, now())
    }

    /// For how long a node that is drained was down, the longest time since its drain began; it has none without a drain.
    pub fn was_away(&self, node: i32) -> Option<Duration> {
        lock(&self.drains).0.get(&node).map(|drain| drain.away)
    }

    /// Whether a node is left alone: it is drained. One that isn't costs a look at a flag.
    pub fn is_drained(&self, node: i32) -> bool {
        self.any_drained() && self.read(|view| view.drained.contains(&node))
    }

    /// Whether any node is drained.
    pub fn any_drained(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// A request is held because `node` is drained, and has to be decided at `deadline`. A quarter of the time is left for the
    /// node to answer it after all.
    pub fn held_by_drain(&self, node: i32, deadline: Instant, now: Instant) {
        let at = now + deadline.saturating_duration_since(now) * 3 / 4;
        lock(&self.drains).bound(node, at);
    }

    fn set_drained(&self, node: i32, on: bool) {
        self.update_quietly(|view| {
            if on {
                view.drained.insert(node);
            } else {
                view.drained.remove(&node);
            }
            self.draining.store(!view.drained.is_empty(), Relaxed);
        });
        self.wake_all();
    }

    /// Looks at the drains until the first moment without any.
    async fn see_drains_end(&self) {
        loop {
            let down = self.read(|view| {
                let down = view.nodes.iter().filter(|(_, node)| matches!(node.health, Health::Down(_)));
                down.map(|(id, _)| *id).collect::<Vec<_>>()
            });
            let (ended, none) = {
                let mut drains = lock(&self.drains);
                let ended = drains.due(|node| down.contains(&node), now());
                (ended, drains.0.is_empty())
            };
            for (node, end) in ended {
                match end {
                    End::Over => tracing::warn!(node, "the drain of a broker was not repeated: it is over"),
                    End::Expired => {
                        tracing::warn!(
                            node,
                            "the drain of a broker has expired: it was not stopped, and what is held can't wait longer"
                        );
                    }
                }
                self.set_drained(node, false);
            }
            if none {
                return;
            }
            // Notices when the last answer of a member is there, too.
            let nodes: Vec<i32> = lock(&self.drains).0.keys().copied().collect();
            for node in nodes {
                let _ = self.drain_state(node);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Ends drains when their time has come, for as long as the process lives.
pub async fn end_drains(cluster: Arc<Cluster>) {
    loop {
        cluster.drains_changed.notified().await;
        cluster.see_drains_end().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(60);

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn drained_is_said_when_nothing_has_been_on_its_way_for_a_moment() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        assert_eq!(drains.state(1, 0, false, start), DrainState::Off);
        assert!(drains.begin(1, start + LASTS));
        assert!(!drains.begin(1, start + LASTS), "the same again is no news");
        assert_eq!(drains.state(1, 3, false, start), DrainState::Draining { left: 3 });
        assert_eq!(drains.state(1, 0, false, ms(start, 10)), DrainState::Draining { left: 0 });
        assert_eq!(drains.state(1, 1, false, ms(start, 200)), DrainState::Draining { left: 1 });
        assert_eq!(drains.state(1, 0, false, ms(start, 210)), DrainState::Draining { left: 0 });
        assert_eq!(drains.state(1, 0, false, ms(start, 459)), DrainState::Draining { left: 0 });
        assert_eq!(drains.state(1, 0, false, ms(start, 460)), DrainState::Drained);
        assert_eq!(drains.state(2, 0, false, start), DrainState::Off);
    }

    #[test]
    fn the_longest_time_away_since_the_drain_began_counts() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        let away = |drains: &Drains| drains.0.get(&1).map(|drain| drain.away);
        drains.note_away(1, LASTS);
        assert_eq!(away(&drains), None, "it is not drained");
        drains.begin(1, start + LASTS);
        assert_eq!(away(&drains), Some(Duration::ZERO));
        drains.note_away(1, Duration::from_secs(5));
        drains.note_away(1, Duration::from_millis(200));
        drains.begin(1, start + 2 * LASTS);
        assert_eq!(away(&drains), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_member_that_is_down_is_drained_at_once() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        drains.begin(1, start + LASTS);
        assert_eq!(drains.state(1, 0, true, start), DrainState::Drained);
        assert_eq!(drains.state(1, 2, true, start), DrainState::Drained, "nobody will answer those");
    }

    #[test]
    fn one_that_was_stopped_in_time_does_not_expire_when_it_is_back() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        drains.begin(1, start + LASTS);
        drains.bound(1, ms(start, 900));
        assert_eq!(drains.due(|_| true, ms(start, 1000)), [], "a member that is down has been stopped");
        assert_eq!(drains.due(|_| false, ms(start, 5000)), []);
        assert_eq!(drains.state(1, 1, false, ms(start, 5000)), DrainState::Draining { left: 1 });
    }

    #[test]
    fn it_expires_before_what_is_held_because_of_it_has_to_be_decided() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        drains.begin(1, start + LASTS);
        drains.bound(1, ms(start, 900));
        drains.bound(1, ms(start, 500));
        drains.bound(1, ms(start, 700));
        drains.bound(2, start); // isn't drained: no matter
        assert_eq!(drains.due(|_| false, ms(start, 499)), []);
        assert_eq!(drains.due(|_| false, ms(start, 500)), [(1, End::Expired)]);
        assert_eq!(drains.due(|_| false, ms(start, 501)), [], "once");
        assert_eq!(drains.state(1, 0, false, ms(start, 501)), DrainState::Expired);
        assert!(!drains.begin(1, start + LASTS), "repeating it doesn't begin it anew");
        assert_eq!(drains.state(1, 0, false, ms(start, 502)), DrainState::Expired);
    }

    #[test]
    fn nobody_repeats_it_and_it_is_over() {
        let (mut drains, start) = (Drains::default(), Instant::now());
        drains.begin(1, start + LASTS);
        drains.begin(1, start + 2 * LASTS);
        assert_eq!(drains.due(|_| false, start + LASTS), []);
        assert_eq!(drains.due(|_| true, start + 2 * LASTS), [(1, End::Over)]);
        assert_eq!(drains.state(1, 0, false, start + 2 * LASTS), DrainState::Off);
    }
}
