//! Connecting: the client's own `ConnectRequest` and the server's own answer.
//!
//! Seen on 3.8.0, 3.8.7 and 3.9.6: the mirrored last byte, the silent accept of a server that is starting, the close without a
//! word, the answer to an expired session.

use crate::bed::Bed;
use crate::client::{Client, LONG, PATIENCE, hello};
use crate::fake::{Attach, Fake};
use crate::make::*;
use evenkeel::zookeeper::wire::ConnectRequest;
use std::time::{Duration, Instant};

/// The server's answer as it came, in either length; a read-only server is never asked for.
#[tokio::test]
async fn the_answer_is_the_servers_own() {
    let bed = Bed::new(1).await;
    for (read_only, request_length, length) in [(None, 44, 36), (Some(false), 45, 37), (Some(true), 45, 37)] {
        let mut client = Client::connect(bed.listen).await;
        let frame = client.greet(hello(LONG, read_only)).await.unwrap();
        assert_eq!(frame.len(), length);
        let seen = bed.fake.attaches().pop().unwrap();
        assert_eq!(seen.length, request_length);
        assert_eq!(seen.request, hello(LONG, read_only.map(|_| false)), "as it came, but for the flag");
        let known = bed.fake.world().sessions[&client.session].password.clone();
        assert_eq!((client.password.clone(), client.timeout), (known, LONG));
        client.did(EXISTS, &read("/", false)).await;
        bed.end(client).await;
    }
}

/// What the server grants is what the client is told and lives by, however little it asked for.
#[tokio::test]
async fn a_longer_grant_is_the_clients() {
    let bed = Bed::new(1).await;
    bed.fake.world().timeouts = (6000, 60_000);
    for asked in [0, 1, 300] {
        let mut client = Client::open(bed.listen, asked, Some(false)).await;
        assert_eq!(client.timeout, 6000, "asked for {asked}");
        // Silent for longer than it asked for, and far from what it was granted.
        assert!(client.is_quiet_for(Duration::from_millis(900)).await, "asked for {asked}: closed");
        client.did(EXISTS, &read("/", false)).await;
        client.pong().await;
        bed.end(client).await;
    }
}

/// A session that is over, or a wrong password: the server's own word, and the end.
#[tokio::test]
async fn expiry_is_the_servers_word() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    bed.fake.expire(client.session);
    let wrong = ConnectRequest { session: 0x1234, ..client.again() };
    for request in [client.again(), wrong] {
        let mut again = Client::connect(bed.listen).await;
        let frame = again.greet(request).await.unwrap();
        assert_eq!((frame.len(), again.session, again.timeout), (37, 0, 0));
        again.closed().await;
    }
    assert_eq!(bed.metric("zookeeper_sessions_expired_total", "").await, 2.0);
    bed.end(client).await;
}

/// A client comes back with its session: the same one, and the zxid that it has seen.
#[tokio::test]
async fn a_session_is_resumed() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    let mut again = Client::connect(bed.listen).await;
    let request = client.again();
    drop(client);
    again.greet(request.clone()).await.unwrap();
    assert_eq!((again.session, again.timeout), (request.session, LONG));
    assert_eq!(bed.fake.attaches().pop().unwrap().request, request);
    again.did(EXISTS, &read("/a", false)).await;
    bed.end(again).await;
}

/// A server that accepts and says nothing, and one that closes without a word: the next one, with one question under way.
#[tokio::test]
async fn a_server_that_does_not_answer_is_passed_over() {
    for odd in [Attach::Silent, Attach::Close] {
        let bed = Bed::with(2, "", "attach_timeout = \"300ms\"").await;
        bed.fake.always(1, Some(odd));
        for _ in 0..3 {
            let began = Instant::now();
            let mut client = bed.client().await;
            assert_eq!(bed.on(&client), 2);
            assert!(began.elapsed() < PATIENCE / 3);
            client.did(EXISTS, &read("/", false)).await;
            bed.fake.expire(client.session);
        }
        let mut first = bed.client().await;
        bed.fake.always(2, Some(Attach::Silent));
        bed.fake.always(1, None);
        bed.fake.hang_up(2);
        first.did(EXISTS, &read("/", false)).await;
        assert_eq!(bed.on(&first), 1, "it went there when the other one was lost");
        bed.end(first).await;
    }
}

/// A server that is behind what the client has seen closes without a word: the next one.
#[tokio::test]
async fn a_server_behind_the_client_is_passed_over() {
    let bed = Bed::new(2).await;
    let mut client = bed.client_on(2).await;
    bed.fake.lag(1);
    client.did(CREATE, &create("/a", "", 0)).await;
    for _ in 0..5 {
        let mut again = Client::connect(bed.listen).await;
        again.greet(client.again()).await.unwrap();
        assert_eq!(again.session, client.session);
        assert_eq!(bed.on(&again), 2);
        drop(again);
    }
    bed.end(client).await;
}

/// No server: a new client waits for one, and not for longer than it would for a server itself.
#[tokio::test]
async fn without_servers_a_client_waits_for_a_while() {
    let bed = Bed::new(2).await;
    bed.fake.all_down().await;
    let mut client = Client::connect(bed.listen).await;
    let began = Instant::now();
    assert_eq!(client.greet(hello(2000, Some(false))).await, None);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
    // One that comes in time is found.
    let mut client = Client::connect(bed.listen).await;
    let (greeted, ()) = tokio::join!(client.greet(hello(LONG, Some(false))), bed.fake.up(2));
    assert!(greeted.is_some());
    assert_eq!(bed.on(&client), 2);
    bed.end(client).await;
}

/// Servers have been away for longer than a session lasts: a new client is turned away at once, for an accepted
/// connection is a sign of life to some. Back again, it is let in.
#[tokio::test]
async fn while_the_ensemble_is_dead_nobody_is_let_in() {
    let bed = Bed::new(2).await;
    let client = Client::open(bed.listen, 1000, Some(false)).await;
    drop(client);
    bed.fake.all_down().await;
    bed.drain(1, true).await; // servers are looked at more often then
    bed.until("all down", |status| {
        status["members"].as_array().unwrap().iter().all(|m| m["state"] == "down")
    })
    .await;
    bed.drain(1, false).await;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(bed.listen).await;
        let began = Instant::now();
        assert_eq!(client.greet(hello(5000, Some(false))).await, None);
        if began.elapsed() < Duration::from_secs(2) {
            break; // a client waits for 3 s otherwise
        }
        assert!(Instant::now() < end);
    }
    bed.fake.all_up().await;
    bed.ready().await;
    let mut client = bed.client().await;
    client.did(EXISTS, &read("/", false)).await;
    bed.end(client).await;
}

/// Another setting is for the next clients: a reattach asks for what was granted.
#[tokio::test]
async fn a_reattach_asks_for_what_was_granted() {
    let bed = Bed::over(Fake::start(1).await, "", "session.min_upstream_timeout = \"20s\"").await;
    bed.ready().await;
    let mut stretched = Client::open(bed.listen, LONG / 2, Some(false)).await;
    let asked = |bed: &Bed| bed.fake.attaches().pop().unwrap().request.timeout;
    let granted = asked(&bed);
    assert_eq!(granted, 20_000.max(LONG / 2));
    for cluster in ["session.min_upstream_timeout = \"50s\"", ""] {
        bed.reload(&[1], "", cluster).await;
        let wanted = if cluster.is_empty() { LONG } else { 50_000.max(LONG) };
        let end = Instant::now() + PATIENCE;
        loop {
            drop(Client::open(bed.listen, LONG, Some(false)).await);
            if asked(&bed) == wanted {
                break;
            }
            assert!(Instant::now() < end, "the settings never came");
        }
        bed.fake.forget();
        bed.fake.hang_up(1);
        stretched.did(SYNC, &path("/")).await;
        let own = |seen: &crate::fake::SeenAttach| seen.request.session == stretched.session;
        let again = bed.fake.attaches().into_iter().find(own).unwrap();
        assert_eq!(again.request.timeout, granted, "{cluster}");
    }
    bed.end(stretched).await;
}

/// The ensemble may be asked for more than the client asks for; the client is told its own.
#[tokio::test]
async fn a_longer_time_out_upstream_is_the_clients_own_to_the_client() {
    let bed = Bed::over(Fake::start(1).await, "", "session.min_upstream_timeout = \"20s\"").await;
    bed.ready().await;
    let mut client = Client::open(bed.listen, 1500, Some(false)).await;
    assert_eq!(client.timeout, 1500);
    assert_eq!(bed.fake.attaches().pop().unwrap().request.timeout, 20_000);
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    // It falls silent: its session ends on its own clock, not on the ensemble's.
    client.closed().await;
    crate::bed::eventually("the session was ended", || bed.fake.node("/a").is_none()).await;
    assert_eq!(bed.metric("zookeeper_lease_closes_total", "silent_client").await, 1.0);
    bed.end(client).await;
}
