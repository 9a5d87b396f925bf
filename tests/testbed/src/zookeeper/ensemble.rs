//! A `ZooKeeper` ensemble of real servers on loopback addresses.
//!
//! Server ID serves clients at `127.0.N.ID:2181` and its peers at `127.0.N.(100+ID)`, ports 2888 and 3888. Every
//! four-letter command is allowed.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::direct::Places;
use super::{Direct, ZooKeeperVersion};
use crate::claim::Claim;
use crate::process::Server;
use crate::{Error, Result, Roll, helper, wait};

/// Where clients connect, on every server.
const CLIENT_PORT: u16 = 2181;
/// How long an ensemble may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// Host parts of addresses for peers begin here; those for clients begin at 1.
pub(super) const PEERS: u8 = 100;

/// INFO to standard output.
const LOGGING: &str = "<configuration><appender name=\"O\" class=\"ch.qos.logback.core.ConsoleAppender\">\
    <encoder><pattern>%d %level %logger{0} %msg%n</pattern></encoder></appender>\
    <root level=\"INFO\"><appender-ref ref=\"O\"/></root></configuration>\n";

/// What an ensemble is to be like.
#[derive(Clone, Copy, Debug)]
pub struct EnsembleSpec {
    /// The version of every server at first.
    pub version: ZooKeeperVersion,
    /// The number of servers, 1 to 9.
    pub servers: u8,
    /// `tickTime` in milliseconds. Sessions have a time-out of 2 to 20 ticks.
    pub tick_ms: u32,
    /// `syncLimit` in ticks: how long a follower that hears nothing of its leader goes on.
    pub sync_limit: u32,
    /// Whether members may change while it runs (`reconfig`); every client may ask for it then.
    pub reconfig: bool,
    /// Whether servers have an encrypted port for clients, too.
    pub secure: bool,
    /// Whether servers serve only sessions that are proved to be [`sasl::USER`](super::sasl::USER)'s.
    pub sasl: bool,
}

impl EnsembleSpec {
    /// Three servers with a tick of 500 ms and fixed members.
    pub fn new(version: ZooKeeperVersion) -> Self {
        Self {
            version,
            servers: 3,
            tick_ms: 500,
            sync_limit: 10,
            reconfig: false,
            secure: false,
            sasl: false,
        }
    }

    /// The same with another number of servers.
    #[must_use]
    pub fn servers(mut self, servers: u8) -> Self {
        self.servers = servers;
        self
    }

    /// The same with another tick, in milliseconds.
    #[must_use]
    pub fn tick_ms(mut self, tick: u32) -> Self {
        self.tick_ms = tick;
        self
    }

    /// The same with another `syncLimit`, in ticks.
    #[must_use]
    pub fn sync_limit(mut self, ticks: u32) -> Self {
        self.sync_limit = ticks;
        self
    }

    /// The same with an encrypted port for clients, besides the plain one.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// The same with servers that want every session to be proved.
    #[must_use]
    pub fn sasl(mut self) -> Self {
        self.sasl = true;
        self
    }

    /// The same with members that may change.
    #[must_use]
    pub fn reconfig(mut self) -> Self {
        self.reconfig = true;
        self
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
pub(super) struct Member {
    pub(super) id: u8,
    /// The last number of its address for clients; that for peers is [`PEERS`] above it.
    pub(super) host: u8,
    pub(super) version: ZooKeeperVersion,
    pub(super) server: Option<Server>,
}

/// A running ensemble. Dropping it kills every process and removes its folder (kept with `TESTBED_KEEP=1`).
#[derive(Debug)]
pub struct Ensemble {
    // Processes before the claim: they end before their folder goes.
    pub(super) members: Vec<Member>,
    pub(super) spec: EnsembleSpec,
    places: Places,
    claim: Claim,
}

impl Ensemble {
    /// Starts `servers` servers with a tick of 500 ms and waits until each follows or leads.
    pub fn start(version: ZooKeeperVersion, servers: u8) -> Result<Self> {
        Self::with(EnsembleSpec::new(version).servers(servers))
    }

    /// Starts servers, ids from 1, and waits until each follows or leads.
    pub fn with(spec: EnsembleSpec) -> Result<Self> {
        let claim = Claim::take()?;
        let members =
            (1..=spec.servers).map(|id| Member { id, host: id, version: spec.version, server: None });
        let mut ensemble = Self { members: members.collect(), spec, places: Places::default(), claim };
        ensemble.note_places();
        ensemble.certify()?;
        ensemble.name_users()?;
        for id in ensemble.ids() {
            ensemble.prepare(id)?;
            ensemble.start_server(id)?;
        }
        ensemble.wait_ready()?;
        Ok(ensemble)
    }

    /// What it was started as.
    pub fn spec(&self) -> EnsembleSpec {
        self.spec
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
        let host = self.members.iter().find(|m| m.id == id).map_or(id, |m| m.host);
        (self.claim.ip(host), CLIENT_PORT).into()
    }

    /// The address at which server `id` serves its peers: who follows it is connected to its port 2888.
    pub fn peer_ip(&self, id: u8) -> Ipv4Addr {
        let host = self.members.iter().find(|m| m.id == id).map_or(id, |m| m.host);
        self.claim.ip(PEERS + host)
    }

    /// A loopback address that no server of this ensemble has.
    pub fn spare_ip(&self) -> Ipv4Addr {
        self.claim.ip(250)
    }

    /// The process of server `id`, while it runs.
    pub fn pid(&self, id: u8) -> Option<u32> {
        self.members.iter().find(|m| m.id == id)?.server.as_ref().map(Server::pid)
    }

    /// The log of server `id`.
    pub fn log(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("zookeeper-{id}.log"))
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
        let (jars, host) = (member.version.jars(), member.host);
        let folder = self.claim.folder();
        let settings = self.settings_file(id);
        // A server with changing members keeps them in a file beside it, and rewrites both.
        if !self.spec.reconfig || !settings.exists() {
            fs::write(&settings, self.settings(id, host)?)
                .map_err(Error::io("writing ZooKeeper settings"))?;
        }
        let logging = folder.join("logback.xml");
        fs::write(&logging, LOGGING).map_err(Error::io("writing ZooKeeper's logging"))?;
        let mut command = Command::new("java");
        command
            .args(helper::JVM)
            // The library of the name looks for it in the class path, where it isn't, and says everything (DEBUG) then.
            .arg(format!("-Dlogback.configurationFile={}", logging.display()))
            .args([
                "-Xmx96m",
                // Its log's.
                "-Duser.timezone=UTC",
                // With it, /zookeeper/config may be changed by everyone.
                if self.spec.reconfig { "-Dzookeeper.skipACL=yes" } else { "-Dzookeeper.skipACL=no" },
                &self.users_setting(),
                "-cp",
                &jars.class_path()?,
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            ])
            .arg(&settings)
            .current_dir(folder);
        let log = self.log(id);
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

    /// The server that leads now, if one does. A server that is alone leads.
    pub fn leader(&self) -> Option<u8> {
        self.ids().into_iter().find(|&id| matches!(self.mode(id), Some(Mode::Leader | Mode::Standalone)))
    }

    /// The next server in the order of rolls: followers first, by their ids, the leader last. `done` are those that had
    /// their turn.
    pub fn next_to_roll(&self, done: &[u8]) -> Option<u8> {
        let leader = self.leader();
        let mut left: Vec<u8> = self.ids().into_iter().filter(|id| !done.contains(id)).collect();
        left.sort_by_key(|&id| (Some(id) == leader, id));
        left.first().copied()
    }

    /// A client of the test bed's own, connected to the servers themselves, whose session has this time-out.
    pub fn direct(&self, timeout: Duration) -> Result<Direct> {
        Direct::connect_as(Arc::clone(&self.places), timeout, self.spec.sasl)
    }

    /// Tells clients that [`Ensemble::direct`] gave where the servers are.
    pub(super) fn note_places(&self) {
        let all = self.ids().into_iter().map(|id| self.addr(id)).collect();
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// The folder of a server's data, with its number.
    pub(super) fn prepare(&self, id: u8) -> Result<()> {
        let data = self.data(id);
        fs::create_dir_all(&data).map_err(Error::io("creating a data folder"))?;
        fs::write(data.join("myid"), id.to_string()).map_err(Error::io("writing myid"))
    }

    pub(super) fn settings_file(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("zookeeper-{id}.cfg"))
    }

    /// The text of a server's settings.
    fn settings(&self, id: u8, host: u8) -> Result<String> {
        let EnsembleSpec { tick_ms, sync_limit, reconfig, .. } = self.spec;
        let mut text = format!(
            "dataDir={}\ntickTime={tick_ms}\ninitLimit=20\nsyncLimit={sync_limit}\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n",
            self.data(id).display(),
        );
        text.push_str(self.sasl_settings());
        let mut members = String::new();
        for member in &self.members {
            let _ = writeln!(members, "{}", self.line(member));
        }
        if reconfig {
            // A client port of its own would be in the way of the one in the member's line.
            let list = self.claim.folder().join(format!("zookeeper-{id}.members"));
            fs::write(&list, members).map_err(Error::io("writing a list of members"))?;
            let _ = writeln!(
                text,
                "reconfigEnabled=true\nstandaloneEnabled=false\ndynamicConfigFile={}",
                list.display()
            );
        } else {
            let _ = writeln!(text, "clientPort={CLIENT_PORT}\nclientPortAddress={}", self.claim.ip(host));
            text.push_str(&self.secure_settings(id));
            if self.members.len() > 1 {
                text.push_str(&members);
            }
        }
        Ok(text)
    }

    /// A member's line in settings.
    pub(super) fn line(&self, member: &Member) -> String {
        let peers = self.claim.ip(PEERS + member.host);
        let clients = self.claim.ip(member.host);
        if self.spec.reconfig {
            format!("server.{}={peers}:2888:3888:participant;{clients}:{CLIENT_PORT}", member.id)
        } else {
            format!("server.{}={peers}:2888:3888", member.id)
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

    /// The folder of server `id`'s data.
    pub fn data(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("data-{id}"))
    }

    pub(super) fn member(&mut self, id: u8) -> Result<&mut Member> {
        let missing = || Error::program(format!("zookeeper-{id}"), "no such server");
        self.members.iter_mut().find(|m| m.id == id).ok_or_else(missing)
    }

    fn running(&mut self, id: u8) -> Result<&mut Server> {
        let missing = || Error::program(format!("zookeeper-{id}"), "doesn't run");
        self.member(id)?.server.as_mut().ok_or_else(missing)
    }
}
