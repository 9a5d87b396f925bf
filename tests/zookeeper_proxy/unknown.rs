//! Writes in flight when their server is lost: the fence, the evidence, the verdict.
//!
//! That the fence decides: 390 rounds of kill, freeze and leader loss on 3.8.7 and 3.9.6 without a violation. That kazoo and Java stay
//! connected at an in-band −4, and that go doesn't know it: seen with these libraries.

use crate::bed::Bed;
use crate::client::{Answer, Client, LONG};
use crate::fake::Act;
use crate::make::*;
use bytes::Bytes;
use evenkeel::zookeeper::wire::reply;

/// Two servers, and a client on the second one with two nodes.
async fn two(cluster: &str, read_only: Option<bool>) -> (Bed, Client) {
    let bed = Bed::with(2, "", cluster).await;
    bed.fake.create("/a");
    bed.fake.create("/d");
    bed.fake.world().tree.set_config("server.1=h:1:2:participant;0.0.0.0:9\nversion=ZXID");
    let mut client = bed.client_of(2, LONG, read_only).await;
    client.did(SYNC, &path("/")).await;
    bed.fake.forget();
    (bed, client)
}

/// What is sent in flight, with its server lost before or behind it.
async fn lost(code: i32, payload: &Bytes, act: Act) -> (Bed, Client, Answer) {
    let (bed, mut client) = two("", Some(false)).await;
    bed.fake.script(2, code, act);
    let answer = client.ask(code, payload).await;
    (bed, client, answer)
}

/// The fence goes first, then what is asked, then what was not done; with exactly these bytes.
#[tokio::test]
async fn first_the_fence() {
    let (bed, client, answer) = lost(CREATE, &create("/a/x", "", 0), Act::Close).await;
    assert_eq!(answer.err, 0);
    let order = bed.fake.codes();
    assert_eq!(order[..2], [CREATE, MULTI], "{order:?}");
    assert_eq!(order.last(), Some(&CREATE));
    assert!(order[2..order.len() - 1].iter().all(|code| [EXISTS, GET_DATA, 6, GET_CHILDREN2].contains(code)));
    let fence = &bed.fake.seen(MULTI)[0];
    assert_eq!(fence.frame[4..], [0, 0, 0, 14, 255, 255, 255, 255, 1, 255, 255, 255, 255]);
    assert_eq!((fence.server, fence.xid < -8), (1, true));
    assert_eq!(bed.metric("zookeeper_fences_total", "\"stands\"").await, 1.0);
    assert_eq!(bed.metric("zookeeper_readbacks_total", "\"not_applied\"").await, 1.0);
    bed.end(client).await;
}

/// Not done, and nothing has touched the node since: it goes again, once.
#[tokio::test]
async fn what_was_not_done_is_done_now() {
    let rounds = [
        (CREATE, create("/a/x", "", 0)),
        (CREATE, create("/a/e", "", EPHEMERAL)),
        (CREATE2, create("/a/s", "", SEQUENTIAL)),
        (CREATE, create("/a/es", "", SEQUENTIAL | EPHEMERAL)),
        (SET_DATA, set_data("/a", "new", 0)),
        (SET_DATA, set_data("/a", "new", -1)),
        (SET_ACL, set_acl("/a", 0)),
        (DELETE, delete("/d", 0)),
        (MULTI, multi(&[(CREATE, create("/a/m", "", 0)), (SET_DATA, set_data("/d", "x", 0))])),
        (MULTI, multi(&[(CHECK, path_and("/a", 0))])),
        (RECONFIG, reconfig("server.2=h:1:2:participant;0.0.0.0:9")),
    ];
    for (code, payload) in rounds {
        let (bed, client, answer) = lost(code, &payload, Act::Close).await;
        assert_eq!(answer.err, 0, "{code} {payload:?}");
        assert_eq!(bed.fake.seen_of(code, answer.xid).len(), 2, "{code} {payload:?}");
        bed.end(client).await;
    }
}

/// A client that comes with a session that it had: what the session had made before is not the doing of its first write here, whether
/// the client has seen it or not.
#[tokio::test]
async fn what_was_made_before_the_client_came_back_proves_nothing() {
    let rounds = [
        (create("/a/e", "old", EPHEMERAL), create("/a/e", "new", EPHEMERAL)),
        (create("/a/s-", "old", SEQUENTIAL | EPHEMERAL), create("/a/s-", "new", SEQUENTIAL | EPHEMERAL)),
    ];
    for (old, new) in rounds {
        for has_seen in [true, false] {
            let (bed, mut client) = two("", Some(false)).await;
            client.did(CREATE, &old).await;
            let mut hello = client.again();
            hello.last_zxid = if has_seen { hello.last_zxid } else { 0 };
            drop(client);
            let mut client = Client::connect(bed.listen).await;
            client.greet(hello).await.unwrap();
            bed.fake.script(bed.on(&client), CREATE, Act::Close);
            let answer = client.ask(CREATE, &new).await;
            let sequential = bed.fake.stat("/a/e").is_none();
            let expected = match (has_seen, sequential) {
                (true, true) => 0, // not done: it is done now, and is another node
                (true, false) => -110,
                (false, _) => -4,
            };
            assert_eq!(answer.err, expected, "{has_seen} {sequential}");
            if answer.err == 0 {
                assert_eq!(reply::path(&answer.body).unwrap().as_bytes(), b"/a/s-0000000001");
            }
            // Once a write is answered, all that the session did before is behind.
            client.did(SET_DATA, &set_data("/d", "x", -1)).await;
            bed.fake.script(bed.on(&client), CREATE, Act::ApplyThenClose);
            client.did(CREATE, &create("/a/f", "", EPHEMERAL)).await;
            bed.end(client).await;
        }
    }
}

/// Done, and it can be proved: the client gets the answer that its server would have given.
#[tokio::test]
async fn what_was_done_is_answered() {
    let curator = "/a/_c_0a8b7c6d-1234-4abc-9def-0123456789ab-lock-";
    let rounds = [
        (CREATE, create("/a/e", "x", EPHEMERAL), "/a/e"),
        (CREATE2, create("/a/e", "x", EPHEMERAL), "/a/e"),
        (CREATE, create("/a/es-", "", SEQUENTIAL | EPHEMERAL), "/a/es-0000000000"),
        (CREATE, create(curator, "", SEQUENTIAL), &format!("{curator}0000000000")),
        (
            MULTI,
            multi(&[(CREATE, create("/a/e", "", EPHEMERAL)), (SET_DATA, set_data("/d", "x", 0))]),
            "/a/e",
        ),
    ];
    for (code, payload, at) in rounds {
        let (bed, client, answer) = lost(code, &payload, Act::ApplyThenClose).await;
        let what = format!("{code} {at}");
        assert_eq!(answer.err, 0, "{what}");
        assert_eq!(bed.fake.seen_of(code, answer.xid).len(), 1, "{what}: not sent again");
        let stat = bed.fake.stat(at).unwrap();
        assert!(answer.zxid >= stat.mzxid, "{what}");
        match code {
            CREATE => assert_eq!(reply::path(&answer.body).unwrap().as_bytes(), at.as_bytes()),
            CREATE2 => {
                let (path, told) = reply::path_and_stat(&answer.body).unwrap();
                assert_eq!((path.as_bytes(), told), (at.as_bytes(), stat));
            }
            _ => assert_eq!(answer.body[..9], [0, 0, 0, 1, 0, 0, 0, 0, 0], "{what}: a create's result first"),
        }
        assert_eq!(bed.metric("zookeeper_readbacks_total", "\"applied\"").await, 1.0, "{what}");
        bed.end(client).await;
    }
}

/// A verdict knows of a write that came after an event which the lost server never told: the event is told all the same.
#[tokio::test]
async fn a_verdict_hides_no_event() {
    let (bed, mut client) = two("", Some(false)).await;
    client.did(GET_DATA, &read("/d", true)).await;
    bed.fake.lag(2);
    bed.fake.set("/d", "x");
    bed.fake.script(2, CREATE, Act::ApplyThenClose);
    let answer = client.ask(CREATE, &create("/a/e", "new", EPHEMERAL)).await;
    assert_eq!((answer.err, bed.fake.seen_of(CREATE, answer.xid).len()), (0, 1));
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}

/// Never done and never to be done, as it stands: the error that the server would give.
#[tokio::test]
async fn what_was_rejected_is_answered() {
    let rounds = [
        (CREATE, create("/a", "", 0), -110),
        (DELETE, delete("/d", 7), -103),
        (SET_DATA, set_data("/a", "x", 7), -103),
        (SET_DATA, set_data("/a/nowhere", "x", -1), -101),
        (CREATE, create("/nowhere/x", "", 0), -101),
    ];
    for (code, payload, err) in rounds {
        for act in [Act::Close, Act::ApplyThenClose] {
            let (bed, client, answer) = lost(code, &payload, act).await;
            assert_eq!((answer.err, answer.body.len()), (err, 0), "{code}");
            bed.end(client).await;
        }
    }
}

/// Done by whom, nobody can tell: −4 for that request, and the connection goes on.
#[tokio::test]
async fn what_cant_be_known_is_told_so() {
    let rounds = [
        (CREATE, create("/a/x", "", 0)),
        (CREATE, create("/a/s-", "", SEQUENTIAL)),
        (DELETE, delete("/d", 0)),
        (SET_DATA, set_data("/a", "x", -1)),
        (SET_DATA, set_data("/a", "x", 0)),
        (SET_ACL, set_acl("/a", 0)),
        (MULTI, multi(&[(CREATE, create("/a/m", "", 0)), (SET_DATA, set_data("/d", "x", 0))])),
        (RECONFIG, reconfig("server.2=h:1:2:participant;0.0.0.0:9")),
        (MULTI, multi(&[(DELETE, delete("/d", 0))])),
    ];
    for (code, payload) in rounds {
        let (bed, mut client, answer) = lost(code, &payload, Act::ApplyThenClose).await;
        assert_eq!((answer.err, answer.body.len()), (-4, 0), "{code}");
        assert_eq!(bed.fake.seen_of(code, answer.xid).len(), 1, "{code}: never sent again");
        client.did(GET_DATA, &read("/a", false)).await;
        client.pong().await;
        assert_eq!(bed.metric("unknown_outcomes_total", "\"error\"").await, 1.0);
        bed.end(client).await;
    }
}

/// Two clients raise a counter by compare-and-set: both write the same bytes over the same version, and one of them does it. Whose
/// server died without doing it must not be told that it did.
#[tokio::test]
async fn what_a_rival_did_is_nobody_elses_deed() {
    let (bed, mut client) = two("", Some(false)).await;
    let gate = crate::fake::gate();
    bed.fake.script(2, SET_DATA, Act::Close);
    bed.fake.script(1, MULTI, Act::Wait(gate.clone()));
    client.send(SET_DATA, &set_data("/a", "11", 0)).await;
    crate::bed::eventually("the fence is asked", || bed.fake.seen(MULTI).len() == 1).await;
    bed.fake.set("/a", "11");
    gate.add_permits(1);
    assert_eq!(client.answer().await.err, -4);
    assert_eq!(bed.fake.seen(SET_DATA).len(), 1, "never sent again");
    assert_eq!(bed.fake.stat("/a").unwrap().version, 1);
    bed.end(client).await;
}

/// A library that doesn't know −4, or an operator who doesn't want it: the connection is closed instead.
#[tokio::test]
async fn who_cant_be_told_is_closed() {
    for (cluster, read_only) in [("", None), ("unknown_outcome = \"close\"", Some(false))] {
        let (bed, mut client) = two(cluster, read_only).await;
        bed.fake.script(2, DELETE, Act::ApplyThenClose);
        client.send(GET_DATA, &read("/a", false)).await;
        client.send(DELETE, &delete("/d", 0)).await;
        client.send(GET_DATA, &read("/a", false)).await;
        assert_eq!(client.answer().await.err, 0, "what came before is answered");
        client.closed().await;
        assert_eq!(bed.metric("unknown_outcomes_total", "\"closed\"").await, 1.0);
        assert_eq!(bed.metric("zookeeper_lease_closes_total", "unknown_outcome").await, 1.0);
        bed.end(client).await;
    }
}

/// Of several such operations under way the first ends the connection, and that is one connection.
#[tokio::test]
async fn a_connection_is_closed_once() {
    let (bed, mut client) = two("", None).await;
    let gate = crate::fake::gate();
    bed.fake.script(2, DELETE, Act::AnswerLater(gate.clone()));
    client.send(DELETE, &delete("/d", 0)).await;
    client.send(CREATE, &create("/a/s-", "", SEQUENTIAL)).await;
    client.send(CREATE, &create("/a/s-", "", SEQUENTIAL)).await;
    crate::bed::eventually("all are there", || bed.fake.seen(CREATE).len() == 2).await;
    // The node is gone, and its parent has another child: by whom, nobody can tell.
    bed.fake.write(CREATE, &create("/a/s-", "", SEQUENTIAL));
    bed.fake.down(2).await;
    client.closed().await;
    assert!(bed.metric("unknown_outcomes_total", "\"closed\"").await >= 2.0, "several are unknown");
    assert_eq!(bed.metric("zookeeper_lease_closes_total", "unknown_outcome").await, 1.0);
    bed.end(client).await;
}

/// Many at once: those that were done, up to some one, and none behind it. Each is answered in its order, none is done twice.
#[tokio::test]
async fn a_pipeline_is_done_as_it_was_sent() {
    let (bed, mut client) = two("", Some(false)).await;
    for act in [Act::Serve, Act::Serve, Act::ApplyThenClose] {
        bed.fake.script(2, CREATE, act);
    }
    for round in 0..8 {
        client.send(CREATE, &create(&format!("/a/n{round}"), "", EPHEMERAL)).await;
        client.send(GET_DATA, &read("/a", false)).await;
    }
    for _ in 0..16 {
        assert_eq!(client.answer().await.err, 0);
    }
    assert_eq!(bed.fake.world().tree.children("/a").len(), 8);
    let zxids: Vec<i64> = (0..8).map(|n| bed.fake.stat(&format!("/a/n{n}")).unwrap().czxid).collect();
    assert!(zxids.is_sorted(), "{zxids:?}");
    let times: Vec<usize> = (0..8).map(|n| bed.fake.seen_of(CREATE, 2 * n + 2).len()).collect();
    assert_eq!(times[..3], [1, 1, 1], "what was done is not sent again: {times:?}");
    assert!(times[4..].iter().all(|times| *times <= 2), "{times:?}");
    bed.end(client).await;
}

/// The next server is lost as well, before the fence stands, or while it is asked: all over again, and nothing is done twice.
#[tokio::test]
async fn the_fence_itself_may_be_lost() {
    for code in [MULTI, EXISTS, GET_DATA] {
        let (bed, mut client) = two("", Some(false)).await;
        bed.fake.script(2, CREATE, Act::ApplyThenClose);
        bed.fake.script(1, code, Act::Close);
        let made = client.did(CREATE, &create("/a/e", "new", EPHEMERAL)).await;
        assert_eq!(reply::path(&made.body).unwrap().as_bytes(), b"/a/e");
        assert_eq!(bed.fake.seen(CREATE).len(), 1);
        if code != GET_DATA {
            assert_eq!(bed.fake.seen(MULTI).len(), 2, "a fence on each");
        }
        bed.end(client).await;
    }
}

/// What comes after is in order with what was in flight, and waits for its verdict.
#[tokio::test]
async fn later_requests_wait_for_the_verdict() {
    let (bed, mut client) = two("", Some(false)).await;
    let gate = crate::fake::gate();
    bed.fake.script(2, CREATE, Act::Close);
    bed.fake.script(1, MULTI, Act::Wait(gate.clone()));
    client.send(CREATE, &create("/a/x", "", 0)).await;
    client.send(GET_CHILDREN, &read("/a", false)).await;
    crate::bed::eventually("the fence is asked", || bed.fake.seen(MULTI).len() == 1).await;
    client.send(SET_DATA, &set_data("/a/x", "x", 0)).await;
    bed.holding(3).await;
    assert!(bed.fake.seen(SET_DATA).is_empty());
    gate.add_permits(1);
    assert_eq!(client.answer().await.err, 0);
    assert_eq!(
        reply::names(&client.answer().await.body).unwrap().len(),
        1,
        "it sees what was sent before it"
    );
    assert_eq!(client.answer().await.err, 0);
    bed.end(client).await;
}
