//! Where a member is in its turn: `serving → draining → drained → down → verifying → serving`. Pure.

use serde::Serialize;

use super::facts::DrainState;

/// The phase of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Clients use it.
    #[default]
    Serving,
    /// Clients are leaving it.
    Draining,
    /// Nobody is there and nothing is in flight: it may stop.
    Drained,
    /// It can't be reached.
    Down,
    /// It is back; whether all is well again is being watched.
    Verifying,
}

/// What was observed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It can be reached; `None` while nobody knows.
    pub up: Option<bool>,
    /// Its drain.
    pub drain: DrainState,
    /// Nothing but time keeps the gate `next` closed for it.
    pub good: bool,
}

impl Phase {
    /// All of them, in the order of a member's turn.
    pub const ALL: [Self; 5] = [Self::Serving, Self::Draining, Self::Drained, Self::Down, Self::Verifying];

    /// As it is written in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Down => "down",
            Self::Verifying => "verifying",
        }
    }

    /// The phase after this one, by what is seen now.
    #[must_use]
    pub const fn next(self, seen: Seen) -> Self {
        match (self, seen.up, seen.drain) {
            // Whatever was planned: who can't be reached is down.
            // And who was, is, as long as nobody knows better.
            (_, Some(false), _) | (Self::Down, None, _) => Self::Down,
            // Back: its drain has done its work and is ended (`Roll::observe`).
            (Self::Down, Some(true), _) => Self::Verifying,
            // A drain is ordered, or goes on. One in `Verifying` is a new one.
            (_, _, DrainState::Draining { .. }) => Self::Draining,
            (_, _, DrainState::Drained) => Self::Drained,
            // All is well again. Whether it stays so is a question of time, and the gate's.
            (Self::Verifying, _, _) if !seen.good => Self::Verifying,
            // No drain, or one that was cancelled or has expired: everything is as it was.
            (_, _, DrainState::Off | DrainState::Expired) => Self::Serving,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { up: Some(true), drain: DrainState::Off, good: true };

    #[test]
    fn a_turn() {
        let mut phase = Phase::Serving;
        let mut told = vec![phase];
        for seen in [
            Seen { drain: DrainState::Draining { left: 3 }, ..SEEN },
            Seen { drain: DrainState::Drained, ..SEEN },
            Seen { drain: DrainState::Drained, up: Some(false), good: false },
            Seen { good: false, ..SEEN },
            SEEN,
        ] {
            phase = phase.next(seen);
            told.push(phase);
        }
        let words: Vec<&str> = told.iter().map(|phase| phase.as_str()).collect();
        assert_eq!(words, ["serving", "draining", "drained", "down", "verifying", "serving"]);
    }

    #[test]
    fn a_drain_that_ends_leaves_everything_as_it_was() {
        for drain in [DrainState::Off, DrainState::Expired] {
            assert_eq!(Phase::Draining.next(Seen { drain, ..SEEN }), Phase::Serving);
            assert_eq!(Phase::Drained.next(Seen { drain, good: false, ..SEEN }), Phase::Serving);
        }
    }

    #[test]
    fn who_cannot_be_reached_is_down_and_who_is_back_is_verified() {
        for phase in Phase::ALL {
            assert_eq!(phase.next(Seen { up: Some(false), ..SEEN }), Phase::Down);
        }
        assert_eq!(Phase::Down.next(SEEN), Phase::Verifying, "even if all seems well at once");
        assert_eq!(Phase::Down.next(Seen { up: None, ..SEEN }), Phase::Down);
        assert_eq!(Phase::Serving.next(Seen { up: None, good: false, ..SEEN }), Phase::Serving);
        assert_eq!(Phase::Verifying.next(Seen { good: false, ..SEEN }), Phase::Verifying);
        assert_eq!(
            Phase::Verifying.next(Seen { drain: DrainState::Drained, ..SEEN }),
            Phase::Drained,
            "a new drain"
        );
    }
}
