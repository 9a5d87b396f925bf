//! A driver at work in the simulated fleet.

use super::fleet::{DEAD, Death, Process, Sim};
use crate::driver::core::{RunSeen, Sidecar, Step, Want};
use crate::driver::event::{Event, Line, Task};
use crate::driver::exit::Halt;
use crate::driver::progress::Progress;
use crate::driver::world::World;
use crate::fleet::{GateSaid, Reason};

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
            let missing = ["not_drained", "drain_expired"];
            let ok_to_drain = reasons.iter().all(|reason| missing.contains(&reason.code.as_str()));
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
