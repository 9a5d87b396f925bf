//! Retrying without harm: back-off with jitter, a budget for each member, and the three verdicts.
//!
//! Floor 3: pure, protocol-blind. Time and randomness are passed in.

mod backoff;
mod budget;
mod verdict;

pub use backoff::Backoff;
pub use budget::Budget;
pub use verdict::Verdict;
