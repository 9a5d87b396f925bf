//! Bytes that nobody honest sends: no panic, and no more memory than the bytes are worth.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::fill::{How, Seeded, message};
use super::messages;
use crate::kafka::wire::decode::{VALUES_FREE, VALUES_PER_BYTE};
use crate::kafka::wire::schema::Message;
use crate::kafka::wire::{
    Fault, Struct, Value, batch, decode_request, decode_response, fetch, produce, request, request_header,
    response_body_at,
};

/// How many values there are.
fn count(s: &Struct) -> usize {
    let inner = |v: &Value| match v {
        Value::Struct(Some(s)) => count(s),
        Value::Array(Some(a)) => {
            1 + a.iter().map(|v| if let Value::Struct(Some(s)) = v { count(s) } else { 1 }).sum::<usize>()
        }
        _ => 1,
    };
    s.unknown_tags().len() + s.def().fields.iter().filter_map(|f| s.get(f.name)).map(inner).sum::<usize>()
}

fn check(m: &'static Message, version: i16, bytes: &Bytes) {
    if let Ok(value) = m.decode(version, bytes) {
        assert!(count(&value) <= VALUES_FREE + VALUES_PER_BYTE * bytes.len(), "{} v{version}", m.label());
        // What was read can be written.
        m.encode(version, &value, &mut BytesMut::new()).unwrap();
    }
    match m.api_key() {
        0 => {
            let _ = produce::request_head(version, bytes);
            let _ = produce::scan_request(version, bytes, &mut |p| {
                assert!(p.records_at <= bytes.len());
                batch::headers(p.records.unwrap_or(&[])).for_each(drop);
            });
            let _ =
                produce::scan_response(version, bytes, &mut |p| assert!(p.error_code_at + 2 <= bytes.len()));
        }
        1 => {
            let _ = fetch::scan_request(version, bytes, &mut |_| {});
            let _ = fetch::scan_forgotten(version, bytes, &mut |_, _| {});
            let _ = fetch::scan_response(version, bytes, &mut |_| {});
        }
        _ => {}
    }
}

fn any_message() -> impl Strategy<Value = (&'static Message, i16)> {
    let all: Vec<_> = messages().flat_map(|m| m.versions().map(move |v| (m, v))).collect();
    prop_oneof![
        3 => prop::sample::select(all.clone()),
        // The hot ones more often.
        1 => prop::sample::select(all.into_iter().filter(|(m, _)| m.api_key() < 2).collect::<Vec<_>>()),
    ]
}

/// Bytes, half of them those that lengths and counts are made of.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let often = |byte: u16| {
        let [kind, byte] = byte.to_be_bytes();
        if kind & 1 == 0 { byte } else { [0, 1, 2, 0xff, 0x7f, 0x80][usize::from(byte) % 6] }
    };
    prop::collection::vec(any::<u16>(), 0..300).prop_map(move |bytes| bytes.into_iter().map(often).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn arbitrary_bytes((m, version) in any_message(), bytes in noise()) {
        check(m, version, &bytes.into());
    }

    #[test]
    fn broken_messages(
        (m, version) in any_message(),
        seed in any::<u64>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = BytesMut::new();
        let value = message(m, version, How { nulls: true, unknown: true }, &mut Seeded::new(seed));
        m.encode(version, &value, &mut bytes).unwrap();
        let mut bytes = bytes.to_vec();
        for (at, byte) in changes {
            if let Some(place) = at.index(bytes.len() + 1).checked_sub(1) {
                bytes[place] = byte;
            }
        }
        check(m, version, &bytes.into());
    }

    #[test]
    fn arbitrary_frames(api in 0i16..100, version in -1i16..20, bytes in noise()) {
        let bytes = Bytes::from(bytes);
        let mut frame = Vec::from(api.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(&bytes);
        if let Ok(header) = request_header(&frame) {
            prop_assert!(header.body_at <= frame.len());
            let _ = header.client_id(&frame);
        }
        let _ = decode_request(&frame.into());
        let _ = response_body_at(api, version, &bytes);
        let _ = decode_response(api, version, &bytes);
    }
}

#[test]
fn every_version_of_everything_survives_each_constant_byte() {
    for m in messages() {
        for version in m.versions() {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                for length in [0, 1, 7, 64, 1000] {
                    check(m, version, &vec![byte; length].into());
                }
            }
        }
    }
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_anything_is_made() {
    // Metadata request v1: an array of names; v9: the same, compact.
    let m = request(3).unwrap();
    let error = m.decode(1, &Bytes::from_static(b"\x7f\xff\xff\xff")).unwrap_err();
    assert_eq!((error.fault, error.field, error.at), (Fault::Length(0x7fff_ffff), "topics", 4));
    assert_eq!(error.message, "Metadata request");
    let error = m.decode(9, &Bytes::from_static(b"\xff\xff\xff\xff\x0f")).unwrap_err();
    assert_eq!(error.fault, Fault::Length(0xffff_fffe));
    let error = m.decode(9, &Bytes::from_static(b"\xff\xff\xff\xff\x1f")).unwrap_err();
    assert_eq!(error.fault, Fault::Varint);
    let error = m.decode(9, &Bytes::from_static(b"\x80\x80\x80\x80\x80\x01")).unwrap_err();
    assert_eq!(error.fault, Fault::Varint);
}

#[test]
fn values_are_bounded_by_bytes() {
    // Unknown tags of no size are the cheapest values: two bytes for each. Those are within the bound.
    let m = request(18).unwrap();
    let mut bytes = BytesMut::new();
    let mut value = m.new();
    value.set_unknown_tags((100..50_100).map(|n| (n, Bytes::new())).collect());
    m.encode(3, &value, &mut bytes).unwrap();
    let back = m.decode(3, &bytes.freeze()).unwrap();
    assert_eq!(back.unknown_tags().len(), 50_000);
    // The total has a bound as well: a thousand empty names of topics to delete.
    let m = request(20).unwrap();
    let mut bytes = BytesMut::from(&1000u32.to_be_bytes()[..]);
    bytes.resize(4 + 2 * 1000 + 4, 0);
    let bytes = bytes.freeze();
    assert_eq!(m.decode(1, &bytes).unwrap().array("topic_names").len(), 1000);
    assert_eq!(m.decode_at_most(1, &bytes, &mut 0, 1000).unwrap_err().fault, Fault::TooMany);
    assert!(m.decode_at_most(1, &bytes, &mut 0, 1000 + m.new().def().fields.len() + 1).is_ok());
}
