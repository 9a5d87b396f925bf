//! How connections end, and that none goes on without anything to do.

use super::bed::{Bed, PATIENCE};
use crate::net::{Late, Stream};
use crate::zookeeper::session::{End, Session};
use crate::zookeeper::wire::{ConnectRequest, Writer, opcode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

/// More often than this in a second and it spins.
const OFTEN: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_client_that_does_not_read_its_last_answer_holds_nobody_up() {
    let mut bed = Bed::new(1).await;
    let (mut client, run) = bed.connect(64);
    let request = ConnectRequest {
        protocol: 0,
        last_zxid: 0,
        timeout: 3000,
        session: 0,
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    client.send(&request.encode()).await;
    let mut peer = bed.servers[0].attached(3000).await;
    client.frame().await.unwrap();
    client.ask(1, opcode::GET_DATA, &Writer::record().text(b"/a").bool(false).finish()).await;
    let asked = peer.request(1).await;
    peer.reply(&asked, 1, 0, &[0; 1000]).await;
    client.ask(2, opcode::CLOSE_SESSION, &[]).await;
    let asked = peer.request(1).await;
    peer.reply(&asked, 1, 0, &[]).await;
    let polls = run.polls_in(SECOND).await;
    assert!(polls < OFTEN, "{polls} polls with nothing to do");
    drop(peer);
    // It is not read for two thirds of the time-out: nobody waits for longer.
    assert!(tokio::time::timeout(PATIENCE, run.end()).await.is_ok());
    drop(client);
}

#[tokio::test]
async fn a_session_that_had_to_stay_and_now_may_does_not_spin() {
    let mut bed = Bed::new(2).await;
    let (_client, run, mut peer) = bed.served(6000).await;
    bed.drain_first(true);
    let (other, _) = bed.servers[1].asked().await; // it never answers: the session stays
    peer.pinged(1, sleep(Duration::from_millis(1100))).await;
    bed.drain_first(false);
    drop(other);
    peer.pinged(1, sleep(Duration::from_millis(2100))).await;
    let polls = peer.pinged(1, run.polls_in(SECOND)).await;
    assert!(polls < OFTEN, "{polls} polls with nothing to do");
}

#[tokio::test]
async fn a_session_that_waits_for_a_slow_answer_before_it_moves_does_not_spin() {
    let mut bed = Bed::new(2).await;
    let (mut client, run, mut peer) = bed.served(4000).await;
    client.ask(1, opcode::SYNC, &Writer::record().text(b"/").finish()).await;
    let asked = peer.request(1).await;
    bed.drain_first(true);
    let polls = peer.pinged(1, run.polls_in(Duration::from_millis(800))).await;
    assert!(polls < OFTEN, "{polls} polls with nothing to do");
    peer.reply(&asked, 1, 0, &Writer::record().text(b"/").finish()).await;
    assert_eq!(client.heard().await.0.xid, 1);
}

#[tokio::test]
async fn a_session_that_is_found_out_about_does_not_spin() {
    let mut bed = Bed::new(2).await;
    let (mut client, run, mut peer) = bed.served(4000).await;
    client.ask(1, opcode::DELETE, &Writer::record().text(b"/a").i32(-1).finish()).await;
    peer.request(1).await;
    drop(peer);
    let (mut peer, _) = bed.elsewhere(4000).await;
    let fence = peer.request(1).await;
    assert_eq!(fence.code, opcode::MULTI);
    let polls = peer.pinged(1, run.polls_in(SECOND)).await;
    assert!(polls < OFTEN, "{polls} polls with nothing to do");
}

#[tokio::test]
async fn the_end_of_a_session_reaches_a_server_though_its_client_has_gone() {
    for moving in [false, true] {
        let mut bed = Bed::new(2).await;
        let (mut client, run, peer) = bed.served(6000).await;
        let mut peer = Some(peer);
        if moving {
            bed.drain_first(true);
        } else {
            peer = None;
        }
        let (mut other, _) = bed.servers[1].asked().await;
        client.ask(1, opcode::CLOSE_SESSION, &[]).await;
        drop(client);
        sleep(Duration::from_millis(100)).await;
        other.grant(6000).await;
        let mut asked = other.request(1).await;
        if moving {
            assert_eq!(asked.code, opcode::SYNC);
            other.reply(&asked, 1, 0, &Writer::record().text(b"/").finish()).await;
            asked = other.request(1).await;
        }
        assert_eq!(asked.code, opcode::CLOSE_SESSION);
        other.reply(&asked, 1, 0, &[]).await;
        let end = run.end().await;
        assert!(matches!(end, End::Client), "{end:?}");
        drop(peer);
        bed.is_balanced();
    }
}

/// A connection on which nothing is said, and one whose answer to a four-letter word nobody takes.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    for word in [None, Some(b"srvr")] {
        let bed = Bed::new(1).await;
        let (mut client, ours) = tokio::io::duplex(4);
        let session = Session::new(Arc::clone(&bed.ensemble), Stream::Memory(ours), bed.holder.clone());
        if let Some(word) = word {
            client.write_all(word).await.unwrap();
        }
        let began = Instant::now();
        let end = tokio::time::timeout(Duration::from_secs(60), session.run()).await.expect("never let go");
        assert!(matches!(end, End::Late(Late::FirstRequest)), "{end:?}");
        assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());
        drop(client);
    }
}
