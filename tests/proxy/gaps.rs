//! Gaps in an injected sequence: whose predecessor is gone starts over, and what is in the log is not taken for gone.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, change, gate};
use crate::identity::injecting;
use crate::inject::{expect, five_at, ids, nothing, one, says, sequences};
use crate::make::*;
use std::time::Duration;

fn epochs(bed: &Bed) -> Vec<i16> {
    bed.fake.log("t", 0).iter().map(|batch| batch.epoch).collect()
}

/// In the middle of five: the later ones meet a gap, and go again under another identity.
#[tokio::test]
async fn a_gap_in_the_pipeline_is_closed() {
    for refused in 1..=4 {
        let bed = injecting(&[1], &[1], "").await;
        let mut acts = vec![nothing(); refused - 1];
        acts.push(Act::Fail(10));
        let (mut client, gate) = five_at(&bed, &acts).await;
        gate.add_permits(1);
        let mut expected = Vec::new();
        for n in 0..5 {
            expected.push(if n == refused { (10, -1) } else { (0, 1 + expected_before(n, refused)) });
        }
        expect(&mut client, &expected).await;
        let texts: Vec<String> = (0..=5).filter(|n| *n != refused + 1).map(|n| n.to_string()).collect();
        assert_eq!(bed.fake.texts("t", 0), texts, "refused: {refused}");
        assert_eq!(bed.metric("evenkeel_client_errors_total").await, 1.0);
        // And it goes on so.
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("next")).await), [(0, 5)]);
        let (ids, epochs, sequences) = (ids(&bed), epochs(&bed), sequences(&bed));
        let cut = refused + 1;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert!(epochs[..cut].iter().all(|epoch| *epoch == 0), "{epochs:?}");
        if cut < 5 {
            assert!(epochs[cut..].iter().all(|epoch| *epoch == 1), "{epochs:?}");
            assert!(sequences[cut..].iter().zip(0..).all(|(base, due)| *base == due), "{sequences:?}");
        }
        bed.balanced().await;
    }
}

/// How many of the five before the `n`-th are in the log.
fn expected_before(n: usize, refused: usize) -> i64 {
    (0..n).filter(|before| *before != refused).count() as i64
}

/// With acks=1 a dead leader takes the end of its log along: the rest goes on behind it, under another identity.
#[tokio::test]
async fn a_predecessor_that_was_cut_off_stops_nobody() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.ask(PRODUCE, 9, &one("kept")).await;
    bed.fake.script(1, PRODUCE, Act::Fail(19));
    assert_eq!(produced(&client.ask(PRODUCE, 9, &one("cut off")).await), [(0, 1)]);
    bed.fake.elect_cut_off("t", 0, 2, 1);
    for text in ["a", "b", "c", "d", "e", "f"] {
        client.send(PRODUCE, 9, &one(text)).await;
    }
    expect(&mut client, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)]).await;
    assert_eq!(bed.fake.texts("t", 0), ["kept", "a", "b", "c", "d", "e", "f"]);
    let ids = ids(&bed);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(epochs(&bed), [0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(sequences(&bed), [0, 0, 1, 2, 3, 4, 5]);
    assert!(bed.fake.log("t", 0)[1..].iter().all(|batch| batch.by == 2));
    assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0);
    bed.balanced().await;
}

/// Each of some is in the log and not acknowledged; their leader is started again, and remembers only the last one of them, or one
/// that was acknowledged behind them.
#[tokio::test]
async fn what_a_broker_that_was_started_again_takes_for_a_gap_is_in_the_log() {
    for acknowledged in [false, true] {
        let bed = injecting(&[1], &[1], "").await;
        let late = || says(7, Some(-1));
        let last = if acknowledged { nothing() } else { late() };
        let hold = gate();
        let acts = [late(), late(), late(), last, Act::Wait(hold.clone())];
        let (mut client, gate) = five_at(&bed, &acts[..4]).await;
        for _ in 0..acts.len() {
            bed.fake.script(1, PRODUCE, Act::Wait(hold.clone()));
        }
        gate.add_permits(1);
        eventually("all are in", || bed.fake.log("t", 0).len() == 6).await;
        bed.fake.remember_less("t", 0);
        hold.add_permits(5);
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.extend(produced(&client.receive().await));
        }
        assert!(answers.iter().all(|(code, _)| *code == 0), "{answers:?}");
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("6")).await), [(0, 6)]);
        assert_eq!(
            bed.fake.texts("t", 0),
            ["0", "1", "2", "3", "4", "5", "6"],
            "acknowledged: {acknowledged}"
        );
        assert_eq!(sequences(&bed), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0);
        bed.balanced().await;
    }
}

/// One of unknown outcome is shown to be in the log by one that was acknowledged behind it; another one behind that, whose predecessor
/// was refused for good, is not.
#[tokio::test]
async fn what_landed_proves_nothing_of_what_is_behind_it() {
    let bed = injecting(&[1], &[1], "").await;
    let acts = [says(7, Some(-1)), change(|_| {}), Act::Fail(10), Act::Close];
    let hold = gate();
    let (mut client, first) = five_at(&bed, &acts).await;
    for _ in 0..4 {
        bed.fake.script(1, PRODUCE, Act::Wait(hold.clone()));
    }
    first.add_permits(1);
    eventually("all are in that go in at once", || bed.fake.log("t", 0).len() == 4).await;
    bed.fake.remember_less("t", 0);
    hold.add_permits(4);
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.extend(produced(&client.receive().await).into_iter().map(|(code, _)| code));
    }
    assert_eq!(codes, [0, 0, 0, 10, 0]);
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "5"]);
    bed.balanced().await;
}

/// Those behind a gap come to their bound before they could start over: the next one does at once, and isn't sent into the gap itself,
/// or a backlog whose batches all come to their bound would never get beyond it.
#[tokio::test]
async fn a_gap_outlives_no_batch_that_met_it() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "hold.max = \"300ms\"", "idempotence = \"inject\"").await;
    bed.ready().await;
    let (mut client, first) = five_at(&bed, &[Act::Fail(10)]).await;
    let hold = gate();
    bed.fake.script(1, PRODUCE, Act::Wait(hold.clone()));
    first.add_permits(1);
    expect(&mut client, &[(0, 1), (10, -1)]).await;
    tokio::time::sleep(Duration::from_millis(400)).await; // their bound is reached
    hold.add_permits(1);
    expect(&mut client, &[(5, -1), (5, -1), (5, -1)]).await;
    let sent = bed.fake.seen(PRODUCE).len();
    for n in 2..5 {
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("next")).await), [(0, n)]);
    }
    assert_eq!(bed.fake.seen(PRODUCE).len(), sent + 3, "none met the gap");
    assert_eq!(epochs(&bed), [0, 0, 1, 1, 1]);
    assert_eq!(sequences(&bed), [0, 1, 0, 1, 2]);
    bed.balanced().await;
}
