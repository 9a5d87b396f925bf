//! For how long each thing has been waited for, and what becomes of a wait that lasts too long.
//!
//! A wait ends when what it is for is there, or when the roll has come further. Nothing else makes it begin anew: a gate that is asked,
//! between two of a member's drains say, in which nothing came of it, is still the same gate. The time of a drain stands still while
//! it isn't ordered.

use std::collections::BTreeMap;

use super::{Core, Seen, Step};
use crate::driver::exit::{Exit, Halt};
use crate::driver::progress::{Progress, Run};
use crate::fleet::Reason;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Since when, by what it is for.
    since: BTreeMap<String, u64>,
    /// For how long something was waited for that isn't now, and will be again; milliseconds.
    stopped: BTreeMap<String, u64>,
    /// How far the roll had come.
    at: At,
}

/// How far a roll has come, as far as it doesn't go back to that: a turn may be begun and given up any number of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct At {
    done: usize,
    back: bool,
    /// Numbers of commands and of the lines that tell their ends.
    commands: [Option<(u64, Option<u64>)>; 2],
    raised: bool,
    goes_back: bool,
}

impl At {
    fn of(progress: &Progress) -> Self {
        let run = |run: Option<&Run>| run.map(|run| (run.n, run.end.as_ref().map(|end| end.n)));
        let turn = progress.turn.as_ref();
        Self {
            done: progress.done.len(),
            back: turn.is_some_and(|turn| turn.back),
            commands: [run(turn.and_then(|turn| turn.run.as_ref())), run(progress.finalize.as_ref())],
            raised: progress.raised.is_some(),
            goes_back: progress.direction == crate::driver::plan::Direction::Back,
        }
    }
}

impl Waits {
    /// Waits of an earlier part of the roll are over.
    pub(super) fn came_to(&mut self, progress: &Progress) {
        let at = At::of(progress);
        if at != self.at {
            self.at = at;
            self.since.clear();
            self.stopped.clear();
        }
    }

    /// What was waited for is there.
    pub(super) fn over(&mut self, key: &str) {
        self.since.remove(key);
        self.stopped.remove(key);
    }

    /// Something isn't waited for now, and will be again. For how many seconds it has been.
    pub(super) fn stop(&mut self, key: &str, now_ms: u64) -> u64 {
        if let Some(since) = self.since.remove(key) {
            self.stopped.insert(key.to_owned(), now_ms.saturating_sub(since));
        }
        self.stopped.get(key).map_or(0, |waited| waited / 1000)
    }

    /// Whether this has been waited for too long: the seconds.
    pub(super) fn exceeded(&mut self, key: &str, bound_s: u64, now_ms: u64) -> Option<u64> {
        let before = self.stopped.remove(key).unwrap_or_default();
        let since = *self.since.entry(key.to_owned()).or_insert(now_ms.saturating_sub(before));
        let waited = now_ms.saturating_sub(since) / 1000;
        (waited >= bound_s).then_some(waited)
    }
}

impl Core<'_> {
    /// Waits, or stops when that has lasted too long.
    pub(super) fn wait(
        &mut self,
        key: &str,
        bound_s: u64,
        seen: &Seen,
        reasons: Vec<Reason>,
        advice: &str,
    ) -> Step {
        match self.waits.exceeded(key, bound_s, seen.now_ms) {
            None => Step::Wait(reasons),
            Some(waited) => {
                let why: Vec<String> =
                    reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
                let text = format!("{key}: not after {waited} s: {}. {advice}", why.join("; "));
                Step::Halt(Halt::new(Exit::Closed, text))
            }
        }
    }

    /// Does something that may fail, until that has lasted too long.
    pub(super) fn attempt(&mut self, key: &str, bound_s: u64, seen: &Seen, step: Step) -> Step {
        match self.waits.exceeded(key, bound_s, seen.now_ms) {
            None => step,
            Some(waited) => {
                let why = seen.trouble.as_deref().unwrap_or("it is not done");
                let text =
                    format!("{key}: not after {waited} s: {why}. Cure that and start the driver again");
                Step::Halt(Halt::new(Exit::Closed, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_kept_side_by_side_until_they_are_over_or_the_roll_has_come_further() {
        let (mut waits, mut progress) = (Waits::default(), Progress::default());
        waits.came_to(&progress);
        assert_eq!(waits.exceeded("a", 10, 0), None);
        assert_eq!(waits.exceeded("b", 10, 9_000), None);
        assert_eq!(waits.exceeded("a", 10, 10_000), Some(10), "another wait was no end of it");
        waits.over("a");
        assert_eq!(waits.exceeded("a", 10, 11_000), None);
        waits.came_to(&progress);
        assert_eq!(waits.exceeded("b", 10, 19_000), Some(10));
        // What isn't waited for takes no time.
        assert_eq!((waits.stop("a", 14_000), waits.stop("a", 90_000), waits.stop("c", 90_000)), (3, 3, 0));
        assert_eq!(waits.exceeded("a", 10, 100_000), None);
        assert_eq!(waits.exceeded("a", 10, 106_999), None);
        assert_eq!(waits.exceeded("a", 10, 107_000), Some(10));
        waits.stop("a", 107_000);
        progress.done.push("1".to_owned());
        waits.came_to(&progress);
        assert_eq!((waits.exceeded("a", 10, 120_000), waits.exceeded("b", 10, 120_000)), (None, None));
    }
}
