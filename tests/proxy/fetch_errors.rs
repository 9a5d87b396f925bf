//! What of a Fetch's errors clients see, and what they don't.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, change};
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

/// `t` with partitions led by 1 and 2, a record in each.
async fn two_leaders() -> Bed {
    two_leaders_with("").await
}

async fn two_leaders_with(top: &str) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1, 2]);
    let bed = Bed::over(fake, top, "").await;
    bed.ready().await;
    for (partition, node) in [(0, 1), (1, 2)] {
        let mut client = bed.client_of(node).await;
        client.ask(METADATA, 12, &metadata(&["t"])).await;
        let answer = client.ask(PRODUCE, 9, &produce(-1, &[(partition, batch("r", None))])).await;
        assert_eq!(codes(&answer), [0]);
    }
    bed
}

fn with_error(code: i16) -> Act {
    change(move |answer: &mut Struct| {
        for topic in answer.structs_mut("responses") {
            for row in topic.structs_mut("partitions") {
                row.set_i16("error_code", code);
                row.set_bytes("records", Some(bytes::Bytes::new()));
            }
        }
    })
}

/// A leader that doesn't know its high watermark yet (78), or a broker that doesn't know a topic yet (3, 100): asked
/// again, within the client's wait.
#[tokio::test]
async fn passing_ignorance_is_not_told() {
    for (version, code) in [(11, 78), (11, 3), (13, 100), (13, 78)] {
        let bed = two_leaders().await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, FETCH, with_error(code));
        let answer = client.ask(FETCH, version, &fetch(20_000, &[(0, 0)])).await;
        assert_eq!(fetched(&answer), [(0, 0, 1, 62)], "v{version} {code}");
    }
}

/// A topic that is gone is told as gone, and not only when nobody waits any more.
#[tokio::test]
async fn a_deleted_topic_is_told_soon() {
    let bed = two_leaders().await;
    let mut clients = [bed.client_of(1).await, bed.client_of(1).await];
    bed.fake.world().topics.clear();
    let began = Instant::now();
    for (client, (version, code)) in clients.iter_mut().zip([(11, 3), (13, 100)]) {
        while fetched(&client.ask(FETCH, version, &fetch(500, &[(0, 1)])).await)[0].1 == 0 {
            assert!(began.elapsed() < Duration::from_secs(12), "v{version} is never told");
        }
        let answer = client.ask(FETCH, version, &fetch(500, &[(0, 1)])).await;
        assert_eq!(fetched(&answer)[0].1, code, "v{version}: and again");
    }
}

/// A client that knows of epochs settles (74) and (75) itself; that leadership moved is news here all the same.
#[tokio::test]
async fn fenced_epochs_are_news() {
    let bed = two_leaders().await;
    let mut client = bed.client_of(1).await;
    let before = bed.metric("evenkeel_kafka_leader_changes_total").await;
    bed.fake.elect("t", 1, 1);
    bed.fake.script(1, FETCH, with_error(74));
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(100, &[(0, 0)])).await)[0].1, 74);
    let end = Instant::now() + crate::client::PATIENCE;
    while bed.metric("evenkeel_kafka_leader_changes_total").await <= before {
        assert!(Instant::now() < end, "never looked up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Of two brokers that throttle the client it hears the longer time.
#[tokio::test]
async fn the_longest_throttle_is_told() {
    for times in [[30, 700], [700, 30]] {
        let bed = two_leaders().await;
        for (node, time) in [1, 2].into_iter().zip(times) {
            let throttle = move |answer: &mut Struct| answer.set_i32("throttle_time_ms", time);
            bed.fake.always(node, LIST_OFFSETS, change(throttle));
        }
        let mut body = request(LIST_OFFSETS);
        let mut topic = body.new_struct("topics");
        topic.set_str("name", "t");
        for index in [0, 1] {
            let mut row = topic.new_struct("partitions");
            row.set_i32("partition_index", index);
            row.set_i64("timestamp", -1);
            topic.push_struct("partitions", row);
        }
        body.push_struct("topics", topic);
        let answer = bed.client_of(1).await.ask(LIST_OFFSETS, 5, &body).await;
        assert!(codes(&answer).iter().all(|code| *code == 0), "{answer:?}");
        assert_eq!(answer.i32("throttle_time_ms"), 700, "{times:?}");
    }
}

/// A broker that takes connections and says nothing: the Fetch does not wait until that is given up.
#[tokio::test]
async fn a_fetch_does_not_wait_for_a_connection() {
    let bed = two_leaders_with("net.connect_timeout = \"25s\"").await;
    bed.fake.down(2).await;
    let _silent = tokio::net::TcpListener::bind(bed.fake.addr(2)).await.unwrap();
    for epoch in [-1, 0, 3] {
        let mut client = bed.client_of(2).await;
        let mut body = fetch(300, &[(1, 0)]);
        body.set_i32("session_id", if epoch > 0 { 7 } else { 0 });
        body.set_i32("session_epoch", epoch);
        let began = Instant::now();
        let answer = client.ask(FETCH, 11, &body).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        if epoch > 0 {
            assert_eq!(answer.i16("error_code"), 70, "nobody can say what is new in its session");
        } else {
            assert_eq!(fetched(&answer), [(1, 0, -1, 0)]);
        }
    }
}

/// A topic is the same whether a request names it or gives its id.
#[tokio::test]
async fn a_batch_does_not_overtake_one_that_names_its_topic_otherwise() {
    for versions in [[9, 13], [13, 9]] {
        let bed = two_leaders().await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, PRODUCE, Act::Fail(6));
        client.send(PRODUCE, versions[0], &produce_text("first")).await;
        bed.holding(1).await;
        client.send(PRODUCE, versions[1], &produce_text("second")).await;
        for _ in versions {
            assert_eq!(codes(&client.receive().await), [0]);
        }
        eventually("both are there", || bed.fake.log("t", 0).len() == 3).await;
        assert_eq!(bed.fake.texts("t", 0), ["r", "first", "second"], "{versions:?}");
    }
}
