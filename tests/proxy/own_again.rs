//! A client of `sasl.clients = "own"` shows who it is again: who judges that, what a verdict is about, and what becomes of it where none can be
//! had.

use crate::asks::{Asks, shown, token};
use crate::bed::{Bed, eventually};
use crate::client::{Client, PATIENCE};
use crate::fake::gate;
use crate::make::*;
use crate::own::{asks, begin, own, send, show, times};
use crate::sasl::{HANDSHAKE, Password, bed, bed_with};
use std::time::{Duration, Instant};

const LASTS: Duration = Duration::from_secs(60);

/// Brokers whose sessions end, and that take two passwords of one client.
fn ends() -> Asks {
    let mut asks = Asks { lasts: LASTS, ..asks() };
    asks.takes.push(shown("alice", "another"));
    asks
}

/// Brokers whose sessions end, and that take these tokens.
fn tokens(names: &[&str]) -> Asks {
    let mut asks = Asks { lasts: LASTS, ..asks() };
    asks.mechanisms.push("OAUTHBEARER".to_owned());
    asks.takes.extend(names.iter().map(|name| token(name)));
    asks
}

async fn show_token(client: &mut Client, name: &str) -> i16 {
    begin(client, "OAUTHBEARER").await;
    send(client, &token(name)).await;
    client.receive().await.i16("error_code")
}

/// The same behind what is held, without waiting for an answer.
async fn send_token(client: &mut Client, name: &str) {
    let mut body = request(HANDSHAKE);
    body.set_str("mechanism", "OAUTHBEARER");
    client.send(HANDSHAKE, 1, &body).await;
    send(client, &token(name)).await;
}

async fn works(client: &mut Client, text: &str) {
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text(text)).await)[0].0, 0, "{text}");
}

async fn drained(bed: &Bed, member: i32) {
    let end = Instant::now() + PATIENCE;
    while bed.answer("PUT", &format!("/v1/clusters/k/members/{member}/drain")).await.0 != 200 {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a metric counts one.
async fn counted(bed: &Bed, metric: &str) {
    let end = Instant::now() + PATIENCE;
    while bed.metric(metric).await < 1.0 {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// It was told that its session ends: so it may, wherever its broker is meanwhile.
#[tokio::test]
async fn a_client_shows_who_it_is_again_while_its_broker_is_away() {
    let password = Password::new("s3cret");
    let bed = bed_with(&[1, 2], &ends(), "[hold]\nmax = \"5s\"", &own(&password)).await;
    let mut client = bed.client_of(2).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    drained(&bed, 2).await;
    works(&mut client, "drained").await;
    begin(&mut client, "PLAIN").await;
    send(&mut client, &shown("alice", "another")).await;
    let answer = client.receive().await;
    assert_eq!((answer.i16("error_code"), answer.i64("session_lifetime_ms")), (0, 60_000));
    assert_eq!(bed.answer("DELETE", "/v1/clusters/k/members/2/drain").await.0, 200);
    bed.fake.down(2).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    works(&mut client, "down").await;
    assert_eq!(bed.fake.texts("t", 0), ["drained", "down"]);
}

/// As a broker says it to one whose session lasts as long as its connection.
#[tokio::test]
async fn a_session_without_an_end_is_not_begun_anew() {
    let password = Password::new("s3cret");
    let bed = bed(&[1], &asks(), &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    let mut body = request(HANDSHAKE);
    body.set_str("mechanism", "PLAIN");
    assert_eq!(client.ask(HANDSHAKE, 1, &body).await.i16("error_code"), 34);
}

/// What another broker of the cluster takes is good. Where none can be asked the connection ends: an error would be made up, and is the end
/// of some clients.
#[tokio::test]
async fn who_can_not_be_judged_is_closed_and_not_refused() {
    let password = Password::new("s3cret");
    let bed = bed_with(&[1, 2], &ends(), "[hold]\nmax = \"700ms\"", &own(&password)).await;
    bed.fake.down(2).await;
    let mut client = bed.client_of(2).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    works(&mut client, "a").await;
    let mut wrong = bed.client_of(2).await;
    assert_eq!(
        show(&mut wrong, "alice", "wrong").await,
        (58, "Authentication failed: who are you?".to_owned())
    );
    assert_eq!(times(&bed, &shown("alice", "wrong")), 1);
    bed.fake.down(1).await;
    for mut client in [client, bed.client_of(2).await, bed.client().await] {
        begin(&mut client, "PLAIN").await;
        send(&mut client, &shown("alice", "another")).await;
        client.closed().await;
    }
    assert_eq!(bed.metric("evenkeel_kafka_client_sasl_total{cluster=\"k\",outcome=\"refused\"").await, 1.0);
}

#[tokio::test]
async fn a_broker_that_dies_over_its_verdict_is_followed_by_another() {
    let password = Password::new("s3cret");
    let bed = bed_with(&[1, 2], &ends(), "[hold]\nmax = \"10s\"", &own(&password)).await;
    let another = shown("alice", "another");
    let mut client = bed.client_of(1).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    bed.fake
        .broker(1, |broker| broker.asks = Some(Asks { slow_on: vec![(another.clone(), gate())], ..ends() }));
    begin(&mut client, "PLAIN").await;
    send(&mut client, &another).await;
    eventually("its own broker is asked", || times(&bed, &another) == 1).await;
    bed.fake.down(1).await;
    assert_eq!(client.receive().await.i16("error_code"), 0);
    assert_eq!(times(&bed, &another), 2);
}

/// One broker is asked, and the others hear of what it has taken, on the connections that there are.
#[tokio::test]
async fn a_wrong_password_is_shown_to_one_of_its_brokers() {
    let password = Password::new("s3cret");
    let bed = bed(&[1, 2, 3], &ends(), &own(&password)).await;
    bed.fake.topic("t", &[1, 2, 3]);
    let mut clients = [bed.client_of(1).await, bed.client_of(1).await];
    for client in &mut clients {
        assert_eq!(show(client, "alice", "wonderland").await.0, 0);
        for partition in 0..3 {
            let request = produce(-1, &[(partition, batch("x", None))]);
            assert_eq!(produced(&client.ask(PRODUCE, 9, &request).await)[0].0, 0);
        }
    }
    assert_eq!(times(&bed, &shown("alice", "wonderland")), 6, "each has connections to three");
    let [right, wrong] = &mut clients;
    assert_eq!(show(right, "alice", "another").await.0, 0);
    eventually("all of them know", || times(&bed, &shown("alice", "another")) == 3).await;
    let (code, text) = show(wrong, "alice", "wrong").await;
    assert_eq!((code, text.as_str()), (58, "Authentication failed: who are you?"));
    wrong.closed().await;
    assert_eq!(times(&bed, &shown("alice", "wrong")), 1);
}

/// What a client has under way would go on by it, and brokers refuse it.
#[tokio::test]
async fn a_client_stays_with_its_mechanism() {
    let password = Password::new("s3cret");
    let bed = bed(&[1], &tokens(&["alice.1"]), &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    begin(&mut client, "OAUTHBEARER").await;
    send(&mut client, &token("alice.1")).await;
    let answer = client.receive().await;
    assert_eq!(answer.i16("error_code"), 58);
    assert_eq!(answer.str("error_message"), Some("Cannot change mechanisms during re-authentication"));
    client.closed().await;
    assert_eq!(times(&bed, &token("alice.1")), 0);
}

/// The broker that knows whose the first token was says whose the second one is. What was held goes on as the first.
#[tokio::test]
async fn another_users_token_takes_nothing_over() {
    let password = Password::new("s3cret");
    let bed = bed(&[1, 2], &tokens(&["alice.1", "bob.1"]), &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(show_token(&mut client, "alice.1").await, 0);
    works(&mut client, "a").await;
    bed.fake.elect("t", 0, -1);
    client.send(PRODUCE, 9, &produce_text("held")).await;
    bed.holding(1).await;
    send_token(&mut client, "bob.1").await;
    let refused = "evenkeel_kafka_client_sasl_total{cluster=\"k\",outcome=\"refused\"";
    counted(&bed, refused).await;
    bed.fake.elect("t", 0, 2);
    assert_eq!(produced(&client.receive().await)[0].0, 0);
    assert_eq!(client.receive().await.i16("error_code"), 0);
    let answer = client.receive().await;
    assert_eq!(answer.i16("error_code"), 58);
    assert_eq!(answer.str("error_message"), Some("Cannot change principals during re-authentication"));
    client.closed().await;
    assert_eq!(times(&bed, &token("bob.1")), 1);
    assert_eq!(bed.fake.seen_at(2).iter().filter(|seen| seen.key == PRODUCE).count(), 1);
}

/// A renewal of Evenkeel's own is with the broker: what comes of it says nothing of what the client shows meanwhile.
#[tokio::test]
async fn a_verdict_on_what_was_shown_before_is_none_on_this() {
    let password = Password::new("s3cret");
    let asks = Asks { lasts: Duration::from_millis(1500), ..ends() };
    let bed = bed(&[1], &asks, &own(&password)).await;
    let (first, door) = (shown("alice", "wonderland"), gate());
    let mut client = bed.client_of(1).await;
    assert_eq!(show(&mut client, "alice", "wonderland").await.0, 0);
    bed.fake.ask(&Asks { slow_on: vec![(first.clone(), door.clone())], ..asks.clone() });
    eventually("its session is being renewed", || times(&bed, &first) == 2).await;
    begin(&mut client, "PLAIN").await;
    send(&mut client, &shown("alice", "wrong")).await;
    assert!(client.is_quiet_for(Duration::from_millis(100)).await);
    door.add_permits(100);
    let answer = client.receive().await;
    assert_eq!(answer.i16("error_code"), 58);
    assert_eq!(answer.str("error_message"), Some("Authentication failed: who are you?"));
    client.closed().await;
    assert_eq!(times(&bed, &shown("alice", "wrong")), 1);
}

/// The same of a connection that was begun with a token which is over by now.
#[tokio::test]
async fn an_old_tokens_refusal_is_none_of_the_new_one() {
    let password = Password::new("s3cret");
    let bed = bed(&[1, 2], &tokens(&["one", "two"]), &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(show_token(&mut client, "one").await, 0);
    let (of_old, of_new) = (gate(), gate());
    let both = tokens(&["one", "two"]);
    bed.fake.broker(1, |broker| {
        broker.asks = Some(Asks { slow_on: vec![(token("two"), of_new.clone())], ..both });
    });
    bed.fake.broker(2, |broker| {
        broker.asks = Some(Asks { slow_on: vec![(token("one"), of_old.clone())], ..tokens(&["two"]) });
    });
    bed.fake.elect("t", 0, 2);
    client.send(PRODUCE, 9, &produce_text("x")).await;
    eventually("the leader is asked about the old one", || times(&bed, &token("one")) == 2).await;
    send_token(&mut client, "two").await;
    eventually("its own broker is asked about the new one", || times(&bed, &token("two")) == 1).await;
    of_old.add_permits(100);
    let refused = "evenkeel_upstream_connect_total{cluster=\"k\",member=\"2\",outcome=\"sasl\"";
    counted(&bed, refused).await;
    of_new.add_permits(100);
    assert_eq!(produced(&client.receive().await)[0].0, 0);
    assert_eq!(client.receive().await.i16("error_code"), 0);
    assert_eq!(client.receive().await.i16("error_code"), 0);
    assert_eq!(bed.fake.texts("t", 0), ["x"]);
}
