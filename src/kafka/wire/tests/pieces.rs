//! Requests in pieces are the same bytes as in one, and long fields in them are not copied.

use crate::kafka::wire::{Struct, request};
use bytes::{Bytes, BytesMut};

const HEAD: &[u8] = b"header";

fn produce(records: &[Option<Bytes>]) -> Struct {
    let mut body = request(0).unwrap().new();
    body.set_i16("acks", -1);
    for (index, records) in (0..).zip(records) {
        let mut topic = body.new_struct("topic_data");
        topic.set_str("name", "t");
        let mut partition = topic.new_struct("partition_data");
        partition.set_i32("index", index);
        partition.set_bytes("records", records.clone());
        topic.push_struct("partition_data", partition);
        body.push_struct("topic_data", topic);
    }
    body
}

fn pieces(version: i16, body: &Struct) -> Vec<Bytes> {
    request(0).unwrap().encode_pieces(version, body, BytesMut::from(HEAD)).unwrap()
}

fn whole(version: i16, body: &Struct) -> Vec<u8> {
    let mut out = BytesMut::from(HEAD);
    request(0).unwrap().encode(version, body, &mut out).unwrap();
    out.to_vec()
}

#[test]
fn pieces_are_the_same_bytes() {
    let of = |len: usize, fill| Some(Bytes::from(vec![fill; len]));
    let bodies = [
        produce(&[]),
        produce(&[None]),
        produce(&[of(0, 1), of(4095, 2)]),
        produce(&[of(4096, 1)]),
        produce(&[of(100_000, 1), of(10, 2), None, of(5_000, 3), of(4096, 4)]),
    ];
    for version in 3..=12 {
        for body in &bodies {
            assert_eq!(pieces(version, body).concat(), whole(version, body), "version {version}");
        }
    }
}

#[test]
fn long_records_are_pieces_of_their_own_and_short_ones_are_copied() {
    let (long, short) = (Bytes::from(vec![1; 4096]), Bytes::from(vec![2; 4095]));
    let sent = pieces(9, &produce(&[Some(long.clone()), Some(short.clone()), Some(long.slice(..))]));
    let slices = sent.iter().filter(|piece| piece.as_ptr() == long.as_ptr()).count();
    assert_eq!((sent.len(), slices), (5, 2));
    assert!(sent.iter().all(|piece| piece.as_ptr() != short.as_ptr()));
    assert_eq!(pieces(9, &produce(&[Some(short)])).len(), 1);
}

#[test]
fn what_cannot_be_written_has_no_pieces() {
    let body = produce(&[Some(Bytes::from(vec![1; 5_000]))]);
    assert!(request(0).unwrap().encode_pieces(99, &body, BytesMut::new()).is_err());
}
