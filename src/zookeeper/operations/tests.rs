//! The table is whole and agrees with the wire.

use super::*;
use crate::zookeeper::wire::rearm::List;
use crate::zookeeper::wire::{Request, WatchLists, Writer, opcode};
use std::path::Path;

/// Every number of `ZooDefs.OpCode` of 3.9.5 that a client can send, with the version that brought it.
const KNOWN: &[(i32, (u8, u8))] = &[
    (1, (3, 4)),
    (2, (3, 4)),
    (3, (3, 4)),
    (4, (3, 4)),
    (5, (3, 4)),
    (6, (3, 4)),
    (7, (3, 4)),
    (8, (3, 4)),
    (9, (3, 4)),
    (11, (3, 4)),
    (12, (3, 4)),
    (13, (3, 4)),
    (14, (3, 4)),
    (15, (3, 5)),
    (16, (3, 5)),
    (17, (3, 5)),
    (18, (3, 5)),
    (19, (3, 5)),
    (20, (3, 5)),
    (21, (3, 5)),
    (22, (3, 6)),
    (100, (3, 4)),
    (101, (3, 4)),
    (102, (3, 4)),
    (103, (3, 6)),
    (104, (3, 6)),
    (105, (3, 6)),
    (106, (3, 6)),
    (107, (3, 7)),
    (-10, (3, 4)),
    (-11, (3, 4)),
];

#[test]
fn every_operation_has_one_row_with_its_version() {
    let rows: Vec<_> = OPERATIONS.iter().map(|row| (row.opcode, row.since)).collect();
    assert_eq!(rows, KNOWN);
    for row in OPERATIONS {
        assert_eq!(operation(row.opcode).map(|found| found.name), Some(row.name));
    }
}

#[test]
fn the_table_knows_what_the_decoder_knows() {
    let payload = [0; 64];
    for number in -20..200 {
        let known = !matches!(Request::decode(number, &payload), Ok(Request::Unknown { .. }));
        assert_eq!(operation(number).is_some(), known, "{number}");
    }
    assert_eq!(forward(10), Forward::RefuseAndClose(-6));
    assert_eq!(forward(0), Forward::RefuseAndClose(-6));
    assert_eq!(forward(-1), Forward::RefuseAndClose(-6));
    assert_eq!(forward(108), Forward::RefuseAndClose(-6));
}

/// The shield has no hole: whatever a leader would put into its queue of proposals is decoded first, or never sent.
#[test]
fn every_write_is_checked_or_refused_and_verified_or_never_in_flight() {
    for row in OPERATIONS {
        let write = row.kind == Kind::Write;
        let shielded =
            matches!(row.forward, Forward::Checked | Forward::Refuse(_) | Forward::RefuseAndClose(_));
        assert!(!write || shielded, "{}", row.name);
        assert_eq!(row.needs_fence(), write && row.forward == Forward::Checked, "{}", row.name);
        let refused = matches!(row.forward, Forward::Refuse(_) | Forward::RefuseAndClose(_));
        assert_eq!(row.loss == Loss::Refused, refused, "{}", row.name);
        assert!(!row.note.is_empty(), "{}", row.name);
    }
    assert_eq!(forward(opcode::CHECK), Forward::Refuse(-6));
    assert_eq!(forward(opcode::DELETE_CONTAINER), Forward::RefuseAndClose(-6));
    assert_eq!(forward(opcode::CREATE_SESSION), Forward::RefuseAndClose(-6));
}

#[test]
fn a_ping_alone_is_answered_early_and_never_replayed() {
    for row in OPERATIONS {
        assert_eq!(row.early, row.opcode == opcode::PING, "{}", row.name);
        assert_eq!(row.loss == Loss::Never, row.opcode == opcode::PING, "{}", row.name);
    }
}

#[test]
fn the_leader_has_a_part_in_writes_and_sync_only() {
    let with: Vec<i32> = OPERATIONS.iter().filter(|row| row.proves_leader()).map(|row| row.opcode).collect();
    assert_eq!(with, [1, 2, 5, 7, 9, 13, 14, 15, 16, 19, 20, 21]);
}

/// Each row's column is what [`effect`] does with a request of it.
#[test]
fn the_column_of_watches_is_what_their_effect_does() {
    for row in OPERATIONS {
        // With the flag set, with the numbers 0 and 1, and with both answers.
        let requests = [0, 1].map(|number| {
            let lists = Writer::record().i64(0).i32(0).i32(0).i32(0).i32(0).i32(0).finish();
            let path = Writer::record().text(b"/a");
            let flagged = path.bool(number == 1).raw(&[0; 40]).finish();
            let numbered = Writer::record().text(b"/a").i32(number).raw(&[0; 40]).finish();
            match row.watches {
                Watches::Lists => lists,
                Watches::Persistent | Watches::Remove => numbered,
                _ => flagged,
            }
        });
        for (number, payload) in requests.iter().enumerate() {
            let Ok(request) = Request::decode(row.opcode, payload) else { continue };
            let set = |list| Effect::Set(list, "/a".into());
            let (ok, no_node) = match (row.watches, number) {
                (Watches::Exists, 1) => (set(List::Data), set(List::Exist)),
                (Watches::Data, 1) => (set(List::Data), Effect::Nothing),
                (Watches::Children, 1) => (set(List::Child), Effect::Nothing),
                (Watches::Persistent, 0) => (set(List::Persistent), Effect::Nothing),
                (Watches::Persistent, 1) => (set(List::Recursive), Effect::Nothing),
                (Watches::Remove, 1) => {
                    (Effect::Removed(WatcherKind::Children, "/a".into()), Effect::Nothing)
                }
                (Watches::Lists, _) => match request {
                    Request::SetWatches(lists) | Request::SetWatches2(lists) => {
                        (Effect::Lists(lists), Effect::Nothing)
                    }
                    _ => panic!("{}", row.name),
                },
                _ => (Effect::Nothing, Effect::Nothing),
            };
            assert_eq!(effect(&request, 0), ok, "{} {number}", row.name);
            assert_eq!(effect(&request, -101), no_node, "{} {number}", row.name);
            assert_eq!(effect(&request, -102), Effect::Nothing, "{} {number}", row.name);
        }
    }
}

#[test]
fn removed_watches_are_of_the_kind_that_was_named() {
    let remove = |kind| Request::RemoveWatches { path: Some("/a".into()), kind };
    for (number, kind) in [
        (1, WatcherKind::Children),
        (2, WatcherKind::Data),
        (3, WatcherKind::Any),
        (4, WatcherKind::Persistent),
        (5, WatcherKind::Recursive),
    ] {
        assert_eq!(effect(&remove(number), 0), Effect::Removed(kind, "/a".into()));
        assert_eq!(effect(&remove(number), -121), Effect::Nothing);
    }
    assert_eq!(effect(&remove(6), 0), Effect::Nothing);
    assert_eq!(effect(&Request::AddWatch { path: Some("/a".into()), mode: 2 }, 0), Effect::Nothing);
    assert_eq!(effect(&Request::Exists { path: None, watch: true }, 0), Effect::Nothing);
    let empty = WatchLists {
        relative_zxid: 0,
        data: None,
        exist: None,
        child: None,
        persistent: None,
        recursive: None,
    };
    assert_eq!(effect(&Request::SetWatches(empty), -5), Effect::Nothing);
}

#[test]
fn zookeeper_operations_in_the_documentation_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/zookeeper-operations.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/zookeeper-operations.md is not what the table says; BLESS=1 cargo test --lib zookeeper_operations writes it"
    );
}
