//! Each case as the servers' own `DataTree` was seen to take it, 3.5.9, 3.8.6 and 3.9.6.

use super::{fault, is_amounts};
use crate::zookeeper::wire::Request;
use crate::zookeeper::wire::tests::requests::Wanted;

const GOOD: &str = "count=5,bytes=-1";

#[allow(clippy::unnecessary_wraps, reason = "a field that can be null")]
fn bytes(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

fn create(opcode: i32, path: &str, data: &str, flags: i32) -> Wanted {
    let acl = Some(vec![(31, bytes("world"), bytes("anyone"))]);
    Wanted::Create { opcode, path: bytes(path), data: bytes(data), acl, flags, ttl: 1000 }
}

fn delete(path: &str) -> Wanted {
    Wanted::Number { opcode: 2, path: bytes(path), number: -1 }
}

fn set_data(path: &str, data: &str) -> Wanted {
    Wanted::SetData { path: bytes(path), data: bytes(data), version: -1 }
}

fn is_refused(wanted: &Wanted) -> bool {
    let payload = wanted.payload();
    fault(&Request::decode(wanted.opcode(), &payload).unwrap()).is_some()
}

/// Alone, and as the last part of a multi.
fn both(wanted: Wanted, refused: bool, what: &str) {
    assert_eq!(is_refused(&wanted), refused, "{what}");
    let before = Wanted::Number { opcode: 13, path: bytes("/"), number: -1 };
    let multi = Wanted::Multi { reads: false, ops: vec![before, wanted] };
    assert_eq!(is_refused(&multi), refused, "in a multi: {what}");
}

#[test]
fn limits_that_belong_to_no_node_are_neither_made_nor_deleted() {
    let astray = [
        "/zookeeper/quota",
        "/zookeeper",
        "/zookeeper/a",
        "/zookeeper/quotas",
        "/zookeeperX",
        "/zookeeper_a/b",
    ];
    for parent in astray {
        let path = format!("{parent}/zookeeper_limits");
        for (opcode, flags) in [(1, 0), (1, 1), (15, 0), (15, 1), (19, 4), (21, 5)] {
            both(create(opcode, &path, GOOD, flags), true, &format!("{opcode} {flags} {path}"));
        }
        for flags in [2, 3] {
            both(create(1, &path, GOOD, flags), false, &format!("a number is appended: {path}"));
        }
        both(delete(&path), true, &path);
    }
    for path in ["/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/b/zookeeper_limits"] {
        both(create(1, path, GOOD, 0), false, path);
        both(delete(path), false, path);
    }
    for path in [
        "/zookeeper/quota/zookeeper_stats",
        "/zookeeper/zookeeper_stats",
        "/a/zookeeper_limits",
        "/zookeeper_limits",
    ] {
        both(create(1, path, "any", 0), false, path);
        both(delete(path), false, path);
    }
}

#[test]
fn amounts_that_cant_be_read_are_not_written() {
    let [limits, stats] = ["limits", "stats"].map(|name| format!("/zookeeper/quota/a/zookeeper_{name}"));
    for data in ["", "count=x", "count=5", "count=x,bytes=1"] {
        both(create(1, &limits, data, 0), true, data);
        both(set_data(&limits, data), true, data);
        both(set_data(&stats, data), true, data);
        // Overwritten at once.
        both(create(1, &stats, data, 0), false, data);
        // Nobody reads these.
        both(set_data("/zookeeper/quota/zookeeper_stats", data), false, data);
        both(set_data("/zookeeper/quota/a", data), false, data);
        both(set_data("/a/zookeeper_stats", data), false, data);
    }
    for path in [&limits, &stats] {
        both(set_data(path, GOOD), false, path);
        let null = Wanted::SetData { path: bytes(path), data: None, version: -1 };
        both(null, true, "null");
    }
}

/// What `setquota` writes: 3.4 to 3.6 the first two, from 3.7 on the others.
#[test]
fn what_real_clients_write_passes() {
    for data in [
        "count=5,bytes=-1",
        "count=-1,bytes=-1",
        "count=0,bytes=0",
        "count=4,bytes=5=;byteHardLimit=10;countHardLimit=9",
        "count=-1,bytes=-1=;countHardLimit=3",
        "count=2147483647,bytes=9223372036854775807",
        "count=-2147483648,bytes=-1=;countHardLimit=9223372036854775807",
    ] {
        assert!(is_amounts(Some(data.as_bytes())), "{data}");
    }
    for data in [
        "count=5,",
        ",count=5,bytes=1",
        "count=5;bytes=1",
        "count=,bytes=1",
        "count=5,bytes",
        "count=5,bytes=1,more=1",
        "count=5,bytes=9223372036854775808",
        // No `int`, as which it is read to 3.6, though a `long`, as from 3.7 on.
        "count=2147483648,bytes=1",
        "count=4294967296,bytes=9223372036854775807",
        "count=5,bytes= 1",
        "count=4,bytes=5=;countHardLimit",
        "count=4,bytes=5=;countHardLimit=x",
    ] {
        assert!(!is_amounts(Some(data.as_bytes())), "{data}");
    }
}

#[test]
fn other_requests_are_none_of_its_business() {
    let path = "/zookeeper/quota/zookeeper_limits";
    for wanted in [
        Wanted::Flag { opcode: 4, path: bytes(path), flag: true },
        Wanted::Number { opcode: 13, path: bytes(path), number: 0 },
        Wanted::SetAcl { path: bytes(path), acl: None, version: 0 },
    ] {
        assert!(!is_refused(&wanted), "{wanted:?}");
    }
}
