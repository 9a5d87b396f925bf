//! When nobody could tell persistent watches anything: from the stop of a leader on, which takes every connection of every server
//! with it. Whether that excuses anything depends on what Evenkeel was told to do about it.

use crate::zookeeper::history::Line;

/// A restart of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Whether it led.
    pub led: bool,
    /// When it was about to be stopped, in microseconds since the epoch. A drain is over by then.
    pub from_us: i64,
    /// When it was back and clients had gone on.
    pub until_us: i64,
}

/// What the stop of a leader excuses for a client with a persistent watch; for others, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excuse {
    /// Nothing.
    #[default]
    Nothing,
    /// That its connection is closed then, and that it is not told of what changes until it has set its watch anew. Where the
    /// connection is kept, it has to be told of everything.
    Closed,
    /// That it isn't told of what changes then, though its connection is kept.
    Kept,
}

/// A time in which a client need not be told of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its begin, in microseconds since the epoch.
    pub from_us: i64,
    /// Its end.
    pub until_us: i64,
}

impl Gap {
    /// Whether what took from the one moment to the other may have happened in it.
    pub fn touches(&self, from_us: i64, until_us: i64) -> bool {
        from_us <= self.until_us && until_us >= self.from_us
    }
}

/// The gaps that are excused to a client with a persistent watch.
pub fn gaps(excuse: Excuse, lines: &[Line], stops: &[Stop]) -> Vec<Gap> {
    let led = stops.iter().filter(|stop| stop.led);
    led.filter_map(|stop| {
        let (from_us, until_us) = (stop.from_us, stop.until_us);
        match excuse {
            Excuse::Nothing => None,
            Excuse::Kept => Some(Gap { from_us, until_us }),
            Excuse::Closed => {
                let closed = lines.iter().rev().find_map(|line| match line {
                    Line::Session { at_us, what } if what == "disconnected" => {
                        (from_us..=until_us).contains(at_us).then_some(*at_us)
                    }
                    _ => None,
                })?;
                let again = lines.iter().find_map(|line| match line {
                    Line::Planted { at_us } if *at_us > closed => Some(*at_us),
                    _ => None,
                });
                Some(Gap { from_us, until_us: again.unwrap_or(i64::MAX) })
            }
        }
    })
    .collect()
}
