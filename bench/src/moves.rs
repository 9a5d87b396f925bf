//! What a client waits when its session is moved by a drain: alone, and in a crowd of a thousand ([`testbed::zookeeper::Moves`]).

use std::fmt::Write as _;
use std::path::PathBuf;

use testbed::zookeeper::{Moves, moves_table};
use testbed::{Error, Result, Sidecar, ZooKeeperVersion};

use crate::report;

/// What a measurement of moves is to do.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Sessions in the crowd.
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Drains under the crowd, at least.
    #[arg(long, default_value_t = 18)]
    drains: usize,
    /// Writes the results there too, as Markdown.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Measures on both versions, and prints the pauses and each drain.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut text = format!(
        "# Results of `make bench ARGS=moves`\n\nWritten by the run itself; [README.md](README.md) says how to read it.\n\n{}- Targets: p99 20 ms moved \
         alone, 50 ms in the crowd\n",
        report::machine()
    );
    for version in [ZooKeeperVersion::V3_8_7, ZooKeeperVersion::V3_9_6] {
        let mut moves = Moves::thousand(version);
        (moves.size.sessions, moves.drains) = (options.sessions, options.drains);
        let found = moves.run(&Sidecar::binary()?, |step| eprintln!("{version}: {step}"))?;
        if !found.breaches.is_empty() {
            return Err(Error::program("moves", found.breaches.join("; ")));
        }
        let _ = write!(text, "\n## ZooKeeper {version}\n\n{}", moves_table(&found));
    }
    print!("{text}");
    match &options.output {
        Some(path) => std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display()))),
        None => Ok(()),
    }
}
