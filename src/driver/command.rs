//! The plan's commands, so that a driver that dies takes none with it and the next one finds their end.
//!
//! A command runs in a shell, in a process group of its own, with its output in a file. Around it a few lines of shell keep two
//! files beside the journal: `JOURNAL.N.pid`, made before the command begins, and `JOURNAL.N.end` with its exit code. The first is
//! made in a way that only one can make it, whole (a link): whoever wants to be sure that the command never begins makes it himself.
//! It is on the disk before the command begins, so that it outlasts a power cut like the journal's lines.
//! Its process is recognised by what it has in its environment, not by its number alone.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::core::RunSeen;

/// What stands around a command. A `sync` that knows no files syncs everything.
const AROUND: &str = r#"pid=$EVENKEEL_RUN.pid
claim() {
    { echo $$ > "$pid.$$"; } 2>/dev/null && { sync "$pid.$$" || sync || :; } 2>/dev/null && ln "$pid.$$" "$pid" 2>/dev/null
}
claim; claimed=$?
rm -f "$pid.$$"
[ $claimed = 0 ] || exit 111
{ sync "${pid%/*}" || sync || :; } 2>/dev/null
sh -c "$EVENKEEL_COMMAND"
code=$?
echo $code > "$EVENKEEL_RUN.end.new" && mv "$EVENKEEL_RUN.end.new" "$EVENKEEL_RUN.end"
exit $code"#;
/// So much of the end of a command's output is kept.
const OUTPUT: u64 = 2000;
/// What is there for so long and can't be read is not being written any more.
const TORN: Duration = Duration::from_secs(5);
/// What a killed command gets between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// The commands of one journal.
#[derive(Debug)]
pub(super) struct Commands {
    base: PathBuf,
    child: Option<(u64, Child)>,
}

impl Commands {
    /// Beside this journal.
    pub(super) fn beside(journal: &Path) -> io::Result<Self> {
        Ok(Self { base: std::path::absolute(journal)?, child: None })
    }

    fn file(&self, run: u64, kind: &str) -> PathBuf {
        let mut name = self.base.clone().into_os_string();
        name.push(format!(".{run}{kind}"));
        PathBuf::from(name)
    }

    /// Starts a command.
    pub(super) fn start(&mut self, run: u64, command: &str, env: &[(String, String)]) -> io::Result<()> {
        self.clear_before(run);
        let out = File::create(self.file(run, ".out"))?;
        let err = out.try_clone()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", AROUND]).envs(env.iter().map(|(key, value)| (key, value)));
        shell.env("EVENKEEL_RUN", self.file(run, "")).env("EVENKEEL_COMMAND", command);
        shell.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        self.child = Some((run, shell.spawn()?));
        Ok(())
    }

    /// The files of earlier commands have done their work: their ends are in the journal.
    fn clear_before(&self, run: u64) {
        let (Some(folder), Some(name)) = (self.base.parent(), self.base.file_name()) else { return };
        let prefix = format!("{}.", name.to_string_lossy());
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some((number, kind)) = file.strip_prefix(&prefix).and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let earlier = number.parse::<u64>().is_ok_and(|number| number < run);
            let ours = ["pid", "end", "end.new", "out"].contains(&kind) || kind.starts_with("pid.");
            if earlier && ours {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// What is seen of a command.
    pub(super) fn look(&mut self, run: u64) -> RunSeen {
        let ours = match &mut self.child {
            // Also so that it doesn't stay as a zombie.
            Some((of, child)) if *of == run => matches!(child.try_wait(), Ok(None)),
            _ => false,
        };
        let claim = self.file(run, ".pid");
        let alive = match read_number(&claim) {
            Some(0) => return RunSeen::Unclaimed { ours },
            // In this order: it writes its end before it goes.
            Some(pid) => ours || self.is_it(run, pid),
            // Of a disk that was full, or a machine that lost its power: whether the command began can't be told from it.
            None if !ours && is_torn(&claim) => false,
            None => return RunSeen::Unclaimed { ours },
        };
        match read_number(&self.file(run, ".end")) {
            Some(code) => RunSeen::Ended { code, output: self.output(run) },
            None if alive => RunSeen::Running,
            None => RunSeen::Vanished { output: self.output(run) },
        }
    }

    /// Whether the process of that number is this command's shell.
    fn is_it(&self, run: u64, pid: i32) -> bool {
        let mut wanted = b"EVENKEEL_RUN=".to_vec();
        wanted.extend(self.file(run, "").as_os_str().as_encoded_bytes());
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    }

    /// Makes sure that a command never begins. Whether it had not.
    pub(super) fn revoke(&self, run: u64) -> io::Result<bool> {
        let (mine, place) = (self.file(run, ".pid.new"), self.file(run, ".pid"));
        let mut file = File::create(&mine)?;
        file.write_all(b"0\n")?;
        file.sync_all()?;
        // A link is made whole or not at all, and never over another file: nobody sees it half-written.
        let linked = fs::hard_link(&mine, &place);
        let _ = fs::remove_file(&mine);
        match linked {
            Ok(()) => Ok(true),
            // By a driver that died before it could write that down.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(read_number(&place) == Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Ends a command with everything that it started, unless that has left its group.
    pub(super) async fn kill(&mut self, run: u64) {
        let Some(number) = read_number(&self.file(run, ".pid")) else { return };
        let ours = matches!(&self.child, Some((of, _)) if *of == run);
        let Some(pid) = Pid::from_raw(number).filter(|_| ours || self.is_it(run, number)) else { return };
        let _ = kill_process_group(pid, Signal::TERM);
        let until = tokio::time::Instant::now() + GRACE;
        while tokio::time::Instant::now() < until && test_kill_process_group(pid).is_ok() {
            if let Some((_, child)) = &mut self.child {
                let _ = child.try_wait();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _ = kill_process_group(pid, Signal::KILL);
        if let Some((of, mut child)) = self.child.take()
            && of == run
        {
            let _ = child.wait();
        }
    }

    /// The end of a command's output.
    pub(super) fn output(&self, run: u64) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.file(run, ".out"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT)))?;
            let mut bytes = Vec::new();
            file.take(OUTPUT).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default()
    }
}

/// Asks something of a shell, for so long: its exit code.
pub(super) async fn ask(command: &str, env: &[(String, String)], bound: Duration) -> Option<i32> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).envs(env.iter().map(|(key, value)| (key, value)));
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = shell.spawn().ok()?;
    let until = tokio::time::Instant::now() + bound;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code(),
            Ok(None) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => {
                if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(pid, Signal::KILL);
                }
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// A file that is there, and not since just now.
fn is_torn(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|of| of.modified());
    // A clock that was set back makes it no newer.
    written.is_ok_and(|written| written.elapsed().map_or(true, |age| age >= TORN))
}

fn read_number(path: &Path) -> Option<i32> {
    let text = fs::read_to_string(path).ok()?;
    // Half-written it has no end of line yet.
    text.strip_suffix('\n')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("evenkeel-command-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn journal(&self) -> PathBuf {
            self.0.join("plan.journal")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn wait(commands: &mut Commands, run: u64, done: impl Fn(&RunSeen) -> bool) -> RunSeen {
        let until = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let seen = commands.look(run);
            if done(&seen) {
                return seen;
            }
            assert!(std::time::Instant::now() < until, "{seen:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ended(seen: &RunSeen) -> bool {
        matches!(seen, RunSeen::Ended { .. })
    }

    #[test]
    fn a_command_tells_its_end_to_whoever_looks() {
        let folder = Folder::new("tells");
        let mut first = Commands::beside(&folder.journal()).unwrap();
        let env = [("EVENKEEL_MEMBER".to_owned(), "2".to_owned())];
        first.start(7, "echo member $EVENKEEL_MEMBER; exit 3", &env).unwrap();
        let told = RunSeen::Ended { code: 3, output: "member 2".to_owned() };
        assert_eq!(wait(&mut first, 7, ended), told);
        let mut next = Commands::beside(&folder.journal()).unwrap();
        assert_eq!(next.look(7), told);
        assert_eq!(next.look(8), RunSeen::Unclaimed { ours: false });
        // Its files go when the next one is started.
        next.start(9, "true", &[]).unwrap();
        wait(&mut next, 9, ended);
        let files = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(files.into_iter().all(|name| name.to_string_lossy().starts_with("plan.journal.9")));
    }

    #[test]
    fn a_command_outlives_who_started_it_and_is_found() {
        let folder = Folder::new("outlives");
        let mut first = Commands::beside(&folder.journal()).unwrap();
        let flag = folder.0.join("go");
        let command = format!("while [ ! -e {} ]; do sleep 0.05; done", flag.display());
        first.start(1, &command, &[]).unwrap();
        wait(&mut first, 1, |seen| *seen == RunSeen::Running);
        std::mem::forget(first); // nobody waits for it any more
        let mut next = Commands::beside(&folder.journal()).unwrap();
        assert_eq!(next.look(1), RunSeen::Running);
        assert!(!next.revoke(1).unwrap(), "it has begun");
        fs::write(&flag, "").unwrap();
        assert_eq!(wait(&mut next, 1, ended), RunSeen::Ended { code: 0, output: String::new() });
    }

    #[test]
    fn a_command_that_is_revoked_never_begins() {
        let folder = Folder::new("revoked");
        let mut commands = Commands::beside(&folder.journal()).unwrap();
        assert!(commands.revoke(4).unwrap());
        assert!(commands.revoke(4).unwrap(), "again");
        let flag = folder.0.join("begun");
        commands.start(4, &format!("touch {}", flag.display()), &[]).unwrap();
        let (_, mut child) = commands.child.take().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(111));
        assert!(!flag.exists());
        assert_eq!(commands.look(4), RunSeen::Unclaimed { ours: false });
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_of_one_that_vanished() {
        let folder = Folder::new("torn");
        let mut commands = Commands::beside(&folder.journal()).unwrap();
        let claim = folder.0.join("plan.journal.3.pid");
        for torn in ["", "12", "x\n"] {
            fs::write(&claim, torn).unwrap();
            assert_eq!(
                commands.look(3),
                RunSeen::Unclaimed { ours: false },
                "{torn:?} may be just being written"
            );
            let file = File::options().write(true).open(&claim).unwrap();
            file.set_modified(std::time::SystemTime::now() - TORN).unwrap();
            assert_eq!(commands.look(3), RunSeen::Vanished { output: String::new() }, "{torn:?}");
        }
        // Its end tells more.
        fs::write(folder.0.join("plan.journal.3.end"), "0\n").unwrap();
        assert_eq!(commands.look(3), RunSeen::Ended { code: 0, output: String::new() });
    }

    #[test]
    fn a_claim_is_on_the_disk_before_its_command_begins_and_nothing_else_is_left_of_it() {
        let folder = Folder::new("synced");
        let mut commands = Commands::beside(&folder.journal()).unwrap();
        // What is asked to sync writes down what there is at that moment.
        let tools = folder.0.join("tools");
        fs::create_dir(&tools).unwrap();
        let script = format!(
            "#!/bin/sh\n[ -e {0}/plan.journal.5.pid ] && echo claimed \"$1\" >> {0}/synced || echo \"$1\" >> {0}/synced\n",
            folder.0.display()
        );
        fs::write(tools.join("sync"), script).unwrap();
        fs::set_permissions(tools.join("sync"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let command = format!("ls {0} > {0}/files; cat {0}/synced", folder.0.display());
        commands.start(5, &command, &[("PATH".to_owned(), path)]).unwrap();
        let RunSeen::Ended { code: 0, output } = wait(&mut commands, 5, ended) else { panic!("it failed") };
        let lines: Vec<&str> = output.lines().collect();
        assert!(lines[0].starts_with(&format!("{}.5.pid.", folder.journal().display())), "{output}");
        assert_eq!(lines[1..], [format!("claimed {}", folder.0.display())], "{output}");
        let files = fs::read_to_string(folder.0.join("files")).unwrap();
        let claims: Vec<&str> = files.lines().filter(|file| file.contains(".pid")).collect();
        assert_eq!(claims, ["plan.journal.5.pid"]);
    }

    #[tokio::test]
    async fn one_that_is_killed_vanishes_and_takes_its_children_along() {
        let folder = Folder::new("killed");
        let mut commands = Commands::beside(&folder.journal()).unwrap();
        commands.start(2, "echo here; sleep 600 & sleep 600", &[]).unwrap();
        wait(&mut commands, 2, |seen| *seen == RunSeen::Running);
        let pid = Pid::from_raw(read_number(&folder.0.join("plan.journal.2.pid")).unwrap()).unwrap();
        commands.kill(2).await;
        assert!(matches!(commands.look(2), RunSeen::Vanished { .. }));
        assert!(test_kill_process_group(pid).is_err(), "its group is gone");
        assert_eq!(ask("exit 4", &[], Duration::from_secs(30)).await, Some(4));
        assert_eq!(ask("sleep 600", &[], Duration::from_millis(100)).await, None);
    }
}
