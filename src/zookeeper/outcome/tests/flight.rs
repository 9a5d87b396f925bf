//! The counts of what is in flight are those of a walk over all of it.

use super::check::write;
use crate::zookeeper::outcome::flight::Flight;
use crate::zookeeper::outcome::{Pending, parts, paths};
use crate::zookeeper::wire::tests::requests::Wanted;
use crate::zookeeper::wire::{CreateMode, Op, Request};
use proptest::prelude::*;

const BYTES: &[&str] = &["o", "p"];

/// Nodes that the writes may have made, and some that they can't have.
const NODES: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/a/x",
    "/b/x0000000000",
    "/b/x0000000007",
    "/b/x000000000",
    "/b/x00000000000",
    "/b/x0000000000x",
    "/a/x/q0000000012",
    "/a/x0000000000",
    "/a0000000003",
    "/0000000000",
];

fn sequential(op: &Op<'_>) -> bool {
    matches!(op, Op::Create(create) if create.mode().is_some_and(CreateMode::is_sequential))
}

fn walk(all: &[Pending<'_>], counts: impl Fn(&Op<'_>) -> bool) -> usize {
    all.iter().flat_map(|pending| parts(pending.request)).filter(|op| counts(op)).count()
}

fn is(op: &Op<'_>, path: &[u8]) -> bool {
    op.path().is_some_and(|own| own.as_bytes() == path)
}

fn may_be_numbered(op: &Op<'_>, path: &[u8]) -> bool {
    op.path().is_some_and(|prefix| {
        let prefix = prefix.as_bytes();
        paths::parent(prefix) == paths::parent(path)
            && paths::name(path)
                .strip_prefix(paths::name(prefix))
                .is_some_and(|rest| rest.len() == 10 && rest.iter().all(u8::is_ascii_digit))
    })
}

proptest! {
    #[test]
    fn counting_once_is_walking_each_time(wanted in prop::collection::vec(write(BYTES), 0..12)) {
        let payloads: Vec<Vec<u8>> = wanted.iter().map(Wanted::payload).collect();
        let all: Vec<Pending<'_>> = wanted
            .iter()
            .zip(&payloads)
            .map(|(wanted, payload)| Request::decode(wanted.opcode(), payload).unwrap())
            .map(|request| Pending { request, z0: 0, inherits: false })
            .collect();
        let flight = Flight::new(&all);
        let paths = wanted.iter().flat_map(paths_of).chain(NODES.iter().map(|path| path.as_bytes().to_vec()));
        for path in paths {
            let creates = |op: &Op<'_>| matches!(op, Op::Create(_)) && !sequential(op) && is(op, &path);
            let named = walk(&all, creates);
            prop_assert_eq!(flight.named(&path), named);
            prop_assert_eq!(flight.twins(&path), walk(&all, |op| sequential(op) && is(op, &path)));
            let by_number = walk(&all, |op| sequential(op) && may_be_numbered(op, &path));
            prop_assert_eq!(flight.makers(&path), named + by_number);
            for bytes in [None, Some(b"o".as_slice()), Some(b"p")] {
                let writes = |op: &Op<'_>| matches!(op, Op::SetData { data, .. } if *data == bytes) && is(op, &path);
                prop_assert_eq!(flight.writers(&path, bytes), walk(&all, writes));
            }
        }
    }
}

/// The paths of a write and of its parts.
fn paths_of(wanted: &Wanted) -> Vec<Vec<u8>> {
    match wanted {
        Wanted::Create { path, .. } | Wanted::SetData { path, .. } | Wanted::Number { path, .. } => {
            path.iter().cloned().collect()
        }
        Wanted::Multi { ops, .. } => ops.iter().flat_map(paths_of).collect(),
        _ => Vec::new(),
    }
}
