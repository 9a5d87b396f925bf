//! The scans by hand against the interpreter: on any message both see the same.

use bytes::{Bytes, BytesMut};

use super::fill::{How, Seeded, message};
use crate::kafka::wire::schema::Message;
use crate::kafka::wire::{Fault, Struct, TopicRef, fetch, produce, request, response};

const HOW: How = How { nulls: true, unknown: true };
const ROUNDS: usize = 40;

fn encode(m: &'static Message, version: i16, value: &Struct) -> Bytes {
    let mut out = BytesMut::new();
    m.encode(version, value, &mut out).unwrap();
    out.freeze()
}

fn topic<'a>(of: &'a Struct, name: &str, by_id: bool) -> TopicRef<'a> {
    if by_id { TopicRef::Id(of.uuid("topic_id")) } else { TopicRef::Name(of.bytes_field(name).unwrap()) }
}

/// Every pair of a topic and a partition of it.
fn pairs<'a>(
    value: &'a Struct,
    topics: &'static str,
    partitions: &'static str,
) -> impl Iterator<Item = (&'a Struct, &'a Struct)> {
    value.structs(topics).flat_map(move |t| t.structs(partitions).map(move |p| (t, p)))
}

fn leader(partition: &Struct, version: i16, first: i16) -> Option<(i32, i32)> {
    let leader = partition.strukt("current_leader")?;
    let set = (leader.i32("leader_id"), leader.i32("leader_epoch"));
    let set_apart = !leader.unknown_tags().is_empty() || set != (-1, -1);
    (version >= first && set_apart).then_some(set)
}

#[test]
fn produce_requests() {
    let m = request(0).unwrap();
    assert_eq!(m.versions(), produce::VERSIONS);
    let mut rng = Seeded::new(4);
    for version in produce::VERSIONS {
        let mut seen_any = 0;
        for _ in 0..ROUNDS {
            let value = message(m, version, HOW, &mut rng);
            let body = encode(m, version, &value);
            let mut seen = Vec::new();
            let head = produce::scan_request(version, &body, &mut |p| {
                let from_place = p.records.map(|r| &body[p.records_at..p.records_at + r.len()]);
                assert_eq!(from_place, p.records);
                seen.push((p.topic, p.partition, p.records));
            })
            .unwrap();
            let expected: Vec<_> = pairs(&value, "topic_data", "partition_data")
                .map(|(t, p)| {
                    (
                        topic(t, "name", version >= 13),
                        p.i32("index"),
                        p.bytes_field("records").map(|r| &r[..]),
                    )
                })
                .collect();
            assert_eq!(seen, expected, "v{version}");
            seen_any += seen.len();
            assert_eq!((head.acks, head.timeout_ms), (value.i16("acks"), value.i32("timeout_ms")));
            assert_eq!(body[head.acks_at..head.acks_at + 2], head.acks.to_be_bytes());
            assert_eq!(body[head.acks_at + 2..head.acks_at + 6], head.timeout_ms.to_be_bytes());
            assert_eq!(head.transactional, !value.is_null("transactional_id"));
            assert_eq!(produce::request_head(version, &body).unwrap(), head);
            for cut in 0..body.len() {
                assert!(
                    produce::scan_request(version, &body[..cut], &mut |_| {}).is_err(),
                    "v{version} {cut}"
                );
            }
        }
        assert!(seen_any > ROUNDS, "v{version}");
    }
}

#[test]
fn produce_answers() {
    let m = response(0).unwrap();
    let mut rng = Seeded::new(5);
    let (mut errors, mut endpoints, mut leaders) = (0, 0, 0);
    for version in produce::VERSIONS {
        for round in 0..ROUNDS {
            let mut value = message(m, version, HOW, &mut rng);
            if round % 2 == 0 {
                for t in value.structs_mut("responses") {
                    t.structs_mut("partition_responses").for_each(|p| p.set_i16("error_code", 0));
                }
            }
            let body = encode(m, version, &value);
            let mut seen = Vec::new();
            let answer = produce::scan_response(version, &body, &mut |p| {
                let code = [body[p.error_code_at], body[p.error_code_at + 1]];
                assert_eq!(i16::from_be_bytes(code), p.error_code);
                seen.push((p.topic, p.partition, p.error_code, p.base_offset, p.current_leader));
            })
            .unwrap();
            let expected: Vec<_> = pairs(&value, "responses", "partition_responses")
                .map(|(t, p)| {
                    let (code, offset) = (p.i16("error_code"), p.i64("base_offset"));
                    (topic(t, "name", version >= 13), p.i32("index"), code, offset, leader(p, version, 10))
                })
                .collect();
            assert_eq!(seen, expected, "v{version}");
            assert_eq!(answer.any_error, expected.iter().any(|p| p.2 != 0));
            assert_eq!(answer.has_node_endpoints, version >= 10 && !value.array("node_endpoints").is_empty());
            errors += usize::from(answer.any_error);
            endpoints += usize::from(answer.has_node_endpoints);
            leaders += expected.iter().filter(|p| p.4.is_some()).count();
            for cut in 0..body.len() {
                assert!(
                    produce::scan_response(version, &body[..cut], &mut |_| {}).is_err(),
                    "v{version} {cut}"
                );
            }
        }
    }
    assert!(errors > 50 && endpoints > 20 && leaders > 20, "{errors} {endpoints} {leaders}");
}

#[test]
fn fetch_requests() {
    let m = request(1).unwrap();
    assert_eq!(m.versions(), fetch::VERSIONS);
    let mut rng = Seeded::new(6);
    let mut gone = 0;
    for version in fetch::VERSIONS {
        for _ in 0..ROUNDS {
            let value = message(m, version, HOW, &mut rng);
            let body = encode(m, version, &value);
            let mut seen = Vec::new();
            let head = fetch::scan_request(version, &body, &mut |p| {
                seen.push((p.topic, p.partition, p.current_leader_epoch, p.fetch_offset));
            })
            .unwrap();
            let by_id = version >= 13;
            let expected: Vec<_> = pairs(&value, "topics", "partitions")
                .map(|(t, p)| {
                    let (epoch, offset) = (p.i32("current_leader_epoch"), p.i64("fetch_offset"));
                    (topic(t, "topic", by_id), p.i32("partition"), epoch, offset)
                })
                .collect();
            assert_eq!(seen, expected, "v{version}");
            let mut forgotten = Vec::new();
            let again = fetch::scan_forgotten(version, &body, &mut |t, p| forgotten.push((t, p))).unwrap();
            let expected: Vec<_> = value
                .structs("forgotten_topics_data")
                .flat_map(|t| t.i32s("partitions").into_iter().map(move |p| (topic(t, "topic", by_id), p)))
                .collect();
            assert_eq!((&forgotten, head.forgotten, again), (&expected, expected.len(), head), "v{version}");
            gone += forgotten.len();
            let replica = if version <= 14 {
                value.i32("replica_id")
            } else {
                value.strukt("replica_state").unwrap().i32("replica_id")
            };
            let no_rack = version >= 11 && value.str("rack_id") == Some("");
            assert_eq!(head.empty_rack_at.is_some(), no_rack, "v{version}");
            let expected = fetch::FetchHead {
                empty_rack_at: head.empty_rack_at,
                replica_id: replica,
                max_wait_ms: value.i32("max_wait_ms"),
                min_bytes: value.i32("min_bytes"),
                max_bytes: value.i32("max_bytes"),
                isolation_level: value.i8("isolation_level"),
                session_id: value.i32("session_id"),
                session_epoch: value.i32("session_epoch"),
                forgotten: forgotten.len(),
            };
            assert_eq!(head, expected, "v{version}");
            for cut in 0..body.len() {
                assert!(fetch::scan_request(version, &body[..cut], &mut |_| {}).is_err(), "v{version} {cut}");
            }
        }
    }
    assert!(gone > 100);
}

#[test]
fn an_empty_rack_is_filled_and_nothing_else() {
    let m = request(1).unwrap();
    let mut rng = Seeded::new(6);
    for version in fetch::VERSIONS {
        for round in 0..ROUNDS {
            let mut value = message(m, version, HOW, &mut rng);
            let given = round % 2 == 1;
            value.set_str("rack_id", if given { "own" } else { "" });
            let zone = "z".repeat(1 + 20 * round);
            let mut frame = BytesMut::from(&b"header"[..]);
            frame.extend_from_slice(&encode(m, version, &value));
            let changed = fetch::fill_rack(version, 6, &mut frame, zone.as_bytes());
            assert_eq!(changed, version >= 11 && !given, "v{version}");
            if changed {
                value.set_str("rack_id", &zone);
            }
            assert_eq!(&frame[6..], encode(m, version, &value), "v{version}");
            assert_eq!(&frame[..6], b"header");
        }
    }
}

#[test]
fn fetch_answers() {
    let m = response(1).unwrap();
    let mut rng = Seeded::new(7);
    let (mut diverged, mut endpoints, mut leaders) = (0, 0, 0);
    for version in fetch::VERSIONS {
        for _ in 0..ROUNDS {
            let value = message(m, version, HOW, &mut rng);
            let body = encode(m, version, &value);
            let mut seen = Vec::new();
            let answer = fetch::scan_response(version, &body, &mut |p| seen.push(p)).unwrap();
            let default = m.new().new_struct("responses").new_struct("partitions");
            let expected: Vec<_> = pairs(&value, "responses", "partitions")
                .map(|(t, p)| fetch::FetchedPartition {
                    topic: topic(t, "topic", version >= 13),
                    partition: p.i32("partition_index"),
                    error_code: p.i16("error_code"),
                    high_watermark: p.i64("high_watermark"),
                    preferred_read_replica: p.i32("preferred_read_replica"),
                    records_len: p.bytes_field("records").map(Bytes::len),
                    has_diverging_epoch: p.strukt("diverging_epoch") != default.strukt("diverging_epoch"),
                    current_leader: leader(p, version, 12),
                })
                .collect();
            assert_eq!(seen, expected, "v{version}");
            assert_eq!(
                (answer.error_code, answer.session_id),
                (value.i16("error_code"), value.i32("session_id"))
            );
            assert_eq!(answer.any_error, expected.iter().any(|p| p.error_code != 0));
            assert_eq!(answer.has_node_endpoints, version >= 16 && !value.array("node_endpoints").is_empty());
            diverged += expected.iter().filter(|p| p.has_diverging_epoch).count();
            endpoints += usize::from(answer.has_node_endpoints);
            leaders += expected.iter().filter(|p| p.current_leader.is_some()).count();
            for cut in (0..body.len()).step_by(3) {
                assert!(
                    fetch::scan_response(version, &body[..cut], &mut |_| {}).is_err(),
                    "v{version} {cut}"
                );
            }
        }
    }
    assert!(diverged > 50 && endpoints > 20 && leaders > 50, "{diverged} {endpoints} {leaders}");
}

#[test]
fn versions_that_are_not_known_are_errors() {
    for version in [i16::MIN, -1, 14, i16::MAX] {
        assert_eq!(produce::request_head(version, &[0; 99]).unwrap_err().fault, Fault::Version);
        assert_eq!(produce::scan_request(version, &[0; 99], &mut |_| {}).unwrap_err().fault, Fault::Version);
        assert_eq!(produce::scan_response(version, &[0; 99], &mut |_| {}).unwrap_err().fault, Fault::Version);
    }
    for version in [i16::MIN, -1, 19, i16::MAX] {
        assert_eq!(fetch::scan_request(version, &[0; 99], &mut |_| {}).unwrap_err().fault, Fault::Version);
        assert_eq!(fetch::scan_response(version, &[0; 99], &mut |_| {}).unwrap_err().fault, Fault::Version);
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    for (key, version) in [(0, 3), (0, 9), (1, 4), (1, 12)] {
        let mut q = encode(request(key).unwrap(), version, &request(key).unwrap().new()).to_vec();
        let mut a = encode(response(key).unwrap(), version, &response(key).unwrap().new()).to_vec();
        q.push(0);
        a.push(0);
        let faults = if key == 0 {
            [
                produce::scan_request(version, &q, &mut |_| {}).err(),
                produce::scan_response(version, &a, &mut |_| {}).err(),
            ]
        } else {
            [
                fetch::scan_request(version, &q, &mut |_| {}).err(),
                fetch::scan_response(version, &a, &mut |_| {}).err(),
            ]
        };
        assert_eq!(faults.map(|e| e.unwrap().fault), [Fault::Trailing(1); 2]);
    }
}
