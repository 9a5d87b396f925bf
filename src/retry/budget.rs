//! A bound on attempts for each member, however many connections want it.

use std::time::{Duration, Instant};

/// A token bucket: `rate` attempts in a second, and at most one second's worth saved up.
#[derive(Clone, Debug)]
pub struct Budget {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Budget {
    /// A full bucket of `per_second` attempts (0 counts as 1).
    pub fn new(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second.max(1));
        Self { rate, tokens: rate, filled: now }
    }

    /// Takes one attempt, or says how long to wait until there is one.
    ///
    /// # Errors
    /// The time until the next attempt is there.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
        }
    }

    /// Changes the rate; what is saved up stays, capped by the new rate.
    pub fn set_rate(&mut self, per_second: u32) {
        self.rate = f64::from(per_second.max(1));
        self.tokens = self.tokens.min(self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_no_more_than_its_rate_after_the_first_burst() {
        let start = Instant::now();
        let mut budget = Budget::new(20, start);
        let mut taken = 0;
        for ms in 0..3000u64 {
            if budget.take(start + Duration::from_millis(ms)).is_ok() {
                taken += 1;
            }
        }
        assert!((78..=81).contains(&taken), "a burst of 20, then 20 a second: {taken}");
    }

    #[test]
    fn the_wait_that_it_names_is_enough() {
        let start = Instant::now();
        let mut budget = Budget::new(1, start);
        assert_eq!(budget.take(start), Ok(()));
        let wait = budget.take(start).unwrap_err();
        assert_eq!(budget.take(start + wait + Duration::from_micros(1)), Ok(()));
    }
}
