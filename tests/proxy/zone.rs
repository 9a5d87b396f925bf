//! `zone`: consumers that name no rack are said to be in the zone of this host, and follow to the replica near them.

use crate::bed::Bed;
use crate::fake::Fake;
use crate::make::*;
use evenkeel::kafka::wire;

/// `t` led by 1 in zone a; 2 is in zone b, as is Evenkeel.
async fn bed(zone: &str) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    for (node, rack) in [(1, "a"), (2, "b")] {
        fake.broker(node, |broker| broker.rack = Some(rack.to_owned()));
    }
    let bed = Bed::over(fake, "", zone).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.ask(PRODUCE, 9, &produce_text("r")).await;
    bed
}

fn racks(bed: &Bed) -> Vec<String> {
    let rack = |seen: &crate::fake::Seen| {
        wire::decode_request(&seen.frame).unwrap().1.str("rack_id").unwrap_or_default().to_owned()
    };
    bed.fake.seen(FETCH).iter().map(rack).collect()
}

fn preferred(answer: &wire::Struct) -> i32 {
    let topic = answer.structs("responses").next().unwrap();
    topic.structs("partitions").next().unwrap().i32("preferred_read_replica")
}

#[tokio::test]
async fn a_consumer_is_led_to_its_zone() {
    for version in [11, 12, 13, 18] {
        let bed = bed("zone = \"b\"").await;
        let answer = bed.client_of(1).await.ask(FETCH, version, &fetch(20_000, &[(0, 0)])).await;
        assert_eq!((preferred(&answer), fetched(&answer)[0].3), (2, 0), "v{version}");
        let answer = bed.client_of(2).await.ask(FETCH, version, &fetch(20_000, &[(0, 0)])).await;
        assert_eq!((preferred(&answer), fetched(&answer)[0].3), (-1, 62), "v{version}");
        assert_eq!(racks(&bed), ["b", "b"]);
    }
}

/// In parts too: the client is led on though there are no records.
#[tokio::test]
async fn a_consumer_that_asks_the_wrong_node_is_led_to_its_zone() {
    let bed = bed("zone = \"b\"").await;
    bed.fake.add(3).await;
    bed.client().await.ask(METADATA, 9, &metadata(&["t"])).await;
    let answer = bed.client_of(3).await.ask(FETCH, 11, &fetch(20_000, &[(0, 0)])).await;
    assert_eq!((preferred(&answer), fetched(&answer)[0].1), (2, 0));
}

#[tokio::test]
async fn what_a_consumer_says_itself_stays() {
    let bed = bed("zone = \"b\"").await;
    let mut client = bed.client_of(1).await;
    let mut own = fetch(20_000, &[(0, 0)]);
    own.set_str("rack_id", "a");
    let sent = client.send(FETCH, 11, &own).await;
    assert_eq!(fetched(&client.receive().await)[0].3, 62);
    assert_eq!(bed.fake.seen(FETCH)[0].frame, sent);
    let sent = client.send(FETCH, 10, &fetch(20_000, &[(0, 0)])).await;
    assert_eq!(fetched(&client.receive().await)[0].3, 62, "v10 has no rack");
    assert_eq!(bed.fake.seen(FETCH)[1].frame, sent);
}

#[tokio::test]
async fn without_a_zone_nothing_is_said() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    let sent = client.send(FETCH, 11, &fetch(20_000, &[(0, 0)])).await;
    assert_eq!(fetched(&client.receive().await)[0].3, 62);
    assert_eq!(bed.fake.seen(FETCH)[0].frame, sent);
}

/// A library that doesn't know of nearer replicas would never get a record.
#[tokio::test]
async fn a_client_that_does_not_follow_gets_its_records() {
    let bed = bed("zone = \"b\"").await;
    let mut client = bed.client_of(1).await;
    let mut asked = 1;
    while fetched(&client.ask(FETCH, 11, &fetch(500, &[(0, 0)])).await)[0].3 == 0 {
        asked += 1;
        assert!(asked < 50);
    }
    assert!(asked > 10, "a client is given time to follow: {asked}");
}
