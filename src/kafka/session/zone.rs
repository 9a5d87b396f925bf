//! The zone in which this host's consumers are: a Fetch that names no rack is given it, so that brokers send its client to
//! a replica near it (KIP-392). Clients follow by themselves, to that node's port.
//!
//! A leader that names a nearer replica gives no records. A client that doesn't understand this would never get any: one
//! that goes on asking leaders all the same is left as it is from then on.

use crate::kafka::wire::fetch;
use bytes::BytesMut;
use std::time::{Duration, Instant};

/// So many answers in a row, within [`ROW`] of each other, that name a nearer replica show a client that doesn't follow.
/// A client that does is told so once for the partitions of a Fetch, and again when its knowledge is renewed (5 min).
const NOT_FOLLOWED: u32 = 20;
/// What comes later than this after the one before begins a new row.
const ROW: Duration = Duration::from_secs(5);

/// What is filled in, for one client connection.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    name: Option<String>,
    told: u32,
    last: Option<Instant>,
}

impl Zone {
    pub(super) fn new(name: Option<&str>) -> Self {
        Self { name: name.map(str::to_owned), told: 0, last: None }
    }

    /// Names the zone in a Fetch that names none.
    pub(super) fn fill(&self, version: i16, body_at: usize, frame: &mut BytesMut) {
        if let Some(name) = &self.name {
            fetch::fill_rack(version, body_at, frame, name.as_bytes());
        }
    }

    /// An answer has gone to the client, and named a nearer replica or not. Answers whether the client was found not to
    /// follow just now.
    pub(super) fn answered(&mut self, names_nearer: bool, now: Instant) -> bool {
        if self.name.is_none() || !names_nearer {
            return false;
        }
        let fresh = self.last.is_none_or(|last| now.saturating_duration_since(last) > ROW);
        self.told = if fresh { 1 } else { self.told + 1 };
        self.last = Some(now);
        let deaf = self.told >= NOT_FOLLOWED;
        if deaf {
            self.name = None;
        }
        deaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_follow_is_left_as_it_is() {
        let now = Instant::now();
        let mut zone = Zone::new(Some("a"));
        for second in 0..100 {
            assert!(!zone.answered(true, now + 2 * ROW * second), "told now and then: it follows");
        }
        let later = now + 300 * ROW;
        for _ in 1..NOT_FOLLOWED {
            assert!(!zone.answered(true, later));
            assert!(!zone.answered(false, later));
        }
        assert!(zone.answered(true, later));
        assert!(zone.name.is_none() && !zone.answered(true, later));
        assert!(!Zone::new(None).answered(true, now));
    }
}
