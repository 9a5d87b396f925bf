//! Bypass: a live switch to plain forwarding.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, gate};
use crate::make::*;
use std::time::Duration;

async fn bypass(bed: &Bed, on: bool) {
    let method = if on { "PUT" } else { "DELETE" };
    let answer = bed.http(method, "/v1/clusters/k/bypass").await;
    assert!(answer.contains(&format!("\"bypass\": {on}")), "{answer}");
    assert_eq!(bed.status().await["bypass"], on);
    assert_eq!(bed.metric("evenkeel_bypass").await, if on { 1.0 } else { 0.0 });
}

async fn injecting(nodes: &[i32]) -> Bed {
    let fake = Fake::start(nodes).await;
    fake.topic("t", &nodes[..1]);
    let bed = Bed::over(fake, "", "idempotence = \"inject\"").await;
    bed.ready().await;
    bed
}

/// Whether each batch in the log has a sequence.
fn stamped(bed: &Bed) -> Vec<bool> {
    bed.fake.log("t", 0).iter().map(|batch| batch.sequence.is_some()).collect()
}

/// Nothing is stamped, spared or sent elsewhere; only addresses are rewritten.
#[tokio::test]
async fn what_brokers_say_is_what_clients_get() {
    let bed = injecting(&[1, 2]).await;
    bypass(&bed, true).await;
    let mut client = bed.client_of(1).await;
    let answer = client.ask(18, 3, &request(18)).await;
    assert!(answer.structs("api_keys").count() > 50, "ApiVersions is answered as ever");
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("x")).await), [(0, 0)]);
    assert_eq!(stamped(&bed), [false]);
    // The leader and the coordinator move: the client is told so, and what it is told shows doors.
    bed.fake.broker(1, |broker| broker.hints = true);
    bed.fake.elect("t", 0, 2);
    bed.fake.world().coordinators.insert("g".to_owned(), 2);
    client.ask(METADATA, 12, &metadata(&["t"])).await;
    let answer = client.ask(PRODUCE, 10, &produce_text("y")).await;
    assert_eq!(produced(&answer), [(6, -1)]);
    let endpoint = answer.structs("node_endpoints").next().unwrap();
    let door = (endpoint.str("host").unwrap().to_owned(), endpoint.i32("port"));
    assert_eq!(door, ("127.0.0.1".to_owned(), i32::from(bed.door(2).port())));
    assert_eq!(fetched(&client.ask(FETCH, 11, &fetch(100, &[(0, 0)])).await)[0].1, 6);
    assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [16]);
    let answer = client.ask(FIND_COORDINATOR, 3, &find_coordinator(3, "g")).await;
    assert_eq!((answer.i32("node_id"), answer.i32("port")), (2, i32::from(bed.door(2).port())));
    let answer = client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(leaders(&answer), [2]);
    assert!(
        answer
            .structs("brokers")
            .all(|row| row.i32("port") == i32::from(bed.door(row.i32("node_id")).port()))
    );
    assert_eq!(bed.held().await["started"], 0, "nothing was held");
    // Each was sent once, and to the client's own choice.
    assert!(bed.fake.seen_at(2).is_empty());
    bed.balanced().await;
}

/// A broker that dies takes its clients' connections with it, idle ones too; one that is down has none.
#[tokio::test]
async fn a_broker_that_is_lost_is_lost_to_its_clients() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    bypass(&bed, true).await;
    let (mut busy, mut idle, mut other) =
        (bed.client_of(1).await, bed.client_of(1).await, bed.client_of(2).await);
    idle.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    other.ask(16, 0, &request(16)).await;
    bed.fake.script(1, PRODUCE, Act::Wait(gate()));
    busy.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    busy.send(PRODUCE, 9, &produce_text("x")).await;
    eventually("it is there", || bed.fake.seen(PRODUCE).len() == 1).await;
    bed.fake.down(1).await;
    busy.closed().await;
    idle.closed().await;
    bed.until("it is seen to be down", |status| status["members"][0]["state"] == "down").await;
    let mut late = bed.client_of(1).await;
    late.send(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    late.closed().await;
    assert!(codes(&other.ask(16, 0, &request(16)).await).iter().all(|code| *code == 0), "the others stay");
    assert_eq!(bed.fake.seen(PRODUCE).len(), 1, "nothing is sent again");
    bed.balanced().await;
}

/// What is held when the switch is moved gets its true error at once, and the connection goes on in plain forwarding.
#[tokio::test]
async fn what_is_held_gets_its_true_error() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let (mut producer, mut member) = (bed.client_of(1).await, bed.client_of(1).await);
    bed.fake.always(1, PRODUCE, Act::Fail(19));
    bed.fake.always(1, HEARTBEAT, Act::Fail(14));
    producer.send(PRODUCE, 9, &produce_text("x")).await;
    member.send(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    bed.until("both were refused and are held", |status| status["hold"]["started"].as_u64() >= Some(2)).await;
    assert!(producer.is_quiet_for(Duration::from_millis(50)).await);
    bypass(&bed, true).await;
    assert_eq!(produced(&producer.receive().await)[0].0, 19);
    assert_eq!(codes(&member.receive().await), [14]);
    let started = bed.held().await["started"].clone();
    assert_eq!(produced(&producer.ask(PRODUCE, 9, &produce_text("y")).await)[0].0, 19, "passed on");
    assert_eq!(bed.held().await["started"], started, "nothing is held any more");
    // And back: the next one is held again, and saved.
    bypass(&bed, false).await;
    producer.send(PRODUCE, 9, &produce_text("z")).await;
    bed.until("it is held", |status| status["hold"]["waiting"].as_u64() >= Some(1)).await;
    bed.fake.never(1, PRODUCE);
    assert_eq!(produced(&producer.receive().await)[0].0, 0);
    bed.balanced().await;
}

/// Stamped batches that are under way are finished before a bare one follows, and the other way round.
#[tokio::test]
async fn stamped_and_bare_batches_are_never_under_way_together() {
    let bed = injecting(&[1]).await;
    let mut client = bed.client_of(1).await;
    for text in ["a", "b"] {
        assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text(text)).await)[0].0, 0);
    }
    for on in [true, false] {
        let opened = gate();
        bed.fake.script(1, PRODUCE, Act::AnswerLater(opened.clone()));
        let before = bed.fake.seen(PRODUCE).len();
        client.send(PRODUCE, 9, &produce_text("under way")).await;
        eventually("it is there", || bed.fake.seen(PRODUCE).len() == before + 1).await;
        bypass(&bed, on).await;
        client.send(PRODUCE, 9, &produce_text("after")).await;
        assert!(client.is_quiet_for(Duration::from_millis(100)).await);
        assert_eq!(bed.fake.seen(PRODUCE).len(), before + 1, "the first one is finished first");
        opened.add_permits(1);
        for _ in 0..2 {
            assert_eq!(produced(&client.receive().await)[0].0, 0);
        }
    }
    // a, b, under way | after, under way | after
    assert_eq!(stamped(&bed), [true, true, true, false, false, true]);
    let log = bed.fake.log("t", 0);
    let sequences: Vec<i32> =
        log.iter().filter_map(|batch| batch.sequence).map(|(_, first, _)| first).collect();
    assert_eq!(sequences, [0, 1, 2, 3], "its sequence goes on");
    bed.balanced().await;
}

/// A stamped batch in doubt when the switch is moved is not sent bare: its client is told that it may have been applied.
#[tokio::test]
async fn a_batch_in_doubt_is_told_as_such() {
    let bed = injecting(&[1]).await;
    let mut client = bed.client_of(1).await;
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("a")).await)[0].0, 0);
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    bed.fake.always(1, PRODUCE, Act::Fail(6));
    client.send(PRODUCE, 9, &produce_text("b")).await;
    bed.until("it is held", |status| status["hold"]["started"].as_u64() >= Some(1)).await;
    eventually("it went again", || bed.fake.seen(PRODUCE).len() > 2).await;
    bypass(&bed, true).await;
    assert_eq!(produced(&client.receive().await), [(7, -1)]);
    assert_eq!(bed.fake.texts("t", 0), ["a", "b"]);
    bed.balanced().await;
}
