//! The client programs of `tests/clients/zookeeper`: one session each, of one library each, with the library's retries off.
//! They are made ready on first use, in the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::ZooKeeperVersion;
use super::history::{Kind, Line};
use crate::cache::JarSet;
use crate::clients::Program;
use crate::toolbox::{self, client_sources, hash, needed};
use crate::{Error, Result, cache, helper};

/// A client library of `ZooKeeper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZooKeeperLibrary {
    /// kazoo, Python.
    Kazoo,
    /// `ZooKeeper`'s own for Java, of this version.
    Java(ZooKeeperVersion),
    /// Curator, with a leader latch, a lock and a tree cache.
    Curator,
    /// go-zookeeper.
    Go,
    /// node-zookeeper-client.
    Node,
    /// The crate zookeeper-client.
    Rust,
}

const KAZOO: &str = "2.11.0";
const GO: &str = "1.0.4";
const NODE: &str = "1.1.3";
const RUST: &str = "0.11.2";

/// What goes wrong inside the Java libraries, to standard error, which the test bed keeps.
const LOGGING: &str = "<configuration><appender name=\"E\" class=\"ch.qos.logback.core.ConsoleAppender\">\
    <target>System.err</target><encoder><pattern>%d %level %logger{0} %msg%n</pattern></encoder></appender>\
    <root level=\"ERROR\"><appender-ref ref=\"E\"/></root></configuration>\n";

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
    /// Whether it sets a persistent recursive watch. Its library must have such.
    pub tree: bool,
    /// Whether it authenticates itself (digest), and its nodes are only for those that its session is. Its program must be able to.
    pub own: bool,
    /// The file (JAAS) with which it proves by SASL who it is, if it does. Its library must be able to.
    pub login: Option<PathBuf>,
}

impl ZooKeeperLibrary {
    /// Every library, the Java one of this version.
    pub fn all(java: ZooKeeperVersion) -> Vec<Self> {
        vec![Self::Kazoo, Self::Java(java), Self::Curator, Self::Go, Self::Node, Self::Rust]
    }

    /// Those of [`ZooKeeperLibrary::all`] that this machine can run; `say` hears why another can't.
    pub fn here(java: ZooKeeperVersion, mut say: impl FnMut(&str)) -> Vec<Self> {
        let mut all = Self::all(java);
        all.retain(|library| match library.possible() {
            Ok(()) => true,
            Err(error) => {
                say(&format!("{} is not run: {error}", library.title()));
                false
            }
        });
        all
    }

    /// Name and version.
    pub fn title(self) -> String {
        match self {
            Self::Kazoo => format!("kazoo {KAZOO}"),
            Self::Java(version) => format!("Java {version}"),
            Self::Curator => "Curator 5.9.0".to_owned(),
            Self::Go => format!("go-zookeeper {GO}"),
            Self::Node => format!("node-zookeeper-client {NODE}"),
            Self::Rust => format!("zookeeper-client (Rust) {RUST}"),
        }
    }

    /// A name for nodes.
    pub fn slug(self) -> String {
        self.title().to_lowercase().replace(' ', "-").replace(['(', ')'], "")
    }

    /// Whether its program can set a persistent recursive watch: where the library has such.
    pub fn plants(self) -> bool {
        matches!(self, Self::Java(_) | Self::Rust)
    }

    /// Whether its program can authenticate itself (digest) and make nodes that are only for those that its session is.
    pub fn owns(self) -> bool {
        matches!(self, Self::Kazoo | Self::Java(_))
    }

    /// Whether its program can prove by SASL who it is, with nothing but a file of users.
    pub fn logs_in(self) -> bool {
        matches!(self, Self::Java(_))
    }

    /// An error that says what this machine lacks for it, if anything.
    fn possible(self) -> Result<()> {
        match self {
            // The test bed needs Java and Python anyway, and Rust even more.
            Self::Kazoo | Self::Java(_) | Self::Curator | Self::Rust => Ok(()),
            Self::Go => needed(
                "go",
                "install Go 1.26 or newer from https://go.dev/dl (apt-get install golang-go where that is new enough)",
            ),
            Self::Node => needed("node", "apt-get install nodejs npm")
                .and_then(|()| needed("npm", "apt-get install npm")),
        }
    }

    fn command(self) -> Result<Command> {
        self.possible()?;
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
            // Compiled against the oldest library that it runs with.
            Self::Java(version) => java("JavaSession", cache::ZOOKEEPER_3_8_6, version.jars()),
            Self::Curator => java("CuratorSession", cache::CURATOR_5_9_0, cache::CURATOR_5_9_0),
            Self::Go => go(),
            Self::Node => node(),
            Self::Rust => rust(),
        }
    }
}

/// A command that runs one of the Java programs, compiled against one set of jars, with another.
fn java(main: &str, against: JarSet, with: JarSet) -> Result<Command> {
    let folder = client_sources().join("zookeeper/java");
    let own = format!("{main}.java");
    let files = ["Lines.java", "Register.java", &own];
    let entry = format!("client-zookeeper-{main}-{:016x}", hash(&folder, &files)?);
    let compiled = cache::entry(&entry, |fresh| {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "--release", "17", "-cp", &against.class_path()?, "-d"]);
        javac.arg(fresh).args(files.map(|file| folder.join(file)));
        cache::run(&mut javac)?;
        // The library of the name finds it in the class path.
        fs::write(fresh.join("logback.xml"), LOGGING).map_err(Error::io("writing a client's logging"))
    })?;
    let mut command = Command::new("java");
    command.args(helper::JVM).args(["-Xmx96m", "-cp"]);
    command.arg(format!("{}:{}", compiled.display(), with.class_path()?)).arg(main);
    Ok(command)
}

fn go() -> Result<Command> {
    let folder = client_sources().join("zookeeper/go");
    let entry = format!("client-zookeeper-go-{:016x}", hash(&folder, &["go.mod", "go.sum", "main.go"])?);
    let built = cache::entry(&entry, |fresh| {
        let mut command = Command::new("go");
        command.current_dir(&folder).args(["build", "-mod=readonly", "-buildvcs=false", "-o"]).arg(fresh);
        cache::run(command.arg(".")).map(drop)
    })?;
    Ok(Command::new(built.join("session")))
}

fn node() -> Result<Command> {
    let folder = client_sources().join("zookeeper/node");
    let files = ["package.json", "package-lock.json"];
    let made = cache::entry(&format!("client-zookeeper-node-{:016x}", hash(&folder, &files)?), |fresh| {
        for file in files {
            fs::copy(folder.join(file), fresh.join(file)).map_err(Error::io(format!("copying {file}")))?;
        }
        let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        cache::run(Command::new("npm").current_dir(fresh).args(words)).map(drop)
    })?;
    let mut command = Command::new("node");
    command.env("NODE_PATH", made.join("node_modules")).arg(folder.join("run.js"));
    Ok(command)
}

fn rust() -> Result<Command> {
    let folder = client_sources().join("zookeeper/rust");
    let files = ["Cargo.toml", "Cargo.lock", "src/main.rs"];
    let built = cache::entry(&format!("client-zookeeper-rust-{:016x}", hash(&folder, &files)?), |fresh| {
        eprintln!("testbed: building the Rust client of ZooKeeper (once)");
        // What was built of an earlier version of the program is of use to this one.
        let target = cache::folder()?.join("client-zookeeper-rust-target");
        let mut command = Command::new("cargo");
        command.current_dir(&folder).args(["build", "--locked", "--quiet", "--target-dir"]).arg(&target);
        cache::run(&mut command)?;
        fs::copy(target.join("debug/session"), fresh.join("session"))
            .map(drop)
            .map_err(Error::io("copying the built client"))
    })?;
    Ok(Command::new(built.join("session")))
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
            .args(["--tree", if spec.tree { "on" } else { "off" }]);
        if spec.own {
            command.args(["--own", "on"]);
        }
        if let Some(login) = &spec.login {
            // Libraries of 3.9 don't speak DIGEST-MD5 in their FIPS mode, which is their default.
            let file = login.display();
            let options = format!("\"-Djava.security.auth.login.config={file}\" -Dzookeeper.fips-mode=false");
            command.env("JDK_JAVA_OPTIONS", options);
        }
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

/// Starts clients, which connect in turn to what `servers` has (one text for each place). The oldest error first: of many
/// clients the first that can't be started.
pub(crate) fn start_all(specs: &[ClientSpec], servers: &[String]) -> Result<Vec<Client>> {
    // Beside each other: each takes seconds to start on a small machine.
    std::thread::scope(|scope| {
        let threads: Vec<_> = specs
            .iter()
            .zip(servers.iter().cycle())
            .map(|(spec, servers)| scope.spawn(move || Client::start(spec, servers)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Error::program("a client's thread", "panicked"))?)
            .collect()
    })
}
