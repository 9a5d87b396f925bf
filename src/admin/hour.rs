//! The last hour's errors of one cluster's clients, minute by minute: those that they saw, and those that they were spared. Pure; time is
//! passed in. Its size never changes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// So many minutes are kept.
const MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// Errors since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// Those that clients were given.
    pub shown: u64,
    /// Those that they were spared.
    pub masked: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Hour {
    /// When the newest minute began.
    began: Option<Instant>,
    /// The oldest first; the last one is still running.
    minutes: VecDeque<ErrorCounts>,
    last: ErrorCounts,
}

impl Default for Hour {
    fn default() -> Self {
        Self {
            began: None,
            minutes: std::iter::repeat_n(ErrorCounts::default(), MINUTES).collect(),
            last: ErrorCounts::default(),
        }
    }
}

impl Hour {
    /// Takes in the counts as they are now. What came since the last time counts for this minute, so that it wants to be told more than
    /// once a minute.
    pub(super) fn note(&mut self, counts: ErrorCounts, now: Instant) {
        self.turn(now);
        if let Some(newest) = self.minutes.back_mut() {
            newest.shown += counts.shown.saturating_sub(self.last.shown);
            newest.masked += counts.masked.saturating_sub(self.last.masked);
        }
        self.last = counts;
    }

    /// Lets the minutes pass that have passed.
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began).as_secs() / MINUTE.as_secs();
        // After an hour without a word all of them are empty; more turns would change nothing.
        for _ in 0..passed.min(MINUTES as u64) {
            self.minutes.pop_front();
            self.minutes.push_back(ErrorCounts::default());
        }
        let turned = Duration::from_secs(passed.saturating_mul(MINUTE.as_secs()));
        self.began = began.checked_add(turned).or(Some(now));
    }

    /// Every minute, the oldest first, the last one still running.
    pub(super) fn shown(&self) -> Value {
        let each = |of: fn(&ErrorCounts) -> u64| self.minutes.iter().map(of).collect::<Vec<u64>>();
        json!({ "shown": each(|minute| minute.shown), "masked": each(|minute| minute.masked) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(shown: u64, masked: u64) -> ErrorCounts {
        ErrorCounts { shown, masked }
    }

    fn told(hour: &Hour) -> Vec<(u64, u64)> {
        hour.minutes.iter().map(|minute| (minute.shown, minute.masked)).collect()
    }

    #[test]
    fn what_came_counts_for_the_minute_in_which_it_was_seen() {
        let (mut hour, t0) = (Hour::default(), Instant::now());
        hour.note(counts(0, 0), t0);
        hour.note(counts(1, 5), t0 + Duration::from_secs(30));
        hour.note(counts(1, 9), t0 + Duration::from_secs(59));
        hour.note(counts(3, 9), t0 + Duration::from_secs(61));
        hour.note(counts(3, 10), t0 + Duration::from_secs(245));
        assert_eq!(told(&hour)[55..], [(1, 9), (2, 0), (0, 0), (0, 0), (0, 1)]);
        assert_eq!(hour.shown()["masked"].as_array().unwrap().len(), MINUTES);
    }

    #[test]
    fn it_forgets_after_an_hour_and_never_grows() {
        let (mut hour, t0) = (Hour::default(), Instant::now());
        for minute in 0..200 {
            hour.note(counts(minute + 1, 0), t0 + MINUTE * u32::try_from(minute).unwrap());
        }
        assert_eq!(told(&hour), vec![(1, 0); MINUTES]);
        hour.note(counts(200, 0), t0 + MINUTE * 100_000);
        assert_eq!(told(&hour), vec![(0, 0); MINUTES]);
        // Counts that go back are those of something new: nothing is made of them.
        hour.note(counts(3, 0), t0 + MINUTE * 100_000);
        hour.note(counts(4, 0), t0 + MINUTE * 100_000);
        assert_eq!(told(&hour)[MINUTES - 1], (1, 0));
    }
}
