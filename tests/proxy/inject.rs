//! Injected identity: what was written once is in the log once, whatever becomes of its answer, and nothing changes places.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, change, gate};
use crate::identity::{identity, injecting};
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::Duration;

/// Does it, and answers with this error.
pub fn says(code: i16, base_offset: Option<i64>) -> Act {
    change(move |answer: &mut Struct| {
        for topic in answer.structs_mut("responses") {
            for row in topic.structs_mut("partition_responses") {
                row.set_i16("error_code", code);
                row.set_i64("base_offset", base_offset.unwrap_or_else(|| row.i64("base_offset")));
            }
        }
    })
}

/// As it is.
pub fn nothing() -> Act {
    change(|_: &mut Struct| {})
}

pub fn sequences(bed: &Bed) -> Vec<i32> {
    bed.fake.log("t", 0).iter().map(|batch| batch.sequence.expect("stamped").1).collect()
}

pub fn ids(bed: &Bed) -> Vec<i64> {
    bed.fake.log("t", 0).iter().map(|batch| batch.sequence.expect("stamped").0).collect()
}

pub async fn expect(client: &mut crate::client::Client, expected: &[(i16, i64)]) {
    for answer in expected {
        assert_eq!(produced(&client.receive().await), [*answer]);
    }
}

/// Five at the broker, none answered: the first waits at the gate. One batch, "0", is in the log before.
pub async fn five_at(bed: &Bed, acts: &[Act]) -> (crate::client::Client, crate::fake::Gate) {
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("0")).await), [(0, 0)]);
    let gate = five_more(bed, &mut client, acts, produce_text).await;
    (client, gate)
}

/// "1" to "5" are at the broker, none answered: the first waits at the gate, the others meet these acts.
pub async fn five_more(
    bed: &Bed,
    client: &mut crate::client::Client,
    acts: &[Act],
    request: fn(&str) -> Struct,
) -> crate::fake::Gate {
    let gate = gate();
    bed.fake.script(1, PRODUCE, Act::Wait(gate.clone()));
    for act in acts {
        bed.fake.script(1, PRODUCE, act.clone());
    }
    for n in 1..=5 {
        client.send(PRODUCE, 9, &request(&n.to_string())).await;
    }
    bed.until("five are at the broker", |status| status["members"][0]["in_flight"] == 5).await;
    gate
}

#[tokio::test]
async fn what_was_appended_and_not_answered_is_success_and_there_once() {
    let lost = [Act::ApplyThenClose, Act::Torn, says(6, None), says(7, Some(-1)), says(20, Some(-1))];
    for (n, act) in lost.into_iter().enumerate() {
        let bed = injecting(&[1, 2], &[1], "").await;
        let mut client = bed.client_of(1).await;
        client.ask(PRODUCE, 9, &produce_text("before")).await;
        bed.fake.script(1, PRODUCE, act);
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("once")).await), [(0, 1)], "case {n}");
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("next")).await), [(0, 2)]);
        assert_eq!(bed.fake.texts("t", 0), ["before", "once", "next"], "case {n}");
        assert_eq!(sequences(&bed), [0, 1, 2]);
        assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0);
        assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"error\"").await, 0.0);
        bed.balanced().await;
    }
}

/// The same, and leadership has moved by the time of the repeat.
#[tokio::test]
async fn the_new_leader_recognises_it_too() {
    for act in [Act::ApplyThenClose, says(6, None)] {
        let bed = injecting(&[1, 2], &[1], "").await;
        let (mut client, gate) = five_at(&bed, &[nothing(), act]).await;
        bed.fake.stale_metadata(&[1, 2], std::time::Duration::from_millis(100));
        gate.add_permits(1);
        eventually("the third is in", || bed.fake.log("t", 0).len() >= 4).await;
        bed.fake.elect("t", 0, 2);
        expect(&mut client, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]).await;
        assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5"]);
        bed.balanced().await;
    }
}

#[tokio::test]
async fn five_in_flight_when_leadership_moves_arrive_once_and_in_order() {
    for hints in [false, true] {
        let bed = injecting(&[1, 2], &[1], "").await;
        bed.fake.broker(1, |broker| broker.hints = hints);
        let (mut client, gate) = five_at(&bed, &[]).await;
        bed.fake.elect("t", 0, 2);
        gate.add_permits(1);
        expect(&mut client, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]).await;
        assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(sequences(&bed), [0, 1, 2, 3, 4, 5]);
        bed.balanced().await;
    }
}

/// The leader dies with five in flight of which it has appended some.
#[tokio::test]
async fn five_in_flight_when_the_leader_dies_arrive_once_and_in_order() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let later = gate();
    let (mut client, gate) = five_at(&bed, &[nothing(), Act::AnswerLater(later)]).await;
    gate.add_permits(1);
    eventually("three are in", || bed.fake.log("t", 0).len() == 4).await;
    bed.fake.down(1).await;
    bed.fake.elect("t", 0, 2);
    expect(&mut client, &[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]).await;
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(sequences(&bed), [0, 1, 2, 3, 4, 5]);
    bed.balanced().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_gives_its_sequence_back() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(PRODUCE, 9, &produce_text("0")).await;
    bed.fake.script(1, PRODUCE, Act::Fail(10));
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("too large")).await), [(10, -1)]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("1")).await), [(0, 1)]);
    assert_eq!(sequences(&bed), [0, 1]);
    assert_eq!(ids(&bed)[0], ids(&bed)[1], "one identity");
}

pub fn one(text: &str) -> Struct {
    produce(1, &[(0, batch(text, None))])
}

/// A client with an identity of its own has several batches in flight, and the first is refused for a moment. The others then
/// meet a gap that Evenkeel made by keeping the refusal back, so their client doesn't hear of it either: it would take it for
/// a loss behind a batch that it knows as written.
#[tokio::test]
async fn a_gap_behind_a_refusal_that_was_kept_back_is_kept_back_too() {
    for code in [19, 6] {
        let bed = injecting(&[1], &[1], "").await;
        let mut client = bed.client_of(1).await;
        let own = |n: i32| produce(-1, &[(0, batch(&n.to_string(), Some(n)))]);
        assert_eq!(produced(&client.ask(PRODUCE, 9, &own(0)).await), [(0, 0)]);
        let gate = gate();
        bed.fake.script(1, PRODUCE, Act::Wait(gate.clone()));
        bed.fake.script(1, PRODUCE, Act::Fail(code));
        for n in 1..=5 {
            client.send(PRODUCE, 9, &own(n)).await;
        }
        bed.until("five are at the broker", |status| status["members"][0]["in_flight"] == 5).await;
        gate.add_permits(1);
        let expected: Vec<(i16, i64)> = (1..=5).map(|offset| (0, offset)).collect();
        expect(&mut client, &expected).await;
        assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5"], "{code}");
        bed.balanced().await;
    }
}

/// A gap that the client made itself is its own to hear of.
#[tokio::test]
async fn a_gap_of_the_clients_own_is_passed_on() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let own = |n: i32| produce(-1, &[(0, batch(&n.to_string(), Some(n)))]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &own(0)).await), [(0, 0)]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &own(2)).await), [(45, -1)]);
    assert_eq!(bed.fake.texts("t", 0), ["0"]);
}

/// Acks and time-out of each Produce that a broker got.
pub fn asked_for(bed: &Bed) -> Vec<(i16, i32)> {
    let bodies = bed.fake.seen(PRODUCE).into_iter().map(|seen| {
        let (_, body) = evenkeel::kafka::wire::decode_request(&seen.frame).unwrap();
        (body.i16("acks"), body.i32("timeout_ms"))
    });
    bodies.collect()
}

#[tokio::test]
async fn acks_1_is_raised_and_falls_back() {
    for (act, code) in [(Act::Fail(19), 19), (says(7, Some(-1)), 7), (says(20, Some(-1)), 20)] {
        let bed = injecting(&[1], &[1], "").await;
        let mut client = bed.client_of(1).await;
        assert_eq!(produced(&client.ask(PRODUCE, 9, &one("raised")).await), [(0, 0)]);
        assert_eq!(asked_for(&bed), [(-1, 5_000)]);
        assert_eq!(bed.metric("evenkeel_kafka_raised_acks_total").await, 1.0);
        bed.fake.script(1, PRODUCE, act);
        // Before it falls back: on a busy machine the second of its own is partly over by the time that its answer is looked at.
        let begun = std::time::Instant::now();
        assert_eq!(produced(&client.ask(PRODUCE, 9, &one("fallen back")).await), [(0, 1)], "{code}");
        let acks: Vec<i16> = asked_for(&bed).iter().map(|asked| asked.0).collect();
        assert_eq!(acks, [-1, -1, 1], "{code}");
        let seen = bed.fake.seen(PRODUCE);
        assert_eq!(identity(&seen[1].frame, "fallen back"), identity(&seen[2].frame, "fallen back"));
        assert_eq!(bed.fake.texts("t", 0), ["raised", "fallen back"], "{code}");
        // A slow follower isn't tried again soon; a missing one is, after a second.
        let mut sent = 2;
        loop {
            let text = sent.to_string();
            assert_eq!(produced(&client.ask(PRODUCE, 9, &one(&text)).await), [(0, sent)]);
            sent += 1;
            let last = asked_for(&bed).pop().unwrap();
            if last == (-1, 5_000) {
                assert!(code != 7 && begun.elapsed() > Duration::from_millis(900), "{code}");
                break;
            }
            assert_eq!(last.0, 1, "{code}");
            if code == 7 && begun.elapsed() > Duration::from_millis(1_500) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{code}: never raised again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(sequences(&bed), (0..i32::try_from(sent).unwrap()).collect::<Vec<_>>());
        bed.balanced().await;
    }
}

/// With its offset: so do real brokers answer (`DelayedProduce` changes nothing of what was appended but the error).
#[tokio::test]
async fn a_raised_batch_that_only_its_leader_has_in_time_is_acknowledged_at_once() {
    for code in [7, 20] {
        let bed = injecting(&[1], &[1], "").await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, PRODUCE, says(code, Some(0)));
        assert_eq!(produced(&client.ask(PRODUCE, 9, &one("late")).await), [(0, 0)], "{code}");
        assert_eq!(produced(&client.ask(PRODUCE, 9, &one("after it")).await), [(0, 1)], "{code}");
        let acks: Vec<i16> = asked_for(&bed).iter().map(|asked| asked.0).collect();
        assert_eq!(acks, [-1, 1], "{code}: not again, and the next one as it came");
        assert_eq!(bed.fake.texts("t", 0), ["late", "after it"], "{code}");
        bed.balanced().await;
    }
}

/// A batch that is stamped as a part, since its leader had to be looked for first, is raised as well.
#[tokio::test]
async fn a_part_is_raised_too() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.ask(PRODUCE, 9, &one("0")).await;
    bed.fake.elect("t", 0, 2);
    client.ask(PRODUCE, 9, &one("1")).await;
    bed.fake.script(2, PRODUCE, Act::Fail(19));
    assert_eq!(produced(&client.ask(PRODUCE, 9, &one("2")).await), [(0, 2)]);
    let acks: Vec<(i16, i32)> = asked_for(&bed);
    assert_eq!(acks[..4], [(-1, 5_000); 4], "{acks:?}");
    assert_eq!(acks[4].0, 1);
    assert_eq!(sequences(&bed), [0, 1, 2]);
}

#[tokio::test]
async fn what_asks_for_a_shorter_time_keeps_it() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let mut body = one("short");
    body.set_i32("timeout_ms", 1_500);
    client.ask(PRODUCE, 9, &body).await;
    assert_eq!(asked_for(&bed), [(-1, 1_500)]);
}

/// The shorter time-out is the broker's: how long the request may be held goes by the one that its client asked for.
#[tokio::test]
async fn what_is_raised_is_held_as_long_as_its_client_waits() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(PRODUCE, 9, &one("0")).await;
    bed.fake.elect("t", 0, -1);
    let before = bed.metric("evenkeel_hold_headroom_seconds_sum").await;
    client.send(PRODUCE, 9, &one("held")).await;
    bed.holding(1).await;
    bed.fake.elect("t", 0, 1);
    assert_eq!(produced(&client.receive().await), [(0, 1)]);
    let headroom = bed.metric("evenkeel_hold_headroom_seconds_sum").await - before;
    assert!(headroom > 5.0, "{headroom} s were left");
}

#[tokio::test]
async fn acks_0_is_left_alone() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let sent = client.send(PRODUCE, 9, &produce(0, &[(0, batch("silent", None))])).await;
    eventually("it is in", || bed.fake.log("t", 0).len() == 1).await;
    assert_eq!(bed.fake.seen(PRODUCE)[0].frame, sent);
    client.ask(PRODUCE, 9, &produce_text("spoken")).await;
    assert_eq!(bed.fake.log("t", 0)[1].sequence.unwrap().1, 0);
    bed.balanced().await;
}

#[tokio::test]
async fn acks_1_is_stamped_and_not_raised_if_so_configured() {
    let bed = injecting(&[1], &[1], "raise_acks = \"off\"\n").await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &one("once")).await), [(0, 0)]);
    assert_eq!(asked_for(&bed), [(1, 30_000); 2]);
    assert_eq!(bed.fake.texts("t", 0), ["once"]);
    assert_eq!(sequences(&bed), [0]);
    assert_eq!(bed.metric("evenkeel_kafka_raised_acks_total").await, 0.0);
}

/// The client ends with batches at the broker, at the cap, and without an id: nothing of it stays in the books.
#[tokio::test]
async fn a_client_that_ends_leaves_nothing_behind() {
    for ids in [true, false] {
        let bed = injecting(&[1], &[1], "").await;
        let mut client = bed.client_of(1).await;
        let gate = gate();
        if ids {
            client.ask(PRODUCE, 9, &produce_text("0")).await;
            bed.fake.script(1, PRODUCE, Act::Wait(gate.clone()));
        } else {
            bed.fake.world().identities.silent = true;
        }
        for n in 1..=8 {
            client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
        }
        if ids {
            bed.until("five are there", |status| status["members"][0]["in_flight"] == 5).await;
        } else {
            bed.until("one waits", |status| status["hold"]["waiting"].as_u64() >= Some(1)).await;
        }
        drop(client);
        gate.add_permits(1);
        bed.until("gone", |status| status["clients"] == 0).await;
        bed.until("nothing in flight", |status| status["members"][0]["in_flight"] == 0).await;
        bed.balanced().await;
        bed.fake.world().identities.silent = false;
        // In the log: what was, each once, in order.
        let texts: Vec<i32> = bed.fake.texts("t", 0).iter().map(|text| text.parse().unwrap()).collect();
        let first = texts.first().copied().unwrap_or_default();
        assert!(texts.iter().zip(first..).all(|(text, due)| *text == due), "{texts:?}");
        assert_eq!(codes(&bed.client_of(1).await.ask(PRODUCE, 9, &produce_text("x")).await), [0]);
    }
}

/// Refusals, losses and elections in any mixture: success means there once, at the offset that was said, in order; an error
/// that was refused for good means not there.
#[tokio::test]
async fn a_storm_changes_nothing() {
    for seed in [1u64, 2, 3, 4, 5, 6] {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut roll = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let bed = injecting(&[1, 2], &[1], "").await;
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
        let mut answers = Vec::new();
        let mut sent = 0;
        while answers.len() < 40 {
            while sent < 40 && sent - answers.len() < 8 {
                let body =
                    if roll(2) == 0 { one(&sent.to_string()) } else { produce_text(&sent.to_string()) };
                client.send(PRODUCE, 9, &body).await;
                sent += 1;
            }
            if roll(8) == 0 {
                bed.fake.elect("t", 0, 1 + roll(2) as i32);
            }
            answers.extend(produced(&client.receive().await));
        }
        let log = bed.fake.log("t", 0);
        let good: Vec<String> =
            (0..40).filter(|n| answers[*n].0 == 0).map(|n: usize| n.to_string()).collect();
        assert_eq!(bed.fake.texts("t", 0), good, "seed {seed}: {answers:?}");
        for (n, (code, offset)) in answers.iter().enumerate() {
            assert!(matches!(code, 0 | 10), "seed {seed}, {n}: {code}");
            assert!(*code != 0 || log[*offset as usize].text() == n.to_string(), "seed {seed}, {n}");
        }
        bed.balanced().await;
    }
}
