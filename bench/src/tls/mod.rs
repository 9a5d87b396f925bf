//! What encryption costs: `HAProxy` in TCP mode and Evenkeel before a broker that encrypts, and with clients that encrypt as well; for
//! each gigabyte, each request, and each connection.

mod report;

use crate::contender::{Behind, Contender, Kind, own};
use crate::load::Done;
use crate::report::Sample;
use crate::run::{Folder, backend, contenders, drive};
use crate::workload::Workload;
use crate::{cpu, report as page};
use report::Report;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use testbed::keys::{Authority, replace};
use testbed::{Error, Result};

/// Files in the run's folder: who is trusted; a key and its certificate together, and apart.
pub(crate) const AUTHORITY: &str = "ca.pem";
pub(crate) const STORE: &str = "store.pem";
pub(crate) const CERTIFICATE: &str = "certificate.pem";
pub(crate) const KEY: &str = "key.pem";

/// What a run is to do.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds over all loads and proxies; the table has their medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the load: for a look while developing, too coarse for figures.
    #[arg(long)]
    quick: bool,
    /// Writes the results there too, as Markdown.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// Requests on one connection.
    Requests(Workload),
    /// Connections one after another, with one small request each. `full`: clients that encrypt resume no session.
    Connections { full: bool },
}

impl Load {
    const ALL: [Self; 5] = [
        Self::Requests(Workload::Produce),
        Self::Requests(Workload::Fetch),
        Self::Requests(Workload::Opaque),
        Self::Connections { full: false },
        Self::Connections { full: true },
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Requests(workload) => workload.title(),
            Self::Connections { full: false } => "connections, sessions resumed",
            Self::Connections { full: true } => "connections, clients' handshakes in full",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Requests(workload) => workload.unit().label(),
            Self::Connections { .. } => "CPU µs/connection",
        }
    }

    fn cost(self, sample: &Sample) -> f64 {
        // Of a connection as of a small request: by number.
        sample.cost(if let Self::Requests(workload) = self { workload } else { Workload::Opaque })
    }

    fn count(self) -> u64 {
        match self {
            // Encryption costs several times what forwarding does.
            Self::Requests(workload) => workload.requests() / 3,
            Self::Connections { .. } => 4_000,
        }
    }

    /// Whether it says anything where clients don't encrypt (`both` is false).
    fn is_of(self, both: bool) -> bool {
        both || self != Self::Connections { full: true }
    }

    fn run(self, contender: &mut Contender, both: bool, count: u64, folder: &Path) -> Result<Sample> {
        let mut command = own(if matches!(self, Self::Requests(_)) { "load" } else { "connections" })?;
        command.arg(contender.address.to_string());
        if let Self::Requests(workload) = self {
            command.arg(workload.name());
        }
        command.arg(count.to_string());
        if both {
            command.arg("--ca").arg(folder.join(AUTHORITY));
        }
        if self == (Self::Connections { full: true }) {
            command.arg("--full");
        }
        let (seconds, done) = drive(contender, command, Done::parse)?;
        Ok(Sample::of(seconds, done))
    }
}

/// One authority, and one certificate for the loopback address, which brokers and proxies share.
fn make_keys(folder: &Path) -> Result<()> {
    let authority = Authority::new("bench")?;
    let pair = authority.issue("localhost", &[IpAddr::from(Ipv4Addr::LOCALHOST)])?;
    replace(&folder.join(AUTHORITY), authority.pem())?;
    replace(&folder.join(CERTIFICATE), &pair.certificate)?;
    replace(&folder.join(KEY), &pair.key)?;
    pair.store(&folder.join(STORE))
}

/// Measures everything and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = Folder::new()?;
    let one_core = cpu::share_one_core();
    make_keys(folder.path())?;
    let (_broker, at) = backend("broker", Some(&folder.path().join(STORE)), folder.path())?;
    let mut report = Report::default();
    for both in [false, true] {
        let kinds = [Kind::Haproxy, Kind::Evenkeel];
        let mut contenders = contenders(&kinds, Behind::Encrypted(both), at, folder.path())?;
        for round in 0..options.rounds {
            for load in Load::ALL.into_iter().filter(|load| load.is_of(both)) {
                let count = contenders.len();
                for turn in 0..count {
                    let Some(contender) = contenders.get_mut((turn + round) % count) else { continue };
                    let count = if options.quick { load.count() / 10 } else { load.count() };
                    let sample = load.run(contender, both, count, folder.path())?;
                    eprintln!(
                        "round {}/{}  {:40} {:10} {:8.3} {}",
                        round + 1,
                        options.rounds,
                        load.title(),
                        contender.kind.title(),
                        load.cost(&sample),
                        load.unit()
                    );
                    report.add(both, load, contender.kind, load.cost(&sample));
                }
            }
        }
    }
    let table = report.table();
    print!("{table}");
    if let Some(path) = &options.output {
        let text = report::document(&table, options.rounds, options.quick, one_core, &page::machine());
        std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))?;
    }
    Ok(())
}
