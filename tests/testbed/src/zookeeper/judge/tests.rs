//! Good histories pass, and each way to spoil one is found.

use super::*;
use crate::zookeeper::history::{Call, Kind, Op, Outcome};

fn done(version: Option<i32>, text: &str) -> Outcome {
    Outcome::Done { version, text: text.to_owned() }
}

fn unknown() -> Outcome {
    Outcome::Unknown("ConnectionLoss".to_owned())
}

fn refused(name: &str) -> Outcome {
    Outcome::Refused(name.to_owned())
}

fn set(value: &str, base: i32, outcome: Outcome) -> (Call, Outcome) {
    (Call::Set { value: value.to_owned(), base }, outcome)
}

/// Calls one after another, 10 µs apart, each 5 µs long.
fn ops(calls: Vec<(Call, Outcome)>) -> Vec<Op> {
    let timed = calls.into_iter().zip(1..).map(|((call, outcome), n)| Op {
        call,
        outcome,
        sent_us: n * 10,
        done_us: n * 10 + 5,
    });
    timed.collect()
}

fn register(value: &str, version: i32) -> Truth {
    Truth { register: (value.to_owned(), version), ..Truth::default() }
}

fn wrong(calls: Vec<(Call, Outcome)>, truth: &Truth) -> Vec<String> {
    judge_writes(&ops(calls), truth).wrong
}

#[test]
fn a_register_with_known_and_unknown_writes() {
    let calls = || {
        vec![
            set("a", 0, done(Some(1), "a")),
            set("b", 1, unknown()),
            (Call::Read, done(Some(2), "b")),
            set("c", 2, unknown()),
            (Call::Read, done(Some(2), "b")),
            set("d", 2, done(Some(3), "d")),
        ]
    };
    let verdict = judge_writes(&ops(calls()), &register("d", 3));
    assert_eq!((verdict.wrong.as_slice(), verdict.asked, verdict.done), (&[][..], 4, 2));
    assert_eq!((verdict.unknown(), verdict.unknown_done, verdict.longest_pause_us), (2, 1, 50));
    // c came late: then d is refused, rightly.
    let mut late = calls();
    late[5] = set("d", 2, refused("BadVersion"));
    assert!(wrong(late, &register("c", 3)).is_empty());
}

#[test]
fn a_register_that_lies() {
    let a = || set("a", 0, done(Some(1), "a"));
    // Told done, and not there.
    assert_eq!(wrong(vec![a()], &register("", 0)).len(), 1);
    // Told refused, and there.
    assert_eq!(wrong(vec![a(), set("b", 1, refused("BadVersion"))], &register("b", 2)).len(), 1);
    // Refused without a reason.
    assert_eq!(wrong(vec![a(), set("b", 1, refused("BadVersion"))], &register("a", 1)).len(), 1);
    let again = vec![a(), set("b", 1, refused("BadVersion")), set("c", 1, done(Some(2), "c"))];
    assert_eq!(wrong(again, &register("c", 2)).len(), 1);
    // One version for two writes; and then one of them is not what the version holds.
    let two = vec![a(), set("b", 0, done(Some(1), "b"))];
    assert_eq!(wrong(two, &register("b", 1)).len(), 1);
    // A write that was done twice makes a version that nobody knows of.
    assert_eq!(wrong(vec![a()], &register("a", 2)).len(), 2);
    // An old read, a read of something else, a last value of something else.
    let old = vec![a(), (Call::Read, done(Some(0), "start"))];
    assert_eq!(wrong(old, &register("a", 1)).len(), 1);
    assert_eq!(wrong(vec![a(), (Call::Read, done(Some(1), "x"))], &register("a", 1)).len(), 1);
    assert_eq!(wrong(vec![a()], &register("x", 1)).len(), 1);
    // A version that jumps.
    assert_eq!(wrong(vec![set("a", 0, done(Some(2), "a"))], &register("a", 2)).len(), 2);
}

fn seq(value: &str, outcome: Outcome) -> (Call, Outcome) {
    (Call::Sequence(value.to_owned()), outcome)
}

fn sequence(nodes: &[(&str, &str)]) -> Truth {
    let sequence = nodes.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    Truth { sequence, ..Truth::default() }
}

#[test]
fn sequential_nodes() {
    let calls = || vec![seq("a", done(None, "q-1")), seq("b", unknown()), seq("c", done(None, "q-3"))];
    let both = sequence(&[("q-1", "a"), ("q-2", "b"), ("q-3", "c")]);
    let verdict = judge_writes(&ops(calls()), &both);
    assert_eq!((verdict.wrong.as_slice(), verdict.unknown_done), (&[][..], 1));
    assert!(wrong(calls(), &sequence(&[("q-1", "a"), ("q-3", "c")])).is_empty());
    for (why, truth) in [
        ("lost", sequence(&[("q-3", "c")])),
        ("done twice", sequence(&[("q-1", "a"), ("q-2", "a"), ("q-3", "c")])),
        ("unknown, done twice", sequence(&[("q-1", "a"), ("q-2", "b"), ("q-3", "c"), ("q-4", "b")])),
        ("another path", sequence(&[("q-1", "a"), ("q-4", "c")])),
        ("a stranger", sequence(&[("q-1", "a"), ("q-3", "c"), ("q-4", "x")])),
    ] {
        assert_eq!(wrong(calls(), &truth).len(), 1, "{why}");
    }
    let denied = vec![seq("a", refused("NoNode"))];
    assert_eq!(wrong(denied, &sequence(&[("q-1", "a")])).len(), 1);
    let back = vec![seq("a", done(None, "q-2")), seq("b", done(None, "q-1"))];
    assert_eq!(wrong(back, &sequence(&[("q-2", "a"), ("q-1", "b")])).len(), 1);
}

#[test]
fn nodes_that_are_made_and_removed() {
    let create = |outcome| (Call::Create("n".to_owned()), outcome);
    let delete = |outcome| (Call::Delete("n".to_owned()), outcome);
    let ok = || done(None, "");
    let there = Truth { nodes: std::iter::once("n".to_owned()).collect(), ..Truth::default() };
    let gone = Truth::default();
    for (calls, if_there, if_gone) in [
        (vec![create(ok())], 0, 1),
        (vec![create(ok()), delete(ok())], 1, 0),
        (vec![create(ok()), delete(unknown())], 0, 0),
        (vec![create(ok()), delete(refused("NoNode"))], 1, 1),
        (vec![create(unknown())], 0, 0),
        (vec![create(refused("NodeExists"))], 1, 1),
        (vec![create(refused("NODE_EXISTS"))], 1, 1),
        (vec![create(refused("NoAuth"))], 1, 0),
        (vec![], 1, 0),
    ] {
        assert_eq!(wrong(calls.clone(), &there).len(), if_there, "{calls:?} and there");
        assert_eq!(wrong(calls.clone(), &gone).len(), if_gone, "{calls:?} and gone");
    }
}

fn made(kind: Kind, zxid: i64, what: &'static str) -> Made {
    Made { kind, zxid, sent_us: zxid * 100, done_us: zxid * 100 + 10, what }
}

fn armed(kind: Kind, at_us: i64, state: i64) -> Line {
    Line::Armed { kind, sent_us: at_us - 5, at_us, state }
}

fn event(kind: Kind, at_us: i64, what: &str) -> Line {
    Line::Event { kind, at_us, what: what.to_owned() }
}

/// Set on what change 1 made, told of change 2, set again, told of change 3, set again.
fn watched(kind: Kind, words: [&'static str; 3]) -> (Vec<Line>, Vec<Made>) {
    let state = |zxid: i64, what: &str| if what == "deleted" { 0 } else { zxid };
    let lines = vec![
        armed(kind, 150, state(1, words[0])),
        event(kind, 205, words[1]),
        armed(kind, 220, state(2, words[1])),
        event(kind, 350, words[2]),
        armed(kind, 370, state(3, words[2])),
    ];
    let changes = words.iter().zip(1..).map(|(what, zxid)| made(kind, zxid, what)).collect();
    (lines, changes)
}

fn counts(lines: &[Line], changes: &[Made]) -> [usize; 5] {
    let verdict = judge_watches(lines, changes);
    let Watches { told, missed, false_events, twice, mistaken, .. } = &verdict;
    [*told, missed.len(), false_events.len(), twice.len(), mistaken.len()]
}

#[test]
fn watches_that_are_told_and_watches_that_are_not() {
    for (kind, words) in [
        (Kind::Data, ["changed"; 3]),
        (Kind::Child, ["children"; 3]),
        (Kind::Exist, ["created", "deleted", "created"]),
        (Kind::Exist, ["deleted", "created", "deleted"]),
    ] {
        let (lines, changes) = watched(kind, words);
        assert_eq!(counts(&lines, &changes), [2, 0, 0, 0, 0], "{kind:?}");
        assert_eq!(judge_watches(&lines, &changes).slowest_us, 40);
        // The end comes and a change was not told.
        let mut later = changes.clone();
        later.push(made(kind, 4, words[1]));
        assert_eq!(counts(&lines, &later), [2, 1, 0, 0, 0], "{kind:?}");
        // Set again, and something has happened without an event.
        let mut silent = lines.clone();
        silent.remove(1);
        assert_eq!(counts(&silent, &changes), [1, 1, 0, 0, 0], "{kind:?}");
        // An event that came again.
        let mut twice = lines.clone();
        twice.insert(2, event(kind, 206, words[1]));
        assert_eq!(counts(&twice, &changes), [2, 0, 0, 1, 0], "{kind:?}");
        // An event that has no reason.
        let mut early = lines.clone();
        early.push(event(kind, 390, words[1]));
        assert_eq!(counts(&early, &changes), [2, 0, 1, 0, 0], "{kind:?}");
        // The wrong word.
        let mut mistaken = lines.clone();
        mistaken[1] = event(kind, 205, "odd");
        assert_eq!(counts(&mistaken, &changes), [2, 0, 0, 0, 1], "{kind:?}");
    }
    // Set again on the same state: nothing was missed.
    let lines = [
        armed(Kind::Data, 150, 1),
        Line::Dropped { kind: Kind::Data, at_us: 160 },
        armed(Kind::Data, 170, 1),
    ];
    let verdict = judge_watches(&lines, &[made(Kind::Data, 1, "changed")]);
    assert_eq!((verdict.missed.len(), verdict.dropped), (0, 1));
}

#[test]
fn a_tree_is_told_each_change_once_in_order() {
    let plan =
        |node: &str, what, sent_us| Planting { node: node.to_owned(), what, sent_us, done_us: sent_us + 1 };
    let changes = [
        plan("a", "created", 5),
        plan("b", "created", 20),
        plan("b", "changed", 30),
        plan("b", "deleted", 40),
    ];
    let tell =
        |node: &str, what: &str| Line::Tree { at_us: 50, node: node.to_owned(), what: what.to_owned() };
    let good =
        vec![Line::Planted { at_us: 10 }, tell("b", "created"), tell("b", "changed"), tell("b", "deleted")];
    let judged = |lines: &[Line], gaps: &[Gap]| {
        let Tree { due, missed, hidden: _, twice, disordered, false_events } =
            judge_tree(lines, &changes, gaps);
        [due, missed.len(), twice.len(), disordered.len(), false_events.len()]
    };
    let count = |lines: &[Line]| judged(lines, &[]);
    assert_eq!(count(&good), [3, 0, 0, 0, 0]);
    let mut lines = good.clone();
    lines.remove(2);
    assert_eq!(count(&lines), [3, 1, 0, 0, 0]);
    lines = good.clone();
    lines.push(tell("b", "changed"));
    assert_eq!(count(&lines), [3, 0, 1, 0, 0]);
    lines = good.clone();
    lines.swap(1, 2);
    assert_eq!(count(&lines), [3, 0, 0, 1, 0]);
    lines = good.clone();
    lines.push(tell("c", "created"));
    assert_eq!(count(&lines), [3, 0, 0, 0, 1]);
    assert_eq!(count(&good[1..]), [0; 5], "without a watch nothing is due");
    // In a gap nobody has to tell; but what is told is told once, and outside of it everything is due.
    let gap = |from_us, until_us| [Gap { from_us, until_us }];
    let mut lines = good.clone();
    lines.remove(2);
    assert_eq!(judged(&lines, &gap(31, 35)), [2, 0, 0, 0, 0]);
    assert_eq!(judge_tree(&lines, &changes, &gap(29, 30)).hidden, 1);
    for (from_us, until_us) in [(32, 100), (0, 29)] {
        assert_eq!(judged(&lines, &gap(from_us, until_us)), [3, 1, 0, 0, 0]);
    }
    assert_eq!(judged(&good, &gap(0, 100)), [3, 0, 0, 0, 0]);
    lines.push(tell("b", "created"));
    assert_eq!(judged(&lines, &gap(0, 100)), [2, 0, 1, 0, 0]);
}

#[test]
fn only_the_stop_of_a_leader_opens_a_gap_and_only_to_whom_it_closed() {
    let word = |at_us, what: &str| Line::Session { at_us, what: what.to_owned() };
    let stop = |led, from_us| Stop { led, from_us, until_us: from_us + 50 };
    let stops = [stop(false, 100), stop(true, 200), stop(true, 300)];
    let set = |at_us| Line::Planted { at_us };
    let lines = [set(10), word(110, "disconnected"), set(120), word(210, "disconnected"), set(260)];
    let gap = |from_us, until_us| Gap { from_us, until_us };
    assert_eq!(gaps(Excuse::Nothing, &lines, &stops), []);
    assert_eq!(gaps(Excuse::Closed, &lines, &stops), [gap(200, 260)]);
    assert_eq!(gaps(Excuse::Kept, &lines, &stops), [gap(200, 250), gap(300, 350)]);
    let found = judge_sessions(&lines, 400, &[gap(200, 260)]);
    assert_eq!((found.disconnects, found.closed), (1, 1));
    // Closed twice in one stop: until the watch is set anew for good, or never.
    let twice = [set(10), word(210, "disconnected"), set(220), word(230, "disconnected")];
    assert_eq!(gaps(Excuse::Closed, &twice, &stops), [gap(200, i64::MAX)]);
    let before = [set(10), word(199, "disconnected"), set(205)];
    assert_eq!(gaps(Excuse::Closed, &before, &stops), [], "a planned move is no excuse");
}

#[test]
fn sessions_are_counted_until_the_end_of_the_story() {
    let word = |at_us, what: &str| Line::Session { at_us, what: what.to_owned() };
    let lines = [
        word(1, "connected"),
        word(10, "disconnected"),
        word(40, "connected"),
        word(50, "disconnected"),
        word(60, "expired"),
        word(65, "connected"),
        Line::Recipe { at_us: 70, which: "latch".to_owned(), what: "lost".to_owned() },
        word(90, "disconnected"),
        word(200, "expired"),
    ];
    let found = judge_sessions(&lines, 100, &[]);
    assert_eq!((found.disconnects, found.expired, found.longest_us), (3, 1, 30));
    assert_eq!(found.recipes_lost, ["latch"]);
}
