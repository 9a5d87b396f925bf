//! The clock. Floor 1; imports nothing of the crate.
//!
//! State machines take `now` as an argument; only the tasks around them ask this module, which follows tokio's
//! clock, so that tests can pause it.

use std::time::Instant;

/// The present moment by tokio's clock (which tests can pause and advance).
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(at) = FIXED.get() {
        return at;
    }
    tokio::time::Instant::now().into_std()
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

/// Whether the moment is fixed on this thread.
#[cfg(test)]
pub(crate) fn is_fixed() -> bool {
    FIXED.get().is_some()
}
