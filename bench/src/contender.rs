//! The proxies that are compared: each starts as a process of its own in front of the same broker.

use clap::ValueEnum;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testbed::process::Server;
use testbed::sidecar::{Sidecar, free_addr, free_ports};
use testbed::{Error, Result, wait};

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
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Copy, Self::Haproxy, Self::Evenkeel, Self::Uninjected];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Copy => "copy loop",
            Self::Haproxy => "HAProxy",
            Self::Evenkeel => "Evenkeel",
            Self::Uninjected => "Evenkeel, injection off",
        }
    }
}

enum Process {
    Server(Server),
    Sidecar(Sidecar),
}

/// A running proxy.
pub(crate) struct Contender {
    pub kind: Kind,
    /// Where clients connect.
    pub address: SocketAddr,
    pub pid: u32,
    process: Process,
}

impl Contender {
    /// Starts it in front of `broker`, and waits until it serves.
    pub(crate) fn start(kind: Kind, broker: SocketAddr, folder: &Path) -> Result<Self> {
        let started = match kind {
            Kind::Copy => copy(broker, folder),
            Kind::Haproxy => haproxy(broker, folder),
            Kind::Evenkeel | Kind::Uninjected => evenkeel(kind, broker),
        };
        let mut contender = started?;
        wait::until(kind.title(), START, || wait::accepts(contender.address))?;
        contender.check()?;
        Ok(contender)
    }

    /// An error if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match &mut self.process {
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

fn copy(broker: SocketAddr, folder: &Path) -> Result<Contender> {
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let mut command = own("copy")?;
    command.arg(address.to_string()).arg(broker.to_string());
    let server = Server::spawn("copy loop", command, &folder.join("copy.log"), None)?;
    Ok(Contender { kind: Kind::Copy, address, pid: server.pid(), process: Process::Server(server) })
}

/// Where `HAProxy` is, if it is anywhere. Debian's own folder for daemons is not in everyone's path.
pub(crate) fn haproxy_binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("haproxy")).find(|file| file.is_file())
}

fn haproxy(broker: SocketAddr, folder: &Path) -> Result<Contender> {
    let binary = haproxy_binary().ok_or_else(|| Error::Missing("haproxy is not installed".to_owned()))?;
    let address = free_addr(Ipv4Addr::LOCALHOST)?;
    let config = format!(
        "global\n  nbthread 1\n  tune.bufsize 65536\n  maxconn 100\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen kafka\n  bind {address}\n  server broker {broker}\n"
    );
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, config).map_err(Error::io("writing HAProxy's configuration"))?;
    let mut command = Command::new(binary);
    command.arg("-db").arg("-f").arg(path);
    let server = Server::spawn("HAProxy", command, &folder.join("haproxy.log"), None)?;
    Ok(Contender { kind: Kind::Haproxy, address, pid: server.pid(), process: Process::Server(server) })
}

fn evenkeel(kind: Kind, broker: SocketAddr) -> Result<Contender> {
    let binary = Sidecar::binary()?;
    let first = free_ports(Ipv4Addr::LOCALHOST, 100)?;
    let listen = free_addr(Ipv4Addr::LOCALHOST)?;
    let mut config = Sidecar::kafka_section("benchmark", listen, &broker.to_string(), first);
    if kind == Kind::Uninjected {
        config.push_str("idempotence = \"off\"\n");
    }
    let mut sidecar = Sidecar::start(&binary, &config)?;
    sidecar.wait_ready(START)?;
    let pid = sidecar.pid().ok_or_else(|| Error::program("evenkeel", "ended at once"))?;
    // The broker is node 1; its port is the range's first plus its id.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, first + 1));
    Ok(Contender { kind, address, pid, process: Process::Sidecar(sidecar) })
}
