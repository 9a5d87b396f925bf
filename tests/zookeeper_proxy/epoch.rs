//! A leader that has made no transaction in its epoch says in its answers what no follower has: `epoch << 32`. None of them takes
//! a session that has seen it, until there is a transaction.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::then;
use crate::make::*;

const MOVED: &str = "kind=\"planned\",outcome=\"moved\"";
const STAYED: &str = "kind=\"planned\",outcome=\"stayed\"";

/// The first of three servers leads since the last moment; its client has seen nothing of it yet.
async fn new_leader() -> (Bed, Client) {
    let bed = Bed::with(3, "", "").await;
    bed.fake.create("/a");
    let mut client = bed.client_on(1).await;
    client.did(GET_DATA, &read("/a", true)).await;
    for id in [2, 3] {
        bed.fake.lag(id);
    }
    bed.fake.world().tree.zxid = 7 << 32;
    (bed, client)
}

async fn leaves(bed: Bed, mut client: Client, multis: usize) {
    bed.drained(1).await;
    assert_ne!(bed.on(&client), 1);
    assert_eq!(bed.fake.seen(MULTI).len(), multis);
    let counts = (
        bed.metric("zookeeper_session_moves_total", MOVED).await,
        bed.metric("zookeeper_session_moves_total", STAYED).await,
    );
    assert_eq!(counts, (1.0, 0.0));
    for id in [2, 3] {
        bed.fake.world().catch_up(id);
    }
    bed.fake.set("/a", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}

/// A ping shows nothing of the tree.
#[tokio::test]
async fn a_session_that_only_pinged_can_leave() {
    let (bed, mut client) = new_leader().await;
    client.pong().await;
    leaves(bed, client, 0).await;
}

/// A read shows what there is, so that the new server must have it: then a transaction is made.
#[tokio::test]
async fn a_session_that_has_read_leaves_behind_a_transaction() {
    let (bed, mut client) = new_leader().await;
    client.did(GET_DATA, &read("/a", true)).await;
    bed.fake.script(
        1,
        MULTI,
        then(|world| {
            world.catch_up(2);
            world.catch_up(3);
        }),
    );
    leaves(bed, client, 1).await;
}

/// If there has been one meanwhile, none is made.
#[tokio::test]
async fn nothing_is_written_where_something_was() {
    let (bed, mut client) = new_leader().await;
    client.did(GET_DATA, &read("/a", true)).await;
    for id in [2, 3] {
        bed.fake.world().catch_up(id);
    }
    bed.fake.create("/b");
    leaves(bed, client, 0).await;
}
