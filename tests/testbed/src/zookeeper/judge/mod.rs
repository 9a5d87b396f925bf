//! Judges what clients of `ZooKeeper` went through by what is in the ensemble and by what others changed there. Pure: no
//! clock, no connection. `writes` has the rules for writes, `watches` those for watches, `gaps` what nobody could have told.

mod gaps;
mod watches;
mod writes;

#[cfg(test)]
mod tests;

pub use gaps::{Excuse, Gap, Stop, gaps};
pub use watches::{Made, Planting, Tree, Watches, judge_tree, judge_watches};
pub use writes::{Truth, Writes, judge_writes};

use super::history::Line;

/// What became of a client's session and of what hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// How often the client was told that its session has expired.
    pub expired: usize,
    /// How often it was told that it is disconnected.
    pub disconnects: usize,
    /// How often its connection was closed in a gap that is excused; those are no disconnects.
    pub closed: usize,
    /// The longest time from a disconnect until it was connected again, in microseconds.
    pub longest_us: i64,
    /// What recipes lost while the client lived, one for each.
    pub recipes_lost: Vec<String>,
}

/// Judges what was told of the session until `until_us`; what comes later is the client's own end. `gaps`: when its connection
/// may be closed.
pub fn judge_sessions(lines: &[Line], until_us: i64, gaps: &[Gap]) -> Sessions {
    let mut found = Sessions::default();
    let mut gone = None;
    for line in lines {
        match line {
            Line::Session { at_us, what } if *at_us <= until_us => match what.as_str() {
                "expired" => found.expired += 1,
                "disconnected" if gaps.iter().any(|gap| gap.touches(*at_us, *at_us)) => found.closed += 1,
                "disconnected" => {
                    found.disconnects += 1;
                    gone = gone.or(Some(*at_us));
                }
                "connected" => {
                    if let Some(since) = gone.take() {
                        found.longest_us = found.longest_us.max(at_us - since);
                    }
                }
                _ => {}
            },
            Line::Recipe { at_us, which, what } if *at_us <= until_us && what == "lost" => {
                found.recipes_lost.push(which.clone());
            }
            _ => {}
        }
    }
    if let Some(since) = gone {
        found.longest_us = found.longest_us.max(until_us - since);
    }
    found
}
