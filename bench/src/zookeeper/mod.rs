//! What a `ZooKeeper` request costs in CPU time and in waiting, behind a bare copy loop, `HAProxy` in TCP mode, Envoy with its
//! filter for `ZooKeeper`, and Evenkeel; and without any of them, for the times.

mod frames;
mod load;
mod report;
mod server;
mod workload;

pub(crate) use load::load;
pub(crate) use server::serve;
pub(crate) use workload::Workload;

use clap::ValueEnum;
use std::path::PathBuf;
use testbed::{Error, Result};

use crate::contender::{Behind, Contender, Kind, own};
use crate::run::{Folder, backend, drive};
use crate::{cpu, report as page};
use load::Done;
use report::{Report, Sample};

/// The role of the server, for [`backend`].
const SERVER: &str = "zookeeper-server";

/// What a run is to do.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds over all workloads and contenders; the table has their medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the load: for a look while developing, too coarse for figures.
    #[arg(long)]
    quick: bool,
    /// Only these workloads.
    #[arg(long, value_enum)]
    only: Vec<Workload>,
    /// Puts the results there too, as the part about `ZooKeeper` of that page.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Measures everything and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = Folder::new()?;
    let one_core = cpu::share_one_core();
    let (_server, at) = backend(SERVER, None, folder.path())?;
    let mut contenders = Vec::new();
    for kind in Kind::ZOOKEEPER {
        match Contender::start(kind, Behind::ZooKeeper, at, folder.path()) {
            Ok(contender) => contenders.push(contender),
            // Who isn't here isn't compared; Evenkeel has to be.
            Err(error) if matches!(kind, Kind::Haproxy | Kind::Envoy) => {
                eprintln!("{} is left out: {error}", kind.title());
            }
            Err(error) => return Err(error),
        }
    }
    let all = Workload::value_variants().iter().copied();
    let workloads: Vec<Workload> =
        all.filter(|w| options.only.is_empty() || options.only.contains(w)).collect();
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
                    "round {}/{}  {:30} {:10} {}",
                    round + 1,
                    options.rounds,
                    workload.title(),
                    contender.kind.title(),
                    sample.line()
                );
                report.add(workload, contender.kind, sample);
            }
        }
    }
    let table = report.tables(&workloads);
    print!("{table}");
    if let Some(path) = &options.output {
        let notes = format!(
            "{} rounds{}; ",
            options.rounds,
            if options.quick { " of a tenth of the load (--quick)" } else { "" }
        );
        let part = report::part(&table, &notes, one_core);
        let old = std::fs::read_to_string(path).unwrap_or_default();
        std::fs::write(path, page::with_part(&old, &part))
            .map_err(Error::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}

/// The same load on one contender, so that a profiler has something to look at.
pub(crate) fn profile(kind: Kind, workload: Workload, rounds: u32) -> Result<()> {
    let folder = Folder::new()?;
    cpu::share_one_core();
    let (_server, at) = backend(SERVER, None, folder.path())?;
    let mut contender = Contender::start(kind, Behind::ZooKeeper, at, folder.path())?;
    println!("{} is process {:?}", kind.title(), contender.pid);
    for _ in 0..rounds {
        println!("{}", measure(&mut contender, workload, workload.requests())?.line());
    }
    Ok(())
}

fn measure(contender: &mut Contender, workload: Workload, requests: u64) -> Result<Sample> {
    let mut command = own("zookeeper-load")?;
    let name = workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    command.arg(contender.address.to_string()).arg(name).arg(requests.to_string());
    let (seconds, done) = drive(contender, command, Done::parse)?;
    Ok(Sample { seconds, done })
}
