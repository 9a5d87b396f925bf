//! What Evenkeel builds, against exact bytes and against its own reading.

use super::super::rearm::{List, set_watches};
use super::super::*;
use bytes::Bytes;
use proptest::prelude::*;

/// The frame without its length, which must be right.
fn open(frame: &Bytes) -> &[u8] {
    let (length, rest) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, rest.len());
    rest
}

#[test]
fn the_fence_and_the_ping_are_these_bytes() {
    let fence = build::fence(0x0102_0304);
    assert_eq!(fence[..], [0, 0, 0, 17, 1, 2, 3, 4, 0, 0, 0, 14, 255, 255, 255, 255, 1, 255, 255, 255, 255]);
    assert!(reply::is_fence_answer(&[255, 255, 255, 255, 1, 255, 255, 255, 255]));
    assert!(!reply::is_fence_answer(&[]));
    assert_eq!(build::ping()[..], [0, 0, 0, 8, 255, 255, 255, 254, 0, 0, 0, 11]);
    let answer = build::ping_reply(0x0102);
    assert_eq!(reply_header(open(&answer)), Ok(ReplyHeader { xid: -2, zxid: 0x0102, err: 0 }));
    assert_eq!(answer.len(), 20);
}

#[test]
fn what_is_built_is_a_request_of_its_kind() {
    let built = [
        (build::ping(), Request::Ping),
        (build::sync(1, b"/"), Request::Sync { path: Some("/".into()) }),
        (build::close_session(1), Request::CloseSession),
        (build::exists(1, b"/a"), Request::Exists { path: Some("/a".into()), watch: false }),
        (build::get_data(1, b"/a"), Request::GetData { path: Some("/a".into()), watch: false }),
        (build::get_acl(1, b"/a"), Request::GetAcl { path: Some("/a".into()) }),
        (build::get_children2(1, b"/a"), Request::GetChildren2 { path: Some("/a".into()), watch: false }),
        (build::get_ephemerals(1, b"/a"), Request::GetEphemerals { prefix: Some("/a".into()) }),
        (build::add_watch(1, b"/a", 1), Request::AddWatch { path: Some("/a".into()), mode: 1 }),
    ];
    for (frame, expected) in &built {
        let frame = open(frame);
        let header = request_header(frame).unwrap();
        assert_eq!(Request::decode(header.opcode, request_payload(frame)), Ok(*expected));
        let again = build::again(77, header.opcode, request_payload(frame));
        assert_eq!(request_header(open(&again)), Ok(RequestHeader { xid: 77, opcode: header.opcode }));
        assert_eq!(request_payload(open(&again)), request_payload(frame));
        assert_eq!(open(&build::framed(frame)), frame);
    }
    let fence = build::fence(9);
    let Request::Multi(multi) = Request::decode(14, request_payload(open(&fence))).unwrap() else {
        panic!("a multi")
    };
    assert!(multi.is_empty());
}

#[test]
fn an_error_is_a_header_and_nothing_else() {
    let frame = build::error_reply(12, 34, errors::MARSHALLING_ERROR);
    assert_eq!(frame.len(), 20);
    assert_eq!(reply_header(open(&frame)), Ok(ReplyHeader { xid: 12, zxid: 34, err: -5 }));
    assert!(reply_body(open(&frame)).is_empty());
    assert_eq!(errors::name(-5), "MarshallingError");
}

#[test]
fn a_frame_shorter_than_its_header_is_refused() {
    assert!(request_header(&[0; 7]).is_err() && request_header(&[0; 8]).is_ok());
    assert!(reply_header(&[0; 15]).is_err() && reply_header(&[0; 16]).is_ok());
    assert!(request_payload(&[0; 7]).is_empty() && reply_body(&[0; 15]).is_empty());
}

#[test]
fn bodies_are_read() {
    let stat =
        Stat { czxid: 1, mzxid: 2, version: 3, cversion: 7, num_children: 1, pzxid: 9, ..Stat::default() };
    assert_eq!(stat.children_ever(), 4);
    let body = stat.write(Writer::record()).finish();
    assert_eq!(body.len(), 68);
    assert_eq!(reply::stat(&body), Ok(stat));
    assert!(reply::stat(&body[..67]).is_err());
    let data = stat.write(Writer::record().buffer(None)).finish();
    assert_eq!(reply::data(&data), Ok((None, stat)));
    let names = stat.write(Writer::record().names([b"x".as_slice(), b"yy"].into_iter())).finish();
    let (children, parent) = reply::children2(&names).unwrap();
    assert_eq!((children.iter().collect::<Vec<_>>(), parent), (vec!["x".into(), "yy".into()], stat));
    let acl = stat.write(Writer::record().i32(1).i32(31).text(b"world").text(b"anyone")).finish();
    let (list, _) = reply::acl(&acl).unwrap();
    assert!(list.is_open());
    let path = stat.write(Writer::record().text(b"/p")).finish();
    assert_eq!(reply::path(&path), Ok("/p".into()));
    assert_eq!(reply::path_and_stat(&path), Ok(("/p".into(), stat)));
}

#[test]
fn an_event_is_read_as_it_was_written() {
    for number in [-1, 1, 2, 3, 4, 5, 6, 7, 99] {
        let event = WatchEvent { kind: EventType::from_wire(number), state: 3, path: "/a".into() };
        assert_eq!(event.kind.to_wire(), number);
        let frame = event.encode(-1);
        assert_eq!(reply_header(open(&frame)), Ok(ReplyHeader { xid: -1, zxid: -1, err: 0 }));
        assert_eq!(WatchEvent::decode(open(&frame)), Ok(event));
    }
}

const LISTS: [List; 5] = [List::Data, List::Exist, List::Child, List::Persistent, List::Recursive];

proptest! {
    #[test]
    fn every_watch_is_set_once_in_chunks_that_fit(
        watches in prop::collection::vec((prop::sample::select(LISTS.to_vec()), "[a-z]{0,30}"), 0..60),
        limit in 40..200usize,
    ) {
        let frames = set_watches(42, watches.iter().map(|(list, path)| (*list, path.as_bytes())), limit);
        let mut found = Vec::new();
        for frame in &frames {
            let frame = open(frame);
            let header = request_header(frame).unwrap();
            prop_assert_eq!(header.xid, -8);
            let request = Request::decode(header.opcode, request_payload(frame)).unwrap();
            let (Request::SetWatches(lists) | Request::SetWatches2(lists)) = request else { panic!("watches") };
            prop_assert_eq!(lists.relative_zxid, 42);
            let all = [lists.data, lists.exist, lists.child, lists.persistent, lists.recursive];
            let persistent = all[3..].iter().flatten().any(|names| !names.is_empty());
            prop_assert_eq!(header.opcode, if persistent { 105 } else { 101 });
            let mut size = 0;
            for (kind, names) in LISTS.into_iter().zip(all) {
                for name in names.iter().flat_map(Names::iter) {
                    size += 4 + name.0.len();
                    found.push((kind, name.to_string()));
                }
            }
            prop_assert!(size > 0 && size <= limit, "{size} in one chunk of {limit}");
        }
        let mut expected = watches.clone();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
