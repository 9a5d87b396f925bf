//! `simulated-fleet COUNT PARTITIONS`: a fleet as a process. Its first line of output has the admin listeners, separated by commas. Each line
//! of input is an order, answered by a line: `restart MEMBER VERSION MILLISECONDS`, or `gathered`. It ends with its input.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simulation::{Cluster, Fleet};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers =
        words.first().and_then(|word| word.parse().ok()).zip(words.get(1).and_then(|word| word.parse().ok()));
    let Some((count, partitions)) = numbers else {
        eprintln!("simulated-fleet COUNT PARTITIONS");
        return ExitCode::from(2);
    };
    let limit = getrlimit(Resource::Nofile);
    // It may be lower than is needed: then binding says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(count, partitions))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(count: u16, partitions: i32) -> std::io::Result<()> {
    let fleet = Fleet::start(Cluster::new("3.9", partitions), count).await?;
    let addresses: Vec<String> = fleet.addresses().iter().map(ToString::to_string).collect();
    println!("{}", addresses.join(","));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["restart", member, version, away] => {
                let away = Duration::from_millis(away.parse().unwrap_or(1000));
                fleet.cluster.restart(member, version, away).await;
                println!("done");
            }
            ["gathered"] => println!("{}", fleet.cluster.gathered.load(Relaxed)),
            _ => println!("what? {line}"),
        }
    }
    Ok(())
}
