//! Order across a client's connections: a batch for the new leader must not overtake one that is undecided on the
//! connection to the old leader.

use crate::bed::{Bed, eventually};
use crate::client::Client;
use crate::fake::{Act, gate};
use crate::identity::injecting;
use crate::inject::five_at;
use crate::make::*;
use std::time::Duration;

async fn told_of_a_move(bed: &Bed, bootstrap: &mut Client) {
    bed.fake.elect("t", 0, 2);
    assert_eq!(leaders(&bootstrap.ask(METADATA, 9, &metadata(&["t"])).await), [2]);
}

async fn two_nodes() -> (Bed, Client) {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut bootstrap = bed.client().await;
    assert_eq!(leaders(&bootstrap.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    (bed, bootstrap)
}

/// Batch 1 is on the wire to the old leader and not answered when its client learns of the new leader.
#[tokio::test]
async fn a_batch_on_another_connection_waits_for_one_in_flight() {
    let (bed, mut bootstrap) = two_nodes().await;
    let opened = gate();
    bed.fake.script(1, PRODUCE, Act::Wait(opened.clone()));
    let mut old = bed.client_of(1).await;
    old.send(PRODUCE, 9, &produce_text("1")).await;
    eventually("the old leader has it", || bed.fake.seen(PRODUCE).len() == 1).await;
    told_of_a_move(&bed, &mut bootstrap).await;
    let mut new = bed.client_of(2).await;
    new.send(PRODUCE, 9, &produce_text("2")).await;
    bed.holding(1).await;
    assert!(bed.fake.texts("t", 0).is_empty());
    opened.add_permits(1); // and now the old leader refuses it: it leads no more
    assert_eq!(produced(&old.receive().await), [(0, 0)]);
    assert_eq!(produced(&new.receive().await), [(0, 1)]);
    assert_eq!(bed.fake.texts("t", 0), ["1", "2"]);
    bed.balanced().await;
}

/// Batch 1 is held, since the old leader is gone and there is no other yet.
#[tokio::test]
async fn a_batch_on_another_connection_waits_for_one_that_is_held() {
    let (bed, mut bootstrap) = two_nodes().await;
    bed.fake.elect("t", 0, -1);
    let mut old = bed.client_of(1).await;
    for n in 0..3 {
        old.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    bed.holding(3).await;
    told_of_a_move(&bed, &mut bootstrap).await;
    let mut new = bed.client_of(2).await;
    for n in 3..6 {
        new.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    for n in 0..3 {
        assert_eq!(produced(&old.receive().await), [(0, n)]);
    }
    for n in 3..6 {
        assert_eq!(produced(&new.receive().await), [(0, n)]);
    }
    assert_eq!(bed.fake.texts("t", 0), ["0", "1", "2", "3", "4", "5"]);
    bed.balanced().await;
}

/// More is written than may be undecided, so that the last of it lies unread in the socket when its client learns of the new leader.
#[tokio::test]
async fn a_batch_on_another_connection_waits_for_what_was_not_read() {
    let bed = injecting(&[1, 2], &[1], "").await;
    let mut bootstrap = bed.client().await;
    assert_eq!(leaders(&bootstrap.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
    let (mut old, opened) = five_at(&bed, &[]).await;
    for n in 6..60 {
        old.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
    }
    told_of_a_move(&bed, &mut bootstrap).await;
    let mut new = bed.client_of(2).await;
    new.send(PRODUCE, 9, &produce_text("60")).await;
    bed.until("it waits", |status| status["hold"]["waiting"].as_u64() > Some(0)).await;
    opened.add_permits(1); // and now the old leader refuses what it has
    for n in 1..60 {
        assert_eq!(produced(&old.receive().await), [(0, n)]);
    }
    assert_eq!(produced(&new.receive().await), [(0, 60)]);
    let sent: Vec<String> = (0..=60).map(|n| n.to_string()).collect();
    assert_eq!(bed.fake.texts("t", 0), sent);
    bed.balanced().await;
}

/// Many moves while two connections, to wherever the leader was and is, send in turns: the log has each batch once, in
/// the order in which they were sent.
#[tokio::test]
async fn order_survives_many_moves() {
    let (bed, mut bootstrap) = two_nodes().await;
    let (mut one, mut two) = (bed.client_of(1).await, bed.client_of(2).await);
    let mut sent = Vec::new();
    let mut due: [usize; 2] = [0, 0];
    for round in 0..20 {
        let leader = leaders(&bootstrap.ask(METADATA, 9, &metadata(&["t"])).await)[0];
        let to = if leader == 1 { &mut one } else { &mut two };
        for n in 0..3 {
            let text = format!("{round}.{n}");
            to.send(PRODUCE, 9, &produce_text(&text)).await;
            sent.push(text);
            due[leader as usize - 1] += 1;
        }
        bed.fake.elect("t", 0, 3 - leader);
    }
    for (client, due) in [(&mut one, due[0]), (&mut two, due[1])] {
        for _ in 0..due {
            assert_eq!(codes(&client.receive().await), [0]);
        }
    }
    assert_eq!(bed.fake.texts("t", 0), sent);
    bed.balanced().await;
}

/// The connection with the undecided batch ends: nobody waits for it any more.
#[tokio::test]
async fn a_batch_of_a_client_that_is_gone_is_not_waited_for() {
    let (bed, mut bootstrap) = two_nodes().await;
    bed.fake.elect("t", 0, -1);
    let mut old = bed.client_of(1).await;
    old.send(PRODUCE, 9, &produce_text("gone")).await;
    bed.holding(1).await;
    bed.fake.always(2, PRODUCE, Act::Wait(gate()));
    told_of_a_move(&bed, &mut bootstrap).await;
    eventually("the first is at the new leader", || bed.fake.seen_at(2).iter().any(|s| s.key == PRODUCE))
        .await;
    let mut new = bed.client_of(2).await;
    new.send(PRODUCE, 9, &produce_text("new")).await;
    bed.until("both wait", |status| status["clients"] == 3).await;
    assert!(new.is_quiet_for(Duration::from_millis(50)).await);
    drop(old);
    bed.fake.never(2, PRODUCE);
    bed.fake.down(2).await;
    bed.fake.up(2).await;
    assert_eq!(codes(&new.receive().await), [0]);
    bed.balanced().await;
}
