//! A print of a state: equal for states that can't be told apart from here on.
//!
//! Moments count by their order, where two of them are compared, and by the bounds that their age has passed. There are no
//! other bounds between those in the code that is checked, and so the states are finitely many.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// Longer than a refusal, a pause, or the time between two looks is minded; shorter than a telling takes.
pub(in crate::kafka) const SOON: Duration = Duration::from_millis(300);
/// Longer than a telling takes.
pub(in crate::kafka) const LATER: Duration = Duration::from_millis(1100);

/// A state's print as it is taken.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Print {
    words: Vec<u64>,
    times: Vec<(usize, Instant)>,
    ages: Vec<(usize, Instant)>,
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

    /// A moment that is compared with the present only.
    pub(in crate::kafka) fn age(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.ages.push((self.words.len(), at));
        }
        self.words.push(u64::from(at.is_some()));
    }

    /// A moment that is compared with others.
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
        let passed = |at: Instant| {
            let age = now.saturating_duration_since(at);
            1 + u64::from(at <= now) + u64::from(age >= SOON) + u64::from(age >= LATER)
        };
        for (place, at) in &self.times {
            let rank = sorted.binary_search(at).unwrap() as u64;
            self.words[*place] = rank << 8 | passed(*at);
        }
        for (place, at) in &self.ages {
            self.words[*place] = passed(*at);
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
