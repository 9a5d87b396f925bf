//! Following the ensemble's own list of its servers (`follow_config`): a session of our own reads `/zookeeper/config` now and
//! then. The list of the configuration is where it begins; an answer without servers changes nothing, and servers that can't be reached
//! from here are no reason to leave those that can.

use super::{Attached, Ensemble, Health, Servers, Wish, attach, lock};
use crate::config::HostPort;
use crate::time::now;
use crate::zookeeper::config_node::{self, PATH};
use crate::zookeeper::wire::{ConnectRequest, build, reply, reply_body, reply_header};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// Between two looks; each one keeps the session alive as well.
const PAUSE: Duration = Duration::from_secs(5);
/// How soon a drain of its server is noticed.
const STEP: Duration = Duration::from_millis(200);
/// For one answer.
const BOUND: Duration = Duration::from_secs(3);
/// The time-out of our session, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;
/// A session that nobody can have: ids begin with the time at which a server was started (`SessionTrackerImpl.initializeNextSessionId`).
/// Servers answer a request for it, and open none.
pub(super) const NOBODY: i64 = 1;
/// The xid of our requests: one at a time.
const XID: i32 = 1;

/// For how long nobody can be reached before the servers of the configuration are tried again: longer than an election takes.
const AWAY: Duration = Duration::from_secs(3);

/// What the ensemble has said of its servers.
#[derive(Debug, Default)]
pub(super) struct Heard {
    list: Vec<HostPort>,
    /// None of them can be reached while others are listed: said once.
    unreached: bool,
}

impl Ensemble {
    /// The ensemble says that these are its servers.
    fn hear(&self, list: Vec<HostPort>) {
        lock(&self.heard).list = list;
        self.heed();
    }

    /// What was heard counts no more.
    pub(super) fn unhear(&self) {
        *lock(&self.heard) = Heard::default();
    }

    /// Goes by what the ensemble has said of its servers, as far as that can be reached.
    pub(super) fn heed(&self) {
        let mut heard = lock(&self.heard);
        let settings = self.settings();
        if heard.list.is_empty() || !settings.zookeeper.follow_config {
            return;
        }
        let (list, all_down) = self.read(|servers| {
            let down = |at: &HostPort| servers.get(at).is_some_and(|s| matches!(s.health, Health::Down(_)));
            (heeding(servers, &heard.list, &settings.zookeeper.servers, now()), heard.list.iter().all(down))
        });
        let unreached = all_down && list.len() > heard.list.len();
        if unreached && !heard.unreached {
            tracing::warn!(
                "none of the servers that /zookeeper/config names can be reached: others are listed as well"
            );
        }
        heard.unreached = unreached;
        self.follow(&list);
    }
}

/// The servers to go by where the ensemble itself names these (`heard`): none else once one of them is up. Until then those that are listed
/// stay, and when nobody has been reached for a while the `configured` ones are tried again.
fn heeding(servers: &Servers, heard: &[HostPort], configured: &[HostPort], now: Instant) -> Vec<HostPort> {
    let mut list = heard.to_vec();
    if heard.iter().any(|at| servers.get(at).is_some_and(|server| server.health == Health::Up)) {
        return list;
    }
    let away = servers.all_down_since().is_some_and(|since| since + AWAY <= now);
    let listed = servers.all().iter().map(|server| &server.at);
    for at in listed.chain(configured.iter().filter(|_| away)) {
        if !list.contains(at) {
            list.push(at.clone());
        }
    }
    list
}

/// Follows the list for as long as the process lives, while the configuration asks for it.
pub async fn follow_config(ensemble: Arc<Ensemble>) {
    loop {
        if !ensemble.settings().zookeeper.follow_config {
            ensemble.followed.notified().await;
            continue;
        }
        let wish = own_session();
        let mut attached = attach(Arc::clone(&ensemble), wish).await;
        while stays(&ensemble, &attached) {
            match tokio::time::timeout(BOUND, look(&mut attached)).await {
                Ok(Ok(servers)) if servers.is_empty() => {
                    tracing::debug!("/zookeeper/config names no client addresses: the list stays as it was");
                }
                Ok(Ok(servers)) => ensemble.hear(servers),
                Ok(Err(error)) => {
                    tracing::debug!(error, "/zookeeper/config can't be read");
                    break;
                }
                Err(_) => break,
            }
            let looked = now();
            while stays(&ensemble, &attached) && now() < looked + PAUSE {
                tokio::time::sleep(STEP).await;
            }
        }
        end(attached).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether there is still something to follow, from where it is: a server that is drained waits for nobody.
fn stays(ensemble: &Ensemble, attached: &Attached) -> bool {
    ensemble.settings().zookeeper.follow_config && !ensemble.is_left(attached.place.at())
}

async fn look(attached: &mut Attached) -> Result<Vec<HostPort>, String> {
    Ok(read_config(attached).await?.map(|data| config_node::client_addresses(&data)).unwrap_or_default())
}

/// What stands in `/zookeeper/config`; nothing where it may not be read, or isn't there.
pub(super) async fn read_config(attached: &mut Attached) -> Result<Option<Bytes>, String> {
    let Attached { stream, reader, .. } = attached;
    stream.write_all(&build::get_data(XID, PATH)).await.map_err(|error| error.to_string())?;
    loop {
        let frame = match poll_fn(|cx| reader.poll_frame(cx, stream)).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err("the server closed the connection".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let header = reply_header(&frame).map_err(|error| error.to_string())?;
        if header.xid != XID {
            continue;
        }
        if header.err != 0 {
            // Not allowed, or not there: no reason to begin a new session for the next look.
            tracing::debug!(err = header.err, "/zookeeper/config can't be read");
            return Ok(None);
        }
        let (data, _) = reply::data(reply_body(&frame)).map_err(|error| error.to_string())?;
        return Ok(Some(Bytes::copy_from_slice(data.unwrap_or_default())));
    }
}

/// The request for a session of our own, and how it ends.
pub(super) fn own_session() -> Wish {
    let request = session_request(0, TIMEOUT_MS);
    Wish { request, avoid: None, only_other: false, pause: Duration::ZERO }
}

/// The request for a session, 0 for a new one, with a time-out in milliseconds.
pub(super) fn session_request(session: i64, timeout: i32) -> Bytes {
    let request = ConnectRequest {
        protocol: 0,
        last_zxid: 0,
        timeout,
        session,
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    request.encode()
}

/// Ends a session of our own: nobody needs it any more.
pub(super) async fn end(mut attached: Attached) {
    // It is over with its connection, too.
    let _ = attached.stream.write_all(&build::close_session(XID)).await;
}

/// The same, and waits until the server has done it: it closes the connection then.
pub(super) async fn end_whole(mut attached: Attached) {
    let Attached { stream, reader, .. } = &mut attached;
    if stream.write_all(&build::close_session(XID)).await.is_ok() {
        while let Ok(Some(_)) = poll_fn(|cx| reader.poll_frame(cx, stream)).await {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn at(port: u16) -> HostPort {
        HostPort { host: "zk".to_owned(), port }
    }

    #[test]
    fn a_list_counts_once_somebody_on_it_is_reached() {
        let (configured, heard) = ([at(1), at(2)], [at(3), at(4)]);
        let (mut rng, now) = (StdRng::seed_from_u64(7), Instant::now());
        let mut servers = Servers::new(&configured, (Duration::ZERO, Duration::ZERO));
        servers.is_up(&at(1), now);
        let both = [at(3), at(4), at(1), at(2)];
        assert_eq!(heeding(&servers, &heard, &configured, now), both, "nobody has tried them");
        servers.follow(&both);
        for port in 3..=4 {
            servers.is_down(&at(port), now, &mut rng);
        }
        assert_eq!(
            heeding(&servers, &heard, &configured, now + AWAY),
            both,
            "one that can be reached is not left"
        );
        servers.is_up(&at(4), now);
        assert_eq!(heeding(&servers, &heard, &configured, now), heard);
        assert_eq!(heeding(&servers, &[at(1)], &configured, now), [at(1)], "it is known already");
    }

    #[test]
    fn the_configured_ones_are_tried_again_when_nobody_is_left() {
        let (configured, heard) = ([at(1), at(3)], [at(3), at(4)]);
        let (mut rng, now) = (StdRng::seed_from_u64(7), Instant::now());
        let mut servers = Servers::new(&heard, (Duration::ZERO, Duration::ZERO));
        servers.is_down(&at(3), now, &mut rng);
        assert_eq!(heeding(&servers, &heard, &configured, now + AWAY), heard, "one is not known to be down");
        servers.is_down(&at(4), now, &mut rng);
        assert_eq!(
            heeding(&servers, &heard, &configured, now + AWAY / 2),
            heard,
            "an election may be under way"
        );
        assert_eq!(heeding(&servers, &heard, &configured, now + AWAY), [at(3), at(4), at(1)]);
    }
}
