//! `deploy/roll.sh` at work. Its command hands the member over to this process, which restarts it, and waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Server, tail};
use crate::{Error, Result, Sidecar, wait};

/// How long the script's end may take after a signal.
const END: Duration = Duration::from_secs(60);

/// The script, running. Dropping it kills it.
#[derive(Debug)]
pub struct RollScript {
    server: Server,
    folder: PathBuf,
}

/// What the script wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This member is to be restarted.
    Restart(String),
    /// The cluster's version is to be raised.
    Finalize,
}

impl RollScript {
    /// Starts it for the cluster of a test bed, with `options` besides.
    pub fn start(sidecars: &[Sidecar], members: &[String], options: &[&str]) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-roll-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(Error::io("creating a folder"))?;
        let listeners: Vec<String> =
            sidecars.iter().map(|sidecar| format!("http://{}", sidecar.admin())).collect();
        let hand_over = format!(
            "cd {} && printf %s \"${{MEMBER-}}\" >ask.new && mv ask.new ask && while [ -e ask ]; do sleep 0.05; done",
            folder.display()
        );
        let mut command = Command::new("bash");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/roll.sh"))
            .args(["--cluster", "bed", "--plan", "bed", "--members", &members.join(",")])
            .args(["--sidecars", &listeners.join(","), "--command", &hand_over, "--finalize", &hand_over])
            .args(options);
        let server = Server::spawn("roll.sh", command, &folder.join("log"), None)?;
        Ok(Self { server, folder })
    }

    /// Waits for what it wants next, and `None` for its good end. See [`Self::done`].
    pub fn wanted(&mut self, bound: Duration) -> Result<Option<Wanted>> {
        let ask = self.folder.join("ask");
        let wanted = wait::poll("roll.sh", bound, Duration::from_millis(50), || {
            if let Ok(member) = fs::read_to_string(&ask) {
                let wanted = if member.is_empty() { Wanted::Finalize } else { Wanted::Restart(member) };
                return Ok(Some(Some(wanted)));
            }
            match self.server.ended()? {
                None => Ok(None),
                Some(status) if status.success() => Ok(Some(None)),
                Some(status) => Err(Error::program("roll.sh", status.to_string())),
            }
        });
        wanted.map_err(|error| Error::program("roll.sh", format!("{error}: {}", self.said())))
    }

    /// What it wanted has been done: it goes on.
    pub fn done(&self) -> Result<()> {
        fs::remove_file(self.folder.join("ask")).map_err(Error::io("answering roll.sh"))
    }

    /// Carries it through: `act` does what it wants. Gives what it said.
    pub fn run(mut self, bound: Duration, mut act: impl FnMut(Wanted) -> Result<()>) -> Result<String> {
        while let Some(wanted) = self.wanted(bound)? {
            act(wanted)?;
            self.done()?;
        }
        Ok(self.said())
    }

    /// Waits until it has said this.
    pub fn wait_said(&mut self, text: &str, bound: Duration) -> Result<()> {
        let said = wait::until(text, bound, || self.said().contains(text) || !self.server.is_running());
        said.and_then(|()| self.server.check())
            .map_err(|error| Error::program("roll.sh", format!("{error}: {}", self.said())))
    }

    /// SIGTERM; gives its exit code.
    pub fn interrupt(&mut self) -> Result<Option<i32>> {
        self.server.signal(Signal::TERM)?;
        let status =
            wait::poll("the end of roll.sh", END, Duration::from_millis(20), || self.server.ended())?;
        Ok(status.code())
    }

    /// Everything that it has said so far.
    pub fn said(&self) -> String {
        tail(&self.folder.join("log"), usize::MAX)
    }
}

impl Drop for RollScript {
    fn drop(&mut self) {
        self.server.kill();
        if std::env::var_os("TESTBED_KEEP").is_none_or(|v| v != "1") {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
