//! Commands without a claim, and without an end, of which sidecars say different things, or nothing; no version tells anything.

use super::crash::{ZOOKEEPER, live, plan};
use super::drains::{said, silent};
use super::fleet::{Death, Memory, Sim, is_dead};
use crate::driver::core::{Core, RunSeen, Seen, Sidecar, Step};
use crate::driver::event::{Event, How, Line, Task};
use crate::driver::exit::Exit;
use crate::driver::plan::{Direction, PlanFile};
use crate::driver::progress::Progress;
use crate::upgrade::Phase;

/// A roll that was cut off between the line of its first member's command and the command, and that member.
fn announced(more: &str) -> (Sim, String) {
    let mut fresh = Sim::new(plan(&format!("{ZOOKEEPER}{more}")), 2);
    fresh.blind = true;
    let mut lines = 1;
    loop {
        let mut sim = fresh.clone();
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(lines))));
        if let Some(Event::Command { task: Task::Member(member), .. }) =
            sim.journal.last().map(|line| &line.event)
        {
            let member = member.clone();
            assert!(sim.processes.is_empty());
            return (sim, member);
        }
        lines += 1;
    }
}

/// One sidecar takes a moment out of reach for a turn, and the other has the member drained still.
fn lost_for_a_moment(sim: &mut Sim, member: &str) {
    let memory = sim.sidecars.get_mut("s0:1").unwrap();
    assert_eq!(memory.drains.remove(member), Some(true));
    memory.had_turn.insert(member.to_owned(), true);
}

#[test]
fn a_person_who_says_again_is_believed_of_a_command_that_has_not_begun() {
    let (mut sim, member) = announced("");
    // Both saw it go and come back: it wasn't the command's doing.
    for memory in sim.sidecars.values_mut() {
        memory.drains.clear();
        memory.had_turn.insert(member.clone(), true);
    }
    let halt = live(&mut sim, false, Some((member.clone(), false)), Death::Never);
    assert_eq!(halt.exit, Exit::Done, "{halt:?}");
    assert!(sim.nodes.values().all(|node| node.stops == 1), "{:?}", sim.nodes);
}

#[test]
fn a_turn_that_one_saw_while_another_has_the_member_drained_was_none() {
    for word in [true, false] {
        let (mut sim, member) = announced("");
        lost_for_a_moment(&mut sim, &member);
        let word = word.then(|| (member.clone(), false));
        let halt = live(&mut sim, false, word, Death::Never);
        assert_eq!(halt.exit, Exit::Done, "{halt:?}");
        assert!(sim.nodes.values().all(|node| node.stops == 1), "{:?}", sim.nodes);
    }
}

#[test]
fn what_became_of_a_command_is_not_decided_without_the_sidecars() {
    for dead in [vec!["s0:1"], vec!["s0:1", "s1:1"]] {
        for vanished in [false, true] {
            // It ran, and its claim is lost; only one sidecar remembers.
            let (mut sim, member) = announced("");
            let run = sim.journal.last().unwrap().n;
            if vanished {
                let process = super::fleet::Process {
                    task: Task::Member(member.clone()),
                    direction: Direction::Forward,
                    at: 1,
                    code: None,
                    gone: true,
                    revoked: false,
                };
                sim.processes.insert(run, process);
            }
            sim.stop(&member);
            sim.start_node(&member, Direction::Forward);
            *sim.sidecars.get_mut("s1:1").unwrap() = Memory::default();
            for name in &dead {
                sim.sidecars.get_mut(*name).unwrap().silent = true;
            }
            let lines = sim.journal.len();
            let halt = live(&mut sim, false, None, Death::Never);
            assert_eq!((halt.exit, sim.journal.len()), (Exit::Silent, lines), "{halt:?}");
            for memory in sim.sidecars.values_mut() {
                memory.silent = false;
            }
            assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
            assert!(sim.nodes.values().all(|node| node.stops == 1), "{:?}", sim.nodes);
        }
    }
    // A person can, and so can a plan that goes on without them.
    let (mut sim, member) = announced("dead_sidecars = \"go_on\"\n");
    sim.sidecars.get_mut("s0:1").unwrap().silent = true;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert!(sim.nodes.values().all(|node| node.stops == 1), "{:?}", sim.nodes);
    let (mut sim, _) = announced("");
    sim.sidecars.values_mut().for_each(|memory| memory.silent = true);
    let halt = live(&mut sim, false, Some((member, false)), Death::Never);
    assert_eq!(halt.exit, Exit::Silent, "{halt:?}");
    assert!(sim.journal.iter().any(|line| matches!(line.event, Event::Again { .. })));
}

/// A driver whose journal says that the command of member 1 is announced.
fn begun(plan: &PlanFile) -> (Core<'_>, Progress) {
    let member = || "1".to_owned();
    let members = plan.members.iter().map(|member| member.id.clone()).collect();
    let events = [
        Event::Generation { generation: 1, members, soak_s: 0, why: String::new() },
        Event::Turn { member: member() },
        Event::Drain { member: member() },
        Event::Command { task: Task::Member(member()), had_turn: Vec::new() },
    ];
    let lines = events.into_iter().zip(1..).map(|(event, n)| Line { n, at_ms: 1_000_000, event });
    (Core::new(plan, false, None, 4), Progress::of(&lines.collect::<Vec<_>>()))
}

fn drained(name: &str) -> Sidecar {
    said(name, Phase::Drained, None, false)
}

fn back(name: &str) -> Sidecar {
    said(name, Phase::Serving, None, true)
}

#[test]
fn a_sidecar_that_is_late_to_see_a_member_back_is_waited_for() {
    let plan = plan(ZOOKEEPER);
    for claimed in [true, false] {
        let run = || {
            if claimed {
                RunSeen::Vanished { output: String::new() }
            } else {
                RunSeen::Unclaimed { ours: false }
            }
        };
        let at = |core: &mut Core<'_>, progress: &Progress, second: u64, sidecars: Vec<Sidecar>| {
            let now_ms = 1_000_000 + second * 1000;
            core.first(progress, &Seen { now_ms, sidecars, run: Some(run()), ..Seen::default() }).unwrap()
        };
        let did = |step: Step| match step {
            Step::Write(Event::CommandEnded { ok: true, how: How::Judged, output, .. }) => output,
            Step::Revoke { did: Some((How::Judged, why)), .. } => why,
            other => panic!("{other:?}"),
        };
        let did_not = |step: Step| match step {
            Step::Write(Event::Again { .. }) | Step::Revoke { did: None, .. } => {}
            other => panic!("{other:?}"),
        };
        let (mut core, progress) = begun(&plan);
        for second in [0, 14] {
            let step = at(&mut core, &progress, second, vec![back("a"), drained("b")]);
            assert!(matches!(step, Step::Wait(_)), "{step:?}");
        }
        let step = at(&mut core, &progress, 14, vec![back("a"), back("b")]);
        assert_eq!(did(step), "a saw 1 go and come back");
        let (mut core, progress) = begun(&plan);
        assert!(matches!(at(&mut core, &progress, 0, vec![back("a"), drained("b")]), Step::Wait(_)));
        did_not(at(&mut core, &progress, 15, vec![back("a"), drained("b")]));
        // Who says nothing may have seen it.
        let (mut core, progress) = begun(&plan);
        for second in [0, 30, 59] {
            let step = at(&mut core, &progress, second, vec![silent("a", second), drained("b")]);
            assert!(matches!(step, Step::Wait(_)), "{step:?}");
        }
        assert_eq!(did(at(&mut core, &progress, 60, vec![back("a"), back("b")])), "a saw 1 go and come back");
    }
    // What one came to see late is late for the other, too.
    let (mut core, progress) = begun(&plan);
    let mut at = |second: u64, sidecars: Vec<Sidecar>| {
        let run = Some(RunSeen::Vanished { output: String::new() });
        core.first(&progress, &Seen { now_ms: 1_000_000 + second * 1000, sidecars, run, ..Seen::default() })
            .unwrap()
    };
    assert!(matches!(at(0, vec![drained("a"), drained("b")]), Step::Wait(_)));
    assert!(matches!(at(14, vec![back("a"), drained("b")]), Step::Wait(_)));
    assert!(matches!(at(28, vec![back("a"), drained("b")]), Step::Wait(_)));
    assert!(matches!(at(29, vec![back("a"), drained("b")]), Step::Write(Event::Again { .. })));
}
