//! The offset guard: what a broker calls out of range around a change of leadership is passed on only where it is true.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::{Act, Fake, change};
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

/// `t` led by 1, two records of 62 bytes in it.
async fn bed() -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 12, &metadata(&["t"])).await;
    for _ in 0..2 {
        client.ask(PRODUCE, 9, &produce_text("r")).await;
    }
    bed
}

/// Leadership moves, and Evenkeel knows.
async fn moved(bed: &Bed, to: i32) {
    bed.fake.elect("t", 0, to);
    let mut client = bed.client().await;
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [to]);
}

/// A broker's word for every partition.
fn out_of_range() -> Act {
    change(|answer: &mut Struct| {
        for topic in answer.structs_mut("responses") {
            for row in topic.structs_mut("partitions") {
                row.set_i16("error_code", 1);
                row.set_i64("high_watermark", -1);
                row.set_bytes("records", Some(bytes::Bytes::new()));
            }
        }
    })
}

async fn guarded(bed: &Bed, outcome: &str) -> f64 {
    let series = format!(
        "evenkeel_kafka_offset_guard_total{{cluster=\"k\",outcome=\"{outcome}\",protocol=\"kafka\"}}"
    );
    bed.metric(&series).await
}

/// The leader has the offset: an empty success, and the next Fetch gets the records.
#[tokio::test]
async fn a_valid_offset_is_fetched_again() {
    for version in [4, 11, 12, 13] {
        let bed = bed().await;
        moved(&bed, 2).await;
        bed.fake.script(2, FETCH, out_of_range());
        let mut client = bed.client_of(2).await;
        let answer = client.ask(FETCH, version, &fetch(20_000, &[(0, 1)])).await;
        assert_eq!(fetched(&answer), [(0, 0, 2, 0)], "v{version}: the high watermark is the leader's");
        assert_eq!(fetched(&client.ask(FETCH, version, &fetch(20_000, &[(0, 1)])).await), [(0, 0, 2, 62)]);
        assert_eq!(guarded(&bed, "valid").await, 1.0);
        let asked = bed.fake.own(LIST_OFFSETS);
        assert!(asked.len() == 3 && asked.iter().all(|seen| seen.node == 2), "earliest, latest, end");
    }
}

/// What is out of range at the leader, at either end, is told as such, however fresh the leader.
#[tokio::test]
async fn a_true_out_of_range_is_passed_on() {
    let bed = bed().await;
    bed.fake.world().topics.get_mut("t").unwrap().partitions[0].start = 1;
    moved(&bed, 2).await;
    let mut client = bed.client_of(2).await;
    for offset in [0, 3, 99] {
        let began = Instant::now();
        assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, offset)])).await)[0].1, 1, "{offset}");
        assert!(began.elapsed() < Duration::from_secs(5), "and soon: {:?}", began.elapsed());
    }
    assert_eq!(guarded(&bed, "out_of_range").await, 3.0);
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, 1)])).await), [(0, 0, 2, 62)]);
}

/// Nothing moved: the broker's word stands, and nobody is asked for offsets.
#[tokio::test]
async fn without_a_move_the_brokers_word_stands() {
    let bed = bed().await;
    let mut client = bed.client_of(1).await;
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, 9)])).await)[0].1, 1);
    assert_eq!(guarded(&bed, "settled").await, 1.0);
    assert!(bed.fake.own(LIST_OFFSETS).is_empty());
}

/// The broker that was the leader is behind, and Evenkeel has not heard of the move yet. It is bounded: a client that
/// stays there hears it in the end.
#[tokio::test]
async fn a_former_leader_is_not_believed_for_a_while() {
    let bed = bed().await;
    let mut client = bed.client_of(1).await;
    bed.fake.always(1, FETCH, out_of_range());
    bed.fake.elect("t", 0, 2);
    let mut empty = 0;
    loop {
        match fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, 1)])).await)[..] {
            [(0, 0, 2, 0)] => empty += 1,
            [(0, 1, -1, 0)] => break,
            ref other => panic!("{other:?}"),
        }
        assert!(empty < 50);
    }
    assert_eq!(empty, 10);
    assert_eq!((guarded(&bed, "valid").await, guarded(&bed, "spent").await), (10.0, 1.0));
    // Another offset of the partition is another matter.
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(20_000, &[(0, 0)])).await)[0].1, 0);
}

/// The leader can't be asked: the client's connection keeps moving, and nothing is claimed.
#[tokio::test]
async fn while_the_leader_can_not_be_asked_the_fetch_is_empty() {
    let bed = bed().await;
    let mut client = bed.client_of(1).await;
    bed.fake.always(1, FETCH, out_of_range());
    bed.fake.elect("t", 0, -1);
    let began = Instant::now();
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(400, &[(0, 1)])).await), [(0, 0, -1, 0)]);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(guarded(&bed, "unknown").await, 1.0);
}

fn in_session(mut request: Struct, id: i32, epoch: i32) -> Struct {
    request.set_i32("session_id", id);
    request.set_i32("session_epoch", epoch);
    request
}

/// In an incremental session the offset isn't in the request: the client is made to say it again.
#[tokio::test]
async fn in_a_session_the_client_says_its_offset_again() {
    let bed = bed().await;
    let mut client: Client = bed.client_of(1).await;
    let full = in_session(fetch(200, &[(0, 1)]), 0, 0);
    let answer = client.ask(FETCH, 11, &full).await;
    let id = answer.i32("session_id");
    assert_eq!(fetched(&answer), [(0, 0, 2, 62)]);
    bed.fake.elect("t", 0, 2);
    moved(&bed, 1).await;
    let more = client.ask(FETCH, 11, &in_session(fetch(20_000, &[(0, 50)]), id, 1)).await;
    assert_eq!((more.i16("error_code"), fetched(&more).len()), (70, 0));
    bed.fake.script(1, FETCH, out_of_range());
    let full = client.ask(FETCH, 11, &in_session(fetch(20_000, &[(0, 1)]), 0, 0)).await;
    assert_eq!((full.i16("error_code"), fetched(&full)), (0, vec![(0, 0, 2, 0)]));
    assert!(full.i32("session_id") > 0, "the session that the broker has opened is the client's");
    // Out of range for good: in the session too, it is said after one more round.
    let id = full.i32("session_id");
    let lost = client.ask(FETCH, 11, &in_session(fetch(20_000, &[(0, 50)]), id, 1)).await;
    assert_eq!(lost.i16("error_code"), 70);
    let lost = client.ask(FETCH, 11, &in_session(fetch(20_000, &[(0, 50)]), 0, 0)).await;
    assert_eq!(fetched(&lost)[0].1, 1);
}
