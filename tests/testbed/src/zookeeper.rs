//! A `ZooKeeper` ensemble of real servers on loopback addresses.
//!
//! Server ID serves clients at `127.0.N.ID:2181` and its peers at `127.0.N.(100+ID)`, ports 2888 and 3888. Every
//! four-letter command is allowed.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::{self, JarSet};
use crate::claim::Claim;
use crate::process::Server;
use crate::{Error, Result, Roll, helper, wait};

/// Where clients connect, on every server.
const CLIENT_PORT: u16 = 2181;
/// How long an ensemble may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// INFO to standard output.
const LOGGING: &str = "<configuration><appender name=\"O\" class=\"ch.qos.logback.core.ConsoleAppender\">\
    <encoder><pattern>%d %level %logger{0} %msg%n</pattern></encoder></appender>\
    <root level=\"INFO\"><appender-ref ref=\"O\"/></root></configuration>\n";

/// A version of `ZooKeeper` that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZooKeeperVersion {
    /// 3.8.6.
    V3_8_6,
    /// 3.9.5.
    V3_9_5,
}

impl ZooKeeperVersion {
    fn jars(self) -> JarSet {
        match self {
            Self::V3_8_6 => cache::ZOOKEEPER_3_8_6,
            Self::V3_9_5 => cache::ZOOKEEPER_3_9_5,
        }
    }
}

impl fmt::Display for ZooKeeperVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_8_6 => "3.8.6",
            Self::V3_9_5 => "3.9.5",
        })
    }
}

/// What a server says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It leads the ensemble.
    Leader,
    /// It follows.
    Follower,
    /// It is alone.
    Standalone,
}

#[derive(Debug)]
struct Member {
    id: u8,
    version: ZooKeeperVersion,
    server: Option<Server>,
}

/// A running ensemble. Dropping it kills every process and removes its folder (kept with `TESTBED_KEEP=1`).
#[derive(Debug)]
pub struct Ensemble {
    // Processes before the claim: they end before their folder goes.
    members: Vec<Member>,
    claim: Claim,
}

impl Ensemble {
    /// Starts `servers` servers (at most 9), ids from 1, and waits until each follows or leads.
    pub fn start(version: ZooKeeperVersion, servers: u8) -> Result<Self> {
        let claim = Claim::take()?;
        let members = (1..=servers).map(|id| Member { id, version, server: None }).collect();
        let mut ensemble = Self { members, claim };
        for id in 1..=servers {
            let data = ensemble.data(id);
            fs::create_dir_all(&data).map_err(Error::io("creating a data folder"))?;
            fs::write(data.join("myid"), id.to_string()).map_err(Error::io("writing myid"))?;
            ensemble.start_server(id)?;
        }
        ensemble.wait_ready()?;
        Ok(ensemble)
    }

    /// `host:port` of every server for clients, separated by commas.
    pub fn servers(&self) -> String {
        let all: Vec<String> = self.members.iter().map(|m| self.addr(m.id).to_string()).collect();
        all.join(",")
    }

    /// The server ids, from 1.
    pub fn ids(&self) -> Vec<u8> {
        self.members.iter().map(|m| m.id).collect()
    }

    /// Where server `id` serves clients.
    pub fn addr(&self, id: u8) -> SocketAddr {
        (self.claim.ip(id), CLIENT_PORT).into()
    }

    /// The folder with all data and logs.
    pub fn folder(&self) -> &Path {
        self.claim.folder()
    }

    /// The version that server `id` has when it is started next.
    pub fn set_version(&mut self, id: u8, version: ZooKeeperVersion) -> Result<()> {
        self.member(id)?.version = version;
        Ok(())
    }

    /// Starts server `id`, which must not run; doesn't wait (see [`Ensemble::wait_ready`]).
    pub fn start_server(&mut self, id: u8) -> Result<()> {
        let member = self.member(id)?;
        if member.server.is_some() {
            return Err(Error::program(format!("zookeeper-{id}"), "runs already"));
        }
        let jars = member.version.jars();
        let folder = self.claim.folder();
        let settings = folder.join(format!("zookeeper-{id}.cfg"));
        let mut text = format!(
            "dataDir={}\nclientPort={CLIENT_PORT}\nclientPortAddress={}\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n",
            self.data(id).display(),
            self.claim.ip(id)
        );
        if self.members.len() > 1 {
            for member in &self.members {
                let _ = writeln!(text, "server.{}={}:2888:3888", member.id, self.claim.ip(100 + member.id));
            }
        }
        fs::write(&settings, text).map_err(Error::io("writing ZooKeeper settings"))?;
        let logging = folder.join("logback.xml");
        fs::write(&logging, LOGGING).map_err(Error::io("writing ZooKeeper's logging"))?;
        let mut command = Command::new("java");
        command
            .args(helper::JVM)
            .args([
                "-Xmx96m",
                "-cp",
                &jars.class_path()?,
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            ])
            .arg(&settings)
            .current_dir(folder);
        let log = folder.join(format!("zookeeper-{id}.log"));
        let server = Server::spawn(&format!("zookeeper-{id}"), command, &log, Some(&self.claim))?;
        self.member(id)?.server = Some(server);
        Ok(())
    }

    /// SIGTERM to server `id`, and waits for its end.
    pub fn stop(&mut self, id: u8) -> Result<()> {
        match self.member(id)?.server.take() {
            Some(mut server) => server.stop(Duration::from_secs(30)).map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL to server `id`.
    pub fn kill(&mut self, id: u8) -> Result<()> {
        drop(self.member(id)?.server.take());
        Ok(())
    }

    /// SIGSTOP to server `id`.
    pub fn freeze(&mut self, id: u8) -> Result<()> {
        self.running(id)?.freeze()
    }

    /// SIGCONT to server `id`.
    pub fn thaw(&mut self, id: u8) -> Result<()> {
        self.running(id)?.thaw()
    }

    /// Takes server `id` down, starts it again and waits until the ensemble is ready.
    pub fn restart(&mut self, id: u8, how: Roll) -> Result<()> {
        match how {
            Roll::Soft => self.stop(id)?,
            Roll::Hard => self.kill(id)?,
        }
        self.start_server(id)?;
        self.wait_ready()
    }

    /// Restarts one server after another.
    pub fn roll(&mut self, how: Roll) -> Result<()> {
        self.ids().into_iter().try_for_each(|id| self.restart(id, how))
    }

    /// The answer of server `id` to a four-letter command such as `srvr`.
    pub fn ask(&self, id: u8, command: &str) -> Result<String> {
        let bound = Some(Duration::from_secs(2));
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&self.addr(id), Duration::from_secs(2))?;
            stream.set_read_timeout(bound)?;
            stream.set_write_timeout(bound)?;
            stream.write_all(command.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().map_err(Error::io(format!("asking zookeeper-{id}")))
    }

    /// What server `id` is now; `None` while it serves nobody.
    pub fn mode(&self, id: u8) -> Option<Mode> {
        let answer = self.ask(id, "srvr").ok()?;
        match answer.lines().find_map(|l| l.strip_prefix("Mode: "))? {
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            "standalone" => Some(Mode::Standalone),
            _ => None,
        }
    }

    /// Waits until every server that runs and isn't frozen has a mode, and one of them leads (or is alone).
    pub fn wait_ready(&mut self) -> Result<()> {
        wait::poll("a ready ensemble", READY, Duration::from_millis(20), || {
            let mut up = Vec::new();
            for member in &mut self.members {
                let Some(server) = member.server.as_mut().filter(|s| !s.is_frozen()) else { continue };
                server.check()?;
                up.push(member.id);
            }
            let modes: Option<Vec<Mode>> = up.iter().map(|&id| self.mode(id)).collect();
            Ok(modes.and_then(|m| m.iter().any(|&mode| mode != Mode::Follower).then_some(())))
        })
    }

    fn data(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("data-{id}"))
    }

    fn member(&mut self, id: u8) -> Result<&mut Member> {
        let missing = || Error::program(format!("zookeeper-{id}"), "no such server");
        self.members.iter_mut().find(|m| m.id == id).ok_or_else(missing)
    }

    fn running(&mut self, id: u8) -> Result<&mut Server> {
        let missing = || Error::program(format!("zookeeper-{id}"), "doesn't run");
        self.member(id)?.server.as_mut().ok_or_else(missing)
    }
}
