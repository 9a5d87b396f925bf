//! The lease, as a client sees it: answered pings for a while, then silence, then the end. What it may not believe is in the
//! model check; here are order and bounds.
//!
//! Seen on 3.8.7 and 3.9.6: sessions that outlive an outage longer than their time-out, and clients (Java, kazoo) that are
//! kept by answered pings for 12 s at a time-out of 9 s.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::Act;
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
/// client is closed, though its pings would all be answered; with them it lives.
#[tokio::test]
async fn strict_counts_only_the_leaders_part() {
    let (bed, mut client) = short(1, "lease = \"strict\"").await;
    let own = || bed.fake.seen(SYNC).iter().filter(|seen| seen.xid < -8).count();
    for _ in 0..30 {
        client.pong().await;
        client.is_quiet_for(Duration::from_millis(10)).await;
    }
    crate::bed::eventually("a sync of our own", || own() > 0).await;
    for _ in 0..200 {
        bed.fake.script(1, SYNC, Act::Swallow);
    }
    let (last, end) = ping_to_the_end(&mut client).await;
    assert!(last < T / 3 + LATE, "{last:?}");
    assert!(end > T / 2 && end < T * 2 / 3 + LATE, "{end:?}");
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

/// What was answered is answered: a reply that comes late, but comes, passes at any time.
#[tokio::test]
async fn a_client_that_pings_lives_on() {
    let (bed, mut client) = short(2, "").await;
    let began = Instant::now();
    let gate = crate::fake::gate();
    let at = bed.on(&client);
    bed.fake.script(at, SYNC, Act::AnswerLater(gate.clone()));
    client.send(SYNC, &path("/")).await;
    while began.elapsed() < T + T / 6 {
        client.pong().await;
        client.is_quiet_for(Duration::from_millis(200)).await;
    }
    gate.add_permits(1);
    assert_eq!(client.answer().await.err, 0);
    bed.end(client).await;
}
