//! Holding has bounds, in time and in bytes; nothing leaks and nothing is dropped.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake};
use crate::make::*;
use std::time::{Duration, Instant};

async fn leaderless(top: &str) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[-1]);
    let bed = Bed::over(fake, top, "").await;
    bed.ready().await;
    bed
}

/// The bound is reached: the true error, no earlier than the bound and not much later.
#[tokio::test]
async fn at_the_bound_the_client_gets_the_true_error() {
    let bed = leaderless("hold.max = \"700ms\"").await;
    let mut client = bed.client_of(1).await;
    let began = Instant::now();
    client.send(PRODUCE, 9, &produce_text("x")).await;
    let answer = client.receive().await;
    let took = began.elapsed();
    assert!(matches!(produced(&answer)[..], [(5 | 6, -1)]), "{answer:?}");
    assert!(took >= Duration::from_millis(690) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(bed.held().await["expired"], 1);
    assert!(bed.fake.texts("t", 0).is_empty());
    bed.balanced().await;
}

/// What a client sees is counted, wherever it comes from: the last true answer at the bound, and an error that is nobody's to mend.
#[tokio::test]
async fn what_the_client_sees_is_counted() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "hold.max = \"400ms\"", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let asked = [
        (HEARTBEAT, 4, of_group(HEARTBEAT), 15),
        (LIST_OFFSETS, 5, list_offsets(), 29),
        (DESCRIBE_CLUSTER, 0, request(DESCRIBE_CLUSTER), 31),
    ];
    for (count, (key, version, body, code)) in (1..).zip(asked) {
        let act = match key {
            DESCRIBE_CLUSTER => {
                Act::Change(std::sync::Arc::new(move |answer| answer.set_i16("error_code", code)))
            }
            _ => Act::Fail(code),
        };
        bed.fake.always(1, key, act);
        assert_eq!(codes(&client.ask(key, version, &body).await), [code], "{key}");
        assert_eq!(bed.metric("evenkeel_client_errors_total").await, f64::from(count), "{key}");
    }
    assert_eq!(bed.held().await["expired"], 1);
    bed.balanced().await;
}

/// `hold.max = "0s"` holds nothing: today's errors, at once.
#[tokio::test]
async fn a_hold_of_zero_passes_errors_on() {
    let bed = leaderless("hold.max = \"0s\"").await;
    let mut client = bed.client_of(1).await;
    let answer = client.ask(PRODUCE, 9, &produce_text("x")).await;
    assert!(matches!(produced(&answer)[..], [(5 | 6, -1)]), "{answer:?}");
    bed.fake.elect("t", 0, 1);
    // What it learned of the partition may lag a moment behind.
    let end = Instant::now() + crate::client::PATIENCE;
    while codes(&client.ask(PRODUCE, 9, &produce_text("y")).await) != [0] {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bed.fake.texts("t", 0), ["y"]);
    bed.balanced().await;
}

/// An unknown library's own deadline counts: 0.6 of its `timeout_ms`.
#[tokio::test]
async fn a_short_deadline_of_the_client_is_kept() {
    let bed = leaderless("").await;
    let mut client = bed.client_of(1).await;
    let mut body = produce_text("x");
    body.set_i32("timeout_ms", 1000);
    let began = Instant::now();
    assert!(codes(&client.ask(PRODUCE, 9, &body).await)[0] != 0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(590) && took < Duration::from_secs(3), "{took:?}");
}

/// What has no deadline in its version is held as long as any: `ListOffsets` has one from v10 on only.
#[tokio::test]
async fn a_version_without_a_deadline_is_held() {
    for version in [1, 7, 9, 10] {
        let bed = leaderless("").await;
        let mut client = bed.client_of(1).await;
        let mut body = list_offsets();
        body.set_i32("timeout_ms", 30_000);
        client.send(LIST_OFFSETS, version, &body).await;
        bed.holding(1).await;
        assert!(client.is_quiet_for(Duration::from_millis(100)).await, "v{version}");
        bed.fake.elect("t", 0, 2);
        assert_eq!(codes(&client.receive().await), [0], "v{version}");
        bed.balanced().await;
    }
}

/// More than the budget: the rest waits in the client's socket, and all of it is in the log in the end.
#[tokio::test]
async fn a_full_budget_stops_reading_and_drops_nothing() {
    let bed = leaderless("hold.bytes = \"100KB\"\nhold.connection_bytes = \"50KB\"").await;
    let big = |n: usize| format!("{n:02}{}", "x".repeat(9998));
    let mut clients = Vec::new();
    for connection in 0..4 {
        let mut client = bed.client_of(1).await;
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for n in 0..20 {
            let frame =
                evenkeel::kafka::wire::encode_request(PRODUCE, 9, n, "test", &produce_text(&big(n as usize)));
            let frame = frame.unwrap();
            write.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            write.extend_from_slice(&frame);
        }
        let task = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut reader, mut writer) = client.stream.split();
            let sending = async {
                writer.write_all(&write).await.unwrap();
            };
            let receiving = async {
                for n in 0..20 {
                    let length = reader.read_i32().await.unwrap();
                    let mut frame = vec![0; usize::try_from(length).unwrap()];
                    reader.read_exact(&mut frame).await.unwrap();
                    read.push(frame);
                    assert_eq!(read[n][..4], (n as i32).to_be_bytes());
                }
            };
            tokio::join!(sending, receiving);
            (connection, read.len())
        });
        clients.push(task);
    }
    let limits = |status: &serde_json::Value| status["hold"]["bytes"].as_u64().unwrap() >= 90_000;
    bed.until("the budget is full", limits).await;
    // One more request for each connection is let in at the most.
    let bytes = bed.held().await["bytes"].as_u64().unwrap();
    assert!(bytes <= 100_000 + 4 * 10_200, "{bytes}");
    bed.fake.elect("t", 0, 1);
    for task in clients {
        let (_, answers) = tokio::time::timeout(crate::client::PATIENCE, task).await.unwrap().unwrap();
        assert_eq!(answers, 20);
    }
    assert_eq!(bed.fake.log("t", 0).len(), 80);
    bed.balanced().await;
}

/// A full budget of held requests must not keep others' steady traffic from being served.
#[tokio::test]
async fn others_are_served_while_the_budget_is_full() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[-1, 1]);
    let bed = Bed::over(fake, "hold.bytes = \"20KB\"\nhold.connection_bytes = \"20KB\"", "").await;
    bed.ready().await;
    let mut held = bed.client_of(1).await;
    held.send(PRODUCE, 9, &produce_text(&"x".repeat(21_000))).await;
    bed.holding(1).await;
    let mut other = bed.client_of(1).await;
    for n in 0..20 {
        let answer = other.ask(PRODUCE, 9, &produce(-1, &[(1, batch("y", None))])).await;
        assert_eq!(produced(&answer), [(0, n)]);
    }
}

/// Many connections with held requests, released together.
#[tokio::test]
async fn many_connections_are_held_and_released() {
    let bed = leaderless("").await;
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = bed.client_of(1 + n % 2).await;
        client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
        clients.push(client);
    }
    bed.holding(100).await;
    bed.fake.elect("t", 0, 2);
    for client in &mut clients {
        assert_eq!(codes(&client.receive().await), [0]);
    }
    let mut texts = bed.fake.texts("t", 0);
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), bed.fake.log("t", 0).len()), (100, 100));
    bed.balanced().await;
    drop(clients);
    bed.until("no clients", |status| status["clients"] == 0).await;
}

/// A client that goes while its request is held is not waited for: nothing leaks, and its record isn't sent behind its
/// back, when it may have sent it again elsewhere.
#[tokio::test]
async fn a_client_that_goes_takes_its_held_requests_with_it() {
    let bed = leaderless("").await;
    let mut client = bed.client_of(1).await;
    for n in 0..3 {
        client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    bed.holding(3).await;
    let began = Instant::now();
    drop(client);
    bed.until("cancelled", |status| status["hold"]["cancelled"] == 3).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    bed.balanced().await;
    bed.fake.elect("t", 0, 1);
    let mut next = bed.client_of(1).await;
    assert_eq!(codes(&next.ask(PRODUCE, 9, &produce_text("again")).await), [0]);
    assert_eq!(bed.fake.texts("t", 0), ["again"]);
}

/// What was sent before its client closed is not cut off: acks=0 and a close right behind it.
#[tokio::test]
async fn what_was_sent_before_the_end_arrives() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    for round in 1..=10 {
        let mut client = bed.client_of(1).await;
        client.send(PRODUCE, 9, &produce(0, &[(0, batch("bye", None))])).await;
        drop(client);
        eventually("it is in the log", || bed.fake.log("t", 0).len() == round).await;
    }
    bed.balanced().await;
}

/// A port of a broker that nobody knows yet: accepted, held, served once the broker appears.
#[tokio::test]
async fn an_unknown_brokers_port_is_held() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(5).await;
    client.send(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    client.send(16, 3, &request(16)).await;
    assert!(
        !client.is_quiet_for(Duration::from_secs(20)).await,
        "a group's coordinator is known, whatever the port"
    );
    assert_eq!(codes(&client.receive().await), [0]);
    bed.holding(1).await;
    bed.fake.add(5).await;
    // Somebody's Metadata shows the new broker.
    bed.client().await.ask(METADATA, 9, &metadata(&[])).await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.seen(16)[0].node, 5);
    bed.balanced().await;
}
