//! Headers and whole frames.

use bytes::Bytes;

use crate::kafka::wire::header::correlation_id;
use crate::kafka::wire::{
    Fault, decode_request, decode_response, encode_request, encode_response, request, request_header,
    response, response_body_at,
};

#[test]
fn a_request_of_each_header_version() {
    // Header 1: Metadata v0, client id "me".
    let frame = b"\x00\x03\x00\x00\x00\x00\x00\x07\x00\x02me\x00\x00\x00\x00";
    let h = request_header(frame).unwrap();
    assert_eq!((h.api_key, h.api_version, h.correlation_id, h.body_at), (3, 0, 7, 12));
    assert_eq!(h.client_id(frame), Some(&b"me"[..]));
    // Header 2: the client id isn't compact, tagged fields follow it, even unknown ones.
    let frame = b"\x00\x03\x00\x09\xff\xff\xff\xff\x00\x02me\x01\x05\x03tag\x01\x00\x00\x00\x00";
    let h = request_header(frame).unwrap();
    assert_eq!((h.correlation_id, h.body_at), (-1, 18));
    assert_eq!(h.client_id(frame), Some(&b"me"[..]));
    // A null client id.
    let frame = b"\x00\x03\x00\x00\x00\x00\x00\x07\xff\xff";
    let h = request_header(frame).unwrap();
    assert_eq!((h.client_id.clone(), h.client_id(frame), h.body_at), (None, None, 10));
    // Header 0: ControlledShutdown v0, and nothing else.
    let h = request_header(b"\x00\x07\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05").unwrap();
    assert_eq!((h.client_id, h.body_at), (None, 8));
    // ApiVersions of a version of the future is flexible all the same.
    let h = request_header(b"\x00\x12\x00\x63\x00\x00\x00\x01\x00\x01c\x00\x02").unwrap();
    assert_eq!((h.api_version, h.body_at), (99, 12));
    // An API of the future: as far as anybody can read it.
    let h = request_header(b"\x01\x00\x00\x00\x00\x00\x00\x01\x00\x01cxyz").unwrap();
    assert_eq!((h.api_key, h.body_at), (256, 11));
}

#[test]
fn a_request_header_cut_short_is_an_error() {
    let frame = b"\x00\x03\x00\x09\xff\xff\xff\xff\x00\x02me\x01\x05\x03tag";
    for cut in 0..frame.len() {
        assert!(request_header(&frame[..cut]).is_err(), "{cut}");
    }
    assert!(request_header(frame).is_ok());
    assert!(request_header(b"\x00\x03\x00\x00\x00\x00\x00\x07\xff\xfe").is_err(), "a length of -2");
}

#[test]
fn frames_of_every_version_there_and_back() {
    for key in 0..=92 {
        let (Some(q), Some(a)) = (request(key), response(key)) else { continue };
        for version in q.versions() {
            let frame = encode_request(key, version, 42, "client", &q.new()).unwrap();
            let (header, body) = decode_request(&frame).unwrap();
            assert_eq!((header.api_key, header.api_version, header.correlation_id), (key, version, 42));
            assert_eq!((header.client_id(&frame), &body), (Some(&b"client"[..]), &q.new()));
            assert_eq!(header.body_at, 16 + usize::from(q.is_flexible(version)));

            let frame = encode_response(key, version, 43, &a.new()).unwrap();
            assert_eq!(decode_response(key, version, &frame).unwrap(), (43, a.new()));
            assert_eq!(correlation_id(&frame).unwrap(), 43);
            let tags = usize::from(a.is_flexible(version) && key != 18);
            assert_eq!(response_body_at(key, version, &frame).unwrap(), 4 + tags);
        }
    }
}

#[test]
fn an_answer_to_api_versions_has_no_tags_in_its_header() {
    let frame = encode_response(18, 3, 9, &response(18).unwrap().new()).unwrap();
    // Correlation id, error code, no entries, throttle time, no tags.
    assert_eq!(&frame[..], b"\x00\x00\x00\x09\x00\x00\x01\x00\x00\x00\x00\x00");
}

#[test]
fn tags_in_an_answers_header_are_skipped() {
    assert_eq!(response_body_at(3, 9, b"\x00\x00\x00\x09\x01\x02\x03abcrest").unwrap(), 10);
    assert_eq!(response_body_at(3, 8, b"\x00\x00\x00\x09rest").unwrap(), 4);
}

#[test]
fn what_is_not_for_clients_is_an_error() {
    let body = request(3).unwrap().new();
    for key in [-1, 4, 62, 93, i16::MAX] {
        let unknown = Fault::UnknownApi(key);
        assert_eq!(encode_request(key, 0, 1, "c", &body).unwrap_err().fault, unknown);
        assert_eq!(encode_response(key, 0, 1, &body).unwrap_err().fault, unknown);
        assert_eq!(response_body_at(key, 0, &[0; 8]).unwrap_err().fault, unknown);
        assert_eq!(decode_response(key, 0, &Bytes::from_static(&[0; 8])).unwrap_err().fault, unknown);
    }
    assert_eq!(encode_request(10, 0, 1, "c", &body).unwrap_err().fault, Fault::Type);
    assert!(matches!(
        encode_request(3, 0, 1, &"c".repeat(40_000), &body).unwrap_err().fault,
        Fault::TooLong(40_000)
    ));
}
