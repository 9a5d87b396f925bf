//! Programs that copy a topic into another in transactions (read, process, write), and the comparison of the two.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::admin::{Record, long, text};
use crate::cache::JarSet;
use crate::clients::Program;
use crate::clients::{Library, client_error};
use crate::judge::ClientError;
use crate::{Error, Result, helper, python, wait};

/// What a copy went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyEvent {
    /// A transaction was committed.
    Committed {
        /// Its records.
        records: i64,
        /// What it took, in microseconds.
        micros: i64,
    },
    /// Something failed.
    Failed {
        /// `transaction`, `abort` or `rewind`; `retried` where the library says that the call may simply be made again.
        call: String,
        /// How.
        error: ClientError,
    },
}

/// A running copy. Dropping it kills it.
#[derive(Debug)]
pub struct CopyProgram {
    id: String,
    program: Program<CopyEvent>,
}

impl CopyProgram {
    /// Starts copying the topic `from` into the topic `to`, which has as many partitions; waits until it is about to read.
    /// Its transactional id is `id`, its group `id` as well.
    pub fn start(id: &str, library: Library, bootstrap: &str, from: &str, to: &str) -> Result<Self> {
        let mut command = match library {
            Library::Java(jars) => java(jars)?,
            Library::Python(client) => python::copier(client)?,
            Library::Go(_) => {
                return Err(Error::Missing("no program for Go copies in transactions".to_owned()));
            }
        };
        command.args(["--id", id, "--group", id, "--bootstrap", bootstrap, "--topic", from, "--to", to]);
        let program = Program::start(id, command, None, |value: &Value| match text(value, "t").as_str() {
            "txn" => {
                Some(CopyEvent::Committed { records: long(value, "records"), micros: long(value, "us") })
            }
            "error" => Some(CopyEvent::Failed { call: text(value, "in"), error: client_error(value) }),
            _ => None,
        })?;
        program.wait_for("ready", Duration::from_secs(120))?;
        Ok(Self { id: id.to_owned(), program })
    }

    /// Its group, and its transactional id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it went through so far.
    pub fn events(&self) -> Vec<CopyEvent> {
        self.program.state().items.clone()
    }

    /// Number of its failures so far, by call and class.
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for event in self.events() {
            if let CopyEvent::Failed { call, error } = event {
                *all.entry(format!("{call}: {} ({})", error.class, error.message)).or_default() += 1;
            }
        }
        all
    }

    /// Transactions committed so far, and what the slowest took in microseconds.
    pub fn transactions(&self) -> (usize, i64) {
        let events = self.events();
        let took = events.iter().filter_map(|event| match event {
            CopyEvent::Committed { micros, .. } => Some(*micros),
            CopyEvent::Failed { .. } => None,
        });
        (took.clone().count(), took.max().unwrap_or(0))
    }

    /// Waits until some more transactions are committed.
    pub fn go_on(&self, bound: Duration) -> Result<()> {
        let (now, _) = self.transactions();
        wait::until(&format!("transactions of {}", self.id), bound, || self.transactions().0 >= now + 3)
    }

    /// Tells it to end after the transaction at hand.
    pub fn stop(mut self) -> Result<()> {
        self.program.stop(Duration::from_secs(120))
    }
}

fn java(jars: JarSet) -> Result<std::process::Command> {
    helper::command("copy", jars)
}

/// What of `output` is not as in `input`: the same values in the same order in each partition. `None` when all is.
pub fn difference(input: &[Record], output: &[Record]) -> Option<String> {
    let lanes = |log: &[Record]| {
        let mut lanes: BTreeMap<i32, Vec<Option<String>>> = BTreeMap::new();
        for record in log {
            lanes.entry(record.partition).or_default().push(record.value.clone());
        }
        lanes
    };
    let (input, output) = (lanes(input), lanes(output));
    let mut found = Vec::new();
    for partition in input.keys().chain(output.keys().filter(|p| !input.contains_key(p))) {
        let none = Vec::new();
        let (wanted, had) = (input.get(partition).unwrap_or(&none), output.get(partition).unwrap_or(&none));
        if wanted != had {
            let same = wanted.iter().zip(had).take_while(|(a, b)| a == b).count();
            found.push(format!(
                "partition {partition}: {} records in, {} out, the first {same} are the same, then {:?} became {:?}",
                wanted.len(),
                had.len(),
                wanted.get(same).map(|value| shortened(value.as_deref())),
                had.get(same).map(|value| shortened(value.as_deref()))
            ));
        }
    }
    (!found.is_empty()).then(|| found.join("; "))
}

fn shortened(value: Option<&str>) -> String {
    value.unwrap_or("null").chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(records: &[(i32, &str)]) -> Vec<Record> {
        let record = |(offset, &(partition, value)): (usize, &(i32, &str))| Record {
            partition,
            // Markers of transactions take offsets too: they don't count.
            offset: 2 * i64::try_from(offset).unwrap(),
            key: None,
            value: Some(value.to_owned()),
        };
        records.iter().enumerate().map(record).collect()
    }

    #[test]
    fn lost_repeated_and_reordered_copies_are_told() {
        let input = log(&[(0, "a"), (0, "b"), (0, "c"), (1, "d")]);
        assert_eq!(difference(&input, &log(&[(1, "d"), (0, "a"), (0, "b"), (0, "c")])), None);
        for wrong in [
            &[(0, "a"), (0, "c"), (1, "d")][..],
            &[(0, "a"), (0, "b"), (0, "b"), (0, "c"), (1, "d")],
            &[(0, "a"), (0, "c"), (0, "b"), (1, "d")],
            &[(0, "a"), (0, "b"), (0, "c")],
            &[(0, "a"), (0, "b"), (0, "c"), (1, "d"), (2, "e")],
            &[(1, "a"), (0, "b"), (0, "c"), (1, "d")],
        ] {
            assert!(difference(&input, &log(wrong)).is_some(), "{wrong:?}");
        }
    }
}
