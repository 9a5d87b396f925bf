//! A checker that can't fail proves nothing: good histories, and each with one thing wrong in it.

use super::*;
use crate::zookeeper::chaos::record::{Call, Change, Counted, Event, Found, Op, Truth, Txn};

const SESSION: i64 = 0x77;
const REGISTER: &str = "/chaos/r0";
const CHILD: &str = "/chaos/q/s-000000000";

fn found(mzxid: i64, version: i32, text: &str) -> Found {
    Found { mzxid, version, text: text.to_owned() }
}

/// The `xid`th request of the session, 10 µs after the one before, answered 5 µs later.
fn op(xid: i32, call: Call, zxid: i64, told: Told) -> Line {
    let sent_us = i64::from(xid) * 10;
    Line::Op(Op { session: SESSION, xid, call, sent_us, done_us: sent_us + 5, floor: zxid - 1, zxid, told })
}

fn set(value: &str, expect: i32) -> Call {
    Call::Set { path: REGISTER.to_owned(), value: value.to_owned(), expect, checked: false }
}

fn get(watch: bool) -> Call {
    Call::Get { path: REGISTER.to_owned(), watch }
}

fn sequence(value: &str) -> Call {
    Call::Sequence { value: value.to_owned(), ephemeral: false }
}

fn txn(zxid: i64, xid: i32, change: Change) -> Txn {
    Txn { zxid, session: SESSION, xid, changes: vec![change] }
}

fn was_set(value: &str, version: i32) -> Change {
    Change::Set { path: REGISTER.to_owned(), value: value.to_owned(), version }
}

fn was_made(path: &str, value: &str) -> Change {
    Change::Made { path: path.to_owned(), value: value.to_owned() }
}

/// One client: a watch that fires for its own write, two writes, one of unknown outcome that was done, one that was refused,
/// two sequential nodes, a node that is made and one that is made again.
fn good() -> Run {
    let node = "/chaos/n0".to_owned();
    let create = |value: &str| Call::Create { path: node.clone(), value: value.to_owned() };
    let lines = vec![
        Line::Connected { at_us: 1, session: SESSION, resumed: false },
        op(1, get(true), 10, Told::Done(vec![found(1, 0, "")])),
        Line::Event { at_us: 21, kind: 3, path: REGISTER.to_owned() },
        op(2, set("a", 0), 11, Told::Done(vec![found(11, 1, "")])),
        op(3, get(false), 11, Told::Done(vec![found(11, 1, "a")])),
        op(4, set("b", -1), 11, Told::Unknown),
        op(5, set("c", 1), 13, Told::Refused(BAD_VERSION)),
        op(6, get(false), 13, Told::Done(vec![found(12, 2, "b")])),
        op(7, sequence("p"), 14, Told::Done(vec![found(14, 0, &format!("{CHILD}3"))])),
        op(8, sequence("q"), 15, Told::Done(vec![found(15, 0, &format!("{CHILD}4"))])),
        op(9, Call::Delete { path: node.clone(), expect: -1 }, 16, Told::Done(Vec::new())),
        op(10, create("m"), 17, Told::Done(vec![found(17, 0, &node)])),
        op(11, create("n"), 18, Told::Refused(NODE_EXISTS)),
        op(12, Call::Ephemeral { path: "/chaos/e/1".to_owned() }, 19, Told::Done(vec![found(19, 0, "")])),
    ];
    let log = vec![
        txn(1, -1, was_made(REGISTER, "")),
        txn(2, -2, was_made(&node, "")),
        txn(11, 2, was_set("a", 1)),
        txn(12, 4, was_set("b", 2)),
        txn(14, 7, was_made(&format!("{CHILD}3"), "p")),
        txn(15, 8, was_made(&format!("{CHILD}4"), "q")),
        txn(16, 9, Change::Removed { path: node.clone() }),
        txn(17, 10, was_made(&node, "m")),
        txn(19, 12, was_made("/chaos/e/1", "")),
    ];
    let truth = Truth {
        nodes: [(REGISTER.to_owned(), Some((2, "b".to_owned()))), (node, Some((0, "m".to_owned())))].into(),
        sequence: [(format!("{CHILD}3"), "p".to_owned()), (format!("{CHILD}4"), "q".to_owned())].into(),
        ephemerals: ["/chaos/e/1".to_owned()].into(),
        log,
        diverged: Vec::new(),
        gaps: Vec::new(),
    };
    let event = Event {
        what: "drain".to_owned(),
        soft: true,
        start_us: 60,
        whole_us: 61,
        served_us: 62,
        skipped: None,
    };
    let counted = Counted { unknown: 1.0, ..Counted::default() };
    Run { clients: vec![lines], events: vec![event], truth, counted, timeout_us: 0 }
}

/// The request with this number.
fn at(run: &mut Run, xid: i32) -> &mut Op {
    let lines = run.clients.iter_mut().flatten();
    let mut ops = lines.filter_map(|line| if let Line::Op(op) = line { Some(op) } else { None });
    ops.find(|op| op.xid == xid).unwrap()
}

#[test]
fn a_good_history_has_no_breach() {
    let verdict = check(&good());
    assert_eq!(verdict.breaches, Vec::<String>::new());
    assert_eq!((verdict.asked, verdict.done, verdict.unknown, verdict.unknown_done), (12, 9, 1, 1));
}

#[test]
#[allow(
    clippy::type_complexity,
    clippy::too_many_lines,
    reason = "a list of what can be wrong, each with how it is said"
)]
fn whatever_is_wrong_is_found() {
    let wrongs: &[(&str, fn(&mut Run), &str)] = &[
        (
            "a lost write",
            |run| {
                run.truth.nodes.insert(REGISTER.to_owned(), Some((1, "a".to_owned())));
                run.truth.log.retain(|txn| txn.xid != 4);
                at(run, 6).told = Told::Done(vec![found(11, 1, "a")]);
                // Told done, and not there.
                at(run, 4).told = Told::Done(vec![found(12, 2, "")]);
            },
            "not linearizable",
        ),
        (
            "a write twice",
            |run| {
                run.truth.log.push(txn(20, 4, was_set("b", 3)));
                run.truth.nodes.insert(REGISTER.to_owned(), Some((3, "b".to_owned())));
            },
            "applied 2 times",
        ),
        (
            "a repeated create",
            |run| {
                at(run, 11).told = Told::Done(vec![found(18, 0, "/chaos/n0")]);
            },
            "/chaos/n0 is not linearizable",
        ),
        (
            "a read of the past of its session",
            |run| {
                at(run, 6).told = Told::Done(vec![found(1, 0, "")]);
            },
            "went back behind",
        ),
        (
            "a read of the past of another node",
            |run| {
                // Its session has seen transaction 12, not this node's.
                at(run, 3).floor = 12;
            },
            "nothing like that was there",
        ),
        (
            "a read of what never was",
            |run| {
                at(run, 3).told = Told::Done(vec![found(11, 1, "z")]);
            },
            "nothing like that was there",
        ),
        ("answers that go back", |run| at(run, 6).zxid = 12, "answers went back"),
        (
            "a number twice",
            |run| {
                at(run, 8).told = Told::Done(vec![found(15, 0, &format!("{CHILD}3"))]);
            },
            "number 3 twice",
        ),
        (
            "numbers that don't grow",
            |run| {
                let text = format!("{CHILD}5");
                at(run, 7).told = Told::Done(vec![found(14, 0, &text)]);
                run.truth.sequence.remove(&format!("{CHILD}3"));
                run.truth.sequence.insert(text, "p".to_owned());
            },
            "number 5 was told before 4",
        ),
        (
            "a sequential node twice",
            |run| {
                run.truth.sequence.insert(format!("{CHILD}9"), "p".to_owned());
            },
            "sequential p is there 2 times",
        ),
        (
            "a sequential node that is lost",
            |run| {
                run.truth.sequence.remove(&format!("{CHILD}4"));
            },
            "sequential q was told to be",
        ),
        ("a wrong refusal", |run| at(run, 10).told = Told::Refused(NODE_EXISTS), "told refused, and applied"),
        (
            "a refusal that no order explains",
            |run| {
                at(run, 5).told = Told::Refused(NO_NODE);
            },
            "/chaos/r0 is not linearizable",
        ),
        ("done and never applied", |run| run.truth.log.retain(|txn| txn.xid != 10), "never applied"),
        ("another error", |run| at(run, 5).told = Told::Refused(-112), "error -112"),
        (
            "a missed event",
            |run| {
                run.clients[0].retain(|line| !matches!(line, Line::Event { .. }));
            },
            "told changed, and not by its watch",
        ),
        (
            "an event twice",
            |run| {
                let event = Line::Event { at_us: 22, kind: 3, path: REGISTER.to_owned() };
                run.clients[0].insert(4, event);
            },
            "which has no watch",
        ),
        ("an ephemeral that is lost", |run| run.truth.ephemerals.clear(), "ephemeral /chaos/e/1 is lost"),
        (
            "a session that was ended",
            |run| run.truth.log.push(txn(30, 0, Change::Ended)),
            "was ended in 0x1e",
        ),
        (
            "a session that expired",
            |run| {
                run.clients[0].push(Line::Expired { at_us: 99, session: SESSION });
                run.counted.expired = 1.0;
            },
            "expired at",
        ),
        (
            "a session that became another",
            |run| {
                run.clients[0].push(Line::Connected { at_us: 99, session: 5, resumed: true });
            },
            "came back as",
        ),
        ("an unknown outcome that is not counted", |run| run.counted.unknown = 0.0, "0 counted"),
        ("one that was not told", |run| run.counted.unknown = 2.0, "2 counted"),
        ("an unknown outcome of a read", |run| at(run, 3).told = Told::Unknown, "unknown outcome of a read"),
        (
            "an end that is not counted",
            |run| {
                run.clients[0].push(Line::Lost { at_us: 99, silent: false });
            },
            "1 connections were ended by Evenkeel, and 0 counted",
        ),
        (
            "an end too soon",
            |run| {
                run.clients[0].push(Line::Lost { at_us: 199, silent: false });
                run.counted.closed_lease = 1.0;
                run.timeout_us = 300;
            },
            "too soon",
        ),
        (
            "an end for no good reason",
            |run| {
                run.clients[0].push(Line::Lost { at_us: 99, silent: false });
                run.counted.closed_other = 1.0;
            },
            "other reasons than the lease",
        ),
        (
            "a client that hears nothing",
            |run| {
                run.clients[0].push(Line::Lost { at_us: 99, silent: true });
            },
            "heard nothing",
        ),
        ("an unknown outcome at a planned event", |run| run.events[0].start_us = 40, "at a planned event"),
        ("a client that is never served", |run| run.events[0].served_us = 0, "never served again"),
        ("a client without a success", |run| run.clients.push(Vec::new()), "never had a success"),
        ("a gap in the logs", |run| run.truth.gaps.push("5".to_owned()), "a gap"),
        (
            "disorder",
            |run| {
                run.clients[0].push(Line::Disorder { at_us: 1, what: "an answer to 5".to_owned() });
            },
            "an answer to 5",
        ),
    ];
    for (what, spoil, said) in wrongs {
        let mut run = good();
        spoil(&mut run);
        let breaches = check(&run).breaches;
        assert!(breaches.iter().any(|breach| breach.contains(said)), "{what}: {breaches:#?}");
    }
}

fn write(kind: search::Kind, times: (i64, i64), told: Option<Result<Option<i32>, i32>>) -> search::Write {
    let value = format!("{}", times.0);
    search::Write { kind, value, sent_us: times.0, done_us: times.1, told, decided: false, zxid: None }
}

fn there(version: i32, value: &str) -> Register {
    Register::of(Some(&(version, value.to_owned())))
}

#[test]
fn orders_are_found_where_there_are_any() {
    use search::Kind::{Create, Delete, Set};
    let done = |version| Some(Ok(Some(version)));
    // Two at once, told in the other order.
    let both = [write(Set(-1), (10, 30), done(2)), write(Set(-1), (11, 20), done(1))];
    assert_eq!(linearizable(&both, &there(2, "10")), Ok(()));
    assert!(matches!(linearizable(&both, &there(2, "11")), Err(Undone::End(_))));
    // One after the other, told in the other order.
    let turned = [write(Set(-1), (10, 20), done(2)), write(Set(-1), (21, 30), done(1))];
    assert!(matches!(linearizable(&turned, &there(2, "10")), Err(Undone::Contradiction(..))));
    // An unknown one in between, which came late.
    let open =
        [write(Set(-1), (10, 20), None), write(Set(0), (30, 40), done(1)), write(Set(-1), (50, 60), done(3))];
    assert_eq!(linearizable(&open, &there(3, "50")), Ok(()));
    // The same, if it was decided before.
    let mut decided = open.clone();
    decided[0].decided = true;
    assert!(linearizable(&decided, &there(3, "50")).is_err());
    // A refused one that was asked after that must not take its place.
    let mut refused = write(Set(9), (25, 60), Some(Err(BAD_VERSION)));
    refused.value = "r".to_owned();
    let late = [write(Set(-1), (30, 40), done(2)), refused];
    let mut first = write(Set(-1), (10, 20), None);
    first.decided = true;
    let all: Vec<search::Write> = late.into_iter().chain([first]).collect();
    assert_eq!(linearizable(&all, &there(2, "30")), Ok(()));
    // Or it never came.
    let never = [write(Set(-1), (10, 20), None), write(Set(0), (30, 40), done(1))];
    assert_eq!(linearizable(&never, &there(1, "30")), Ok(()));
    assert_eq!(linearizable(&never, &there(2, "10")), Ok(()));
    assert!(linearizable(&never, &there(2, "30")).is_err());
    // A node that comes and goes.
    let gone = Some(Ok(None));
    let life = [
        write(Delete(0), (10, 20), gone),
        write(Set(-1), (21, 30), Some(Err(NO_NODE))),
        write(Create, (31, 40), done(0)),
        write(Create, (41, 50), Some(Err(NODE_EXISTS))),
        write(Delete(7), (51, 60), Some(Err(BAD_VERSION))),
        write(Delete(-1), (61, 70), gone),
    ];
    assert_eq!(linearizable(&life, &Register::of(None)), Ok(()));
    assert!(linearizable(&life[..5], &Register::of(None)).is_err());
}

/// Many at once, some of them never told: found in moments, or it would be of no use.
#[test]
fn long_histories_are_judged() {
    let mut writes = Vec::new();
    for round in 0..500_i32 {
        for lane in 0..8_i32 {
            let sent = i64::from(round * 100 + lane);
            let version = round * 8 + lane + 1;
            writes.push(write(search::Kind::Set(-1), (sent, sent + 90), Some(Ok(Some(version)))));
        }
        writes.push(write(
            search::Kind::Set(round),
            (i64::from(round) * 100 + 9, i64::from(round) * 100 + 50),
            None,
        ));
    }
    assert_eq!(linearizable(&writes, &there(4000, "49907")), Ok(()));
}

/// Forty writes whose connections ended: some of them came, and the fourth came last. Too many orders to try them all.
#[test]
fn the_servers_own_order_is_tried_first() {
    let cut = |number: i64| write(search::Kind::Set(-1), (number, number + 50), None);
    let due = |version: i32| {
        let sent = i64::from(version) * 100;
        write(search::Kind::Set(-1), (sent, sent + 10), Some(Ok(Some(version))))
    };
    let mut writes: Vec<_> = (0..40).map(cut).chain([due(20), due(22)]).collect();
    let end = there(23, "3");
    let tried = |writes: &[search::Write], end: &Register| search::linearizable_within(writes, end, 10_000);
    assert_eq!(tried(&writes, &end), Err(Undone::GivenUp(10_000)));
    let order = (8..27).chain([40, 27, 41, 3]);
    for (at, zxid) in order.zip(1..) {
        writes[at].zxid = Some(zxid);
    }
    assert_eq!(tried(&writes, &end), Ok(()));
    // What the servers' order leads to still has to fit.
    assert!(tried(&writes, &there(23, "none")).is_err());
}
