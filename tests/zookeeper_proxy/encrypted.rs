//! Clients whose connections are encrypted: a session as ever, and who is not let in.

use crate::bed::Bed;
use crate::client::{Client, LONG};
use crate::make::*;
use crate::tunnel::{Files, kind, open, trusting, tunnel};
use rustls::HandshakeKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use testbed::keys::{Authority, replace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOUND: Duration = Duration::from_secs(30);

async fn handshakes(bed: &Bed, outcome: &str) -> f64 {
    bed.metric("client_handshakes_total", &format!("outcome=\"{outcome}\"")).await
}

/// Requests of all sizes, an answer that is longer than a TLS record, watches, a lost server.
#[tokio::test]
async fn a_session_is_served_as_ever() {
    let files = Files::new();
    let bed = Bed::with(2, "", &files.keys()).await;
    let through = tunnel(bed.listen, files.client()).await;
    let mut client = Client::open(through, LONG, Some(false)).await;
    let long = "x".repeat(300_000);
    client.did(CREATE, &create("/a", &long, EPHEMERAL)).await;
    for _ in 0..20 {
        client.send(GET_DATA, &read("/a", true)).await;
        client.send(EXISTS, &read("/b", true)).await;
    }
    for _ in 0..20 {
        assert!(client.answer().await.body.windows(64).any(|part| part == "x".repeat(64).as_bytes()));
        assert_eq!(client.answer().await.err, -101);
    }
    bed.fake.hang_up(bed.on(&client));
    client.did(SET_DATA, &set_data("/a", "y", 0)).await;
    client.until("its watch", |client| client.events.len() == 1).await;
    client.pong().await;
    assert_eq!(handshakes(&bed, "full").await, 1.0);
    bed.end(client).await;
}

async fn asked(addr: SocketAddr, with: &std::sync::Arc<rustls::ClientConfig>) -> (HandshakeKind, String) {
    let mut stream = open(addr, with).await.unwrap();
    stream.write_all(b"ruok").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("its end is said");
    (kind(&stream), text)
}

/// A client that comes back goes on with its session of TLS, which costs less; with other files it has to begin anew.
#[tokio::test]
async fn who_comes_back_is_let_in_faster_and_files_are_read_again() {
    let files = Files::new();
    let bed = Bed::with(1, "", &files.keys()).await;
    let client = files.client();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        assert_eq!(asked(bed.listen, &client).await, (kind, "imok".to_owned()));
    }
    assert_eq!((handshakes(&bed, "full").await, handshakes(&bed, "resumed").await), (1.0, 2.0));
    let other = Authority::new("another").unwrap();
    files.certify(&other);
    assert!(open(bed.listen, &trusting(&files.authority, None)).await.is_err());
    assert_eq!(asked(bed.listen, &trusting(&other, None)).await.0, HandshakeKind::Full);
    replace(&files.path("listen.key"), "no key").unwrap();
    assert_eq!(asked(bed.listen, &trusting(&other, None)).await.1, "imok", "what was read before stays");
}

/// Each is closed at once, and counted by what is wrong with it; nobody else is disturbed.
#[tokio::test]
async fn who_is_not_let_in_is_counted_and_hurts_nobody() {
    let files = Files::new();
    let bed = Bed::with(1, "", &files.mutual()).await;
    let shown = files.authority.issue("client.test", &[]).unwrap();
    let good = trusting(&files.authority, Some(&shown));
    let mut client = Client::open(tunnel(bed.listen, good).await, LONG, Some(false)).await;

    // One that never says anything, and one that stops in the middle.
    let began = Instant::now();
    let mut silent = TcpStream::connect(bed.listen).await.unwrap();
    let mut halting = TcpStream::connect(bed.listen).await.unwrap();
    halting.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();

    let mut plain = TcpStream::connect(bed.listen).await.unwrap();
    plain.write_all(b"srvr").await.unwrap();
    let _ = plain.write_all(&[0; 64]).await; // it may be closed already
    let mut text = Vec::new();
    let _ = tokio::time::timeout(BOUND, plain.read_to_end(&mut text)).await.expect("it is closed");
    assert!(!text.windows(4).any(|part| part == b"Mode"), "{text:?}");
    bed.counted("client_handshakes_total", "outcome=\"not_tls\"", 1.0).await;

    let stranger = Authority::new("stranger").unwrap();
    let foreign = stranger.issue("client.test", &[]).unwrap();
    for shown in [None, Some(&foreign)] {
        // With TLS 1.3 a client learns of it when it reads.
        if let Ok(mut stream) = open(bed.listen, &trusting(&files.authority, shown)).await {
            let read = tokio::time::timeout(BOUND, stream.read(&mut [0; 8])).await.expect("it is closed");
            assert!(matches!(read, Err(_) | Ok(0)));
        }
    }
    bed.counted("client_handshakes_total", "outcome=\"certificate\"", 2.0).await;

    assert!(open(bed.listen, &trusting(&stranger, Some(&shown))).await.is_err());
    bed.counted("client_handshakes_total", "outcome=\"distrust\"", 1.0).await;

    drop(TcpStream::connect(bed.listen).await.unwrap());
    bed.counted("client_handshakes_total", "outcome=\"broken\"", 1.0).await;

    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    for stream in [&mut silent, &mut halting] {
        let read = tokio::time::timeout(BOUND, stream.read(&mut [0; 8])).await.expect("it is closed");
        assert!(matches!(read, Err(_) | Ok(0)));
    }
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    bed.counted("client_handshakes_total", "outcome=\"timeout\"", 2.0).await;
    client.did(GET_DATA, &read("/a", false)).await;
    assert_eq!(bed.metric("client_connections", "").await, 1.0);
    bed.end(client).await;
}

/// The reverse: an encrypted client on a plain listener is closed at once.
#[tokio::test]
async fn a_client_that_speaks_tls_to_a_plain_listener_is_closed() {
    let (files, bed) = (Files::new(), Bed::new(1).await);
    let opened = tokio::time::timeout(BOUND, open(bed.listen, &files.client())).await;
    assert!(opened.expect("it is closed").is_err());
    let mut client = bed.client().await;
    client.did(GET_DATA, &read("/", false)).await;
    bed.end(client).await;
}
