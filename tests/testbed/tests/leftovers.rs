//! A run that is aborted, even by SIGKILL, leaves nothing behind that breaks the next one.
//!
//! The test starts itself anew as the run to be aborted: that one starts a real server and waits for its end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testbed::{Ensemble, ZooKeeperVersion, wait};

const ROLE: &str = "TESTBED_TEST_ABORTED_RUN";
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the run to be aborted; gives it and the address of its server once that serves.
fn doomed_run(test: &str) -> (Child, std::net::SocketAddr) {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let addr = lines.map_while(Result::ok).find_map(|l| Some(l.split_once("serves ")?.1.to_owned()));
    let addr = addr.unwrap().parse().unwrap();
    (run, addr)
}

/// What the run to be aborted does. It never returns by itself.
fn play_role() {
    if std::env::var_os(ROLE).is_some() {
        let ensemble = Ensemble::start(ZooKeeperVersion::V3_9_5, 1).unwrap();
        println!("serves {}", ensemble.addr(1));
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
        std::process::exit(3);
    }
}

/// The guards that a process has started: its children that are shells.
fn guards(of: u32) -> Vec<i32> {
    let stat = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(") ")?;
        let parent: u32 = tail.split(' ').nth(1)?.parse().ok()?;
        (parent == of && head.ends_with("(sh")).then(|| head.split(' ').next()?.parse().ok()).flatten()
    };
    fs::read_dir("/proc").unwrap().map_while(Result::ok).filter_map(stat).collect()
}

#[test]
fn servers_die_with_their_killed_starter() {
    play_role();
    let (mut run, addr) = doomed_run("servers_die_with_their_killed_starter");
    assert!(wait::accepts(addr));
    run.kill().unwrap();
    run.wait().unwrap();
    wait::until("the server's end", PATIENCE, || !wait::accepts(addr)).unwrap();
}

#[test]
fn a_leftover_server_is_swept_by_the_next_run() {
    play_role();
    let (mut run, addr) = doomed_run("a_leftover_server_is_swept_by_the_next_run");
    let guards = guards(run.id());
    assert_eq!(guards.len(), 1, "one server, one guard");
    for guard in guards {
        kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    }
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(wait::accepts(addr), "without its guard the server lives on");
    // Claims are taken in order, so one of these is the leftover's.
    let next: Vec<Ensemble> =
        std::iter::repeat_with(|| Ensemble::start(ZooKeeperVersion::V3_9_5, 1).unwrap())
            .take_while(|ensemble| ensemble.addr(1) != addr)
            .take(8)
            .collect();
    assert!(next.len() < 8, "none of the next runs got {addr}");
    wait::until("the leftover's end", PATIENCE, || !wait::accepts(addr)).unwrap();
}
