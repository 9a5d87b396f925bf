//! All is well: bytes are forwarded as they came, answers in order, and the few requests that servers must not get are refused.
//!
//! Seen on 3.8.0, 3.8.7 and 3.9.6: an unknown operation gets −6 and the end; a lone `check` destroys a 3.8.0 ensemble; 20 ends the
//! connection without an answer, −10 gets a bare `ConnectResponse`. From the libraries' sources: node counts xids from 0, go uses
//! positive ones for `auth` and `setWatches`, C and Java −4 and −8.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::{Act, gate};
use crate::make::*;
use evenkeel::zookeeper::wire::{EventType, Writer, opcode, reply_header};

/// What the server got is what the client sent.
#[tokio::test]
async fn requests_and_answers_are_forwarded_as_they_are() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    let rounds = [
        (CREATE, create("/a", "x", 0)),
        (CREATE2, create("/b", "", SEQUENTIAL | EPHEMERAL)),
        (SET_DATA, set_data("/a", "y", 0)),
        (SET_ACL, set_acl("/a", -1)),
        (EXISTS, read("/nowhere", false)),
        (GET_DATA, read("/a", true)),
        (GET_CHILDREN, read("/", false)),
        (GET_CHILDREN2, read("/", true)),
        (SYNC, path("/")),
        (MULTI, multi(&[(CHECK, path_and("/a", 1)), (DELETE, delete("/a", 7))])),
        (MULTI, multi(&[(SET_DATA, set_data("/a", "z", 1)), (CREATE, create("/c", "", 0))])),
        (DELETE, delete("/a", -1)),
    ];
    for (code, payload) in rounds {
        let answer = client.ask(code, &payload).await;
        let seen = bed.fake.seen_of(code, answer.xid);
        assert_eq!(seen.len(), 1);
        assert_eq!(&seen[0].frame[8..], &payload[..], "{code}");
        assert_eq!(answer.zxid, bed.fake.zxid(), "{code}: the server's own header");
        assert_eq!(answer.err, if code == EXISTS { -101 } else { 0 }, "{code}");
    }
    assert!(bed.fake.node("/c").is_some());
    assert_eq!(bed.status().await["hold"]["started"], 0, "nothing was held");
    bed.end(client).await;
}

/// Many requests in one write: answers in order; those to pings, too, behind what is held up.
#[tokio::test]
async fn answers_are_in_order_and_pings_too() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    let at = bed.on(&client);
    for round in 0..100 {
        client.send(CREATE, &create(&format!("/n{round}"), "", 0)).await;
        client.send(GET_DATA, &read(&format!("/n{round}"), false)).await;
    }
    for _ in 0..200 {
        assert_eq!(client.answer().await.err, 0);
    }
    let gate = gate();
    bed.fake.script(at, SYNC, Act::AnswerLater(gate.clone()));
    client.send(SYNC, &path("/")).await;
    client.send(GET_DATA, &read("/n1", false)).await;
    for _ in 0..3 {
        client.ping().await;
    }
    assert!(client.is_quiet_for(std::time::Duration::from_millis(100)).await);
    gate.add_permits(1);
    assert_eq!((client.answer().await.err, client.answer().await.err), (0, 0));
    client.until("the answers to the pings", |client| client.pongs == 3).await;
    bed.end(client).await;
}

/// Authentications come early too, whatever their xid; each gets exactly one answer.
#[tokio::test]
async fn authentications_are_told_by_their_operation() {
    let bed = Bed::new(1).await;
    for xid in [-4, 7, 0, i32::MAX] {
        let mut client = bed.client().await;
        let gate = gate();
        bed.fake.script(1, SYNC, Act::AnswerLater(gate.clone()));
        client.send_as(1, SYNC, &path("/")).await;
        client.send_as(xid, AUTH, &auth("u:p")).await;
        client.send_as(2, EXISTS, &read("/", false)).await;
        client.until("the answer to auth", |client| client.authenticated == [(xid, 0)]).await;
        gate.add_permits(1);
        assert_eq!((client.answer().await.err, client.answer().await.err), (0, 0));
        bed.end(client).await;
    }
}

/// A refused authentication is the server's word, and the server ends the connection: so do we, in the end.
#[tokio::test]
async fn a_refused_authentication_is_passed_on() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    client.send_as(-4, AUTH, &auth("wrong")).await;
    client.until("the refusal", |client| client.authenticated == [(-4, -115)]).await;
    bed.end(client).await;
}

/// Clients count as they like (but for −1, which is an event's): from 0, from any number, over the end, and with the numbers that others keep for themselves.
#[tokio::test]
async fn xids_are_the_clients_own() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    bed.fake.create("/w");
    for xid in [0, 1, 2, 1000, i32::MAX, i32::MIN, -1000, -8, -4, -2, 5, 5, 5] {
        client.send_as(xid, EXISTS, &read("/", false)).await;
        assert_eq!(client.answer().await.err, 0, "{xid}");
    }
    // setWatches: go with a positive xid, the others with −8.
    let zxid = bed.fake.zxid();
    for (xid, list) in [(9, "/w"), (-8, "/w")] {
        client.send_as(xid, SET_WATCHES, &set_watches(zxid, &[&[list], &[], &[]])).await;
        assert_eq!(client.answer().await.err, 0);
    }
    bed.fake.set("/w", "x");
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}

/// Each kind of watch is told of, in its place before the answers behind it.
#[tokio::test]
async fn watch_events_pass() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    bed.fake.create("/a");
    client.did(GET_DATA, &read("/a", true)).await;
    client.did(GET_CHILDREN, &read("/a", true)).await;
    assert_eq!(client.ask(EXISTS, &read("/b", true)).await.err, -101);
    client.did(ADD_WATCH, &path_and("/p", 0)).await;
    client.did(ADD_WATCH, &path_and("/r", 1)).await;
    let watches = |kind: &'static str| bed.metric("zookeeper_watches", kind);
    for kind in ["\"data\"", "\"child\"", "\"exist\"", "\"persistent\"", "\"persistent_recursive\""] {
        assert_eq!(watches(kind).await, 1.0, "{kind}");
    }
    client.did(CREATE, &create("/a/x", "", 0)).await;
    assert_eq!(client.events, [(EventType::NodeChildrenChanged, "/a".to_owned())], "before the answer");
    bed.fake.set("/a", "new");
    bed.fake.create("/b");
    bed.fake.create("/p");
    bed.fake.create("/r");
    bed.fake.create("/r/deep");
    bed.fake.set("/r/deep", "x");
    client.until("all events", |client| client.events.len() == 7).await;
    let expected = [
        (EventType::NodeChildrenChanged, "/a"),
        (EventType::NodeDataChanged, "/a"),
        (EventType::NodeCreated, "/b"),
        (EventType::NodeCreated, "/p"),
        (EventType::NodeCreated, "/r"),
        (EventType::NodeCreated, "/r/deep"),
        (EventType::NodeDataChanged, "/r/deep"),
    ];
    let told: Vec<_> = client.events.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
    assert_eq!(told, expected);
    let header = reply_header(client.told.as_ref().unwrap()).unwrap();
    assert_eq!(header.zxid, bed.fake.zxid(), "with the zxid that the server gave it");
    for kind in ["\"data\"", "\"child\"", "\"exist\""] {
        assert_eq!(watches(kind).await, 0.0, "{kind}: it has fired");
    }
    bed.end(client).await;
}

/// An operation that there is none of, and two of the servers' own: −6 and the end, and no server gets it.
#[tokio::test]
async fn what_servers_close_for_is_refused() {
    let bed = Bed::new(1).await;
    for code in [23, 99, 108, -1, -5, 4711, i32::MIN, opcode::DELETE_CONTAINER, opcode::CREATE_SESSION] {
        let mut client = bed.client().await;
        client.send(EXISTS, &read("/", false)).await;
        client.send(code, &path("/x")).await;
        client.send(EXISTS, &read("/", false)).await;
        assert_eq!(client.answer().await.err, 0);
        assert_eq!(client.answer().await.err, -6, "{code}");
        client.closed().await;
        assert!(bed.fake.seen(code).is_empty(), "{code}");
        bed.fake.expire(client.session);
        bed.end(client).await;
    }
}

/// A lone check destroys ensembles: −6, and the connection goes on.
#[tokio::test]
async fn a_lone_check_is_never_forwarded() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/a", "", 0)).await;
    let last = client.zxid;
    let answer = client.ask(CHECK, &path_and("/a", 0)).await;
    assert_eq!((answer.err, answer.zxid), (-6, last), "with the last zxid");
    assert!(answer.body.is_empty());
    client.did(MULTI, &multi(&[(CHECK, path_and("/a", 0))])).await;
    assert!(bed.fake.seen(CHECK).is_empty());
    assert_eq!(bed.metric("zookeeper_poison_refused_total", "\"check\"").await, 1.0);
    bed.end(client).await;
}

/// A client that ends its session gets the answer, and its ephemerals go at once.
#[tokio::test]
async fn a_session_is_closed_by_its_client() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    client.did(CLOSE_SESSION, &[]).await;
    client.closed().await;
    assert!(bed.fake.node("/a").is_none());
    // One that doesn't wait for the answer.
    let mut hasty = bed.client().await;
    hasty.did(CREATE, &create("/b", "", EPHEMERAL)).await;
    hasty.send(CLOSE_SESSION, &[]).await;
    drop(hasty);
    crate::bed::eventually("its session is over", || bed.fake.node("/b").is_none()).await;
    assert_eq!(bed.fake.seen(CLOSE_SESSION).len(), 2, "each went once");
    bed.end(client).await;
}

/// A client that splits its frames at every byte is served like any other, from its first frame on.
#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    let bed = Bed::new(1).await;
    let mut client = Client::connect(bed.listen).await;
    let hello = crate::client::hello(crate::client::LONG, Some(false)).encode();
    for byte in &hello[..hello.len() - 1] {
        client.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    client.write(&hello[hello.len() - 1..]).await;
    let frame = Writer::frame().i32(1).i32(CREATE).raw(&create("/slow", "", 0)).finish();
    for byte in &frame[..] {
        client.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    crate::bed::eventually("it was made", || bed.fake.node("/slow").is_some()).await;
    bed.end(client).await;
}
