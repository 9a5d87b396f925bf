//! The clock. Floor 1; imports nothing of the crate.
//!
//! State machines take `now` as an argument; only the tasks around them ask this module, which follows tokio's
//! clock, so that tests can pause it.

use std::time::Instant;

/// The present moment by tokio's clock (which tests can pause and advance).
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
