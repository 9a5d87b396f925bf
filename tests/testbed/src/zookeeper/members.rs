//! What changes an ensemble's members: another version, another address, one more, one less.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::ensemble::{Member, PEERS};
use super::{Ensemble, ZooKeeperVersion};
use crate::chaos::net::{self, Cut};
use crate::{Error, Result, Roll, wait};

impl Ensemble {
    /// Stops server `id` and starts it with another version.
    pub fn upgrade(&mut self, id: u8, version: ZooKeeperVersion, how: Roll) -> Result<()> {
        self.set_version(id, version)?;
        self.restart(id, how)
    }

    /// Moves server `id` to addresses that nobody had before: it is stopped, the others learn of its new place by a
    /// reconfig (the ensemble must be made for it), and it starts there with the data that it had.
    pub fn move_server(&mut self, id: u8) -> Result<()> {
        let host = self.fresh_host()?;
        self.stop(id)?;
        self.member(id)?.host = host;
        self.note_places();
        self.reconfig(&[id], &[])?;
        // It would find its old address in the file that it keeps.
        fs::remove_file(self.settings_file(id)).map_err(Error::io("removing old settings"))?;
        self.start_server(id)?;
        self.wait_ready()
    }

    /// Adds a member with a new id, its own addresses and no data, and gives its id. The ensemble must be made for it.
    pub fn add_server(&mut self, version: ZooKeeperVersion) -> Result<u8> {
        let id = self.members.iter().map(|m| m.id).max().unwrap_or(0) + 1;
        let host = self.fresh_host()?;
        self.members.push(Member { id, host, version, server: None });
        self.note_places();
        self.prepare(id)?;
        // Until the reconfig it is a stranger that asks to follow.
        self.start_server(id)?;
        self.reconfig(&[id], &[])?;
        self.wait_ready()?;
        Ok(id)
    }

    /// Takes member `id` out of the ensemble by a reconfig and stops it. The ensemble must be made for it.
    pub fn remove_server(&mut self, id: u8) -> Result<()> {
        self.reconfig(&[], &[id])?;
        self.stop(id)?;
        self.members.retain(|m| m.id != id);
        self.note_places();
        self.wait_ready()
    }

    /// Cuts a follower off from its leader, this one or the first: the connection between them is silent until it is dropped.
    /// Clients see nothing of it.
    pub fn cut_follower(&self, follower: Option<u8>) -> Result<Cut> {
        let missing = |what: &str| Error::program("the ensemble", format!("has no {what}"));
        let leader = self.leader().ok_or_else(|| missing("leader"))?;
        let at = SocketAddr::from((self.peer_ip(leader), 2888));
        let follower = follower.or_else(|| self.ids().into_iter().find(|&id| id != leader));
        let pid = follower.and_then(|id| self.pid(id)).ok_or_else(|| missing("such follower"))?;
        let flows: Vec<_> = net::ports_of(pid, at)?.into_iter().map(|port| (at, port)).collect();
        if flows.is_empty() {
            return Err(missing("connection to the leader"));
        }
        Cut::flows(&flows)
    }

    /// Tells the ensemble of members that joined (or moved) and members that leave.
    fn reconfig(&mut self, joining: &[u8], leaving: &[u8]) -> Result<()> {
        if !self.spec.reconfig {
            return Err(Error::program("the ensemble", "has fixed members"));
        }
        let lines: Vec<String> =
            self.members.iter().filter(|m| joining.contains(&m.id)).map(|m| self.line(m)).collect();
        let leaving: Vec<String> = leaving.iter().map(u8::to_string).collect();
        let mut direct = self.direct(Duration::from_millis(u64::from(self.spec.tick_ms) * 10))?;
        let bound = Duration::from_secs(30);
        // A member that is new is refused until it has caught up.
        wait::poll("a reconfig", bound, Duration::from_millis(200), || {
            match direct.reconfig(&lines.join(","), &leaving.join(",")) {
                Ok(()) => Ok(Some(())),
                Err(Error::Program { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// A host part that no member has or had.
    fn fresh_host(&self) -> Result<u8> {
        let highest = self.members.iter().map(|m| m.host).max().unwrap_or(0);
        // What moved away leaves its number behind.
        let marks = fs::read_dir(self.folder()).map_err(Error::io("listing the ensemble's folder"))?;
        let used = marks.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("host-")?.parse::<u8>().ok()
        });
        let host = used.max().unwrap_or(0).max(highest).max(10) + 1;
        if host >= PEERS {
            return Err(Error::Missing("the ensemble has used up its addresses".to_owned()));
        }
        fs::write(self.folder().join(format!("host-{host}")), "").map_err(Error::io("noting an address"))?;
        Ok(host)
    }
}
