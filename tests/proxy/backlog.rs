//! A backlog: what waits for a leader goes out in few requests, and in order.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::{Act, Fake};
use crate::identity::injecting;
use crate::make::*;
use evenkeel::kafka::wire;
use std::collections::HashSet;

const PARTITIONS: i32 = 3;
const EACH: i32 = 20;

/// A client whose batches of three partitions wait for leaders.
async fn waiting(bed: &Bed) -> Client {
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    for partition in 0..PARTITIONS {
        client.ask(PRODUCE, 9, &produce(-1, &[(partition, batch("opens", None))])).await;
        bed.fake.elect("t", usize::try_from(partition).unwrap(), -1);
    }
    for n in 0..EACH {
        for partition in 0..PARTITIONS {
            let text = format!("{partition}/{n}");
            client.send(PRODUCE, 9, &produce(-1, &[(partition, batch(&text, None))])).await;
        }
    }
    bed.holding(u64::try_from(PARTITIONS * EACH).unwrap()).await;
    client
}

/// Broker 2 leads all of them: each is acknowledged, and there once and in order.
async fn lands_once_and_in_order(bed: &Bed, client: &mut Client) {
    for partition in 0..PARTITIONS {
        bed.fake.elect("t", usize::try_from(partition).unwrap(), 2);
    }
    for _ in 0..PARTITIONS * EACH {
        assert!(matches!(produced(&client.receive().await)[..], [(0, _)]));
    }
    for partition in 0..PARTITIONS {
        let texts = bed.fake.texts("t", usize::try_from(partition).unwrap());
        let expected = (0..EACH).map(|n| format!("{partition}/{n}"));
        assert_eq!(texts[1..], expected.collect::<Vec<_>>());
    }
}

/// A broker works at one request of a connection at a time: one request for all partitions that it leads.
#[tokio::test]
async fn a_backlog_goes_out_in_few_requests_and_in_order() {
    let bed = injecting(&[1, 2], &[1; 3], "").await;
    let mut client = waiting(&bed).await;
    let before = bed.fake.seen(PRODUCE).len();
    lands_once_and_in_order(&bed, &mut client).await;
    let requests = bed.fake.seen(PRODUCE).split_off(before);
    let at_the_leader: Vec<_> = requests.iter().filter(|seen| seen.node == 2).collect();
    let all = usize::try_from(PARTITIONS * EACH).unwrap();
    assert!(at_the_leader.len() <= all / 2, "{} requests for {all} batches", at_the_leader.len());
    for seen in at_the_leader {
        let (_, body) = wire::decode_request(&seen.frame).unwrap();
        let rows = body.structs("topic_data").flat_map(|topic| topic.structs("partition_data"));
        let partitions: Vec<i32> = rows.map(|row| row.i32("index")).collect();
        let different: HashSet<&i32> = partitions.iter().collect();
        assert_eq!(
            different.len(),
            partitions.len(),
            "a partition stands twice in a request: {partitions:?}"
        );
    }
    bed.balanced().await;
}

/// The connection that carries gathered requests is lost: each batch is there once, and in order.
#[tokio::test]
async fn what_was_gathered_and_lost_is_there_once() {
    for act in [Act::Close, Act::ApplyThenClose, Act::Torn] {
        let bed = injecting(&[1, 2], &[1; 3], "").await;
        let mut client = waiting(&bed).await;
        for _ in 0..3 {
            bed.fake.script(2, PRODUCE, act.clone());
        }
        lands_once_and_in_order(&bed, &mut client).await;
        bed.balanced().await;
    }
}

/// librdkafka sends what was refused for want of a leader again by itself, behind later batches.
#[tokio::test]
async fn at_its_bound_librdkafka_is_told_of_a_time_out() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[-1]);
    let bed = Bed::over(fake, "hold.max = \"300ms\"", "idempotence = \"inject\"").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.id = "rdkafka";
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("x")).await), [(7, -1)]);
    bed.balanced().await;
}
