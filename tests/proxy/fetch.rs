//! Fetch is never held: it is answered within its own `max_wait`, and no record is kept back.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::{Act, Fake};
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

async fn two_partitions() -> (Bed, Client) {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1, 1]);
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    for partition in 0..2 {
        client.ask(PRODUCE, 9, &produce(-1, &[(partition, batch("r", None))])).await;
    }
    (bed, client)
}

/// No leader: an empty success with the last known high watermark, when the client's wait is over and not long after.
#[tokio::test]
async fn a_partition_without_a_leader_is_empty_within_max_wait() {
    for version in [4, 11, 12, 13] {
        let bed = Bed::new(&[1, 2]).await;
        bed.ready().await;
        let mut client = bed.client_of(1).await;
        client.ask(METADATA, 9, &metadata(&["t"])).await;
        client.ask(PRODUCE, 9, &produce_text("r")).await;
        assert_eq!(fetched(&client.ask(FETCH, version, &fetch(100, &[(0, 0)])).await)[0].2, 1);
        bed.fake.elect("t", 0, -1);
        let began = Instant::now();
        let answer = client.ask(FETCH, version, &fetch(400, &[(0, 1)])).await;
        let took = began.elapsed();
        assert_eq!(fetched(&answer), [(0, 0, 1, 0)], "v{version}");
        assert!(took > Duration::from_millis(300), "not at once, or clients spin: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        bed.fake.elect("t", 0, 2);
        let answer = client.ask(FETCH, version, &fetch(20_000, &[(0, 0)])).await;
        assert_eq!(fetched(&answer), [(0, 0, 1, 62)], "served by the new leader, v{version}");
    }
}

/// The broker is gone: the same, on whatever listener.
#[tokio::test]
async fn a_fetch_from_a_dead_broker_is_empty_within_max_wait() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.send(FETCH, 11, &fetch(600, &[(0, 0)])).await;
    crate::bed::eventually("it is there", || bed.fake.seen(FETCH).len() == 1).await;
    let began = Instant::now();
    bed.fake.down(1).await;
    let answer = client.receive().await;
    assert_eq!(fetched(&answer), [(0, 0, -1, 0)]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Heartbeats and commits behind it are not kept waiting.
    client.send(FETCH, 11, &fetch(300, &[(0, 0)])).await;
    client.send(METADATA, 9, &metadata(&[])).await;
    client.receive().await;
    assert!(!client.receive().await.array("brokers").is_empty());
}

/// One partition has no leader; the other's records are not withheld for it.
#[tokio::test]
async fn records_of_other_partitions_are_not_withheld() {
    let (bed, mut client) = two_partitions().await;
    bed.fake.elect("t", 0, -1);
    let began = Instant::now();
    let answer = client.ask(FETCH, 11, &fetch(20_000, &[(0, 0), (1, 0)])).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(fetched(&answer), [(0, 0, -1, 0), (1, 0, 1, 62)]);
    // Both led elsewhere than where the client asks, each by another.
    bed.fake.elect("t", 0, 2);
    let mut got = [0; 2];
    let end = Instant::now() + crate::client::PATIENCE;
    while got.contains(&0) {
        assert!(Instant::now() < end, "{got:?}");
        let offsets: Vec<(i32, i64)> = (0..2).map(|p| (p, i64::from(got[p as usize] > 0))).collect();
        for (partition, code, _, bytes) in fetched(&client.ask(FETCH, 11, &fetch(1000, &offsets)).await) {
            assert_eq!(code, 0);
            got[partition as usize] += bytes;
        }
    }
    assert_eq!(got, [62, 62]);
}

fn in_session(mut request: Struct, id: i32, epoch: i32) -> Struct {
    request.set_i32("session_id", id);
    request.set_i32("session_epoch", epoch);
    request
}

/// An incremental session can't be continued elsewhere: its client is told (70), asks for all, and misses nothing.
#[tokio::test]
async fn a_broken_session_is_told_and_nothing_is_missed() {
    for death in [true, false] {
        let (bed, mut client) = two_partitions().await;
        let full = in_session(fetch(200, &[(0, 0), (1, 0)]), 0, 0);
        let answer = client.ask(FETCH, 11, &full).await;
        let id = answer.i32("session_id");
        assert!(id > 0);
        assert_eq!(fetched(&answer).len(), 2);
        let next = in_session(fetch(200, &[(0, 1), (1, 1)]), id, 1);
        assert!(
            fetched(&client.ask(FETCH, 11, &next).await).is_empty(),
            "a session leaves out what is unchanged"
        );
        bed.fake.elect("t", 0, 2);
        bed.fake.elect("t", 1, 2);
        if death {
            bed.fake.down(1).await;
        }
        let mut producer = bed.client_of(2).await;
        producer.ask(PRODUCE, 9, &produce(-1, &[(1, batch("after", None))])).await;
        let answer = client.ask(FETCH, 11, &in_session(fetch(200, &[]), id, 2)).await;
        assert_eq!(answer.i16("error_code"), 70, "death: {death}");
        let full = in_session(fetch(20_000, &[(0, 1), (1, 1)]), 0, 0);
        let answer = client.ask(FETCH, 11, &full).await;
        assert_eq!(answer.i16("error_code"), 0);
        assert_eq!(fetched(&answer)[1], (1, 0, 2, 66));
    }
}

/// A restarted broker knows no session; its own word for it is passed on.
#[tokio::test]
async fn a_restarted_brokers_own_word_is_passed_on() {
    let (bed, mut client) = two_partitions().await;
    let id = client.ask(FETCH, 11, &in_session(fetch(200, &[(0, 0)]), 0, 0)).await.i32("session_id");
    bed.fake.world().forget_sessions(1);
    let answer = client.ask(FETCH, 11, &in_session(fetch(200, &[]), id, 1)).await;
    assert_eq!(answer.i16("error_code"), 70);
}

/// A client that sends its leader's epoch sees (74) and (75) itself: hiding them would hide a truncation (KIP-320).
#[tokio::test]
async fn fencing_by_epoch_is_passed_on() {
    let (_bed, mut client) = two_partitions().await;
    for (epoch, code) in [(2, 74), (9, 75), (3, 0)] {
        let mut body = fetch(100, &[(0, 0)]);
        for topic in body.structs_mut("topics") {
            topic.structs_mut("partitions").for_each(|row| row.set_i32("current_leader_epoch", epoch));
        }
        assert_eq!(fetched(&client.ask(FETCH, 11, &body).await)[0].1, code, "epoch {epoch}");
    }
}

/// When the leader comes home, fetches go there again as they came.
#[tokio::test]
async fn the_clients_choice_is_right_again_after_the_leader_came_home() {
    let (bed, mut client) = two_partitions().await;
    bed.fake.elect("t", 0, 2);
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, 0)])).await), [(0, 0, 1, 62)]);
    bed.fake.elect("t", 0, 1);
    let end = Instant::now() + crate::client::PATIENCE;
    loop {
        let sent = client.send(FETCH, 11, &fetch(200, &[(0, 0)])).await;
        client.receive().await;
        let seen = bed.fake.seen(FETCH).pop().unwrap();
        if seen.node == 1 && seen.frame == sent {
            break;
        }
        assert!(Instant::now() < end);
    }
}

/// A long poll that the broker cuts short with its connection is asked again, within the client's wait.
#[tokio::test]
async fn a_lost_long_poll_is_asked_again() {
    let (bed, mut client) = two_partitions().await;
    bed.fake.script(1, FETCH, Act::Close);
    let answer = client.ask(FETCH, 11, &fetch(5000, &[(0, 0)])).await;
    assert_eq!(fetched(&answer), [(0, 0, 1, 62)]);
}
