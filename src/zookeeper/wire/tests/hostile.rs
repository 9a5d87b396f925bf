//! Bytes that a client should not have sent: refused where a server can't decode them, never a panic.

use super::super::*;
use proptest::prelude::*;

fn opcodes() -> Vec<i32> {
    let known = (1..=22).chain(100..=107).chain([-11, -10, -1, 0, 23, 99, 108, i32::MIN, i32::MAX]);
    known.collect()
}

/// Reads all that can be read of a request.
fn exhaust(request: &Request<'_>) -> usize {
    let names =
        |lists: &[Option<Names<'_>>]| lists.iter().flatten().map(|names| names.iter().count()).sum::<usize>();
    match request {
        Request::Multi(multi) | Request::MultiRead(multi) => multi.iter().count(),
        Request::Create(Create { acl, .. }) | Request::SetAcl { acl, .. } => {
            acl.map_or(0, |acl| acl.iter().count())
        }
        Request::SetWatches(w) | Request::SetWatches2(w) => {
            names(&[w.data, w.exist, w.child, w.persistent, w.recursive])
        }
        _ => 0,
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for opcode in opcodes() {
            if let Ok(request) = Request::decode(opcode, &bytes) {
                prop_assert!(exhaust(&request) <= bytes.len());
            }
        }
        let _ = (ConnectRequest::decode(&bytes), ConnectResponse::decode(&bytes), WatchEvent::decode(&bytes));
        let _ = (request_header(&bytes), reply_header(&bytes), request_payload(&bytes), reply_body(&bytes));
        let _ = (reply::stat(&bytes), reply::data(&bytes), reply::path(&bytes), reply::path_and_stat(&bytes));
        let _ = (reply::children2(&bytes), reply::names(&bytes), reply::acl(&bytes).map(|(a, _)| a.iter().count()));
    }

    /// As above, with small numbers, so that lengths are often possible.
    #[test]
    fn nearly_right_bytes_never_panic(numbers in prop::collection::vec(-2..40i32, 0..40)) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        for opcode in opcodes() {
            if let Ok(request) = Request::decode(opcode, &bytes) {
                prop_assert!(exhaust(&request) <= bytes.len());
            }
        }
    }
}

fn fault(opcode: i32, payload: &[u8]) -> Option<Fault> {
    Request::decode(opcode, payload).err().map(|malformed| malformed.fault)
}

fn path(text: &str) -> Writer {
    Writer::record().text(text.as_bytes())
}

#[test]
fn what_a_server_cannot_decode_is_refused() {
    for opcode in [1, 2, 5, 7, 14, 15, 16, 19, 21] {
        assert_eq!(fault(opcode, &[]), Some(Fault::Truncated), "{opcode} empty");
    }
    for opcode in [1, 2, 5, 7, 15, 16, 19, 21] {
        let negative = Writer::record().i32(-2).raw(&[0; 64]).finish();
        assert_eq!(fault(opcode, &negative), Some(Fault::Length(-2)), "{opcode}");
        let huge = Writer::record().i32(i32::MAX).raw(&[0; 64]).finish();
        assert_eq!(fault(opcode, &huge), Some(Fault::Truncated), "{opcode}");
    }
    // An access control list that claims more than is there.
    let list = path("/a").text(b"").i32(i32::MAX).raw(&[0; 64]).finish();
    assert_eq!(fault(1, &list), Some(Fault::Truncated));
    // A TTL create as the older request: its time is missing.
    let short = path("/a").text(b"").i32(0).i32(5).finish();
    assert_eq!(fault(1, &short), None);
    assert_eq!(fault(21, &short), Some(Fault::Truncated));
}

#[test]
fn a_multi_is_refused_for_any_of_its_parts() {
    let part = |w: Writer, kind: i32| w.i32(kind).bool(false).i32(-1);
    let end = |w: Writer| w.i32(-1).bool(true).i32(-1).finish();
    let delete = |w: Writer| part(w, 2).text(b"/a").i32(0);
    assert_eq!(fault(14, &end(delete(Writer::record()))), None);
    assert_eq!(fault(14, &end(Writer::record())), None);
    assert_eq!(fault(14, &delete(Writer::record()).finish()), Some(Fault::Truncated));
    let stranger = end(part(delete(Writer::record()), 16).text(b"/a").i32(0));
    assert_eq!(fault(14, &stranger), Some(Fault::Operation(16)));
    let minus = end(part(Writer::record(), -1));
    assert_eq!(fault(14, &minus), Some(Fault::Operation(-1)));
    let mixed = end(part(delete(Writer::record()), 4).text(b"/a").bool(false));
    assert_eq!(fault(14, &mixed), Some(Fault::Mixed));
    // The end's type is of no account, only its flag.
    assert_eq!(fault(14, &Writer::record().i32(77).bool(true).i32(0).finish()), None);
    let negative = end(part(Writer::record(), 2).i32(-7).i32(0));
    assert_eq!(fault(14, &negative), Some(Fault::Length(-7)));
}

#[test]
fn what_is_harmless_passes() {
    // Null paths, null data, null lists.
    let nulls = Writer::record().i32(-1).i32(-1).i32(-1).i32(0).finish();
    let Request::Create(create) = Request::decode(1, &nulls).unwrap() else { panic!("a create") };
    assert_eq!((create.path, create.data, create.acl), (None, None, None));
    // A vector of negative length is an empty one.
    let negative = path("/a").text(b"d").i32(-5).i32(0).finish();
    let Request::Create(create) = Request::decode(1, &negative).unwrap() else { panic!("a create") };
    assert_eq!(create.acl.map(|acl| acl.len()), Some(0));
    // Text that isn't UTF-8.
    let bad = Writer::record().text(b"/\xff\xfe").i32(0).finish();
    let Request::Delete { path: Some(text), .. } = Request::decode(2, &bad).unwrap() else {
        panic!("a delete")
    };
    assert_eq!((text.to_str(), text.lossy().as_ref()), (None, "/\u{fffd}\u{fffd}"));
    // Flags that mean nothing: the server answers −8.
    let flags = path("/a").text(b"d").i32(0).i32(9).finish();
    let Request::Create(create) = Request::decode(15, &flags).unwrap() else { panic!("a create") };
    assert_eq!(create.mode(), None);
}
