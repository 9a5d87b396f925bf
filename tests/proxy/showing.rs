//! Clients that show who they are: checked here where credentials are held, else by their broker, and kept for as long as they are there.

use crate::asks::{Asks, shown, token};
use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::Fake;
use crate::make::*;
use crate::sasl::{AUTHENTICATE, HANDSHAKE, Password, bed};
use bytes::Bytes;
use evenkeel::config;
use evenkeel::dns::{DnsOptions, Resolver};
use evenkeel::kafka::wire::Struct;
use evenkeel::net::ConnectOptions;
use evenkeel::sasl::Keeper;
use std::time::Duration;

async fn handshake(client: &mut Client, mechanism: &str) -> (i16, Vec<String>) {
    let mut body = request(HANDSHAKE);
    body.set_str("mechanism", mechanism);
    let answer = client.ask(HANDSHAKE, 1, &body).await;
    (answer.i16("error_code"), answer.strs("mechanisms").map(str::to_owned).collect())
}

async fn message(client: &mut Client, message: &[u8]) -> Struct {
    let mut body = request(AUTHENTICATE);
    body.set_bytes("auth_bytes", Some(Bytes::copy_from_slice(message)));
    client.ask(AUTHENTICATE, 2, &body).await
}

async fn plain(client: &mut Client, user: &str, password: &str) -> (i16, String) {
    assert_eq!(handshake(client, "PLAIN").await.0, 0);
    let answer = message(client, &shown(user, password)).await;
    (answer.i16("error_code"), answer.str("error_message").unwrap_or_default().to_owned())
}

async fn works(client: &mut Client, text: &str) {
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text(text)).await)[0].0, 0, "{text}");
}

#[tokio::test]
async fn with_held_credentials_clients_may_show_the_same_or_none() {
    let password = Password::new("s3cret");
    let bed = bed(&[1], &Asks::plain(&[("held", "s3cret")]), &password.keys("PLAIN")).await;
    works(&mut bed.client_of(1).await, "none").await;
    let mut client = bed.client_of(1).await;
    client.ask(API_VERSIONS, 3, &request(API_VERSIONS)).await;
    assert_eq!(plain(&mut client, "held", "s3cret").await.0, 0);
    works(&mut client, "the same").await;
    for (user, wrong) in [("held", "other"), ("other", "s3cret"), ("held", "")] {
        let mut client = bed.client_of(1).await;
        let (code, text) = plain(&mut client, user, wrong).await;
        assert_eq!(code, 58);
        assert!(text.contains("Evenkeel holds") && !text.contains("s3cret"), "{text}");
        client.closed().await;
    }
    for unknown in ["GSSAPI", "OAUTHBEARER", "", "PLAIN\n"] {
        let mut client = bed.client_of(1).await;
        let (code, mechanisms) = handshake(&mut client, unknown).await;
        assert_eq!(
            (code, mechanisms),
            (33, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(str::to_owned).into())
        );
        client.closed().await;
    }
    let mut client = bed.client_of(1).await;
    assert_eq!(message(&mut client, b"x").await.i16("error_code"), 34, "without a beginning");
    client.closed().await;
    assert!(
        bed.fake.seen(HANDSHAKE).is_empty() && bed.fake.seen(AUTHENTICATE).is_empty(),
        "brokers hear nothing of it"
    );
    let count = "evenkeel_kafka_client_sasl_total{cluster=\"k\",outcome=";
    for (outcome, expected) in
        [("accepted", 1.0), ("refused", 3.0), ("unsupported", 4.0), ("unrepeatable", 0.0)]
    {
        assert_eq!(bed.metric(&format!("{count}\"{outcome}\"")).await, expected, "{outcome}");
    }
}

/// With the client's side of SCRAM that brokers see.
#[tokio::test]
async fn a_proof_of_the_held_password_is_taken() {
    let password = Password::new("s3cret");
    let bed = bed(&[1], &Asks::plain(&[("held", "s3cret")]), &password.keys("PLAIN")).await;
    let wrong = Password::new("wrong");
    for (file, mechanism, taken) in [
        (&password, "SCRAM-SHA-256", true),
        (&password, "SCRAM-SHA-512", true),
        (&wrong, "SCRAM-SHA-512", false),
    ] {
        let text = format!(
            "[[kafka]]\nname = \"k\"\nlisten = \"127.0.0.1:1\"\nbootstrap = [\"b:1\"]\nbroker_ports = \"2-3\"\n{}",
            file.keys(mechanism)
        );
        let options = config::parse(&text, "f", []).unwrap().kafka.remove(0).sasl;
        let timeout = Duration::from_secs(1);
        let dns = DnsOptions { servers: vec!["127.0.0.1:1".parse().unwrap()], min_ttl: timeout, timeout };
        let connect = ConnectOptions { timeout, stagger: timeout, keepalive: timeout, user_timeout: timeout };
        let keeper = Keeper::new(options, Resolver::new(dns, None).unwrap(), connect);
        let mut exchange = keeper.exchange().await.unwrap().unwrap();
        let mut client = bed.client_of(1).await;
        assert_eq!(handshake(&mut client, mechanism).await.0, 0);
        let challenge = message(&mut client, exchange.first().expose()).await;
        assert_eq!(challenge.i16("error_code"), 0);
        let proof = exchange.next(challenge.bytes_field("auth_bytes").unwrap()).unwrap().unwrap();
        let last = message(&mut client, proof.expose()).await;
        if taken {
            assert_eq!((last.i16("error_code"), last.i64("session_lifetime_ms")), (0, 0));
            assert!(
                exchange.next(last.bytes_field("auth_bytes").unwrap()).unwrap().is_none(),
                "it is known here, too"
            );
            works(&mut client, mechanism).await;
        } else {
            assert_eq!(last.i16("error_code"), 58);
            client.closed().await;
        }
    }
}

/// Nothing is configured, and the brokers ask: a client that shows something is told what to do.
#[tokio::test]
async fn what_nobody_has_configured_is_told() {
    let fake = Fake::start(&[1]).await;
    fake.ask(&Asks::plain(&[("held", "s3cret")]));
    let bed = Bed::over(fake, "", "").await;
    let mut client = bed.client().await;
    let versions = client.ask(API_VERSIONS, 3, &request(API_VERSIONS)).await;
    let keys: Vec<i16> = versions.structs("api_keys").map(|row| row.i16("api_key")).collect();
    assert!([3, 17, 18, 36].iter().all(|key| keys.contains(key)), "{keys:?}");
    let (code, text) = plain(&mut client, "held", "s3cret").await;
    assert_eq!(code, 58);
    assert!(text.contains("set [kafka.sasl]"), "{text}");
    client.closed().await;
}

fn own(password: &Password) -> String {
    format!("{}\nsasl.clients = \"own\"", password.keys("PLAIN"))
}

/// What a client shows goes to its broker, which decides; it is shown again wherever it is needed.
#[tokio::test]
async fn a_clients_own_credentials_are_kept_and_shown_again() {
    let password = Password::new("s3cret");
    let asks = Asks::plain(&[("held", "s3cret"), ("alice", "wonderland")]);
    let bed = bed(&[1, 2], &asks, &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(plain(&mut client, "alice", "wonderland").await.0, 0);
    works(&mut client, "at home").await;
    // Home again.
    bed.fake.hang_up(1).await;
    works(&mut client, "home again").await;
    // Elsewhere.
    bed.fake.elect("t", 0, 2);
    works(&mut client, "elsewhere").await;
    assert_eq!(bed.fake.texts("t", 0), ["at home", "home again", "elsewhere"]);
    let mut client = bed.client_of(1).await;
    let (code, text) = plain(&mut client, "alice", "wrong").await;
    assert_eq!((code, text.as_str()), (58, "Authentication failed: who are you?"));
    client.closed().await;
    // None, and a request: as a broker has it.
    let mut client = bed.client_of(1).await;
    client.send(METADATA, 9, &metadata(&["t"])).await;
    client.closed().await;
    bed.until("nobody is down", |status| {
        status["members"].as_array().unwrap().iter().all(|member| member["state"] == "up")
    })
    .await;
}

/// A client's own token ends; it shows another one, and that is what is kept.
#[tokio::test]
async fn a_client_renews_its_own_token() {
    let password = Password::new("s3cret");
    let asks = |tokens: &[&str]| {
        let mut asks = Asks { lasts: Duration::from_secs(60), ..Asks::plain(&[("held", "s3cret")]) };
        asks.mechanisms.push("OAUTHBEARER".to_owned());
        asks.takes.extend(tokens.iter().map(|name| token(name)));
        asks
    };
    let bed = bed(&[1], &asks(&["one"]), &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(handshake(&mut client, "OAUTHBEARER").await.0, 0);
    let answer = message(&mut client, &token("one")).await;
    assert_eq!(answer.i16("error_code"), 0);
    assert_eq!(answer.i64("session_lifetime_ms"), 60_000, "so that it knows when to");
    works(&mut client, "a").await;
    bed.fake.ask(&asks(&["two"]));
    assert_eq!(handshake(&mut client, "OAUTHBEARER").await.0, 0);
    assert_eq!(message(&mut client, &token("two")).await.i16("error_code"), 0);
    bed.fake.hang_up(1).await;
    works(&mut client, "b").await;
    // One that its broker doesn't take ends what it had.
    assert_eq!(handshake(&mut client, "OAUTHBEARER").await.0, 0);
    assert_eq!(message(&mut client, &token("three")).await.i16("error_code"), 58);
    client.closed().await;
}

/// A mechanism whose exchange only the client can have: it passes, and its connection ends with its broker's.
#[tokio::test]
async fn what_cannot_be_repeated_passes_and_ends_with_its_broker() {
    let password = Password::new("s3cret");
    let mut asks = Asks::plain(&[("held", "s3cret")]);
    asks.mechanisms.push("SCRAM-SHA-256".to_owned());
    asks.takes.push(b"some proof".to_vec());
    let bed = bed(&[1, 2], &asks, &own(&password)).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(handshake(&mut client, "SCRAM-SHA-256").await.0, 0);
    assert_eq!(message(&mut client, b"some proof").await.i16("error_code"), 0);
    works(&mut client, "a").await;
    eventually("its broker has seen it", || bed.fake.seen(AUTHENTICATE).len() == 1).await;
    bed.fake.hang_up(1).await;
    client.closed().await;
    let unrepeatable = "evenkeel_kafka_client_sasl_total{cluster=\"k\",outcome=\"unrepeatable\"";
    assert_eq!(bed.metric(unrepeatable).await, 1.0);
}

/// `limits.first_request` bounds all that comes before a client has shown who it is.
#[tokio::test]
async fn who_has_to_show_who_it_is_and_does_not_is_closed() {
    let password = Password::new("s3cret");
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    fake.ask(&Asks::plain(&[("held", "s3cret"), ("own", "0wn")]));
    let bed = Bed::over(fake, "limits.first_request = \"700ms\"", &own(&password)).await;
    bed.ready().await;
    let mut good = bed.client_of(1).await;
    assert_eq!(plain(&mut good, "own", "0wn").await.0, 0);
    let (mut asked, mut begun) = (bed.client_of(1).await, bed.client_of(1).await);
    asked.ask(API_VERSIONS, 3, &request(API_VERSIONS)).await;
    assert_eq!(handshake(&mut begun, "PLAIN").await.0, 0);
    asked.closed().await;
    begun.closed().await;
    let refused = "evenkeel_client_refused_total{cluster=\"k\",protocol=\"kafka\",reason=\"first_request\"}";
    assert_eq!(bed.metric(refused).await, 2.0);
    works(&mut good, "later").await;
}

/// One whose exchange passes is in when that has ended well, as far as can be told, though it asks nothing more.
#[tokio::test]
async fn who_has_shown_who_it_is_by_an_exchange_that_passes_may_idle() {
    let password = Password::new("s3cret");
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let mut asks = Asks::plain(&[("held", "s3cret")]);
    asks.mechanisms.extend(["SCRAM-SHA-256", "GSSAPI"].map(str::to_owned));
    asks.challenges.push(b"begun".to_vec());
    asks.takes.extend([b"proof".to_vec(), b"ticket".to_vec()]);
    fake.ask(&asks);
    let bed = Bed::over(fake, "limits.first_request = \"700ms\"", &own(&password)).await;
    bed.ready().await;
    let mut whole = bed.client_of(1).await;
    assert_eq!(handshake(&mut whole, "SCRAM-SHA-256").await.0, 0);
    assert_eq!(message(&mut whole, b"begun").await.i16("error_code"), 0);
    assert_eq!(message(&mut whole, b"proof").await.i16("error_code"), 0);
    let mut ticket = bed.client_of(1).await;
    assert_eq!(handshake(&mut ticket, "GSSAPI").await.0, 0);
    assert_eq!(message(&mut ticket, b"ticket").await.i16("error_code"), 0);
    for mechanism in ["SCRAM-SHA-256", "GSSAPI"] {
        let mut half = bed.client_of(1).await;
        assert_eq!(handshake(&mut half, mechanism).await.0, 0);
        assert_eq!(message(&mut half, b"begun").await.i16("error_code"), 0);
        half.closed().await;
    }
    works(&mut whole, "whole").await;
    works(&mut ticket, "ticket").await;
}
