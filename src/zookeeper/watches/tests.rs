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
    overlap.older(-1, &frame(EventType::NodeDeleted, b"/a", -1), &watches);
    watches.fired(&event(EventType::NodeDeleted, b"/a"));
    overlap.newer(-1, frame(EventType::NodeDataChanged, b"/a", -1), &watches);
    overlap.newer(-1, frame(EventType::NodeDataChanged, b"/b", -1), &watches);
    let (left, dropped) = overlap.left(&watches);
    assert_eq!(left, [(-1, frame(EventType::NodeDataChanged, b"/b", -1))]);
    assert_eq!(dropped, 1);
}

/// A persistent watch on everything; `nodes`: the node that each transaction changes, from 1 on, if any. The new server sets the
/// watches behind `set`; the old one tells what happens up to `until`, the new one everything.
struct Passage {
    watches: Watches,
    overlap: Overlap,
    /// What follows the headers of all events.
    events: Vec<Bytes>,
    /// What the old server told.
    heard: Vec<Bytes>,
}

impl Passage {
    /// What the client is told in all.
    fn told(&self) -> Vec<Bytes> {
        let left = self.overlap.clone().left(&self.watches).0;
        self.heard.iter().cloned().chain(left.into_iter().map(|(_, frame)| frame.slice(16..))).collect()
    }
}

/// `named`: whether the old server's events have zxids, and the new one's.
fn passage(
    nodes: &[Option<u8>],
    named: (bool, bool),
    (set, until): (usize, usize),
    cuts: &[(bool, bool)],
) -> Passage {
    let mut watches = Watches::default();
    watches.answered(opcode::ADD_WATCH, &add(b"/", 1), 0);
    let (mut overlap, mut events, mut heard) = (Overlap::default(), Vec::new(), Vec::new());
    for (at, node) in nodes.iter().enumerate() {
        let zxid = i64::try_from(at).unwrap() + 1;
        if at == set {
            overlap.newer_answered(zxid - 1);
        }
        if let Some(node) = node {
            let event = |zxid| frame(EventType::NodeDataChanged, format!("/n{node}").as_bytes(), zxid);
            let [of_old, of_new] = [named.0, named.1].map(|named| if named { zxid } else { -1 });
            if at < until {
                overlap.older(of_old, &event(of_old), &watches);
                heard.push(event(-1).slice(16..));
            }
            if at >= set {
                overlap.newer(of_new, event(of_new), &watches);
            }
            events.push(event(-1).slice(16..));
        }
        let (old, new) = cuts[at % cuts.len()];
        if old && at < until {
            overlap.older_answered(zxid);
        }
        if new && at >= set {
            overlap.newer_answered(zxid);
        }
    }
    overlap.newer_answered(i64::try_from(nodes.len()).unwrap());
    Passage { watches, overlap, events, heard }
}

proptest! {
    /// A persistent watch, and nodes that change many times: as soon as answers settle what both servers have told, or events have
    /// their zxid (3.9), each is told once, in order; and whatever the answers say, none is lost while the old server answers.
    #[test]
    fn of_a_persistent_watch_each_change_is_told_once(
        nodes in prop::collection::vec(prop::option::weighted(0.7, 0u8..2), 1..14), named in any::<(bool, bool)>(),
        at in (0usize..14, 0usize..14), cuts in prop::collection::vec((any::<bool>(), any::<bool>()), 14),
    ) {
        let (set, until) = (at.0.min(nodes.len()), at.0.max(at.1).min(nodes.len()));
        let mut passage = passage(&nodes, named, (set, until), &cuts);
        if set == nodes.len() {
            passage.overlap.newer_answered(i64::try_from(set).unwrap());
        }
        let all = passage.told();
        if named == (true, true) || passage.overlap.is_settled() {
            prop_assert_eq!(&all, &passage.events);
        }
        prop_assert!(all.len() >= passage.events.len(), "lost: {:?} of {:?}", all, passage.events);
        // One answer of the old server, behind everything that it tells, with the zxid of one of the new one's, settles it.
        if cuts[(until.max(1) - 1) % cuts.len()].1 && until > set {
            passage.overlap.older_answered(i64::try_from(until).unwrap());
            prop_assert!(passage.overlap.is_settled(), "{:?}", passage.overlap);
            prop_assert!(passage.overlap.is_whole());
        }
    }

    /// The same with an old server whose end is known to lie between two transactions.
    #[test]
    fn an_end_between_two_transactions_settles_it_too(
        nodes in prop::collection::vec(prop::option::weighted(0.7, 0u8..2), 1..14), at in (0usize..14, 0usize..14),
    ) {
        let (set, until) = (at.0.min(nodes.len() - 1), at.0.max(at.1).min(nodes.len()));
        let mut passage = passage(&nodes, (false, false), (set, until), &[(false, true)]);
        let zxid = i64::try_from(until).unwrap();
        passage.overlap.older_ended(zxid, Some(zxid));
        if until > set {
            prop_assert!(passage.overlap.is_settled());
            prop_assert_eq!(passage.told(), passage.events);
        }
    }
}

/// A change from before the watches were set, and one from behind everything that the old server told, on one node.
#[test]
fn two_changes_of_one_node_are_not_taken_for_one() {
    let mut passage = passage(&[Some(0), None, None, Some(0)], (false, false), (2, 3), &[(false, false)]);
    assert!(!passage.overlap.is_settled());
    passage.overlap.older_answered(3);
    assert!(!passage.overlap.is_settled(), "what the new server told by then isn't known");
    assert_eq!(passage.overlap.clone().left(&passage.watches).0.len(), 1, "better twice than never");
    passage.overlap.older(-1, &frame(EventType::NodeDataChanged, b"/n0", -1), &passage.watches);
    passage.overlap.older_answered(4);
    assert!(passage.overlap.is_whole());
    assert_eq!(passage.overlap.left(&passage.watches), (Vec::new(), 1));
}

/// The recursive and the persistent paths of each request that sets watches.
fn lasting(watches: &Watches) -> Vec<(usize, usize)> {
    let frames = watches.rearm(7);
    let counts = frames.iter().map(|frame| {
        let Ok(Request::SetWatches2(lists)) = Request::decode(105, request_payload(&frame[4..])) else {
            panic!("{frame:?}");
        };
        let count = |names: Option<crate::zookeeper::wire::Names<'_>>| names.map_or(0, |names| names.len());
        (count(lists.recursive), count(lists.persistent))
    });
    counts.collect()
}

#[test]
fn what_was_set_last_at_a_path_is_set_last_again() {
    let mut watches = Watches::default();
    watches.answered(opcode::ADD_WATCH, &add(b"/r", 1), 0);
    watches.answered(opcode::ADD_WATCH, &add(b"/a", 1), 0);
    watches.answered(opcode::ADD_WATCH, &add(b"/a", 0), 0);
    assert_eq!(lists(&watches), [0, 0, 0, 1, 2]);
    assert_eq!(lasting(&watches), [(1, 0), (1, 1)], "/a recursive, then /a persistent and /r");
    // The other way round one request does: servers set recursive ones last.
    watches.answered(opcode::ADD_WATCH, &add(b"/a", 1), 0);
    assert_eq!(lasting(&watches), [(2, 1)]);
    watches.answered(opcode::ADD_WATCH, &add(b"/a", 0), 0);
    assert_eq!(lasting(&watches), [(1, 0), (1, 1)]);
    // Of one alone nothing is first.
    watches.answered(opcode::REMOVE_WATCHES, &add(b"/a", 4), 0);
    assert_eq!(lasting(&watches), [(2, 0)]);
    watches.answered(opcode::REMOVE_WATCHES, &add(b"/a", 3), 0);
    assert_eq!((lasting(&watches), watches.bytes()), (vec![(1, 0)], 2));
}
