//! A fleet, its members and the commands for them, as far as a driver can tell them from real ones.

use std::collections::BTreeMap;

use crate::driver::core::{RunSeen, Sidecar, Step, Want};
use crate::driver::event::{Event, Line, Order, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::{Direction, PlanFile};
use crate::driver::progress::Progress;
use crate::driver::world::World;
use crate::fleet::{GateSaid, LastPlan, MemberSaid, PlanSaid, Reason, Status};
use crate::upgrade::{Gate, Phase, Plan};

/// What a sidecar remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) plan: Option<Plan>,
    pub(super) last: Option<(String, u64, &'static str)>,
    pub(super) drains: BTreeMap<String, bool>,
    pub(super) had_turn: BTreeMap<String, bool>,
    pub(super) silent: bool,
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) version: String,
    /// How often it was stopped.
    pub(super) stops: usize,
    /// Clients were there when it stopped.
    pub(super) stopped_in_use: usize,
    pub(super) leads: bool,
}

/// A command's process, which lives on when the driver dies.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) task: Task,
    pub(super) direction: Direction,
    /// What it has done: claimed, stopped, started, told its end.
    pub(super) at: u8,
    pub(super) code: Option<i32>,
    pub(super) gone: bool,
    pub(super) revoked: bool,
}

/// Where the driver dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// Never.
    Never,
    /// After so many lines of the journal, before anything else.
    Line(usize),
    /// After so many steps that were carried out, before their lines.
    Act(usize),
    /// After so many pauses.
    Pause(usize),
}

/// The world, as it outlives a driver.
#[derive(Clone, Debug)]
pub(super) struct Sim {
    pub(super) plan: PlanFile,
    pub(super) now_ms: u64,
    pub(super) journal: Vec<Line>,
    pub(super) sidecars: BTreeMap<String, Memory>,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) processes: BTreeMap<u64, Process>,
    pub(super) leader: String,
    pub(super) raised: Option<i16>,
    pub(super) finalized_at: Vec<usize>,
    pub(super) fails: usize,
    pub(super) checks: Option<i32>,
    /// The versions are not to be told apart.
    pub(super) blind: bool,
    pub(super) death: Death,
    /// What is left until it: lines, steps, pauses.
    lines: usize,
    acts: usize,
    pauses: usize,
    looks: usize,
    /// Processes that this driver has started.
    ours: Vec<u64>,
}

const DEAD: &str = "the driver died here";

pub(super) fn is_dead(halt: &Halt) -> bool {
    halt.text == DEAD
}

impl Sim {
    pub(super) fn new(plan: PlanFile, sidecars: usize) -> Self {
        let node = |id: &str| Node {
            up: true,
            version: plan.versions(id, Direction::Forward).0.unwrap_or("1.0").to_owned(),
            stops: 0,
            stopped_in_use: 0,
            leads: true,
        };
        let nodes: BTreeMap<String, Node> =
            plan.members.iter().map(|member| (member.id.clone(), node(&member.id))).collect();
        let leader = plan.members[0].id.clone();
        Self {
            now_ms: 1_000_000,
            journal: Vec::new(),
            sidecars: (0..sidecars).map(|k| (format!("s{k}:1"), Memory::default())).collect(),
            nodes,
            processes: BTreeMap::new(),
            leader,
            raised: None,
            finalized_at: Vec::new(),
            fails: 0,
            checks: None,
            blind: false,
            death: Death::Never,
            lines: 0,
            acts: 0,
            pauses: 0,
            looks: 0,
            ours: Vec::new(),
            plan,
        }
    }

    /// How many lines were written, steps carried out and pauses made since a driver was started last.
    pub(super) fn count(&self) -> (usize, usize, usize) {
        (self.lines, self.acts, self.pauses)
    }

    /// Another driver is started.
    pub(super) fn reborn(&mut self, death: Death) {
        (self.death, self.lines, self.acts, self.pauses, self.looks) = (death, 0, 0, 0, 0);
        self.ours = Vec::new();
    }

    /// The machine of the driver goes down, and with it every command.
    pub(super) fn crash_all(&mut self) {
        for process in self.processes.values_mut().filter(|process| process.code.is_none()) {
            process.gone = true;
        }
    }

    /// Time passes: commands go on by themselves.
    fn tick(&mut self) {
        self.now_ms += 1000;
        let steps: Vec<u64> = self.processes.keys().copied().collect();
        for n in steps {
            let Some(process) = self.processes.get_mut(&n) else { continue };
            if process.gone || process.revoked || process.code.is_some() {
                continue;
            }
            process.at += 1;
            let (at, task, direction) = (process.at, process.task.clone(), process.direction);
            match (task, at) {
                (Task::Member(member), 2) => self.stop(&member),
                (Task::Member(member), 4) => self.start_node(&member, direction),
                (Task::Member(_) | Task::Finalize, 5) => {
                    let fails = self.fails > 0;
                    self.fails = self.fails.saturating_sub(1);
                    if let Some(process) = self.processes.get_mut(&n) {
                        process.code = Some(i32::from(fails));
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn stop(&mut self, member: &str) {
        let in_use = self.sidecars.values().any(|s| !s.silent && s.drains.get(member) != Some(&true));
        let node = self.nodes.get_mut(member).unwrap();
        if node.up {
            node.up = false;
            node.stops += 1;
            node.stopped_in_use += usize::from(in_use);
            if self.leader == member {
                self.leader = self.nodes.iter().find(|(_, node)| node.up).unwrap().0.clone();
            }
        }
    }

    pub(super) fn start_node(&mut self, member: &str, direction: Direction) {
        let (_, to) = self.plan.versions(member, direction);
        let to = to.map(str::to_owned);
        let node = self.nodes.get_mut(member).unwrap();
        if node.up {
            return;
        }
        node.up = true;
        if let Some(to) = to {
            node.version = to;
        }
        for memory in self.sidecars.values_mut() {
            if memory.drains.remove(member) == Some(true) {
                memory.had_turn.insert(member.to_owned(), true);
            }
        }
    }

    fn status(&self, memory: &Memory) -> Status {
        let members = self.nodes.iter().map(|(id, node)| MemberSaid {
            id: id.clone(),
            phase: match (node.up, memory.drains.get(id)) {
                (false, _) => Phase::Down,
                (true, Some(true)) => Phase::Drained,
                (true, Some(false)) => Phase::Draining,
                (true, None) => Phase::Serving,
            },
            version: (!self.blind).then(|| node.version.clone()),
            mode: None,
            had_turn: memory.had_turn.contains_key(id),
            drain_expired: false,
            sessions: 0,
            in_flight: 0,
        });
        Status {
            members: members.collect(),
            plan: memory.plan.as_ref().map(|plan| PlanSaid {
                plan_id: plan.plan_id.clone(),
                generation: plan.generation,
                expires_in_s: plan.ttl_s,
            }),
            last_plan: memory.last.as_ref().map(|(id, generation, how)| LastPlan {
                plan_id: id.clone(),
                generation: *generation,
                phase: (*how).to_owned(),
            }),
            ..Status::default()
        }
    }

    /// Members that a sidecar has not seen in their turn.
    fn left(&self, memory: &Memory) -> Vec<String> {
        let plan = memory.plan.as_ref();
        let done = |id: &str| {
            let member = plan.and_then(|plan| plan.member(id));
            match member.and_then(|member| member.to.as_deref()) {
                Some(to) if !self.blind => self.nodes[id].version == to,
                _ => memory.had_turn.contains_key(id),
            }
        };
        let all = plan.into_iter().flat_map(|plan| plan.members.iter().map(|member| member.id.clone()));
        all.filter(|id| !done(id)).collect()
    }

    fn reasons(&self, memory: &Memory, want: &Want) -> Vec<Reason> {
        let mut found = Vec::new();
        let mut because = |code: &str| found.push(Reason::new(code, "simulated"));
        let away = |id: &String| !self.nodes[id].up || memory.drains.contains_key(id);
        match (want.gate, &want.member) {
            (Gate::Stop, Some(member)) => {
                if self.nodes[member].up && memory.drains.get(member) != Some(&true) {
                    because("not_drained");
                }
                if self.nodes.keys().any(|other| other != member && away(other)) {
                    because("another_member_down");
                }
                if self.leader == *member && self.left(memory).iter().any(|other| other != member) {
                    because("leader_comes_last");
                }
            }
            (Gate::Next, Some(member)) if !self.nodes[member].up => because("member_unreachable"),
            (Gate::Finalize, _) if self.nodes.values().any(|node| !node.up) => because("member_unreachable"),
            (Gate::Rollback, _) if self.raised.is_some() => because("finalized"),
            _ => {}
        }
        found
    }

    fn dies(&self, what: Death) -> Result<(), Halt> {
        if self.death == what { Err(Halt::new(Exit::Broken, DEAD)) } else { Ok(()) }
    }

    fn act(&mut self, step: &Step, progress: &Progress) -> Vec<Event> {
        self.tick();
        match step {
            Step::Put { plan, to } => {
                assert!(plan.problems().is_empty(), "{:?}", plan.problems());
                for name in to {
                    let memory = self.sidecars.get_mut(name).unwrap();
                    if let Some(known) = &memory.plan {
                        assert!(known.generation < plan.generation || known == &**plan, "409 at {name}");
                    }
                    if memory.plan.as_ref().is_none_or(|known| known.plan_id != plan.plan_id) {
                        memory.had_turn.clear();
                    }
                    memory.plan = Some((**plan).clone());
                }
                Vec::new()
            }
            Step::SaveOrders(member) => {
                let replicas = self.plan.members.iter().map(|m| m.id.parse().unwrap()).collect();
                let partitions = vec![Order { topic: "t".to_owned(), partition: 0, replicas }];
                vec![Event::Orders { member: member.clone(), partitions }]
            }
            Step::MoveLeaders(member) => {
                assert!(progress.orders.contains_key(member), "orders are saved first");
                self.nodes.get_mut(member).unwrap().leads = false;
                vec![Event::Moved { member: member.clone() }]
            }
            Step::RestoreLeaders(member) => {
                self.nodes.get_mut(member).unwrap().leads = true;
                vec![Event::Restored { member: member.clone() }]
            }
            Step::Drain { member, to } => {
                for name in to {
                    let memory = self.sidecars.get_mut(name).unwrap();
                    assert!(
                        memory.plan.as_ref().unwrap().member(member).is_some(),
                        "{member} is not in the plan"
                    );
                    memory.drains.insert(member.clone(), true);
                }
                Vec::new()
            }
            Step::Undrain { member, to } => {
                for name in to {
                    self.sidecars.get_mut(name).unwrap().drains.remove(member);
                }
                Vec::new()
            }
            Step::Revoke(n) => match self.processes.get_mut(n) {
                Some(process) if process.at > 0 => Vec::new(),
                Some(process) => {
                    process.revoked = true;
                    vec![Event::Again { run: *n, why: "revoked".to_owned() }]
                }
                None => vec![Event::Again { run: *n, why: "never begun".to_owned() }],
            },
            Step::Raise => {
                assert!(self.nodes.values().all(|node| node.up), "finalized with fewer members");
                self.raised = Some(30);
                vec![Event::Raised { level: 30 }]
            }
            Step::Close { to, abort } => {
                self.finalized_at.push(self.nodes.values().map(|node| node.stops).sum());
                for name in to {
                    let memory = self.sidecars.get_mut(name).unwrap();
                    let plan = memory.plan.take().unwrap();
                    memory.last =
                        Some((plan.plan_id, plan.generation, if *abort { "aborted" } else { "finalized" }));
                    memory.drains.clear();
                }
                Vec::new()
            }
            other => panic!("{other:?} is not carried out here"),
        }
    }
}

/// A driver at work in the simulation. Its death is an end with a text of its own.
pub(super) struct Driver<'a>(pub(super) &'a mut Sim);

impl World for Driver<'_> {
    fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    fn append(&mut self, event: Event) -> Result<Line, Halt> {
        let sim = &mut *self.0;
        let line = Line { n: sim.journal.len() as u64 + 1, at_ms: sim.now_ms, event };
        // As it is written and read again.
        let text = serde_json::to_string(&line).unwrap();
        sim.journal.push(serde_json::from_str(&text).unwrap());
        assert_eq!(sim.journal.last(), Some(&line));
        sim.lines += 1;
        sim.dies(Death::Line(sim.lines))?;
        Ok(line)
    }

    async fn look(&mut self) -> Vec<Sidecar> {
        self.0.looks += 1;
        let sim = &*self.0;
        assert!(
            sim.looks < 10_000,
            "it goes round in circles: {:#?}",
            sim.journal.iter().rev().take(5).collect::<Vec<_>>()
        );
        let each = sim.sidecars.iter().map(|(name, memory)| Sidecar {
            name: name.clone(),
            silent_ms: if memory.silent { 10_000_000 } else { 0 },
            said: if memory.silent { Err("refused".to_owned()) } else { Ok(sim.status(memory)) },
        });
        each.collect()
    }

    async fn gate(&mut self, want: &Want) -> Vec<(String, Result<GateSaid, String>)> {
        let sim = &*self.0;
        let each = want.of.iter().map(|name| {
            let reasons = sim.reasons(&sim.sidecars[name], want);
            let ok_to_drain = reasons.iter().all(|reason| reason.code == "not_drained");
            let said = GateSaid { ok: reasons.is_empty(), ok_to_drain, reasons, ..GateSaid::default() };
            (name.clone(), Ok(said))
        });
        each.collect()
    }

    fn run(&mut self, run: u64) -> RunSeen {
        let ours = self.0.ours.contains(&run);
        match self.0.processes.get(&run) {
            None => RunSeen::Unclaimed { ours: false },
            Some(process) if process.at == 0 => RunSeen::Unclaimed { ours },
            Some(Process { code: Some(code), .. }) => RunSeen::Ended { code: *code, output: String::new() },
            Some(Process { gone: true, .. }) => RunSeen::Vanished { output: String::new() },
            Some(_) => RunSeen::Running,
        }
    }

    fn start(&mut self, run: u64, task: &Task, progress: &Progress) -> Result<(), Halt> {
        let (task, direction) = (task.clone(), progress.direction);
        if let Task::Member(member) = &task
            && self.0.plan.move_leaders
        {
            assert!(!self.0.nodes[member].leads, "{member} leads when its command is started");
        }
        let process = Process { task, direction, at: 0, code: None, gone: false, revoked: false };
        assert!(self.0.processes.insert(run, process).is_none());
        self.0.ours.push(run);
        self.0.acts += 1;
        self.0.dies(Death::Act(self.0.acts))
    }

    async fn check(&mut self, _: &str, _: &Progress) -> Option<i32> {
        self.0.tick();
        self.0.checks
    }

    async fn carry_out(&mut self, step: &Step, progress: &Progress) -> Result<Vec<Event>, String> {
        let events = self.0.act(step, progress);
        self.0.acts += 1;
        if self.0.dies(Death::Act(self.0.acts)).is_err() {
            self.0.death = Death::Pause(self.0.pauses + 1);
            return Err(DEAD.to_owned());
        }
        Ok(events)
    }

    fn show(&mut self, _: &Progress, _: &crate::driver::core::Seen, _: &[Reason]) {}

    async fn pause(&mut self) -> Result<(), Halt> {
        self.0.tick();
        self.0.pauses += 1;
        self.0.dies(Death::Pause(self.0.pauses))
    }
}
