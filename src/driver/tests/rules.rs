//! Single rules of the driver: failures, silence, strangers, words of a person.

use super::crash::{KAFKA, ZOOKEEPER, assert_rolled, live, plan};
use super::fleet::{Death, Memory, Sim, is_dead};
use crate::driver::event::{Event, How};
use crate::driver::exit::Exit;
use crate::driver::plan::Direction;

fn turns(sim: &Sim) -> Vec<&str> {
    let turns = sim.journal.iter().filter_map(|line| match &line.event {
        Event::Turn { member } => Some(member.as_str()),
        _ => None,
    });
    turns.collect()
}

#[test]
fn who_leads_comes_last_and_that_is_looked_up_each_time() {
    for leader in ["1", "2", "3"] {
        let mut sim = Sim::new(plan(KAFKA), 5);
        sim.leader = leader.to_owned();
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert_rolled(&sim, leader);
        assert_eq!(turns(&sim).last(), Some(&leader));
    }
}

#[test]
fn a_member_that_begins_to_lead_while_it_is_drained_is_given_up_for_now() {
    let mut sim = Sim::new(plan(KAFKA), 2);
    sim.leader = "3".to_owned();
    // The first member is drained, and its command is not begun.
    let drained = sim.clone();
    let mut found = false;
    for line in 1..20 {
        let mut sim = drained.clone();
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(line))));
        if !matches!(sim.journal.last().unwrap().event, Event::Drain { .. }) {
            continue;
        }
        found = true;
        sim.leader = "1".to_owned();
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert_rolled(&sim, "given up");
        assert_eq!(turns(&sim), ["1", "2", "3", "1"]);
        break;
    }
    assert!(found);
}

#[test]
fn a_member_at_its_new_version_needs_no_turn() {
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    sim.nodes.get_mut("2").unwrap().version = "2.0".to_owned();
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    let stops: Vec<usize> = sim.nodes.values().map(|node| node.stops).collect();
    assert_eq!(stops, [1, 0, 1]);
}

#[test]
fn a_failed_command_stops_the_driver_and_the_next_one_looks_first() {
    // It fails after its work was done: it is not done again.
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    sim.fails = 1;
    let halt = live(&mut sim, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Failed, "{halt:?}");
    assert!(halt.text.contains("ended with 1"), "{halt:?}");
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "failed after its work");
    let judged = |line: &&crate::driver::event::Line| {
        matches!(line.event, Event::CommandEnded { how: How::Judged, ok: true, .. })
    };
    assert_eq!(sim.journal.iter().filter(judged).count(), 1);
}

#[test]
fn a_silent_sidecar_stops_the_roll_or_not_as_the_plan_says() {
    let mut sim = Sim::new(plan(ZOOKEEPER), 3);
    sim.sidecars.get_mut("s1:1").unwrap().silent = true;
    let halt = live(&mut sim, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Silent);
    assert!(halt.text.contains("s1:1"), "it is named: {halt:?}");
    assert!(sim.nodes.values().all(|node| node.stops == 0));
    sim.plan = plan(&format!("{ZOOKEEPER}dead_sidecars = \"go_on\"\n"));
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "without one");
    let said = |line: &&crate::driver::event::Line| matches!(&line.event, Event::GoneOnWithout { sidecar, .. } if sidecar == "s1:1");
    assert_eq!(sim.journal.iter().filter(said).count(), 1);
    // All of them dead is too many for any policy.
    let mut sim = Sim::new(sim.plan.clone(), 1);
    sim.sidecars.get_mut("s0:1").unwrap().silent = true;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Silent);
}

#[test]
fn strangers_are_not_overruled() {
    let begun = || {
        let mut sim = Sim::new(plan(ZOOKEEPER), 2);
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(4))));
        sim
    };
    let foreign: [(&str, Change); 5] = [
        ("generation 9", |memory| memory.plan.as_mut().unwrap().generation = 9),
        ("plan other", |memory| memory.plan.as_mut().unwrap().plan_id = "other".to_owned()),
        ("aborted", |memory| (memory.plan, memory.last) = (None, Some(("p".to_owned(), 1, "aborted")))),
        ("finalized", |memory| (memory.plan, memory.last) = (None, Some(("p".to_owned(), 1, "finalized")))),
        ("generation 9", |memory| (memory.plan, memory.last) = (None, Some(("p".to_owned(), 9, "expired")))),
    ];
    for (what, change) in foreign {
        let mut sim = begun();
        change(sim.sidecars.get_mut("s1:1").unwrap());
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Refused, "{what}: {halt:?}");
        assert!(halt.text.contains(what) && halt.text.contains("s1:1"), "{what}: {halt:?}");
    }
    // One that is only tried, by a dry run that goes on, stands in nobody's way.
    let mut sim = begun();
    let memory = sim.sidecars.get_mut("s1:1").unwrap();
    let tried = memory.plan.as_mut().unwrap();
    (tried.plan_id, tried.generation, tried.dry_run) = ("next.dry-1795400000".to_owned(), 0, true);
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "a dry run");
    // A plan that was given up begins again with a higher generation.
    let mut sim = begun();
    for memory in sim.sidecars.values_mut() {
        (memory.plan, memory.last) = (None, Some(("p".to_owned(), 1, "aborted")));
    }
    sim.plan.generation = 2;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "again");
}

#[test]
fn a_gate_that_stays_closed_ends_the_driver_with_what_it_says() {
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    // Nobody may go while somebody is away whose turn it isn't: he isn't in the plan.
    let mut away = sim.nodes["1"].clone();
    away.up = false;
    sim.nodes.insert("4".to_owned(), away);
    let halt = live(&mut sim, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Closed);
    assert!(halt.text.contains("another_member_down") && halt.text.contains("1800 s"), "{halt:?}");
    assert!(sim.nodes.values().all(|node| node.stops == 0));
}

/// Something that somebody else did to a sidecar.
type Change = fn(&mut Memory);

/// A member whose command vanished with its machine, after it went down or before; nobody can tell its version, and nobody saw it.
fn vanished(stopped: bool) -> Sim {
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    sim.blind = true;
    let mut acts = 1;
    loop {
        let mut dead = sim.clone();
        assert!(is_dead(&live(&mut dead, false, None, Death::Act(acts))));
        if dead.processes.len() == 1 {
            dead.processes.values_mut().for_each(|process| (process.at, process.gone) = (1, true));
            if stopped {
                dead.stop("2");
                dead.start_node("2", Direction::Forward);
            }
            for memory in dead.sidecars.values_mut() {
                *memory = Memory::default();
            }
            return dead;
        }
        acts += 1;
    }
}

#[test]
fn where_nothing_shows_what_a_command_did_a_person_has_to_say() {
    for (stopped, flag) in [(true, true), (false, false)] {
        let mut sim = vanished(stopped);
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Undecided, "{halt:?}");
        assert!(halt.text.contains("--done 2") && halt.text.contains("--again 2"), "{halt:?}");
        let halt = live(&mut sim, false, Some(("2".to_owned(), flag)), Death::Never);
        assert_eq!(halt.exit, Exit::Done, "{halt:?}");
        for node in sim.nodes.values() {
            assert_eq!((node.stops, node.version.as_str()), (1, "2.0"));
        }
        // The same by the plan's check.
        let mut sim = vanished(stopped);
        sim.plan.check = Some("look".to_owned());
        sim.checks = Some(i32::from(!stopped));
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert!(sim.nodes.values().all(|node| node.stops == 1));
        // A check that doesn't know is none.
        let mut sim = vanished(stopped);
        sim.plan.check = Some("look".to_owned());
        sim.checks = Some(2);
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Undecided);
    }
}

#[test]
fn a_way_back_needs_a_roll_and_a_command_and_its_journal_needs_the_flag() {
    let mut sim = Sim::new(plan(ZOOKEEPER), 1);
    assert_eq!(live(&mut sim, true, None, Death::Never).exit, Exit::Usage, "nothing is known of a roll");
    assert!(is_dead(&live(&mut sim, false, None, Death::Line(8))));
    sim.plan.rollback_command = None;
    assert_eq!(live(&mut sim, true, None, Death::Never).exit, Exit::Usage, "no command");
    sim.plan.rollback_command = Some("back".to_owned());
    assert!(is_dead(&live(&mut sim, true, None, Death::Line(4))));
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Usage, "it goes back");
    assert_eq!(live(&mut sim, true, None, Death::Never).exit, Exit::Done);
    assert!(sim.nodes.values().all(|node| node.version == "1.0"));
    // What is finalized stays.
    let mut sim = Sim::new(plan(KAFKA), 1);
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_eq!(live(&mut sim, true, None, Death::Never).exit, Exit::Closed);
}
