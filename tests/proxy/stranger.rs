//! Another broker at a node's address, where `DescribeConfigs`, which would tell, is denied: it gives itself away by what it says
//! of that node and doesn't serve.

use crate::bed::Bed;
use crate::client::PATIENCE;
use crate::fake::Fake;
use crate::make::*;
use std::time::{Duration, Instant};

const LIST_GROUPS: i16 = 16;
const WRONG: &str = "evenkeel_upstream_connect_total{cluster=\"k\",member=\"2\",outcome=\"wrong_node\"";

/// Three brokers that tell nobody who they are, and a topic that the second leads.
async fn silent() -> Fake {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.world().denies_configs = true;
    fake.topic("t", &[2]);
    fake
}

async fn until_wrong(bed: &Bed) {
    let end = Instant::now() + PATIENCE;
    while bed.metric(WRONG).await < 1.0 {
        assert!(Instant::now() < end, "it is never found to be wrong");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Its topics are known when it is connected: nothing of a client reaches the stranger.
#[tokio::test]
async fn a_stranger_gives_itself_away_before_anything_is_sent() {
    let bed = Bed::over(silent().await, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("before")).await), [0]);
    bed.fake.down(2).await;
    let stranger = bed.fake.stranger(bed.fake.addr(2), 3).await;
    let before = bed.fake.seen_at(3).len();
    client.send(PRODUCE, 9, &produce_text("x")).await;
    client.send(FETCH, 11, &fetch(100, &[(0, 0)])).await;
    until_wrong(&bed).await;
    bed.until("down", |status| status["members"][1]["state"] == "down").await;
    assert_eq!(bed.fake.seen_at(3).len(), before, "nothing of a client reached it");
    drop(stranger);
    up_again(&bed).await;
    assert_eq!(produced(&client.receive().await), [(0, 1)]);
    client.receive().await;
    bed.balanced().await;
}

/// The node is back where the stranger was, as soon as that has left the port.
async fn up_again(bed: &Bed) {
    let (at, end) = (bed.fake.addr(2), Instant::now() + PATIENCE);
    while std::net::TcpListener::bind(at).is_err() {
        assert!(Instant::now() < end, "the port stays taken");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bed.fake.up(2).await;
}

/// Nothing was known when it was connected: it refuses what the node leads, again and again, and is found out by that.
#[tokio::test]
async fn a_stranger_that_was_connected_unnoticed_is_left() {
    let fake = silent().await;
    fake.down(2).await;
    let stranger = fake.stranger(fake.addr(2), 3).await;
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    assert_eq!(codes(&client.ask(LIST_GROUPS, 3, &request(LIST_GROUPS)).await), [0]);
    assert_eq!(bed.metric(WRONG).await, 0.0, "nothing shows it yet");
    client.send(PRODUCE, 9, &produce_text("x")).await;
    until_wrong(&bed).await;
    bed.until("down", |status| status["members"][1]["state"] == "down").await;
    let seen = bed.fake.seen(PRODUCE).len();
    drop(stranger);
    up_again(&bed).await;
    assert_eq!(produced(&client.receive().await), [(0, 0)]);
    assert!(seen < 20, "{seen} times");
    assert_eq!(bed.fake.texts("t", 0), ["x"]);
    bed.balanced().await;
}

/// The node is met at another address by now, and connections still lead to the stranger at its old one: they are left.
#[tokio::test]
async fn a_connection_to_where_a_node_no_longer_is_is_left() {
    let fake = silent().await;
    fake.down(2).await;
    let _stranger = fake.stranger(fake.addr(2), 3).await;
    let bed = Bed::over(fake, "", "metadata_refresh = \"100ms\"\n").await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    assert_eq!(codes(&client.ask(LIST_GROUPS, 3, &request(LIST_GROUPS)).await), [0]);
    bed.fake.up_elsewhere(2).await;
    let at = bed.fake.addr(2).to_string();
    bed.until("moved", |status| status["members"][1]["address"] == at.as_str()).await;
    // Its connection is open, and nothing is wrong with it as such.
    let began = Instant::now();
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("x")).await), [(0, 0)]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(bed.fake.log("t", 0)[0].by, 2);
    bed.balanced().await;
}

/// Brokers that are behind go on naming a node that no longer leads, and it refuses: it is itself all the same, and is let be.
#[tokio::test]
async fn a_right_node_that_refuses_is_let_be() {
    let fake = silent().await;
    fake.topic("u", &[2]);
    let bed = Bed::over(fake, "", "").await;
    bed.ready().await;
    let mut client = bed.client_of(2).await;
    client.ask(METADATA, 9, &metadata(&["t", "u"])).await;
    bed.fake.stale_metadata(&[1, 3], Duration::from_secs(4));
    bed.fake.elect("t", 0, 3);
    let began = Instant::now();
    client.send(PRODUCE, 9, &produce_text("x")).await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
    let took = began.elapsed();
    for broker in 1..=3 {
        let member = format!(
            "evenkeel_upstream_connect_total{{cluster=\"k\",member=\"{broker}\",outcome=\"wrong_node\""
        );
        assert_eq!(bed.metric(&member).await, 0.0, "{broker}, after {took:?}");
    }
    let status = bed.status().await;
    assert!(status["members"].as_array().unwrap().iter().all(|member| member["state"] == "up"), "{status:#}");
    assert_eq!(bed.metric("evenkeel_upstream_errors_total{cluster=\"k\",code=\"disconnected\"").await, 0.0);
    bed.balanced().await;
}
