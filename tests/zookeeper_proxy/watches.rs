//! Watches outlive their server: what is set again, and where; what happened in between is told.
//!
//! Seen on 3.8.0, 3.8.7 and 3.9.6: events come before the answer to `setWatches`; an exists-watch on a node that is there belongs in the
//! data list; persistent watches are not replayed.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Seen, then};
use crate::make::*;
use evenkeel::zookeeper::wire::{EventType, Names, Request, WatchLists};

async fn two(cluster: &str) -> (Bed, Client) {
    let bed = Bed::with(2, "", cluster).await;
    bed.fake.create("/a");
    bed.fake.create("/b");
    let client = bed.client_on(2).await;
    (bed, client)
}

fn lists(seen: &Seen) -> WatchLists<'_> {
    match seen.request() {
        Request::SetWatches(lists) | Request::SetWatches2(lists) => lists,
        other => panic!("{other:?}"),
    }
}

fn names(list: Option<Names<'_>>) -> Vec<String> {
    let mut names: Vec<String> =
        list.expect("never null").iter().map(|name| name.lossy().into_owned()).collect();
    names.sort();
    names
}

/// Each in the list that it belongs in, with the zxid of the newest answer; those that fired, or were removed, no more.
#[tokio::test]
async fn watches_are_set_again_in_their_lists() {
    let (bed, mut client) = two("").await;
    client.did(GET_DATA, &read("/a", true)).await;
    client.did(EXISTS, &read("/b", true)).await;
    assert_eq!(client.ask(EXISTS, &read("/c", true)).await.err, -101);
    client.did(GET_CHILDREN2, &read("/a", true)).await;
    client.did(GET_CHILDREN, &read("/b", true)).await;
    client.did(18, &path_and("/b", 1)).await;
    assert_eq!(client.ask(GET_DATA, &read("/none", true)).await.err, -101, "sets nothing");
    client.did(GET_DATA, &read("/", true)).await;
    bed.fake.set("/", "fires");
    client.until("the event", |client| client.events.len() == 1).await;
    client.did(SYNC, &path("/")).await;
    let last = client.zxid;
    bed.fake.forget();
    bed.fake.hang_up(2);
    eventually("set again", || bed.fake.seen(SET_WATCHES).len() == 1).await;
    let seen = &bed.fake.seen(SET_WATCHES)[0];
    let set = lists(seen);
    assert_eq!((seen.server, seen.xid, set.relative_zxid), (1, -8, last));
    assert_eq!(names(set.data), ["/a", "/b"]);
    assert_eq!(names(set.exist), ["/c"]);
    assert_eq!(names(set.child), ["/a"]);
    bed.fake.create("/c");
    bed.fake.delete("/b");
    bed.fake.create("/a/x");
    bed.fake.set("/a", "x");
    client.until("all of it", |client| client.events.len() == 5).await;
    let told: Vec<_> = client.events[1..].iter().map(|(kind, path)| (*kind, path.as_str())).collect();
    let expected = [
        (EventType::NodeCreated, "/c"),
        (EventType::NodeDeleted, "/b"),
        (EventType::NodeChildrenChanged, "/a"),
        (EventType::NodeDataChanged, "/a"),
    ];
    assert_eq!(told, expected);
    assert_eq!(bed.metric("zookeeper_watches_rearmed_total", "").await, 4.0);
    bed.end(client).await;
}

/// What happened while there was no server is told on the next one, before the answers that were held.
#[tokio::test]
async fn what_happened_in_the_gap_is_told() {
    let (bed, mut client) = two("").await;
    client.did(GET_DATA, &read("/a", true)).await;
    client.did(GET_CHILDREN, &read("/b", true)).await;
    assert_eq!(client.ask(EXISTS, &read("/c", true)).await.err, -101);
    bed.fake.all_down().await;
    client.send(GET_DATA, &read("/a", false)).await;
    bed.holding(1).await;
    bed.fake.set("/a", "x");
    bed.fake.create("/b/x");
    bed.fake.create("/c");
    bed.fake.all_up().await;
    client.answer().await;
    let mut told = client.events.clone();
    told.sort_by(|one, other| one.1.cmp(&other.1));
    let expected = [
        (EventType::NodeDataChanged, "/a".to_owned()),
        (EventType::NodeChildrenChanged, "/b".to_owned()),
        (EventType::NodeCreated, "/c".to_owned()),
    ];
    assert_eq!(told, expected);
    // They have fired: the next loss sets nothing again.
    bed.fake.forget();
    let from = bed.on(&client);
    bed.fake.script(from, SYNC, Act::Close);
    client.did(SYNC, &path("/")).await;
    assert_eq!(bed.fake.seen(SYNC).len(), 2, "on another connection");
    assert!(bed.fake.seen(SET_WATCHES).is_empty());
    bed.end(client).await;
}

/// Many of them go in several requests of at most 128 KiB of paths, none forgotten.
#[tokio::test]
async fn many_watches_go_in_chunks() {
    let (bed, mut client) = two("").await;
    let long = |n: usize| format!("/{n:03}-{}", "x".repeat(1000));
    for n in 0..400 {
        client.send(EXISTS, &read(&long(n), true)).await;
    }
    for _ in 0..400 {
        assert_eq!(client.answer().await.err, -101);
    }
    bed.fake.hang_up(2);
    let set = || bed.fake.place(client.session) == Some(1) && bed.fake.watches(client.session).len() == 400;
    eventually("all of them", set).await;
    let chunks = bed.fake.seen(SET_WATCHES);
    assert_eq!(chunks.len(), 4);
    assert!(chunks.iter().all(|chunk| chunk.frame.len() < 132_000));
    let each = chunks.iter().flat_map(|chunk| names(lists(chunk).exist));
    assert_eq!(each.collect::<std::collections::BTreeSet<_>>().len(), 400);
    bed.fake.create(&long(399));
    client.until("the event", |client| client.events.len() == 1).await;
    bed.end(client).await;
}

/// A request about watches that was in flight goes behind their re-arming.
#[tokio::test]
async fn requests_about_watches_follow_the_watches() {
    for code in [17, 18] {
        let (bed, mut client) = two("").await;
        client.did(GET_DATA, &read("/a", true)).await;
        bed.fake.script(2, code, Act::Close);
        bed.fake.forget();
        client.did(code, &path_and("/a", 2)).await;
        assert_eq!(bed.fake.codes(), [code, SET_WATCHES, code]);
        assert_eq!(bed.fake.watches(client.session).data.contains("/a"), code == 17);
        bed.end(client).await;
    }
}

/// With a persistent watch nobody can tell what happened in the gap: the connection is closed, unless told otherwise.
#[tokio::test]
async fn persistent_watches_end_the_connection_or_not() {
    for mode in [0, 1] {
        let (bed, mut client) = two("").await;
        client.did(ADD_WATCH, &path_and("/a", mode)).await;
        bed.fake.hang_up(2);
        client.closed().await;
        assert_eq!(bed.metric("zookeeper_lease_closes_total", "persistent_watches").await, 1.0);
        bed.end(client).await;

        let (bed, mut client) = two("persistent_watches = \"keep\"").await;
        client.did(ADD_WATCH, &path_and("/a", mode)).await;
        client.did(GET_DATA, &read("/b", true)).await;
        bed.fake.hang_up(2);
        eventually("set again", || bed.fake.seen(SET_WATCHES2).len() == 1).await;
        let seen = &bed.fake.seen(SET_WATCHES2)[0];
        let set = lists(seen);
        let expected: [&[&str]; 2] = if mode == 0 { [&["/a"], &[]] } else { [&[], &["/a"]] };
        assert_eq!((names(set.persistent), names(set.recursive)), (to_vec(expected[0]), to_vec(expected[1])));
        assert_eq!(names(set.data), ["/b"]);
        for round in 1..=3 {
            bed.fake.set("/a", "x");
            client.until("each time", |client| client.events.len() == round).await;
        }
        bed.end(client).await;
    }
}

fn to_vec(list: &[&str]) -> Vec<String> {
    list.iter().map(|path| (*path).to_owned()).collect()
}

/// A client's own setWatches, as after its reconnect: counted from when it is sent, since its events come before its answer.
#[tokio::test]
async fn a_clients_own_set_watches_counts() {
    let (bed, mut client) = two("").await;
    client.did(SYNC, &path("/")).await;
    let zxid = client.zxid;
    bed.fake.set("/a", "newer");
    let all: [&[&str]; 3] = [&["/a", "/b"], &[], &[]];
    // The server is lost with what it has told: its event is told by the next one.
    bed.fake.script(2, SET_WATCHES, Act::ApplyThenClose);
    client.did(SET_WATCHES, &set_watches(zxid, &all)).await;
    assert_eq!(client.events[0], (EventType::NodeDataChanged, "/a".to_owned()));
    bed.fake.set("/b", "x");
    client.until("the other", |client| client.events.last().unwrap().1 == "/b").await;
    bed.end(client).await;
}

/// An event that comes with the loss is told once.
#[tokio::test]
async fn an_event_that_was_told_is_not_told_again() {
    let (bed, mut client) = two("").await;
    client.did(GET_DATA, &read("/a", true)).await;
    bed.fake.script(2, SYNC, then(|world| world.set("/a", "x")));
    client.did(SYNC, &path("/")).await;
    client.until("the event", |client| client.events.len() == 1).await;
    bed.fake.hang_up(2);
    eventually("elsewhere", || bed.fake.place(client.session) == Some(1)).await;
    client.did(SYNC, &path("/")).await;
    client.pong().await;
    assert_eq!(client.events.len(), 1);
    bed.end(client).await;
}
