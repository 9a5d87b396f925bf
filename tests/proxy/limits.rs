//! Bounds on clients' connections: who is too many, says nothing or takes nothing is closed and counted, and nobody else notices.

use crate::bed::Bed;
use crate::client::{Client, PATIENCE};
use crate::fake::Fake;
use crate::make::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testbed::bad::{Noise, Speaks, kinds};
use tokio::io::AsyncWriteExt;

const REFUSED: &str = "evenkeel_client_refused_total";

/// A bed with these bounds.
async fn bounded(limits: &str) -> Bed {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, limits, "").await;
    bed.ready().await;
    bed
}

async fn refused(bed: &Bed, reason: &str) -> f64 {
    bed.metric(&format!("{REFUSED}{{cluster=\"k\",protocol=\"kafka\",reason=\"{reason}\"}}")).await
}

async fn works(client: &mut Client) {
    assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
}

#[tokio::test]
async fn one_more_than_there_may_be_is_closed_at_once() {
    for (limits, reason) in
        [("limits.connections = 2", "connections"), ("limits.cluster_connections = 2", "cluster_connections")]
    {
        let bed = bounded(limits).await;
        let mut two = [bed.client().await, bed.client_of(1).await];
        for client in &mut two {
            works(client).await;
        }
        for _ in 0..3 {
            bed.client().await.closed().await;
        }
        assert_eq!(refused(&bed, reason).await, 3.0, "{reason}");
        assert_eq!(bed.metric("evenkeel_all_client_connections ").await, 2.0);
        for client in &mut two {
            works(client).await;
        }
        let [one, mut other] = two;
        drop(one);
        bed.until("one is gone", |status| status["clients"] == 1).await;
        // Its place is free a moment after it is counted out.
        let end = Instant::now() + PATIENCE;
        while bed.metric("evenkeel_all_client_connections ").await != 1.0 {
            assert!(Instant::now() < end, "its place isn't free");
        }
        works(&mut bed.client().await).await;
        works(&mut other).await;
    }
}

#[tokio::test]
async fn who_begins_nothing_or_stands_still_is_closed_and_counted() {
    let bed = bounded("limits.first_request = \"500ms\"\nlimits.stall = \"700ms\"").await;
    let mut good = bed.client_of(1).await;
    works(&mut good).await;
    let mut silent = bed.client().await;
    let mut half = bed.client_of(1).await;
    half.stream.write_all(&[0, 0, 1, 0, 0, 18]).await.unwrap();
    let mut later = bed.client_of(1).await;
    works(&mut later).await;
    later.stream.write_all(&[0, 0, 1]).await.unwrap();
    silent.closed().await;
    half.closed().await;
    later.closed().await;
    assert_eq!((refused(&bed, "first_request").await, refused(&bed, "stall").await), (2.0, 1.0));
    // Who has asked once may idle for as long as he likes.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    works(&mut good).await;
    assert_eq!(bed.metric(REFUSED).await, 3.0);
}

#[tokio::test]
async fn who_idles_longer_than_he_may_is_closed() {
    let bed = bounded("limits.idle = \"400ms\"").await;
    let mut busy = bed.client_of(1).await;
    let mut idle = bed.client_of(1).await;
    works(&mut idle).await;
    let gone = tokio::spawn(async move { idle.closed().await });
    while !gone.is_finished() {
        works(&mut busy).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gone.await.unwrap();
    works(&mut busy).await;
    assert_eq!(refused(&bed, "idle").await, 1.0);
}

#[tokio::test]
async fn who_takes_no_answer_is_closed_and_what_is_queued_for_him_is_bounded() {
    let bed = bounded("limits.stall = \"500ms\"\nnet.write_queue = \"64KiB\"").await;
    let mut good = bed.client_of(1).await;
    let mut deaf = bed.client_of(1).await;
    works(&mut deaf).await;
    // Answers of which the kernel takes no more at some point.
    let versions = [0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 7, 0, 1, b'x'].repeat(100_000);
    let piled = tokio::spawn(async move {
        // It ends when nothing more is read of it, or with the connection.
        let _ = tokio::time::timeout(Duration::from_secs(20), deaf.stream.write_all(&versions)).await;
        deaf
    });
    let end = Instant::now() + PATIENCE;
    while refused(&bed, "stall").await == 0.0 {
        assert!(Instant::now() < end, "it stays");
        works(&mut good).await;
    }
    drop(piled.await.unwrap());
    bed.until("it is gone", |status| status["clients"] == 1).await;
    bed.balanced().await;
}

#[tokio::test]
async fn bad_connections_of_twenty_kinds_hurt_nobody_else() {
    let bed = bounded("limits.first_request = \"1s\"").await;
    let stop = Arc::new(AtomicBool::new(false));
    let good: Vec<_> = (0..5)
        .map(|_| {
            let (door, stop) = (bed.door(1), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut client = Client::connect(door).await;
                let mut rounds = 0;
                while !stop.load(Relaxed) {
                    works(&mut client).await;
                    rounds += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (client, rounds)
            })
        })
        .collect();
    let mut bad = Vec::new();
    for (seed, at) in [bed.bootstrap, bed.door(1), bed.door(8)].into_iter().enumerate() {
        // One thread for each kind: those that take their time do so side by side.
        bad.extend(kinds(Speaks::Kafka).enumerate().map(|(number, kind)| {
            std::thread::spawn(move || {
                let mut noise = Noise::new((seed * 100 + number + 1) as u64);
                (0..if kind.slow { 1 } else { 5 }).try_for_each(|_| kind.play(at, None, &mut noise))
            })
        }));
    }
    let end = Instant::now() + 2 * PATIENCE;
    while bad.iter().any(|thread| !thread.is_finished()) {
        assert!(Instant::now() < end, "bad connections are not closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for thread in bad {
        thread.join().unwrap().unwrap();
    }
    stop.store(true, Relaxed);
    let mut clients = Vec::new();
    for task in good {
        let (client, rounds) = task.await.expect("a good client has noticed");
        assert!(rounds > 10, "{rounds}");
        clients.push(client);
    }
    bed.until("the bad ones are gone", |status| status["clients"] == 5).await;
    for client in &mut clients {
        works(client).await;
    }
    assert!(refused(&bed, "first_request").await >= 9.0, "three kinds at three doors");
    drop(clients);
    bed.until("all are gone", |status| status["clients"] == 0).await;
    bed.balanced().await;
}
