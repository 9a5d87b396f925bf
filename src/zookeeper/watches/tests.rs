use super::*;
use crate::zookeeper::wire::{Text, Writer, opcode, request_payload};
use proptest::prelude::*;

fn ask(path: &[u8]) -> Bytes {
    Writer::record().text(path).bool(true).finish()
}

fn add(path: &[u8], mode: i32) -> Bytes {
    Writer::record().text(path).i32(mode).finish()
}

fn event(kind: EventType, path: &[u8]) -> WatchEvent<'_> {
    WatchEvent { kind, state: 3, path: Text(path) }
}

/// As a server sends it, without its length.
fn frame(kind: EventType, path: &[u8], zxid: i64) -> Bytes {
    event(kind, path).encode(zxid).slice(4..)
}

fn lists(watches: &Watches) -> [usize; 5] {
    LISTS.map(|list| watches.count(list))
}

#[test]
fn each_request_sets_its_watch_by_its_answer() {
    let mut watches = Watches::default();
    watches.answered(opcode::EXISTS, &ask(b"/a"), 0);
    watches.answered(opcode::EXISTS, &ask(b"/b"), -101);
    watches.answered(opcode::EXISTS, &ask(b"/c"), -102);
    watches.answered(opcode::GET_DATA, &ask(b"/a"), 0);
    watches.answered(opcode::GET_DATA, &ask(b"/d"), -101);
    watches.answered(opcode::GET_CHILDREN2, &ask(b"/a"), 0);
    watches.answered(opcode::ADD_WATCH, &add(b"/p", 0), 0);
    watches.answered(opcode::ADD_WATCH, &add(b"/r", 1), 0);
    watches.answered(opcode::GET_DATA, b"\0", 0);
    assert_eq!(lists(&watches), [1, 1, 1, 1, 1], "{watches:?}");
    assert_eq!(watches.bytes(), 10);
}

#[test]
fn events_end_one_shot_watches_and_no_others() {
    let mut watches = Watches::default();
    for code in [opcode::GET_DATA, opcode::GET_CHILDREN] {
        watches.answered(code, &ask(b"/a"), 0);
    }
    watches.answered(opcode::ADD_WATCH, &add(b"/a", 0), 0);
    watches.fired(&event(EventType::NodeChildrenChanged, b"/a"));
    assert_eq!(lists(&watches), [1, 0, 0, 1, 0]);
    watches.fired(&event(EventType::NodeDeleted, b"/a"));
    assert_eq!(lists(&watches), [0, 0, 0, 1, 0]);
    assert!(watches.has_persistent());
    let payload = Writer::record().text(b"/a").i32(3).finish();
    watches.answered(opcode::REMOVE_WATCHES, &payload, -121);
    assert!(watches.has_persistent(), "the server had none");
    watches.answered(opcode::REMOVE_WATCHES, &payload, 0);
    assert!(watches.is_empty() && watches.bytes() == 0);
}

#[test]
fn who_waits_for_an_event() {
    let mut watches = Watches::default();
    watches.answered(opcode::ADD_WATCH, &add(b"/p", 0), 0);
    watches.answered(opcode::ADD_WATCH, &add(b"/r/s", 1), 0);
    watches.answered(opcode::GET_DATA, &ask(b"/r/s/t"), 0);
    let awaits = |kind, path| watches.awaits(&event(kind, path));
    assert_eq!(awaits(EventType::NodeChildrenChanged, b"/p"), Awaited::Always);
    assert_eq!(awaits(EventType::NodeDataChanged, b"/p/q"), Awaited::No);
    assert_eq!(awaits(EventType::NodeCreated, b"/r/s/t/u"), Awaited::Always);
    assert_eq!(awaits(EventType::NodeChildrenChanged, b"/r/s"), Awaited::No);
    assert_eq!(awaits(EventType::NodeDataChanged, b"/r/s/t"), Awaited::Once);
    assert_eq!(awaits(EventType::NodeDataChanged, b"/r"), Awaited::No);
    let mut all = Watches::default();
    all.answered(opcode::ADD_WATCH, &add(b"/", 1), 0);
    assert_eq!(all.awaits(&event(EventType::NodeCreated, b"/x")), Awaited::Always);
    assert_eq!(all.awaits(&event(EventType::NodeDataChanged, b"/")), Awaited::Always);
}

#[test]
fn what_is_set_anew_is_what_there_was() {
    let mut watches = Watches::default();
    watches.answered(opcode::GET_DATA, &ask(b"/a"), 0);
    let frames = watches.rearm(77);
    let [only] = frames.as_slice() else { panic!("{frames:?}") };
    let request = only.slice(4..);
    assert_eq!(
        request.get(4..8),
        Some(&opcode::SET_WATCHES.to_be_bytes()[..]),
        "there are no persistent ones"
    );
    let mut again = Watches::default();
    again.answered(opcode::SET_WATCHES, request_payload(&request), 0);
    assert_eq!(lists(&again), lists(&watches));
    watches.answered(opcode::ADD_WATCH, &add(b"/p", 0), 0);
    let request = watches.rearm(77).remove(0).slice(4..);
    let mut again = Watches::default();
    again.answered(opcode::SET_WATCHES2, request_payload(&request), 0);
    assert_eq!(lists(&again), lists(&watches));
}

#[test]
fn what_both_servers_told_of_a_one_shot_watch_is_told_once() {
    let mut watches = Watches::default();
    watches.answered(opcode::GET_DATA, &ask(b"/a"), 0);
    watches.answered(opcode::GET_DATA, &ask(b"/b"), 0);
    let mut overlap = Overlap::default();
    // Deleted and made again: the new server knows of a change only.
    overlap.older(-1, &frame(EventType::NodeDeleted, b"/a", -1));
    watches.fired(&event(EventType::NodeDeleted, b"/a"));
    overlap.newer(-1, frame(EventType::NodeDataChanged, b"/a", -1));
    overlap.newer(-1, frame(EventType::NodeDataChanged, b"/b", -1));
    let (left, dropped) = overlap.left(&watches);
    assert_eq!(left, [(-1, frame(EventType::NodeDataChanged, b"/b", -1))]);
    assert_eq!(dropped, 1);
}

proptest! {
    /// A persistent watch, and changes of which the old server tells up to one and the new one from another on: each is
    /// told once, in order, whether events have their zxid (3.9) or not (3.8).
    #[test]
    fn of_a_persistent_watch_each_change_is_told_once(
        changes in prop::collection::vec(0u8..30, 0..12), set in 0usize..12, more in 0usize..12, named in any::<bool>(),
    ) {
        // Without a zxid two alike can't be told apart: there each node changes once.
        let mut seen = HashSet::new();
        let changes: Vec<u8> = changes.into_iter().filter(|node| named || seen.insert(*node)).collect();
        let set = set.min(changes.len());
        let until = (set + more).min(changes.len());
        let mut watches = Watches::default();
        watches.answered(opcode::ADD_WATCH, &add(b"/", 1), 0);
        let told: Vec<(i64, Bytes)> = changes.iter().enumerate().map(|(at, node)| {
            let zxid = if named { i64::try_from(at).unwrap() + 1 } else { -1 };
            (zxid, frame(EventType::NodeDataChanged, format!("/n{node}").as_bytes(), zxid))
        }).collect();
        let mut overlap = Overlap::default();
        let mut heard = Vec::new();
        for (zxid, event) in &told[..until] {
            overlap.older(*zxid, event);
            heard.push((*zxid, event.clone()));
        }
        for (zxid, event) in &told[set..] {
            overlap.newer(*zxid, event.clone());
        }
        let (left, dropped) = overlap.left(&watches);
        heard.extend(left);
        prop_assert_eq!(heard, told);
        prop_assert_eq!(dropped, until - set);
    }
}
