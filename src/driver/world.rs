//! The loop of a roll, around whatever it is carried out in: real sidecars and commands, or a simulation.

use super::core::{Asked, Core, RunSeen, Seen, Sidecar, Step, Want};
use super::event::{Event, Line, Task};
use super::exit::Halt;
use super::progress::Progress;
use crate::fleet::{GateSaid, Reason};
use crate::upgrade::Gate;

/// What the loop needs. Whatever of it is dropped half-way, or dies, may be begun again.
#[allow(async_fn_in_trait, reason = "nobody outside of this folder implements it")]
pub(super) trait World {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Writes a line of the journal; it is on the disk when this returns.
    fn append(&mut self, event: Event) -> Result<Line, Halt>;

    /// Asks all sidecars what they see.
    async fn look(&mut self) -> Vec<Sidecar>;

    /// Asks sidecars for a gate.
    async fn gate(&mut self, want: &Want) -> Vec<(String, Result<GateSaid, String>)>;

    /// Looks after a command.
    fn run(&mut self, run: u64) -> RunSeen;

    /// Starts a command whose line is written.
    fn start(&mut self, run: u64, task: &Task, progress: &Progress) -> Result<(), Halt>;

    /// What the plan's check says of a member.
    async fn check(&mut self, member: &str, progress: &Progress) -> Option<i32>;

    /// Carries out any other step: what came of it, for the journal, or why it failed.
    async fn carry_out(&mut self, step: &Step, progress: &Progress) -> Result<Vec<Event>, String>;

    /// Shows what is going on.
    fn show(&mut self, progress: &Progress, seen: &Seen, waits: &[Reason]);

    /// A moment between two looks.
    async fn pause(&mut self) -> Result<(), Halt>;
}

/// Goes on until everything is done, or can't go on.
pub(super) async fn drive<W: World>(world: &mut W, core: &mut Core<'_>, progress: &mut Progress) -> Halt {
    let mut kept = Kept::default();
    loop {
        match round(world, core, progress, &mut kept).await {
            Ok(()) => {}
            Err(halt) => return halt,
        }
    }
}

/// What is kept from one round to the next.
#[derive(Default)]
struct Kept {
    trouble: Option<String>,
    check: Option<(u64, Option<i32>)>,
}

/// One look and one step.
async fn round<W: World>(
    world: &mut W,
    core: &mut Core<'_>,
    progress: &mut Progress,
    kept: &mut Kept,
) -> Result<(), Halt> {
    let sidecars = world.look().await;
    let run = progress.running().map(|(run, _)| run.n).map(|n| world.run(n));
    let mut seen = Seen {
        now_ms: world.now_ms(),
        sidecars,
        run,
        check: kept.check,
        gates: Vec::new(),
        trouble: kept.trouble.take(),
    };
    let step = match core.first(progress, &seen) {
        Some(step) => step,
        None => {
            for want in core.wants(progress, &seen) {
                if want.of.is_empty() {
                    continue;
                }
                let answers = world.gate(&want).await;
                let asked = Asked { want, answers };
                let found = asked.want.gate == Gate::Stop && asked.merged().ok_to_drain;
                seen.gates.push(asked);
                if found {
                    break;
                }
            }
            seen.now_ms = world.now_ms();
            core.then(progress, &seen)
        }
    };
    let waits: &[Reason] = if let Step::Wait(reasons) = &step { reasons } else { &[] };
    world.show(progress, &seen, waits);
    match step {
        Step::Halt(halt) => return Err(halt),
        Step::Wait(_) => world.pause().await?,
        Step::Write(event) => {
            let line = world.append(event)?;
            progress.take(&line);
        }
        Step::Start { task, had_turn } => {
            let line = world.append(Event::Command { task: task.clone(), had_turn })?;
            progress.take(&line);
            world.start(line.n, &task, progress)?;
        }
        Step::Check { run, member } => kept.check = Some((run, world.check(&member, progress).await)),
        step => match world.carry_out(&step, progress).await {
            Ok(events) => {
                for event in events {
                    let line = world.append(event)?;
                    progress.take(&line);
                }
            }
            Err(why) => {
                world.show(progress, &seen, &[Reason::new("not_done", why.clone())]);
                kept.trouble = Some(why);
                world.pause().await?;
            }
        },
    }
    Ok(())
}
