//! The client libraries of the matrix: where their programs come from, with what settings they run, and what they lack here.
//! Programs are built into the cache, never into the repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testbed::cache::{self, CLIENTS_4_3_1};
use testbed::toolbox::{self, client_sources as sources, hash, needed};
use testbed::{Error, Result, golang, helper};

/// A client library at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// Java's own.
    Java,
    /// A Python package: its name and version.
    Python(&'static str, &'static str),
    /// A Go module: the folder of its program, and its version as `go.mod` has it.
    Go(&'static str, &'static str),
    /// kafkajs, at the version of `package.json`.
    Kafkajs,
}

/// What of a library's settings is not its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settings {
    /// Nothing but what a program must say.
    Default,
    /// Acknowledgements by all in-sync replicas.
    AllAcks,
    /// The same, and retries (and idempotence) switched off.
    NoRetries,
}

/// A row of the matrix: a library with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) library: Library,
    pub(crate) settings: Settings,
    /// The acknowledgements that these settings ask for.
    pub(crate) acks: &'static str,
}

/// Rows that share one roll: few enough that the CPU is not the subject.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
}

const OLD_KAFKA_PYTHON: Library = Library::Python("kafka-python", "2.0.2");
const KAFKA_PYTHON: Library = Library::Python("kafka-python", "3.0.12");
const CONFLUENT: Library = Library::Python("confluent-kafka", "2.16.1");
const AIOKAFKA: Library = Library::Python("aiokafka", "0.14.0");
const SARAMA: Library = Library::Go("sarama", "1.61.1");
const FRANZ_GO: Library = Library::Go("franz-go", "1.22.2");
const KAFKA_GO: Library = Library::Go("kafka-go", "0.4.51");

const fn usual(library: Library, acks: &'static str) -> Row {
    Row { library, settings: Settings::Default, acks }
}

const fn no_retries(library: Library) -> Row {
    Row { library, settings: Settings::NoRetries, acks: "all" }
}

pub(crate) const GROUPS: [Group; 4] = [
    Group {
        name: "java-python-default",
        rows: &[
            usual(Library::Java, "all"),
            usual(CONFLUENT, "all"),
            usual(OLD_KAFKA_PYTHON, "1"),
            usual(KAFKA_PYTHON, "all"),
            usual(AIOKAFKA, "1"),
        ],
    },
    Group {
        name: "go-node-default",
        rows: &[
            usual(SARAMA, "1"),
            usual(FRANZ_GO, "all"),
            usual(KAFKA_GO, "0"),
            Row { library: KAFKA_GO, settings: Settings::AllAcks, acks: "all" },
            usual(Library::Kafkajs, "all"),
        ],
    },
    Group {
        name: "java-python-no-retries",
        rows: &[
            no_retries(Library::Java),
            no_retries(CONFLUENT),
            no_retries(OLD_KAFKA_PYTHON),
            no_retries(KAFKA_PYTHON),
        ],
    },
    Group {
        name: "go-node-no-retries",
        rows: &[no_retries(SARAMA), no_retries(FRANZ_GO), no_retries(KAFKA_GO), no_retries(Library::Kafkajs)],
    },
];

impl Row {
    /// The library's name and version.
    pub(crate) fn client(&self) -> String {
        match self.library {
            Library::Java => "Java 4.3.1".to_owned(),
            Library::Go("sarama", version) => format!("Sarama {version}"),
            Library::Python(name, version) | Library::Go(name, version) => format!("{name} {version}"),
            Library::Kafkajs => "kafkajs 2.2.4".to_owned(),
        }
    }

    /// The settings in words.
    pub(crate) fn settings(&self) -> String {
        let words = if self.settings == Settings::NoRetries { "no retries" } else { "default" };
        format!("{words}, acks={}", self.acks)
    }

    /// A name for topics and groups.
    pub(crate) fn slug(&self) -> String {
        let words = match self.settings {
            Settings::Default => "default",
            Settings::AllAcks => "default-all",
            Settings::NoRetries => "no-retries",
        };
        format!("{}-{words}", self.client().replace(' ', "-").to_lowercase())
    }

    /// The command that runs its program for `job`, `produce` or `consume`, made ready on first use.
    pub(crate) fn command(&self, job: &str) -> Result<Command> {
        let mut command = match self.library {
            Library::Java => return self.java(job),
            Library::Python(name, version) => {
                let mut command = Command::new(python(name, version)?);
                command.args(["-u", "-B"]).arg(sources().join("python/run.py"));
                command.args([job, "--library", name]);
                command
            }
            Library::Go(name, _) => {
                let mut command = Command::new(golang::programs()?.join(name));
                command.arg(job);
                command
            }
            Library::Kafkajs => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", kafkajs()?.join("node_modules"));
                command.arg(sources().join("kafkajs/run.js")).arg(job);
                command
            }
        };
        let settings = match self.settings {
            Settings::Default => "default",
            Settings::AllAcks => "all",
            Settings::NoRetries => "off",
        };
        command.args(["--settings", settings]);
        Ok(command)
    }

    /// The test bed's own Java programs; the producer's settings there are those without retries.
    fn java(&self, job: &str) -> Result<Command> {
        let mut command = helper::command(job, CLIENTS_4_3_1)?;
        if job == "produce" && self.settings == Settings::Default {
            let defaults =
                ["retries=2147483647", "enable.idempotence=true", "linger.ms=5", "max.block.ms=60000"];
            command.args(["--config", &defaults.join("\n")]);
        }
        Ok(command)
    }
}

/// The interpreter of an environment with one package.
fn python(name: &str, version: &str) -> Result<PathBuf> {
    needed("python3", "apt-get install python3 python3-venv")?;
    if (name, version) == ("kafka-python", "2.0.2") {
        let can = cache::run(
            Command::new("python3").args(["-c", "import sys; print(sys.version_info[:2] <= (3, 11))"]),
        )?;
        if can.trim() != "True" {
            return Err(Error::Missing("kafka-python 2.0.2 runs on Python 3.11 at most".to_owned()));
        }
    }
    toolbox::python(&format!("client-{name}-{version}"), &format!("{name}=={version}"))
}

/// The folder with kafkajs in its `node_modules`.
fn kafkajs() -> Result<PathBuf> {
    needed("node", "apt-get install nodejs npm")?;
    needed("npm", "apt-get install npm")?;
    let folder = sources().join("kafkajs");
    let files = ["package.json", "package-lock.json"];
    cache::entry(&format!("client-kafkajs-{:016x}", hash(&folder, &files)?), |fresh| {
        eprintln!("clients: fetching kafkajs (once)");
        for file in files {
            fs::copy(folder.join(file), fresh.join(file)).map_err(Error::io(format!("copying {file}")))?;
        }
        let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        cache::run(Command::new("npm").current_dir(fresh).args(words)).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(file: &str) -> String {
        fs::read_to_string(sources().join(file)).unwrap()
    }

    #[test]
    fn versions_are_those_that_are_built() {
        let (go, node) = (text("go/go.mod"), text("kafkajs/package.json"));
        for row in GROUPS.iter().flat_map(|group| group.rows) {
            match row.library {
                Library::Go(name, version) => {
                    assert!(go.contains(&format!("/{name} v{version}\n")), "{name}");
                }
                Library::Kafkajs => {
                    let client = row.client();
                    let (_, version) = client.split_once(' ').unwrap();
                    assert!(node.contains(&format!("\"kafkajs\": \"{version}\"")));
                }
                Library::Java => {
                    assert!(CLIENTS_4_3_1.name.ends_with(row.client().split_once(' ').unwrap().1));
                }
                Library::Python(name, _) => assert!(text("python/run.py").contains(&format!("\"{name}\":"))),
            }
        }
    }

    #[test]
    fn rows_differ_and_so_do_their_topics() {
        let rows: Vec<&Row> = GROUPS.iter().flat_map(|group| group.rows).collect();
        let slugs: std::collections::HashSet<String> = rows.iter().map(|row| row.slug()).collect();
        let heads: std::collections::HashSet<_> =
            rows.iter().map(|row| (row.client(), row.settings())).collect();
        assert_eq!((slugs.len(), heads.len()), (rows.len(), rows.len()));
        assert!(slugs.iter().all(|slug| !slug.contains(['|', ' '])));
    }
}
