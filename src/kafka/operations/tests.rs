//! The table is whole and agrees with the messages that it is about.

use super::*;
use crate::kafka::wire;
use crate::kafka::wire::schema::{Kind, StructDef};
use std::path::Path;

#[test]
fn every_key_has_one_row_and_clients_find_theirs() {
    let keys: Vec<i16> = OPERATIONS.iter().map(|row| row.key).collect();
    let known: Vec<i16> = (0..=i16::MAX).take_while(|key| wire::api_name(*key) != "Unknown").collect();
    assert_eq!(keys, known, "a row for each key of the message descriptions, sorted");
    for key in known {
        assert_eq!(row(key).map(|found| found.key), Some(key));
        let offered = operation(key).is_some();
        assert_eq!(offered, row(key).unwrap().route != Route::Internal);
        assert!(!offered || wire::request(key).is_some(), "{key} is offered, and its layout isn't known");
    }
    assert!(operation(-1).is_none() && operation(999).is_none());
}

#[test]
fn no_code_stands_twice_and_none_that_tells_of_the_client_is_absorbed() {
    for row in OPERATIONS {
        let mut codes: Vec<i16> = row.absorbs.iter().map(|(code, _)| *code).collect();
        codes.dedup();
        assert!(codes.is_sorted() && codes.len() == row.absorbs.len(), "{}", row.key);
        for never in [29, 30, 31, 44, 89] {
            assert_eq!(row.absorbed(never), None, "{}", row.key);
        }
    }
}

fn has_host(def: &'static StructDef) -> bool {
    let has = |name| def.fields.iter().any(|field| field.name == name);
    (has("host") && has("port")) || def.fields.iter().any(|field| nested(&field.kind).is_some_and(has_host))
}

fn nested(kind: &'static Kind) -> Option<&'static StructDef> {
    match kind {
        Kind::Struct(def) => Some(def),
        Kind::Array(of) => nested(of),
        _ => None,
    }
}

/// `host` and `port` in an answer are an address of a node, unless it is an application's own.
#[test]
fn every_answer_with_a_host_is_marked_and_says_where() {
    for row in OPERATIONS.iter().filter(|row| row.route != Route::Internal) {
        let answer = wire::response(row.key).unwrap().new();
        let applications_own = matches!(row.key, 88 | 89);
        let expected = has_host(answer.def()) && !applications_own;
        assert_eq!(!row.addresses.is_empty(), expected, "{} {}", row.key, wire::api_name(row.key));
        for at in row.addresses {
            let holder = if *at == "." { answer.clone() } else { answer.new_struct(at) };
            assert!(has_host(holder.def()), "{} has no host in {at}", row.key);
        }
    }
}

#[test]
fn kafka_operations_in_the_documentation_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kafka-operations.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/kafka-operations.md is not what the table says; BLESS=1 cargo test kafka_operations writes it"
    );
}
