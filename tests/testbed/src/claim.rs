//! Loopback networks `127.0.N.*`, one for each running cluster of this machine, and what is left over of aborted runs.
//!
//! A claim is a locked file `N.lock` in a folder below the temporary directory; beside it the folder `N/` holds all
//! data and logs of the cluster, and `N/pids` the processes that were started for it. The lock ends with its owner,
//! whatever way it ended. The next owner of the number first kills what the previous one left behind.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

/// Numbers N that may be claimed.
const NETWORKS: std::ops::RangeInclusive<u8> = 20..=240;

/// One claimed network, with its folder. Dropping it removes the folder, unless `TESTBED_KEEP=1`.
#[derive(Debug)]
pub struct Claim {
    number: u8,
    folder: PathBuf,
    // Held for its lock.
    _lock: File,
}

impl Claim {
    /// Claims a free network, clearing away leftovers of an aborted run that had it.
    pub fn take() -> Result<Self> {
        let base = base_folder();
        fs::create_dir_all(&base).map_err(Error::io(format!("creating {}", base.display())))?;
        for number in NETWORKS {
            let path = base.join(format!("{number}.lock"));
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(Error::io(format!("opening {}", path.display())))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let folder = base.join(number.to_string());
            sweep(&folder);
            // Someone outside the test bed may live there.
            let free = [(1, 9092), (101, 9093), (1, 2181)]
                .iter()
                .all(|&(host, port)| TcpListener::bind((Ipv4Addr::new(127, 0, number, host), port)).is_ok());
            if !free {
                continue;
            }
            fs::create_dir_all(&folder).map_err(Error::io(format!("creating {}", folder.display())))?;
            return Ok(Self { number, folder, _lock: lock });
        }
        Err(Error::Missing(
            "no free loopback network: ports 9092, 9093 or 2181 are taken on each of 127.0.20.* to 127.0.240.* \
             (a server that listens on 0.0.0.0?)"
                .to_owned(),
        ))
    }

    /// The N of `127.0.N.*`.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The address `127.0.N.host`.
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, self.number, host)
    }

    /// The folder for data and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes a process, so that a later run can end it should this one be aborted.
    pub fn note_process(&self, pid: u32) -> Result<()> {
        let path = self.folder.join("pids");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io(format!("opening {}", path.display())))?;
        let born = birth(pid).unwrap_or_default();
        writeln!(file, "{pid} {born}").map_err(Error::io("noting a process"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if std::env::var_os("TESTBED_KEEP").is_some_and(|v| v == "1") {
            let kept = self.folder.with_file_name(format!("kept-{}-{}", self.number, std::process::id()));
            if fs::rename(&self.folder, &kept).is_ok() {
                eprintln!("testbed: kept {}", kept.display());
            }
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The folder of all claims of this user.
pub fn base_folder() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("evenkeel-testbed-{user}"))
}

/// Ends every process that an owner of this folder left behind, and removes the folder.
fn sweep(folder: &Path) {
    if let Ok(list) = fs::read_to_string(folder.join("pids")) {
        for line in list.lines() {
            let Some((pid, born)) = line.split_once(' ') else { continue };
            let Ok(pid) = pid.parse::<u32>() else { continue };
            // The same number may be another process by now: its time of birth tells.
            if birth(pid).as_deref() != Some(born) {
                continue;
            }
            if let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(target, Signal::KILL);
                let _ = crate::wait::until("a leftover's end", std::time::Duration::from_secs(10), || {
                    birth(pid).as_deref() != Some(born)
                });
            }
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// A process's start time in clock ticks since boot (field 22 of `/proc/PID/stat`); `None` when it has ended.
fn birth(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, may hold blanks and parentheses; what follows the last one is regular.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_differ_and_folders_go_away() {
        let one = Claim::take().unwrap();
        let two = Claim::take().unwrap();
        assert_ne!(one.number(), two.number());
        let folder = one.folder().to_owned();
        assert!(folder.is_dir());
        drop(one);
        assert_eq!(folder.exists(), std::env::var("TESTBED_KEEP").is_ok_and(|v| v == "1") && folder.exists());
    }

    #[test]
    fn sweep_ends_the_noted_process_and_spares_a_stranger_with_its_number() {
        let folder = std::env::temp_dir().join(format!("evenkeel-sweep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut left = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let list = format!("{} {}\n{} 1\n", left.id(), birth(left.id()).unwrap(), stranger.id());
        fs::write(folder.join("pids"), list).unwrap();
        sweep(&folder);
        assert!(!folder.exists());
        assert!(!left.wait().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
