//! Brokers that join the cluster and leave it, connections that brokers close when they are idle, and clients that leave
//! while they aren't read.

use crate::bed::{Bed, eventually};
use crate::client::PATIENCE;
use crate::fake::Fake;
use crate::make::*;
use evenkeel::kafka::wire::Struct;
use std::time::{Duration, Instant};

fn listed(answer: &Struct) -> Vec<i32> {
    let mut ids: Vec<i32> = answer.structs("brokers").map(|broker| broker.i32("node_id")).collect();
    ids.sort_unstable();
    ids
}

async fn until_listed(bed: &Bed, expected: &[i32]) {
    let end = Instant::now() + PATIENCE;
    let mut client = bed.client().await;
    loop {
        let ids = listed(&client.ask(METADATA, 9, &metadata(&["t"])).await);
        if ids == expected {
            return;
        }
        assert!(Instant::now() < end, "{ids:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A broker that is taken out of the cluster stays listed for a while, then no more; its port goes on serving.
#[tokio::test]
async fn a_removed_broker_is_forgotten_and_its_port_serves_on() {
    for stopped in [true, false] {
        let fake = Fake::start(&[1, 2, 3]).await;
        fake.topic("t", &[3]);
        let bed = Bed::over(fake, "", "member_retention = \"500ms\"\nmetadata_refresh = \"50ms\"\n").await;
        bed.ready().await;
        let mut client = bed.client_of(3).await;
        assert_eq!(listed(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1, 2, 3]);
        bed.fake.elect("t", 0, 1);
        bed.fake.broker(3, |broker| broker.listed = false);
        if stopped {
            bed.fake.down(3).await;
        }
        until_listed(&bed, &[1, 2]).await;
        if stopped {
            // It still has the port in its configuration, or its metadata of before.
            assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("late")).await), [0]);
            let mut another = bed.client_of(3).await;
            assert_eq!(codes(&another.ask(PRODUCE, 9, &produce_text("later")).await), [0]);
            assert_eq!(fetched(&another.ask(FETCH, 11, &fetch(20_000, &[(0, 0)])).await)[0].1, 0);
            assert_eq!(codes(&another.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
            assert_eq!(listed(&another.ask(METADATA, 9, &metadata(&["t"])).await), [1, 2]);
            assert_eq!(bed.fake.texts("t", 0), ["late", "later"]);
            bed.fake.up(3).await;
        }
        bed.fake.broker(3, |broker| broker.listed = true);
        until_listed(&bed, &[1, 2, 3]).await;
        bed.balanced().await;
    }
}

/// All of them away for longer than brokers are remembered, and back one by one: none was removed.
#[tokio::test]
async fn an_outage_of_all_removes_nobody() {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", "member_retention = \"4s\"\nmetadata_refresh = \"50ms\"\n").await;
    bed.ready().await;
    for node in [1, 2, 3] {
        bed.fake.down(node).await;
        bed.fake.broker(node, |broker| broker.listed = false);
    }
    let down = |status: &serde_json::Value| {
        status["members"].as_array().unwrap().iter().all(|member| member["state"] == "down")
    };
    bed.until("all down", down).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bed.fake.broker(1, |broker| broker.listed = true);
    bed.fake.up(1).await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    let back = Instant::now();
    while back.elapsed() < Duration::from_secs(1) {
        let answer = client.ask(METADATA, 9, &metadata(&["t"])).await;
        assert_eq!(listed(&answer), [1, 2, 3], "they come back, too");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A broker closes a connection that is idle (connections.max.idle.ms): the client's stays open, and its next request
/// has no error, though nothing protects its batch from being written twice.
#[tokio::test]
async fn an_idle_connection_that_a_broker_closes_is_opened_again_unseen() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    for round in 0..5 {
        assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text(&round.to_string())).await), [0]);
        assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
        let lost = bed.metric("evenkeel_upstream_errors_total").await;
        bed.fake.hang_up(1).await;
        let end = Instant::now() + PATIENCE;
        while bed.metric("evenkeel_upstream_errors_total").await <= lost {
            assert!(Instant::now() < end, "its end is never noticed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4"]);
    assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0);
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total").await, 0.0);
}

/// A client that is not read since its hold is full closes its connection: what is held is given up at once.
#[tokio::test]
async fn a_client_that_leaves_while_it_is_not_read_is_noticed() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[-1]);
    let bed = Bed::over(fake, "hold.requests = 2", "").await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    for n in 0..5 {
        client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    bed.holding(2).await;
    let began = Instant::now();
    drop(client);
    bed.until("cancelled", |status| status["hold"]["cancelled"] == 2).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    bed.balanced().await;
    bed.fake.elect("t", 0, 1);
    let mut next = bed.client_of(1).await;
    assert_eq!(codes(&next.ask(PRODUCE, 9, &produce_text("again")).await), [0]);
    eventually("it is alone", || bed.fake.texts("t", 0) == ["again"]).await;
}
