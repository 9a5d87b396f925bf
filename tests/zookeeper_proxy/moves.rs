//! Planned moves: a drain takes sessions elsewhere, make before break, and no event is lost or told twice.
//!
//! Seen on 3.8.7 and 3.9.6 (90 moves under writes): the old follower tells what it has to tell while it is pinged until it
//! has caught up; the old leader closes at any request, a ping too. Closed at once, the old connection loses events.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Attach, gate, then};
use crate::make::*;
use evenkeel::zookeeper::wire::EventType;
use serde_json::Value;
use std::time::Duration;

const MOVED: &str = "kind=\"planned\",outcome=\"moved\"";
const STAYED: &str = "kind=\"planned\",outcome=\"stayed\"";

/// Three servers, of which the first leads, and a client on `server`; every server's mode is known.
async fn three(server: u8, top: &str, cluster: &str) -> (Bed, Client) {
    let bed = Bed::with(3, top, cluster).await;
    bed.fake.create("/a");
    bed.fake.create("/b");
    let known = |status: &Value| status["members"].as_array().unwrap().iter().all(|m| m["mode"].is_string());
    bed.until("modes known", known).await;
    let mut client = bed.client_on(server).await;
    client.did(SYNC, &path("/")).await;
    (bed, client)
}

async fn moves(bed: &Bed, which: &str) -> f64 {
    bed.metric("zookeeper_session_moves_total", which).await
}

/// What is under way is answered by the old server, what comes meanwhile by the new one; then the old connection is gone.
#[tokio::test]
async fn a_drain_moves_a_session_and_nothing_is_in_flight() {
    let (bed, mut client) = three(2, "", "").await;
    client.did(GET_DATA, &read("/a", true)).await;
    let gate = gate();
    bed.fake.script(2, CREATE, Act::Wait(gate.clone()));
    client.send(CREATE, &create("/c", "", EPHEMERAL)).await;
    eventually("it is under way", || bed.fake.seen(CREATE).len() == 1).await;
    assert_eq!(bed.drain(2, true).await, 202);
    client.send(GET_DATA, &read("/c", false)).await;
    bed.holding(1).await;
    assert_eq!(bed.on(&client), 2, "it waits for the answer");
    gate.add_permits(1);
    assert_eq!((client.answer().await.err, client.answer().await.err), (0, 0));
    bed.drained(2).await;
    assert!(bed.on(&client) != 2);
    eventually("the old connection is gone", || bed.fake.connections(client.session) == 1).await;
    assert_eq!((bed.fake.seen(CREATE).len(), bed.fake.seen(MULTI).len()), (1, 0), "nothing was lost");
    assert!(bed.fake.seen(CLOSE_SESSION).is_empty(), "never on an old connection");
    bed.fake.set("/a", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    assert_eq!((moves(&bed, MOVED).await, moves(&bed, "unplanned").await), (1.0, 0.0));
    bed.end(client).await;
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
    let phase = |status: &Value, id: usize| status["members"][id - 1]["phase"].clone();
    assert_eq!(phase(&bed.status().await, 3), "drained");
    assert_eq!(bed.drain(3, false).await, 200);
    assert_eq!(phase(&bed.status().await, 3), "serving");
    let back = bed.client_on(3).await;
    drop(back);
    assert_eq!(bed.http("PUT", "/v1/clusters/z/members/10.0.0.1:1/drain").await.0, 404);
    bed.end(client).await;
}

/// An old follower that lags is pinged until it has caught up. What both tell is told once, in the order in which it happened.
#[tokio::test]
async fn an_old_follower_is_heard_out() {
    for has_zxid in [true, false] {
        let (bed, mut client) = three(2, "", "").await;
        bed.fake.world().events_have_zxid = has_zxid;
        client.did(ADD_WATCH, &path_and("/", 1)).await;
        bed.fake.lag(2);
        bed.fake.set("/a", "1");
        bed.fake.set("/b", "2");
        // The new server has set the watches, and this both tell.
        for id in [1, 3] {
            bed.fake.script(id, SET_WATCHES2, then(|world| world.set("/a", "3")));
        }
        bed.fake.script(2, PING, Act::Serve);
        bed.fake.script(2, PING, Act::Serve);
        bed.fake.script(2, PING, then(|world| world.catch_up(2)));
        bed.fake.forget();
        bed.drained(2).await;
        let told: Vec<_> =
            ["/a", "/b", "/a"].map(|path| (EventType::NodeDataChanged, path.to_owned())).into();
        client.until("three events", |client| client.events.len() >= 3).await;
        client.did(GET_DATA, &read("/a", false)).await;
        client.pong().await;
        assert_eq!(client.events, told, "zxids: {has_zxid}");
        let pings = bed.fake.seen(PING).iter().filter(|seen| seen.server == 2).count();
        assert!(pings >= 3, "{pings}");
        assert!(bed.metric("zookeeper_watch_events_dropped_total", "").await >= 1.0);
        bed.fake.set("/a", "4");
        client.until("the next one", |client| client.events.len() == 4).await;
        bed.end(client).await;
    }
}

/// An old server that was ahead of the new one: what it told is not told again, and nothing is answered from before it.
#[tokio::test]
async fn a_new_server_that_is_behind_catches_up() {
    for has_zxid in [true, false] {
        let (bed, mut client) = three(2, "", "").await;
        bed.fake.world().events_have_zxid = has_zxid;
        client.did(ADD_WATCH, &path_and("/", 1)).await;
        let gate = gate();
        for id in [1, 3] {
            bed.fake.lag(id);
            bed.fake.script(id, SET_WATCHES2, then(|world| world.set("/a", "1")));
            bed.fake.script(id, SYNC, Act::Wait(gate.clone()));
        }
        bed.fake.forget();
        bed.drain(2, true).await;
        client.until("the old one's word", |client| client.events.len() == 1).await;
        eventually("the new one is to catch up", || bed.fake.seen(SYNC).len() == 1).await;
        client.send(GET_DATA, &read("/a", false)).await;
        bed.holding(1).await;
        for id in [1, 3] {
            bed.fake.world().catch_up(id);
        }
        gate.add_permits(1);
        assert_eq!(client.answer().await.err, 0);
        client.pong().await;
        assert_eq!(client.events.len(), 1, "zxids: {has_zxid}, {:?}", client.events);
        bed.drained(2).await;
        bed.end(client).await;
    }
}

/// What the old server has told a persistent watch, and the new one tells again since a one-shot watch was on the same node: one
/// event. That the second has no zxid, on 3.9 too, is in `DataTree.setWatches`.
#[tokio::test]
async fn two_watches_of_one_node_are_told_once() {
    for has_zxid in [true, false] {
        let (bed, mut client) = three(2, "", "").await;
        bed.fake.world().events_have_zxid = has_zxid;
        client.did(ADD_WATCH, &path_and("/", 1)).await;
        client.did(GET_DATA, &read("/b", true)).await;
        bed.fake.lag(2);
        bed.fake.set("/a", "1");
        bed.fake.set("/b", "2");
        for id in [1, 3] {
            bed.fake.script(id, SET_WATCHES2, then(|world| world.set("/a", "3")));
        }
        bed.fake.script(2, PING, then(|world| world.catch_up(2)));
        bed.drained(2).await;
        client.until("three events", |client| client.events.len() >= 3).await;
        client.did(GET_DATA, &read("/a", false)).await;
        client.pong().await;
        let told: Vec<&str> = client.events.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(told, ["/a", "/b", "/a"], "zxids: {has_zxid}");
        bed.end(client).await;
    }
}

/// A one-shot watch that fired on the old server, and again by the zxid on the new one: one event.
#[tokio::test]
async fn a_one_shot_watch_fires_once() {
    let (bed, mut client) = three(2, "", "").await;
    client.did(GET_DATA, &read("/a", true)).await;
    client.did(GET_CHILDREN, &read("/b", true)).await;
    bed.fake.lag(2);
    bed.fake.set("/a", "1");
    bed.fake.create("/b/x");
    bed.fake.script(2, PING, then(|world| world.catch_up(2)));
    bed.drained(2).await;
    client.until("both", |client| client.events.len() >= 2).await;
    client.pong().await;
    client.did(GET_DATA, &read("/a", false)).await;
    assert_eq!(client.events.len(), 2, "{:?}", client.events);
    bed.end(client).await;
}

/// An old leader that doesn't say how far it has come is only listened to: any request would end the connection with events still
/// to come.
#[tokio::test]
async fn an_old_leader_is_only_listened_to() {
    let (bed, mut client) = three(1, "", "").await;
    bed.fake.world().says_zxid = false;
    client.did(ADD_WATCH, &path_and("/a", 0)).await;
    for id in [2, 3] {
        bed.fake.script(id, SET_WATCHES2, then(|world| world.set("/a", "both tell")));
    }
    let old = bed.fake.world().sessions[&client.session].owner;
    bed.fake.forget();
    bed.drained(1).await;
    client.until("the event", |client| client.events.len() == 1).await;
    assert!(bed.on(&client) != 1);
    let set = bed.fake.seen(SET_WATCHES2)[0].at;
    let asked = bed.fake.world().seen.iter().filter(|seen| seen.conn == old && seen.at > set).count();
    assert_eq!(asked, 0, "nothing was asked of it");
    client.did(GET_DATA, &read("/a", false)).await;
    client.pong().await;
    assert_eq!(client.events.len(), 1);
    bed.end(client).await;
}

/// An old leader that says how far it has come is listened to until it has come far enough, and no longer: then it is asked
/// something, and its end comes behind everything that it had to tell.
#[tokio::test]
async fn an_old_leader_is_heard_out() {
    for has_zxid in [true, false] {
        let (bed, mut client) = three(1, "", "").await;
        bed.fake.world().events_have_zxid = has_zxid;
        client.did(ADD_WATCH, &path_and("/", 1)).await;
        bed.fake.lag(1);
        bed.fake.set("/a", "1");
        bed.fake.set("/b", "2");
        for id in [2, 3] {
            bed.fake.script(id, SET_WATCHES2, then(|world| world.set("/a", "3")));
        }
        let old = bed.fake.world().sessions[&client.session].owner;
        bed.fake.forget();
        bed.drain(1, true).await;
        eventually("the watches are set", || !bed.fake.seen(SET_WATCHES2).is_empty()).await;
        client.send(GET_DATA, &read("/a", false)).await;
        bed.holding(1).await;
        // Longer than one would listen that doesn't say.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(client.events.is_empty());
        bed.fake.world().catch_up(1);
        assert_eq!(client.answer().await.err, 0);
        let told: Vec<&str> = client.events.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(told, ["/a", "/b", "/a"], "zxids: {has_zxid}");
        let set = bed.fake.seen(SET_WATCHES2)[0].at;
        let asked = bed.fake.world().seen.iter().filter(|seen| seen.conn == old && seen.at > set).count();
        assert_eq!(asked, 1, "one ping, when it had told everything");
        bed.drained(1).await;
        bed.end(client).await;
    }
}

/// Sessions move a few at a time: one whose turn has not come is served where it is.
#[tokio::test]
async fn who_waits_for_its_turn_is_served() {
    let (bed, first) = three(2, "", "").await;
    let mut clients = vec![first];
    while clients.iter().filter(|client| bed.on(client) == 2).count() < 20 {
        clients.push(bed.client().await);
    }
    // Those that move wait for an answer.
    let gate = gate();
    for id in [1, 3] {
        bed.fake.always(id, Some(Attach::Later(gate.clone())));
    }
    bed.fake.forget();
    bed.drain(2, true).await;
    let moving = || bed.fake.attaches().iter().filter(|seen| seen.request.session != 0).count();
    eventually("some move", || moving() >= 2).await;
    let moving: Vec<i64> = bed.fake.attaches().iter().map(|seen| seen.request.session).collect();
    assert_eq!(moving.len(), 2, "no more at once, as long as nobody knows how many get on with each other");
    for client in clients.iter_mut().filter(|client| bed.on(client) == 2) {
        if !moving.contains(&client.session) {
            client.did(GET_DATA, &read("/a", false)).await;
        }
    }
    gate.add_permits(1000);
    bed.drained(2).await;
    for client in &mut clients {
        client.did(GET_DATA, &read("/a", false)).await;
        assert!(bed.on(client) != 2);
    }
    assert_eq!(moves(&bed, "unplanned").await, 0.0);
    drop(clients);
    bed.settled().await;
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
    bed.drain(2, true).await;
    client.did(GET_DATA, &read("/a", false)).await;
    client.did(SET_DATA, &set_data("/a", "x", -1)).await;
    assert_eq!(bed.on(&client), 2);
    // One comes back: then it goes.
    bed.fake.up(3).await;
    eventually("it has moved", || bed.fake.place(client.session) == Some(3)).await;
    client.did(GET_DATA, &read("/a", false)).await;
    bed.end(client).await;
}

/// The others accept and say nothing: the session stays where it is, works, and goes when one of them answers.
#[tokio::test]
async fn refused_elsewhere_it_stays() {
    let (bed, mut client) = three(2, "", "attach_timeout = \"300ms\"").await;
    client.did(GET_DATA, &read("/a", true)).await;
    for id in [1, 3] {
        bed.fake.always(id, Some(Attach::Silent));
    }
    bed.drain(2, true).await;
    bed.counted("zookeeper_session_moves_total", STAYED, 1.0).await;
    client.did(SET_DATA, &set_data("/b", "x", -1)).await;
    client.pong().await;
    bed.fake.always(3, None);
    eventually("it has moved", || bed.fake.place(client.session) == Some(3)).await;
    bed.fake.set("/a", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}

/// The old server goes while the session moves: an unplanned loss like any other.
#[tokio::test]
async fn lost_while_it_moves() {
    let (bed, mut client) = three(2, "", "").await;
    client.did(GET_DATA, &read("/a", true)).await;
    let gate = gate();
    for id in [1, 3] {
        bed.fake.attach(id, Attach::Later(gate.clone()));
    }
    bed.drain(2, true).await;
    eventually("a new server is asked", || bed.fake.attaches().last().unwrap().request.session != 0).await;
    bed.fake.down(2).await;
    client.send(SET_DATA, &set_data("/b", "x", -1)).await;
    gate.add_permits(2);
    assert_eq!(client.answer().await.err, 0);
    bed.fake.set("/a", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    assert_eq!(bed.fake.seen(SET_DATA).len(), 1);
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

/// A server that is taken off the list is left; one that is put on it is used.
#[tokio::test]
async fn the_list_of_servers_changes_live() {
    let (bed, mut client) = three(2, "", "").await;
    client.did(GET_DATA, &read("/a", true)).await;
    bed.fake.add(4, "follower").await;
    bed.reload(&[1, 4], "", "").await;
    eventually("it has left", || matches!(bed.fake.place(client.session), Some(1 | 4))).await;
    bed.until("two are listed", |status| status["members"].as_array().unwrap().len() == 2).await;
    bed.fake.down(1).await;
    client.did(SYNC, &path("/")).await;
    assert_eq!(bed.on(&client), 4);
    bed.fake.set("/a", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}
