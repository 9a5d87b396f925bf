//! How long no server of an ensemble has answered anybody.

use crate::time::Boot;
use std::time::Duration;

/// Since when an ensemble has been away, for all sessions together.
///
/// While it has been away for longer than T, new client connections are refused rather than accepted into silence: a Java
/// client from 3.9.3 on takes a TCP connect that succeeds for a sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    since: Option<Boot>,
}

impl Outage {
    /// A server has answered something.
    pub fn over(&mut self) {
        self.since = None;
    }

    /// No server can be reached; the first time counts.
    pub fn seen(&mut self, now: Boot) {
        self.since.get_or_insert(now);
    }

    /// Whether new clients are to be refused: it has lasted longer than `timeout`, the longest that is granted.
    pub fn refuses(&self, timeout: Duration, now: Boot) -> bool {
        self.since.is_some_and(|since| now.since(since) > timeout)
    }
}
