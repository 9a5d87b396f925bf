//! Bounds on clients' connections: who says nothing or stands still is closed and counted, a session that idles is not, and nobody else
//! notices bad ones.

use crate::bed::Bed;
use crate::client::{Client, LONG, PATIENCE};
use crate::make::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testbed::bad::{Noise, Speaks, kinds};
use tokio::io::AsyncWriteExt;

const REFUSED: &str = "client_refused_total";

#[tokio::test]
async fn who_begins_nothing_or_stands_still_is_closed_and_a_session_is_not() {
    let bed =
        Bed::with(1, "limits.first_request = \"500ms\"\nlimits.stall = \"700ms\"\nlimits.idle = \"1s\"", "")
            .await;
    let mut good = bed.client().await;
    let mut silent = Client::connect(bed.listen).await;
    let mut half = Client::connect(bed.listen).await;
    half.stream.write_all(&[0, 0, 0, 45, 0, 0]).await.unwrap();
    let mut later = bed.client().await;
    later.stream.write_all(&[0, 0, 1]).await.unwrap();
    silent.closed().await;
    half.closed().await;
    later.closed().await;
    let reason = async |reason: &str| bed.metric(REFUSED, &format!("reason=\"{reason}\"")).await;
    assert_eq!((reason("first_request").await, reason("stall").await), (2.0, 1.0));
    // Its own time-out is what bounds a session.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    good.did(SYNC, &path("/")).await;
    assert_eq!(bed.metric(REFUSED, "").await, 3.0);
    drop((silent, half, later));
    bed.end(good).await;
}

#[tokio::test]
async fn one_more_than_there_may_be_is_closed_at_once() {
    let bed = Bed::with(1, "limits.connections = 2", "").await;
    let (mut one, mut other) = (bed.client().await, bed.client().await);
    Client::connect(bed.listen).await.closed().await;
    bed.counted(REFUSED, "reason=\"connections\"", 1.0).await;
    one.did(SYNC, &path("/")).await;
    other.did(SYNC, &path("/")).await;
    drop(one);
    bed.end(other).await;
}

#[tokio::test]
async fn bad_connections_of_twenty_kinds_hurt_nobody_else() {
    let bed = Bed::with(2, "limits.first_request = \"1s\"", "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let good: Vec<_> = (0..5)
        .map(|_| {
            let (listen, stop) = (bed.listen, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut client = Client::open(listen, LONG, Some(false)).await;
                let mut rounds = 0;
                while !stop.load(Relaxed) {
                    client.did(SYNC, &path("/")).await;
                    rounds += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (client, rounds)
            })
        })
        .collect();
    // One thread for each kind: those that take their time do so side by side.
    let listen = bed.listen;
    let bad = kinds(Speaks::ZooKeeper).enumerate().map(|(number, kind)| {
        std::thread::spawn(move || {
            let mut noise = Noise::new(number as u64 + 1);
            (0..if kind.slow { 1 } else { 5 }).try_for_each(|_| kind.play(listen, None, &mut noise))
        })
    });
    let bad: Vec<_> = bad.collect();
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
        client.did(SYNC, &path("/")).await;
    }
    assert!(bed.metric(REFUSED, "reason=\"first_request\"").await >= 3.0);
    drop(clients);
    bed.until("all are gone", |status| status["clients"] == 0).await;
}
