//! Clients whose connections are encrypted, on the bootstrap port and on those of brokers.

use crate::bed::Bed;
use crate::client::{Client, PATIENCE};
use crate::fake::Fake;
use crate::make::*;
use crate::tunnel::{Files, open, tunnel};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn bed(files: &Files) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", &format!("listen = \"127.0.0.1:0\"\n{}", files.keys())).await;
    bed.ready().await;
    bed
}

/// What goes through is the same, small and large, one by one and many at once; and it goes on when the leader moves.
#[tokio::test]
async fn records_go_through_as_ever() {
    let files = Files::new();
    let bed = bed(&files).await;
    let mut client = Client::connect(tunnel(bed.door(1), files.client()).await).await;
    for round in 0..50 {
        client.send(PRODUCE, 9, &produce_text(&format!("{round}-{}", "x".repeat(round * 2000)))).await;
        client.send(METADATA, 9, &metadata(&["t"])).await;
    }
    for _ in 0..100 {
        client.receive().await;
    }
    assert_eq!(bed.fake.texts("t", 0).len(), 50);
    client.send(FETCH, 11, &fetch(100, &[(0, 0)])).await;
    let frame = client.receive_frame().await;
    client.taken(&frame);
    assert!(frame.len() > 1_000_000, "all of them in one answer");
    bed.fake.elect("t", 0, 2);
    client.send(PRODUCE, 9, &produce_text("moved")).await;
    client.receive().await;
    assert_eq!(bed.fake.texts("t", 0).last().unwrap(), "moved");
    bed.balanced().await;
}

/// Plain text there, and TLS where it is plain, is closed at once.
#[tokio::test]
async fn who_speaks_the_wrong_way_is_closed() {
    let files = Files::new();
    let bed = bed(&files).await;
    for addr in [bed.bootstrap, bed.door(2)] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 1, 0, 1, b'x', 0]).await.unwrap();
        let mut text = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("it is closed");
        assert!(text.len() < 16, "an alert at most: {text:?}");
    }
    let counted = async || {
        let text = bed.http("GET", "/metrics").await;
        let line = text.lines().find(|line| {
            line.starts_with("evenkeel_client_handshakes_total") && line.contains("outcome=\"not_tls\"")
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).unwrap()
    };
    let end = std::time::Instant::now() + PATIENCE;
    while counted().await < 2 {
        assert!(std::time::Instant::now() < end, "never counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let plain = Bed::new(&[1]).await;
    plain.ready().await;
    let opened = tokio::time::timeout(PATIENCE, open(plain.bootstrap, &files.client())).await;
    assert!(opened.expect("it is closed").is_err());
}
