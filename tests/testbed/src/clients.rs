//! Client programs run as child processes: producers and consumers that know nothing of retries or of evenkeel.
//!
//! Each prints JSON lines that a thread reads as they come; [`crate::judge`] gets what was collected.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::admin::{int, ints, long, text};
use crate::cache::{CLIENTS_3_9_2, JarSet};
use crate::golang::GoClient;
use crate::judge::{ClientError, ConsumerEvent, History, Outcome};
use crate::python::{self, PythonClient};
use crate::{Result, helper, wait};

pub(crate) use program::{Program, State};

/// Which library a producer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Java's own, from these jars.
    Java(JarSet),
    /// A Python one.
    Python(PythonClient),
    /// A Go one; [`ProducerSpec::count`] and settings are not for these.
    Go(GoClient),
}

/// A producer to be started.
#[derive(Clone, Debug)]
pub struct ProducerSpec {
    /// Its name, which it writes into its records; no `|` in it.
    pub id: String,
    /// Where it connects at first.
    pub bootstrap: String,
    /// Its topic.
    pub topic: String,
    /// Number of partitions that it writes to, in turn.
    pub partitions: u32,
    /// Records in a second.
    pub rate: f64,
    /// Ends by itself after this number of records; 0: only when told.
    pub count: u64,
    /// Bytes of padding in each value.
    pub padding: usize,
    /// The library.
    pub library: Library,
    /// Further or other settings of the library. The Java defaults here: `acks=all`, `retries=0`,
    /// `enable.idempotence=false`, `linger.ms=0`.
    pub config: Vec<(String, String)>,
    /// When set, every line that the program prints is written to this file as it comes.
    pub record: Option<PathBuf>,
}

impl ProducerSpec {
    /// A Java producer with no retries, no idempotence and `acks=all` at 200 records a second.
    pub fn new(id: &str, bootstrap: &str, topic: &str, partitions: u32) -> Self {
        Self {
            id: id.to_owned(),
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partitions,
            rate: 200.0,
            count: 0,
            padding: 100,
            library: Library::Java(CLIENTS_3_9_2),
            config: Vec::new(),
            record: None,
        }
    }

    /// The same at another rate.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// The same with another size of its records.
    #[must_use]
    pub fn padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// The same with an end after `count` records.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// The same with another library.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        self.library = library;
        self
    }

    /// The same with a setting of the library.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// How far a producer has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Outcomes known.
    pub outcomes: usize,
    /// Of them errors.
    pub errors: usize,
    /// When the last success came, in microseconds since the epoch.
    pub last_success_us: i64,
}

/// A running producer. Dropping it kills it.
#[derive(Debug)]
pub struct ProducerProgram {
    id: String,
    program: Program<Outcome>,
}

impl ProducerProgram {
    /// Starts a producer and waits until it knows its topic.
    pub fn start(spec: &ProducerSpec) -> Result<Self> {
        let mut command = match spec.library {
            Library::Java(jars) => helper::command("produce", jars)?,
            Library::Python(client) => python::command(client)?,
            Library::Go(client) => client.command("produce")?,
        };
        command
            .args(["--id", &spec.id, "--bootstrap", &spec.bootstrap, "--topic", &spec.topic])
            .args(["--partitions", &spec.partitions.to_string(), "--rate", &spec.rate.to_string()])
            .args(["--count", &spec.count.to_string(), "--padding", &spec.padding.to_string()])
            .args(["--config", &joined(&spec.config)]);
        Self::of(&spec.id, command, spec.record.as_deref())
    }

    /// Starts a producer that speaks the same lines, and waits until it knows its topic. `id` is what it writes into its
    /// records; its lines are kept in the file `record` besides, if there is one.
    pub fn of(id: &str, command: Command, record: Option<&Path>) -> Result<Self> {
        let program = Program::start(id, command, record, outcome)?;
        program.wait_for("ready", Duration::from_secs(60))?;
        Ok(Self { id: id.to_owned(), program })
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How far it has got.
    pub fn progress(&self) -> Progress {
        let state = self.program.state();
        Progress {
            outcomes: state.items.len(),
            errors: state.items.iter().filter(|o| o.result.is_err()).count(),
            last_success_us: state
                .items
                .iter()
                .filter(|o| o.result.is_ok())
                .map(|o| o.done_us)
                .max()
                .unwrap_or(0),
        }
    }

    /// The outcomes known so far.
    pub fn history(&self) -> History {
        History { producer: self.id.clone(), outcomes: self.program.state().items.clone() }
    }

    /// When the last success of each partition came, in microseconds since the epoch.
    pub fn last_successes_us(&self) -> BTreeMap<i32, i64> {
        let mut last = BTreeMap::new();
        for outcome in self.program.state().items.iter().filter(|o| o.result.is_ok()) {
            let at = last.entry(outcome.partition).or_insert(0);
            *at = outcome.done_us.max(*at);
        }
        last
    }

    /// Waits until `count` outcomes are known.
    pub fn wait_outcomes(&self, count: usize, bound: Duration) -> Result<()> {
        let what = format!("{count} outcomes of {}", self.id);
        wait::until(&what, bound, || self.program.state().items.len() >= count)
    }

    /// Waits until it has ended by itself (see [`ProducerSpec::count`]); gives all outcomes.
    pub fn finish(mut self, bound: Duration) -> Result<History> {
        self.program.wait_for("end", bound)?;
        self.program.end(Duration::from_secs(30))?;
        Ok(self.history())
    }

    /// Tells it to stop, waits until it has the outcome of each record (at most 150 s), gives them all.
    pub fn stop(mut self) -> Result<History> {
        self.program.stop(Duration::from_secs(150))?;
        Ok(self.history())
    }

    /// The same with a bound; gives what is known by then, and what hindered it from ending.
    pub fn end(mut self, bound: Duration) -> (History, Result<()>) {
        let ended = self.program.stop(bound);
        (self.history(), ended)
    }
}

/// A member of a consumer group to be started.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// Its client id.
    pub id: String,
    /// Where it connects at first.
    pub bootstrap: String,
    /// Its topic.
    pub topic: String,
    /// Its group.
    pub group: String,
    /// The library: any of Java's, kafka-python, or one for Go.
    pub library: Library,
    /// Whether it is a share group (KIP-932): its members get records without being assigned partitions.
    pub share: bool,
    /// Further or other settings of the library, such as `group.protocol`.
    pub config: Vec<(String, String)>,
    /// When set, every line that the program prints is written to this file as it comes.
    pub record: Option<PathBuf>,
}

impl ConsumerSpec {
    /// A member of the classic protocol that commits every second.
    pub fn new(id: &str, bootstrap: &str, topic: &str, group: &str) -> Self {
        Self {
            id: id.to_owned(),
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            group: group.to_owned(),
            library: Library::Java(CLIENTS_3_9_2),
            share: false,
            config: Vec::new(),
            record: None,
        }
    }

    /// The same with a setting of the library.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same as a member of a share group, and a library for it.
    #[must_use]
    pub fn share(mut self) -> Self {
        self.library = Library::Java(crate::cache::CLIENTS_4_3_1);
        self.share = true;
        self
    }

    /// The same with the protocol of KIP-848, and a library for it.
    #[must_use]
    pub fn kip848(mut self) -> Self {
        self.library = Library::Java(crate::cache::CLIENTS_4_3_1);
        self.set("group.protocol", "consumer")
    }
}

/// A running group member. Dropping it kills it.
#[derive(Debug)]
pub struct ConsumerProgram {
    program: Program<ConsumerEvent>,
}

impl ConsumerProgram {
    /// Starts a member; doesn't wait for its assignment.
    pub fn start(spec: &ConsumerSpec) -> Result<Self> {
        let mut command = match spec.library {
            Library::Java(jars) => helper::command(if spec.share { "share" } else { "consume" }, jars)?,
            Library::Python(client) => python::consumer(client)?,
            Library::Go(client) => client.command("consume")?,
        };
        command.args(["--id", &spec.id, "--bootstrap", &spec.bootstrap, "--topic", &spec.topic]).args([
            "--group",
            &spec.group,
            "--config",
            &joined(&spec.config),
        ]);
        Self::of(&spec.id, command, spec.record.as_deref())
    }

    /// Starts a member that speaks the same lines; doesn't wait for its assignment.
    pub fn of(name: &str, command: Command, record: Option<&Path>) -> Result<Self> {
        let program = Program::start(name, command, record, consumer_event)?;
        Ok(Self { program })
    }

    /// What it went through so far.
    pub fn events(&self) -> Vec<ConsumerEvent> {
        self.program.state().items.clone()
    }

    /// Number of records delivered so far.
    pub fn delivered(&self) -> usize {
        self.program.state().items.iter().filter(|e| matches!(e, ConsumerEvent::Record { .. })).count()
    }

    /// Waits for its first assignment that has partitions.
    pub fn wait_assigned(&self, bound: Duration) -> Result<()> {
        wait::until("a consumer's assignment", bound, || {
            let state = self.program.state();
            state
                .items
                .iter()
                .any(|e| matches!(e, ConsumerEvent::Assigned { partitions, .. } if !partitions.is_empty()))
        })
    }

    /// Waits until it was delivered `count` records (repeats included); false if that didn't come in time.
    pub fn wait_delivered(&self, count: usize, bound: Duration) -> bool {
        wait::until("deliveries", bound, || self.delivered() >= count).is_ok()
    }

    /// Tells it to commit, leave and end; gives all that it went through.
    pub fn stop(mut self) -> Result<Vec<ConsumerEvent>> {
        self.program.stop(Duration::from_secs(90))?;
        Ok(self.events())
    }

    /// The same with a bound; gives what is known by then, and what hindered it from ending.
    pub fn end(mut self, bound: Duration) -> (Vec<ConsumerEvent>, Result<()>) {
        let ended = self.program.stop(bound);
        (self.events(), ended)
    }
}

/// The outcome that a producer's line tells, if it tells one.
pub(crate) fn outcome(value: &Value) -> Option<Outcome> {
    let result = match value.get("err") {
        Some(_) => Err(client_error(value)),
        None => Ok(long(value, "off")),
    };
    (text(value, "t") == "r").then(|| Outcome {
        partition: int(value, "p"),
        seq: long(value, "s"),
        sent_us: long(value, "sent"),
        done_us: long(value, "done"),
        result,
    })
}

/// What a group member's line tells, if it tells something.
pub(crate) fn consumer_event(value: &Value) -> Option<ConsumerEvent> {
    Some(match text(value, "t").as_str() {
        "r" => ConsumerEvent::Record { partition: int(value, "p"), offset: long(value, "o") },
        "assigned" => ConsumerEvent::Assigned { partitions: ints(value, "p"), generation: int(value, "gen") },
        "revoked" => ConsumerEvent::Revoked(ints(value, "p")),
        "lost" => ConsumerEvent::Lost(ints(value, "p")),
        "error" => ConsumerEvent::Failed { call: text(value, "in"), error: client_error(value) },
        "commit" => ConsumerEvent::Committed,
        _ => return None,
    })
}

fn joined(config: &[(String, String)]) -> String {
    config.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\n")
}

pub(crate) fn client_error(value: &Value) -> ClientError {
    ClientError { class: text(value, "err"), message: text(value, "msg") }
}
