//! Floor 6, `driver`: `evenkeel upgrade PLAN.toml`, the controller of a rolling upgrade that comes with Evenkeel.
//!
//! `core` decides, and is pure; the `journal` makes it go on where it was; `act`, `command` and `leaders` do what was decided,
//! through `fleet`, shells and the brokers; `view` shows it. `world` is the loop around them.
//!
//! May import every lower floor and `fleet`. Must never do what the journal doesn't say first.

mod act;
mod command;
mod core;
mod dry;
mod event;
mod exit;
mod journal;
mod leaders;
mod plan;
mod progress;
#[cfg(test)]
mod tests;
mod view;
mod world;

use std::path::{Path, PathBuf};

use crate::admin::client::Credentials;
use crate::fleet::Fleet;
use crate::lifecycle::Signals;
use act::{Real, now_ms};
use command::Commands;
use core::Core;
use event::Event;
use journal::{Journal, JournalError};
use leaders::Leaders;
use progress::Progress;
use view::View;
use world::World as _;

pub use exit::{Exit, Halt};
pub use plan::{DeadSidecars, PlanFile};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The plan's file.
    pub plan: PathBuf,
    /// The journal's; beside the plan's, if it isn't given.
    pub journal: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Members go back to the version before.
    pub rollback: bool,
    /// How sidecars let us in, as far as the plan doesn't say.
    pub credentials: Credentials,
    /// A person's word about a member whose command nobody knows the end of: it had its turn, or had not.
    pub word: Option<(String, bool)>,
}

/// Drives a roll to its end, or as far as it goes. The runtime must have time and sockets.
pub async fn run(options: &Options) -> Halt {
    match prepared(options).await {
        Ok(halt) | Err(halt) => halt,
    }
}

async fn prepared(options: &Options) -> Result<Halt, Halt> {
    let plan = PlanFile::load(&options.plan).map_err(|text| Halt::new(Exit::Usage, text))?;
    let source = plan.source().map_err(|text| Halt::new(Exit::Usage, text))?;
    if let Some((member, _)) = &options.word
        && plan.member(member).is_none()
    {
        return Err(Halt::new(Exit::Usage, format!("the plan has no member {member}")));
    }
    let broken = |text: String| Halt::new(Exit::Broken, text);
    let credentials = plan.credentials(&options.credentials);
    let problems = credentials.problems();
    if !problems.is_empty() {
        return Err(Halt::new(Exit::Usage, problems.join("\n")));
    }
    let mut fleet = Fleet::new(source, credentials).map_err(broken)?;
    let leaders = Leaders::new(&plan)?;
    let path = options.journal.clone().unwrap_or_else(|| beside(&options.plan));
    if options.dry_run {
        let lines = Journal::look(&path, &plan).map_err(|error| refused(&error))?;
        let signals = Signals::from_os().map_err(|error| broken(format!("no signal handlers: {error}")))?;
        return Ok(dry::run(&plan, options.rollback, &lines, (&mut fleet, signals), &leaders).await);
    }
    let mut signals = Signals::from_os().map_err(|error| broken(format!("no signal handlers: {error}")))?;
    let (journal, lines) = Journal::open(&path, &plan, now_ms()).map_err(|error| refused(&error))?;
    let mut progress = Progress::of(&lines);
    let loaded = lines.last().map_or(0, |line| line.n);
    let commands = Commands::beside(journal.path())
        .map_err(|error| broken(format!("{}: {error}", journal.path().display())))?;
    let view = View::new(lines.first().map_or_else(now_ms, |line| line.at_ms));
    let mut real = Real { plan: &plan, journal, fleet, commands, leaders, view, sidecars: 0 };
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
    real.append(Event::Started { pid, version })?;
    let mut core = Core::new(&plan, options.rollback, options.word.clone(), loaded);
    let halt = {
        let driven = world::drive(&mut real, &mut core, &mut progress);
        tokio::select! {
            halt = driven => halt,
            // As good a moment to be cut off as any other.
            signal = signals.next() => Halt::new(
                Exit::Interrupted,
                format!("{}: start the driver again to go on; a command that runs goes on by itself", signal.name()),
            ),
        }
    };
    if halt.exit != Exit::Done && halt.exit != Exit::Broken {
        real.append(Event::Stopped { code: halt.exit.code(), why: halt.text.clone() })?;
    }
    Ok(halt)
}

fn refused(error: &JournalError) -> Halt {
    let exit = match error {
        JournalError::Io { .. } => Exit::Broken,
        JournalError::Locked(_) => Exit::Refused,
        JournalError::Foreign { .. } => Exit::Usage,
    };
    Halt::new(exit, error.to_string())
}

/// `PLAN.toml.journal`.
fn beside(plan: &Path) -> PathBuf {
    let mut name = plan.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}
