//! The lease, as a client sees it: answered pings for a while, then silence, then the end. What it may not believe is in the
//! model check; here are order and bounds.
//!
//! Seen on 3.8.7 and 3.9.6: sessions that outlive an outage longer than their time-out, and clients (Java, kazoo) that are
//! kept by answered pings for 12 s at a time-out of 9 s.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Attach, gate};
use crate::make::*;
use std::time::{Duration, Instant};

/// The time-out of these sessions.
const T: Duration = Duration::from_secs(6);
/// How much later than it is sent something may be seen, on a machine that is loaded.
const LATE: Duration = Duration::from_millis(1500);

async fn short(servers: u8, cluster: &str) -> (Bed, Client) {
    let bed = Bed::with(servers, "", cluster).await;
    let mut client = Client::open(bed.listen, T.as_millis() as i32, Some(false)).await;
    client.did(SYNC, &path("/")).await;
    (bed, client)
}

/// Pings every 50 ms until the connection ends: when the last answer came, and when the end.
async fn ping_to_the_end(client: &mut Client) -> (Duration, Duration) {
    let began = Instant::now();
    let mut last = Duration::ZERO;
    loop {
        let before = client.pongs;
        if !write_ping(client).await {
            return (last, began.elapsed());
        }
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_millis(50) {
            let rest = Duration::from_millis(50).saturating_sub(pause.elapsed());
            if client.is_quiet_for(rest).await {
                break;
            }
            if client.pongs == before {
                return (last, began.elapsed());
            }
            last = began.elapsed();
        }
        assert!(began.elapsed() < T * 3, "it is never closed");
    }
}

async fn write_ping(client: &mut Client) -> bool {
    use tokio::io::AsyncWriteExt;
    let frame = evenkeel::zookeeper::wire::build::ping();
    client.expects_pong();
    client.stream.write_all(&frame).await.is_ok()
}

/// No server: pings are answered for T/3, then there is silence, and at 2T/3 the end. The session is resumed when both
/// are back.
#[tokio::test]
async fn answered_then_silent_then_closed() {
    let (bed, mut client) = short(2, "").await;
    bed.fake.all_down().await;
    let (last, end) = ping_to_the_end(&mut client).await;
    assert!(last > Duration::ZERO, "some were answered");
    assert!(last < T / 3 + LATE, "{last:?}: nothing is made up behind T/3");
    assert!(end > T / 2 && end < T * 2 / 3 + LATE, "{end:?}: closed at 2T/3");
    assert!(bed.metric("zookeeper_pings_answered_total", "").await >= 1.0);
    assert_eq!(bed.metric("zookeeper_lease_closes_total", "lease_over").await, 1.0);
    assert_eq!(bed.metric("zookeeper_session_moves_total", "outcome=\"lease_over\"").await, 1.0);
    assert_eq!(bed.metric("zookeeper_sessions_expired_total", "").await, 0.0, "that is not ours to say");
    bed.fake.all_up().await;
    bed.ready().await;
    let mut again = Client::connect(bed.listen).await;
    again.greet(client.again()).await.unwrap();
    assert_eq!(again.session, client.session);
    drop(again);
    bed.end(client).await;
}

/// Back in time, after the silence: the client has noticed nothing, and what it asked is answered.
#[tokio::test]
async fn back_in_time() {
    let (bed, mut client) = short(1, "").await;
    bed.fake.all_down().await;
    client.send(CREATE, &create("/a", "", EPHEMERAL)).await;
    bed.holding(1).await;
    client.pong().await;
    bed.fake.all_up().await;
    assert_eq!(client.answer().await.err, 0);
    client.pong().await;
    bed.end(client).await;
}

/// `lease = "strict"`: what a follower answers by itself proves nothing. Without answers in which the leader has a part, the
/// client is closed, though its pings are all answered; with them it lives. A refusal is no such answer: a server that throttles
/// says so (−127) without asking anyone.
#[tokio::test]
async fn strict_counts_only_the_leaders_part() {
    for (act, attach) in [(Act::Fail(-127), None), (Act::Swallow, Some(Attach::Silent))] {
        let (bed, mut client) = short(1, "lease = \"strict\"").await;
        let own = || bed.fake.seen(SYNC).iter().filter(|seen| seen.xid < -8).count();
        for _ in 0..30 {
            client.pong().await;
            client.is_quiet_for(Duration::from_millis(10)).await;
        }
        eventually("a sync of our own", || own() > 0).await;
        for _ in 0..200 {
            bed.fake.script(1, SYNC, act.clone());
        }
        // An attach is one in which the leader has a part.
        bed.fake.always(1, attach);
        let (last, end) = ping_to_the_end(&mut client).await;
        assert!(last < T / 3 + LATE, "{last:?}");
        assert!(end > T / 2 && end < T * 2 / 3 + LATE, "{end:?}");
        bed.end(client).await;
    }
}

/// `lease = "strict"`: a server that falls silent is left in time, though nobody pings it.
#[tokio::test]
async fn strict_leaves_a_server_that_falls_silent() {
    let (bed, mut client) = short(2, "lease = \"strict\"").await;
    let at = bed.on(&client);
    bed.fake.freeze(at, true);
    assert_eq!(client.ask(CREATE, &create("/a", "", 0)).await.err, 0);
    assert_ne!(bed.on(&client), at);
    assert_eq!(unplanned(&bed).await, 1.0);
    bed.fake.freeze(at, false);
    bed.end(client).await;
}

/// L6: a client that says nothing is not kept alive by us for longer than T/3, and one that is gone not at all.
#[tokio::test]
async fn no_dead_client_is_kept_alive() {
    let (bed, mut client) = short(1, "").await;
    eventually("own pings", || !bed.fake.seen(PING).is_empty()).await;
    let began = Instant::now();
    client.closed().await;
    let end = began.elapsed();
    let last = bed.fake.seen(PING).last().unwrap().at.duration_since(began);
    assert!(last < T / 3 + LATE, "{last:?}: the last ping of ours");
    assert!(end > T * 2 / 3 && end < T + LATE, "{end:?}: closed, as a server would");
    bed.end(client).await;

    let (bed, client) = short(1, "").await;
    let session = client.session;
    assert_eq!(bed.fake.connections(session), 1);
    drop(client);
    eventually("its server's connection ends", || bed.fake.connections(session) == 0).await;
    let before = bed.fake.seen(PING).len();
    bed.settled().await;
    assert_eq!(bed.fake.seen(PING).len(), before);
}

/// A ping stands in line behind its session's write. When that has been answered, the server has as long for the ping as for any other,
/// however long ago it was sent.
#[tokio::test]
async fn a_ping_behind_a_slow_write_is_no_silence() {
    let (bed, mut client) = short(2, "").await;
    let (slow, behind) = (gate(), gate());
    let at = bed.on(&client);
    bed.fake.script(at, CREATE, Act::AnswerLater(slow.clone()));
    client.send(CREATE, &create("/a", "", 0)).await;
    eventually("it is under way", || bed.fake.seen(CREATE).len() == 1).await;
    bed.fake.script(at, PING, Act::AnswerLater(behind.clone()));
    client.ping().await;
    assert!(client.is_quiet_for(T / 6 + Duration::from_millis(250)).await, "it takes longer than a ping may");
    slow.add_permits(1);
    assert_eq!(client.answer().await.err, 0);
    assert!(client.is_quiet_for(Duration::from_millis(200)).await);
    behind.add_permits(1);
    client.until("the ping's answer", |client| client.pongs == 1).await;
    assert_eq!(unplanned(&bed).await, 0.0, "it was slow with one write");
    bed.end(client).await;
}

/// A server that answers one thing after the other is not silent, though what it has not come to waits for longer than T/3.
#[tokio::test]
async fn a_server_that_answers_something_is_not_silent() {
    let (bed, mut client) = short(2, "").await;
    let turn = gate();
    let at = bed.on(&client);
    for _ in 0..28 {
        bed.fake.script(at, EXISTS, Act::AnswerLater(turn.clone()));
    }
    for _ in 0..28 {
        client.send(EXISTS, &read("/", false)).await;
    }
    for _ in 0..28 {
        assert!(client.is_quiet_for(Duration::from_millis(100)).await);
        turn.add_permits(1);
        assert_eq!(client.answer().await.err, 0);
    }
    assert_eq!(unplanned(&bed).await, 0.0);
    assert_eq!(bed.fake.seen(EXISTS).len(), 28, "each went once");
    bed.end(client).await;
}

/// One that answers nothing is left, whatever it is that it doesn't answer.
#[tokio::test]
async fn a_server_that_answers_nothing_is_left() {
    for code in [EXISTS, SYNC, CREATE, PING] {
        let (bed, mut client) = short(2, "").await;
        let at = bed.on(&client);
        let began = Instant::now();
        bed.fake.freeze(at, true);
        match code {
            PING => client.pong().await,
            CREATE => assert_eq!(client.ask(CREATE, &create("/a", "", 0)).await.err, 0),
            EXISTS => assert_eq!(client.ask(EXISTS, &read("/", false)).await.err, 0),
            _ => assert_eq!(client.ask(SYNC, &path("/")).await.err, 0),
        }
        let took = began.elapsed();
        let bound = if code == PING { T / 6 } else { T / 3 };
        assert!(took < bound + LATE, "{code}: {took:?}");
        bed.fake.freeze(at, false);
        bed.end(client).await;
    }
}

async fn unplanned(bed: &Bed) -> f64 {
    bed.metric("zookeeper_session_moves_total", "\"unplanned\"").await
}
