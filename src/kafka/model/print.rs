//! A print of a state: equal for states that can't be told apart from here on.
//!
//! Moments count by their order and by their age in steps of [`STEP`], up to [`OLD`] steps: no rule that is checked looks
//! further, and so the states are finitely many.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// How far time goes on when it does.
pub(in crate::kafka) const STEP: Duration = Duration::from_millis(300);
/// After so many steps a moment is long ago.
const OLD: u128 = 4;

/// A state's print as it is taken.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Print {
    words: Vec<u64>,
    times: Vec<(usize, Instant)>,
}

impl Print {
    /// Anything that can be hashed.
    pub(in crate::kafka) fn put(&mut self, value: &(impl Hash + ?Sized)) {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        self.words.push(hasher.finish());
    }

    /// What is found in no order: each `put` into a print of its own.
    pub(in crate::kafka) fn unordered<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> u64,
        mut put: impl FnMut(&mut Self, &T),
    ) {
        let mut sorted: Vec<T> = items.collect();
        sorted.sort_by_key(|item| key(item));
        self.put(&sorted.len());
        for item in &sorted {
            put(self, item);
        }
    }

    /// A moment.
    pub(in crate::kafka) fn time(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.times.push((self.words.len(), at));
        }
        self.words.push(u64::from(at.is_some()));
    }

    /// The print, seen from `now`.
    pub(in crate::kafka) fn finish(mut self, now: Instant) -> u64 {
        let mut sorted: Vec<Instant> = self.times.iter().map(|(_, at)| *at).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let steps = |longer: Instant, than: Instant| {
            let nanos = longer.saturating_duration_since(than).as_nanos();
            u64::try_from(nanos.div_ceil(STEP.as_nanos()).min(OLD)).unwrap()
        };
        for (place, at) in &self.times {
            let rank = sorted.binary_search(at).unwrap() as u64;
            self.words[*place] = 1 | rank << 8 | steps(now, *at) << 32 | steps(*at, now) << 40;
        }
        let mut hasher = DefaultHasher::new();
        self.words.hash(&mut hasher);
        hasher.finish()
    }
}

/// A value's own hash, to sort by.
pub(in crate::kafka) fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
