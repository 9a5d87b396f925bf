//! A print of a state: equal for states that can't be told apart from here on.
//!
//! Moments count by what the code that is checked asks of them: their order among those that are compared with each other,
//! and whether the present is past them, or far enough past. So the states are finitely many.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// Longer than a refusal, a pause, or the time between two looks is minded; shorter than a telling takes.
pub(in crate::kafka) const SOON: Duration = Duration::from_millis(300);
/// Longer than a telling takes.
pub(in crate::kafka) const LATER: Duration = Duration::from_secs(61);

/// A state's print as it is taken at `now`.
#[derive(Debug)]
pub(in crate::kafka) struct Print {
    now: Instant,
    words: Vec<u64>,
    dates: Vec<(usize, Instant)>,
}

impl Print {
    /// An empty one.
    pub(in crate::kafka) fn new(now: Instant) -> Self {
        Self { now, words: Vec::new(), dates: Vec::new() }
    }

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

    /// Whether a moment is over by more than `by`.
    pub(in crate::kafka) fn over(&mut self, at: Option<Instant>, by: Duration) {
        let over = at.map(|at| (self.now > at, self.now.saturating_duration_since(at) >= by));
        self.put(&over);
    }

    /// Whether a moment is over by `by` or more, and nothing else of it.
    pub(in crate::kafka) fn past(&mut self, at: Option<Instant>, by: Duration) {
        self.put(&at.map(|at| self.now.saturating_duration_since(at) >= by));
    }

    /// A moment that is compared with others.
    pub(in crate::kafka) fn date(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.dates.push((self.words.len(), at));
        }
        self.words.push(u64::MAX);
    }

    /// The print.
    pub(in crate::kafka) fn finish(mut self) -> u64 {
        let mut sorted: Vec<Instant> = self.dates.iter().map(|(_, at)| *at).collect();
        sorted.sort_unstable();
        sorted.dedup();
        for (place, at) in &self.dates {
            self.words[*place] = sorted.binary_search(at).unwrap() as u64;
        }
        hash_of(&self.words)
    }
}

/// A value's own hash, to sort by.
pub(in crate::kafka) fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
