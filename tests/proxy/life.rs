//! Brokers that are not there, are elsewhere, or are not who they should be; and the end of Evenkeel.

use crate::bed::{Bed, eventually};
use crate::client::PATIENCE;
use crate::fake::{Act, Fake, gate};
use crate::make::*;
use evenkeel::app::Exit;
use evenkeel::lifecycle::Signal;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// All brokers down at the start: accepted, held, then served.
#[tokio::test]
async fn a_start_without_brokers_is_held_and_then_served() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    fake.down(1).await;
    fake.down(2).await;
    let bed = Bed::over(fake, "", "").await;
    let mut clients = [bed.client().await, bed.client().await];
    for client in &mut clients {
        client.send(API_VERSIONS, 3, &request(API_VERSIONS)).await;
        client.send(METADATA, 9, &metadata(&["t"])).await;
        client.send(PRODUCE, 9, &produce_text("first")).await;
    }
    bed.until("held", |status| status["hold"]["waiting"].as_u64() >= Some(2)).await;
    bed.fake.up(1).await;
    bed.fake.up(2).await;
    for client in &mut clients {
        assert!(!client.receive().await.array("api_keys").is_empty());
        assert_eq!(leaders(&client.receive().await), [1]);
        assert_eq!(codes(&client.receive().await), [0]);
    }
    bed.balanced().await;
}

/// The same broker at another port: clients keep their connections and their port.
#[tokio::test]
async fn a_broker_may_come_back_elsewhere() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("a")).await), [0]);
    bed.fake.down(1).await;
    client.send(PRODUCE, 9, &produce_text("b")).await;
    client.send(16, 3, &request(16)).await;
    bed.holding(2).await;
    bed.fake.up_elsewhere(1).await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.texts("t", 0), ["a", "b"]);
    bed.balanced().await;
}

/// So may one that only it can answer for, when nobody asks for a leader or a coordinator.
#[tokio::test]
async fn a_broker_that_came_back_elsewhere_is_found_without_a_leader_being_sought() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    assert_eq!(codes(&client.ask(16, 3, &request(16)).await), [0]);
    bed.fake.down(2).await;
    client.send(16, 3, &request(16)).await;
    bed.holding(1).await;
    bed.fake.up_elsewhere(2).await;
    let began = Instant::now();
    assert_eq!(codes(&client.receive().await), [0]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// All of them at other addresses, behind the same bootstrap address of one of them.
#[tokio::test]
async fn all_brokers_may_come_back_elsewhere() {
    let bed = Bed::new(&[1, 2, 3]).await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    assert_eq!(codes(&client.ask(16, 3, &request(16)).await), [0]);
    for node in [1, 2, 3] {
        bed.fake.down(node).await;
    }
    client.send(PRODUCE, 9, &produce_text("x")).await;
    bed.holding(1).await;
    bed.fake.elect("t", 0, 3);
    bed.fake.up(1).await;
    bed.fake.up_elsewhere(2).await;
    bed.fake.up_elsewhere(3).await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.log("t", 0)[0].by, 3);
}

/// Another broker answers where a broker was: no request reaches it, and what was for the old one waits for it.
#[tokio::test]
async fn no_request_reaches_a_wrong_node() {
    for cluster in [false, true] {
        let bed = Bed::new(&[1, 2]).await;
        bed.ready().await;
        let mut client = bed.client_of(2).await;
        assert_eq!(codes(&client.ask(16, 3, &request(16)).await), [0]);
        bed.fake.down(2).await;
        let before = bed.fake.seen_at(2).len();
        bed.fake.broker(2, |broker| {
            if cluster {
                broker.other_cluster = Some("somebody-elses".to_owned());
            } else {
                broker.claims = 7;
            }
        });
        client.send(16, 3, &request(16)).await;
        client.send(PRODUCE, 9, &produce_text("x")).await;
        let wrong = "evenkeel_upstream_connect_total{cluster=\"k\",member=\"2\",outcome=\"wrong_node\"";
        bed.fake.up(2).await;
        let end = Instant::now() + PATIENCE;
        while bed.metric(wrong).await < 2.0 {
            assert!(Instant::now() < end, "it is never found to be wrong");
        }
        assert_eq!(bed.fake.seen_at(2).len(), before, "nothing of a client reached it");
        bed.fake.broker(2, |broker| {
            broker.claims = 2;
            broker.other_cluster = None;
        });
        assert_eq!(codes(&client.receive().await), [0]);
        assert_eq!(codes(&client.receive().await), [0]);
        bed.balanced().await;
    }
}

/// SIGTERM: answers in flight go out, nobody new is let in, and the end comes within the grace.
#[tokio::test]
async fn a_drain_lets_answers_out_and_nobody_in() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let mut idle = bed.client().await;
    idle.ask(METADATA, 9, &metadata(&[])).await;
    let opened = gate();
    bed.fake.script(1, PRODUCE, Act::AnswerLater(opened.clone()));
    client.send(PRODUCE, 9, &produce_text("last")).await;
    eventually("it is in the log", || bed.fake.log("t", 0).len() == 1).await;
    bed.signals.send(Signal::Terminate).await.unwrap();
    idle.closed().await;
    eventually("refused", || std::net::TcpStream::connect(bed.bootstrap).is_err()).await;
    assert!(TcpStream::connect(bed.door(1)).await.is_err());
    opened.add_permits(1);
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    client.closed().await;
    let exit = tokio::time::timeout(PATIENCE, bed.run).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Drained);
}

/// A client with something that never ends can't stop the end.
#[tokio::test]
async fn a_drain_is_bounded_by_its_grace() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[-1]);
    let bed = Bed::over(fake, "shutdown.grace = \"300ms\"", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.send(PRODUCE, 9, &produce_text("never")).await;
    bed.holding(1).await;
    let began = Instant::now();
    bed.signals.send(Signal::Terminate).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, bed.run).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Drained);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
