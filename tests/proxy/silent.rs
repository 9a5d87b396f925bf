//! acks=0 that is raised (`raise_acks = "all"`): written once and in order whatever happens, and its client hears nothing of it.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Fake, Gate};
use crate::identity::{identity, injecting};
use crate::inject::{asked_for, five_more, ids, nothing, one, says, sequences};
use crate::make::*;
use crate::unknown::{Log, assert_is};
use evenkeel::kafka::wire::Struct;
use std::time::Duration;

pub const ALL: &str = "raise_acks = \"all\"\n";

/// One batch without a sequence, acks=0.
pub fn silent(text: &str) -> Struct {
    produce(0, &[(0, batch(text, None))])
}

pub async fn written(bed: &Bed, texts: &[&str]) {
    eventually("it is in the log", || bed.fake.log("t", 0).len() >= texts.len()).await;
    assert_eq!(bed.fake.texts("t", 0), texts);
}

/// The client's connection is open, and the next answer is that of the question asked.
pub async fn still_there(client: &mut Client) {
    assert_eq!(codes(&client.ask(API_VERSIONS, 3, &request(API_VERSIONS)).await), [0]);
}

/// "0" is in the log, and five of acks=0 are at the broker, which has not answered any of them: the first waits at the gate.
pub async fn five_at(bed: &Bed, acts: &[Act]) -> (Client, Gate) {
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.send(PRODUCE, 9, &silent("0")).await;
    written(bed, &["0"]).await;
    bed.until("it is decided", |status| status["members"][0]["in_flight"] == 0).await;
    let gate = five_more(bed, &mut client, acts, silent).await;
    (client, gate)
}

#[tokio::test]
async fn acks_0_is_raised_and_its_answer_ends_here() {
    let bed = injecting(&[1], &[1], ALL).await;
    let mut client = bed.client_of(1).await;
    for text in ["a", "b", "c"] {
        client.send(PRODUCE, 9, &silent(text)).await;
    }
    // The first answer that the client gets is the one that it asked for.
    assert_eq!(produced(&client.ask(PRODUCE, 9, &one("d")).await), [(0, 3)]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("e")).await), [(0, 4)]);
    client.send(PRODUCE, 9, &silent("f")).await;
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    written(&bed, &["a", "b", "c", "d", "e", "f"]).await;
    assert_eq!(sequences(&bed), [0, 1, 2, 3, 4, 5]);
    let (short, own) = ((-1, 5_000), (-1, 30_000));
    assert_eq!(asked_for(&bed), [short, short, short, short, own, short]);
    assert_eq!(bed.metric("evenkeel_kafka_raised_acks_total").await, 5.0);
    bed.balanced().await;
}

/// A time-out of acks=0 says nothing, not even to the broker: it is not what followers are waited for.
#[tokio::test]
async fn a_time_out_of_nothing_is_none() {
    let bed = injecting(&[1], &[1], ALL).await;
    let mut client = bed.client_of(1).await;
    let mut body = silent("x");
    body.set_i32("timeout_ms", 0);
    client.send(PRODUCE, 9, &body).await;
    written(&bed, &["x"]).await;
    assert_eq!(asked_for(&bed), [(-1, 5_000)]);
}

#[tokio::test]
async fn it_falls_back_to_acks_1() {
    for (act, code, again) in
        [(Act::Fail(19), 19, true), (says(7, Some(0)), 7, false), (says(20, Some(0)), 20, false)]
    {
        let bed = injecting(&[1], &[1], ALL).await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, PRODUCE, act);
        client.send(PRODUCE, 9, &silent("fallen back")).await;
        client.send(PRODUCE, 9, &silent("after it")).await;
        written(&bed, &["fallen back", "after it"]).await;
        let acks: Vec<i16> = asked_for(&bed).iter().map(|asked| asked.0).collect();
        assert_eq!(acks, if again { vec![-1, 1, 1] } else { vec![-1, 1] }, "{code}");
        assert_eq!(sequences(&bed), [0, 1], "{code}: stamped all the same");
        if again {
            let seen = bed.fake.seen(PRODUCE);
            assert_eq!(identity(&seen[0].frame, "fallen back"), identity(&seen[1].frame, "fallen back"));
        }
        still_there(&mut client).await;
        assert_eq!(bed.metric("evenkeel_kafka_raised_acks_total").await, 1.0, "{code}");
        bed.balanced().await;
    }
}

#[tokio::test]
async fn what_was_not_answered_goes_again_and_is_there_once() {
    for (n, act) in [Act::ApplyThenClose, Act::Torn, Act::Close, says(6, None)].into_iter().enumerate() {
        let bed = injecting(&[1, 2], &[1], ALL).await;
        let mut client = bed.client_of(1).await;
        client.send(PRODUCE, 9, &silent("before")).await;
        written(&bed, &["before"]).await;
        bed.fake.script(1, PRODUCE, act);
        client.send(PRODUCE, 9, &silent("once")).await;
        client.send(PRODUCE, 9, &silent("next")).await;
        written(&bed, &["before", "once", "next"]).await;
        assert_eq!(sequences(&bed), [0, 1, 2], "case {n}");
        still_there(&mut client).await;
        for action in ["error", "swallowed", "dropped"] {
            let series = format!("evenkeel_unknown_outcomes_total{{action=\"{action}\"");
            assert_eq!(bed.metric(&series).await, 0.0, "case {n}, {action}");
        }
        bed.balanced().await;
    }
}

#[tokio::test]
async fn five_in_flight_when_leadership_moves_arrive_once_and_in_order() {
    for hints in [false, true] {
        let bed = injecting(&[1, 2], &[1], ALL).await;
        bed.fake.broker(1, |broker| broker.hints = hints);
        let (mut client, gate) = five_at(&bed, &[nothing(), Act::ApplyThenClose]).await;
        bed.fake.stale_metadata(&[1, 2], Duration::from_millis(100));
        gate.add_permits(1);
        eventually("the third is in", || bed.fake.log("t", 0).len() >= 4).await;
        bed.fake.elect("t", 0, 2);
        client.send(PRODUCE, 9, &silent("6")).await;
        written(&bed, &["0", "1", "2", "3", "4", "5", "6"]).await;
        still_there(&mut client).await;
        bed.balanced().await;
    }
}

/// Directly the broker closes the connection at the first batch of a leader that has moved, and what follows is lost with it.
#[tokio::test]
async fn while_nobody_leads_it_is_held() {
    let bed = injecting(&[1, 2], &[1], ALL).await;
    let mut client = bed.client_of(1).await;
    client.send(PRODUCE, 9, &silent("0")).await;
    written(&bed, &["0"]).await;
    bed.fake.elect("t", 0, -1);
    for n in 1..=8 {
        client.send(PRODUCE, 9, &silent(&n.to_string())).await;
    }
    bed.holding(8).await;
    bed.fake.elect("t", 0, 2);
    written(&bed, &["0", "1", "2", "3", "4", "5", "6", "7", "8"]).await;
    assert_eq!(sequences(&bed), (0..=8).collect::<Vec<_>>());
    still_there(&mut client).await;
    bed.balanced().await;
}

/// Its client is gone: nobody sends it again elsewhere, so it is still sent. The client's next connection begins under an identity of
/// its own, since the first one's goes on.
#[tokio::test]
async fn what_is_held_when_its_client_closes_is_still_sent() {
    let bed = injecting(&[1, 2], &[1], ALL).await;
    let (client, gate) = five_at(&bed, &[]).await;
    drop(client);
    let mut next = bed.client_of(1).await;
    for _ in 0..2 {
        still_there(&mut next).await; // by then the end of the first is noticed
    }
    bed.fake.elect("t", 0, -1);
    gate.add_permits(1);
    bed.holding(5).await;
    bed.fake.elect("t", 0, 2);
    written(&bed, &["0", "1", "2", "3", "4", "5"]).await;
    assert_eq!(produced(&next.ask(PRODUCE, 9, &produce_text("6")).await), [(0, 6)]);
    assert_eq!(sequences(&bed), [0, 1, 2, 3, 4, 5, 0]);
    assert!(ids(&bed)[0] != ids(&bed)[6] && ids(&bed)[0] == ids(&bed)[5]);
    bed.until("one is left", |status| status["clients"] == 1).await;
    bed.balanced().await;
}

/// The same where the first of them begins anew under the next epoch: that must not be one that the next connection has.
#[tokio::test]
async fn no_two_connections_come_to_the_same_epoch() {
    let bed = injecting(&[1, 2], &[1], ALL).await;
    let (client, gate) = five_at(&bed, &[nothing(), Act::Fail(45)]).await;
    drop(client);
    let mut next = bed.client_of(1).await;
    for _ in 0..2 {
        still_there(&mut next).await;
    }
    assert_eq!(codes(&next.ask(PRODUCE, 9, &produce(-1, &[(0, batch("other", None))])).await), [0]);
    gate.add_permits(1);
    eventually("all are in the log", || bed.fake.log("t", 0).len() == 7).await;
    let texts = bed.fake.texts("t", 0);
    let rest: Vec<&String> = texts.iter().filter(|text| *text != "other").collect();
    assert_eq!(rest, ["0", "1", "2", "3", "4", "5"], "{texts:?}");
    bed.balanced().await;
}

/// What a broker refuses for what it is: its client is let know as a broker would, and what was read of it is still written.
#[tokio::test]
async fn a_batch_that_is_at_fault_ends_the_connection() {
    for code in [2, 10, 29, 87] {
        let (log, _guard) = Log::capture();
        let bed = injecting(&[1], &[1], ALL).await;
        let (mut client, gate) = five_at(&bed, &[Act::Fail(code)]).await;
        gate.add_permits(1);
        client.closed().await;
        written(&bed, &["0", "1", "3", "4", "5"]).await;
        let expected = [
            ("action", "dropped".into()),
            ("code", code.into()),
            ("level", "WARN".into()),
            ("topic", "t".into()),
        ];
        let dropped: Vec<_> = log.lines().into_iter().filter(|line| line["action"] == "dropped").collect();
        assert_eq!(dropped.len(), 1, "{dropped:#?}");
        assert_is(&dropped[0], &expected);
        assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"dropped\"").await, 1.0);
        let errors = bed.metric("evenkeel_client_errors_total").await;
        let told = bed.metric("evenkeel_client_errors_total{cluster=\"k\",code=\"disconnected\"").await;
        assert_eq!((errors, told), (1.0, 1.0), "{code}");
        bed.balanced().await;
    }
}

/// Its topic is deleted while it is held, and made anew: nothing lands in that, and its client looks the topic up again.
#[tokio::test]
async fn a_topic_that_is_gone_ends_the_connection() {
    let bed = injecting(&[1, 2], &[1], ALL).await;
    bed.client().await.ask(METADATA, 12, &metadata(&["t"])).await;
    let mut client = bed.client_of(1).await;
    bed.fake.elect("t", 0, -1);
    client.send(PRODUCE, 9, &silent("old")).await;
    bed.holding(1).await;
    bed.fake.topic_anew("t", &[2]);
    client.closed().await;
    assert!(bed.fake.log("t", 0).is_empty());
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"dropped\"").await, 1.0);
    bed.balanced().await;
}

/// At its bound it is given up: a line for each batch, and no more than that.
#[tokio::test]
async fn at_its_bound_it_is_given_up_and_said() {
    let (log, _guard) = Log::capture();
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let top = "hold.max = \"700ms\"";
    let bed = Bed::over(fake, top, &format!("idempotence = \"inject\"\n{ALL}")).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.send(PRODUCE, 9, &silent("0")).await;
    written(&bed, &["0"]).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    bed.fake.always(1, PRODUCE, Act::Fail(6));
    client.send(PRODUCE, 9, &silent("unknown")).await;
    eventually("it went again", || bed.fake.seen(PRODUCE).len() > 2).await;
    client.send(PRODUCE, 9, &silent("unsent")).await;
    eventually("two lines", || log.lines().len() >= 2).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_is(
        &lines[0],
        &[("action", "swallowed".into()), ("first_sequence", 1.into()), ("records", 1.into())],
    );
    assert_is(
        &lines[1],
        &[("action", "dropped".into()), ("level", "WARN".into()), ("api", "Produce".into())],
    );
    for action in ["swallowed", "dropped"] {
        let series = format!("evenkeel_unknown_outcomes_total{{action=\"{action}\"");
        assert_eq!(bed.metric(&series).await, 1.0, "{action}");
    }
    assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0, "nobody was told");
    bed.fake.never(1, PRODUCE);
    still_there(&mut client).await;
    client.send(PRODUCE, 9, &silent("next")).await;
    written(&bed, &["0", "unknown", "next"]).await;
    bed.balanced().await;
}

/// What can't be stamped stays as it came, and so does a request with any such batch.
#[tokio::test]
async fn what_cannot_be_stamped_stays_acks_0() {
    let bed = injecting(&[1], &[1, 1], ALL).await;
    let mut client = bed.client_of(1).await;
    let mut old = vec![0; 40];
    old[8..12].copy_from_slice(&28i32.to_be_bytes());
    old[16] = 1;
    let bodies = [
        produce(0, &[(0, old.into())]),
        produce(0, &[(0, batch("own", Some(0)))]),
        produce(0, &[(0, batch("bare", None)), (1, batch("own", Some(0)))]),
    ];
    let mut sent = Vec::new();
    for body in &bodies {
        sent.push(client.send(PRODUCE, 9, body).await);
    }
    let mut transactional = silent("in a transaction");
    transactional.set_str("transactional_id", "tx");
    sent.push(client.send(PRODUCE, 9, &transactional).await);
    still_there(&mut client).await;
    eventually("all are there", || bed.fake.seen(PRODUCE).len() == sent.len()).await;
    let seen: Vec<_> = bed.fake.seen(PRODUCE).into_iter().map(|seen| seen.frame).collect();
    assert_eq!(seen, sent);
    assert_eq!(bed.metric("evenkeel_kafka_raised_acks_total").await, 0.0);
    bed.balanced().await;
}

/// Refusals, losses and elections in any mixture, and acks in any: everything is there once, in order.
#[tokio::test]
async fn a_storm_changes_nothing() {
    for seed in [1u64, 2, 3, 4] {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut roll = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let bed = injecting(&[1, 2], &[1], ALL).await;
        let mut client = bed.client_of(1).await;
        client.ask(METADATA, 9, &metadata(&["t"])).await;
        for _ in 0..40 {
            let act = match roll(10) {
                0 => Act::Fail(6),
                1 | 2 => Act::Fail(19),
                3 => Act::ApplyThenClose,
                4 => says(7, Some(-1)),
                5 => says(6, None),
                _ => nothing(),
            };
            bed.fake.script(1 + roll(2) as i32, PRODUCE, act);
        }
        let mut due = 0;
        for sent in 0..60 {
            let acks = [0, 0, 1, -1][roll(4) as usize];
            client.send(PRODUCE, 9, &produce(acks, &[(0, batch(&sent.to_string(), None))])).await;
            due += usize::from(acks != 0);
            if due > 6 {
                assert_eq!(codes(&client.receive().await), [0], "seed {seed}");
                due -= 1;
            }
            if roll(8) == 0 {
                bed.fake.elect("t", 0, 1 + roll(2) as i32);
            }
        }
        for _ in 0..due {
            assert_eq!(codes(&client.receive().await), [0], "seed {seed}");
        }
        eventually("all are in the log", || bed.fake.log("t", 0).len() >= 60).await;
        let all: Vec<String> = (0..60).map(|n: usize| n.to_string()).collect();
        assert_eq!(bed.fake.texts("t", 0), all, "seed {seed}");
        bed.balanced().await;
    }
}
