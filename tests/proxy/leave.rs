//! The drain of a broker: clients leave it before it stops. Nothing is on its way to it when `drained` is said, and what it
//! still leads waits until somebody else leads it, or it is used again.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Fake, gate};
use crate::make::*;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Brokers 1 and 2; the first leads `t`.
async fn bed(top: &str) -> Bed {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, top, "").await;
    bed.ready().await;
    bed
}

/// Status and phase that the route answers.
async fn drain(bed: &Bed, method: &str, member: &str) -> (u16, Value) {
    let (status, body) = bed.answer(method, &format!("/v1/clusters/k/members/{member}/drain")).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Repeats the drain, as a controller does, until it is answered with `status`.
async fn until_drain_says(bed: &Bed, status: u16) -> Value {
    let end = Instant::now() + crate::client::PATIENCE;
    loop {
        let (said, body) = drain(bed, "PUT", "1").await;
        if said == status {
            return body;
        }
        assert!(Instant::now() < end, "{said}: {body}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What clients sent to broker 1.
fn at_1(bed: &Bed) -> usize {
    let of_clients =
        |seen: &&crate::fake::Seen| [PRODUCE, FETCH, HEARTBEAT, LIST_OFFSETS].contains(&seen.key);
    bed.fake.seen_at(1).iter().filter(of_clients).count()
}

async fn produced_one(client: &mut Client, text: &str) {
    assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text(text)).await), [0], "{text}");
}

#[tokio::test]
async fn what_a_drained_broker_leads_waits_for_its_next_leader() {
    let bed = bed("").await;
    let (mut home, mut other) = (bed.client_of(1).await, bed.client().await);
    produced_one(&mut home, "before").await;
    assert_eq!(until_drain_says(&bed, 200).await["phase"], "drained");
    let sent = at_1(&bed);
    home.send(PRODUCE, 9, &produce_text("held")).await;
    bed.holding(1).await;
    // Polls are answered empty, and what anyone can answer goes elsewhere.
    let mut consumer = bed.client_of(1).await;
    assert_eq!(fetched(&consumer.ask(FETCH, 11, &fetch(200, &[(0, 0)])).await), [(0, 0, -1, 0)]);
    assert_eq!(leaders(&other.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    assert_eq!(drain(&bed, "PUT", "1").await.0, 200);
    bed.fake.elect("t", 0, 2);
    assert_eq!(codes(&home.receive().await), [0]);
    assert_eq!(at_1(&bed), sent, "nothing is sent to a drained broker");
    bed.fake.down(1).await; // killed: nobody notices
    produced_one(&mut home, "after").await;
    assert_eq!(bed.fake.texts("t", 0), ["before", "held", "after"]);
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{cluster=\"k\"").await, 0.0);
    bed.balanced().await;
}

#[tokio::test]
async fn drained_is_said_when_the_last_answer_is_there() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    produced_one(&mut client, "before").await;
    let open = gate();
    bed.fake.script(1, PRODUCE, Act::AnswerLater(open.clone()));
    client.send(PRODUCE, 9, &produce_text("on its way")).await;
    eventually("it is there", || bed.fake.seen(PRODUCE).len() == 2).await;
    let (status, body) = drain(&bed, "PUT", "1").await;
    assert_eq!((status, &body["phase"], &body["sessions"]), (202, &"draining".into(), &1.into()));
    open.add_permits(1);
    assert_eq!(codes(&client.receive().await), [0]);
    until_drain_says(&bed, 200).await;
    assert_eq!(bed.fake.texts("t", 0), ["before", "on its way"]);
    bed.balanced().await;
}

/// A consumer that lets its broker wait for minutes doesn't keep it from stopping.
#[tokio::test]
async fn a_long_poll_is_taken_back() {
    let bed = bed("").await;
    let mut consumer = bed.client_of(1).await;
    consumer.send(FETCH, 11, &fetch(3_000, &[(0, 0)])).await;
    eventually("it is there", || bed.fake.seen(FETCH).len() == 1).await;
    let began = Instant::now();
    until_drain_says(&bed, 200).await;
    assert!(began.elapsed() < Duration::from_millis(2_900), "{:?}", began.elapsed());
    assert_eq!(fetched(&consumer.receive().await), [(0, 0, -1, 0)]);
    bed.balanced().await;
}

#[tokio::test]
async fn a_drain_that_is_cancelled_leaves_everything_as_it_was() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    produced_one(&mut client, "before").await;
    until_drain_says(&bed, 200).await;
    client.send(PRODUCE, 9, &produce_text("held")).await;
    bed.holding(1).await;
    let (status, body) = drain(&bed, "DELETE", "1").await;
    assert_eq!((status, &body["phase"]), (200, &"serving".into()));
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(drain(&bed, "DELETE", "1").await.0, 200, "again is no error");
    assert_eq!(bed.fake.texts("t", 0), ["before", "held"]);
    bed.balanced().await;
}

/// The controller drains and then doesn't stop the broker: before a held request would have to be refused, the broker gets it.
#[tokio::test]
async fn a_drain_expires_before_what_it_holds() {
    let bed = bed("hold.max = \"2s\"").await;
    let mut client = bed.client_of(1).await;
    produced_one(&mut client, "before").await;
    until_drain_says(&bed, 200).await;
    produced_one(&mut client, "held").await;
    let (status, body) = drain(&bed, "PUT", "1").await;
    assert_eq!(status, 409, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("expired"), "{body}");
    assert_eq!(bed.held().await["expired"], 0);
    assert_eq!(bed.fake.texts("t", 0), ["before", "held"]);
    // Ended and begun anew it works again.
    assert_eq!(drain(&bed, "DELETE", "1").await.0, 200);
    until_drain_says(&bed, 200).await;
    bed.balanced().await;
}

/// One that had been stopped in time comes back as somebody else's follower.
#[tokio::test]
async fn a_broker_that_comes_back_while_it_is_drained_is_left_alone() {
    let bed = bed("").await;
    let mut client = bed.client_of(1).await;
    produced_one(&mut client, "before").await;
    until_drain_says(&bed, 200).await;
    bed.fake.elect("t", 0, 2);
    produced_one(&mut client, "led by another").await;
    // No client has a connection to it whose end would tell, and the next look at it is half a minute away.
    bed.fake.down(1).await;
    let is = |state: &'static str| {
        move |status: &Value| {
            let members = status["members"].as_array().unwrap();
            members.iter().any(|member| member["id"] == "1" && member["state"] == state)
        }
    };
    let began = Instant::now();
    bed.until("it is down", is("down")).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}: by chance", began.elapsed());
    produced_one(&mut client, "while it is away").await;
    let sent = at_1(&bed);
    bed.fake.up(1).await;
    bed.until("it is up", is("up")).await;
    produced_one(&mut client, "still drained").await;
    assert_eq!(at_1(&bed), sent);
    bed.fake.elect("t", 0, 1);
    client.send(PRODUCE, 9, &produce_text("led by it")).await;
    bed.holding(1).await;
    assert_eq!(drain(&bed, "DELETE", "1").await.0, 200);
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.texts("t", 0).len(), 5);
    bed.balanced().await;
}

/// Requests for a group wait for its next coordinator.
#[tokio::test]
async fn a_group_waits_for_its_next_coordinator() {
    let bed = bed("").await;
    bed.fake.world().coordinators.insert("g".to_owned(), 1);
    let mut member = bed.client_of(1).await;
    assert_eq!(codes(&member.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
    until_drain_says(&bed, 200).await;
    let sent = at_1(&bed);
    member.send(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    bed.holding(1).await;
    bed.fake.world().coordinators.insert("g".to_owned(), 2);
    assert_eq!(codes(&member.receive().await), [0]);
    assert_eq!(at_1(&bed), sent);
    bed.balanced().await;
}

#[tokio::test]
async fn a_member_that_is_none_is_not_found() {
    let bed = bed("").await;
    for member in ["3", "-1", "one", "2147483648"] {
        assert_eq!(drain(&bed, "PUT", member).await.0, 404, "{member}");
        assert_eq!(drain(&bed, "DELETE", member).await.0, 404, "{member}");
    }
    produced_one(&mut bed.client_of(1).await, "on").await;
}
