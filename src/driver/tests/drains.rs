//! Drains that come to their end too early, and those that nobody needs any more.

use super::crash::{KAFKA, ZOOKEEPER, assert_rolled, live, plan};
use super::fleet::{Death, Sim, is_dead};
use crate::driver::core::{Asked, Core, RunSeen, Seen, Sidecar, Step, Want};
use crate::driver::event::{Event, Line, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::progress::Progress;
use crate::fleet::{GateSaid, MemberSaid, PlanSaid, Status};
use crate::upgrade::{Gate, Phase};

fn drains(sim: &Sim) -> usize {
    sim.journal.iter().filter(|line| matches!(line.event, Event::Drain { .. })).count()
}

#[test]
fn a_drain_that_expires_before_its_gate_opens_ends_at_the_gates_bound() {
    for text in [ZOOKEEPER, KAFKA] {
        let mut sim = Sim::new(plan(&format!("{text}bounds = {{ gate_s = 60, drain_s = 30 }}\n")), 2);
        (sim.expire_ms, sim.closed_drained) = (Some(5_000), true);
        let start = sim.now_ms;
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Closed, "{halt:?}");
        assert!(halt.text.contains("gate stop of 2") && halt.text.contains("min_isr"), "{halt:?}");
        let took_s = (sim.now_ms - start) / 1000;
        assert!((60..90).contains(&took_s), "{took_s} s, {} drains", drains(&sim));
        assert!(sim.nodes.values().all(|node| node.stops == 0 && node.leads));
    }
}

#[test]
fn a_drain_that_expired_is_ordered_again_when_nothing_else_is_missing() {
    let mut sim = Sim::new(plan(ZOOKEEPER), 2);
    sim.expire_ms = Some(5_000);
    let fresh = sim.clone();
    let mut lines = 1;
    while drains(&sim) == 0 {
        sim = fresh.clone();
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(lines))));
        lines += 1;
    }
    sim.closed_until_ms = sim.now_ms + 300_000;
    assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
    assert_rolled(&sim, "again");
    assert_eq!(drains(&sim), 4, "once again of the first, when its gate was open: {:#?}", sim.journal);
}

#[test]
fn who_stops_before_a_command_was_begun_leaves_nobody_drained_and_no_leaders_away() {
    for text in [ZOOKEEPER, KAFKA] {
        let mut sim = Sim::new(plan(&format!("{text}bounds = {{ gate_s = 60 }}\n")), 2);
        sim.closed_drained = true;
        let halt = live(&mut sim, false, None, Death::Never);
        assert_eq!(halt.exit, Exit::Closed, "{halt:?}");
        assert!(halt.text.starts_with("gate stop of 2: not after 60 s: min_isr"), "{halt:?}");
        assert!(sim.sidecars.values().all(|memory| memory.drains.is_empty()), "{:?}", sim.sidecars);
        assert!(sim.nodes.values().all(|node| node.leads && node.stops == 0), "{:?}", sim.nodes);
        assert!(Progress::of(&sim.journal).turn.is_none());
        sim.closed_drained = false;
        assert_eq!(live(&mut sim, false, None, Death::Never).exit, Exit::Done);
        assert_rolled(&sim, "cured");
    }
}

/// What a sidecar says of member 1.
pub(super) fn said(name: &str, phase: Phase, version: Option<&str>, had_turn: bool) -> Sidecar {
    let member = MemberSaid {
        id: "1".to_owned(),
        phase,
        version: version.map(str::to_owned),
        mode: None,
        had_turn,
        drain_expired: false,
        sessions: 0,
        in_flight: 0,
    };
    let plan = PlanSaid { plan_id: "p".to_owned(), generation: 1, expires_in_s: 3600 };
    let other =
        |id: &str| MemberSaid { id: id.to_owned(), phase: Phase::Serving, had_turn: false, ..member.clone() };
    let members = vec![member.clone(), other("2"), other("3")];
    let status = Status { members, plan: Some(plan), ..Status::default() };
    Sidecar { name: name.to_owned(), silent_ms: 0, said: Ok(status) }
}

#[test]
fn a_member_whose_drain_ended_while_its_command_runs_is_drained_again() {
    let plan = plan(ZOOKEEPER);
    let member = || "1".to_owned();
    let events = [
        Event::Generation { generation: 1, members: vec![member()], soak_s: 0, why: String::new() },
        Event::Turn { member: member() },
        Event::Drain { member: member() },
        Event::Command { task: Task::Member(member()), had_turn: Vec::new() },
    ];
    let lines = events.into_iter().zip(1..).map(|(event, n)| Line { n, at_ms: 1_000_000, event });
    let progress = Progress::of(&lines.collect::<Vec<_>>());
    let drained = || said("a", Phase::Drained, None, false);
    let mut core = Core::new(&plan, false, None, 0);
    // Drains that were ordered a minute ago are said again; that is done with in this test.
    let mut to = |after_s: u64, sidecars: Vec<Sidecar>| -> Vec<String> {
        let seen = Seen {
            now_ms: 1_000_000 + after_s * 1000,
            sidecars,
            run: Some(RunSeen::Running),
            ..Seen::default()
        };
        match core.first(&progress, &seen) {
            Some(Step::Drain { to, .. }) => to,
            Some(Step::Wait(_)) => Vec::new(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(to(0, vec![drained()]), ["a"]);
    for (version, wanted) in [(Some("1.0"), vec!["b"]), (None, vec!["b"]), (Some("2.0"), vec![])] {
        for phase in [Phase::Serving, Phase::Verifying] {
            assert_eq!(
                to(1, vec![drained(), said("b", phase, version, false)]),
                wanted,
                "{version:?} {phase:?}"
            );
        }
    }
    // It has no plan to drain it by.
    let mut fresh = said("b", Phase::Serving, None, false);
    fresh.said.as_mut().unwrap().plan = None;
    assert_eq!(to(2, vec![drained(), fresh]), Vec::<String>::new());
    // One saw it go and come back, and the other has it drained still: perhaps that one is only late.
    let back = || said("b", Phase::Serving, None, true);
    assert_eq!(to(3, vec![drained(), back()]), Vec::<String>::new());
    assert_eq!(to(10, vec![drained(), back()]), Vec::<String>::new());
    assert_eq!(to(18, vec![drained(), back()]), ["b"]);
    // It is back at both: it had its turn, and the command only goes on.
    assert_eq!(to(40, vec![said("a", Phase::Serving, None, true), back()]), Vec::<String>::new());
    assert_eq!(to(59, vec![said("a", Phase::Serving, None, true), back()]), Vec::<String>::new());
    // With the version from before it is not what it was stopped for.
    let before = || vec![said("a", Phase::Serving, Some("1.0"), true)];
    assert_eq!(to(60, before()), Vec::<String>::new());
    assert_eq!(to(75, before()), ["a"]);
}

/// One that has said nothing for so long.
pub(super) fn silent(name: &str, seconds: u64) -> Sidecar {
    Sidecar { name: name.to_owned(), silent_ms: seconds * 1000, said: Err("refused".to_owned()) }
}

/// A driver whose journal says that member 1 is being drained. Step by step: what is written is taken in.
struct Driven<'a> {
    core: Core<'a>,
    progress: Progress,
    n: u64,
}

impl<'a> Driven<'a> {
    fn new(plan: &'a crate::driver::plan::PlanFile, more: Vec<Event>) -> Self {
        let members = plan.members.iter().map(|member| member.id.clone()).collect();
        let events = [
            Event::Generation { generation: 1, members, soak_s: 0, why: String::new() },
            Event::Turn { member: "1".to_owned() },
        ];
        let mut driven = Self { core: Core::new(plan, false, None, 0), progress: Progress::default(), n: 0 };
        events.into_iter().chain(more).for_each(|event| driven.take(event));
        driven
    }

    fn take(&mut self, event: Event) {
        self.n += 1;
        self.progress.take(&Line { n: self.n, at_ms: 1_000_000, event });
    }

    /// What comes next, so many seconds after the beginning, while the gate `stop` of the member is open or not.
    fn at(&mut self, second: u64, sidecars: Vec<Sidecar>, open: bool) -> Step {
        let want = Want { gate: Gate::Stop, member: Some("1".to_owned()), of: vec!["a".to_owned()] };
        let said = GateSaid { ok: false, ok_to_drain: open, ..GateSaid::default() };
        let gates = vec![Asked { want, answers: vec![("a".to_owned(), Ok(said))] }];
        let seen = Seen { now_ms: 1_000_000 + second * 1000, sidecars, gates, ..Seen::default() };
        let first = self.core.first(&self.progress, &seen);
        let step = first.unwrap_or_else(|| self.core.then(&self.progress, &seen));
        if let Step::Write(event) = &step {
            self.take(event.clone());
        }
        step
    }

    #[track_caller]
    fn halts(&mut self, second: u64, sidecars: Vec<Sidecar>) -> Halt {
        match self.at(second, sidecars, false) {
            Step::Halt(halt) => halt,
            other => panic!("{other:?}"),
        }
    }
}

fn drain() -> Event {
    Event::Drain { member: "1".to_owned() }
}

fn draining(expired: bool) -> Sidecar {
    let mut sidecar = said("a", if expired { Phase::Serving } else { Phase::Draining }, Some("1.0"), false);
    let member = &mut sidecar.said.as_mut().unwrap().members[0];
    (member.in_flight, member.drain_expired) = (1, expired);
    sidecar
}

#[test]
fn the_time_of_a_drain_stands_still_while_nobody_drains() {
    let plan = plan(ZOOKEEPER);
    let mut driven = Driven::new(&plan, vec![drain()]);
    let serves = || vec![said("a", Phase::Serving, Some("1.0"), false)];
    let drained_at = |step: Step| matches!(step, Step::Drain { .. });
    assert!(drained_at(driven.at(0, serves(), true)));
    assert!(matches!(driven.at(1, vec![draining(false)], true), Step::Wait(_)));
    // Its hold bound has passed; and then its gate is closed for longer than a drain may take.
    assert!(matches!(driven.at(30, vec![draining(true)], false), Step::Write(Event::GiveUp { .. })));
    assert!(matches!(driven.at(30, vec![draining(true)], false), Step::Undrain { .. }));
    assert!(matches!(driven.at(31, serves(), false), Step::Write(Event::GivenUp { .. })));
    for second in [32, 100, 219] {
        assert!(matches!(driven.at(second, serves(), false), Step::Wait(_)));
    }
    assert!(matches!(driven.at(220, serves(), true), Step::Write(Event::Turn { .. })));
    assert_eq!(driven.at(220, serves(), true), Step::Write(drain()));
    assert!(drained_at(driven.at(220, serves(), true)), "it is ordered");
    // The half minute of the first try counts.
    assert!(matches!(driven.at(279, vec![draining(false)], true), Step::Wait(_) | Step::Drain { .. }));
    assert!(matches!(driven.at(309, vec![draining(false)], true), Step::Wait(_) | Step::Drain { .. }));
    assert!(matches!(driven.at(310, vec![draining(false)], true), Step::Write(Event::GiveUp { .. })));
    assert!(matches!(driven.at(311, serves(), false), Step::Write(Event::GivenUp { .. })));
    let halt = driven.halts(311, serves());
    assert_eq!(halt.exit, Exit::Closed);
    assert!(
        halt.text.starts_with("drain of 1: not after 120 s: draining: a: 0 sessions, 1 requests"),
        "{halt:?}"
    );
}

#[test]
fn a_drain_whose_time_is_over_when_it_expires_is_not_begun_again() {
    let plan = plan(ZOOKEEPER);
    let mut driven = Driven::new(&plan, vec![drain()]);
    assert!(matches!(driven.at(0, vec![draining(false)], true), Step::Drain { .. }));
    assert!(matches!(driven.at(121, vec![draining(true)], true), Step::Write(Event::GiveUp { .. })));
    assert!(matches!(driven.at(121, vec![draining(true)], true), Step::Undrain { .. }));
    let serves = || vec![said("a", Phase::Serving, Some("1.0"), false)];
    assert!(matches!(driven.at(122, serves(), true), Step::Write(Event::GivenUp { .. })));
    let halt = driven.halts(122, serves());
    assert!(
        halt.text.starts_with("drain of 1: not after 121 s: drain_expired: a has ended its drain"),
        "{halt:?}"
    );
}

#[test]
fn who_stops_waits_for_a_sidecar_that_says_nothing_for_a_moment_and_ends_its_drain() {
    let plan = plan(ZOOKEEPER);
    let serves = |name: &str| said(name, Phase::Serving, Some("1.0"), false);
    let drained = |name: &str| said(name, Phase::Drained, Some("1.0"), false);
    let undrained = |step: Step| match step {
        Step::Undrain { to, .. } => to,
        other => panic!("{other:?}"),
    };
    let stopping = || {
        let mut driven = Driven::new(&plan, vec![drain()]);
        let sees = || vec![draining(false), drained("b")];
        assert!(matches!(driven.at(0, sees(), true), Step::Drain { .. }));
        assert!(matches!(driven.at(120, sees(), true), Step::Write(Event::GiveUp { .. })));
        assert_eq!(undrained(driven.at(121, vec![draining(false), silent("b", 1)], true)), ["a"]);
        assert!(matches!(driven.at(122, vec![serves("a"), silent("b", 2)], true), Step::Wait(_)));
        driven
    };
    let mut driven = stopping();
    assert_eq!(undrained(driven.at(123, vec![serves("a"), drained("b")], true)), ["b"]);
    assert!(matches!(
        driven.at(124, vec![serves("a"), serves("b")], true),
        Step::Write(Event::GivenUp { .. })
    ));
    let halt = driven.halts(124, vec![serves("a"), serves("b")]);
    assert!(halt.exit == Exit::Closed && !halt.text.contains("drained"), "{halt:?}");
    // It stays silent.
    let mut driven = stopping();
    assert!(matches!(
        driven.at(181, vec![serves("a"), silent("b", 61)], true),
        Step::Write(Event::GivenUp { .. })
    ));
    let halt = driven.halts(181, vec![serves("a"), silent("b", 61)]);
    let end = "1 may be drained still, for up to 600 s, at b: it says nothing";
    assert!(halt.exit == Exit::Closed && halt.text.ends_with(end), "{halt:?}");
}

#[test]
fn who_stops_because_of_silence_says_where_a_member_may_be_drained_still() {
    for (more, silent, seconds, at) in [
        ("", vec!["s1:1"], 600, "s1:1: it says"),
        ("ttl_s = 300\n", vec!["s1:1"], 300, "s1:1: it says"),
        ("", vec!["s0:1", "s1:1"], 600, "s0:1, s1:1: they say"),
        ("dead_sidecars = \"go_on\"\n", vec!["s0:1", "s1:1"], 600, "s0:1, s1:1: they say"),
    ] {
        for text in [ZOOKEEPER, KAFKA] {
            let fresh = Sim::new(plan(&format!("{text}{more}")), 2);
            let (mut sim, mut acts) = (fresh.clone(), 1);
            while sim.sidecars.values().all(|memory| memory.drains.is_empty()) {
                sim = fresh.clone();
                assert!(is_dead(&live(&mut sim, false, None, Death::Act(acts))));
                acts += 1;
            }
            for name in &silent {
                sim.sidecars.get_mut(*name).unwrap().silent = true;
            }
            let halt = live(&mut sim, false, None, Death::Never);
            assert_eq!(halt.exit, Exit::Silent, "{halt:?}");
            let end = format!("may be drained still, for up to {seconds} s, at {at} nothing");
            assert!(halt.text.ends_with(&end), "{halt:?}");
            let hears = |name: &str| !silent.contains(&name);
            assert!(sim.sidecars.iter().all(|(name, memory)| hears(name) == memory.drains.is_empty()));
            assert!(sim.nodes.values().all(|node| node.leads && node.stops == 0));
        }
    }
    // Nobody was drained yet.
    let fresh = Sim::new(plan(KAFKA), 2);
    let (mut sim, mut lines) = (fresh.clone(), 1);
    while !matches!(sim.journal.last().map(|line| &line.event), Some(Event::Moved { .. })) {
        sim = fresh.clone();
        assert!(is_dead(&live(&mut sim, false, None, Death::Line(lines))));
        lines += 1;
    }
    sim.sidecars.get_mut("s1:1").unwrap().silent = true;
    let halt = live(&mut sim, false, None, Death::Never);
    assert!(halt.exit == Exit::Silent && !halt.text.contains("drained"), "{halt:?}");
}
