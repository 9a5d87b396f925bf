//! A server is lost: what the client is told, and what the next server is asked.

use super::bed::{Bed, CONNECTION_LOSS, Client, Peer, SESSION};
use crate::metrics::zookeeper::{CloseReason, FenceOutcome};
use crate::zookeeper::session::End;
use crate::zookeeper::wire::{Stat, Writer, build, errors, opcode};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const T: i32 = 6000;
/// A server has too much to do (3.6 and later).
const THROTTLED: i32 = -127;

fn path(path: &[u8]) -> Bytes {
    Writer::record().text(path).bool(true).finish()
}

/// A watch on the data of a node.
async fn watch(client: &mut Client, peer: &mut Peer, xid: i32, name: &[u8], zxid: i64) {
    client.ask(xid, opcode::GET_DATA, &path(name)).await;
    let asked = peer.request(zxid).await;
    let body = Stat::default().write(Writer::record().buffer(None)).finish();
    peer.reply(&asked, zxid, 0, &body).await;
    assert_eq!(client.heard().await.0.xid, xid);
}

fn ephemeral(name: &[u8]) -> Bytes {
    let acl = Writer::record().text(name).buffer(None).i32(1).i32(31).text(b"world").text(b"anyone");
    acl.i32(1).finish()
}

/// The answer to the fence.
async fn fence(peer: &mut Peer, zxid: i64) {
    let fence = peer.request(zxid).await;
    assert_eq!(fence.code, opcode::MULTI);
    let end = Writer::record().i32(-1).bool(true).i32(-1).finish();
    peer.reply(&fence, zxid, 0, &end).await;
}

#[tokio::test]
async fn the_second_event_of_one_transaction_is_not_lost_with_the_server() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    watch(&mut client, &mut peer, 1, b"/a", 5).await;
    watch(&mut client, &mut peer, 2, b"/b", 5).await;
    // Both are changed by one multi, and the server dies between its two events.
    peer.event(9, 3, b"/a").await;
    assert_eq!(client.heard().await.0.xid, -1);
    drop(peer);
    let (mut peer, _) = bed.elsewhere(T).await;
    let asked = peer.request(9).await;
    assert_eq!(asked.code, opcode::SET_WATCHES);
    let relative = i64::from_be_bytes(asked.payload[..8].try_into().unwrap());
    assert_eq!(relative, 5, "what came after it is told: the other event has this zxid, 9");
}

#[tokio::test]
async fn an_event_does_not_overtake_the_answer_that_set_its_watch() {
    let mut bed = Bed::new(1).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::GET_DATA, &path(b"/a")).await;
    let asked = peer.request(5).await;
    let body = Stat::default().write(Writer::record().buffer(None)).finish();
    let event = Writer::record().i32(3).i32(3).text(b"/a").finish();
    let both = [build::reply(asked.xid, 5, 0, &body), build::reply(-1, 6, 0, &event)].concat();
    peer.say(&both).await;
    assert_eq!(client.heard().await.0.xid, 1);
    assert_eq!(client.heard().await.0.xid, -1);
}

#[tokio::test]
async fn a_write_whose_outcome_is_not_known_leaves_the_book_balanced() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::CREATE, &ephemeral(b"/e")).await;
    peer.request(1).await;
    drop(peer);
    let (mut peer, _) = bed.elsewhere(T).await;
    fence(&mut peer, 9).await;
    let read = peer.request(9).await;
    peer.reply(&read, 9, errors::NO_AUTH, &[]).await;
    let (header, _) = peer.pinged(9, client.heard()).await;
    assert_eq!((header.xid, header.err), (1, CONNECTION_LOSS));
    bed.is_balanced();
}

#[tokio::test]
async fn where_there_is_no_answer_none_of_a_later_request_comes() {
    let mut bed = Bed::with(2, |settings| {
        settings.zookeeper.unknown_outcome = crate::config::UnknownOutcome::Close;
    })
    .await;
    let (mut client, run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::CREATE, &ephemeral(b"/e")).await;
    peer.request(1).await;
    client.ask(2, opcode::CHECK, &[]).await; // answered here, and behind the first one
    drop(peer);
    let (mut peer, _) = bed.elsewhere(T).await;
    fence(&mut peer, 9).await;
    let read = peer.request(9).await;
    peer.reply(&read, 9, errors::NO_AUTH, &[]).await;
    assert_eq!(client.frame().await, None);
    assert!(matches!(run.end().await, End::Closed(_)));
    bed.is_balanced();
}

#[tokio::test]
async fn no_server_is_attached_to_that_is_behind_a_write_that_was_found_applied() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::CREATE, &ephemeral(b"/e")).await;
    peer.request(1).await;
    drop(peer);
    let (mut peer, _) = bed.elsewhere(T).await;
    fence(&mut peer, 9).await;
    let read = peer.request(9).await;
    let stat = Stat { czxid: 8, ephemeral_owner: SESSION, ..Stat::default() };
    peer.reply(&read, 9, 0, &stat.write(Writer::record()).finish()).await;
    let (header, body) = peer.pinged(9, client.heard()).await;
    assert_eq!((header.xid, header.err, header.zxid), (1, 0, 8));
    assert_eq!(body, Writer::record().text(b"/e").finish());
    drop(peer);
    let (_peer, request) = bed.anywhere(T).await;
    assert_eq!(request.last_zxid, 8);
    bed.is_balanced();
}

#[tokio::test]
async fn a_request_that_every_server_closes_for_is_not_sent_for_ever() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, peer) = bed.served(T).await;
    client.ask(1, opcode::AUTH, &[]).await; // no server can decode it
    let mut sent = 0;
    let serving = async {
        let mut now = Some(peer);
        loop {
            if let Some(mut peer) = now.take() {
                sent += usize::from(peer.maybe(1).await.is_some());
            }
            now = Some(bed.servers[0].attached(T).await);
        }
    };
    tokio::select! {
        () = serving => unreachable!("it goes on for ever"),
        end = client.frame() => assert_eq!(end, None),
    }
    assert!(matches!(run.end().await, End::Closed(_)));
    assert!((2..=10).contains(&sent), "sent {sent} times");
    bed.is_balanced();
}

/// However long each server has it, and as often as pings are answered meanwhile. Four in a row are still nobody's fault.
#[tokio::test]
async fn a_request_is_given_up_with_the_fifth_server_that_is_lost_with_it() {
    for losses in [4, 5] {
        let mut bed = Bed::new(2).await;
        let (mut client, run, mut peer) = bed.served(60_000).await;
        client.ask(1, opcode::GET_CHILDREN, &path(b"/")).await;
        for _ in 0..losses - 1 {
            assert_eq!(peer.request(1).await.code, opcode::GET_CHILDREN);
            peer.pinged(1, sleep(Duration::from_millis(1050))).await;
            drop(peer);
            (peer, _) = bed.anywhere(60_000).await;
        }
        let asked = peer.request(1).await;
        if losses == 5 {
            drop(peer);
            assert_eq!(client.frame().await, None);
            assert!(matches!(run.end().await, End::Closed(_)));
            assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::LostRequests).get(), 1);
        } else {
            drop(peer);
            (peer, _) = bed.anywhere(60_000).await;
            assert_eq!(peer.request(1).await.code, asked.code);
            peer.reply(&asked, 1, 0, &[]).await;
            assert_eq!(client.heard().await.0.xid, 1);
        }
        bed.is_balanced();
    }
}

/// Throttled, answered with something else, or refused to a connection that is the session's no more: no progress, though pings are answered.
#[tokio::test]
async fn a_write_whose_fence_is_refused_by_each_server_is_given_up() {
    for refusal in [THROTTLED, errors::OK, errors::SESSION_MOVED] {
        let mut bed = Bed::new(1).await;
        let (mut client, run, mut peer) = bed.served(T).await;
        client.ask(1, opcode::CREATE, &ephemeral(b"/e")).await;
        peer.request(1).await;
        drop(peer);
        let mut fences = 0;
        let refusing = async {
            loop {
                let (mut peer, _) = bed.anywhere(T).await;
                let fence = peer.request(1).await;
                assert_eq!(fence.code, opcode::MULTI);
                peer.reply(&fence, 1, refusal, &[]).await;
                fences += 1;
            }
        };
        tokio::select! {
            () = refusing => unreachable!("it goes on for ever"),
            end = client.frame() => assert_eq!(end, None),
        }
        assert!(matches!(run.end().await, End::Closed(_)));
        assert_eq!(fences, 4, "{refusal}: with the one that had the write, five");
        assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::LostRequests).get(), 1);
        assert_eq!(bed.ensemble.metrics.fences.get(FenceOutcome::Refused).get(), 4);
        bed.is_balanced();
    }
}

/// As where another process has the same session.
#[tokio::test]
async fn a_request_that_each_server_refuses_to_this_connection_is_given_up() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, first) = bed.served(T).await;
    client.ask(1, opcode::GET_CHILDREN, &path(b"/")).await;
    let mut asked = 0;
    let refusing = async {
        let mut peer = first;
        loop {
            let request = peer.request(1).await;
            assert_eq!(request.code, opcode::GET_CHILDREN);
            peer.reply(&request, 1, errors::SESSION_MOVED, &[]).await;
            asked += 1;
            (peer, _) = bed.anywhere(T).await;
        }
    };
    tokio::select! {
        () = refusing => unreachable!("it goes on for ever"),
        end = client.frame() => assert_eq!(end, None),
    }
    assert!(matches!(run.end().await, End::Closed(_)));
    assert_eq!(asked, 5);
    assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::LostRequests).get(), 1);
    bed.is_balanced();
}

/// The ensemble grants sessions and answers pings, and commits nothing.
#[tokio::test]
async fn a_write_that_is_never_found_out_about_is_given_up_after_two_thirds_of_the_time_out() {
    let mut bed = Bed::new(2).await;
    let (mut client, run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::CREATE, &ephemeral(b"/e")).await;
    peer.request(1).await;
    let lost = Instant::now();
    drop(peer);
    let (mut peer, _) = bed.elsewhere(T).await;
    assert_eq!(peer.request(1).await.code, opcode::MULTI);
    let serving = peer.goes_on(1);
    client.pings_until_the_end().await;
    assert!(matches!(run.end().await, End::Closed(_)));
    let took = lost.elapsed();
    serving.await.unwrap();
    assert!((3900..5900).contains(&took.as_millis()), "{took:?}");
    bed.is_balanced();
}

/// Two servers are lost, three seconds apart, each with a request: what has been waited for the first is no part of the second's time.
#[tokio::test]
async fn what_is_lost_later_has_two_thirds_of_its_own() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    let unwatched = Writer::record().text(b"/").bool(false).finish();
    for (xid, before, after) in [(1, 0, 3200), (2, 1500, 0)] {
        client.ask(xid, opcode::GET_CHILDREN, &unwatched).await;
        peer.request(1).await;
        drop(peer);
        (peer, _) = bed.anywhere(T).await;
        let asked = peer.request(1).await;
        assert_eq!(asked.xid, xid);
        for (pause, answers) in [(before, true), (after, false)] {
            let end = Instant::now() + Duration::from_millis(pause);
            while Instant::now() < end {
                client.send(&build::ping()).await;
                let (header, _) = peer.pinged(1, client.heard()).await;
                assert_eq!(header.xid, -2);
                peer.pinged(1, sleep(Duration::from_millis(200))).await;
            }
            if answers {
                peer.reply(&asked, 1, 0, &[]).await;
                assert_eq!(client.heard().await.0.xid, xid);
            }
        }
    }
    bed.is_balanced();
}

/// A client that asks nothing is no reason for a server to close: an ensemble that is unsteady doesn't cost it its connection.
#[tokio::test]
async fn an_idle_session_outlives_servers_that_let_it_go_at_once() {
    let mut bed = Bed::new(1).await;
    let (mut client, _run, mut peer) = bed.served(30_000).await;
    for _ in 0..9 {
        drop(peer);
        peer = bed.servers[0].attached(30_000).await;
    }
    client.send(&build::ping()).await;
    let (header, _) = peer.pinged(1, client.heard()).await;
    assert_eq!(header.xid, -2);
}

#[tokio::test]
async fn an_answer_may_be_longer_than_any_request() {
    let mut bed = Bed::new(1).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::GET_CHILDREN, &path(b"/")).await;
    let asked = peer.request(1).await;
    let long = vec![1; 3 * 1024 * 1024];
    let ((), (header, body)) = tokio::join!(peer.reply(&asked, 1, 0, &long), client.heard());
    assert_eq!((header.xid, body.len()), (1, long.len()));
}

#[tokio::test]
async fn a_session_that_is_gone_answers_its_end_and_nothing_is_left() {
    let mut bed = Bed::new(2).await;
    let (mut client, run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::CLOSE_SESSION, &[]).await;
    client.ask(2, opcode::SYNC, &Writer::record().text(b"/").finish()).await;
    peer.request(1).await;
    drop(peer);
    bed.elsewhere(0).await;
    assert_eq!(client.heard().await.0.xid, 1);
    assert_eq!(client.frame().await, None);
    assert!(matches!(run.end().await, End::Client));
    bed.is_balanced();
}

#[tokio::test]
async fn a_client_that_dies_while_its_request_is_held_leaves_nothing() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, mut peer) = bed.served(T).await;
    client.ask(1, opcode::GET_DATA, &path(b"/a")).await;
    peer.request(1).await;
    drop(peer);
    bed.servers[0].asked().await;
    client.send(&build::ping()).await;
    assert_eq!(client.heard().await.0.xid, -2);
    drop(client);
    assert!(matches!(run.end().await, End::Client | End::Broken(_)));
    bed.is_balanced();
    assert!(bed.ensemble.read(|servers| servers.all().iter().all(|server| server.sessions == 0)));
}
