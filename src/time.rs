//! The clock. Floor 1; imports nothing of the crate.
//!
//! State machines take `now` as an argument; only the tasks around them ask this module, which follows tokio's
//! clock, so that tests can pause it.
//!
//! [`now`] stands still while the machine is suspended. What a server on another machine counts does not: for that there
//! is [`boot`].

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// The present moment by tokio's clock (which tests can pause and advance).
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(at) = FIXED.get() {
        return at;
    }
    tokio::time::Instant::now().into_std() + leapt()
}

#[cfg(not(test))]
const fn leapt() -> Duration {
    Duration::ZERO
}

/// A moment on the clock that goes on while the machine is suspended (`CLOCK_BOOTTIME`): the time since it was started.
///
/// Sums and differences stop at the ends of the range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(Duration);

impl Boot {
    /// The moment so long after the start of the machine.
    pub const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long ago `earlier` was; nothing if it is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Boot {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl Sub<Duration> for Boot {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

/// The present moment by the clock that counts suspend.
#[cfg(not(test))]
pub fn boot() -> Boot {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is ever negative; a clock that said so would be at its start.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Boot(Duration::new(seconds, nanos))
}

/// The present moment, an hour after the first call, by tokio's clock (which tests can pause and advance).
#[cfg(test)]
pub fn boot() -> Boot {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(now);
    let start = *START;
    Boot(Duration::from_secs(3600) + now().saturating_duration_since(start))
}

#[cfg(test)]
thread_local! {
    static FIXED: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// From now on it is `at` on this thread, until another moment is fixed.
#[cfg(test)]
pub(crate) fn fix(at: Instant) {
    FIXED.set(Some(at));
}

#[cfg(test)]
thread_local! {
    static LEAP: std::cell::Cell<(u32, Duration)> = const { std::cell::Cell::new((0, Duration::ZERO)) };
}

/// When it has been read so many times more on this thread, the clock is ahead by so much there: as if the process had been
/// frozen in between. Timers know nothing of it.
#[cfg(test)]
pub(crate) fn leap_after(reads: u32, by: Duration) {
    LEAP.set((reads, by));
}

#[cfg(test)]
fn leapt() -> Duration {
    match LEAP.get() {
        (0, by) => by,
        (reads, by) => {
            LEAP.set((reads - 1, by));
            Duration::ZERO
        }
    }
}

/// From now on a clock that is paused goes on in such steps, each of which takes a moment of real time: what is on a socket arrives
/// meanwhile. Without it the clock leaps to the next timer, perhaps the time-out of what has just been sent.
#[cfg(test)]
pub(crate) fn go_on(step: Duration) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(step).await;
            std::thread::sleep(Duration::from_micros(100));
        }
    });
}

/// Whether the moment is fixed on this thread.
#[cfg(test)]
pub(crate) fn is_fixed() -> bool {
    FIXED.get().is_some()
}
