//! One member's turn, as it is seen from here. Pure; time is passed in.

use std::time::{Duration, Instant};

use super::facts::{DrainState, Member, Reach};
use super::history::Stable;
use super::phase::{Phase, Seen};
use super::roll::Action;

/// Who was away for less was only out of reach: no broker and no server is stopped and back so soon (2 s and 1 s at the least were seen),
/// and a look or two of those that find it out may be late.
const GONE: Duration = Duration::from_millis(750);

/// A member's turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    pub phase: Phase,
    /// When its drain was ordered, until it is drained.
    pub ordered: Option<Instant>,
    /// A plan ordered its drain.
    pub by_plan: bool,
    /// Since when it has been down.
    pub down: Option<Instant>,
    /// It was drained when it went down, or a plan's drain of it had expired.
    pub was_drained: bool,
    /// It was drained, down, and is back.
    pub rolled: bool,
    /// Since when it serves again.
    pub back: Option<Instant>,
    pub stable: Stable,
}

impl Turn {
    /// Takes in whether all but time is well; `None` is no news.
    pub(super) fn note(&mut self, well: Option<bool>, now: Instant) {
        if let Some(well) = well {
            self.stable.note(well, now);
        }
    }

    /// Takes in what is known of the member; what is to be done is added to `actions`.
    pub(super) fn step(&mut self, member: &Member, well: bool, now: Instant, actions: &mut Vec<Action>) {
        let up = match member.reach {
            Reach::Up => Some(true),
            Reach::Untried => None,
            Reach::Down(_) | Reach::Wrong(_) => Some(false),
        };
        let before = self.phase;
        let seen = Seen { up, drain: member.drain, good: well };
        self.phase = before.next(seen);
        let drained = member.drain == DrainState::Drained;
        if let Some(since) = self.ordered {
            if drained {
                actions.push(Action::Drained(now.saturating_duration_since(since)));
                self.ordered = None;
            } else if matches!(member.drain, DrainState::Off | DrainState::Expired) {
                self.ordered = None;
            }
        }
        match (before, self.phase) {
            (_, Phase::Down) => {
                self.down.get_or_insert(now);
                self.was_drained |= drained || (self.by_plan && member.drain == DrainState::Expired);
            }
            (Phase::Down, _) => {
                let since = self.down.take().unwrap_or(now);
                let away = member.was_away.unwrap_or_else(|| now.saturating_duration_since(since));
                let was_drained = std::mem::take(&mut self.was_drained);
                if was_drained && away < GONE {
                    // Its drain goes on.
                    self.phase = Phase::Verifying.next(seen);
                    return;
                }
                self.rolled |= was_drained;
                if matches!(
                    member.drain,
                    DrainState::Draining { .. } | DrainState::Drained | DrainState::Expired
                ) {
                    // What it was drained for is over: clients may use it again.
                    (self.ordered, self.by_plan) = (None, false);
                    actions.push(Action::Undrain(member.id.clone()));
                }
            }
            (Phase::Verifying, Phase::Serving) => self.back = Some(now),
            _ => {}
        }
    }
}
