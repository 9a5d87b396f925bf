//! What a session costs that does nothing: there may be ten thousand of them.

use super::super::slot::Slot;
use super::super::{KEEP_SLOTS, Session};
use super::bed::Bed;
use crate::net::Stream;
use crate::zookeeper::session::upstream::Upstream;
use std::sync::Arc;

/// The bytes of a session's own structure, its connection to a server within.
const SESSION: usize = 2048;

#[tokio::test]
async fn a_session_is_small_and_its_task_smaller() {
    let bed = Bed::new(1).await;
    let (_client, ours) = tokio::io::duplex(64);
    let session = Session::new(Arc::clone(&bed.ensemble), Stream::Memory(ours), bed.holder.clone());
    let life = session.run();
    let (own, upstream, task) = (size_of::<Session>(), size_of::<Upstream>(), size_of_val(&life));
    assert!(own <= SESSION, "{own} bytes, {upstream} of them its connection");
    assert!(task <= 64, "the future of a session is {task} bytes: the session is within it again");
    assert!(KEEP_SLOTS * size_of::<Slot>() <= 32 * 1024, "{} bytes for each request", size_of::<Slot>());
}
