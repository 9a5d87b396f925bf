//! What the gates of an upgrade need to know, asked of the servers: `srvr`, `mntr` and `/zookeeper/config`. One gathering at a
//! time, shared by all who ask, with a bound on its time. Nothing is asked unless somebody wants it.

use super::follow::{end, own_session, read_config};
use super::watch::ask_word;
use super::{Ensemble, attach, lock};
use crate::config::HostPort;
use crate::time::now;
use crate::zookeeper::config_node;
use crate::zookeeper::words::{Mode, read_mntr, read_srvr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// For what one server says.
const ANSWER: Duration = Duration::from_secs(3);
/// A leader at which syncs wait is looked at so often again, each time after this pause: less than [`ANSWER`] together.
const SYNC_LOOKS: usize = 8;
const SYNC_PAUSE: Duration = Duration::from_millis(60);
/// A session of our own costs the ensemble two writes, and its members change rarely.
const CONFIG_LASTS: Duration = Duration::from_secs(60);

/// What one server says of itself; an error says why it doesn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it is.
    pub mode: Option<Mode>,
    /// Its version.
    pub version: Option<String>,
    /// Followers that are in sync with it, if it leads and tells (`zk_synced_followers`).
    pub synced_followers: Option<u64>,
    /// Syncs that wait at it, likewise (`zk_pending_syncs`).
    pub pending_syncs: Option<u64>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the servers were asked.
    pub asked: Instant,
    /// Each server that is listed, by what it says.
    pub servers: Vec<(HostPort, Result<Said, String>)>,
    /// How many servers vote.
    pub voters: Result<usize, String>,
}

/// What lasts between two gatherings.
#[derive(Debug, Default)]
pub(super) struct Asking {
    voters: Option<(Instant, usize)>,
}

impl Ensemble {
    /// What was gathered last.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        lock(&self.facts).clone()
    }

    /// Gathers facts, unless those that are there are not older than `fresh`. Who comes while others gather waits for theirs.
    pub async fn gather(self: &Arc<Self>, fresh: Duration) -> Arc<Facts> {
        let mut asking = self.asking.lock().await;
        if let Some(facts) = self.facts()
            && now().saturating_duration_since(facts.asked) <= fresh
        {
            return facts;
        }
        let asked = now();
        let mut looks = JoinSet::new();
        let listed: Vec<HostPort> = self.read(|servers| servers.all().iter().map(|s| s.at.clone()).collect());
        for at in &listed {
            let (ensemble, at) = (Arc::clone(self), at.clone());
            looks.spawn(async move {
                let said = tokio::time::timeout(ANSWER, look(&ensemble, &at)).await;
                (at, said.unwrap_or_else(|_| Err("no answer within 3 s".to_owned())))
            });
        }
        let mut servers = Vec::new();
        while let Some(said) = looks.join_next().await {
            servers.extend(said);
        }
        servers.sort_by_key(|(at, _)| listed.iter().position(|other| other == at));
        let known = asking.voters.filter(|(at, _)| asked.saturating_duration_since(*at) <= CONFIG_LASTS);
        let voters = match known {
            Some((_, voters)) => Ok(voters),
            None => self.ask_voters().await,
        };
        if known.is_none() {
            asking.voters = voters.as_ref().ok().map(|voters| (asked, *voters));
        }
        let facts = Arc::new(Facts { asked, servers, voters });
        *lock(&self.facts) = Some(Arc::clone(&facts));
        facts
    }

    async fn ask_voters(self: &Arc<Self>) -> Result<usize, String> {
        let read = async {
            let mut attached = attach(Arc::clone(self), own_session()).await;
            let data = read_config(&mut attached).await;
            end(attached).await;
            data
        };
        let data = tokio::time::timeout(ANSWER, read).await;
        match data.unwrap_or_else(|_| Err("no answer within 3 s".to_owned()))? {
            None => Err("/zookeeper/config may not be read".to_owned()),
            Some(data) => match config_node::voters(&data) {
                0 => Err("/zookeeper/config names no servers".to_owned()),
                voters => Ok(voters),
            },
        }
    }
}

async fn look(ensemble: &Ensemble, at: &HostPort) -> Result<Said, String> {
    let srvr = ask_word(ensemble, at, *b"srvr").await?;
    let srvr = String::from_utf8_lossy(&srvr);
    let (version, mode) = read_srvr(&srvr);
    if srvr.contains("not in the whitelist") {
        // It is there, and says no more.
        return Ok(Said { mode: None, version: None, synced_followers: None, pending_syncs: None });
    }
    if mode.is_none() {
        return Err(srvr.lines().next().unwrap_or("it closed without a word").to_owned());
    }
    let (mut synced_followers, mut pending_syncs) = (None, None);
    if mode == Some(Mode::Leader) {
        let mntr = ask_word(ensemble, at, *b"mntr").await?;
        let mntr = String::from_utf8_lossy(&mntr);
        synced_followers = read_mntr(&mntr, "zk_synced_followers");
        pending_syncs = stays(read_mntr(&mntr, "zk_pending_syncs"), || async {
            let mntr = ask_word(ensemble, at, *b"mntr").await?;
            Ok::<_, String>(read_mntr(&String::from_utf8_lossy(&mntr), "zk_pending_syncs"))
        })
        .await?;
    }
    Ok(Said { mode, version: version.map(str::to_owned), synced_followers, pending_syncs })
}

/// How many of the syncs that wait stay: one that waits now is some client's `sync`, and is gone in a moment.
async fn stays<E, F: Future<Output = Result<Option<u64>, E>>>(
    mut pending: Option<u64>,
    mut again: impl FnMut() -> F,
) -> Result<Option<u64>, E> {
    for _ in 0..SYNC_LOOKS {
        let Some(known) = pending.filter(|pending| *pending > 0) else { break };
        tokio::time::sleep(SYNC_PAUSE).await;
        pending = again().await?.map(|now| now.min(known));
    }
    Ok(pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_syncs_that_stay_count() {
        for (answers, wanted, asked) in [
            (vec![Some(0)], Some(0), 0),
            (vec![None], None, 0),
            (vec![Some(1), Some(2), Some(0), Some(9)], Some(0), 2),
            (vec![Some(3); 20], Some(3), SYNC_LOOKS),
            (vec![Some(3), None], None, 1),
        ] {
            let mut answers = answers.into_iter();
            let first = answers.next().unwrap();
            let mut count = 0;
            let stayed = stays(first, || {
                count += 1;
                std::future::ready(Ok::<_, String>(answers.next().unwrap()))
            });
            assert_eq!(stayed.await, Ok(wanted));
            assert_eq!(count, asked);
        }
    }
}
