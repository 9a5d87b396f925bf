//! Tests of order across connections.

use super::*;
use bytes::Bytes;

fn p(name: &'static str) -> TopicKey {
    TopicKey::Name(Bytes::from_static(name.as_bytes()))
}

const LATER: Duration = Duration::from_secs(2);

fn arrival(home: Option<i32>, at: Instant) -> Arrival {
    Arrival { home, was_there: true, bound: Duration::from_secs(60), at }
}

/// A Produce arrives.
fn arrives(order: &Order, partition: i32, own: &Arc<Progress>, now: Instant) -> Option<Barrier> {
    own.sent();
    order.barrier(&p("t"), partition, own, &arrival(None, now))
}

#[test]
fn a_batch_for_the_new_leader_waits_for_the_undecided_one_at_the_old_leader() {
    let (order, now) = (Order::default(), Instant::now());
    let (a, b) = (order.connection(), order.connection());
    order.tell([(p("t"), 0, 1)], now);
    a.sent();
    assert!(!order.any_marked(), "the first telling is no change");
    order.tell([(p("t"), 0, 2)], now);
    assert!(order.any_marked());
    assert!(arrives(&order, 1, &b, now).is_none(), "another partition passes");
    let barrier = arrives(&order, 0, &b, now + LATER).expect("a is undecided");
    a.sent(); // of another partition, later than the mark: not waited for
    a.decided();
    assert!(barrier.has_passed(&b, now));
    assert!(arrives(&order, 0, &b, now + LATER).is_none(), "b keeps its own order");
    (0..3).for_each(|_| b.decided());
    assert!(order.any_marked(), "clients may still send to the old leader");
    assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_none());
    assert!(!order.any_marked(), "a passed mark is removed");
}

#[test]
fn what_is_still_sent_to_the_old_leader_while_the_client_is_being_told_comes_first() {
    let (order, now) = (Order::default(), Instant::now());
    let (a, b) = (order.connection(), order.connection());
    order.tell([(p("t"), 0, 1)], now);
    order.tell([(p("t"), 0, 2)], now);
    assert!(
        arrives(&order, 0, &a, now + LATER).is_none(),
        "after the telling, before the client has read it"
    );
    let barrier = arrives(&order, 0, &b, now + TELLING_TAKES / 2).expect("a is undecided");
    assert!(arrives(&order, 0, &a, now + TELLING_TAKES / 2).is_some(), "b is earlier, too");
    a.decided();
    assert!(barrier.has_passed(&b, now));
    assert!(arrives(&order, 0, &b, now + TELLING_TAKES / 2).is_some(), "a's second");
    // However long that takes.
    assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_some());
    a.decided();
    assert!(arrives(&order, 0, &b, now + TELLING_TAKES).is_none());
}

#[test]
fn a_connection_that_holds_another_partition_is_not_waited_for() {
    let (order, now) = (Order::default(), Instant::now());
    let (a, b) = (order.connection(), order.connection());
    order.tell([(p("t"), 0, 1), (p("t"), 1, 1)], now);
    a.sent();
    a.sent();
    order.tell([(p("t"), 0, 2), (p("t"), 1, 2)], now);
    let barrier = |partition| arrives(&order, partition, &b, now + LATER).unwrap();
    let (zero, one) = (barrier(0), barrier(1));
    a.publish([((p("t"), 1), 2)]);
    assert!(zero.has_passed(&b, now) && !one.has_passed(&b, now));
    a.publish([((p("t"), 1), 3)]);
    assert!(one.has_passed(&b, now), "what arrived after the mark is not waited for");
    a.unpublish();
    assert!(!zero.has_passed(&b, now), "a connection that says nothing is waited for");
}

#[test]
fn what_was_told_long_ago_is_forgotten() {
    let (order, now) = (Order::default(), Instant::now());
    let told = || order.book().told.len();
    let all = |from: usize| (from..from + TOLD_MIN).map(|n| (p("t"), i32::try_from(n).unwrap(), 1));
    order.tell(all(0), now);
    order.tell(all(TOLD_MIN), now + CHANGE_IS_NEWS / 2);
    assert_eq!(told(), 2 * TOLD_MIN, "nothing is old yet");
    order.tell(all(2 * TOLD_MIN), now + CHANGE_IS_NEWS);
    order.tell(all(3 * TOLD_MIN), now + CHANGE_IS_NEWS);
    assert_eq!(told(), 3 * TOLD_MIN);
    assert!(order.book().told.contains_key(&(p("t"), i32::try_from(TOLD_MIN).unwrap())));
}

#[test]
fn a_client_with_another_name_is_not_waited_for() {
    let (order, now) = (Order::default(), Instant::now());
    let (a, b, c) = (order.connection(), order.connection(), order.connection());
    a.belongs_to(Some(b"one"), None);
    b.belongs_to(Some(b"two"), None);
    c.belongs_to(Some(b"one"), None);
    order.tell([(p("t"), 0, 1)], now);
    a.sent();
    order.tell([(p("t"), 0, 2)], now);
    assert!(arrives(&order, 0, &b, now + LATER).is_none());
    let nameless = order.connection();
    nameless.belongs_to(None, None);
    assert!(arrives(&order, 0, &nameless, now + LATER).is_none(), "no name is a name, too");
    assert!(arrives(&order, 0, &c, now + LATER).is_some());
    assert!(arrives(&order, 0, &order.connection(), now + LATER).is_some(), "it may be anybody's");
}

#[test]
fn another_client_that_is_told_later_is_protected_too() {
    let (order, now) = (Order::default(), Instant::now());
    let (_old, b) = (order.connection(), order.connection());
    order.tell([(p("t"), 0, 1)], now);
    order.tell([(p("t"), 0, 2)], now);
    let late = order.connection();
    late.sent();
    let then = now + Duration::from_secs(60);
    order.tell([(p("t"), 0, 2)], then);
    assert!(arrives(&order, 0, &b, then + LATER).is_some(), "the change is still news to late's client");
    late.gone();
    assert!(arrives(&order, 0, &b, then + LATER).is_none());
    b.gone();
    order.connection().sent();
    order.tell([(p("t"), 0, 2)], now + CHANGE_IS_NEWS);
    assert!(!order.any_marked(), "after a while it is no news");
}

/// A Produce arrives on a connection to this node.
fn arrives_at(
    node: i32,
    order: &Order,
    partition: i32,
    own: &Arc<Progress>,
    now: Instant,
) -> Option<Barrier> {
    own.sent();
    order.barrier(&p("t"), partition, own, &arrival(Some(node), now))
}

/// Two connections of one client, the first to the old leader (1) and the second to the new one (2), which it has been told.
fn told() -> (Order, Instant, Arc<Progress>, Arc<Progress>) {
    let (order, now) = (Order::default(), Instant::now());
    let (a, b) = (order.connection(), order.connection());
    a.belongs_to(Some(b"one"), None);
    b.belongs_to(Some(b"one"), None);
    order.tell([(p("t"), 0, 1), (p("t"), 1, 1)], now);
    order.tell([(p("t"), 0, 2), (p("t"), 1, 2)], now);
    (order, now, a, b)
}

#[test]
fn what_lies_unread_when_a_batch_comes_to_the_new_leader_goes_before_it() {
    let (order, now, a, b) = told();
    let barrier = arrives_at(2, &order, 0, &b, now).expect("nobody knows what lies unread on a");
    let asked = a.asked().expect("it is asked");
    assert!(b.asked().is_none());
    assert!(arrives_at(1, &order, 0, &a, now).is_none(), "it was sent before the one that waits");
    assert!(arrives_at(1, &order, 0, &a, now).is_none());
    assert!(!barrier.has_passed(&b, now));
    order.has_read(&a, asked);
    assert!(a.asked().is_none() && !barrier.has_passed(&b, now), "what was found is undecided");
    let later = arrives_at(1, &order, 0, &a, now).expect("what comes later on waits for it");
    a.decided();
    assert!(!barrier.has_passed(&b, now));
    a.decided();
    assert!(barrier.has_passed(&b, now) && !later.has_passed(&a, now));
    b.decided();
    assert!(later.has_passed(&a, now));
    a.decided();
    assert!(arrives_at(2, &order, 0, &b, now).is_none() && a.asked().is_none(), "a leader is settled once");
    assert!(arrives_at(2, &order, 1, &b, now).is_some() && a.asked().is_some(), "for each partition");
}

#[test]
fn nobody_waits_for_ever_for_what_is_not_read() {
    let (order, now, a, b) = told();
    let barrier = arrives_at(2, &order, 0, &b, now).unwrap();
    assert!(!barrier.has_passed(&b, now + Duration::from_secs(14)));
    assert!(barrier.has_passed(&b, now + Duration::from_secs(15)));
    let late = now + Duration::from_secs(16);
    assert!(arrives_at(1, &order, 0, &a, late).is_some(), "what is found then comes later");
}

#[test]
fn a_connection_that_ends_has_nothing_unread() {
    let (order, now, a, b) = told();
    let barrier = arrives_at(2, &order, 0, &b, now).unwrap();
    order.leave(&a);
    assert!(barrier.has_passed(&b, now));
}

#[test]
fn only_connections_of_the_same_client_are_asked() {
    let (order, now, a, b) = told();
    let (other, silent) = (order.connection(), order.connection());
    other.belongs_to(Some(b"two"), None);
    assert!(arrives_at(1, &order, 0, &a, now).is_none() && b.asked().is_none(), "the old leader asks nobody");
    assert!(arrives_at(2, &order, 0, &b, now).is_some());
    assert!(a.asked().is_some() && other.asked().is_none() && silent.asked().is_none());
    // One question at a time: while it is open, another connection to the leader goes by what has arrived.
    let again = order.connection();
    again.belongs_to(Some(b"one"), None);
    let waits = arrives_at(2, &order, 0, &again, now).unwrap();
    order.has_read(&a, a.asked().unwrap());
    assert!(a.asked().is_none() && !waits.has_passed(&again, now));
    a.decided();
    b.decided();
    assert!(waits.has_passed(&again, now));
}

#[test]
fn who_leads_again_is_asked_again() {
    let (order, now, a, b) = told();
    arrives_at(2, &order, 0, &b, now);
    order.has_read(&a, a.asked().unwrap());
    order.tell([(p("t"), 0, 2)], now);
    arrives_at(2, &order, 0, &b, now);
    assert!(a.asked().is_none(), "another client is told the same");
    order.tell([(p("t"), 0, 1)], now);
    arrives_at(1, &order, 0, &a, now);
    assert!(b.asked().is_some());
}

#[test]
fn what_was_not_there_and_knows_another_leader_comes_later() {
    let (order, now, a, b) = told();
    let first = arrives_at(2, &order, 0, &b, now).unwrap();
    order.tell([(p("t"), 0, 1)], now); // it leads again, and a has not answered yet
    a.sent();
    let new = Arrival { was_there: false, ..arrival(Some(1), now) };
    let second = order.barrier(&p("t"), 0, &a, &new).expect("behind what b has sent meanwhile");
    order.has_read(&a, a.asked().unwrap());
    assert!(first.has_passed(&b, now), "nothing was found");
    assert!(!second.has_passed(&a, now));
    b.decided();
    order.has_read(&b, u64::MAX);
    assert!(second.has_passed(&a, now));
}

#[test]
fn what_was_there_is_before_all_who_ask() {
    let (order, now, a, b) = told();
    let c = order.connection();
    c.belongs_to(Some(b"one"), Some(3));
    let first = arrives_at(2, &order, 0, &b, now).unwrap();
    order.has_read(&c, c.asked().unwrap());
    order.tell([(p("t"), 0, 3)], now);
    let second = arrives_at(3, &order, 0, &c, now).unwrap();
    assert!(arrives_at(1, &order, 0, &a, now).is_none(), "it lay on a all the time");
    order.has_read(&a, a.asked().unwrap());
    order.has_read(&b, b.asked().unwrap());
    assert!(!first.has_passed(&b, now) && !second.has_passed(&c, now));
    a.decided();
    assert!(first.has_passed(&b, now) && !second.has_passed(&c, now));
    b.decided();
    assert!(second.has_passed(&c, now));
}

#[test]
fn a_question_takes_a_third_of_what_its_client_waits() {
    let (order, now, a, b) = told();
    b.sent();
    let short = Arrival { bound: Duration::from_secs(6), ..arrival(Some(2), now) };
    let barrier = order.barrier(&p("t"), 0, &b, &short).unwrap();
    assert!(a.asked().is_some() && !barrier.has_passed(&b, now + Duration::from_millis(1999)));
    assert!(barrier.has_passed(&b, now + Duration::from_secs(2)));
}

#[test]
fn connections_to_the_new_leader_are_not_asked() {
    let (order, now, a, b) = told();
    let again = order.connection();
    again.belongs_to(Some(b"one"), Some(2));
    assert!(arrives_at(2, &order, 0, &b, now).is_some());
    assert!(a.asked().is_some() && again.asked().is_none());
}
