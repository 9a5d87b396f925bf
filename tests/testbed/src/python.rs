//! Python client libraries in environments of their own in the cache.

use std::path::PathBuf;
use std::process::Command;

use crate::{Error, Result, cache, toolbox};

/// The producer program for both libraries.
const SOURCE: &str = include_str!("../python/produce.py");
/// A group member, for kafka-python.
const CONSUMER: &str = include_str!("../python/consume.py");

/// The program that copies in transactions.
const COPY: &str = include_str!("../python/copy.py");

/// A Python client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PythonClient {
    /// kafka-python 2.0.2 with `retries=0`: Python 3.11 at most.
    KafkaPython202,
    /// confluent-kafka (librdkafka) with `message.send.max.retries=0` and no idempotence.
    Confluent,
}

impl PythonClient {
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::KafkaPython202 => ("kafka-python", "kafka-python==2.0.2"),
            Self::Confluent => ("confluent-kafka", "confluent-kafka==2.11.1"),
        }
    }

    /// Why this library can't run here, if it can't.
    pub fn unavailable(self) -> Option<String> {
        let version = match cache::run(
            Command::new("python3").args(["-c", "import sys; print('%d %d' % sys.version_info[:2])"]),
        ) {
            Ok(text) => text,
            Err(error) => return Some(format!("skipped: {error}")),
        };
        let (major, minor) = version.trim().split_once(' ')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        (self == Self::KafkaPython202 && (major, minor) > (3, 11)).then(|| {
            format!("skipped: kafka-python 2.0.2 runs on Python 3.11 at most, and this is {major}.{minor}")
        })
    }

    /// The environment's interpreter, made on first use.
    pub fn interpreter(self) -> Result<PathBuf> {
        if let Some(why) = self.unavailable() {
            return Err(Error::Missing(why));
        }
        let (name, requirement) = self.package();
        toolbox::python(&format!("python-{name}"), requirement)
    }
}

pub(crate) fn command(client: PythonClient) -> Result<Command> {
    let mut command = Command::new(client.interpreter()?);
    command.args(["-u", "-c", SOURCE, "--library", client.package().0]);
    Ok(command)
}

/// The copying program; only librdkafka has transactions.
pub(crate) fn copier(client: PythonClient) -> Result<Command> {
    if client != PythonClient::Confluent {
        return Err(Error::Missing(format!("{} has no transactions", client.package().0)));
    }
    let mut command = Command::new(client.interpreter()?);
    command.args(["-u", "-c", COPY]);
    Ok(command)
}

pub(crate) fn consumer(client: PythonClient) -> Result<Command> {
    if client != PythonClient::KafkaPython202 {
        return Err(Error::Missing("the group member in Python is written for kafka-python".to_owned()));
    }
    let mut command = Command::new(client.interpreter()?);
    command.args(["-u", "-c", CONSUMER]);
    Ok(command)
}
