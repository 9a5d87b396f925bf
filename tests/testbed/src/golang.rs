//! Client libraries of Kafka for Go: their programs in `tests/clients/go`, built once into the cache.

use std::path::PathBuf;
use std::process::Command;

use crate::toolbox::{client_sources, hash, needed};
use crate::{Result, cache};

/// A client library for Go. Its programs here run without retries and with acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoClient {
    /// Sarama.
    Sarama,
    /// franz-go.
    FranzGo,
}

impl GoClient {
    /// Why this library can't run here, if it can't.
    pub fn unavailable(self) -> Option<String> {
        go().err().map(|why| format!("skipped: {why}"))
    }

    /// The command that runs its program for `job`, `produce` or `consume`.
    pub(crate) fn command(self, job: &str) -> Result<Command> {
        let program = match self {
            Self::Sarama => "sarama",
            Self::FranzGo => "franz-go",
        };
        let mut command = Command::new(programs()?.join(program));
        command.args([job, "--settings", "off"]);
        Ok(command)
    }
}

fn go() -> Result<()> {
    needed(
        "go",
        "install Go 1.26 or newer from https://go.dev/dl (apt-get install golang-go where that is new enough)",
    )
}

/// The folder with the built programs.
pub fn programs() -> Result<PathBuf> {
    go()?;
    let folder = client_sources().join("go");
    let files = ["go.mod", "go.sum", "bed/bed.go", "sarama/main.go", "franz-go/main.go", "kafka-go/main.go"];
    let entry = format!("client-go-{:016x}", hash(&folder, &files)?);
    cache::entry(&entry, |fresh| {
        eprintln!("testbed: building the Go programs (once)");
        let mut command = Command::new("go");
        command.current_dir(&folder).args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(fresh);
        cache::run(command.args(["./sarama", "./franz-go", "./kafka-go"])).map(drop)
    })
}
