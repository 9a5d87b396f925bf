//! The server is lost: what was not sent, what only reads, the session itself, its authentications.
//!
//! Seen on 3.8.0, 3.8.7 and 3.9.6: what a reattach is answered (the same session; time-out 0 when it is over), and the end of
//! the old connection at a write once a session has moved. −118 in an answer is what that error's code stands for; servers close instead. Another session's id is what `ClickHouse` Keeper hands out.

use crate::bed::{Bed, eventually};
use crate::client::{Client, LONG};
use crate::fake::{Act, Attach};
use crate::make::*;
use std::time::Duration;

/// Two servers, and a client on the second one that has seen the newest zxid.
async fn two() -> (Bed, Client) {
    let bed = Bed::new(2).await;
    let mut client = bed.client_on(2).await;
    client.did(SYNC, &path("/")).await;
    (bed, client)
}

/// Idle: the session is elsewhere, and the client has seen nothing of it.
#[tokio::test]
async fn an_idle_session_goes_to_another_server() {
    let (bed, mut client) = two().await;
    let last = client.zxid;
    bed.fake.hang_up(2);
    eventually("attached elsewhere", || bed.fake.place(client.session) == Some(1)).await;
    let attach = bed.fake.attaches().pop().unwrap();
    let request = attach.request;
    assert_eq!(attach.server, 1);
    assert_eq!((request.session, request.password.clone()), (client.session, client.password.clone()));
    assert_eq!(
        (request.timeout, request.last_zxid),
        (LONG, last),
        "the original time-out, the zxid it was shown"
    );
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    client.pong().await;
    assert_eq!(
        bed.metric("zookeeper_session_moves_total", "kind=\"unplanned\",outcome=\"moved\"").await,
        1.0
    );
    bed.end(client).await;
}

/// Requests that come while there is no server wait, and go once each, in their order.
#[tokio::test]
async fn what_was_not_sent_is_sent_once() {
    let (bed, mut client) = two().await;
    bed.fake.all_down().await;
    for round in 0..10 {
        client.send(CREATE, &create(&format!("/n{round}"), "", 0)).await;
        client.send(GET_CHILDREN, &read("/", false)).await;
    }
    bed.holding(20).await;
    bed.fake.forget();
    bed.fake.all_up().await;
    for _ in 0..20 {
        assert_eq!(client.answer().await.err, 0);
    }
    let expected: Vec<i32> = [CREATE, GET_CHILDREN].repeat(10);
    assert_eq!(bed.fake.codes(), expected, "once each, in order, and no fence was needed");
    bed.end(client).await;
}

/// A server that reads no more has taken some writes and not others; those that it never got whole are simply sent.
#[tokio::test]
async fn half_sent_is_not_sent() {
    let (bed, mut client) = two().await;
    client.did(CREATE, &create("/a", "", 0)).await;
    bed.fake.freeze(2, true);
    let data = "x".repeat(900_000);
    let writer = async {
        for version in 0..12 {
            client.send(SET_DATA, &set_data("/a", &data, version)).await;
        }
    };
    // It blocks until the server is gone: everything in between is full.
    let gone = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        bed.fake.down(2).await;
        bed.fake.freeze(2, false);
    };
    tokio::join!(writer, gone);
    for _ in 0..12 {
        assert_eq!(client.answer().await.err, 0);
    }
    assert_eq!(bed.fake.stat("/a").unwrap().version, 12, "each once");
    assert!(bed.metric("replays_total", "\"not_sent\"").await >= 1.0);
    bed.end(client).await;
}

/// Reads in flight go again, watches and all; the client gets one answer each.
#[tokio::test]
async fn reads_go_again_with_their_watches() {
    let (bed, mut client) = two().await;
    bed.fake.create("/a");
    bed.fake.script(2, GET_DATA, Act::Close);
    let reads = [(GET_DATA, "/a"), (GET_CHILDREN, "/a"), (EXISTS, "/b"), (SYNC, "/")];
    for (code, at) in reads {
        let payload = if code == SYNC { path(at) } else { read(at, true) };
        client.send(code, &payload).await;
    }
    for (code, _) in reads {
        assert_eq!(client.answer().await.err, if code == EXISTS { -101 } else { 0 });
    }
    assert!(bed.fake.seen(MULTI).is_empty(), "no fence for reads");
    let watches = bed.fake.watches(client.session);
    assert_eq!((bed.on(&client), watches.data.len(), watches.child.len()), (1, 2, 1));
    bed.fake.set("/a", "x");
    bed.fake.create("/b");
    client.until("both events", |client| client.events.len() == 2).await;
    bed.end(client).await;
}

/// Somebody else has attached the session elsewhere: a write ends this connection, is found not to be done, and goes where the
/// session is brought back to.
#[tokio::test]
async fn a_session_that_was_taken_away_is_taken_back() {
    let (bed, mut client) = two().await;
    let mut other = Client::connect(bed.fake.addr(1)).await;
    other.greet(client.again()).await.unwrap();
    assert_eq!(bed.on(&client), 1);
    client.did(GET_DATA, &read("/", false)).await;
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    assert_eq!((bed.fake.seen(CREATE).len(), bed.fake.seen(MULTI).len()), (2, 1));
    assert_eq!(bed.fake.stat("/a").unwrap().ephemeral_owner, client.session);
    drop(other);
    bed.end(client).await;
}

/// −118: this connection has lost the session to another one, and the write was refused. It goes again where the session is.
#[tokio::test]
async fn a_moved_session_is_followed() {
    for code in [CREATE, SYNC] {
        let (bed, mut client) = two().await;
        bed.fake.script(2, code, Act::Fail(-118));
        let payload = if code == SYNC { path("/") } else { create("/a", "", 0) };
        client.did(code, &payload).await;
        assert_eq!(bed.fake.stat("/a").is_some(), code == CREATE);
        client.did(GET_DATA, &read("/", false)).await;
        bed.end(client).await;
    }
}

/// The session is over by the time it is attached again: the end; coming back the client is told so by the server.
#[tokio::test]
async fn a_session_that_expired_meanwhile_ends() {
    let (bed, mut client) = two().await;
    bed.fake.all_down().await;
    client.send(CREATE, &create("/a", "", 0)).await;
    bed.holding(1).await;
    bed.fake.expire(client.session);
    bed.fake.all_up().await;
    client.closed().await;
    assert_eq!(lost(&bed).await, (1.0, "expired"));
    let mut again = Client::connect(bed.listen).await;
    again.greet(client.again()).await.unwrap();
    assert_eq!((again.session, again.timeout), (0, 0));
    again.closed().await;
    assert!(bed.fake.stat("/a").is_none());
    bed.end(client).await;
}

/// The client goes while its session looks for a server.
#[tokio::test]
async fn a_client_that_goes_meanwhile_is_counted_so() {
    let (bed, mut client) = two().await;
    bed.fake.all_down().await;
    client.send(CREATE, &create("/a", "", 0)).await;
    bed.holding(1).await;
    bed.end(client).await;
    assert_eq!(lost(&bed).await, (1.0, "client_gone"));
}

/// How many moves have ended, and how: one that is named, of those that were lost.
async fn lost(bed: &Bed) -> (f64, &'static str) {
    let mut how = "";
    for outcome in ["moved", "stayed", "expired", "lease_over", "closed", "client_gone"] {
        let label = format!("kind=\"unplanned\",outcome=\"{outcome}\"");
        if bed.metric("zookeeper_session_moves_total", &label).await > 0.0 {
            how = outcome;
        }
    }
    (bed.metric("zookeeper_session_moves_total", "").await, how)
}

/// Another session's id, or a shorter time-out: no reattach. The client has to begin anew.
#[tokio::test]
async fn what_is_not_the_same_session_ends_the_connection() {
    for (attach, reason) in
        [(Attach::Session(0x99), "other_session"), (Attach::Timeout(LONG / 2), "timeout_shortened")]
    {
        let (bed, mut client) = two().await;
        bed.fake.attach(1, attach);
        bed.fake.hang_up(2);
        client.closed().await;
        assert_eq!(bed.metric("zookeeper_lease_closes_total", reason).await, 1.0);
        assert_eq!(lost(&bed).await, (1.0, "closed"));
        bed.end(client).await;
    }
}

/// A closeSession in flight: done, as the reattach shows, or sent again.
#[tokio::test]
async fn the_end_of_a_session_is_decided_by_the_reattach() {
    for act in [Act::ApplyThenClose, Act::Close] {
        let (bed, mut client) = two().await;
        client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
        bed.fake.script(2, CLOSE_SESSION, act.clone());
        client.send(GET_DATA, &read("/a", false)).await;
        client.send(CLOSE_SESSION, &[]).await;
        assert_eq!(client.answer().await.err, 0);
        assert_eq!(client.answer().await.err, 0, "it is over");
        client.closed().await;
        assert!(bed.fake.stat("/a").is_none());
        let times = if matches!(act, Act::Close) { 2 } else { 1 };
        assert_eq!(bed.fake.seen(CLOSE_SESSION).len(), times);
        bed.end(client).await;
    }
}

/// Authentications are repeated on the next server before anything else, and answered to nobody.
#[tokio::test]
async fn authentications_go_along() {
    let (bed, mut client) = two().await;
    for (xid, who) in [(-4, "a:1"), (77, "b:2"), (-4, "a:1")] {
        client.send_as(xid, AUTH, &auth(who)).await;
    }
    client.until("three answers", |client| client.authenticated.len() == 3).await;
    bed.fake.forget();
    bed.fake.script(2, GET_DATA, Act::Close);
    client.did(GET_DATA, &read("/", false)).await;
    assert_eq!(bed.fake.codes(), [GET_DATA, AUTH, AUTH, GET_DATA], "each identity once");
    client.send_as(5, AUTH, &auth("c:3")).await;
    client.until("its own answer", |client| client.authenticated.len() == 4).await;
    client.pong().await;
    assert_eq!(client.authenticated.last(), Some(&(5, 0)), "and no other");
    bed.end(client).await;
}

/// What is kept of them has a bound; a client with more has its server's answers, and its connection ends with its server's.
#[tokio::test]
async fn more_authentications_than_are_kept_end_with_their_server() {
    let many: Vec<String> = (0..65).map(|n| format!("u{n}:1")).collect();
    let large: Vec<String> = (0..2).map(|n| format!("u{n}:{}", "x".repeat(40_000))).collect();
    for (identities, is_kept) in [(&many[..64], true), (&many, false), (&large[..1], true), (&large, false)] {
        let (bed, mut client) = two().await;
        for who in identities.iter().chain(&identities[..1]) {
            client.send_as(-4, AUTH, &auth(who)).await;
        }
        let count = identities.len() + 1;
        client.until("all answers", |client| client.authenticated.len() == count).await;
        client.did(GET_DATA, &read("/", false)).await;
        bed.fake.forget();
        bed.fake.script(2, GET_DATA, Act::Close);
        if is_kept {
            client.did(GET_DATA, &read("/", false)).await;
            assert_eq!(bed.fake.seen(AUTH).len(), identities.len());
        } else {
            client.send(GET_DATA, &read("/", false)).await;
            client.closed().await;
            assert!(bed.fake.seen(AUTH).is_empty());
        }
        bed.end(client).await;
    }
}

/// One that was in flight goes again, for one answer.
#[tokio::test]
async fn an_authentication_in_flight_goes_again() {
    for act in [Act::Close, Act::ApplyThenClose] {
        let (bed, mut client) = two().await;
        bed.fake.script(2, AUTH, act);
        client.send_as(-4, AUTH, &auth("a:1")).await;
        client.until("the answer", |client| client.authenticated == [(-4, 0)]).await;
        client.did(GET_DATA, &read("/", false)).await;
        assert_eq!((client.authenticated.len(), bed.fake.seen(AUTH).len()), (1, 2));
        bed.end(client).await;
    }
}

/// What the old server took and the new one does not: the client must not go on with less than it was given.
#[tokio::test]
async fn an_authentication_that_is_refused_later_ends_the_connection() {
    let (bed, mut client) = two().await;
    client.send_as(-4, AUTH, &auth("a:1")).await;
    client.until("the answer", |client| client.authenticated.len() == 1).await;
    bed.fake.script(1, AUTH, Act::Fail(-115));
    bed.fake.hang_up(2);
    client.closed().await;
    bed.end(client).await;
}

/// SASL can't be repeated by anyone but the client.
#[tokio::test]
async fn sasl_ends_with_its_server() {
    for in_flight in [false, true] {
        let (bed, mut client) = two().await;
        if in_flight {
            bed.fake.script(2, SASL, Act::Close);
            client.send(SASL, &sasl()).await;
        } else {
            client.send_as(3, SASL, &sasl()).await;
            client.until("the answer", |client| client.authenticated == [(3, 0)]).await;
            bed.fake.hang_up(2);
        }
        client.closed().await;
        assert_eq!(bed.metric("zookeeper_lease_closes_total", "\"auth\"").await, 1.0);
        bed.end(client).await;
    }
}

/// A server that is stopped closes nothing: it is given up when pings aren't answered, and the next one serves.
#[tokio::test]
async fn a_frozen_server_is_left() {
    let bed = Bed::new(2).await;
    let mut client = bed.client_of(2, 9000, Some(false)).await;
    client.did(SYNC, &path("/")).await;
    bed.fake.freeze(2, true);
    client.send(GET_DATA, &read("/", false)).await;
    assert_eq!(client.answer().await.err, 0);
    assert_eq!(bed.on(&client), 1);
    bed.fake.freeze(2, false);
    bed.end(client).await;
}

/// Bypass: a lost server is the client's loss, as without Evenkeel.
#[tokio::test]
async fn bypass_passes_the_loss_on() {
    let (bed, mut client) = two().await;
    assert_eq!(bed.http("PUT", "/v1/clusters/z/bypass").await.0, 200);
    client.did(GET_DATA, &read("/", false)).await;
    bed.fake.hang_up(2);
    client.closed().await;
    assert_eq!(bed.http("DELETE", "/v1/clusters/z/bypass").await.0, 200);
    let mut again = Client::connect(bed.listen).await;
    again.greet(client.again()).await.unwrap();
    assert_eq!(again.session, client.session);
    bed.fake.hang_up(bed.on(&again));
    again.did(GET_DATA, &read("/", false)).await;
    drop(again);
    bed.end(client).await;
}
