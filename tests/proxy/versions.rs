//! `ApiVersions`: what all members speak, frozen for a connection.

use crate::bed::Bed;
use crate::broker::all_versions;
use crate::client::Client;
use crate::fake::Fake;
use crate::make::*;
use std::collections::BTreeMap;

type Ranges = BTreeMap<i16, (i16, i16)>;

async fn offered(client: &mut Client, version: i16) -> Ranges {
    let answer = client.ask(API_VERSIONS, version, &request(API_VERSIONS)).await;
    assert_eq!(answer.i16("error_code"), 0);
    let row = |row: &evenkeel::kafka::wire::Struct| {
        (row.i16("api_key"), (row.i16("min_version"), row.i16("max_version")))
    };
    answer.structs("api_keys").map(row).collect()
}

#[tokio::test]
async fn the_intersection_of_all_members_is_offered() {
    let fake = Fake::start(&[1, 2, 3]).await;
    fake.broker(1, |broker| broker.versions.extend([(PRODUCE, (0, 9)), (FETCH, (4, 13))]));
    fake.broker(2, |broker| broker.versions.extend([(PRODUCE, (3, 11)), (9999, (0, 0)), (4, (0, 7))]));
    fake.broker(3, |broker| broker.versions.remove(&DESCRIBE_CLUSTER));
    let bed = Bed::over(fake, "", "").await;
    for version in 0..=4 {
        let mut client = bed.client_of(2).await;
        let ranges = offered(&mut client, version).await;
        assert_eq!(ranges[&PRODUCE], (3, 9));
        assert_eq!(ranges[&FETCH], (4, 13));
        assert!(!ranges.contains_key(&DESCRIBE_CLUSTER), "a member lacks it");
        assert!(!ranges.contains_key(&9999), "nobody knows it");
        assert!(!ranges.contains_key(&4), "it is for brokers");
    }
}

/// A connection keeps what it was told; the next one is told what is true then.
#[tokio::test]
async fn the_offer_is_frozen_for_a_connection() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client().await;
    let before = offered(&mut client, 3).await;
    bed.fake.broker(2, |broker| broker.versions.insert(PRODUCE, (3, 8)));
    bed.fake.down(2).await;
    // Somebody wants it, so that it is looked at.
    let mut other = bed.client_of(2).await;
    other.send(16, 0, &request(16)).await;
    bed.until("it is seen to be down", |status| status["members"][1]["state"] == "down").await;
    bed.fake.up(2).await;
    bed.until("the new version is known", |status| status["api_versions"]["Produce"][1] == 8).await;
    other.receive().await;
    assert_eq!(offered(&mut client, 3).await, before);
    assert_eq!(offered(&mut bed.client().await, 3).await[&PRODUCE], (3, 8));
}

/// Newer than known: v0 form and (35), so that any client can read it and ask again.
#[tokio::test]
async fn a_newer_request_is_answered_in_the_oldest_form() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    for version in [5i16, 99] {
        let mut frame = Vec::from(18i16.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 9, 0, 1, b'x', 0, 1, 1, 0]);
        client.stream.write_i32(frame.len() as i32).await.unwrap();
        client.stream.write_all(&frame).await.unwrap();
        let length = client.stream.read_i32().await.unwrap();
        let mut answer = vec![0; usize::try_from(length).unwrap()];
        client.stream.read_exact(&mut answer).await.unwrap();
        let (id, answer) = evenkeel::kafka::wire::decode_response(18, 0, &answer.into()).unwrap();
        assert_eq!((id, answer.i16("error_code")), (9, 35));
        let row = answer.structs("api_keys").next().unwrap();
        assert_eq!((row.i16("api_key"), row.i16("max_version")), (18, 4));
    }
    assert!(offered(&mut client, 4).await.contains_key(&PRODUCE));
}

/// What brokers of before and after an upgrade speak.
fn old() -> Ranges {
    let mut ranges = all_versions();
    ranges.retain(|key, _| *key < 76);
    ranges.extend([(PRODUCE, (0, 9)), (FETCH, (0, 12)), (METADATA, (0, 11))]);
    ranges
}

fn new() -> Ranges {
    let mut ranges = all_versions();
    ranges.extend([(PRODUCE, (0, 13)), (FETCH, (4, 18)), (METADATA, (0, 13))]);
    ranges
}

async fn upgraded(bed: &Bed, node: i32, to: Ranges) {
    bed.fake.down(node).await;
    bed.fake.broker(node, |broker| broker.versions = to);
    bed.fake.up(node).await;
}

/// A client works with the newest versions that it was offered, on every broker.
async fn works_everywhere(bed: &Bed, offered: &Ranges) {
    for node in [1, 2] {
        let mut client = bed.client_of(node).await;
        client.ask(METADATA, offered[&METADATA].1, &metadata(&["t"])).await;
        let mut body = fetch(100, &[(node - 1, 0)]);
        if offered[&FETCH].1 < 13 {
            body.structs_mut("topics").for_each(|topic| topic.set_uuid("topic_id", [0; 16]));
        }
        assert_eq!(fetched(&client.ask(FETCH, offered[&FETCH].1, &body).await)[0].1, 0);
        let text = batch("x", None);
        let answer = client.ask(PRODUCE, offered[&PRODUCE].1, &produce(-1, &[(node - 1, text)])).await;
        assert_eq!(produced(&answer)[0].0, 0);
    }
}

/// Before, during and after a rolling upgrade: what a client was told works on every member, old and new; more is offered
/// only when all members have had it for a while, and only to clients that ask then.
#[tokio::test]
async fn an_upgrade_is_never_an_unsupported_version() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1, 2]);
    for node in [1, 2] {
        fake.broker(node, |broker| broker.versions = old());
    }
    let bed = Bed::over(fake, "", "version_quiet = \"3s\"\nmetadata_refresh = \"50ms\"").await;
    bed.ready().await;
    let mut before = bed.client_of(1).await;
    let told_before = offered(&mut before, 3).await;
    assert_eq!(told_before[&FETCH], (0, 12));
    upgraded(&bed, 2, new()).await;
    let is = |low: i16, high: i16| {
        move |status: &serde_json::Value| status["api_versions"]["Fetch"] == serde_json::json!([low, high])
    };
    bed.until("what both speak is offered", is(4, 12)).await;
    let told_during = offered(&mut bed.client_of(2).await, 3).await;
    assert_eq!((told_during[&FETCH], told_during[&PRODUCE]), ((4, 12), (0, 9)));
    assert!(!told_during.contains_key(&76), "only one of them has it");
    works_everywhere(&bed, &told_before).await;
    works_everywhere(&bed, &told_during).await;
    upgraded(&bed, 1, new()).await;
    bed.until("all share more", |status| status["pin"]["active"] == true).await;
    assert_eq!(bed.metric("evenkeel_upgrade_pin_active").await, 1.0);
    assert_eq!(offered(&mut bed.client_of(1).await, 3).await, told_during, "not yet: the roll may go back");
    bed.until("the quiet period is over", is(4, 18)).await;
    assert_eq!(bed.metric("evenkeel_upgrade_pin_active").await, 0.0);
    let told_after = offered(&mut bed.client_of(1).await, 3).await;
    assert_eq!((told_after[&FETCH], told_after[&PRODUCE]), ((4, 18), (0, 13)));
    assert!(told_after.contains_key(&76));
    for told in [&told_before, &told_during, &told_after] {
        works_everywhere(&bed, told).await;
    }
    assert_eq!(offered(&mut before, 3).await, told_before, "a connection keeps what it was told");
    bed.balanced().await;
}

/// A client that speaks what an upgrade drops (KIP-896) is known before the first member is stopped; with the first new
/// member it is known by that, and its request is not sent there.
#[tokio::test]
async fn clients_that_an_upgrade_breaks_are_known_beforehand() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1, 2]);
    for node in [1, 2] {
        fake.broker(node, |broker| broker.versions = old());
    }
    let bed = Bed::over(fake, "", "metadata_refresh = \"50ms\"").await;
    bed.ready().await;
    let dropped =
        async |by: &str| bed.metric(&format!("evenkeel_client_versions_dropped{{by=\"{by}\"")).await;
    let mut modern = bed.client_of(1).await;
    modern.ask(FETCH, 12, &fetch(100, &[(0, 0)])).await;
    assert_eq!((dropped("kafka_4").await, dropped("member").await), (0.0, 0.0));
    assert_eq!(bed.status().await["dropped_versions"], serde_json::json!([]));
    let mut client = bed.client_of(2).await;
    client.ask(FETCH, 3, &fetch(100, &[(1, 0)])).await;
    assert_eq!((dropped("kafka_4").await, dropped("member").await), (1.0, 0.0));
    let mut expected = serde_json::json!([{
        "client": "test", "library": "other", "connections": 1, "api": "Fetch", "version": 3,
        "members": [], "in_kafka_4": false,
    }]);
    assert_eq!(bed.status().await["dropped_versions"], expected);
    bed.fake.broker(2, |broker| broker.versions = new());
    expected[0]["members"] = serde_json::json!(["2"]);
    bed.until("the member is known", |status| status["dropped_versions"] == expected).await;
    assert_eq!(dropped("member").await, 1.0);
    drop(client);
    bed.until("it is gone", |status| status["dropped_versions"] == serde_json::json!([])).await;
    // Who comes with it all the same is disconnected, as by the broker, and nothing is sent again and again.
    let mut late = bed.client_of(2).await;
    let before = bed.fake.seen(FETCH).len();
    late.send(FETCH, 3, &fetch(100, &[(1, 0)])).await;
    late.closed().await;
    assert_eq!(bed.fake.seen(FETCH).len(), before);
}
