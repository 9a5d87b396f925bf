//! Groups: a coordinator that moves, loads or dies is not seen by members.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, gate};
use crate::make::*;
use std::time::Duration;

async fn moved() -> (Bed, crate::client::Client) {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(FIND_COORDINATOR, 3, &find_coordinator(3, "g")).await;
    bed.fake.world().coordinators.insert("g".to_owned(), 2);
    (bed, client)
}

/// (16) from the old coordinator: every API goes to the new one, and later requests go there at once.
#[tokio::test]
async fn requests_follow_the_coordinator() {
    let (bed, mut client) = moved().await;
    for (key, version) in [
        (HEARTBEAT, 4),
        (SYNC_GROUP, 5),
        (JOIN_GROUP, 9),
        (CONSUMER_GROUP_HEARTBEAT, 0),
        (9, 8),
        (LEAVE_GROUP, 5),
    ] {
        let answer = client.ask(key, version, &of_group(key)).await;
        assert!(codes(&answer).iter().all(|code| *code == 0), "{key}: {:?}", codes(&answer));
    }
    assert_eq!(codes(&client.ask(OFFSET_COMMIT, 8, &commit(9)).await), [0]);
    assert_eq!(bed.fake.world().committed, [9]);
    bed.balanced().await;
}

/// (14), (15) and (16) for a while, as after a move: waited for.
#[tokio::test]
async fn a_loading_coordinator_is_waited_for() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    for code in [14, 15, 16] {
        bed.fake.script(1, HEARTBEAT, Act::Fail(code));
        bed.fake.script(1, OFFSET_COMMIT, Act::Fail(code));
    }
    assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
    assert_eq!(codes(&client.ask(OFFSET_COMMIT, 8, &commit(1)).await), [0]);
    bed.balanced().await;
}

/// No coordinator yet: `FindCoordinator` waits for one, in both of its forms.
#[tokio::test]
async fn find_coordinator_waits_for_one() {
    for version in [2, 4] {
        let bed = Bed::new(&[1, 2]).await;
        bed.ready().await;
        bed.fake.world().coordinators.insert("g".to_owned(), -1);
        let mut client = bed.client().await;
        client.send(FIND_COORDINATOR, version, &find_coordinator(version, "g")).await;
        bed.holding(1).await;
        bed.fake.world().coordinators.insert("g".to_owned(), 2);
        assert_eq!(codes(&client.receive().await), [0; 2][..codes_in(version)]);
        bed.balanced().await;
    }
}

/// How many error codes the decoded answer shows, all forms counted.
fn codes_in(version: i16) -> usize {
    if version < 4 { 1 } else { 2 }
}

/// Written and not answered: what a member may repeat is repeated.
#[tokio::test]
async fn lost_requests_of_a_member_are_repeated() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    for (key, version) in [(HEARTBEAT, 4), (SYNC_GROUP, 5), (JOIN_GROUP, 9), (9, 8)] {
        bed.fake.script(1, key, Act::ApplyThenClose);
        let answer = client.ask(key, version, &of_group(key)).await;
        assert!(codes(&answer).iter().all(|code| *code == 0), "{key}: {:?}", codes(&answer));
        assert_eq!(bed.fake.seen(key).len(), 2);
    }
    bed.balanced().await;
}

/// A repeated `LeaveGroup` finds nobody (25): it had left. But only a repeat may say so.
#[tokio::test]
async fn leaving_twice_is_leaving() {
    for version in [2, 5] {
        let bed = Bed::new(&[1]).await;
        bed.ready().await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, LEAVE_GROUP, Act::ApplyThenClose);
        let mut body = of_group(LEAVE_GROUP);
        let mut member = body.new_struct("members");
        member.set_str("member_id", "member-1");
        member.set_null("group_instance_id");
        body.push_struct("members", member);
        let answer = client.ask(LEAVE_GROUP, version, &body).await;
        assert!(codes(&answer).iter().all(|code| *code == 0), "v{version}: {:?}", codes(&answer));
        assert_eq!(bed.fake.seen(LEAVE_GROUP).len(), 2);
        let answer = client.ask(LEAVE_GROUP, version, &body).await;
        assert!(codes(&answer).contains(&25), "its own doing is passed on");
    }
}

/// Commits that were lost together are repeated in their order.
#[tokio::test]
async fn commits_keep_their_order_over_a_loss() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, OFFSET_COMMIT, Act::ApplyThenClose);
    for offset in 1..=3 {
        client.send(OFFSET_COMMIT, 8, &commit(offset)).await;
    }
    for _ in 1..=3 {
        assert_eq!(codes(&client.receive().await), [0]);
    }
    assert_eq!(bed.fake.world().committed, [1, 1, 2, 3]);
}

/// The coordinator was loading at the first commit and done at the second: repeating the first would turn the group back.
#[tokio::test]
async fn an_older_commit_never_overwrites_a_newer_one() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, OFFSET_COMMIT, Act::Fail(14));
    client.send(OFFSET_COMMIT, 8, &commit(1)).await;
    client.send(OFFSET_COMMIT, 8, &commit(2)).await;
    client.receive().await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.world().committed.last(), Some(&2));
    bed.balanced().await;
}

/// A follower of the offsets' partition is slow or gone: the commit goes again, but not behind a later one.
#[tokio::test]
async fn a_commit_that_timed_out_at_its_coordinator_goes_again() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, OFFSET_COMMIT, Act::Fail(7));
    assert_eq!(codes(&client.ask(OFFSET_COMMIT, 8, &commit(1)).await), [0]);
    assert_eq!(bed.fake.seen(OFFSET_COMMIT).len(), 2);
    bed.fake.script(1, OFFSET_COMMIT, Act::Fail(7));
    client.send(OFFSET_COMMIT, 8, &commit(2)).await;
    client.send(OFFSET_COMMIT, 8, &commit(3)).await;
    client.receive().await;
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.world().committed.last(), Some(&3));
    bed.balanced().await;
}

/// KIP-848: a lost heartbeat is never repeated (its epoch may be used up); the client settles it with its next one.
#[tokio::test]
async fn a_lost_consumer_group_heartbeat_is_settled_by_the_client() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, CONSUMER_GROUP_HEARTBEAT, Act::ApplyThenClose);
    let body = of_group(CONSUMER_GROUP_HEARTBEAT);
    let answer = client.ask(CONSUMER_GROUP_HEARTBEAT, 0, &body).await;
    assert_eq!((answer.i16("error_code"), answer.i32("member_epoch")), (15, 0));
    assert_eq!(bed.fake.seen(CONSUMER_GROUP_HEARTBEAT).len(), 1);
    assert_eq!(codes(&client.ask(CONSUMER_GROUP_HEARTBEAT, 0, &body).await), [0]);
}

/// A join waits for the other members, longer than any health check may take for death.
#[tokio::test]
async fn a_join_is_a_long_poll() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let opened = gate();
    bed.fake.script(1, JOIN_GROUP, Act::Wait(opened.clone()));
    client.send(JOIN_GROUP, 9, &of_group(JOIN_GROUP)).await;
    eventually("it is there", || bed.fake.seen(JOIN_GROUP).len() == 1).await;
    assert!(client.is_quiet_for(Duration::from_millis(1500)).await);
    opened.add_permits(1);
    let answer = client.receive().await;
    assert_eq!((answer.i16("error_code"), answer.i32("generation_id")), (0, 1));
    assert_eq!(bed.fake.seen(JOIN_GROUP).len(), 1);
    bed.balanced().await;
}

/// The coordinator dies with requests in flight, and another takes over.
#[tokio::test]
async fn a_dead_coordinators_members_are_taken_over() {
    let (bed, mut client) = moved().await;
    bed.fake.world().coordinators.insert("g".to_owned(), 1);
    bed.fake.script(1, HEARTBEAT, Act::Wait(gate()));
    client.send(HEARTBEAT, 4, &of_group(HEARTBEAT)).await;
    client.send(OFFSET_COMMIT, 8, &commit(3)).await;
    eventually("it is there", || bed.fake.seen(HEARTBEAT).len() == 1).await;
    bed.fake.down(1).await;
    bed.fake.world().coordinators.insert("g".to_owned(), 2);
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(codes(&client.receive().await), [0]);
    assert_eq!(bed.fake.world().committed, [3]);
    bed.balanced().await;
}
