//! The version pin: what clients are offered while members speak different versions.
//!
//! Down at once, up late. What a member no longer speaks is not offered from that moment on; what all members have gained
//! is offered only when they have had it, all of them up, for a quiet period, since a roll may still go back. Either way
//! only to clients that ask then: a connection keeps what it was told. Pure; time is passed in.

use super::versions;
use super::{Cluster, Health, lock};
use crate::time::now;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lowest and highest version by API key.
pub(super) type Ranges = BTreeMap<i16, (i16, i16)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pin {
    offered: Option<Ranges>,
    /// More than is offered, which all members share since then.
    wider: Option<(Ranges, Instant)>,
    /// An upgrade's plan lives: it goes up when that is finalized, and not before.
    held: bool,
}

/// What became of the pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing.
    No,
    /// Something is no longer offered.
    Down,
    /// More is offered.
    Up,
}

/// What both allow.
fn meet(one: &Ranges, other: &Ranges) -> Ranges {
    let both = one.iter().filter_map(|(key, (min, max))| {
        let (low, high) = other.get(key)?;
        Some((*key, (*min.max(low), *max.min(high))))
    });
    both.filter(|(_, (min, max))| min <= max).collect()
}

impl Pin {
    /// Takes in what the members share now. `settled`: all of them are up.
    pub(super) fn note(&mut self, shared: Ranges, settled: bool, now: Instant, quiet: Duration) -> Moved {
        let Some(offered) = &mut self.offered else {
            self.offered = Some(shared);
            return Moved::No;
        };
        let mut moved = Moved::No;
        let narrowed = meet(offered, &shared);
        if narrowed != *offered {
            *offered = narrowed;
            moved = Moved::Down;
        }
        if shared == *offered || !settled {
            self.wider = None; // the quiet period begins anew when they are all up
            return moved;
        }
        let since = match &self.wider {
            Some((same, since)) if *same == shared => *since,
            _ => now,
        };
        if !self.held && now.saturating_duration_since(since) >= quiet {
            *offered = shared;
            self.wider = None;
            return Moved::Up;
        }
        self.wider = Some((shared, since));
        moved
    }

    /// Holds it where it is, or lets it go up again after a quiet period, which begins anew.
    pub(super) fn hold(&mut self, held: bool) {
        if self.held && !held {
            self.wider = None;
        }
        self.held = held;
    }

    /// What clients are offered, once something is known.
    pub(super) fn offered(&self) -> Option<&Ranges> {
        self.offered.as_ref()
    }

    /// Since when all members have shared more than is offered.
    pub(super) fn wider_since(&self) -> Option<Instant> {
        self.wider.as_ref().map(|(_, since)| *since)
    }
}

impl Cluster {
    /// Clients are offered no more than now while an upgrade's plan lives; without one as after a quiet period.
    pub fn hold_pin(&self, held: bool) {
        lock(&self.pin).hold(held);
    }

    /// An upgrade is finalized: clients are offered at once what all members speak.
    pub fn lift_pin(&self) {
        lock(&self.pin).hold(false);
        self.move_pin_after(Duration::ZERO);
    }

    /// Looks at what the members speak, and moves the pin if it is time.
    pub(super) fn move_pin(&self) {
        self.move_pin_after(self.settings().kafka.version_quiet);
    }

    fn move_pin_after(&self, quiet: Duration) {
        let (members, settled) = self.read(|view| {
            let members: Vec<_> = view.nodes.values().filter_map(|node| node.versions.clone()).collect();
            let up = view.nodes.values().all(|node| node.health == Health::Up);
            (members, up)
        });
        let shared = versions::intersection(members.iter().map(Arc::as_ref));
        if shared.is_empty() {
            return;
        }
        let mut pin = lock(&self.pin);
        let moved = pin.note(shared, settled, now(), quiet);
        self.metrics.upgrade_pin_active.set(i64::from(pin.wider_since().is_some()));
        drop(pin);
        match moved {
            Moved::No => {}
            Moved::Down => {
                tracing::info!("a broker speaks less than the others: new clients are offered less");
            }
            Moved::Up => tracing::info!(
                "all brokers have spoken newer API versions for a while: new clients are offered them"
            ),
        }
    }

    /// The API versions that clients are offered, once every listed member was tried and one has answered.
    pub fn shared_versions(&self) -> Option<BTreeMap<i16, (i16, i16)>> {
        if self.read(|view| view.nodes.values().any(|node| node.health == Health::Untried)) {
            return None;
        }
        self.move_pin();
        lock(&self.pin).offered().cloned()
    }

    /// For how long all members have shared more than is offered, if they do.
    pub(super) fn pinned_for(&self) -> Option<Duration> {
        let since = lock(&self.pin).wider_since()?;
        Some(now().saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(60);

    fn ranges(of: &[(i16, i16, i16)]) -> Ranges {
        of.iter().map(|&(key, min, max)| (key, (min, max))).collect()
    }

    #[test]
    fn the_first_word_is_offered_and_less_at_once() {
        let (mut pin, t0) = (Pin::default(), Instant::now());
        assert_eq!(pin.note(ranges(&[(0, 0, 9), (1, 0, 12), (60, 0, 0)]), true, t0, QUIET), Moved::No);
        assert_eq!(pin.note(ranges(&[(0, 0, 9), (1, 4, 17)]), true, t0, QUIET), Moved::Down);
        assert_eq!(
            pin.offered(),
            Some(&ranges(&[(0, 0, 9), (1, 4, 12)])),
            "never more than before, never less than all speak"
        );
    }

    #[test]
    fn more_is_offered_after_a_quiet_period_with_all_of_them_up() {
        let (mut pin, t0) = (Pin::default(), Instant::now());
        let (old, new) = (ranges(&[(1, 0, 12)]), ranges(&[(1, 0, 17)]));
        pin.note(old.clone(), true, t0, QUIET);
        assert_eq!(pin.note(new.clone(), true, t0, QUIET), Moved::No);
        assert_eq!(pin.note(new.clone(), true, t0 + QUIET / 2, QUIET), Moved::No);
        // One goes down: the period begins anew.
        pin.note(new.clone(), false, t0 + QUIET, QUIET);
        assert_eq!((pin.offered(), pin.wider_since()), (Some(&old), None));
        pin.note(new.clone(), true, t0 + QUIET, QUIET);
        assert_eq!(pin.wider_since(), Some(t0 + QUIET));
        assert_eq!(pin.note(new.clone(), true, t0 + 2 * QUIET, QUIET), Moved::Up);
        assert_eq!(pin.offered(), Some(&new));
    }

    #[test]
    fn a_plan_holds_it_until_it_is_finalized() {
        let (mut pin, t0) = (Pin::default(), Instant::now());
        let (old, new) = (ranges(&[(1, 0, 12)]), ranges(&[(1, 0, 17)]));
        pin.note(old.clone(), true, t0, QUIET);
        pin.hold(true);
        pin.note(new.clone(), true, t0, QUIET);
        assert_eq!(pin.note(new.clone(), true, t0 + QUIET * 9, QUIET), Moved::No);
        assert_eq!(
            (pin.offered(), pin.wider_since()),
            (Some(&old), Some(t0)),
            "it is shown that there is more"
        );
        // Given up: as without a plan.
        pin.hold(false);
        assert_eq!(pin.note(new.clone(), true, t0 + QUIET * 9, QUIET), Moved::No);
        pin.hold(true);
        pin.hold(false);
        assert_eq!(pin.note(new.clone(), true, t0 + QUIET * 9, Duration::ZERO), Moved::Up, "finalized");
    }

    #[test]
    fn another_change_begins_the_quiet_period_anew() {
        let (mut pin, t0) = (Pin::default(), Instant::now());
        pin.note(ranges(&[(1, 0, 12)]), true, t0, QUIET);
        pin.note(ranges(&[(1, 0, 15)]), true, t0, QUIET);
        assert_eq!(pin.note(ranges(&[(1, 0, 17)]), true, t0 + QUIET, QUIET), Moved::No);
        assert_eq!(pin.note(ranges(&[(1, 0, 17)]), true, t0 + 2 * QUIET, QUIET), Moved::Up);
    }

    #[test]
    fn a_roll_that_goes_back_takes_back_what_was_offered() {
        let (mut pin, t0) = (Pin::default(), Instant::now());
        let (old, new) = (ranges(&[(1, 0, 12)]), ranges(&[(1, 4, 17)]));
        pin.note(new, true, t0, QUIET);
        assert_eq!(pin.note(old.clone(), true, t0, QUIET), Moved::Down);
        assert_eq!(pin.offered(), Some(&ranges(&[(1, 4, 12)])));
        assert_eq!(pin.note(old.clone(), true, t0 + QUIET, QUIET), Moved::Up);
        assert_eq!(pin.offered(), Some(&old));
    }
}
