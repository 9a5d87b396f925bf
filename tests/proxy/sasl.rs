//! Brokers that ask who is there: every connection shows it first, and again before its session ends; what is said where it is wrong.

use crate::asks::{Asks, shown};
use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, gate};
use crate::make::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub const HANDSHAKE: i16 = 17;
pub const AUTHENTICATE: i16 = 36;

/// A file of a password, replaced whole.
pub struct Password(PathBuf);

impl Password {
    pub fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-proxy-sasl-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let file = Self(std::env::temp_dir().join(name));
        file.set(text);
        file
    }

    pub fn set(&self, text: &str) {
        std::fs::write(self.0.with_extension("new"), format!("{text}\n")).unwrap();
        std::fs::rename(self.0.with_extension("new"), &self.0).unwrap();
    }

    pub fn keys(&self, mechanism: &str) -> String {
        let path = self.0.display();
        format!("sasl.mechanism = \"{mechanism}\"\nsasl.username = \"held\"\nsasl.password_file = '{path}'")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Brokers that ask, and Evenkeel before them, which is ready.
pub async fn bed(nodes: &[i32], asks: &Asks, keys: &str) -> Bed {
    bed_with(nodes, asks, "", keys).await
}

/// The same with what stands before the cluster's table.
pub async fn bed_with(nodes: &[i32], asks: &Asks, top: &str, keys: &str) -> Bed {
    let fake = Fake::start(nodes).await;
    fake.topic("t", &nodes[..1]);
    fake.ask(asks);
    let bed = Bed::over(fake, top, keys).await;
    bed.ready().await;
    bed
}

#[tokio::test]
async fn every_connection_shows_who_it_is_first() {
    let password = Password::new("s3cret");
    let asks = Asks::plain(&[("held", "s3cret")]);
    let bed = bed(&[1, 2], &asks, &format!("{}\nidempotence = \"inject\"", password.keys("PLAIN"))).await;
    for node in [1, 2] {
        let mut client = bed.client_of(node).await;
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("x")).await).len(), 1, "as ever");
        assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    }
    // Nobody else's requests were shown to a broker: an unknown one would have been closed on.
    bed.fake.hang_up(1).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("y")).await)[0].0, 0);
    assert_eq!(
        bed.metric("evenkeel_upstream_connect_total{cluster=\"k\",member=\"1\",outcome=\"sasl\"").await,
        0.0
    );
    bed.balanced().await;
}

/// Sessions of a second and a half, for five: what is under way, and what comes, notices nothing.
#[tokio::test]
async fn sessions_are_renewed_and_nothing_notices() {
    let password = Password::new("s3cret");
    let asks = Asks { lasts: Duration::from_millis(1500), ..Asks::plain(&[("held", "s3cret")]) };
    let bed = bed(&[1], &asks, &password.keys("PLAIN")).await;
    let mut writer = bed.client_of(1).await;
    let mut reader = bed.client_of(1).await;
    let end = Instant::now() + Duration::from_secs(5);
    let mut written = 0;
    while Instant::now() < end {
        // A long poll is out at each renewal, and others are sent behind it.
        reader.send(FETCH, 11, &fetch(100, &[(0, 1_000_000)])).await;
        for _ in 0..5 {
            writer.send(PRODUCE, 9, &produce_text(&format!("r{written}"))).await;
            written += 1;
        }
        for _ in 0..5 {
            assert_eq!(produced(&writer.receive().await)[0].0, 0);
        }
        reader.receive().await;
    }
    let texts: Vec<String> = (0..written).map(|n| format!("r{n}")).collect();
    assert_eq!(bed.fake.texts("t", 0), texts);
    let renewed = "evenkeel_kafka_sasl_renewals_total{cluster=\"k\",outcome=";
    assert!(bed.metric(&format!("{renewed}\"ok\"")).await >= 4.0);
    assert_eq!(bed.metric(&format!("{renewed}\"late\"")).await, 0.0);
    assert_eq!(bed.metric(&format!("{renewed}\"refused\"")).await, 0.0);
    assert_eq!(bed.metric("evenkeel_upstream_errors_total").await, 0.0, "no connection was lost");
    assert_eq!(bed.held().await["expired"], 0);
}

/// Sessions of less than a second, as those of a token that is nearly over: a broker takes no second renewal within a second, so the
/// connection makes room for a fresh one, between two requests.
#[tokio::test]
async fn a_session_that_can_not_be_renewed_in_time_has_a_fresh_connection() {
    let password = Password::new("s3cret");
    let asks = Asks { lasts: Duration::from_millis(600), ..Asks::plain(&[("held", "s3cret")]) };
    let bed = bed(&[1], &asks, &password.keys("PLAIN")).await;
    let mut client = bed.client_of(1).await;
    let end = Instant::now() + Duration::from_secs(3);
    let mut texts = Vec::new();
    while Instant::now() < end {
        texts.push(format!("r{}", texts.len()));
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text(&texts[texts.len() - 1])).await)[0].0, 0);
    }
    assert_eq!(bed.fake.texts("t", 0), texts);
    let renewed = "evenkeel_kafka_sasl_renewals_total{cluster=\"k\",outcome=";
    assert!(bed.metric(&format!("{renewed}\"ok\"")).await >= 2.0);
    assert_eq!(bed.metric(&format!("{renewed}\"refused\"")).await, 0.0);
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total").await, 0.0);
    bed.balanced().await;
}

/// While the broker is asked to renew, nothing else goes out; then all of it does, in order.
#[tokio::test]
async fn nothing_is_sent_before_the_broker_is_content() {
    let password = Password::new("s3cret");
    let asks = Asks { lasts: Duration::from_millis(1500), ..Asks::plain(&[("held", "s3cret")]) };
    let bed = bed(&[1], &asks, &password.keys("PLAIN")).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("before")).await)[0].0, 0);
    // From now on its answers to handshakes wait.
    let door = gate();
    let of_links = || bed.fake.own(HANDSHAKE).len();
    bed.fake.broker(1, |broker| broker.slow_handshakes = Some(door.clone()));
    let before = of_links();
    eventually("it is asked to renew", || of_links() > before).await;
    client.send(PRODUCE, 9, &produce_text("one")).await;
    client.send(PRODUCE, 9, &produce_text("two")).await;
    assert!(client.is_quiet_for(Duration::from_millis(50)).await);
    bed.fake.broker(1, |broker| broker.slow_handshakes = None);
    door.add_permits(1000);
    for _ in 0..2 {
        assert_eq!(produced(&client.receive().await)[0].0, 0);
    }
    assert_eq!(bed.fake.texts("t", 0), ["before", "one", "two"]);
}

#[tokio::test]
async fn a_new_password_is_shown_as_soon_as_it_is_there() {
    let password = Password::new("one");
    let asks = Asks { lasts: Duration::from_millis(300), ..Asks::plain(&[("held", "one")]) };
    let bed = bed(&[1], &asks, &password.keys("PLAIN")).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("a")).await)[0].0, 0);
    // Its brokers know another from now on: whoever renews is refused, until the file is there.
    bed.fake.ask(&Asks { lasts: Duration::from_millis(300), ..Asks::plain(&[("held", "two")]) });
    let refused = "evenkeel_kafka_sasl_renewals_total{cluster=\"k\",outcome=\"refused\"";
    let end = Instant::now() + Duration::from_secs(30);
    while bed.metric(refused).await < 1.0 {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.send(PRODUCE, 9, &produce_text("b")).await;
    password.set("two");
    assert_eq!(produced(&client.receive().await)[0].0, 0);
    assert_eq!(bed.fake.texts("t", 0), ["a", "b"]);
    bed.balanced().await;
}

#[tokio::test]
async fn each_refusal_is_counted_and_clients_wait() {
    let password = Password::new("wrong");
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    fake.ask(&Asks::plain(&[("held", "s3cret")]));
    let bed = Bed::over(fake, "[hold]\nmax = \"300ms\"", &password.keys("PLAIN")).await;
    // Brokers that can't be asked who they are have no member to count at: the bootstrap address is told in the log.
    eventually("it has shown it", || !bed.fake.own(AUTHENTICATE).is_empty()).await;
    let shown_now = bed.fake.own(AUTHENTICATE)[0].frame.clone();
    assert!(shown_now.windows(5).any(|part| part == b"wrong"), "what is configured is what is shown");
    assert_eq!(bed.answer("GET", "/readyz").await.0, 503);
    let tries = bed.fake.own(HANDSHAKE).len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bed.fake.own(HANDSHAKE).len() < tries + 40, "with pauses");
    password.set("s3cret");
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("a")).await)[0].0, 0);
}

/// Errors of authorization are the client's own: passed as they are, and nothing is sent twice.
#[tokio::test]
async fn what_is_not_allowed_is_told_at_once() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    for (key, version, code, body) in [
        (PRODUCE, 9, 29, produce_text("x")),
        (FETCH, 11, 29, fetch(1000, &[(0, 0)])),
        (HEARTBEAT, 4, 30, of_group(HEARTBEAT)),
        (22, 4, 53, request(22)),
        (22, 4, 31, request(22)),
    ] {
        let before = bed.fake.seen(key).len();
        bed.fake.script(1, key, Act::Fail(code));
        let answer = client.ask(key, version, &body).await;
        let mut codes = Vec::new();
        answer.visit_errors(&mut |code| codes.push(code));
        assert!(codes.contains(&code), "{key}: {codes:?}");
        assert_eq!(bed.fake.seen(key).len(), before + 1, "{key}");
    }
    assert_eq!(bed.held().await["started"], 0);
}

#[tokio::test]
async fn a_secret_stands_nowhere() {
    let password = Password::new("very-s3cret");
    let bed = bed(&[1], &Asks::plain(&[("held", "very-s3cret")]), &password.keys("PLAIN")).await;
    assert!(!bed.fake.own(AUTHENTICATE).is_empty());
    assert_eq!(shown("held", "very-s3cret"), b"\0held\0very-s3cret");
    for path in ["/metrics", "/v1/clusters/k", "/readyz", "/"] {
        let text = bed.http("GET", path).await;
        assert!(!text.contains("very-s3cret"), "{path}");
    }
}
