//! The client programs of `tests/clients/zookeeper`: one session each, of one library each, with the library's retries off.
//! They are made ready on first use, in the cache.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::ZooKeeperVersion;
use super::history::{Kind, Line};
use crate::clients::Program;
use crate::toolbox::{self, client_sources, hash};
use crate::{Error, Result, cache, helper};

/// A client library of `ZooKeeper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZooKeeperLibrary {
    /// kazoo, Python.
    Kazoo,
    /// `ZooKeeper`'s own for Java, of this version.
    Java(ZooKeeperVersion),
}

const KAZOO: &str = "2.11.0";
const JAVA: [&str; 3] = ["Lines.java", "Register.java", "JavaSession.java"];

/// A client to be started.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// Its name, which is also that of its nodes.
    pub name: String,
    /// Its library.
    pub library: ZooKeeperLibrary,
    /// The session's time-out in milliseconds.
    pub timeout_ms: u32,
    /// Steps in a second of each of its three streams.
    pub rate: f64,
}

impl ZooKeeperLibrary {
    /// Name and version.
    pub fn title(self) -> String {
        match self {
            Self::Kazoo => format!("kazoo {KAZOO}"),
            Self::Java(version) => format!("Java {version}"),
        }
    }

    /// A name for nodes.
    pub fn slug(self) -> String {
        self.title().to_lowercase().replace(' ', "-")
    }

    /// Whether its program sets a persistent recursive watch (where the library has such).
    pub fn plants(self) -> bool {
        matches!(self, Self::Java(_))
    }

    fn command(self) -> Result<Command> {
        let sources = client_sources().join("zookeeper");
        match self {
            Self::Kazoo => {
                let interpreter =
                    toolbox::python(&format!("client-kazoo-{KAZOO}"), &format!("kazoo=={KAZOO}"))?;
                let mut command = Command::new(interpreter);
                command.args(["-u", "-B"]).arg(sources.join("python/run.py"));
                command.env("PYTHONPATH", client_sources().join("python"));
                Ok(command)
            }
            Self::Java(version) => java("JavaSession", version.jars()),
        }
    }
}

/// A command that runs one of the Java programs with a library's jars. They are compiled against the oldest of them.
fn java(main: &str, jars: cache::JarSet) -> Result<Command> {
    let folder = client_sources().join("zookeeper/java");
    let compiled = cache::entry(&format!("client-zookeeper-java-{:016x}", hash(&folder, &JAVA)?), |fresh| {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "--release", "17", "-cp", &cache::ZOOKEEPER_3_8_6.class_path()?, "-d"]);
        javac.arg(fresh).args(JAVA.iter().map(|file| folder.join(file)));
        cache::run(&mut javac).map(drop)
    })?;
    let mut command = Command::new("java");
    command.args(helper::JVM).args(["-Xmx96m", "-cp"]);
    command.arg(format!("{}:{}", compiled.display(), jars.class_path()?)).arg(main);
    Ok(command)
}

/// What a running program has told so far, for others to look at.
#[derive(Clone, Debug)]
pub(crate) struct Told(Arc<Mutex<crate::clients::State<Line>>>);

impl Told {
    /// Looks at all lines.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&[Line]) -> T) -> T {
        at(&self.0.lock().unwrap_or_else(PoisonError::into_inner).items)
    }

    /// The state on which the watch of this kind was set last, if it is set now.
    pub(crate) fn armed_on(&self, kind: Kind) -> Option<i64> {
        self.look(|lines| {
            lines.iter().rev().find_map(|line| match line {
                Line::Armed { kind: of, state, .. } if *of == kind => Some(Some(*state)),
                Line::Event { kind: of, .. } | Line::Dropped { kind: of, .. } if *of == kind => Some(None),
                _ => None,
            })?
        })
    }
}

/// A running client. Dropping it kills it.
#[derive(Debug)]
pub struct Client {
    spec: ClientSpec,
    program: Program<Line>,
}

impl Client {
    /// Starts a client that connects to `servers`, and waits until it has its session, its ephemeral nodes and its watches.
    pub fn start(spec: &ClientSpec, servers: &str) -> Result<Self> {
        let mut command = spec.library.command()?;
        command
            .args(["--name", &spec.name, "--servers", servers])
            .args(["--timeout", &spec.timeout_ms.to_string(), "--rate", &spec.rate.to_string()])
            .args(["--tree", if spec.library.plants() { "on" } else { "off" }]);
        let program = Program::start(&spec.name, command, None, Line::of)?;
        program.wait_for("ready", Duration::from_secs(90))?;
        Ok(Self { spec: spec.clone(), program })
    }

    /// What it was started as.
    pub fn spec(&self) -> &ClientSpec {
        &self.spec
    }

    pub(crate) fn told(&self) -> Told {
        Told(self.program.shared())
    }

    /// Lets it finish what it is at, end its session and itself, and gives everything that it told.
    pub fn stop(mut self) -> Result<Vec<Line>> {
        self.program.stop(Duration::from_secs(90))?;
        Ok(std::mem::take(&mut self.program.state().items))
    }
}

/// The oldest error first: of many clients the first that can't be started.
pub(crate) fn start_all(specs: &[ClientSpec], servers: &str) -> Result<Vec<Client>> {
    // Beside each other: each takes seconds to start on a small machine.
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            specs.iter().map(|spec| scope.spawn(move || Client::start(spec, servers))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Error::program("a client's thread", "panicked"))?)
            .collect()
    })
}
