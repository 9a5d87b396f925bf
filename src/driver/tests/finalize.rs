//! The command at the end of a roll (`finalize_command`): when it runs, how often, and what its failure stops.

use super::crash::{FINALIZE, assert_rolled, live, plan};
use super::fleet::{Death, Sim, is_dead};
use crate::driver::event::{Event, Task};
use crate::driver::exit::Exit;

/// How the commands for the end were ended, of those that were begun; `None`: not yet, or never.
pub(super) fn ends(sim: &Sim) -> Vec<Option<i32>> {
    let begun = sim.processes.values().filter(|process| process.task == Task::Finalize && process.at > 0);
    begun.map(|process| process.code).collect()
}

/// A roll whose driver died when all members had had their turn and the command was about to be started, or was `lines` further.
fn at_the_end(lines: usize) -> Sim {
    let mut whole = Sim::new(plan(FINALIZE), 2);
    let fresh = whole.clone();
    assert_eq!(live(&mut whole, false, None, Death::Never).exit, Exit::Done);
    let announced = |line: &crate::driver::event::Line| {
        matches!(&line.event, Event::Command { task: Task::Finalize, .. })
    };
    let before = whole.journal.iter().position(announced).unwrap();
    let mut sim = fresh;
    assert!(is_dead(&live(&mut sim, false, None, Death::Line(before + lines))));
    assert_eq!(sim.journal.iter().any(announced), lines > 0);
    sim
}

#[test]
fn it_runs_once_behind_all_turns_and_before_the_sidecars_are_told() {
    let mut sim = at_the_end(0);
    assert!(ends(&sim).is_empty() && sim.finalized_at.is_empty());
    assert!(sim.nodes.values().all(|node| node.up && node.version == "2.0"), "{:?}", sim.nodes);
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "once");
    assert_eq!(ends(&sim), [Some(0)]);
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_eq!(ends(&sim), [Some(0)], "a roll that is over does nothing again");
}

#[test]
fn a_driver_that_dies_while_it_runs_finds_its_end() {
    // It is announced, and every pause after that is a moment at which the driver can die: before it is begun, in it, behind it.
    for pause in 1..=6 {
        let mut sim = at_the_end(0);
        let halt = live(&mut sim, false, None, Death::Pause(pause));
        if !is_dead(&halt) {
            assert_eq!(halt.exit, Exit::Done);
            continue;
        }
        let begun = ends(&sim).len();
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert_rolled(&sim, "found");
        assert_eq!(ends(&sim), [Some(0)], "pause {pause}, {begun} begun before it");
    }
}

#[test]
fn one_that_went_down_with_its_machine_is_repeated() {
    let mut repeated = 0;
    for pause in 1..=6 {
        let mut sim = at_the_end(0);
        if !is_dead(&live(&mut sim, false, None, Death::Pause(pause))) {
            continue;
        }
        sim.crash_all();
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert_rolled(&sim, "repeated");
        let ends = ends(&sim);
        assert_eq!(ends.last(), Some(&Some(0)), "{ends:?}");
        repeated += ends.iter().filter(|end| end.is_none()).count();
    }
    assert!(repeated > 0, "nowhere was it cut off half-way");
}

#[test]
fn its_failure_is_told_and_ends_nothing() {
    let mut sim = at_the_end(0);
    for _ in 0..2 {
        sim.fails = 1;
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Failed, "{halt:?}");
        assert!(halt.text.contains("the command for finalize ended with 1"), "{halt:?}");
        assert!(sim.finalized_at.is_empty(), "no sidecar may be told that it is over");
        assert!(sim.sidecars.values().all(|memory| memory.plan.is_some()), "the plan lives, and its pin");
    }
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "after two failures");
    assert_eq!(ends(&sim), [Some(1), Some(1), Some(0)]);
}

#[test]
fn it_waits_for_the_gate() {
    let mut sim = at_the_end(0);
    sim.nodes.get_mut("2").unwrap().up = false;
    let halt = live(&mut sim, false, None, Death::Never);
    assert!(halt.exit == Exit::Closed && halt.text.contains("member_unreachable"), "{halt:?}");
    assert!(ends(&sim).is_empty(), "it was begun with a member away");
    sim.nodes.get_mut("2").unwrap().up = true;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_eq!(ends(&sim), [Some(0)]);
}

#[test]
fn a_roll_goes_back_until_it_has_begun_and_not_behind_that() {
    for announced in [0, 1] {
        let mut sim = at_the_end(announced);
        assert_eq!(live(&mut sim, true, None, Death::Never).exit, Exit::Done);
        assert!(sim.nodes.values().all(|node| node.version == "1.0") && ends(&sim).is_empty());
    }
    // What it did to an ensemble nobody can tell.
    let mut begun = 0;
    for pause in 1..=6 {
        let mut sim = at_the_end(0);
        if !is_dead(&live(&mut sim, false, None, Death::Pause(pause))) || ends(&sim).is_empty() {
            continue;
        }
        begun += 1;
        let halt = live(&mut sim, true, None, Death::Never);
        assert!(halt.exit == Exit::Closed && halt.text.contains("too late"), "{halt:?}");
        assert!(sim.nodes.values().all(|node| node.version == "2.0"), "{:?}", sim.nodes);
    }
    assert!(begun > 0);
}
