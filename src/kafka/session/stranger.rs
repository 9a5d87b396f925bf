//! Leaving a connection that leads to another broker than the node that was meant, where that could not be told when it was made.

use super::Session;
use super::link::Event;
use std::time::{Duration, Instant};

/// What is on its way is waited for so long: another broker answers at once, if only that it doesn't lead what it is asked for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Session {
    /// `node` has refused all that a request was about, though it is said to lead it.
    pub(super) fn refused_by(&mut self, node: i32, now: Instant) {
        if self.link_mut(node).is_some_and(|link| link.refused(now)) {
            self.cluster.doubt(node, now);
            self.words = u64::MAX; // what was found before may be about it
        }
    }

    /// Closes links to what has turned out to be other brokers. Answers whether anything changed.
    pub(super) fn leave_strangers(&mut self, now: Instant) -> bool {
        let words = self.cluster.words();
        if self.words == words {
            return false;
        }
        self.words = words;
        if self.is_bypassing() {
            return false;
        }
        let found = self.links.iter().filter_map(|link| {
            let since = self.cluster.stranger(link.node, &link.peer()?, link.is_doubtful())?;
            Some((link.node, since + LAST_ANSWERS))
        });
        let strangers: Vec<(i32, Instant)> = found.collect();
        let mut moved = false;
        for (node, bound) in strangers {
            if self.leave(node, "another broker answers there", now) {
                moved = true;
            } else if now < bound {
                self.words = u64::MAX; // looked at again
                self.wake_before(bound);
            } else {
                let event = self.link_mut(node).map(|link| link.disconnect("another broker".to_owned()));
                if let Some(Event::Disconnected { reason, lost, silent }) = event {
                    self.on_disconnect(node, &reason, lost, silent, now);
                    moved = true;
                }
            }
        }
        moved
    }
}
