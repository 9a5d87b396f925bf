//! One case for each cell of the table of evidence: a tree as it is found, a write in flight, its verdict.

use super::model::{HIDDEN, Node, OPEN, READ_ONLY, Tree};
use crate::zookeeper::outcome::{Evidence, Pending, Read, Rivals, Step, Verdict, decide};
use crate::zookeeper::wire::tests::requests::{Acls, Field, Wanted};
use crate::zookeeper::wire::{Request, Stat, Writer, errors, reply};

const US: i64 = 7;
/// Everything up to here was seen before the loss.
pub(super) const Z0: i64 = 100;
const OLD: i64 = 50;
const NEW: i64 = 150;

pub(super) const LIKELY: Verdict = Verdict::Unknown { likely: true };
pub(super) const UNKNOWN: Verdict = Verdict::Unknown { likely: false };

/// The root, untouched, and `/a` below it, of which nothing is there yet.
pub(super) fn found() -> Tree {
    let mut tree = Tree::new();
    put(&mut tree, "/a", Stat { czxid: OLD, mzxid: OLD, pzxid: OLD, ..Stat::default() }, "");
    tree
}

pub(super) fn put(tree: &mut Tree, path: &str, stat: Stat, data: &str) {
    tree.nodes.insert(path.into(), Node { data: Some(data.into()), perms: OPEN, stat });
}

#[allow(clippy::unnecessary_wraps, reason = "a field that can be null")]
pub(super) fn bytes(text: &str) -> Field {
    Some(text.as_bytes().to_vec())
}

#[allow(clippy::unnecessary_wraps, reason = "a field that can be null")]
fn acl(perms: i32) -> Acls {
    Some(vec![(perms, bytes("world"), bytes("anyone"))])
}

/// opcode 1 is `create`, 15 `create2`; flags 0 persistent, 1 ephemeral, 2 and 3 the same and sequential.
pub(super) fn create(opcode: i32, path: &str, data: &str, flags: i32) -> Wanted {
    Wanted::Create { opcode, path: bytes(path), data: bytes(data), acl: acl(OPEN), flags, ttl: 0 }
}

pub(super) fn delete(path: &str, version: i32) -> Wanted {
    Wanted::Number { opcode: 2, path: bytes(path), number: version }
}

pub(super) fn set_data(path: &str, data: &str, version: i32) -> Wanted {
    Wanted::SetData { path: bytes(path), data: bytes(data), version }
}

fn set_acl(path: &str, perms: i32, version: i32) -> Wanted {
    Wanted::SetAcl { path: bytes(path), acl: acl(perms), version }
}

/// The verdicts on all of `writes`, and the reads that they took.
pub(super) fn told(tree: &Tree, writes: &[Wanted], rivals: Rivals) -> (Vec<Verdict>, Vec<Read>) {
    let payloads: Vec<Vec<u8>> = writes.iter().map(Wanted::payload).collect();
    let pending: Vec<Pending<'_>> = writes
        .iter()
        .zip(&payloads)
        .map(|(w, payload)| Pending {
            request: Request::decode(w.opcode(), payload).unwrap(),
            z0: Z0,
            inherits: false,
        })
        .collect();
    let mut evidence = Evidence::new();
    let mut sent = Vec::new();
    for _ in 0..9 {
        match decide(&pending, US, rivals, &mut evidence) {
            Step::Decided(verdicts) => return (verdicts, sent),
            Step::Read(reads) => {
                for read in reads {
                    let (err, body) = tree.read(&read);
                    sent.push(read.clone());
                    evidence.learn(read, err, &body);
                }
            }
        }
    }
    panic!("it reads for ever: {sent:?}");
}

pub(super) fn verdicts(tree: &Tree, writes: &[Wanted]) -> Vec<Verdict> {
    told(tree, writes, Rivals::Distinct).0
}

fn one(tree: &Tree, write: Wanted) -> Verdict {
    verdicts(tree, &[write]).remove(0)
}

fn body(verdict: Verdict) -> bytes::Bytes {
    match verdict {
        Verdict::Applied { body, .. } => body,
        other => panic!("not applied: {other:?}"),
    }
}

fn at(czxid: i64, mzxid: i64, version: i32) -> Stat {
    Stat { czxid, mzxid, pzxid: czxid, version, ..Stat::default() }
}

/// The parent saw a child come or go.
pub(super) fn stirred(tree: &mut Tree) {
    tree.nodes.get_mut(b"/a".as_slice()).unwrap().stat.pzxid = NEW;
}

#[test]
fn an_ephemeral_that_this_session_owns_and_that_is_new_was_made() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/a/e", Stat { ephemeral_owner: US, ctime: 9, ..at(NEW, NEW + 1, 1) }, "later");
    let answer = body(one(&tree, create(1, "/a/e", "d", 1)));
    assert_eq!(answer, Writer::record().text(b"/a/e").finish());
    // With the stat that it had when it was made.
    let answer = body(one(&tree, create(15, "/a/e", "d", 1)));
    let (path, stat) = reply::path_and_stat(&answer).unwrap();
    assert_eq!(path, "/a/e".into());
    let born = Stat { ctime: 9, mtime: 9, data_length: 1, ephemeral_owner: US, ..at(NEW, NEW, 0) };
    assert_eq!(stat, born);
    // Someone else's, or one that is older, is not.
    put(&mut tree, "/a/e", Stat { ephemeral_owner: 8, ..at(NEW, NEW, 0) }, "d");
    assert_eq!(one(&tree, create(1, "/a/e", "d", 1)), UNKNOWN);
    put(&mut tree, "/a/e", Stat { ephemeral_owner: US, ..at(OLD, OLD, 0) }, "d");
    assert_eq!(one(&tree, create(1, "/a/e", "d", 1)), Verdict::Rejected(errors::NODE_EXISTS));
}

#[test]
fn a_node_that_is_not_there_was_not_made_if_its_parent_is_untouched() {
    for flags in [0, 1, 2, 3, 4] {
        let mut tree = found();
        assert_eq!(one(&tree, create(1, "/a/e", "d", flags)), Verdict::Replay, "{flags}");
        stirred(&mut tree);
        assert_eq!(one(&tree, create(1, "/a/e", "d", flags)), UNKNOWN, "{flags}");
        // No parent, and not since: there can't have been a child.
        let rejected = Verdict::Rejected(errors::NO_NODE);
        assert_eq!(one(&tree, create(1, "/b/e", "d", flags)), rejected, "{flags}");
        assert_eq!(one(&tree, create(1, "/b/c/d/e", "d", flags)), rejected, "{flags}");
        assert_eq!(one(&tree, create(1, "/a/c/e", "d", flags)), UNKNOWN, "{flags}");
    }
}

#[test]
fn a_new_persistent_node_is_ours_only_if_nobody_else_can_have_made_it() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, "/a/p", at(NEW, NEW, 0), "d");
    let write = || [create(1, "/a/p", "d", 0)];
    assert_eq!(told(&tree, &write(), Rivals::Distinct).0, [LIKELY]);
    assert_eq!(told(&tree, &write(), Rivals::Same).0, [LIKELY]);
    assert!(matches!(told(&tree, &write(), Rivals::None).0[..], [Verdict::Applied { zxid: NEW, .. }]));
    // Other data, another list: not even likely.
    assert_eq!(one(&tree, create(1, "/a/p", "x", 0)), UNKNOWN);
    tree.nodes.get_mut(b"/a/p".as_slice()).unwrap().perms = READ_ONLY;
    assert_eq!(one(&tree, create(1, "/a/p", "d", 0)), UNKNOWN);
    put(&mut tree, "/a/p", at(OLD, OLD, 0), "d");
    assert_eq!(one(&tree, create(1, "/a/p", "d", 0)), Verdict::Rejected(errors::NODE_EXISTS));
}

const ID: &str = "_c_01234567-89ab-cdef-0123-456789abcdef-lock-";

#[test]
fn a_sequential_node_is_known_by_a_unique_name_or_by_its_owner() {
    let mut tree = found();
    stirred(&mut tree);
    put(&mut tree, &format!("/a/{ID}0000000004"), at(NEW, NEW, 0), "d");
    put(&mut tree, "/a/lock-0000000003", Stat { ephemeral_owner: 8, ..at(NEW, NEW, 0) }, "d");
    let protected = body(one(&tree, create(1, &format!("/a/{ID}"), "d", 2)));
    assert_eq!(reply::path(&protected).unwrap().to_string(), format!("/a/{ID}0000000004"));
    // Not by any name, and not by two.
    put(&mut tree, "/a/job-0000000007", at(NEW, NEW, 0), "d");
    assert_eq!(one(&tree, create(1, "/a/job-", "d", 2)), UNKNOWN);
    put(&mut tree, &format!("/a/{ID}0000000005"), at(NEW, NEW, 0), "d");
    assert_eq!(one(&tree, create(1, &format!("/a/{ID}"), "d", 2)), UNKNOWN);
    // An ephemeral by its owner.
    assert_eq!(one(&tree, create(1, "/a/lock-", "d", 3)), UNKNOWN);
    put(&mut tree, "/a/lock-0000000006", Stat { ephemeral_owner: US, ..at(NEW, NEW, 0) }, "d");
    let ours = body(one(&tree, create(15, "/a/lock-", "d", 3)));
    assert_eq!(reply::path_and_stat(&ours).unwrap().0, "/a/lock-0000000006".into());
    put(&mut tree, "/a/lock-0000000006", Stat { ephemeral_owner: US, ..at(OLD, OLD, 0) }, "d");
    assert_eq!(one(&tree, create(1, "/a/lock-", "d", 3)), UNKNOWN);
}

#[test]
fn a_delete_is_never_known_to_be_ours() {
    let mut tree = found();
    put(&mut tree, "/a/d", at(OLD, OLD, 2), "d");
    for version in [-1, 2] {
        assert_eq!(one(&tree, delete("/a/d", version)), Verdict::Replay);
    }
    assert_eq!(one(&tree, delete("/a/d", 1)), Verdict::Rejected(errors::BAD_VERSION));
    put(&mut tree, "/a/d", at(OLD, NEW, 2), "d");
    assert_eq!(one(&tree, delete("/a/d", 1)), Verdict::Replay);
    put(&mut tree, "/a/d", at(NEW, NEW, 0), "d");
    assert_eq!(one(&tree, delete("/a/d", -1)), UNKNOWN);
    tree.nodes.remove(b"/a/d".as_slice());
    assert_eq!(one(&tree, delete("/a/d", -1)), Verdict::Rejected(errors::NO_NODE));
    stirred(&mut tree);
    assert_eq!(one(&tree, delete("/a/d", -1)), LIKELY);
}

#[test]
fn set_data_with_a_version_is_told_by_version_and_data() {
    let mut tree = found();
    let mut is = |stat, data, wanted| {
        put(&mut tree, "/a", stat, data);
        assert_eq!(one(&tree, set_data("/a", "mine", 3)), wanted, "{stat:?} {data}");
    };
    is(at(OLD, OLD, 3), "old", Verdict::Replay);
    is(at(OLD, NEW, 3), "others", Verdict::Replay);
    is(at(OLD, NEW, 2), "others", Verdict::Replay);
    is(at(OLD, OLD, 2), "old", Verdict::Rejected(errors::BAD_VERSION));
    is(at(OLD, OLD, 4), "mine", Verdict::Rejected(errors::BAD_VERSION));
    is(at(OLD, NEW, 4), "others", Verdict::Rejected(errors::BAD_VERSION));
    is(at(OLD, NEW, 5), "mine", UNKNOWN);
    is(at(NEW, NEW, 3), "others", UNKNOWN);
    is(at(NEW, NEW, 4), "mine", LIKELY);
    put(&mut tree, "/a", at(OLD, NEW, 4), "mine");
    let stat = reply::stat(&body(one(&tree, set_data("/a", "mine", 3)))).unwrap();
    assert_eq!((stat.version, stat.mzxid, stat.data_length), (4, NEW, 4));
    assert_eq!(told(&tree, &[set_data("/a", "mine", 3)], Rivals::Same).0, [LIKELY]);
    tree.nodes.remove(b"/a".as_slice());
    assert_eq!(one(&tree, set_data("/a", "mine", 3)), Verdict::Rejected(errors::NO_NODE));
    tree.nodes.get_mut(b"/".as_slice()).unwrap().stat.pzxid = NEW;
    assert_eq!(one(&tree, set_data("/a", "mine", 3)), UNKNOWN);
}

#[test]
fn set_data_of_any_version_is_told_by_an_untouched_node_only() {
    let mut tree = found();
    let mut is = |stat, data, wanted| {
        put(&mut tree, "/a", stat, data);
        assert_eq!(one(&tree, set_data("/a", "mine", -1)), wanted, "{stat:?} {data}");
    };
    is(at(OLD, OLD, 3), "old", Verdict::Replay);
    is(at(OLD, OLD, 3), "mine", Verdict::Replay);
    is(at(OLD, NEW, 4), "mine", LIKELY);
    is(at(OLD, NEW, 4), "others", UNKNOWN);
}

#[test]
fn set_acl_is_told_by_its_version_and_never_known_to_be_ours() {
    let mut tree = found();
    let mut is = |aversion, perms, wanted: Verdict| {
        put(&mut tree, "/a", Stat { aversion, ..at(OLD, OLD, 0) }, "");
        tree.nodes.get_mut(b"/a".as_slice()).unwrap().perms = perms;
        assert_eq!(one(&tree, set_acl("/a", READ_ONLY, 3)), wanted, "{aversion} {perms}");
    };
    is(3, OPEN, Verdict::Replay);
    is(2, OPEN, Verdict::Replay);
    is(4, OPEN, Verdict::Rejected(errors::BAD_VERSION));
    is(4, READ_ONLY, LIKELY);
    is(5, READ_ONLY, UNKNOWN);
    assert_eq!(one(&tree, set_acl("/a", READ_ONLY, -1)), LIKELY);
    put(&mut tree, "/a", Stat { aversion: 3, ..at(NEW, NEW, 0) }, "");
    assert_eq!(one(&tree, set_acl("/a", READ_ONLY, 3)), UNKNOWN);
}

#[test]
fn a_multi_is_told_by_its_most_telling_part() {
    let multi = |ops: &[Wanted]| Wanted::Multi { reads: false, ops: ops.to_vec() };
    let check = Wanted::Number { opcode: 13, path: bytes("/a"), number: 0 };
    let mut tree = found();
    assert_eq!(one(&tree, multi(&[])), Verdict::Replay);
    assert_eq!(one(&tree, multi(std::slice::from_ref(&check))), Verdict::Replay);
    stirred(&mut tree);
    // The first part tells nothing, the second that none was done.
    let ops = [delete("/a/gone", -1), set_data("/a", "mine", 0)];
    assert_eq!(one(&tree, multi(&ops)), Verdict::Replay);
    // Now that all was.
    put(&mut tree, "/a", Stat { pzxid: NEW, ..at(OLD, NEW, 1) }, "mine");
    put(&mut tree, "/a/e", Stat { ephemeral_owner: US, ..at(NEW, NEW, 0) }, "d");
    let ops = [ops[0].clone(), ops[1].clone(), check, create(1, "/a/e", "d", 1)];
    let stat = tree.shown(b"/a");
    let head = |w: Writer, kind: i32| w.i32(kind).bool(false).i32(0);
    let parts = stat.write(head(head(Writer::record(), 2), 5));
    let parts = head(head(parts, 13), 1).text(b"/a/e").i32(-1).bool(true).i32(-1);
    // The check is on the path of the setData: whose stat it is can't be told apart, so that is only likely.
    assert_eq!(one(&tree, multi(&ops)), LIKELY);
    let ops = [ops[0].clone(), ops[1].clone(), delete("/a/more", 0), ops[3].clone()];
    let expected = stat.write(head(head(Writer::record(), 2), 5));
    let expected = head(head(expected, 2), 1).text(b"/a/e").i32(-1).bool(true).i32(-1).finish();
    assert_eq!(body(one(&tree, multi(&ops))), expected);
    assert_ne!(parts.finish(), expected);
    // Nothing tells.
    assert_eq!(one(&tree, multi(&[delete("/a/gone", -1)])), LIKELY);
}

#[test]
fn reconfig_is_told_by_the_version_of_the_configuration() {
    let reconfig =
        || Wanted::Reconfig { joining: bytes("server.4=x"), leaving: None, members: None, from: -1 };
    let mut tree = found();
    let mut is = |mzxid, data, wanted: Verdict| {
        put(&mut tree, "/zookeeper/config", at(0, mzxid, -1), data);
        assert_eq!(one(&tree, reconfig()), wanted, "{data}");
    };
    is(OLD, "server.1=a\nversion=32", Verdict::Replay);
    is(0, "server.1=a\nversion=0", Verdict::Replay);
    is(NEW, "server.1=a\nversion=96", LIKELY);
    is(OLD, "server.1=a\nversion=96", LIKELY);
    is(OLD, "server.1=a", UNKNOWN);
}

#[test]
fn what_may_not_be_read_is_unknown() {
    let mut tree = found();
    put(&mut tree, "/a/n", at(OLD, OLD, 0), "d");
    tree.nodes.get_mut(b"/a/n".as_slice()).unwrap().perms = HIDDEN;
    for write in [
        create(1, "/a/n", "d", 0),
        create(1, "/a/n", "d", 1),
        create(1, "/a/n/x", "d", 2),
        create(1, "/a/n/x", "d", 0),
        delete("/a/n", -1),
        set_data("/a/n", "d", 0),
        set_acl("/a/n", OPEN, 0),
        Wanted::Reconfig { joining: None, leaving: None, members: None, from: 0 },
    ] {
        assert_eq!(one(&tree, write.clone()), UNKNOWN, "{write:?}");
    }
}

#[test]
fn what_no_server_applies_is_replayed_for_its_own_error() {
    let tree = found();
    for write in [
        Wanted::SetData { path: None, data: None, version: 0 },
        Wanted::Number { opcode: 2, path: None, number: 0 },
        Wanted::SetAcl { path: None, acl: None, version: 0 },
        create(1, "/a/e", "d", 9),
        Wanted::Create { opcode: 1, path: None, data: None, acl: None, flags: 0, ttl: 0 },
    ] {
        assert_eq!(
            told(&tree, std::slice::from_ref(&write), Rivals::Distinct),
            (vec![Verdict::Replay], vec![])
        );
    }
}
