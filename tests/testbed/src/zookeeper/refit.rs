//! An ensemble becomes another one, server by server, under clients that stay: another version, other addresses, another list,
//! other members. Each server is drained before it is stopped, as a controller would.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::course::Ending;
use super::story::{Load, Running};
use super::{Ensemble, EnsembleSpec, ZooKeeperVersion};
use crate::{DnsServer, Error, Result, Roll, Sidecar, wait};

/// How long a drain, or the news of a change, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The domain of servers' names.
const DOMAIN: &str = "zk.test";
/// Where servers serve clients.
const PORT: u16 = 2181;

/// What is made of an ensemble of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refit {
    /// Each server gets this version; then each is restarted once more.
    Upgrade(ZooKeeperVersion),
    /// Each server moves to other addresses; its name stays, and DNS learns of it when it is there.
    Names,
    /// Each server moves to other addresses; Evenkeel's configuration is rewritten, and it gets SIGHUP.
    List,
    /// Each server makes room for a new one, with a new id, at other addresses, by a reconfig; Evenkeel follows
    /// `/zookeeper/config`.
    Members,
}

/// An ensemble behind Evenkeel.
struct Bed {
    ensemble: Ensemble,
    sidecar: Sidecar,
    running: Running,
}

impl Refit {
    /// Carries it out under `load`, on servers that have this version at first. `say` hears of each step.
    pub fn run(
        self,
        version: ZooKeeperVersion,
        load: &Load,
        binary: &Path,
        mut say: impl FnMut(&str),
    ) -> Result<Ending> {
        let spec = EnsembleSpec::new(version);
        let spec = if matches!(self, Self::Upgrade(_)) { spec } else { spec.reconfig() };
        let ensemble = Ensemble::with(spec)?;
        let dns = DnsServer::start(1)?;
        let (mut top, mut servers) = (super::story::LOG.to_owned(), ensemble.servers());
        let mut keys = format!("tick_time = \"{}ms\"\n", spec.tick_ms);
        match self {
            Self::Names => {
                for id in ensemble.ids() {
                    dns.set(&host(id), ip(&ensemble, id)?);
                }
                top = format!("{top}[dns]\nservers = [\"{}\"]\n", dns.addr());
                let names: Vec<String> = ensemble.ids().into_iter().map(name).collect();
                servers = names.join(",");
            }
            Self::Members => keys.push_str("follow_config = true\n"),
            Self::Upgrade(_) | Self::List => {}
        }
        let (mut sidecar, listen) = Sidecar::zookeeper(binary, &servers, &top, &keys)?;
        sidecar.wait_ready(PATIENCE)?;
        let running = Running::start(&ensemble, load, &listen.to_string())?;
        let mut bed = Bed { ensemble, sidecar, running };
        let mut done = Vec::new();
        while let Some(id) = bed.next(&done) {
            say(&format!("{self:?}: server {id}"));
            match self {
                Self::Upgrade(to) => bed.upgrade(id, to)?,
                Self::Names => bed.rename(id, &dns)?,
                Self::List => bed.relist(id)?,
                Self::Members => done.push(bed.replace(id, version)?),
            }
            bed.running.changed()?;
            done.push(id);
        }
        let Bed { mut ensemble, sidecar, mut running } = bed;
        if matches!(self, Self::Upgrade(_)) {
            say("every server once more");
            running.roll_drained(&mut ensemble, Roll::Soft, &sidecar)?;
        }
        Ok(Ending { rows: running.finish()?, sidecar: Some(sidecar), ensemble })
    }
}

impl Bed {
    /// The leader last, and nobody twice.
    fn next(&self, done: &[u8]) -> Option<u8> {
        self.ensemble.next_to_roll(done)
    }

    fn upgrade(&mut self, id: u8, to: ZooKeeperVersion) -> Result<()> {
        let member = self.ensemble.addr(id).to_string();
        self.drain(&member)?;
        self.ensemble.upgrade(id, to, Roll::Soft)?;
        self.undrain(&member)
    }

    fn rename(&mut self, id: u8, dns: &DnsServer) -> Result<()> {
        self.drain(&name(id))?;
        self.ensemble.move_server(id)?;
        dns.set(&host(id), ip(&self.ensemble, id)?);
        self.undrain(&name(id))?;
        // It is used again, under its name.
        self.until(&format!("{} to be up", name(id)), |status| state(status, &name(id)) == Some("up"))
    }

    fn relist(&mut self, id: u8) -> Result<()> {
        let before = self.ensemble.addr(id).to_string();
        self.drain(&before)?;
        self.ensemble.move_server(id)?;
        let (path, now) = (self.sidecar.config(), self.ensemble.addr(id).to_string());
        let text = fs::read_to_string(&path).map_err(Error::io("reading a configuration"))?;
        fs::write(&path, text.replace(&format!("\"{before}\""), &format!("\"{now}\"")))
            .map_err(Error::io("writing a configuration"))?;
        self.sidecar.signal(Signal::HUP)?;
        self.until("the other list", |status| {
            state(status, &before).is_none() && state(status, &now) == Some("up")
        })
    }

    fn replace(&mut self, id: u8, version: ZooKeeperVersion) -> Result<u8> {
        let new = self.ensemble.add_server(version)?;
        let (before, now) = (self.ensemble.addr(id).to_string(), self.ensemble.addr(new).to_string());
        self.until("the new server to be listed", |status| state(status, &now) == Some("up"))?;
        self.drain(&before)?;
        self.ensemble.remove_server(id)?;
        self.until("the old server to be listed no more", |status| state(status, &before).is_none())?;
        Ok(new)
    }

    fn drain(&self, member: &str) -> Result<()> {
        let path = format!("/v1/clusters/bed/members/{member}/drain");
        wait::until("the end of a drain", PATIENCE, || matches!(self.sidecar.ask("PUT", &path), Ok((200, _))))
    }

    fn undrain(&self, member: &str) -> Result<()> {
        self.sidecar.ask("DELETE", &format!("/v1/clusters/bed/members/{member}/drain")).map(drop)
    }

    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        let met = wait::until(what, PATIENCE, || {
            if let Ok((200, text)) = self.sidecar.get("/v1/clusters/bed") {
                last = serde_json::from_str(&text).unwrap_or_default();
            }
            condition(&last)
        });
        met.map_err(|error| Error::program("evenkeel", format!("{error}: {last}")))
    }
}

/// The state of a server, if it is listed.
fn state<'a>(status: &'a Value, member: &str) -> Option<&'a str> {
    let members = status.get("members")?.as_array()?;
    let is = |of: &&Value| of.get("id").and_then(Value::as_str) == Some(member);
    members.iter().find(is)?.get("state")?.as_str()
}

fn host(id: u8) -> String {
    format!("zk-{id}.{DOMAIN}")
}

fn name(id: u8) -> String {
    format!("{}:{PORT}", host(id))
}

fn ip(ensemble: &Ensemble, id: u8) -> Result<Ipv4Addr> {
    match ensemble.addr(id).ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => Err(Error::program("testbed", format!("{ip} is no address of the test bed"))),
    }
}
