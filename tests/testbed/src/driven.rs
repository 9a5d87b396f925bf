//! `evenkeel upgrade` at work, killed at moments of a seed's and started again each time.
//!
//! Its plan's command is a shell script that asks this process to restart a member, by a line in a file, and waits until that is
//! done. It outlives the driver that started it; each line is one time that the member was restarted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, Server};
use crate::{Error, Result};

/// The longest that a whole roll may take.
const BOUND: Duration = Duration::from_secs(540);
const LOOK: Duration = Duration::from_millis(20);

/// What became of a roll.
#[derive(Clone, Debug, Default)]
pub struct Driven {
    /// How often each member was restarted.
    pub restarts: BTreeMap<String, usize>,
    /// How often the driver was killed.
    pub kills: usize,
    /// The events of the journal, in order: their names and members.
    pub events: Vec<(String, String)>,
    /// How long it took.
    pub took: Duration,
    /// The most memory that a driver had, in KiB.
    pub peak_kib: u64,
    /// The CPU time of all drivers.
    pub cpu: Duration,
    /// The driver's output.
    pub log: String,
}

impl Driven {
    /// What is not as it must be: every one of these members is restarted once, and whatever ends the roll comes last.
    pub fn breaches(&self, members: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for member in members {
            let count = self.restarts.get(member).copied().unwrap_or(0);
            if count != 1 {
                found.push(format!("{member} was restarted {count} times"));
            }
        }
        let at = |name: &str| self.events.iter().rposition(|(event, _)| event == name);
        let last_turn = at("done");
        for end in ["raised", "finalized"] {
            if at(end).is_some() && at(end) < last_turn {
                found.push(format!("{end} came before the last member was done"));
            }
        }
        if at("finalized").is_none() {
            found.push("it never ended".to_owned());
        }
        found
    }
}

/// Runs `evenkeel upgrade` with a plan whose member command is added here, in `folder`. `restart` is called with a member that is to be
/// restarted. The driver is killed `kills` times, after a time of the seed's below `longest` each.
pub fn drive(
    binary: &Path,
    folder: &Path,
    plan: &str,
    (seed, kills, longest): (u64, usize, Duration),
    mut restart: impl FnMut(&str) -> Result<()>,
) -> Result<Driven> {
    let start = Instant::now();
    let (file, log) = (folder.join("plan.toml"), folder.join("driver.log"));
    let mut driven = Driven::default();
    let server = begin(binary, folder, plan)?;
    // Restarts are done on this thread, and must not keep the killer from its work.
    let outcome = std::thread::scope(|scope| {
        let killer = Killer { binary, plan: &file, log: &log, random: Random(seed), left: kills, longest };
        let until = start + BOUND;
        let killer = scope.spawn(move || killer.run(server, until));
        let mut index = 0;
        let mut outcome = Ok(());
        while !killer.is_finished() {
            std::thread::sleep(LOOK);
            let Some((member, id)) = asked(folder, index) else { continue };
            index += 1;
            if end_of(folder, &id).exists() {
                continue; // it was restarted for an earlier driver
            }
            *driven.restarts.entry(member.clone()).or_default() += 1;
            let restarted = restart(&member);
            let told = tell(folder, &id, i32::from(restarted.is_err()));
            outcome = outcome.and(restarted).and(told);
        }
        let kills = killer.join().map_err(|_| Error::program("a thread", "panicked"))?;
        outcome.and(kills)
    });
    let killed = outcome?;
    (driven.kills, driven.peak_kib, driven.cpu) = (killed.kills, killed.peak_kib, killed.cpu);
    let text = fs::read_to_string(&log).unwrap_or_default();
    if !text.trim_end().ends_with("everything is done") {
        return Err(failed("a roll that is done", &log, folder));
    }
    (driven.log, driven.took) = (text, start.elapsed());
    driven.events = events(&folder.join("plan.toml.journal"))?;
    Ok(driven)
}

/// Writes a plan, with its member command, into `folder`, and starts a driver with it; its log is `driver.log` there. A member that is to
/// be restarted is a line of `asked`, and whoever calls [`drive`] later with this folder restarts it.
pub fn begin(binary: &Path, folder: &Path, plan: &str) -> Result<Server> {
    fs::create_dir_all(folder).map_err(Error::io("making a folder for a plan"))?;
    // It ends with its folder, too: nobody is left to be waited for then.
    let command = format!(
        "cd '{folder}' && echo \"$EVENKEEL_MEMBER $$\" >> asked\n\
         while [ -e asked ] && [ ! -e done.$$ ]; do sleep 0.1; done\nexit $(cat done.$$)",
        folder = folder.display()
    );
    let file = folder.join("plan.toml");
    let text = format!("command = {}\n{plan}", Value::String(command));
    fs::write(&file, text).map_err(Error::io("writing a plan"))?;
    again(binary, &file, &folder.join("driver.log"))
}

fn again(binary: &Path, plan: &Path, log: &Path) -> Result<Server> {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EVENKEEL_")) {
        command.env_remove(name);
    }
    command.arg("upgrade").arg(plan);
    Server::spawn("evenkeel upgrade", command, log, None)
}

fn end_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("done.{id}"))
}

/// Tells a command of a plan in `folder` its end, by its own number: the exit code, whole or not at all.
pub fn tell(folder: &Path, id: &str, code: i32) -> Result<()> {
    let fresh = folder.join("done.new");
    fs::write(&fresh, format!("{code}\n")).map_err(Error::io("telling a command its end"))?;
    fs::rename(&fresh, end_of(folder, id)).map_err(Error::io("telling a command its end"))
}

/// What became of the drivers, and what they cost.
#[derive(Default)]
struct Killed {
    kills: usize,
    peak_kib: u64,
    cpu: Duration,
}

/// Who kills drivers and starts them again.
struct Killer<'a> {
    binary: &'a Path,
    plan: &'a Path,
    log: &'a Path,
    random: Random,
    left: usize,
    longest: Duration,
}

impl Killer<'_> {
    /// Until one ends by itself.
    fn run(mut self, mut server: Server, until: Instant) -> Result<Killed> {
        let (mut killed, mut cpu) = (Killed::default(), Duration::ZERO);
        let mut dies = self.next();
        while server.is_running() {
            // What it needed in its last moments is missed.
            if let Some((peak, used)) = process::cost(server.pid()) {
                (killed.peak_kib, cpu) = (killed.peak_kib.max(peak), used);
            }
            std::thread::sleep(LOOK);
            if Instant::now() >= until {
                let log = process::tail(self.log, 30);
                return Err(Error::program("evenkeel upgrade", format!("it doesn't end: {log}")));
            }
            if dies.is_some_and(|at| Instant::now() >= at) && server.is_running() {
                server.kill();
                killed.kills += 1;
                killed.cpu += std::mem::take(&mut cpu);
                server = again(self.binary, self.plan, self.log)?;
                dies = self.next();
            }
        }
        killed.cpu += cpu;
        Ok(killed)
    }

    fn next(&mut self) -> Option<Instant> {
        self.left = self.left.checked_sub(1)?;
        Some(Instant::now() + self.random.below(self.longest))
    }
}

fn failed(what: &str, log: &Path, folder: &Path) -> Error {
    let journal = process::tail(&folder.join("plan.toml.journal"), 12);
    Error::program(
        "evenkeel upgrade",
        format!("not {what}: {}\nits journal: {journal}", process::tail(log, 30)),
    )
}

/// What command number `index` of a plan in `folder` asks for: a member that is to be restarted, and the command's own number.
pub fn asked(folder: &Path, index: usize) -> Option<(String, String)> {
    let text = fs::read_to_string(folder.join("asked")).ok()?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let (member, id) = whole.lines().nth(index)?.split_once(' ')?;
    Some((member.to_owned(), id.to_owned()))
}

fn events(journal: &PathBuf) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(journal).map_err(Error::io("reading a journal"))?;
    let mut events = Vec::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| Error::program("evenkeel upgrade", format!("{error} in its journal: {line}")))?;
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        events.push((word("event"), word("member")));
    }
    Ok(events)
}

/// Moments of a seed's (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, longest: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis((z ^ (z >> 31)) % millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_is_judged_by_its_restarts_and_the_order_of_its_end() {
        let event = |name: &str| (name.to_owned(), String::new());
        let mut driven = Driven {
            restarts: BTreeMap::from([("1".to_owned(), 1), ("2".to_owned(), 1)]),
            events: ["done", "done", "raised", "finalized"].map(event).to_vec(),
            ..Driven::default()
        };
        let members = ["1".to_owned(), "2".to_owned()];
        assert!(driven.breaches(&members).is_empty());
        driven.restarts.insert("2".to_owned(), 2);
        driven.events.swap(1, 2);
        assert_eq!(driven.breaches(&members).len(), 2);
        driven.events.pop();
        driven.restarts.remove("1");
        assert_eq!(driven.breaches(&members).len(), 4);
    }

    #[test]
    fn moments_are_below_the_longest_and_differ() {
        let mut random = Random(7);
        let all: Vec<Duration> = (0..100).map(|_| random.below(Duration::from_secs(9))).collect();
        assert!(all.iter().all(|moment| *moment < Duration::from_secs(9)));
        assert!(all.iter().collect::<std::collections::BTreeSet<_>>().len() > 90);
        assert_eq!(Random(7).below(Duration::from_secs(9)), all[0]);
    }
}
