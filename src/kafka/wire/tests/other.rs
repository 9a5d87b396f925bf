//! The interpreter against another implementation, the kafka-protocol crate, generated from Kafka's descriptions in its
//! own way: both must read and write the same bytes. It knows the versions of Kafka 4.1, not those that 4.0 removed.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use super::fill::{How, Seeded, message};
use crate::kafka::wire::schema::Message;
use crate::kafka::wire::{request, response};

fn ours(m: &'static Message, version: i16, rng: &mut Seeded, how: How) -> Bytes {
    let mut out = BytesMut::new();
    m.encode(version, &message(m, version, how, rng), &mut out).unwrap();
    out.freeze()
}

/// Reads with the other implementation, and writes what it has read; `None` where it has the API but not this version
/// (it lists a few that its messages then refuse).
macro_rules! theirs {
    ($kind:ident, $key:expr, $version:expr, $bytes:expr) => {{
        let mut rest = $bytes.clone();
        match $kind::decode($key, &mut rest, $version) {
            Err(e) if format!("{e:#}").contains("specified version not supported") => None,
            Err(e) => panic!("{:?} v{}: {e:#}", $key, $version),
            Ok(read) => {
                assert!(rest.is_empty(), "{:?} v{}: {} bytes not read", $key, $version, rest.len());
                let mut written = BytesMut::new();
                read.encode(&mut written, $version)
                    .unwrap_or_else(|e| panic!("{read:?} v{}: {e:#}", $version));
                Some(written.freeze())
            }
        }
    }};
}

#[test]
fn the_other_implementation_reads_and_writes_the_same_bytes() {
    let how = How { nulls: true, unknown: true };
    let mut rng = Seeded::new(3);
    let (mut compared, mut apis, mut refused) = (0, 0, Vec::new());
    for key in ApiKey::iter() {
        let number = key as i16;
        let (Some(q), Some(a)) = (request(number), response(number)) else { continue };
        apis += 1;
        let range = key.valid_versions();
        for version in q.versions().filter(|v| (range.min..=range.max).contains(v)) {
            for _ in 0..4 {
                let asked = ours(q, version, &mut rng, how);
                let answered = ours(a, version, &mut rng, how);
                for (m, bytes, theirs) in [
                    (q, &asked, theirs!(RequestKind, key, version, asked)),
                    (a, &answered, theirs!(ResponseKind, key, version, answered)),
                ] {
                    match theirs {
                        None => refused.push((m.label(), version)),
                        Some(theirs) => {
                            assert_eq!(&theirs, bytes, "{} v{version}", m.label());
                            compared += 1;
                        }
                    }
                }
            }
            assert_eq!(key.request_header_version(version), if q.is_flexible(version) { 2 } else { 1 });
            let tagged = a.is_flexible(version) && number != 18;
            assert_eq!(key.response_header_version(version), i16::from(tagged), "{}", a.label());
        }
    }
    refused.dedup();
    assert!(refused.len() < 12, "{refused:?}");
    assert!(apis > 70 && compared > 1500, "{apis} APIs, {compared} messages");
}
