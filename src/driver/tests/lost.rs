//! What no journal, claim or sidecar knows of: lost with a machine's power, another driver's, misspelt.

use super::crash::{ZOOKEEPER, assert_rolled, deaths, live, plan, sims};
use super::fleet::{Death, Sim, is_dead};
use crate::driver::event::Event;
use crate::driver::exit::Exit;
use crate::driver::plan::Member;
use crate::driver::progress::Progress;

/// As [`the_machine_dies_with_driver_and_command`], and nothing beside the journal has reached the disk.
#[test]
fn a_claim_that_is_lost_with_the_power_starts_no_member_a_second_time() {
    for (what, sim) in sims() {
        for death in deaths(&sim) {
            let mut sim = sim.clone();
            let what = format!("{what} {death:?}");
            assert!(is_dead(&live(&mut sim, false, None, death)), "{what}");
            sim.crash_all();
            if let Some((run, _)) = Progress::of(&sim.journal).running() {
                sim.processes.remove(&run.n);
            }
            let halt = live(&mut sim, false, None, Death::Never);
            assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}\n{:#?}", sim.journal);
            assert_rolled(&sim, &what);
        }
    }
}

/// A roll that was cut off when its first member was drained.
fn drained() -> Sim {
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    let mut lines = 1;
    while !matches!(sim.journal.last().map(|line| &line.event), Some(Event::Drain { .. })) {
        sim = Sim::new(plan(ZOOKEEPER), 2);
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(lines))));
        lines += 1;
    }
    sim
}

#[test]
fn a_person_says_of_a_command_that_lost_its_claim_that_it_was_done() {
    let mut sim = drained();
    sim.blind = true;
    // It ran, and nobody knows: its claim is lost, no version tells anything, and sidecars have forgotten.
    let mut acts = 1;
    loop {
        let mut dead = sim.clone();
        assert!(is_dead(&live(&mut dead, false, None, Death::Act(acts))));
        acts += 1;
        if !dead.processes.is_empty() {
            sim = dead;
            break;
        }
    }
    let member = "2";
    sim.stop(member);
    sim.start_node(member, crate::driver::plan::Direction::Forward);
    sim.processes.clear();
    for memory in sim.sidecars.values_mut() {
        *memory = super::fleet::Memory::default();
    }
    let halt = live(&mut sim, false, Some((member.to_owned(), true)), Death::Never);
    assert_eq!(halt.exit, Exit::Done, "{halt:?}");
    assert_eq!(sim.nodes[member].stops, 1);
}

#[test]
fn a_drained_member_that_has_its_new_version_already_is_not_restarted() {
    let mut sim = drained();
    let Some(Event::Drain { member }) = sim.journal.last().map(|line| line.event.clone()) else { panic!() };
    sim.nodes.get_mut(&member).unwrap().version = "2.0".to_owned();
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    for (id, node) in &sim.nodes {
        assert_eq!(node.stops, usize::from(*id != member), "{id}");
    }
}

#[test]
fn a_plan_of_the_same_name_that_the_journal_has_not_put_is_another_drivers() {
    let mut sim = drained();
    let begun = sim.clone();
    sim.journal.clear();
    let halt = live(&mut sim, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Refused, "{halt:?}");
    assert!(halt.text.contains("knows nothing of it") && halt.text.contains("s0:1"), "{halt:?}");
    assert!(
        sim.processes.is_empty()
            && sim.sidecars.values().all(|memory| memory.plan.as_ref().unwrap().generation == 1)
    );
    // With its own journal it goes on; without, by a higher generation.
    let mut own = begun;
    assert_eq!(live(&mut own, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&own, "its journal");
    sim.journal.clear();
    sim.plan.generation = 2;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "a higher generation");
}

#[test]
fn a_member_that_no_sidecar_knows_is_told_at_once() {
    let mut plan = plan(ZOOKEEPER);
    plan.members.push(Member { id: "zk-9".to_owned(), address: None, zone: None, from: None, to: None });
    let mut sim = Sim::new(plan, 2);
    let unknown = sim.nodes.remove("zk-9").unwrap();
    // Somebody is away, and so nobody may go.
    sim.closed_until_ms = u64::MAX;
    let start = sim.now_ms;
    let halt = live(&mut sim, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Usage, "{halt:?}");
    assert_eq!(halt.text, "no sidecar knows member zk-9; they know 1, 2, 3");
    let took_s = (sim.now_ms - start) / 1000;
    assert!((60..70).contains(&took_s), "{took_s} s");
    // One that is only late is waited for.
    sim.nodes.insert("zk-9".to_owned(), unknown);
    sim.closed_until_ms = 0;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
}
