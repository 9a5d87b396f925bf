//! A backlog of few partitions: up to five batches of each in one round trip to the followers, and its client is told of
//! none before all have it.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, Fake, Seen, change, gate};
use crate::identity::injecting;
use crate::make::*;
use evenkeel::kafka::wire::{self, Struct};
use std::time::{Duration, Instant};

/// Batches wait for a leader: one each time for each of `depths` partitions that has one left. One batch of each is in the
/// log before.
async fn waiting(bed: &Bed, depths: &[usize], acks: i16) -> Client {
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    for partition in 0..depths.len() {
        let opens = produce(acks, &[(partition as i32, batch("opens", None))]);
        assert!(matches!(produced(&client.ask(PRODUCE, 9, &opens).await)[..], [(0, 0)]));
        bed.fake.elect("t", partition, -1);
    }
    for n in 1..=depths.iter().copied().max().unwrap() {
        for (partition, _) in depths.iter().enumerate().filter(|(_, depth)| n <= **depth) {
            let records = batch(&n.to_string(), None);
            client.send(PRODUCE, 9, &produce(acks, &[(partition as i32, records)])).await;
        }
    }
    bed.holding(depths.iter().sum::<usize>() as u64).await;
    client
}

async fn of_one(depth: usize, more: &str) -> (Bed, Client) {
    let bed = injecting(&[1, 2], &[1], more).await;
    let client = waiting(&bed, &[depth], -1).await;
    (bed, client)
}

/// acks of the Produce requests that a node got.
fn acks(bed: &Bed, node: i32) -> Vec<i16> {
    let at: Vec<Seen> = bed.fake.seen(PRODUCE).into_iter().filter(|seen| seen.node == node).collect();
    at.iter().map(|seen| wire::decode_request(&seen.frame).unwrap().1.i16("acks")).collect()
}

async fn is_told(client: &mut Client, expected: &[(i16, i64)]) {
    for answer in expected {
        assert_eq!(produced(&client.receive().await), [*answer]);
    }
}

fn texts(count: usize) -> Vec<String> {
    let numbers = (1..=count).map(|n| n.to_string());
    std::iter::once("opens".to_owned()).chain(numbers).collect()
}

#[tokio::test]
async fn a_partition_moves_by_five_batches_in_a_round_trip_to_the_followers() {
    const EACH: usize = 50;
    let (bed, mut client) = of_one(EACH, "").await;
    let followers = Duration::from_millis(50);
    bed.fake.broker(2, |broker| broker.followers = followers);
    let begun = Instant::now();
    bed.fake.elect("t", 0, 2);
    is_told(&mut client, &(1..=EACH as i64).map(|offset| (0, offset)).collect::<Vec<_>>()).await;
    let took = begun.elapsed();
    assert_eq!(bed.fake.texts("t", 0), texts(EACH));
    let acks = acks(&bed, 2);
    let trips = acks.iter().filter(|acks| **acks == -1).count();
    println!("{EACH} batches: {trips} round trips to the followers, {took:?}");
    // The first goes alone, and what was looked at while it was out may make a shorter row.
    assert!(trips <= EACH / 5 + 3, "{trips}: {acks:?}");
    assert!(took > followers * u32::try_from(trips).unwrap(), "nothing is told before the followers have it");
    bed.balanced().await;
}

/// However many batches each has, the last ones of all partitions wait for the followers together.
#[tokio::test]
async fn partitions_of_one_node_share_their_round_trips() {
    let depths = [40, 25, 3, 12];
    let bed = injecting(&[1, 2], &[1; 4], "").await;
    let mut client = waiting(&bed, &depths, -1).await;
    let sent: usize = depths.iter().sum();
    for partition in 0..depths.len() {
        bed.fake.elect("t", partition, 2);
    }
    for _ in 0..sent {
        assert!(matches!(produced(&client.receive().await)[..], [(0, _)]));
    }
    for (partition, depth) in depths.iter().enumerate() {
        assert_eq!(bed.fake.texts("t", partition), texts(*depth));
    }
    let trips = acks(&bed, 2).iter().filter(|acks| **acks == -1).count();
    println!("{sent} batches of {depths:?}: {trips} round trips to the followers");
    assert!(trips <= 40 / 5 + 3, "{trips}");
    bed.balanced().await;
}

/// The broker has taken three for itself, and works at the one that proves them, when it loses them and its leadership.
#[tokio::test]
async fn what_only_the_leader_has_is_not_told_and_goes_again() {
    let (bed, mut client) = of_one(5, "").await;
    let gate = gate();
    let nothing = || change(|_: &mut Struct| {});
    for act in [nothing(), nothing(), nothing(), nothing(), Act::Wait(gate.clone())] {
        bed.fake.script(2, PRODUCE, act);
    }
    bed.fake.elect("t", 0, 2);
    eventually("the last one is there", || acks(&bed, 2).len() == 5).await;
    assert_eq!(acks(&bed, 2), [-1, 1, 1, 1, -1]);
    assert_eq!(bed.fake.texts("t", 0), texts(4));
    is_told(&mut client, &[(0, 1)]).await;
    assert!(client.is_quiet_for(Duration::from_millis(200)).await, "nobody but the leader has the others");
    bed.fake.elect_cut_off("t", 0, 1, 2);
    gate.add_permits(1);
    is_told(&mut client, &[(0, 2), (0, 3), (0, 4), (0, 5)]).await;
    assert_eq!(bed.fake.texts("t", 0), texts(5));
    assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0);
    bed.balanced().await;
}

/// Whatever becomes of the one that was to prove the others: each is there once, in order, and told as a success.
#[tokio::test]
async fn what_was_to_prove_the_others_fails() {
    let says = |code: i16| {
        change(move |answer: &mut Struct| {
            let topic = answer.structs_mut("responses").next().unwrap();
            for row in topic.structs_mut("partition_responses") {
                row.set_i16("error_code", code);
            }
        })
    };
    let fates = [
        Act::Close,
        Act::ApplyThenClose,
        Act::Torn,
        Act::WrongCorrelation,
        Act::Fail(6),
        Act::Fail(19),
        Act::Fail(45),
        says(6),
        says(7),
        says(20),
    ];
    for (n, fate) in fates.into_iter().enumerate() {
        let (bed, mut client) = of_one(8, "").await;
        for _ in 0..4 {
            bed.fake.script(2, PRODUCE, change(|_: &mut Struct| {}));
        }
        bed.fake.script(2, PRODUCE, fate);
        bed.fake.elect("t", 0, 2);
        is_told(&mut client, &(1..=8).map(|offset| (0, offset)).collect::<Vec<_>>()).await;
        assert_eq!(bed.fake.texts("t", 0), texts(8), "case {n}");
        assert_eq!(bed.metric("evenkeel_client_errors_total").await, 0.0, "case {n}");
        assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"error\"").await, 0.0, "case {n}");
        bed.balanced().await;
    }
}

/// One of those before is refused for good: its client is told so, of that one alone.
#[tokio::test]
async fn one_of_the_others_is_refused() {
    let (bed, mut client) = of_one(6, "").await;
    for act in [change(|_: &mut Struct| {}), change(|_: &mut Struct| {}), Act::Fail(10)] {
        bed.fake.script(2, PRODUCE, act);
    }
    bed.fake.elect("t", 0, 2);
    is_told(&mut client, &[(0, 1), (0, 2), (10, -1), (0, 3), (0, 4), (0, 5)]).await;
    assert_eq!(bed.fake.texts("t", 0), ["opens", "1", "2", "4", "5", "6"]);
    bed.balanced().await;
}

/// The same with a sequence of the client's own: what the broker says of it is passed on.
#[tokio::test]
async fn a_producer_id_of_the_clients_own_is_proven_the_same_way() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let one = |n: i32| produce(-1, &[(0, batch(&n.to_string(), Some(n)))]);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &one(0)).await), [(0, 0)]);
    bed.fake.elect("t", 0, -1);
    for n in 1..=6 {
        client.send(PRODUCE, 9, &one(n)).await;
    }
    bed.holding(6).await;
    bed.fake.elect("t", 0, 2);
    is_told(&mut client, &(1..=6).map(|offset| (0, offset)).collect::<Vec<_>>()).await;
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(acks(&bed, 2), [-1, 1, 1, 1, 1, -1]);
}

/// Without a sequence nothing proves that the one before is in the log.
#[tokio::test]
async fn what_has_no_sequence_goes_as_its_client_asked() {
    for (identity, asked) in [("off", -1), ("inject\"\nraise_acks = \"off", 1)] {
        let fake = Fake::start(&[1, 2]).await;
        fake.topic("t", &[1]);
        let bed = Bed::over(fake, "", &format!("idempotence = \"{identity}\"")).await;
        bed.ready().await;
        let mut client = waiting(&bed, &[6], asked).await;
        bed.fake.elect("t", 0, 2);
        is_told(&mut client, &(1..=6).map(|offset| (0, offset)).collect::<Vec<_>>()).await;
        assert!(acks(&bed, 2).iter().all(|acks| *acks == asked), "{:?}", acks(&bed, 2));
    }
}

/// acks=1 that is raised to all is not told sooner for that.
#[tokio::test]
async fn raised_acks_are_proven_the_same_way() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut client = waiting(&bed, &[5], 1).await;
    bed.fake.elect("t", 0, 2);
    is_told(&mut client, &(1..=5).map(|offset| (0, offset)).collect::<Vec<_>>()).await;
    assert_eq!(acks(&bed, 2), [-1, 1, 1, 1, -1]);
}

/// Nobody leads any more when the bound is reached. The last one was refused, the others may be in the log or not.
#[tokio::test]
async fn at_the_bound_what_only_the_leader_had_is_an_unknown_outcome() {
    let fake = Fake::start(&[1, 2]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "hold.max = \"6s\"", "idempotence = \"inject\"").await;
    bed.ready().await;
    let mut client = waiting(&bed, &[4], -1).await;
    let gate = gate();
    for _ in 0..3 {
        bed.fake.script(2, PRODUCE, change(|_: &mut Struct| {}));
    }
    bed.fake.script(2, PRODUCE, Act::Wait(gate.clone()));
    bed.fake.elect("t", 0, 2);
    eventually("the last one is there", || acks(&bed, 2).len() == 4).await;
    bed.fake.elect("t", 0, -1);
    gate.add_permits(1);
    is_told(&mut client, &[(0, 1), (7, -1), (7, -1), (6, -1)]).await;
    assert_eq!(bed.fake.texts("t", 0), texts(3));
    assert_eq!(bed.metric("evenkeel_unknown_outcomes_total{action=\"error\"").await, 2.0);
    bed.balanced().await;
}
