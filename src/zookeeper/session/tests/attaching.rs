//! Many sessions look for a server.

use super::bed::{Bed, soon};
use crate::zookeeper::ensemble::Health;
use std::sync::Arc;
use std::time::Duration;

const T: i32 = 10_000;

#[tokio::test]
async fn a_crowd_does_not_try_one_dead_server_one_by_one() {
    let mut bed = Bed::with(2, |settings| {
        settings.zookeeper.reattach_concurrency = 1;
        settings.zookeeper.attach_timeout = Duration::from_millis(300);
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..12 {
        crowd.push(bed.greeted(T).await);
    }
    // The first server accepts, and never says a word.
    let mut dead = bed.servers.remove(0);
    let mut peers = Vec::new();
    for _ in 0..crowd.len() {
        peers.push(bed.servers[0].attached(T).await);
    }
    for (client, _) in &mut crowd {
        client.frame().await.unwrap();
    }
    let tried = dead.connections();
    assert!(tried <= 2, "{tried} sessions waited for it in turn");
}

#[tokio::test]
async fn what_one_session_asks_for_is_no_reason_to_call_a_server_down() {
    let mut bed = Bed::new(1).await;
    let (_client, _run, _peer) = bed.served(T).await;
    let (mut other, run) = bed.greeted(T).await;
    for _ in 0..2 {
        drop(bed.servers[0].asked().await); // it is behind what this client has seen, or can't read it
    }
    let health = bed.ensemble.read(|servers| servers.all()[0].health);
    assert_eq!(health, Health::Up);
    bed.servers[0].attached(T).await;
    other.frame().await.unwrap();
    drop(other);
    soon("its end", run.end()).await;
}

/// Two servers are behind what the session has seen, and close without a word; the third has more sessions than they have.
#[tokio::test]
async fn servers_that_refuse_a_session_do_not_hide_the_one_that_would_take_it() {
    let mut bed = Bed::new(3).await;
    let names: Vec<String> = bed.servers.iter().map(|server| server.at.to_string()).collect();
    for name in &names[..2] {
        bed.ensemble.drain(name, Some(Duration::from_secs(600)));
    }
    let mut others = Vec::new();
    for _ in 0..2 {
        let (mut client, run) = bed.greeted(T).await;
        let peer = bed.servers[2].attached(T).await;
        client.frame().await.unwrap();
        others.push((client, run, peer));
    }
    for name in &names[..2] {
        bed.ensemble.drain(name, None);
    }
    let (mut client, _run) = bed.greeted(T).await;
    let ensemble = Arc::clone(&bed.ensemble);
    let [one, other, third] = &mut bed.servers[..] else { unreachable!("three servers") };
    let refusing = async {
        for _ in 0..6 {
            let at = tokio::select! {
                _ = one.asked() => &one.at,
                _ = other.asked() => &other.at,
            };
            // Others get on with it.
            ensemble.server_is_up(at);
        }
    };
    let peer = tokio::select! {
        () = refusing => panic!("it goes from one that refuses to the other, and back"),
        peer = third.attached(T) => peer,
    };
    client.frame().await.unwrap();
    drop((peer, others));
}
