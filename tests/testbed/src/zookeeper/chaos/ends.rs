//! What is there at the end of a run: each server is asked by itself, and what most of them say counts.
//!
//! A server can lack what its peers have, and what its own transaction log has, too: seen of 3.8.6 (a follower that was frozen while it
//! wrote its log, SIGCONT, `SyncRequestProcessor` ends, a DIFF from the leader follows on what was logged and never applied:
//! ZOOKEEPER-4712). Its clients then read less than was acknowledged. No proxy can do that to a server, so it is told by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::client::{EPHEMERALS, NODES, REGISTERS, SEQUENCE};
use super::record::Truth;
use super::txnlog;
use crate::zookeeper::{Direct, Ensemble};
use crate::{Error, Result};

/// What one server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    nodes: BTreeMap<String, Option<(i32, String)>>,
    sequence: BTreeMap<String, String>,
    ephemerals: BTreeSet<String>,
}

impl Seen {
    fn read(direct: &mut Direct) -> Result<Self> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        direct.sync()?;
        let mut seen = Self::default();
        for path in REGISTERS.iter().chain(&NODES) {
            let node = direct.get(path)?.map(|(value, stat)| (stat.version, text(value)));
            seen.nodes.insert((*path).to_owned(), node);
        }
        for child in direct.children(SEQUENCE)? {
            let path = format!("{SEQUENCE}/{child}");
            if let Some((value, _)) = direct.get(&path)? {
                seen.sequence.insert(path, text(value));
            }
        }
        let children = direct.children(EPHEMERALS)?;
        seen.ephemerals = children.into_iter().map(|child| format!("{EPHEMERALS}/{child}")).collect();
        Ok(seen)
    }

    /// In what it differs from another, a few words each.
    fn differs(&self, other: &Self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(
            other
                .sequence
                .keys()
                .filter(|path| !self.sequence.contains_key(*path))
                .map(|p| format!("lacks {p}")),
        );
        all.extend(
            self.sequence
                .keys()
                .filter(|path| !other.sequence.contains_key(*path))
                .map(|p| format!("has {p}")),
        );
        let nodes = self.nodes.iter().filter(|(path, node)| other.nodes.get(*path) != Some(node));
        all.extend(nodes.map(|(path, node)| format!("has {path} as {node:?}")));
        let ephemerals = self.ephemerals.symmetric_difference(&other.ephemerals);
        all.extend(ephemerals.map(|path| format!("differs about {path}")));
        all
    }
}

/// What most say, if more than half of them say the same, and in what each of the others differs.
fn most(seen: &[(u8, Seen)]) -> (Option<Seen>, Vec<String>) {
    let all = seen.len();
    let like = |one: &Seen| seen.iter().filter(|(_, other)| other == one).count();
    let Some((_, said)) = seen.iter().find(|(_, one)| 2 * like(one) > all) else { return (None, Vec::new()) };
    let said = said.clone();
    let others = seen.iter().filter(|(_, one)| *one != said);
    let diverged = others.map(|(id, one)| format!("server {id} {}", one.differs(&said).join(", ")));
    let diverged = diverged.collect();
    (Some(said), diverged)
}

/// Asks all servers, and reads their logs.
pub(super) fn truth(ensemble: &Ensemble, timeout: std::time::Duration) -> Result<Truth> {
    let mut seen = Vec::new();
    for id in ensemble.ids() {
        let mut direct = Direct::connect(Arc::new(Mutex::new(vec![ensemble.addr(id)])), timeout)?;
        seen.push((id, Seen::read(&mut direct)?));
    }
    let (said, diverged) = most(&seen);
    let Seen { nodes, sequence, ephemerals } =
        said.ok_or_else(|| Error::program("an ensemble", "no two servers agree about what is there"))?;
    let places = ensemble.ids().into_iter().map(|id| (ensemble.data(id), ensemble.log(id)));
    let (log, gaps) = txnlog::read(&places.collect::<Vec<_>>())?;
    Ok(Truth { nodes, sequence, ephemerals, diverged, log, gaps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(paths: &[&str]) -> Seen {
        let sequence = paths.iter().map(|path| ((*path).to_owned(), "v".to_owned())).collect();
        Seen { sequence, ..Seen::default() }
    }

    #[test]
    fn what_most_servers_say_counts_and_who_differs_is_named() {
        let (said, diverged) =
            most(&[(1, with(&["/a"])), (2, with(&["/a", "/b"])), (3, with(&["/a", "/b"]))]);
        assert_eq!(said, Some(with(&["/a", "/b"])));
        assert_eq!(diverged, ["server 1 lacks /b"]);
        let (said, diverged) = most(&[(1, with(&["/a"])), (2, with(&["/a"]))]);
        assert_eq!((said, diverged.len()), (Some(with(&["/a"])), 0));
        assert_eq!(most(&[(1, with(&["/a"])), (2, with(&["/b"]))]).0, None);
        assert_eq!(most(&[(1, with(&["/a"])), (2, with(&["/b"])), (3, with(&[]))]).0, None);
    }
}
