//! A server process that can be stopped, killed and frozen, and that never outlives its starter.
//!
//! Each server runs in a process group of its own. Beside it runs a guard, a shell that waits for the end of a pipe
//! that the starter holds: when the starter ends, in whatever way, the guard kills the group. Nothing here knows
//! what kind of server it is.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::claim::Claim;
use crate::{Error, Result, wait};

/// A running server.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    guard: Child,
    log: PathBuf,
    frozen: bool,
}

impl Server {
    /// Starts `command` with both outputs appended to `log`. The claim, if any, notes the process for a later sweep.
    pub fn spawn(name: &str, mut command: Command, log: &Path, claim: Option<&Claim>) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("opening {}", log.display())))?;
        let err = out.try_clone().map_err(Error::io("sharing a log file"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("starting {name}")))?;
        let guard = guard(child.id());
        let mut server = Self {
            name: name.to_owned(),
            guard: match guard {
                Ok(guard) => guard,
                Err(error) => {
                    // Unguarded it must not run.
                    let mut child = child;
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(error);
                }
            },
            child,
            log: log.to_owned(),
            frozen: false,
        };
        if let Some(claim) = claim
            && let Err(error) = claim.note_process(server.child.id())
        {
            server.kill();
            return Err(error);
        }
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it is frozen by [`Server::freeze`].
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether it still runs (a frozen one does).
    pub fn is_running(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        // Reaped: its number may become another's, which the guard must not touch.
        let _ = self.guard.kill();
        false
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.is_running() {
            return Ok(None);
        }
        self.child.try_wait().map_err(Error::io("waiting for a process"))
    }

    /// An error with the end of its log, if it ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        Err(Error::Died { name: self.name.clone(), log: self.log.clone(), tail: tail(&self.log, 30) })
    }

    /// Sends a signal to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return Err(Error::program(&self.name, "has no process id"));
        };
        kill_process_group(pid, signal).map_err(|e| Error::program(&self.name, format!("signal: {e}")))
    }

    /// Waits for its end, which is its own doing.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait::poll(&what, bound, Duration::from_millis(10), || self.ended())
    }

    /// SIGTERM, then waits for its end.
    pub fn stop(&mut self, bound: Duration) -> Result<ExitStatus> {
        if self.frozen {
            self.thaw()?;
        }
        self.signal(Signal::TERM)?;
        let what = format!("the end of {} after SIGTERM", self.name);
        let child = &mut self.child;
        let status = wait::poll(&what, bound, Duration::from_millis(10), || {
            child.try_wait().map_err(Error::io("waiting for a process"))
        });
        self.kill();
        status
    }

    /// SIGKILL to the whole group; its end is awaited. Harmless when it has ended.
    pub fn kill(&mut self) {
        // The group's number can't be another's before the child is reaped: so the signal first, the guard next, and
        // the child last.
        if self.is_running() {
            let _ = self.signal(Signal::KILL);
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.wait();
        self.frozen = false;
    }

    /// SIGSTOP: it keeps its sockets and says nothing.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.frozen = true;
        Ok(())
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.frozen = false;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process that runs has cost so far: the most memory that it had, in KiB, and its CPU time.
pub fn cost(pid: u32) -> Option<(u64, Duration)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which is in brackets: utime and stime are the 12th and 13th. A tick is 10 ms on every Linux that matters.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = rest.get(11)?.parse::<u64>().ok()? + rest.get(12)?.parse::<u64>().ok()?;
    Some((peak, Duration::from_millis(ticks * 10)))
}

/// The last `lines` lines of a file, or what hindered reading it.
pub fn tail(path: &Path, lines: usize) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
        }
        Err(error) => format!("({error})"),
    }
}

/// The guard of the group `group`: it ends it as soon as the pipe from this process ends.
fn guard(group: u32) -> Result<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -s KILL -- \"-$1\" 2>/dev/null", "guard"])
        .arg(group.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Error::io("starting a guard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(name: &str) -> (Server, PathBuf) {
        let log = std::env::temp_dir().join(format!("evenkeel-process-{name}-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo up; sleep 600; echo woken"]);
        (Server::spawn(name, command, &log, None).unwrap(), log)
    }

    #[test]
    fn stops_and_says_what_it_logged() {
        let (mut server, log) = sleeper("stops");
        wait::until("a first line", Duration::from_secs(10), || tail(&log, 1) == "up").unwrap();
        assert!(server.is_running());
        assert!(!server.stop(Duration::from_secs(10)).unwrap().success());
        assert!(matches!(server.check(), Err(Error::Died { tail, .. }) if tail == "up"));
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn guard_kills_the_group_when_the_pipe_ends() {
        let (mut server, log) = sleeper("guard");
        // What the end of this process would do.
        drop(server.guard.stdin.take());
        wait::until("the guard's work", Duration::from_secs(10), || !server.is_running()).unwrap();
        fs::remove_file(log).unwrap();
    }
}
