//! How soon a cluster is asked again while somebody waits for a leader or a coordinator. Pure; imports `retry` alone. Time
//! and randomness are passed in.
//!
//! One broker's death sets every sidecar of a fleet looking at the same moment, and none of them knows how many others
//! there are. So looks are quick only for as long as elections take, slow down the longer nothing comes of them, are spread
//! by jitter, take up no more than a share of the time that brokers need to answer them, and have a budget.

use crate::retry::Budget;
use rand::{Rng, RngExt};
use std::time::{Duration, Instant};

/// What the pauses grow to in the first half second, and stay at in the time that Kafka takes to notice a killed broker.
const STEADY: Duration = Duration::from_millis(200);
/// Later a pause is this part of the time that has been waited, so that it adds next to nothing to that.
const OF_THE_WAIT: u32 = 75;
/// However long somebody has waited.
const SLOWEST: Duration = Duration::from_secs(1);
/// A pause is so many times as long as looks take to be answered: of a fleet, about one in twenty has one under way at most.
const TIMES_THE_ANSWER: u32 = 20;
/// Looks in each second, and at once after a rest, however much is news.
const BUDGET: u32 = 20;
/// What is news so soon after other news changes nothing: looks are quick yet.
const QUICK_FOR: Duration = Duration::from_millis(250);

/// The pace of the looks at one cluster.
#[derive(Debug)]
pub(super) struct Pace {
    /// Since when somebody has waited with no news.
    since: Option<Instant>,
    pause: Duration,
    /// How long answers take, smoothed.
    answer: Duration,
    budget: Budget,
}

impl Pace {
    /// Nobody waits yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: None, pause: Duration::ZERO, answer: Duration::ZERO, budget: Budget::new(BUDGET, now) }
    }

    /// A look was answered after so long.
    pub(super) fn answered(&mut self, after: Duration) {
        self.answer = if self.answer.is_zero() { after } else { (self.answer * 3 + after) / 4 };
    }

    /// Nobody waits any more.
    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// Something has just changed in the cluster. Answers whether the next looks are quick again for that.
    pub(super) fn news(&mut self, now: Instant) -> bool {
        let slow = self.since.is_some_and(|since| now.saturating_duration_since(since) >= QUICK_FOR);
        if slow {
            self.since = None;
        }
        slow
    }

    /// The pause before the first look after a rest, or after news.
    fn begin(&mut self, first: Duration, now: Instant, rng: &mut impl Rng) -> Duration {
        let spread = first.min(STEADY).mul_f64(rng.random::<f64>());
        (self.since, self.pause) = (Some(now), first);
        self.within_budget(spread, now)
    }

    /// The pause before the next look while somebody waits. `first`: `leader_poll`.
    pub(super) fn next(&mut self, first: Duration, now: Instant, rng: &mut impl Rng) -> Duration {
        let Some(since) = self.since else { return self.begin(first, now, rng) };
        let waited = now.saturating_duration_since(since);
        let longest = (waited / OF_THE_WAIT).clamp(STEADY, SLOWEST).max(first);
        let pause = self.pause.min(longest);
        self.pause = (self.pause * 3 / 2).min(SLOWEST.max(first));
        let for_the_brokers = (self.answer * TIMES_THE_ANSWER).min(SLOWEST);
        let jitter = rng.random::<f64>() + 0.5;
        self.within_budget(pause.max(for_the_brokers).mul_f64(jitter), now)
    }

    fn within_budget(&mut self, mut pause: Duration, now: Instant) -> Duration {
        while let Err(wait) = self.budget.take(now + pause) {
            pause += wait.max(Duration::from_micros(1));
        }
        pause
    }
}

#[cfg(test)]
mod tests;
