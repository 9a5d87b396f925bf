//! Planned moves that don't go as planned.

use super::bed::{Asked, Bed, Client, Peer, soon};
use crate::metrics::zookeeper::CloseReason;
use crate::zookeeper::session::End;
use crate::zookeeper::wire::{Writer, errors::NO_NODE, opcode};
use std::time::Duration;
use tokio::time::sleep;

const T: i32 = 6000;

/// Not a write, nor a sync: those wait while one of two servers is drained.
fn exists() -> bytes::Bytes {
    Writer::record().text(b"/b").bool(false).finish()
}

async fn persistent(client: &mut Client, peer: &mut Peer) {
    client.ask(1, opcode::ADD_WATCH, &Writer::record().text(b"/a").i32(0).finish()).await;
    let asked = peer.request(5).await;
    peer.reply(&asked, 5, 0, &Writer::record().i32(0).finish()).await;
    assert_eq!(client.heard().await.0.xid, 1);
}

#[tokio::test]
async fn an_old_server_that_goes_too_early_may_have_taken_events_along() {
    let mut bed = Bed::new(2).await;
    let (mut client, run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    bed.drain_first(true);
    let (mut other, _) = peer.pinged(5, bed.elsewhere(T)).await;
    let asked = other.request(9).await;
    assert_eq!(asked.code, opcode::SET_WATCHES2);
    drop(peer);
    sleep(Duration::from_millis(50)).await;
    other.reply(&asked, 9, 0, &[]).await;
    assert_eq!(client.frame().await, None, "it has to look anew");
    assert!(matches!(run.end().await, End::Closed(_)));
    let closes = &bed.ensemble.metrics.lease_closes;
    assert_eq!(
        closes.get(CloseReason::PersistentWatches).get(),
        1,
        "at once, and not when its lease is over"
    );
}

#[tokio::test]
async fn a_new_server_that_is_slow_with_the_watches_is_waited_for() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    bed.drain_first(true);
    let (mut other, _) = peer.pinged(5, bed.elsewhere(T)).await;
    let asked = other.request(9).await;
    let pause = sleep(Duration::from_millis(1300));
    other.pinged(9, pause).await;
    // All the time the old server tells what happens.
    peer.event(7, 3, b"/a").await;
    let (header, _) = client.heard().await;
    assert_eq!((header.xid, header.zxid), (-1, 7));
    other.reply(&asked, 9, 0, &[]).await;
    client.ask(2, opcode::EXISTS, &exists()).await;
    let old = peer.goes_on(9);
    assert_eq!(other.request(9).await.code, opcode::EXISTS);
    soon("the end of the old connection", old).await.unwrap();
}

#[tokio::test]
async fn what_both_servers_tell_is_told_once_and_in_order() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    bed.drain_first(true);
    let (mut other, _) = peer.pinged(5, bed.elsewhere(T)).await;
    client.ask(2, opcode::EXISTS, &exists()).await;
    let asked = other.request(9).await;
    other.reply(&asked, 9, 0, &[]).await;
    other.event(10, 3, b"/a").await;
    other.event(11, 3, b"/a").await;
    sleep(Duration::from_millis(20)).await;
    peer.event(8, 3, b"/a").await;
    peer.event(10, 3, b"/a").await;
    let old = peer.goes_on(10);
    // The old one was ahead of what the new one had when the watches were set.
    let asked = other.request(11).await;
    assert_eq!(asked.code, opcode::SYNC);
    other.reply(&asked, 11, 0, &Writer::record().text(b"/").finish()).await;
    let asked = other.request(11).await;
    soon("the end of the old connection", old).await.unwrap();
    other.reply(&asked, 11, NO_NODE, &[]).await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        let (header, _) = client.heard().await;
        heard.push((header.xid, header.zxid));
    }
    assert_eq!(heard, [(-1, 8), (-1, 10), (-1, 11), (2, 11)]);
    bed.is_balanced();
}

/// Events of servers before 3.9 have no zxid, so that the new server can't be told to be behind one; nor can the event be told
/// from another of its kind.
#[tokio::test]
async fn what_was_told_before_the_new_server_was_there_is_not_told_again() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    bed.drain_first(true);
    let (mut other, _) = peer.pinged(5, bed.servers[1].asked()).await;
    peer.event(-1, 3, b"/a").await;
    assert_eq!(client.heard().await.0.xid, -1);
    other.grant(T).await;
    let asked = other.request(5).await;
    other.reply(&asked, 5, 0, &[]).await;
    let old = peer.goes_on(6);
    other.event(-1, 3, b"/a").await;
    client.ask(2, opcode::EXISTS, &exists()).await;
    let mut asked = other.request(6).await;
    if asked.code == opcode::SYNC {
        // The old one said first how far it had come.
        other.reply(&asked, 6, 0, &Writer::record().text(b"/").finish()).await;
        asked = other.request(6).await;
    }
    assert_eq!(asked.code, opcode::EXISTS);
    soon("the end of the old connection", old).await.unwrap();
    other.reply(&asked, 6, NO_NODE, &[]).await;
    assert_eq!(client.heard().await.0.xid, 2);
}

/// What was told before the move, with no answer since: a server that hasn't come so far would tell it again.
#[tokio::test]
async fn a_server_that_has_not_come_as_far_as_what_was_told_does_not_get_the_session() {
    for zxid in [8, -1] {
        let mut bed = Bed::new(2).await;
        let (mut client, _run, mut peer) = bed.served(T).await;
        persistent(&mut client, &mut peer).await;
        peer.event(zxid, 3, b"/a").await;
        assert_eq!(client.heard().await.0.zxid, zxid);
        bed.drain_first(true);
        // A ping shows how far the old one has come.
        let (mut other, request) = peer.pinged(8, bed.servers[1].asked()).await;
        assert_eq!(request.last_zxid, 8);
        other.grant(T).await;
        let asked = other.request(8).await;
        assert_eq!(asked.code, opcode::SET_WATCHES2);
        other.reply(&asked, 8, 0, &[]).await;
        let old = peer.goes_on(8);
        soon("the end of the old connection", old).await.unwrap();
        client.ask(2, opcode::EXISTS, &exists()).await;
        let asked = other.request(8).await;
        other.reply(&asked, 8, NO_NODE, &[]).await;
        assert_eq!(client.heard().await.0.xid, 2);
        bed.is_balanced();
    }
}

/// Nothing was told since the last answer: nothing is asked, and no time is lost.
#[tokio::test]
async fn who_was_told_nothing_since_an_answer_leaves_without_a_question() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    peer.event(8, 3, b"/a").await;
    assert_eq!(client.heard().await.0.zxid, 8);
    client.ask(2, opcode::EXISTS, &exists()).await;
    let asked = peer.request(8).await;
    peer.reply(&asked, 8, NO_NODE, &[]).await;
    assert_eq!(client.heard().await.0.xid, 2);
    bed.drain_first(true);
    let (_other, request) = bed.servers[1].asked().await;
    assert_eq!(request.last_zxid, 8);
}

/// The old server has come just as far as the new one had when the watches were set: what each tells is another change.
#[tokio::test]
async fn the_same_kind_of_change_on_either_side_of_a_move_is_told_twice() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(T).await;
    persistent(&mut client, &mut peer).await;
    bed.drain_first(true);
    let (mut other, _) = peer.pinged(5, bed.elsewhere(T)).await;
    let asked = other.request(9).await;
    peer.event(-1, 3, b"/a").await;
    assert_eq!(client.heard().await.0.xid, -1);
    other.reply(&asked, 9, 0, &[]).await;
    other.event(-1, 3, b"/a").await;
    let old = peer.goes_on(9);
    soon("the end of the old connection", old).await.unwrap();
    assert_eq!(client.heard().await.0.xid, -1);
}

#[tokio::test]
async fn a_server_that_is_lost_while_its_session_moves_is_like_any_other() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, peer) = bed.served(T).await;
    bed.drain_first(true);
    let (mut other, _) = bed.servers[1].asked().await;
    client.ask(1, opcode::EXISTS, &exists()).await;
    drop(peer);
    sleep(Duration::from_millis(50)).await;
    other.grant(T).await;
    // Whichever attach it is now: the request is sent once, and answered.
    let (mut peer, asked) = if let Some(asked) = other.maybe(3).await {
        (other, asked)
    } else {
        let mut peer = bed.elsewhere(T).await.0;
        let asked = peer.request(3).await;
        (peer, asked)
    };
    assert_eq!(asked.code, opcode::EXISTS);
    peer.reply(&asked, 3, NO_NODE, &[]).await;
    assert_eq!(client.heard().await.0.xid, 1);
    bed.is_balanced();
}

/// The client authenticates itself to its server, by SASL.
async fn sasl(client: &mut Client, peer: &mut Peer) {
    client.ask(1, opcode::SASL, &Writer::record().buffer(None).finish()).await;
    let asked = peer.request(5).await;
    peer.reply(&asked, 5, 0, &Writer::record().buffer(None).finish()).await;
    assert_eq!(client.heard().await.0.xid, 1);
}

/// Asks one thing after another, none of which is answered, until one waits for its session's move: what its server was asked.
async fn until_it_is_to_leave(client: &mut Client, peer: &mut Peer) -> Vec<Asked> {
    let mut unanswered = Vec::new();
    for xid in 0.. {
        client.ask(xid, opcode::EXISTS, &exists()).await;
        let asked = tokio::time::timeout(Duration::from_millis(200), peer.request(5)).await;
        let Ok(asked) = asked else { break };
        unanswered.push(asked);
        peer.pinged(5, sleep(Duration::from_millis(50))).await;
    }
    unanswered
}

/// All of them are answered, the one that waited, too, by the same server.
async fn goes_on_there(client: &mut Client, peer: &mut Peer, asked: Vec<Asked>) {
    for asked in &asked {
        peer.reply(asked, 5, NO_NODE, &[]).await;
    }
    let held = peer.request(5).await;
    peer.reply(&held, 5, NO_NODE, &[]).await;
    for asked in asked.iter().chain([&held]) {
        let (header, _) = peer.pinged(5, client.heard()).await;
        assert_eq!(header.xid, asked.xid);
    }
}

/// In the moment in which it was about to be closed for it.
#[tokio::test]
async fn a_client_with_sasl_stays_where_the_drain_is_taken_back() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(3 * T).await;
    sasl(&mut client, &mut peer).await;
    bed.drain_first(true);
    let asked = until_it_is_to_leave(&mut client, &mut peer).await;
    bed.drain_first(false);
    goes_on_there(&mut client, &mut peer, asked).await;
    assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::Auth).get(), 0);
    bed.is_balanced();
}

/// It can't follow from then on, and nothing is drained.
#[tokio::test]
async fn a_client_that_begins_with_sasl_when_its_server_is_listed_no_more_stays_there() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(3 * T).await;
    client.ask(1, opcode::SASL, &Writer::record().buffer(None).finish()).await;
    let first = peer.request(5).await;
    bed.ensemble.follow(&[bed.servers[1].at.clone()]);
    sleep(Duration::from_millis(100)).await;
    client.ask(2, opcode::EXISTS, &exists()).await; // it waits for the move
    peer.reply(&first, 5, 0, &Writer::record().buffer(None).finish()).await;
    assert_eq!(client.heard().await.0.xid, 1);
    let held = peer.request(5).await;
    peer.reply(&held, 5, NO_NODE, &[]).await;
    assert_eq!(client.heard().await.0.xid, 2);
    assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::Auth).get(), 0);
    bed.is_balanced();
}

/// What is under way is waited for as long as for what is held.
#[tokio::test]
async fn a_drain_does_not_cut_off_what_a_client_with_sasl_waits_for() {
    for (hold, is_answered) in [(20, true), (1, false)] {
        let longest = Duration::from_secs(hold);
        let mut bed = Bed::with(2, |settings| settings.hold.max = longest).await;
        let (mut client, run, mut peer) = bed.served(5 * T).await;
        sasl(&mut client, &mut peer).await;
        client.ask(7, opcode::EXISTS, &exists()).await;
        let slow = peer.request(5).await;
        bed.drain_first(true);
        if is_answered {
            // It is its turn after three seconds at most, and for one it waits.
            peer.pinged(5, sleep(Duration::from_millis(4500))).await;
            peer.reply(&slow, 5, NO_NODE, &[]).await;
            assert_eq!(peer.pinged(5, client.heard()).await.0.xid, 7);
        }
        let old = peer.goes_on(5);
        assert_eq!(client.frame().await, None, "and then it is closed");
        soon("the end of the old connection", old).await.unwrap();
        assert!(matches!(run.end().await, End::Closed(_)));
        assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::Auth).get(), 1);
        bed.is_balanced();
    }
}
