//! What lies unread in a client's socket when it learns of a new leader: more batches are with the old one than may be undecided.

use super::action::Action;
use super::scenario::{Budget, CALM, FULL, Identity, LANDED, PLAIN, Scenario};
use super::tests::{is_right, is_right_wide};

const ONE: &[usize] = &[0];
/// The prelude's.
const MOVE: Budget = Budget { moves: 1, ..CALM };
/// As many batches are on their way as a broker remembers, one waits for them, and one is not read.
const OVERFULL: &[Action] = &[Action::Send; 7];
/// Leadership has moved, and the client has learned it: its last batch comes to the new leader.
const TOLD: &[Action] = &[Action::Move(0), Action::Tell, Action::Learn, Action::Send];
/// The old leader refuses one of those that were with it.
const REFUSED: &[Action] = &[Action::Serve(0), Action::Deliver(0)];

pub(super) static UNREAD: Scenario =
    Scenario { requests: &[ONE; 9], unread: true, prelude: &[LANDED, OVERFULL, TOLD], budget: MOVE, ..PLAIN };
/// The old leader has refused all that was with it.
static UNREAD_REFUSED: Scenario =
    Scenario { prelude: &[LANDED, OVERFULL, TOLD, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED], ..UNREAD };
/// The client learns of it at any time, and writes more before or after.
static UNREAD_MOVE: Scenario = Scenario { prelude: FULL, ..UNREAD };
/// It moves back.
static UNREAD_BACK: Scenario =
    Scenario { requests: &[ONE; 10], budget: Budget { moves: 2, ..CALM }, ..UNREAD };
static UNREAD_OWN: Scenario = Scenario { identity: Identity::Own, ..UNREAD };
static UNREAD_LOSS: Scenario = Scenario { budget: Budget { losses: 1, ..MOVE }, ..UNREAD };

/// Both partitions change places: each connection is asked about what the other one waits for.
const CROSSED: &[Action] = &[Action::Move(0), Action::Move(1), Action::Tell, Action::Learn];
static UNREAD_CROSSED: Scenario = Scenario {
    requests: &[ONE, ONE, ONE, ONE, ONE, ONE, ONE, ONE, &[0, 1], &[1]],
    prelude: &[LANDED, OVERFULL, CROSSED],
    budget: Budget { moves: 2, ..CALM },
    ..UNREAD
};

#[test]
fn what_lies_unread_goes_before() {
    is_right(&UNREAD_REFUSED, 470);
    is_right_wide(&UNREAD, 58_000);
    is_right_wide(&UNREAD_OWN, 100);
    is_right_wide(&UNREAD_CROSSED, 100);
    is_right_wide(&UNREAD_LOSS, 100);
    is_right_wide(&UNREAD_MOVE, 100);
    is_right_wide(&UNREAD_BACK, 100);
}
