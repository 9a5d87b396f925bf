//! Exponential back-off with full jitter.

use rand::{Rng, RngExt};
use std::time::Duration;

/// Pauses between attempts: the ceiling doubles from `min` to `max`; each pause is drawn evenly from `min / 2` to
/// the ceiling, so that many sidecars that lost one broker come back spread out.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// A back-off between `min` and `max` (if they are the wrong way round, `max` counts as `min`).
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), attempts: 0 }
    }

    /// The pause before the next attempt.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self.min.saturating_mul(1 << self.attempts.min(20)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let low = self.min / 2;
        low + ceiling.saturating_sub(low).mul_f64(rng.random::<f64>())
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Start over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn pauses_grow_to_the_maximum_and_stay_within_bounds() {
        let mut rng = StdRng::seed_from_u64(7);
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut largest = Duration::ZERO;
        let mut backoff = Backoff::new(min, max);
        for attempt in 0..200 {
            let pause = backoff.next(&mut rng);
            assert!(pause >= min / 2 && pause <= max, "{pause:?}");
            if attempt == 0 {
                assert!(pause <= min, "the first pause is short: {pause:?}");
            }
            largest = largest.max(pause);
        }
        assert!(largest > max * 9 / 10, "the ceiling is reached: {largest:?}");
        backoff.reset();
        assert!(backoff.next(&mut rng) <= min);
    }

    #[test]
    fn bounds_the_wrong_way_round_do_no_harm() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        assert!(backoff.next(&mut rng) <= Duration::from_secs(2));
    }
}
