//! One run: starts everything, loads each contender in turn, several times over, and reports.

use crate::contender::{Behind, Contender, Kind, haproxy_binary, own};
use crate::cpu;
use crate::load::Done;
use crate::report::{Report, Sample};
use crate::workload::Workload;
use crate::{Options, report};
use clap::ValueEnum;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testbed::process::Server;
use testbed::sidecar::free_addr;
use testbed::{Error, Result, wait};

/// A folder for logs and configurations, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("evenkeel-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(Error::io("creating a folder"))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts what answers the load, which is this binary in the role `role`, encrypted with the key and certificate in `store`.
pub(crate) fn backend(role: &str, store: Option<&Path>, folder: &Path) -> Result<(Server, SocketAddr)> {
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let mut command = own(role)?;
    command.arg(address.to_string());
    if let Some(store) = store {
        command.arg("--store").arg(store);
    }
    let server = Server::spawn(role, command, &folder.join("backend.log"), None)?;
    wait::until(role, Duration::from_secs(20), || wait::accepts(address))?;
    Ok((server, address))
}

/// Starts these in front of a broker at `at`; `HAProxy` only where it is installed.
pub(crate) fn contenders(
    kinds: &[Kind],
    behind: Behind,
    at: SocketAddr,
    folder: &Path,
) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for &kind in kinds {
        if kind == Kind::Haproxy && haproxy_binary().is_none() {
            eprintln!(
                "HAProxy is left out: it is not installed. On Debian and Ubuntu: apt-get install haproxy"
            );
            continue;
        }
        contenders.push(Contender::start(kind, behind, at, folder)?);
    }
    Ok(contenders)
}

/// Measures everything and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = Folder::new()?;
    let one_core = cpu::share_one_core();
    let (_broker, at) = backend("broker", None, &folder.0)?;
    let mut contenders = contenders(&Kind::KAFKA, Behind::Kafka, at, &folder.0)?;
    let workloads: Vec<Workload> = Workload::value_variants()
        .iter()
        .copied()
        .filter(|w| options.only.is_empty() || options.only.contains(w))
        .collect();
    let mut report = Report::default();
    for round in 0..options.rounds {
        for &workload in &workloads {
            let count = contenders.len();
            for turn in 0..count {
                // Another one begins in each round, so that none always follows the same one.
                let Some(contender) = contenders.get_mut((turn + round) % count) else { continue };
                let requests = if options.quick { workload.requests() / 10 } else { workload.requests() };
                let sample = measure(contender, workload, requests)?;
                eprintln!(
                    "round {}/{}  {:32} {:23} {:8.3} {}",
                    round + 1,
                    options.rounds,
                    workload.title(),
                    contender.kind.title(),
                    sample.cost(workload),
                    workload.unit().label()
                );
                report.add(workload, contender.kind, sample);
            }
        }
    }
    print!("{}", report.table(&workloads));
    if let Some(path) = &options.output {
        let text = report::document(&report, &workloads, options, one_core);
        let text = report::keeping_part(text, &std::fs::read_to_string(path).unwrap_or_default());
        std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}

/// The same load on one contender, so that a profiler has something to look at.
pub(crate) fn profile(kind: Kind, workload: Workload, rounds: u32) -> Result<()> {
    let folder = Folder::new()?;
    cpu::share_one_core();
    let (_broker, at) = backend("broker", None, &folder.0)?;
    let mut contender = Contender::start(kind, Behind::Kafka, at, &folder.0)?;
    println!("{} is process {:?}", kind.title(), contender.pid);
    for _ in 0..rounds {
        let sample = measure(&mut contender, workload, workload.requests())?;
        println!("{:.3} {}, {:.2} s", sample.cost(workload), workload.unit().label(), sample.wall());
    }
    Ok(())
}

/// A load generator that is killed if it isn't waited for.
struct Loader(Child);

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(contender: &mut Contender, workload: Workload, requests: u64) -> Result<Sample> {
    let mut command = own("load")?;
    command.arg(contender.address.to_string()).arg(workload.name()).arg(requests.to_string());
    let (seconds, done) = drive(contender, command, Done::parse)?;
    Ok(Sample::of(seconds, done))
}

/// Runs a load generator. Answers the CPU time of the proxy meanwhile, warm-up not included, and what the generator reports.
pub(crate) fn drive<T>(
    contender: &mut Contender,
    mut command: Command,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<(f64, T)> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut loader = Loader(child.map_err(Error::io("starting the load generator"))?);
    let failed = || Error::program("load", format!("no report of the load on {}", contender.kind.title()));
    let (Some(input), Some(output)) = (loader.0.stdin.take(), loader.0.stdout.take()) else {
        return Err(failed());
    };
    let (mut input, mut lines) = (input, BufReader::new(output).lines());
    let mut line = || lines.next().and_then(std::result::Result::ok);
    if line().as_deref() != Some("ready") {
        return Err(failed());
    }
    let before = contender.cpu()?;
    input.write_all(b"go\n").map_err(Error::io("starting the load"))?;
    let done = line().as_deref().and_then(parse).ok_or_else(failed)?;
    let seconds = contender.cpu()? - before;
    contender.check()?;
    Ok((seconds, done))
}
