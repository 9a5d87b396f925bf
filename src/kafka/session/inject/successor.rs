//! Under what a partition begins anew behind a gap, and what is done where there is nothing.

use super::{PATIENCE, own};
use crate::kafka::cluster::{Cluster, Fetched, Producer};
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::split::Item;
use crate::kafka::wire::batch;
use bytes::Bytes;
use std::time::Instant;

/// The producer under which a partition begins anew behind a gap: the next epoch of the same. What is older may still lie in a broker's
/// socket, and would be appended behind what comes now if that came under an id that it has nothing to do with. One whose epochs
/// are used up is followed by another id, if there is one in time.
pub(super) fn successor(
    of: Producer,
    cluster: &Cluster,
    session: u64,
    asked: &mut Option<Instant>,
    now: Instant,
) -> Fetched {
    let next = of.bumped().filter(|_| !made(Mistake::OtherIdBehindGap));
    let next = if made(Mistake::EpochKept) { Some(of) } else { next };
    match next {
        Some(next) => Fetched::Producer(next),
        None => patiently(cluster.fetch_producer(session), asked, now),
    }
}

/// Records matter more than their identity: where there is none for so long, they go without until there is one. `asked`: since when
/// one has been wanted.
pub(super) fn patiently(fetched: Fetched, asked: &mut Option<Instant>, now: Instant) -> Fetched {
    match fetched {
        Fetched::Producer(_) => *asked = None,
        Fetched::Denied => {}
        Fetched::Wait => {
            let since = *asked.get_or_insert(now);
            if now.saturating_duration_since(since) > PATIENCE {
                return Fetched::Denied;
            }
        }
    }
    fetched
}

/// A batch that isn't in the log, and whose sequence is of no more use, goes on as its client sent it: without one.
pub(super) fn strip(item: &mut Item, records: Bytes) {
    item.request.set_bytes("records", None); // or there would be two of them
    let mut bare = own(records);
    let done = batch::stamp(&mut bare, Producer::NONE.id, Producer::NONE.epoch, -1).is_ok();
    debug_assert!(done, "it was stamped before");
    item.request.set_bytes("records", Some(bare.freeze()));
    (item.producer, item.restamp) = (Producer::NONE, false);
}
