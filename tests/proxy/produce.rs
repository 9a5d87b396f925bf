//! Produce: what a refusal, a loss and an answer of each kind lead to, for records with and without a sequence.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, change, gate};
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

async fn moved(hints: bool) -> Bed {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client().await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.broker(1, |broker| broker.hints = hints);
    bed.fake.elect("t", 0, 2);
    bed
}

/// Five batches in flight when leadership moves: success for each, in order, each once.
#[tokio::test]
async fn refused_batches_go_to_the_new_leader_in_order() {
    let bed = moved(false).await;
    let mut client = bed.client_of(1).await;
    for n in 0..5 {
        client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    for n in 0..5 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4"]);
    assert!(bed.fake.log("t", 0).iter().all(|batch| batch.by == 2));
    assert!(bed.metric("evenkeel_masked_errors_total{cluster=\"k\",code=\"NOT_LEADER").await >= 1.0);
    bed.balanced().await;
}

/// Only the first is refused, as by a broker that becomes the leader again at once: it must not end up behind the rest.
#[tokio::test]
async fn a_batch_that_comes_after_a_refused_one_waits_for_it() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, PRODUCE, Act::Fail(6));
    client.send(PRODUCE, 9, &produce_text("first")).await;
    eventually("the first was seen", || bed.fake.seen(PRODUCE).len() == 1).await;
    let refused = || bed.metric("evenkeel_masked_errors_total");
    let end = Instant::now() + crate::client::PATIENCE;
    while refused().await < 1.0 {
        assert!(Instant::now() < end);
    }
    client.send(PRODUCE, 9, &produce_text("second")).await;
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    assert_eq!(produced(&client.receive().await), [(0, 1)]);
    assert_eq!(bed.fake.texts("t", 0), ["first", "second"]);
}

/// The refusing broker names the new leader (KIP-951): it is used though no broker's Metadata knows it yet.
#[tokio::test]
async fn a_hint_is_faster_than_metadata() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.broker(1, |broker| broker.hints = true);
    bed.fake.stale_metadata(&[1, 2], Duration::from_secs(600));
    bed.fake.elect("t", 0, 2);
    let began = Instant::now();
    let answer = client.ask(PRODUCE, 10, &produce_text("hinted")).await;
    assert_eq!(produced(&answer), [(0, 0)], "after {:?}", began.elapsed());
    assert_eq!(bed.fake.log("t", 0)[0].by, 2);
}

/// Metadata lags behind: the batch waits, and goes when the new leader is known.
#[tokio::test]
async fn stale_metadata_is_outwaited() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.stale_metadata(&[1, 2], Duration::from_millis(600));
    bed.fake.elect("t", 0, 2);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("late")).await), [(0, 0)]);
    let tries = bed.fake.seen(PRODUCE).len();
    assert!(tries < 20, "{tries} tries in 600 ms");
    bed.balanced().await;
}

/// One request for three leaders' partitions, of which two have moved: split, merged, only the refused ones sent again.
#[tokio::test]
async fn a_request_for_several_partitions_is_split_and_merged() {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.topic("t", &[1, 1, 1]);
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.elect("t", 0, 2);
    bed.fake.elect("t", 2, 3);
    let batches = [(2, batch("p2", None)), (0, batch("p0", None)), (1, batch("p1", None))];
    for version in [3, 9, 12, 13] {
        let answer = client.ask(PRODUCE, version, &produce(-1, &batches)).await;
        let rows: Vec<i32> = answer
            .structs("responses")
            .flat_map(|t| t.structs("partition_responses"))
            .map(|row| row.i32("index"))
            .collect();
        assert_eq!(rows, [2, 0, 1], "in the order of the request, v{version}");
        assert!(codes(&answer).iter().all(|code| *code == 0));
    }
    for (partition, text) in ["p0", "p1", "p2"].iter().enumerate() {
        assert_eq!(bed.fake.texts("t", partition), [*text; 4], "each once");
    }
    bed.balanced().await;
}

/// While one partition waits for a leader, another's batches on the same connection reach the log.
#[tokio::test]
async fn another_partition_is_not_delayed() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1, 1]);
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.elect("t", 0, -1);
    client.send(PRODUCE, 9, &produce_text("waits")).await;
    bed.holding(1).await;
    client.send(PRODUCE, 9, &produce(-1, &[(1, batch("goes", None))])).await;
    eventually("the other partition's batch is in", || bed.fake.texts("t", 1) == ["goes"]).await;
    assert!(bed.fake.texts("t", 0).is_empty());
    bed.fake.elect("t", 0, 2);
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    bed.balanced().await;
}

fn appended_then_moved(answer: &mut Struct) {
    for topic in answer.structs_mut("responses") {
        for row in topic.structs_mut("partition_responses") {
            row.set_i16("error_code", 6);
        }
    }
}

/// Appended, but not acknowledged: without a sequence the client is told that nobody knows, with one it succeeds.
#[tokio::test]
async fn what_may_have_been_appended_is_never_written_twice() {
    for act in [change(appended_then_moved), Act::ApplyThenClose, Act::Torn] {
        for sequence in [None, Some(0)] {
            let bed = Bed::new(&[1, 2]).await;
            bed.ready().await;
            let mut client = bed.client_of(1).await;
            bed.fake.script(1, PRODUCE, act.clone());
            let body = produce(-1, &[(0, batch("once", sequence))]);
            client.send(PRODUCE, 9, &body).await;
            let answer = produced(&client.receive().await);
            let expected = if sequence.is_some() { (0, 0) } else { (7, -1) };
            assert_eq!(answer, [expected], "sequence {sequence:?}");
            assert_eq!(bed.fake.texts("t", 0), ["once"], "exactly once");
            let unknown = bed.metric("evenkeel_unknown_outcomes_total{action=\"error\"").await
                + bed.metric("evenkeel_unknown_outcomes_total{action=\"error\",cluster").await;
            assert_eq!(unknown > 0.0, sequence.is_none(), "{unknown}");
            // The connection goes on.
            assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("next")).await), [(0, 1)]);
            bed.balanced().await;
        }
    }
}

/// Sequenced batches in flight when the leader dies: recognised or appended on the new leader, in order.
#[tokio::test]
async fn sequenced_batches_survive_the_loss_of_the_leader() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    bed.fake.script(1, PRODUCE, Act::Drip);
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    for n in 0..5 {
        client.send(PRODUCE, 9, &produce(-1, &[(0, batch(&n.to_string(), Some(n)))])).await;
    }
    eventually("two are in", || bed.fake.log("t", 0).len() >= 2).await;
    bed.fake.down(1).await;
    bed.fake.elect("t", 0, 2);
    for n in 0..5 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4"]);
    bed.balanced().await;
}

/// What had not been sent goes to the new leader, sequence or none.
#[tokio::test]
async fn what_was_not_sent_is_replayed() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    bed.fake.down(1).await;
    let mut client = bed.client_of(1).await;
    for n in 0..5 {
        client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    bed.holding(5).await;
    bed.fake.elect("t", 0, 2);
    for n in 0..5 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4"]);
    bed.balanced().await;
}

/// Too few in-sync replicas: refused before it was appended, so it goes again.
#[tokio::test]
async fn too_few_replicas_are_outwaited() {
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    for _ in 0..3 {
        bed.fake.script(1, PRODUCE, Act::Fail(19));
    }
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("a")).await), [(0, 0)]);
    assert_eq!(bed.fake.seen(PRODUCE).len(), 4);
}

/// What tells the client something true about itself is passed on at once, as it came.
#[tokio::test]
async fn the_clients_own_errors_are_passed_on() {
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    for code in [2, 10, 29, 44, 45, 47, 87, 89] {
        bed.fake.script(1, PRODUCE, Act::Fail(code));
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("a")).await), [(code, -1)]);
    }
    assert_eq!(bed.fake.seen(PRODUCE).len(), 8);
}

/// acks=0 has no answer: the next request's answer is its own.
#[tokio::test]
async fn without_acknowledgement_no_answer_is_due() {
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    for n in 0..10 {
        client.send(PRODUCE, 9, &produce(0, &[(0, batch(&n.to_string(), None))])).await;
    }
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    eventually("all are in the log", || bed.fake.log("t", 0).len() == 10).await;
    bed.balanced().await;
}

/// After leadership has moved, the old leader closes at acks=0. Its client hears nothing of it, so Evenkeel must learn.
#[tokio::test]
async fn without_acknowledgement_later_records_reach_the_new_leader() {
    let bed = moved(false).await;
    let mut client = bed.client_of(1).await;
    let end = Instant::now() + crate::client::PATIENCE;
    let mut n = 0;
    while bed.fake.log("t", 0).is_empty() {
        client.send(PRODUCE, 9, &produce(0, &[(0, batch(&n.to_string(), None))])).await;
        n += 1;
        assert!(Instant::now() < end, "{n} sent, none reaches the new leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [2]);
    bed.balanced().await;
}

/// A batch whose broker closes the connection each time is what it closes for: few tries, then the truth.
#[tokio::test]
async fn a_poisonous_batch_is_given_up() {
    for sequence in [None, Some(0)] {
        let bed = Bed::new(&[1]).await;
        bed.ready().await;
        let mut client = bed.client_of(1).await;
        bed.fake.always(1, PRODUCE, Act::Close);
        let began = Instant::now();
        let answer = client.ask(PRODUCE, 9, &produce(-1, &[(0, batch("x", sequence))])).await;
        assert_eq!(produced(&answer), [(7, -1)]);
        let tries = bed.fake.seen(PRODUCE).len();
        assert!(tries <= 10, "{tries} tries in {:?}", began.elapsed());
        bed.fake.never(1, PRODUCE);
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("y")).await), [(0, 0)]);
        bed.balanced().await;
    }
}

/// The same for what is harmless to repeat: it ends, and doesn't spin.
#[tokio::test]
async fn a_poisonous_request_is_given_up() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let offsets = list_offsets();
    let rounds =
        [(HEARTBEAT, 4, of_group(HEARTBEAT)), (LIST_OFFSETS, 7, offsets), (METADATA, 9, metadata(&["t"]))];
    for (key, version, body) in rounds {
        let mut client = bed.client_of(1).await;
        bed.fake.always(1, key, Act::Close);
        client.send(key, version, &body).await;
        client.closed().await;
        let tries = bed.fake.seen(key).len();
        assert!(tries <= 10, "{tries} tries of {key}");
        bed.fake.never(1, key);
    }
}

/// A late answer is late and nothing else.
#[tokio::test]
async fn a_delayed_answer_is_waited_for() {
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    let opened = gate();
    bed.fake.script(1, PRODUCE, Act::AnswerLater(opened.clone()));
    client.send(PRODUCE, 9, &produce_text("slow")).await;
    client.send(PRODUCE, 9, &produce_text("next")).await;
    eventually("it is in the log", || bed.fake.log("t", 0).len() == 1).await;
    assert!(client.is_quiet_for(Duration::from_millis(100)).await);
    opened.add_permits(1);
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    assert_eq!(produced(&client.receive().await), [(0, 1)]);
}
