//! What one client shows of its own (`sasl.clients = "own"`) harms no other, and is shown to brokers no more often than needed.

use crate::asks::{Asks, shown};
use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::make::*;
use crate::sasl::{AUTHENTICATE, HANDSHAKE, Password, bed, bed_with};
use bytes::Bytes;
use std::time::Duration;

pub fn own(password: &Password) -> String {
    format!("{}\nsasl.clients = \"own\"", password.keys("PLAIN"))
}

/// Brokers that take these two.
pub fn asks() -> Asks {
    Asks::plain(&[("held", "s3cret"), ("alice", "wonderland")])
}

pub async fn begin(client: &mut Client, mechanism: &str) {
    let mut body = request(HANDSHAKE);
    body.set_str("mechanism", mechanism);
    assert_eq!(client.ask(HANDSHAKE, 1, &body).await.i16("error_code"), 0);
}

pub async fn send(client: &mut Client, message: &[u8]) {
    let mut body = request(AUTHENTICATE);
    body.set_bytes("auth_bytes", Some(Bytes::copy_from_slice(message)));
    client.send(AUTHENTICATE, 2, &body).await;
}

pub async fn show(client: &mut Client, user: &str, password: &str) -> (i16, String) {
    begin(client, "PLAIN").await;
    send(client, &shown(user, password)).await;
    let answer = client.receive().await;
    (answer.i16("error_code"), answer.str("error_message").unwrap_or_default().to_owned())
}

/// How often brokers have seen this message.
pub fn times(bed: &Bed, message: &[u8]) -> usize {
    let has = |frame: &Bytes| frame.windows(message.len()).any(|part| part == message);
    bed.fake.own(AUTHENTICATE).iter().filter(|seen| has(&seen.frame)).count()
}

/// A broker closes on what a client shows, as on a token that is too long. The one that asks it with Evenkeel's own gets no answer just
/// now, so that a broker that were down for it would stay so.
#[tokio::test]
async fn a_broker_that_closes_on_one_client_is_up_for_the_others() {
    let password = Password::new("s3cret");
    let bed = bed_with(&[1], &asks(), "[net]\nconnect_timeout = \"60s\"", &own(&password)).await;
    let bad = shown("mallory", "x");
    let silent_on = vec![shown("held", "s3cret")];
    bed.fake.ask(&Asks { closes_on: vec![bad.clone()], silent_on, ..asks() });
    for _ in 0..3 {
        let mut client = bed.client_of(1).await;
        begin(&mut client, "PLAIN").await;
        send(&mut client, &bad).await;
        client.closed().await;
    }
    assert_eq!(times(&bed, &bad), 6, "each is tried twice");
    eventually("the broker is asked whether it is well", || times(&bed, b"held") > 1).await;
    assert_eq!(bed.status().await["members"][0]["state"], "up");
    let mut good = bed.client_of(1).await;
    assert_eq!(show(&mut good, "alice", "wonderland").await.0, 0);
    assert_eq!(produced(&good.ask(PRODUCE, 9, &produce_text("a")).await)[0].0, 0);
    let outcome = |name: &str| {
        format!("evenkeel_upstream_connect_total{{cluster=\"k\",member=\"1\",outcome=\"{name}\"")
    };
    assert_eq!(bed.metric(&outcome("sasl")).await, 6.0);
    assert_eq!(bed.metric(&outcome("refused")).await, 0.0);
}

/// One that is late to judge what a client shows: the others come in meanwhile.
#[tokio::test]
async fn a_broker_that_is_slow_to_judge_one_client_is_up_for_the_others() {
    let password = Password::new("s3cret");
    let slow = shown("mallory", "x");
    let asks = Asks { silent_on: vec![slow.clone()], ..asks() };
    let bed = bed_with(&[1], &asks, "[net]\nconnect_timeout = \"60s\"", &own(&password)).await;
    let mut crowd = Vec::new();
    for _ in 0..10 {
        let mut client = bed.client_of(1).await;
        begin(&mut client, "PLAIN").await;
        send(&mut client, &slow).await;
        crowd.push(client);
    }
    // More than may connect at a time.
    eventually("all of them are being judged", || times(&bed, &slow) == 10).await;
    let mut good = bed.client_of(1).await;
    assert_eq!(show(&mut good, "alice", "wonderland").await.0, 0);
    assert_eq!(bed.status().await["members"][0]["state"], "up");
}

/// A time-out is no word about the broker either.
#[tokio::test]
async fn an_exchange_without_an_end_takes_no_broker_down() {
    let password = Password::new("s3cret");
    let slow = shown("mallory", "x");
    let asks = Asks { silent_on: vec![slow.clone()], ..asks() };
    let top = "[net]\nconnect_timeout = \"1s\"\nconnect_stagger = \"100ms\"";
    let bed = bed_with(&[1], &asks, top, &own(&password)).await;
    let mut client = bed.client_of(1).await;
    begin(&mut client, "PLAIN").await;
    send(&mut client, &slow).await;
    client.closed().await;
    assert_eq!(times(&bed, &slow), 2);
    let counted = "evenkeel_upstream_connect_total{cluster=\"k\",member=\"1\",outcome=";
    assert_eq!(bed.metric(&format!("{counted}\"sasl\"")).await, 2.0);
    assert_eq!(bed.metric(&format!("{counted}\"timeout\"")).await, 0.0);
}

#[tokio::test]
async fn a_message_that_no_broker_takes_reaches_none() {
    let password = Password::new("s3cret");
    let mut asks = asks();
    asks.mechanisms.push("OAUTHBEARER".to_owned());
    let bed = bed(&[1], &asks, &own(&password)).await;
    let long = vec![b'x'; 512 * 1024 + 1];
    let mut client = bed.client_of(1).await;
    begin(&mut client, "OAUTHBEARER").await;
    send(&mut client, &long).await;
    let answer = client.receive().await;
    assert_eq!(answer.i16("error_code"), 58);
    let text = answer.str("error_message").unwrap();
    assert!(text.contains("512 KiB"), "{text}");
    client.closed().await;
    assert_eq!(times(&bed, &long[..1000]), 0);
}

/// What stands behind a wrong password on the client's connection doesn't have it shown once more: that would count twice where it is counted.
#[tokio::test]
async fn a_wrong_password_is_shown_once() {
    let password = Password::new("s3cret");
    let bed = bed(&[1, 2], &asks(), &own(&password)).await;
    bed.fake.elect("t", 0, 2);
    let mut client = bed.client_of(1).await;
    begin(&mut client, "PLAIN").await;
    send(&mut client, &shown("alice", "wrong")).await;
    client.send(METADATA, 9, &metadata(&["t"])).await;
    client.send(PRODUCE, 9, &produce_text("x")).await;
    assert_eq!(client.receive().await.i16("error_code"), 58);
    client.closed().await;
    assert_eq!(times(&bed, &shown("alice", "wrong")), 1);
    assert!(bed.fake.texts("t", 0).is_empty());
}

/// What it has under way would go on as the other one. A broker says the same.
#[tokio::test]
async fn a_client_stays_who_it_is() {
    let password = Password::new("s3cret");
    let mut asks = Asks { lasts: Duration::from_secs(60), ..asks() };
    asks.takes.push(shown("alice", "another"));
    asks.takes.push(shown("bob", "builder"));
    let bed = bed(&[1], &asks, &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    assert_eq!(show(&mut client, "alice", "another").await.0, 0, "her password was changed");
    let (code, text) = show(&mut client, "bob", "builder").await;
    assert_eq!((code, text.as_str()), (58, "Cannot change principals during re-authentication"));
    client.closed().await;
    assert_eq!(times(&bed, &shown("bob", "builder")), 0);
}

/// One that closes on what a client has shown before is shown it with pauses, whatever the client asks; and no longer than needed.
#[tokio::test]
async fn what_brokers_give_no_verdict_on_is_shown_again_with_pauses() {
    let password = Password::new("s3cret");
    let bed = bed(&[1, 2], &asks(), &own(&password)).await;
    let alice = shown("alice", "wonderland");
    let mut clients = [bed.client_of(1).await, bed.client_of(1).await, bed.client_of(1).await];
    for client in &mut clients {
        assert_eq!(show(client, "alice", "wonderland").await.0, 0);
    }
    bed.fake.ask(&Asks { closes_on: vec![alice.clone()], ..asks() });
    bed.fake.hang_up(1).await;
    let [writer, reader, other] = &mut clients;
    writer.send(PRODUCE, 9, &produce_text("a")).await;
    reader.send(METADATA, 9, &metadata(&["t"])).await;
    other.send(22, 4, &request(22)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // At once, and after 200, 400 and 800 ms.
    assert!(times(&bed, &alice) <= 3 + 3 * 5, "{}", times(&bed, &alice));
    bed.fake.ask(&asks());
    assert_eq!(produced(&writer.receive().await)[0].0, 0);
    assert_eq!(leaders(&reader.receive().await), [1]);
    assert_eq!(other.receive().await.i16("error_code"), 0);
    bed.balanced().await;
}
