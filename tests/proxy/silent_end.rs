//! acks=0 when its client's connection ends, however it does: what was read is finished, or said to be lost.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, gate};
use crate::identity::injecting;
use crate::inject::one;
use crate::make::*;
use crate::silent::{ALL, five_at, silent, still_there, written};
use crate::unknown::{Log, assert_is};
use evenkeel::kafka::wire::Struct;
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// One batch of acks=0 for a partition.
fn silent_to(partition: i32, text: &str) -> Struct {
    produce(0, &[(partition, batch(text, None))])
}

/// A client of node 1 that has written to each of three partitions; the first has no leader any more, and one batch is held for it.
async fn one_is_held(bed: &Bed) -> Client {
    let mut client = bed.client_of(1).await;
    for partition in 0..3 {
        let first = produce(-1, &[(partition, batch("first", None))]);
        assert_eq!(produced(&client.ask(PRODUCE, 9, &first).await), [(0, 0)]);
    }
    bed.fake.elect("t", 0, -1);
    client.send(PRODUCE, 9, &silent_to(0, "held")).await;
    bed.holding(1).await;
    client
}

async fn is_dropped(bed: &Bed, count: f64) {
    let end = std::time::Instant::now() + crate::client::PATIENCE;
    while bed.metric("evenkeel_unknown_outcomes_total{action=\"dropped\"").await < count {
        assert!(std::time::Instant::now() < end, "never dropped");
    }
}

/// Else it would write for as long as that is held to a socket that nobody reads.
#[tokio::test]
async fn what_is_held_keeps_no_connection_open_that_is_to_be_closed() {
    let bed = injecting(&[1, 2], &[1, 1, 1], ALL).await;
    let mut client = one_is_held(&bed).await;
    bed.fake.script(1, PRODUCE, Act::Fail(29));
    client.send(PRODUCE, 9, &silent_to(1, "refused")).await;
    client.closed().await;
    assert_eq!(bed.held().await["waiting"], 1, "the other is held yet");
    // The client that only writes notices, too.
    while client.stream.write_all(b"more").await.is_ok() {
        tokio::task::yield_now().await;
    }
    let mut next = bed.client_of(1).await;
    still_there(&mut next).await;
    bed.fake.elect("t", 0, 2);
    written(&bed, &["first", "held"]).await;
    bed.until("one is left", |status| status["clients"] == 1).await;
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"dropped\"").await, 1.0);
    assert_eq!(bed.metric("evenkeel_client_errors_total").await, 1.0);
    bed.balanced().await;
}

#[tokio::test]
async fn it_is_closed_behind_the_answers_that_its_client_waits_for() {
    let bed = injecting(&[1, 2], &[1, 1, 1], ALL).await;
    let mut client = one_is_held(&bed).await;
    let answer = gate();
    bed.fake.script(1, PRODUCE, Act::Fail(29));
    bed.fake.script(1, PRODUCE, Act::AnswerLater(answer.clone()));
    client.send(PRODUCE, 9, &silent_to(1, "refused")).await;
    client.send(PRODUCE, 9, &produce(-1, &[(2, batch("asked", None))])).await;
    is_dropped(&bed, 1.0).await;
    assert!(client.is_quiet_for(Duration::from_millis(50)).await, "it is still owed an answer");
    answer.add_permits(1);
    assert_eq!(produced(&client.receive().await), [(0, 1)]);
    client.closed().await;
    assert_eq!(bed.held().await["waiting"], 1);
    bed.fake.elect("t", 0, 2);
    written(&bed, &["first", "held"]).await;
    bed.balanced().await;
}

/// What has no answer takes no place among the answers.
#[tokio::test]
async fn answers_go_past_what_is_held() {
    let bed = injecting(&[1, 2], &[1, 1, 1], ALL).await;
    let mut client = one_is_held(&bed).await;
    still_there(&mut client).await;
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [-1, 1, 1]);
    client.send(PRODUCE, 9, &silent_to(0, "held, too")).await;
    bed.holding(2).await;
    let asked = produce(-1, &[(1, batch("asked", None))]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &asked).await), [(0, 1)]);
    assert_eq!(bed.held().await["waiting"], 2);
    client.send(PRODUCE, 9, &produce(-1, &[(0, batch("behind them", None))])).await;
    client.send(API_VERSIONS, 3, &request(API_VERSIONS)).await;
    bed.holding(3).await;
    assert!(client.is_quiet_for(Duration::from_millis(50)).await, "answers are in the order of the requests");
    bed.fake.elect("t", 0, 2);
    assert_eq!(produced(&client.receive().await), [(0, 3)]);
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.texts("t", 0), ["first", "held", "held, too", "behind them"]);
    bed.balanced().await;
}

/// The same of acks=0 that isn't raised.
#[tokio::test]
async fn answers_go_past_what_is_held_as_it_came() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut client = bed.client_of(1).await;
    still_there(&mut client).await;
    bed.fake.down(1).await;
    client.send(PRODUCE, 9, &silent("held")).await;
    bed.holding(1).await;
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    assert_eq!(bed.held().await["waiting"], 1);
    bed.fake.up(1).await;
    written(&bed, &["held"]).await;
    still_there(&mut client).await;
    bed.balanced().await;
}

/// How a connection ends other than by a client that closes it.
#[derive(Clone, Copy, Debug)]
enum By {
    Reset,
    HalfAFrame,
    Garbage,
}

async fn ended(mut client: Client, by: By) {
    match by {
        By::Reset => {
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        By::HalfAFrame => client.stream.write_all(&[0, 0, 1]).await.unwrap(),
        By::Garbage => {
            client.stream.write_all(&[255; 8]).await.unwrap();
            client.closed().await;
        }
    }
}

#[tokio::test]
async fn what_is_held_is_still_sent_however_the_connection_ends() {
    for by in [By::Reset, By::HalfAFrame, By::Garbage] {
        let bed = injecting(&[1, 2], &[1], ALL).await;
        let (client, gate) = five_at(&bed, &[]).await;
        bed.fake.elect("t", 0, -1);
        gate.add_permits(1);
        bed.holding(5).await;
        ended(client, by).await;
        let mut next = bed.client_of(1).await;
        for _ in 0..3 {
            still_there(&mut next).await; // by then the end of the first is noticed
        }
        assert_eq!(bed.held().await["waiting"], 5, "{by:?}");
        bed.fake.elect("t", 0, 2);
        written(&bed, &["0", "1", "2", "3", "4", "5"]).await;
        bed.until("one is left", |status| status["clients"] == 1).await;
        bed.balanced().await;
    }
}

/// What is at a broker is finished, too: the answer is looked at, and what it asks for is done.
#[tokio::test]
async fn what_is_under_way_is_sent_again_after_a_reset() {
    let bed = injecting(&[1, 2], &[1], ALL).await;
    let (client, gate) = five_at(&bed, &[Act::Fail(19), Act::ApplyThenClose]).await;
    ended(client, By::Reset).await;
    let mut next = bed.client_of(1).await;
    for _ in 0..3 {
        still_there(&mut next).await;
    }
    gate.add_permits(1);
    written(&bed, &["0", "1", "2", "3", "4", "5"]).await;
    bed.until("one is left", |status| status["clients"] == 1).await;
    bed.balanced().await;
}

/// What its client waits for an answer to is not sent when it is gone; what stands around it is.
#[tokio::test]
async fn of_mixed_acks_the_silent_ones_are_sent() {
    for reset in [false, true] {
        let bed = injecting(&[1, 2], &[1], ALL).await;
        let mut client = bed.client_of(1).await;
        assert_eq!(produced(&client.ask(PRODUCE, 9, &one("0")).await), [(0, 0)]);
        let gate = gate();
        bed.fake.script(1, PRODUCE, Act::Wait(gate.clone()));
        for (n, acks) in [(1, 0), (2, -1), (3, 0), (4, 1), (5, 0)] {
            client.send(PRODUCE, 9, &produce(acks, &[(0, batch(&n.to_string(), None))])).await;
        }
        bed.until("five are at the broker", |status| status["members"][0]["in_flight"] == 5).await;
        bed.fake.elect("t", 0, -1);
        gate.add_permits(1);
        bed.holding(5).await;
        if reset {
            ended(client, By::Reset).await;
        } else {
            drop(client);
        }
        bed.holding(3).await;
        bed.fake.elect("t", 0, 2);
        written(&bed, &["0", "1", "3", "5"]).await;
        bed.until("none is left", |status| status["clients"] == 0).await;
        assert_eq!(bed.held().await["cancelled"], 2, "reset: {reset}");
        bed.balanced().await;
    }
}

/// Everything of it ends, the sessions, too, and so do the tests' tasks.
fn cut_off<R>(work: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// The process ends before it can be finished: one line for each batch, with what is known of it.
#[test]
fn what_is_left_when_the_process_ends_is_said() {
    let (log, _guard) = Log::capture();
    cut_off(async {
        let bed = injecting(&[1], &[1, 1], ALL).await;
        let mut client = bed.client_of(1).await;
        for partition in 0..2 {
            client.ask(PRODUCE, 9, &produce(-1, &[(partition, batch("first", None))])).await;
        }
        bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
        bed.fake.always(1, PRODUCE, Act::Fail(6));
        client.send(PRODUCE, 9, &silent_to(0, "unknown")).await;
        eventually("it went again", || bed.fake.seen(PRODUCE).len() > 3).await;
        client.send(PRODUCE, 9, &silent_to(1, "refused so far")).await;
        client.send(PRODUCE, 9, &silent_to(0, "never sent")).await;
        bed.holding(3).await;
        eventually("it was refused", || {
            bed.fake.seen(PRODUCE).iter().any(|seen| contains(&seen.frame, b"refused so far"))
        })
        .await;
        bed.holding(3).await;
        assert_eq!(log.lines().len(), 0);
    });
    let said = |line: &Value| (line["action"].clone(), line["partition"].clone(), line["code"].clone());
    let lines = log.lines();
    let said: Vec<_> = lines.iter().map(said).collect();
    let expected = [
        ("swallowed".into(), 0.into(), Value::Null),
        ("dropped".into(), 1.into(), 6.into()),
        ("dropped".into(), 0.into(), Value::Null),
    ];
    assert_eq!(said, expected, "{lines:#?}");
    assert_is(&lines[0], &[("level", "WARN".into()), ("topic", "t".into()), ("first_sequence", 1.into())]);
}

/// The same of requests that went, or would have gone, as they came.
#[test]
fn what_is_left_whole_when_the_process_ends_is_said() {
    let (log, _guard) = Log::capture();
    cut_off(async {
        let bed = injecting(&[1], &[1], ALL).await;
        let mut client = bed.client_of(1).await;
        still_there(&mut client).await;
        bed.fake.script(1, PRODUCE, Act::Wait(gate()));
        client.send(PRODUCE, 9, &silent("the first goes alone")).await;
        bed.until("it is at the broker", |status| status["members"][0]["in_flight"] == 1).await;
        client.send(PRODUCE, 9, &silent("it waits")).await;
        for _ in 0..3 {
            still_there(&mut bed.client_of(1).await).await; // by then it has been read
        }
        assert_eq!(log.lines().len(), 0);
    });
    let actions: Vec<_> = log.lines().iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["swallowed", "dropped"], "{:#?}", log.lines());
    assert_eq!(log.lines()[1]["records"], 1);
}

fn contains(frame: &[u8], text: &[u8]) -> bool {
    frame.windows(text.len()).any(|window| window == text)
}
