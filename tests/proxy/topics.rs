//! Topics that are deleted, and made anew with the same name.

use crate::bed::Bed;
use crate::fake::{Act, Fake};
use crate::make::*;
use std::time::{Duration, Instant};

async fn bed(cluster: &str) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", cluster).await;
    bed.ready().await;
    bed.client().await.ask(METADATA, 12, &metadata(&["t"])).await;
    bed
}

/// What was held for the topic that was deleted does not land in the one that has its name now.
#[tokio::test]
async fn nothing_lands_in_another_topic_of_the_same_name() {
    for (version, code) in [(9, 3), (12, 3), (13, 100)] {
        let bed = bed("").await;
        let mut client = bed.client_of(1).await;
        bed.fake.elect("t", 0, -1);
        client.send(PRODUCE, version, &produce_text("old")).await;
        bed.holding(1).await;
        bed.fake.topic_anew("t", &[2]);
        assert_eq!(produced(&client.receive().await), [(code, -1)], "v{version}");
        assert!(bed.fake.log("t", 0).is_empty(), "v{version}");
        // What is sent for the new one arrives.
        if version < 13 {
            assert_eq!(codes(&client.ask(PRODUCE, version, &produce_text("new")).await), [0]);
            assert_eq!(bed.fake.texts("t", 0), ["new"]);
        }
        bed.balanced().await;
    }
}

/// Nor does what waits for its broker, whole.
#[tokio::test]
async fn nothing_lands_in_another_topic_when_its_broker_is_back() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    client.ask(PRODUCE, 9, &produce_text("before")).await;
    bed.fake.down(1).await;
    client.send(PRODUCE, 9, &produce_text("old")).await;
    bed.holding(1).await;
    bed.fake.topic_anew("t", &[1]);
    bed.client_of(2).await.ask(METADATA, 12, &metadata(&["t"])).await;
    bed.fake.up(1).await;
    assert_eq!(produced(&client.receive().await), [(3, -1)]);
    assert!(bed.fake.log("t", 0).is_empty());
    bed.balanced().await;
}

/// A topic that is really gone is told as such long before the bound, and the next time at once.
#[tokio::test]
async fn a_topic_that_is_gone_is_told_soon() {
    for (version, code) in [(9, 3), (13, 100)] {
        let bed = bed("").await;
        let mut client = bed.client_of(1).await;
        bed.fake.world().topics.clear();
        let began = Instant::now();
        assert_eq!(produced(&client.ask(PRODUCE, version, &produce_text("x")).await), [(code, -1)]);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(3), "a broker that has just come back may not know it: {took:?}");
        assert!(took < Duration::from_secs(12), "{took:?}");
        let began = Instant::now();
        assert_eq!(produced(&client.ask(PRODUCE, version, &produce_text("x")).await), [(code, -1)]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        bed.balanced().await;
    }
}

/// A leaderless topic that is deleted meanwhile: what waits for its leader is told, too.
#[tokio::test]
async fn what_waits_for_a_leader_is_told_that_its_topic_is_gone() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    bed.fake.elect("t", 0, -1);
    client.send(PRODUCE, 9, &produce_text("x")).await;
    bed.holding(1).await;
    bed.fake.world().topics.clear();
    let began = Instant::now();
    assert_eq!(produced(&client.receive().await), [(3, -1)]);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    bed.balanced().await;
}

/// Metadata of a topic that is gone: asked again for 5 s, and then no more.
#[tokio::test]
async fn metadata_of_a_topic_that_is_gone_is_held_once() {
    let bed = bed("").await;
    let mut client = bed.client().await;
    bed.fake.world().topics.clear();
    let code =
        |answer: &evenkeel::kafka::wire::Struct| answer.structs("topics").next().unwrap().i16("error_code");
    let began = Instant::now();
    assert_eq!(code(&client.ask(METADATA, 12, &metadata(&["t"])).await), 3);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(code(&client.ask(METADATA, 12, &metadata(&["t"])).await), 3);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    bed.fake.topic_anew("t", &[2]);
    assert_eq!(leaders(&client.ask(METADATA, 12, &metadata(&["t"])).await), [2]);
}

/// A broker that has just come back has the topic of before in its metadata: that is not believed.
#[tokio::test]
async fn a_broker_that_is_behind_does_not_bring_the_old_topic_back() {
    let bed = bed("").await;
    bed.fake.stale_metadata(&[2], Duration::from_secs(3));
    bed.fake.topic_anew("t", &[1]);
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 12, &metadata(&["t"])).await;
    bed.client_of(2).await.ask(METADATA, 12, &metadata(&["t"])).await;
    bed.fake.script(1, PRODUCE, Act::Fail(6));
    assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("new")).await), [0]);
    assert_eq!(bed.fake.texts("t", 0), ["new"]);
}

/// A producer with an injected identity goes on in a topic made anew: in order, and nothing twice.
#[tokio::test]
async fn an_injected_identity_survives_a_new_topic() {
    for version in [9, 13] {
        let bed = bed("idempotence = \"inject\"").await;
        let mut client = bed.client_of(1).await;
        for n in 0..3 {
            assert_eq!(codes(&client.ask(PRODUCE, version, &produce_text(&n.to_string())).await), [0]);
        }
        bed.fake.topic_anew("t", &[1]);
        client.ask(METADATA, 12, &metadata(&["t"])).await;
        let id = bed.fake.world().topics["t"].id;
        for n in 3..13 {
            let mut body = produce_text(&n.to_string());
            body.structs_mut("topic_data").for_each(|topic| topic.set_uuid("topic_id", id));
            client.send(PRODUCE, version, &body).await;
        }
        for _ in 3..13 {
            assert_eq!(codes(&client.receive().await), [0], "v{version}");
        }
        let expected: Vec<String> = (3..13).map(|n| n.to_string()).collect();
        assert_eq!(bed.fake.texts("t", 0), expected, "v{version}");
        bed.balanced().await;
    }
}
