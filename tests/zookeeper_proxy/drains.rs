//! Drains of servers: who goes where, what waits, and when a server may stop.

use crate::bed::eventually;
use crate::client::PATIENCE;
use crate::fake::{Act, gate};
use crate::make::*;
use crate::moves::three;
use serde_json::Value;
use std::time::{Duration, Instant};

fn phase(status: &Value, id: usize) -> Value {
    status["members"][id - 1]["phase"].clone()
}

/// New clients go elsewhere while a server is drained, and come back afterwards.
#[tokio::test]
async fn nobody_goes_to_a_drained_server() {
    let (bed, client) = three(2, "", "").await;
    bed.drained(3).await;
    for _ in 0..6 {
        let other = bed.client().await;
        assert!(bed.on(&other) != 3);
    }
    assert_eq!(phase(&bed.status().await, 3), "drained");
    assert_eq!(bed.drain(3, false).await, 200);
    assert_eq!(phase(&bed.status().await, 3), "serving");
    let back = bed.client_on(3).await;
    drop(back);
    assert_eq!(bed.http("PUT", "/v1/clusters/z/members/10.0.0.1:1/drain").await.0, 404);
    bed.end(client).await;
}

/// Nobody else is there: the session stays, and works.
#[tokio::test]
async fn without_another_server_it_stays() {
    let (bed, mut client) = three(2, "", "").await;
    bed.fake.down(1).await;
    bed.fake.down(3).await;
    bed.drain(3, true).await; // servers are looked at more often then
    let down = |status: &Value, id: usize| status["members"][id - 1]["state"] == "down";
    bed.until("the others are down", |status| down(status, 1) && down(status, 3)).await;
    bed.drain(3, false).await;
    assert_eq!(bed.drain(2, true).await, 202, "its session is still there");
    assert_eq!(phase(&bed.status().await, 2), "draining");
    client.did(GET_DATA, &read("/a", false)).await;
    client.did(SET_DATA, &set_data("/a", "x", -1)).await;
    assert_eq!(bed.on(&client), 2);
    // One comes back: then it goes.
    bed.fake.up(3).await;
    eventually("it has moved", || bed.fake.place(client.session) == Some(3)).await;
    bed.drained(2).await;
    assert_eq!(phase(&bed.status().await, 2), "drained");
    client.did(GET_DATA, &read("/a", false)).await;
    bed.end(client).await;
}

/// The only server there is: nobody could be elsewhere, and it may go as soon as nothing is under way.
#[tokio::test]
async fn the_only_server_is_drained_with_its_sessions() {
    let bed = crate::bed::Bed::new(1).await;
    let mut client = bed.client_on(1).await;
    bed.drained(1).await;
    assert_eq!(phase(&bed.status().await, 1), "drained");
    bed.drain(1, false).await;
    client.did(GET_DATA, &read("/", false)).await;
    bed.end(client).await;
}

/// While the leader is drained writes wait, wherever their session is; reads don't. When another one leads, they go.
#[tokio::test]
async fn writes_wait_for_the_next_leader() {
    let (bed, mut client) = three(2, "", "").await;
    bed.drained(1).await;
    client.did(GET_DATA, &read("/a", false)).await;
    client.send(SET_DATA, &set_data("/a", "x", -1)).await;
    client.send(GET_DATA, &read("/a", false)).await;
    bed.holding(1).await;
    assert!(bed.fake.seen(SET_DATA).is_empty());
    client.pong().await;
    bed.fake.down(1).await;
    bed.fake.server(3, |server| server.mode = "leader");
    assert_eq!((client.answer().await.err, client.answer().await.err), (0, 0));
    assert_eq!(bed.fake.seen(SET_DATA).len(), 1);
    bed.end(client).await;
}

/// A write that is under way keeps the drain of a leader open; those behind it wait.
#[tokio::test]
async fn a_leader_can_go_when_no_write_is_under_way() {
    let (bed, mut client) = three(2, "", "").await;
    let gate = gate();
    bed.fake.script(2, SET_DATA, Act::AnswerLater(gate.clone()));
    client.send(SET_DATA, &set_data("/a", "x", -1)).await;
    eventually("it is under way", || bed.fake.seen(SET_DATA).len() == 1).await;
    for _ in 0..20 {
        assert_eq!(bed.drain(1, true).await, 202);
        assert_eq!(phase(&bed.status().await, 1), "draining", "a write is under way");
    }
    gate.add_permits(1);
    assert_eq!(client.answer().await.err, 0);
    bed.drained(1).await;
    bed.end(client).await;
}

/// A controller that changes its mind, or dies: writes go on after `hold.max`, or at once.
#[tokio::test]
async fn writes_do_not_wait_for_ever() {
    let (bed, mut client) = three(2, "hold.max = \"1s\"", "").await;
    bed.drained(1).await;
    let began = std::time::Instant::now();
    client.did(SET_DATA, &set_data("/a", "x", -1)).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    bed.drain(1, false).await;

    let (other, mut client2) = three(2, "", "").await;
    other.drained(1).await;
    client2.send(SET_DATA, &set_data("/a", "x", -1)).await;
    other.holding(1).await;
    other.drain(1, false).await;
    assert_eq!(client2.answer().await.err, 0);
    other.end(client2).await;
    bed.end(client).await;
}

/// A thousand sidecars look at each server: at those that are not drained no more often than else, but for the moment in which the
/// drained leader has gone and nobody leads yet.
#[tokio::test]
async fn a_drain_makes_nobody_look_at_the_others_again_and_again() {
    let (bed, mut client) = three(2, "", "").await;
    let looks = |id: u8| bed.fake.server(id, |server| server.looks);
    let watched = Duration::from_secs(3);
    for drained in [3, 1] {
        bed.drained(drained).await;
        tokio::time::sleep(Duration::from_millis(300)).await; // the look that the order made
        let before = [1, 2, 3].map(looks);
        tokio::time::sleep(watched).await;
        let seen = [0, 1, 2].map(|index| looks(u8::try_from(index + 1).unwrap()) - before[index]);
        for id in 1..=3u8 {
            let seen = seen[usize::from(id) - 1];
            assert!(if id == drained { seen > 8 } else { seen <= 1 }, "{id} of {drained}: {seen}");
        }
        if drained == 3 {
            bed.drain(3, false).await;
        }
    }
    // The leader goes, and for a second nobody leads. Then the write that waited goes on soon.
    client.send(SET_DATA, &set_data("/a", "x", -1)).await;
    bed.holding(1).await;
    bed.fake.server(2, |server| server.mode = "none");
    bed.fake.server(3, |server| server.mode = "none");
    bed.fake.down(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bed.fake.server(2, |server| server.mode = "follower");
    bed.fake.server(3, |server| server.mode = "leader");
    let led = std::time::Instant::now();
    assert_eq!(client.answer().await.err, 0);
    assert!(led.elapsed() < Duration::from_secs(2), "{:?}", led.elapsed());
    // And then they are left alone, the one that has gone too.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let before = [2, 3].map(looks);
    let gone = bed.metric("upstream_connect_total", "outcome=\"refused\"").await;
    tokio::time::sleep(watched).await;
    assert!(looks(2) - before[0] <= 1 && looks(3) - before[1] <= 1, "{} {}", looks(2), looks(3));
    let gone = bed.metric("upstream_connect_total", "outcome=\"refused\"").await - gone;
    assert!(gone <= 6.0, "{gone}");
    bed.end(client).await;
}

/// A question that stays unanswered is no stop of a server that serves all the while: its drain goes on, and its turn is to come.
#[tokio::test]
async fn a_server_that_only_fails_to_answer_has_not_been_away() {
    let (bed, client) = three(2, "net.connect_timeout = \"300ms\"", "").await;
    bed.drained(1).await;
    let gate = format!("/v1/clusters/z/gate?for=stop&member={}", bed.fake.addr(1));
    for is_mute in [true, false] {
        bed.fake.server(1, |server| server.is_mute = is_mute);
        // What was found out is good for two seconds.
        let end = Instant::now() + PATIENCE;
        let seen = f64::from(u8::from(is_mute));
        while bed.metric("upgrade_member_phase", "phase=\"down\"").await != seen {
            assert!(Instant::now() < end, "{is_mute} {:#}", bed.status().await);
            bed.http("GET", &gate).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let status = bed.status().await;
    assert_eq!(
        (phase(&status, 1), &status["members"][0]["had_turn"]),
        ("drained".into(), &Value::Bool(false))
    );
    assert_eq!(bed.metric("upgrade_member_phase", "phase=\"drained\"").await, 1.0, "nobody has ended it");
    bed.drain(1, false).await;
    bed.end(client).await;
}
