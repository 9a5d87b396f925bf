//! What is known of one write tells of its neighbours, since they are reached in their order.

use super::cells::{UNKNOWN, bytes, create, delete, found, put, set_data, stirred, told, verdicts};
use super::model::{OPEN, READ_ONLY};
use crate::zookeeper::outcome::{Read, Rivals, Verdict};
use crate::zookeeper::wire::tests::requests::Wanted;
use crate::zookeeper::wire::{Stat, errors};

const US: i64 = 7;

fn node(czxid: i64, mzxid: i64, version: i32) -> Stat {
    Stat { czxid, mzxid, pzxid: czxid, version, ..Stat::default() }
}

#[test]
fn behind_a_write_that_was_not_reached_none_was() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/b", node(50, 50, 0), "old");
    // By itself the second one is unknown: its parent was touched.
    let second = || create(1, "/a/e", "d", 0);
    assert_eq!(verdicts(&tree, &[second()]), [UNKNOWN]);
    let all = verdicts(&tree, &[set_data("/b", "mine", 0), second(), delete("/a/gone", -1)]);
    assert_eq!(all, [Verdict::Replay, Verdict::Replay, Verdict::Replay]);
}

#[test]
fn a_write_that_may_have_been_rejected_tells_nothing_of_the_next() {
    let second = || create(1, "/a/e", "d", 0);
    let expected = [Verdict::Replay, UNKNOWN];
    // No right, or one that was given or taken since, or a quota.
    for (perms, aversion, quotas) in [(READ_ONLY, 0, 0), (OPEN, 1, 0), (OPEN, 0, 1)] {
        let mut tree = found();
        stirred(&mut tree);
        put(&mut tree, "/b", Stat { aversion, ..node(50, 50, 0) }, "old");
        tree.nodes.get_mut(b"/b".as_slice()).unwrap().perms = perms;
        if quotas > 0 {
            put(&mut tree, "/zookeeper/quota/b", node(1, 1, 0), "");
        }
        let all = verdicts(&tree, &[set_data("/b", "mine", 0), second()]);
        assert_eq!(all, expected, "{perms} {aversion} {quotas}");
    }
    // A delete of a node with children, a create below an ephemeral.
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/b", node(50, 50, 0), "");
    put(&mut tree, "/b/c", node(50, 50, 0), "");
    assert_eq!(verdicts(&tree, &[delete("/b", -1), second()]), expected);
    put(&mut tree, "/e", Stat { ephemeral_owner: 9, ..node(50, 50, 0) }, "");
    assert_eq!(verdicts(&tree, &[create(1, "/e/x", "", 0), second()]), expected);
}

#[test]
fn a_write_before_one_that_was_applied_is_not_sent_behind_it() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/a/e", Stat { ephemeral_owner: US, ..node(150, 150, 0) }, "d");
    put(&mut tree, "/b", node(50, 50, 0), "old");
    let ephemeral = || create(1, "/a/e", "d", 1);
    let all = verdicts(&tree, &[set_data("/b", "mine", 0), ephemeral()]);
    assert!(matches!(all[..], [Verdict::Unknown { likely: false }, Verdict::Applied { .. }]), "{all:?}");
    let all = verdicts(&tree, &[set_data("/b", "mine", 4), ephemeral()]);
    assert!(matches!(all[..], [Verdict::Rejected(errors::BAD_VERSION), Verdict::Applied { .. }]), "{all:?}");
}

#[test]
fn a_chain_of_versions_is_cut_where_it_was_cut() {
    let mut tree = found();
    put(&mut tree, "/b", node(50, 150, 1), "one");
    let chain = [
        set_data("/b", "one", 0),
        set_data("/b", "two", 1),
        set_data("/b", "three", 2),
        set_data("/b", "four", 3),
    ];
    let all = verdicts(&tree, &chain);
    assert!(matches!(all[0], Verdict::Applied { zxid: 150, .. }), "{all:?}");
    // The node is untouched since the first, so the second would have been applied if it had been reached.
    assert_eq!(all[1..], [Verdict::Replay, Verdict::Replay, Verdict::Replay]);
}

#[test]
fn what_is_sent_again_before_it_may_change_what_a_write_would_be_rejected_for() {
    let mut tree = found();
    put(&mut tree, "/b", node(50, 50, 0), "");
    let all = verdicts(&tree, &[delete("/b", -1), create(1, "/b", "", 0)]);
    assert_eq!(all, [Verdict::Replay, Verdict::Replay]);
    assert_eq!(verdicts(&tree, &[create(1, "/b", "", 0)]), [Verdict::Rejected(errors::NODE_EXISTS)]);
}

#[test]
fn two_writes_that_leave_the_same_trace_are_not_told_apart() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/a/e", Stat { ephemeral_owner: US, ..node(150, 150, 0) }, "d");
    let again = || create(1, "/a/e", "d", 1);
    let all = verdicts(&tree, &[again(), delete("/a/e", -1), again()]);
    assert!(all.iter().all(|verdict| matches!(verdict, Verdict::Unknown { .. })), "{all:?}");
    put(&mut tree, "/b", node(50, 150, 1), "same");
    let all = verdicts(&tree, &[set_data("/b", "same", -1), set_data("/b", "same", 0)]);
    assert!(all.iter().all(|verdict| matches!(verdict, Verdict::Unknown { .. })), "{all:?}");
    put(&mut tree, "/a/s0000000000", Stat { ephemeral_owner: US, ..node(150, 150, 0) }, "d");
    let all = verdicts(&tree, &[create(1, "/a/s", "d", 3), create(1, "/a/s", "d", 3)]);
    assert!(all.iter().all(|verdict| matches!(verdict, Verdict::Unknown { .. })), "{all:?}");
}

#[test]
fn the_parent_is_read_after_the_node_that_is_not_there() {
    let tree = found();
    let writes = [create(1, "/a/e", "d", 0), create(1, "/a", "d", 0)];
    let (_, reads) = told(&tree, &writes, Rivals::Distinct);
    let place = |read: &Read| reads.iter().rposition(|sent| sent == read).unwrap();
    let [node, parent] = ["/a/e", "/a"].map(|path| Read::Stat(path.as_bytes().to_vec()));
    // The parent was read in the same round for its own sake, too early to tell of the child.
    assert_eq!(reads.iter().filter(|sent| **sent == parent).count(), 1, "{reads:?}");
    assert!(place(&parent) > place(&node), "{reads:?}");
    let (_, reads) = told(&tree, &[writes[1].clone(), writes[0].clone()], Rivals::Distinct);
    assert_eq!(reads.iter().filter(|sent| **sent == parent).count(), 2, "{reads:?}");
}

#[test]
fn what_is_no_write_is_replayed_and_reads_nothing() {
    let tree = found();
    let writes = [Wanted::Flag { opcode: 4, path: bytes("/a"), flag: true }, Wanted::Bare { opcode: -11 }];
    assert_eq!(told(&tree, &writes, Rivals::Distinct), (vec![Verdict::Replay, Verdict::Replay], vec![]));
}
