//! A fleet, its members and the commands for them, as far as a driver can tell them from real ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::driver::act::revoked;
use crate::driver::core::{Step, Want};
use crate::driver::event::{Event, Line, Order, Task};
use crate::driver::exit::{Exit, Halt};
use crate::driver::plan::{Direction, PlanFile};
use crate::driver::progress::Progress;
use crate::fleet::{LastPlan, MemberSaid, PlanSaid, Reason, Status};
use crate::upgrade::{Gate, Phase, Plan};

/// What a sidecar remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) plan: Option<Plan>,
    pub(super) last: Option<(String, u64, &'static str)>,
    pub(super) drains: BTreeMap<String, bool>,
    pub(super) had_turn: BTreeMap<String, bool>,
    pub(super) silent: bool,
    /// Members whose drain came to its end by itself.
    pub(super) expired: BTreeSet<String>,
    /// When drains were begun.
    since: BTreeMap<String, u64>,
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
    /// A drain comes to its end by itself after so long.
    pub(super) expire_ms: Option<u64>,
    /// The gate `stop` is closed for whoever is drained.
    pub(super) closed_drained: bool,
    /// The gate `stop` is closed for everybody until then.
    pub(super) closed_until_ms: u64,
    pub(super) death: Death,
    /// What is left until it: lines, steps, pauses.
    pub(super) lines: usize,
    pub(super) acts: usize,
    pub(super) pauses: usize,
    pub(super) looks: usize,
    /// Processes that this driver has started.
    pub(super) ours: Vec<u64>,
}

pub(super) const DEAD: &str = "the driver died here";

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
            expire_ms: None,
            closed_drained: false,
            closed_until_ms: 0,
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
    pub(super) fn tick(&mut self) {
        self.now_ms += 1000;
        self.expire();
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

    /// Drains that have lasted too long come to their end.
    fn expire(&mut self) {
        let Some(after) = self.expire_ms else { return };
        let now = self.now_ms;
        for memory in self.sidecars.values_mut() {
            let over = |member: &String| memory.since.get(member).is_none_or(|since| now - since >= after);
            let over: Vec<String> =
                memory.drains.keys().filter(|id| self.nodes[*id].up && over(id)).cloned().collect();
            for member in over {
                memory.drains.remove(&member);
                memory.expired.insert(member);
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
            memory.since.remove(member);
            if memory.drains.remove(member) == Some(true) {
                memory.had_turn.insert(member.to_owned(), true);
            }
        }
    }

    pub(super) fn status(&self, memory: &Memory) -> Status {
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
            drain_expired: memory.expired.contains(id),
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
                Some(to) if !self.blind => self.nodes.get(id).is_some_and(|node| node.version == to),
                _ => memory.had_turn.contains_key(id),
            }
        };
        let all = plan.into_iter().flat_map(|plan| plan.members.iter().map(|member| member.id.clone()));
        all.filter(|id| !done(id)).collect()
    }

    pub(super) fn reasons(&self, memory: &Memory, want: &Want) -> Vec<Reason> {
        let mut found = Vec::new();
        let mut because = |code: &str| found.push(Reason::new(code, "simulated"));
        let away = |id: &String| !self.nodes[id].up || memory.drains.contains_key(id);
        match (want.gate, &want.member) {
            (Gate::Stop, Some(member)) => {
                let drained = memory.drains.get(member) == Some(&true);
                if self.nodes.get(member).is_some_and(|node| node.up) && !drained {
                    because(if memory.expired.contains(member) { "drain_expired" } else { "not_drained" });
                }
                if !self.nodes.contains_key(member) {
                    because("member_unknown");
                }
                if self.now_ms < self.closed_until_ms || self.closed_drained && drained {
                    because("min_isr");
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

    pub(super) fn dies(&self, what: Death) -> Result<(), Halt> {
        if self.death == what { Err(Halt::new(Exit::Broken, DEAD)) } else { Ok(()) }
    }

    pub(super) fn act(&mut self, step: &Step, progress: &Progress) -> Vec<Event> {
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
                    assert!(!memory.expired.contains(member), "409: the drain of {member} has expired");
                    memory.drains.insert(member.clone(), true);
                    memory.since.entry(member.clone()).or_insert(self.now_ms);
                }
                Vec::new()
            }
            Step::Undrain { member, to } => {
                for name in to {
                    let memory = self.sidecars.get_mut(name).unwrap();
                    memory.drains.remove(member);
                    memory.expired.remove(member);
                    memory.since.remove(member);
                }
                Vec::new()
            }
            Step::Revoke { run, did } => match self.processes.get_mut(run) {
                Some(process) if process.at > 0 => Vec::new(),
                process => {
                    if let Some(process) = process {
                        process.revoked = true;
                    }
                    vec![revoked(*run, did.clone())]
                }
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
                    memory.since.clear();
                }
                Vec::new()
            }
            other => panic!("{other:?} is not carried out here"),
        }
    }
}
