//! The lease as it is wired: what the client is told, and when nothing may be told any more.

use super::bed::{Bed, soon};
use crate::metrics::zookeeper::CloseReason;
use crate::zookeeper::session::End;
use crate::zookeeper::wire::{ConnectResponse, Writer, build, errors, opcode};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_clients_clock_is_the_one_that_it_was_told() {
    let mut bed = Bed::new(1).await;
    // It asks for less than the servers grant at least.
    let (mut client, _run) = bed.greeted(1000).await;
    let mut peer = bed.servers[0].attached(4000).await;
    let response = ConnectResponse::decode(&client.frame().await.unwrap()).unwrap();
    assert_eq!(response.timeout, 4000);
    // Longer than the second that it had asked for, and about as long as a client of four seconds is silent.
    peer.pinged(1, sleep(Duration::from_millis(1500))).await;
    client.send(&build::ping()).await;
    let (header, _) = peer.pinged(1, client.heard()).await;
    assert_eq!((header.xid, header.err), (-2, 0));
}

#[tokio::test]
async fn a_silent_clients_session_is_ended_where_it_would_last_longer() {
    let mut bed = Bed::with(1, |settings| {
        settings.zookeeper.tick_time = Duration::from_millis(200);
        settings.zookeeper.session.min_upstream_timeout = Some(Duration::from_secs(10));
    })
    .await;
    let (mut client, run) = bed.greeted(1000).await;
    let (mut peer, request) = bed.servers[0].asked().await;
    assert_eq!(request.timeout, 10_000);
    peer.grant(10_000).await;
    let response = ConnectResponse::decode(&client.frame().await.unwrap()).unwrap();
    assert_eq!(response.timeout, 1000);
    let asked = soon("the end of the session", peer.maybe(1)).await.expect("the end of the session");
    assert_eq!(asked.code, opcode::CLOSE_SESSION);
    assert_eq!(client.frame().await, None);
    run.end().await;
}

/// Each attach touches its session: it must not go on so for ever.
#[tokio::test]
async fn a_silent_clients_session_is_not_taken_from_server_to_server() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, mut peer) = bed.served(3000).await;
    let silent = Instant::now();
    let letting_go = async {
        loop {
            drop(peer);
            peer = bed.servers[0].attached(3000).await;
        }
    };
    tokio::select! {
        () = letting_go => unreachable!("it goes on for ever"),
        end = client.frame() => assert_eq!(end, None),
    }
    let took = silent.elapsed();
    assert!((2900..4000).contains(&took.as_millis()), "{took:?}");
    assert!(matches!(run.end().await, End::Closed(_)));
    assert_eq!(bed.ensemble.metrics.lease_closes.get(CloseReason::SilentClient).get(), 1);
}

#[tokio::test]
async fn nothing_is_made_up_when_the_lease_does_not_allow_for_it() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, mut peer) = bed.served(2000).await;
    // A client that is heard, so that its session is minded.
    for _ in 0..5 {
        client.send(&build::ping()).await;
        peer.pinged(1, client.heard()).await;
        peer.pinged(1, sleep(MOMENT)).await;
    }
    // The server falls silent. Half a tick of what it has answered may be unknown to its leader.
    let since = Instant::now();
    sleep(Duration::from_millis(200)).await;
    client.send(&build::ping()).await;
    client.ask(1, opcode::CREATE, &[]).await;
    let heard = client.frame().await;
    assert_eq!(heard, None, "after {:?}", since.elapsed());
    assert!(matches!(run.end().await, End::Closed(_)));
}

#[tokio::test]
async fn what_no_server_can_decode_is_refused_in_its_order() {
    let mut bed = Bed::new(1).await;
    let (mut client, _run, mut peer) = bed.served(6000).await;
    let exists = Writer::record().text(b"/a").bool(false).finish();
    client.ask(1, opcode::EXISTS, &exists).await;
    client.ask(2, opcode::CREATE, &[0, 0]).await;
    client.ask(3, opcode::CHECK, &[]).await;
    let asked = peer.request(1).await;
    assert_eq!(asked.xid, 1);
    peer.reply(&asked, 9, errors::NO_NODE, &[]).await;
    for expected in [(1, errors::NO_NODE), (2, errors::MARSHALLING_ERROR), (3, errors::UNIMPLEMENTED)] {
        let (header, _) = peer.pinged(9, client.heard()).await;
        assert_eq!((header.xid, header.err, header.zxid), (expected.0, expected.1, 9));
    }
    bed.is_balanced();
}

#[tokio::test]
async fn a_ping_that_was_met_with_silence_is_answered_when_there_is_a_server_again() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, peer) = bed.served(6000).await;
    drop(peer);
    let lost = Instant::now();
    let (_peer, _) = bed.servers[1].asked().await; // it accepts, and says nothing
    // Two seconds are a third: after that nothing is said.
    tokio::time::sleep_until(lost + Duration::from_millis(2200)).await;
    client.send(&build::ping()).await;
    assert!(client.hears_nothing(MOMENT).await);
    // Some library waits for the answer to its ping, whatever else it hears.
    let serving = async {
        loop {
            let (mut peer, _) = bed.anywhere(6000).await;
            while peer.maybe(1).await.is_some() {}
        }
    };
    let heard = tokio::select! {
        () = serving => unreachable!("it goes on for ever"),
        heard = client.heard() => heard,
    };
    assert_eq!(heard.0.xid, -2);
}

#[tokio::test]
async fn a_server_that_is_slow_gets_few_pings() {
    let mut bed = Bed::new(2).await;
    let (mut client, _run, mut peer) = bed.served(6000).await;
    let exists = Writer::record().text(b"/a").bool(false).finish();
    client.ask(1, opcode::EXISTS, &exists).await;
    // Two seconds, in which nine would be due.
    let codes = peer.unanswered().await;
    assert_eq!(codes.iter().filter(|code| **code == opcode::EXISTS).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == opcode::PING).count(), 4, "{codes:?}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_no_silence_of_its_server() {
    let mut bed = Bed::with(2, |settings| settings.net.write_queue = 64 * 1024).await;
    let (mut client, _run, mut peer) = bed.served(6000).await;
    let exists = Writer::record().text(b"/a").bool(false).finish();
    client.ask(1, opcode::EXISTS, &exists).await;
    let asked = peer.request(1).await;
    peer.reply(&asked, 1, 0, &vec![7; 3 << 20]).await;
    let _served = peer.goes_on(1);
    // A second is a sixth. What the server answers meanwhile stays unread.
    sleep(Duration::from_millis(1700)).await;
    assert_eq!(client.heard().await.1.len(), 3 << 20);
    client.send(&build::ping()).await;
    assert_eq!(client.heard().await.0.xid, -2);
    assert_eq!(bed.servers[1].connections(), 0, "nor is it left");
}

#[tokio::test]
async fn that_the_session_has_expired_is_no_proof_that_it_lives() {
    let mut bed = Bed::new(1).await;
    let (mut client, run, mut peer) = bed.served(3000).await;
    let since = Instant::now();
    let exists = Writer::record().text(b"/a").bool(false).finish();
    client.ask(1, opcode::EXISTS, &exists).await;
    let refusing = async {
        loop {
            peer.refuses(errors::SESSION_EXPIRED).await;
        }
    };
    let heard = async {
        assert_eq!(client.heard().await.0.err, errors::SESSION_EXPIRED);
        client.frame().await
    };
    let end = tokio::select! {
        end = heard => end,
        () = refusing => unreachable!("it goes on for ever"),
    };
    // Two thirds of the time-out, and not two thirds after the last ping of ours, which goes out for a third.
    assert_eq!(end, None);
    assert!(since.elapsed() < Duration::from_millis(2700), "{:?}", since.elapsed());
    assert!(matches!(run.end().await, End::Closed(_)));
}

#[tokio::test]
async fn a_freeze_between_two_steps_is_noticed() {
    let mut bed = Bed::with(1, |settings| settings.zookeeper.tick_time = Duration::from_millis(200)).await;
    let (mut client, _run, mut peer) = bed.served(6000).await;
    client.send(&build::ping()).await;
    peer.pinged(1, client.heard()).await;
    peer.event(2, 3, b"/a").await;
    // The session looks at the clock (two of them), is frozen for half its time-out, and reads.
    crate::time::leap_after(2, Duration::from_secs(3));
    assert!(client.hears_nothing(MOMENT).await, "by now its server may have died");
    for _ in 0..2 {
        client.send(&build::ping()).await;
        peer.pinged(2, sleep(Duration::from_millis(150))).await;
    }
    assert_eq!(client.heard().await.0.xid, -1, "and it has not");
}
