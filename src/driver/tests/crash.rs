//! A driver that dies anywhere and is started again finishes, and stops no member twice.

use super::driven::Driver;
use super::finalize::ends;
use super::fleet::{Death, Sim, is_dead};
use crate::driver::core::Core;
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::PlanFile;
use crate::driver::progress::Progress;
use crate::driver::world::drive;

pub(in crate::driver) fn plan(more: &str) -> PlanFile {
    let text = format!(
        "plan_id = \"p\"\ncluster = \"c\"\nfrom = \"1.0\"\nto = \"2.0\"\ncommand = \"restart\"\nrollback_command = \"back\"\n\
         members = [{{ id = \"1\" }}, {{ id = \"2\" }}, {{ id = \"3\" }}]\nsidecars = {{ list = [\"s:1\"] }}\n{more}"
    );
    PlanFile::parse(&text).unwrap()
}

pub(in crate::driver) const KAFKA: &str =
    "protocol = \"kafka\"\nmove_leaders = true\nraise_features = true\nkafka = { bootstrap = [\"b:1\"] }\n";
pub(in crate::driver) const ZOOKEEPER: &str = "protocol = \"zookeeper\"\n";
pub(in crate::driver) const FINALIZE: &str = "protocol = \"zookeeper\"\nfinalize_command = \"raise\"\n";

/// One life of a driver.
pub(super) fn live(sim: &mut Sim, rollback: bool, word: Option<(String, bool)>, death: Death) -> Halt {
    sim.reborn(death);
    let plan = sim.plan.clone();
    let mut progress = Progress::of(&sim.journal);
    let loaded = sim.journal.len() as u64;
    let mut core = Core::new(&plan, rollback, word, loaded);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let halt = runtime.block_on(async {
        let mut driver = Driver(sim);
        let round = drive(&mut driver, &mut core, &mut progress);
        tokio::pin!(round);
        round.await
    });
    if !is_dead(&halt) {
        assert_eq!(progress, Progress::of(&sim.journal), "what a driver knows is what its journal says");
    }
    halt
}

/// Everything is at its new version, each member was stopped once, with nobody on it, and the end came last.
#[track_caller]
pub(super) fn assert_rolled(sim: &Sim, what: &str) {
    for (id, node) in &sim.nodes {
        assert_eq!((node.stops, node.stopped_in_use), (1, 0), "{what}: stops of {id}\n{:#?}", sim.journal);
        assert!(node.up && node.version == "2.0" && node.leads, "{what}: {id} {node:?}");
    }
    assert!(sim.finalized_at.iter().all(|stops| *stops == sim.nodes.len()), "{what}: {:?}", sim.finalized_at);
    assert!(!sim.finalized_at.is_empty() && sim.raised.is_some() == sim.plan.raise_features, "{what}");
    let raised = ends(sim).iter().filter(|end| **end == Some(0)).count();
    assert_eq!(raised, usize::from(sim.plan.finalize_command.is_some()), "{what}: {:?}", sim.processes);
    for memory in sim.sidecars.values().filter(|memory| !memory.silent) {
        assert!(memory.plan.is_none() && memory.drains.is_empty(), "{what}: {memory:?}");
    }
}

/// Every point at which a whole roll can be cut off.
pub(super) fn deaths(sim: &Sim) -> Vec<Death> {
    let mut whole = sim.clone();
    let halt = live(&mut whole, false, None, Death::Never);
    assert_eq!(halt.exit, Exit::Done, "{halt:?}");
    let (lines, acts, pauses) = whole.count();
    let lines = (1..=lines).map(Death::Line);
    lines.chain((1..=acts).map(Death::Act)).chain((1..=pauses).map(Death::Pause)).collect()
}

pub(super) fn sims() -> Vec<(&'static str, Sim)> {
    let mut blind = Sim::new(plan(ZOOKEEPER), 2);
    blind.blind = true;
    let mut first_leads = Sim::new(plan(KAFKA), 3);
    first_leads.leader = "1".to_owned();
    let finalize = Sim::new(plan(FINALIZE), 2);
    let zookeeper = Sim::new(plan(ZOOKEEPER), 2);
    vec![("zookeeper", zookeeper), ("kafka", first_leads), ("blind", blind), ("finalize", finalize)]
}

#[test]
fn a_roll_without_a_death() {
    for (what, mut sim) in sims() {
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}");
        assert_rolled(&sim, what);
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Done, "once more changes nothing");
        assert_rolled(&sim, what);
    }
}

#[test]
fn a_driver_dies_anywhere_once() {
    for (what, sim) in sims() {
        let deaths = deaths(&sim);
        assert!(deaths.len() > 40, "{}", deaths.len());
        for death in deaths {
            let mut sim = sim.clone();
            let what = format!("{what} {death:?}");
            assert!(is_dead(&live(&mut sim, false, None, death)), "{what}");
            let halt = live(&mut sim, false, None, Death::Never);
            assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}\n{:#?}", sim.journal);
            assert_rolled(&sim, &what);
        }
    }
}

#[test]
fn a_driver_dies_again_and_again() {
    for (what, sim) in sims() {
        // One that always dies before it can start what it has announced (`again`, `command`) gets nowhere, nor one that always dies
        // after it has repeated a drain: three lines, or two deeds at least.
        for every in 1..=5 {
            for death in [Death::Line(every + 2), Death::Act(every + 1), Death::Pause(every)] {
                let mut sim = sim.clone();
                let what = format!("{what}, each life until {death:?}");
                let mut lives = 0;
                loop {
                    let halt = live(&mut sim, false, None, death);
                    lives += 1;
                    if !is_dead(&halt) {
                        assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}");
                        break;
                    }
                    assert!(lives < 1000, "{what}: no progress\n{:#?}", sim.journal);
                }
                assert_rolled(&sim, &what);
            }
        }
    }
}

#[test]
fn the_machine_dies_with_driver_and_command() {
    for (what, sim) in sims() {
        let mut undecided = 0;
        for death in deaths(&sim) {
            let mut sim = sim.clone();
            let what = format!("{what} {death:?}");
            assert!(is_dead(&live(&mut sim, false, None, death)), "{what}");
            sim.crash_all();
            let halt = live(&mut sim, false, None, Death::Never);
            if halt.exit == Exit::Undecided {
                undecided += 1;
            }
            assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}\n{:#?}", sim.journal);
            assert_rolled(&sim, &what);
        }
        assert_eq!(undecided, 0);
    }
}

#[test]
fn sidecars_forget_while_there_is_no_driver() {
    for (what, sim) in sims() {
        for death in deaths(&sim) {
            for forgetful in [1, 99] {
                let mut sim = sim.clone();
                let what = format!("{what} {death:?}, {forgetful} forget");
                assert!(is_dead(&live(&mut sim, false, None, death)), "{what}");
                for memory in sim.sidecars.values_mut().take(forgetful) {
                    *memory = super::fleet::Memory::default();
                }
                // Whoever was drained for a command is so no more; what that costs is counted elsewhere.
                let halt = live(&mut sim, false, None, Death::Never);
                assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}\n{:#?}", sim.journal);
                for node in sim.nodes.values_mut() {
                    node.stopped_in_use = 0;
                }
                assert_rolled(&sim, &what);
            }
        }
    }
}

#[test]
fn a_roll_turns_back_from_anywhere() {
    for (what, sim) in sims() {
        let deaths = deaths(&sim);
        let rolled_back = deaths.iter().filter(|death| {
            let mut sim = sim.clone();
            let what = format!("{what} {death:?}");
            assert!(is_dead(&live(&mut sim, false, None, **death)), "{what}");
            let before: Vec<usize> = sim.nodes.values().map(|node| node.stops).collect();
            let halt = live(&mut sim, true, None, Death::Never);
            if sim.journal.iter().all(|line| line.n == 1)
                || matches!(halt.exit, Exit::Usage | Exit::Closed | Exit::Refused)
            {
                return false; // nothing to go back from, or too late
            }
            assert_eq!(halt.exit, Exit::Done, "{what}: {halt:?}\n{:#?}", sim.journal);
            for (node, before) in sim.nodes.values().zip(before) {
                assert_eq!(node.version, "1.0", "{what}\n{:#?}", sim.journal);
                assert!(node.stops <= before + 1 + usize::from(before == 0), "{what}: {node:?}");
                assert!(node.up && node.leads, "{what}: {node:?}");
            }
            true
        });
        let count = rolled_back.count();
        assert!(count > deaths.len() / 2, "{what}: {count} of {}", deaths.len());
    }
}
