//! For how long something has been well, and how many errors clients saw lately. Pure; time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// With nothing known for longer than this, what was well before says nothing any more. Who asks every 30 s and a little is no gap.
const GAP: Duration = Duration::from_secs(60);
/// How far back errors are remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Samples closer together than this are one.
const STEP: Duration = Duration::from_secs(1);

/// Since when something has been well without a break.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stable {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Stable {
    /// Takes in whether it is well now.
    pub fn note(&mut self, good: bool, now: Instant) {
        let gap = self.last.is_none_or(|last| now.saturating_duration_since(last) > GAP);
        self.since = match self.since {
            _ if !good => None,
            Some(since) if !gap => Some(since),
            _ => Some(now),
        };
        self.last = Some(now);
    }

    /// For how long it has been well; nothing if it isn't.
    pub fn lasts(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The errors that clients were shown, counted from when this process began.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    samples: VecDeque<(Instant, u64)>,
    /// So many in a second before the plan began.
    baseline: f64,
}

impl Errors {
    /// Takes in the count as it is now.
    pub fn note(&mut self, total: u64, now: Instant) {
        if let Some((at, last)) = self.samples.back_mut()
            && now.saturating_duration_since(*at) < STEP
        {
            *last = total.max(*last);
            return;
        }
        self.samples.push_back((now, total));
        while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > REMEMBERED) {
            self.samples.pop_front();
        }
    }

    /// How many there were within `window` before `now`, and over which time that is known.
    fn within(&self, window: Duration, now: Instant) -> (u64, Duration) {
        let age = |at: Instant| now.saturating_duration_since(at);
        // The last one before the window is what there was when it began.
        let before = self.samples.iter().rev().find(|(at, _)| age(*at) > window).or(self.samples.front());
        let (Some((from, first)), Some((_, last))) = (before, self.samples.back()) else {
            return (0, Duration::ZERO);
        };
        (last.saturating_sub(*first), age(*from).min(window))
    }

    /// A plan begins: what clients see now is what they are used to.
    pub fn begin(&mut self, now: Instant) {
        let (count, known) = self.within(REMEMBERED / 2, now);
        // Of a few seconds nothing can be said.
        self.baseline = if known < STEP * 10 { 0.0 } else { as_f64(count) / known.as_secs_f64() };
    }

    /// How many errors there were within `window`, if that is more than clients are used to, and how many that is.
    pub fn above_baseline(&self, window: Duration, now: Instant) -> Option<(u64, u64)> {
        let (count, known) = self.within(window, now);
        // Rounded up, and one more where there were any: errors come in no even steps.
        let usual = self.baseline * known.as_secs_f64();
        let allowed = if usual > 0.0 { usual.ceil() + 1.0 } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number above 0")]
        let allowed = allowed as u64;
        (count > allowed).then_some((count, allowed))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of errors within minutes")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_well_lasts_until_it_is_not_or_nothing_is_known() {
        let (mut stable, t0) = (Stable::default(), Instant::now());
        assert_eq!(stable.lasts(t0), Duration::ZERO);
        for second in 0..=20 {
            stable.note(true, t0 + SECOND * second);
        }
        assert_eq!(stable.lasts(t0 + SECOND * 20), SECOND * 20);
        stable.note(false, t0 + SECOND * 21);
        assert_eq!(stable.lasts(t0 + SECOND * 21), Duration::ZERO);
        stable.note(true, t0 + SECOND * 22);
        stable.note(true, t0 + SECOND * 22 + GAP);
        assert_eq!(stable.lasts(t0 + SECOND * 22 + GAP), GAP, "at the edge it is no gap yet");
        stable.note(true, t0 + SECOND * 23 + GAP * 2);
        assert_eq!(stable.lasts(t0 + SECOND * 23 + GAP * 2), Duration::ZERO, "nobody knows what was between");
    }

    #[test]
    fn errors_that_clients_are_used_to_are_no_news() {
        let (mut errors, t0) = (Errors::default(), Instant::now());
        // One every two seconds.
        for second in 0..100u32 {
            errors.note(u64::from(second / 2), t0 + SECOND * second);
        }
        errors.begin(t0 + SECOND * 100);
        for second in 100..200u32 {
            errors.note(u64::from(second / 2), t0 + SECOND * second);
        }
        assert_eq!(errors.above_baseline(SECOND * 60, t0 + SECOND * 200), None);
        errors.note(200, t0 + SECOND * 200);
        let (count, usual) = errors.above_baseline(SECOND * 60, t0 + SECOND * 200).unwrap();
        assert!(count > 100 && (30..=32).contains(&usual), "{count} {usual}");
    }

    #[test]
    fn without_errors_before_one_is_too_many_until_it_is_past() {
        let (mut errors, t0) = (Errors::default(), Instant::now());
        errors.note(7, t0);
        errors.begin(t0 + SECOND);
        errors.note(7, t0 + SECOND * 2);
        assert_eq!(
            errors.above_baseline(SECOND * 60, t0 + SECOND * 2),
            None,
            "those from before don't count"
        );
        errors.note(8, t0 + SECOND * 4);
        assert_eq!(errors.above_baseline(SECOND * 60, t0 + SECOND * 4), Some((1, 0)));
        for second in 5..70u32 {
            errors.note(8, t0 + SECOND * second);
        }
        assert_eq!(errors.above_baseline(SECOND * 60, t0 + SECOND * 69), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut errors, t0) = (Errors::default(), Instant::now());
        for tenth in 0..20_000u32 {
            errors.note(0, t0 + SECOND / 10 * tenth);
        }
        assert!(errors.samples.len() <= 602, "{}", errors.samples.len());
    }
}
