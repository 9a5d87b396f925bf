//! Following the ensemble's own list of its servers (`follow_config`): a session of our own reads `/zookeeper/config` now and
//! then. The list of the configuration is where it begins; an answer without servers changes nothing.

use super::{Attached, Ensemble, Wish, attach};
use crate::time::now;
use crate::zookeeper::config_node::{self, PATH};
use crate::zookeeper::wire::{ConnectRequest, build, reply, reply_body, reply_header};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
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
                Ok(Ok(servers)) => ensemble.follow(&servers),
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

async fn look(attached: &mut Attached) -> Result<Vec<crate::config::HostPort>, String> {
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
