//! The life of a cluster: start, faults, readiness, rolls.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::archive;
use super::properties::{self, Place};
use super::spec::{KafkaVersion, Spec};
use super::view::{self, View};
use super::{CLIENT_PORT, INTERNAL_PORT};
use crate::admin::Admin;
use crate::claim::Claim;
use crate::process::Server;
use crate::{Error, Result, helper, wait};

/// How long a cluster may take to be ready, whatever was done to it.
const READY: Duration = Duration::from_secs(150);
/// How long a broker may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(60);

/// The ids of controllers that are processes of their own come after this.
const CONTROLLERS: u8 = 50;

/// How a node is taken down in a roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    /// SIGTERM: it hands its leadership over.
    Soft,
    /// SIGKILL.
    Hard,
}

#[derive(Debug)]
struct Node {
    id: u8,
    version: KafkaVersion,
    client: Ipv4Addr,
    /// Settings of this node alone.
    own: Vec<(String, String)>,
    server: Option<Server>,
}

/// A running cluster. Dropping it kills every process and removes its folder (kept with `TESTBED_KEEP=1`).
#[derive(Debug)]
pub struct Cluster {
    // Processes before the claim: they end before their folder goes.
    nodes: Vec<Node>,
    /// `ZooKeeper`, or controllers that are processes of their own.
    apart: Vec<Server>,
    admin: Admin,
    spec: Spec,
    fixed: Vec<Ipv4Addr>,
    quorum: Vec<(u8, Ipv4Addr)>,
    claim: Claim,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    pub fn start(spec: Spec) -> Result<Self> {
        let mut cluster = Self::prepare(spec)?;
        for id in cluster.ids() {
            cluster.start_node(id)?;
        }
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// A cluster none of whose brokers runs yet (see [`Cluster::start_node`]); what they need besides does.
    pub fn prepare(spec: Spec) -> Result<Self> {
        let claim = Claim::take()?;
        let fixed: Vec<Ipv4Addr> = (1..=spec.nodes).map(|id| claim.ip(100 + id)).collect();
        let internal: Vec<String> = fixed.iter().map(|ip| format!("{ip}:{INTERNAL_PORT}")).collect();
        let admin = Admin::start(&internal.join(","))?;
        let nodes: Vec<Node> = (1..=spec.nodes)
            .map(|id| Node { id, version: spec.version, client: claim.ip(id), own: Vec::new(), server: None })
            .collect();
        let quorum: Vec<(u8, Ipv4Addr)> = match spec.controllers {
            0 => (1u8..).zip(fixed.iter().copied()).collect(),
            count => (1..=count).map(|k| (CONTROLLERS + k, claim.ip(100 + CONTROLLERS + k))).collect(),
        };
        let mut cluster = Self { nodes, apart: Vec::new(), admin, spec, fixed, quorum, claim };
        if cluster.spec.version.uses_zookeeper() {
            cluster.start_zookeeper()?;
        } else {
            let seed = std::process::id() ^ u32::from(cluster.claim.number()) << 24;
            let id = properties::uuid(seed, 0);
            for node in &cluster.nodes {
                properties::format(node.version, &id, node.id, seed, &cluster.data(node.id))?;
            }
            if cluster.spec.controllers > 0 {
                cluster.start_controllers(&id, seed)?;
            }
        }
        Ok(cluster)
    }

    /// Controllers that are no brokers. They serve no client, so nothing waits for them but the brokers.
    fn start_controllers(&mut self, cluster: &str, seed: u32) -> Result<()> {
        let version = self.spec.version;
        for (id, _) in self.quorum.clone() {
            let data = self.data(id);
            properties::format(version, cluster, id, seed, &data)?;
            let settings = properties::controller(&self.spec, id, &self.quorum, &data);
            let server = self.launch(id, version, &settings)?;
            self.apart.push(server);
        }
        Ok(())
    }

    /// Starts the process of node `id`.
    fn launch(&self, id: u8, version: KafkaVersion, settings: &str) -> Result<Server> {
        let folder = self.claim.folder();
        let path = folder.join(format!("kafka-{id}.properties"));
        fs::write(&path, settings).map_err(Error::io("writing a node's settings"))?;
        let mut command = Command::new("java");
        command
            .args(helper::JVM)
            .args(["-Xmx256m", "-Xms64m", &properties::logging(version, folder)?])
            .args(archive::option(version)?)
            .args(["-cp", &version.jars().class_path()?, "kafka.Kafka"])
            .arg(&path)
            .current_dir(folder);
        Server::spawn(&format!("kafka-{id}"), command, &self.log(id), Some(&self.claim))
    }

    /// `host:port` of every node for clients, separated by commas: names when the spec has a domain.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self
            .nodes
            .iter()
            .map(|n| match &self.spec.domain {
                Some(domain) => format!("kafka-{}.{domain}:{CLIENT_PORT}", n.id),
                None => format!("{}:{CLIENT_PORT}", n.client),
            })
            .collect();
        all.join(",")
    }

    /// The fixed addresses of all nodes, which need no DNS and never move: for direct reading.
    pub fn internal_bootstrap(&self) -> String {
        let all: Vec<String> = self.fixed.iter().map(|ip| format!("{ip}:{INTERNAL_PORT}")).collect();
        all.join(",")
    }

    /// The node ids, from 1.
    pub fn ids(&self) -> Vec<u8> {
        self.nodes.iter().map(|n| n.id).collect()
    }

    /// Where node `id` serves clients (now, or when it is started next).
    pub fn addr(&self, id: u8) -> Result<SocketAddr> {
        Ok((self.node(id)?.client, CLIENT_PORT).into())
    }

    /// Where node `id` keeps its controller quorum and its replication.
    pub fn fixed_ip(&self, id: u8) -> Ipv4Addr {
        self.claim.ip(100u8.saturating_add(id))
    }

    /// An address of this cluster's network that no node uses by itself; `k` from 0 to 50.
    pub fn spare_ip(&self, k: u8) -> Ipv4Addr {
        self.claim.ip(200u8.saturating_add(k.min(50)))
    }

    /// The folder with all data and logs.
    pub fn folder(&self) -> &Path {
        self.claim.folder()
    }

    /// Node `id`'s log file.
    pub fn log(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("kafka-{id}.log"))
    }

    /// Node `id`'s process id, while it runs.
    pub fn pid(&self, id: u8) -> Result<Option<u32>> {
        Ok(self.node(id)?.server.as_ref().map(Server::pid))
    }

    /// The administrator, which talks to the brokers directly.
    pub fn admin(&mut self) -> &mut Admin {
        &mut self.admin
    }

    /// SIGTERM to node `id`, and waits for its end.
    pub fn stop(&mut self, id: u8) -> Result<()> {
        match self.node_mut(id)?.server.take() {
            Some(mut server) => server.stop(STOP).map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL to node `id`.
    pub fn kill(&mut self, id: u8) -> Result<()> {
        drop(self.node_mut(id)?.server.take());
        Ok(())
    }

    /// SIGSTOP to node `id`: its connections stay open and nothing answers.
    pub fn freeze(&mut self, id: u8) -> Result<()> {
        self.running(id)?.freeze()
    }

    /// SIGCONT to node `id`.
    pub fn thaw(&mut self, id: u8) -> Result<()> {
        self.running(id)?.thaw()
    }

    /// Starts node `id`, which must not run; doesn't wait (see [`Cluster::wait_ready`]).
    pub fn start_node(&mut self, id: u8) -> Result<()> {
        let node = self.node(id)?;
        if node.server.is_some() {
            return Err(Error::program(format!("kafka-{id}"), "runs already"));
        }
        let version = node.version;
        let data = self.data(id);
        let place = Place {
            id,
            version,
            client: node.client,
            fixed: &self.fixed,
            quorum: &self.quorum,
            data: &data,
            own: &node.own,
        };
        let server = self.launch(id, version, &properties::server(&self.spec, &place))?;
        self.node_mut(id)?.server = Some(server);
        Ok(())
    }

    /// The version that node `id` has when it is started next.
    pub fn set_version(&mut self, id: u8, version: KafkaVersion) -> Result<()> {
        self.node_mut(id)?.version = version;
        Ok(())
    }

    /// A broker setting that node `id` alone has when it is started next.
    pub fn set(&mut self, id: u8, key: &str, value: &str) -> Result<()> {
        self.node_mut(id)?.own.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// The address for clients that node `id` has when it is started next.
    pub fn set_addr(&mut self, id: u8, ip: Ipv4Addr) -> Result<()> {
        self.node_mut(id)?.client = ip;
        Ok(())
    }

    /// Waits until every node that runs and isn't frozen serves clients, and each of them by itself says that all of them
    /// are registered and unfenced, and that all partitions have a leader and all their replicas on these nodes in sync.
    /// Gives the time that it took.
    pub fn wait_ready(&mut self) -> Result<Duration> {
        self.wait_views(|_| None)
    }

    /// The same, with something else that each node's view may lack.
    fn wait_views(&mut self, lacks: impl Fn(&View) -> Option<String>) -> Result<Duration> {
        let start = Instant::now();
        let mut why = String::new();
        let done = wait::poll("the cluster", READY, Duration::from_millis(50), || {
            let mut up = Vec::new();
            for node in &mut self.nodes {
                let Some(server) = node.server.as_mut().filter(|s| !s.is_frozen()) else { continue };
                server.check()?;
                // A broker opens its port when it is ready to serve: this also tells it from its former life, which
                // the controller may still believe in.
                if !wait::accepts((node.client, CLIENT_PORT).into()) {
                    why = format!("kafka-{} doesn't accept yet", node.id);
                    return Ok(None);
                }
                up.push((node.id, i32::from(node.id)));
            }
            let ids: Vec<i32> = up.iter().map(|&(_, id)| id).collect();
            for (id, _) in up {
                // Each by itself: one may know less than another for a moment.
                let lacking = match view::ask((self.claim.ip(100 + id), INTERNAL_PORT).into()) {
                    Ok(view) => view.lacks(&ids).or_else(|| lacks(&view)),
                    Err(error) => Some(format!("an answer: {error}")),
                };
                if let Some(lacking) = lacking {
                    why = format!("kafka-{id} lacks {lacking}");
                    return Ok(None);
                }
            }
            Ok(Some(()))
        });
        match done {
            Ok(()) => Ok(start.elapsed()),
            Err(Error::Timeout { seconds, .. }) => {
                Err(Error::Timeout { what: format!("a ready cluster: {why}"), seconds })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes node `id` down, starts it again and waits until the cluster is ready. Gives the time that it took.
    pub fn restart(&mut self, id: u8, how: Roll) -> Result<Duration> {
        let start = Instant::now();
        match how {
            Roll::Soft => self.stop(id)?,
            Roll::Hard => self.kill(id)?,
        }
        self.start_node(id)?;
        self.wait_ready()?;
        Ok(start.elapsed())
    }

    /// Restarts one node after another with SIGTERM.
    pub fn roll_soft(&mut self) -> Result<()> {
        self.ids().into_iter().try_for_each(|id| self.restart(id, Roll::Soft).map(drop))
    }

    /// Restarts one node after another with SIGKILL.
    pub fn roll_hard(&mut self) -> Result<()> {
        self.ids().into_iter().try_for_each(|id| self.restart(id, Roll::Hard).map(drop))
    }

    /// Makes a topic and waits until every node knows it and all its replicas are in sync.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: u32,
        rf: u16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        self.admin.create_topic(name, partitions, rf, configs)?;
        let wanted = usize::try_from(partitions).unwrap_or(usize::MAX);
        let known = |view: &View| view.topics.get(name).is_some_and(|p| p.len() == wanted);
        self.wait_views(|view| (!known(view)).then(|| format!("the topic {name}"))).map(drop)
    }

    fn start_zookeeper(&mut self) -> Result<()> {
        let folder = self.claim.folder();
        let ip = self.claim.ip(101);
        let settings = folder.join("zookeeper.properties");
        let text = format!(
            "dataDir={}\nclientPort=2181\nclientPortAddress={ip}\ntickTime=500\nadmin.enableServer=false\n\
             maxClientCnxns=0\nminSessionTimeout=1000\nmaxSessionTimeout=60000\n",
            folder.join("zookeeper").display()
        );
        fs::write(&settings, text).map_err(Error::io("writing ZooKeeper settings"))?;
        let mut command = Command::new("java");
        command
            .args(helper::JVM)
            .args(["-Xmx96m", &properties::logging(self.spec.version, folder)?])
            .args(["-cp", &self.spec.version.jars().class_path()?])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&settings)
            .current_dir(folder);
        let log = folder.join("zookeeper.log");
        let mut server = Server::spawn("zookeeper", command, &log, Some(&self.claim))?;
        wait::poll("ZooKeeper's port", Duration::from_secs(60), Duration::from_millis(50), || {
            server.check()?;
            Ok(wait::accepts((ip, 2181).into()).then_some(()))
        })?;
        self.apart.push(server);
        Ok(())
    }

    fn data(&self, id: u8) -> PathBuf {
        self.claim.folder().join(format!("data-{id}"))
    }

    fn node(&self, id: u8) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|n| n.id == id)
            .ok_or_else(|| Error::program(format!("kafka-{id}"), "no such node"))
    }

    fn node_mut(&mut self, id: u8) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|n| n.id == id)
            .ok_or_else(|| Error::program(format!("kafka-{id}"), "no such node"))
    }

    fn running(&mut self, id: u8) -> Result<&mut Server> {
        self.node_mut(id)?.server.as_mut().ok_or_else(|| Error::program(format!("kafka-{id}"), "doesn't run"))
    }
}
