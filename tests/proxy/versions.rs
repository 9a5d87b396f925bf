//! `ApiVersions`: what all members speak, frozen for a connection.

use crate::bed::Bed;
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
