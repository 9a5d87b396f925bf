//! The interpreter against itself: what is written is read back, in every version of every message.

use bytes::{Bytes, BytesMut};

use super::fill::{How, Seeded, message};
use super::messages;
use crate::kafka::wire::schema::Message;
use crate::kafka::wire::{Fault, Struct, request, response};

const ALL: How = How { nulls: true, unknown: true };

fn encode(m: &'static Message, version: i16, value: &Struct) -> Bytes {
    let mut out = BytesMut::new();
    m.encode(version, value, &mut out).unwrap_or_else(|e| panic!("{e}"));
    out.freeze()
}

#[test]
fn every_message_of_every_version_comes_back_as_it_was() {
    let mut rng = Seeded::new(1);
    for m in messages() {
        for version in m.versions() {
            for _ in 0..6 {
                let value = message(m, version, ALL, &mut rng);
                let bytes = encode(m, version, &value);
                let back = m.decode(version, &bytes).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(back, value, "{} v{version}", m.label());
                assert_eq!(encode(m, version, &back), bytes, "{} v{version}", m.label());
            }
        }
    }
}

#[test]
fn messages_of_defaults_come_back_too() {
    for m in messages() {
        for version in m.versions() {
            let bytes = encode(m, version, &m.new());
            assert_eq!(m.decode(version, &bytes).unwrap(), m.new(), "{} v{version}", m.label());
        }
    }
}

#[test]
fn every_truncated_prefix_is_an_error() {
    let mut rng = Seeded::new(2);
    for m in messages() {
        for version in m.versions() {
            let whole = encode(m, version, &message(m, version, ALL, &mut rng));
            // All of a short one, a spread of a long one.
            for cut in (0..whole.len()).step_by(1 + whole.len() / 200) {
                assert!(m.decode(version, &whole.slice(..cut)).is_err(), "{} v{version} {cut}", m.label());
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_an_error_or_the_rest() {
    let m = request(12).unwrap();
    let mut bytes = BytesMut::new();
    m.encode(4, &m.new(), &mut bytes).unwrap();
    let end = bytes.len();
    bytes.extend_from_slice(b"rest");
    let bytes = bytes.freeze();
    assert_eq!(m.decode(4, &bytes).unwrap_err().fault, Fault::Trailing(4));
    let mut at = 0;
    m.decode_prefix(4, &bytes, &mut at).unwrap();
    assert_eq!(at, end);
    let mut beyond = 1000;
    assert!(m.decode_prefix(4, &bytes, &mut beyond).is_err());
}

#[test]
fn a_version_that_is_not_known_is_an_error_both_ways() {
    for m in messages() {
        let (min, max) = m.versions().into_inner();
        for version in [i16::MIN, min - 1, max + 1, i16::MAX] {
            assert_eq!(m.decode(version, &Bytes::new()).unwrap_err().fault, Fault::Version);
            let mut out = BytesMut::from(&b"kept"[..]);
            assert_eq!(m.encode(version, &m.new(), &mut out).unwrap_err().fault, Fault::Version);
            assert_eq!(&out[..], b"kept");
        }
    }
}

#[test]
fn unknown_tags_are_kept_in_order_and_known_ones_written_only_when_set() {
    // FetchRequest v12: cluster_id is tag 0 at the top, the partitions of v12 have none.
    let m = request(1).unwrap();
    let mut value = m.new();
    value.set_unknown_tags(vec![(9, Bytes::from_static(b"nine")), (3, Bytes::from_static(b"three"))]);
    let without = encode(m, 12, &value);
    assert!(without.ends_with(b"\x02\x03\x05three\x09\x04nine"), "{without:?}");
    value.set_str("cluster_id", "c");
    let with = encode(m, 12, &value);
    assert!(with.ends_with(b"\x03\x00\x02\x02c\x03\x05three\x09\x04nine"), "{with:?}");
    let back = m.decode(12, &with).unwrap();
    assert_eq!(back.str("cluster_id"), Some("c"));
    assert_eq!(back.unknown_tags(), [(3, Bytes::from_static(b"three")), (9, Bytes::from_static(b"nine"))]);
    // Tag 1 is unknown to v12, and replica_state from v15 on: what is known there counts.
    let mut value = m.new();
    value.set_unknown_tags(vec![(1, Bytes::from_static(b"?"))]);
    assert!(encode(m, 12, &value).ends_with(b"\x01\x01\x01?"));
    assert!(encode(m, 15, &value).ends_with(b"\x00"));
    // A version without tagged fields has no place for them.
    assert_eq!(m.decode(11, &encode(m, 11, &value)).unwrap(), m.new());
}

#[test]
fn the_size_of_a_known_tag_must_be_what_it_takes() {
    let m = request(1).unwrap();
    let plain = encode(m, 12, &m.new());
    for tail in [&b"\x01\x00\x03\x02c"[..], b"\x01\x00\x03\x02c?", b"\x01\x00\x01\x02c"] {
        let mut bytes = plain[..plain.len() - 1].to_vec();
        bytes.extend(tail);
        assert!(m.decode(12, &bytes.into()).is_err(), "{tail:?}");
    }
}

#[test]
fn null_only_where_the_version_allows_it() {
    // Metadata request: topics may be null (all of them) from v1 on.
    let m = request(3).unwrap();
    let mut all = m.new();
    all.set_null("topics");
    let mut out = BytesMut::new();
    let error = m.encode(0, &all, &mut out).unwrap_err();
    assert_eq!((error.fault, error.field, out.len()), (Fault::Null, "topics", 0));
    assert_eq!(m.decode(0, &Bytes::from_static(b"\xff\xff\xff\xff")).unwrap_err().fault, Fault::Null);
    assert!(m.decode(1, &encode(m, 1, &all)).unwrap().is_null("topics"));
    // A structure: the cursor of DescribeTopicPartitions.
    let m = request(75).unwrap();
    let mut value = m.new();
    assert!(value.strukt("cursor").is_none());
    let mut cursor = value.new_struct("cursor");
    cursor.set_str("topic_name", "t");
    value.set_strukt("cursor", Some(cursor.clone()));
    assert_eq!(m.decode(0, &encode(m, 0, &value)).unwrap().strukt("cursor"), Some(&cursor));
}

#[test]
fn a_string_too_long_for_its_version_is_refused() {
    let m = request(12).unwrap();
    let mut value = m.new();
    value.set_str("group_id", &"g".repeat(32_768));
    let mut out = BytesMut::new();
    assert_eq!(m.encode(0, &value, &mut out).unwrap_err().fault, Fault::TooLong(32_768));
    assert!(out.is_empty());
    assert!(m.decode(4, &encode(m, 4, &value)).is_ok());
}

#[test]
fn strings_and_bytes_are_slices_of_the_frame() {
    let m = response(14).unwrap();
    let mut value = m.new();
    value.set_bytes("assignment", Some(Bytes::from_static(b"assignment")));
    let frame = encode(m, 0, &value);
    let back = m.decode(0, &frame).unwrap();
    let slice = back.bytes_field("assignment").unwrap();
    assert!(frame.as_ptr_range().contains(&slice.as_ptr()));
}
