//! The schema: that its data reads whole, and what the bounds of the interpreter rest on.

use std::collections::BTreeSet;

use crate::kafka::wire::decode::{VALUES_FREE, VALUES_PER_BYTE};
use crate::kafka::wire::schema::{self, Kind, StructDef};
use crate::kafka::wire::{api_name, request, response};

#[test]
fn the_schema_reads_whole() {
    let apis = schema::load().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(apis.iter().map(|a| a.key).collect::<Vec<_>>(), (0..=92).collect::<Vec<i16>>());
    let inner: BTreeSet<i16> = apis.iter().filter(|a| a.request.is_none()).map(|a| a.key).collect();
    // What only brokers and controllers send to each other.
    let expected = [4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82];
    assert_eq!(inner, expected.into());
    for api in &apis {
        assert_eq!(api.request.is_some(), api.response.is_some(), "{}", api.name);
        if let (Some(q), Some(a)) = (api.request, api.response) {
            assert_eq!(q.versions(), a.versions(), "{}", api.name);
            assert_eq!(q.flexible, a.flexible, "{}", api.name);
        }
    }
    assert_eq!((api_name(0), api_name(92), api_name(93)), ("Produce", "DeleteShareGroupOffsets", "Unknown"));
    assert_eq!(api_name(-1), "Unknown");
    assert!(request(93).is_none() && request(-1).is_none() && request(i16::MIN).is_none());
    assert_eq!(request(0).unwrap().versions(), 0..=13);
    assert_eq!(response(18).unwrap().versions(), 0..=4);
}

/// The fewest bytes that one takes on the wire.
fn least(kind: Kind, version: i16, flexible: bool, nullable: bool) -> usize {
    match kind {
        Kind::Bool | Kind::I8 => 1,
        Kind::I16 | Kind::U16 => 2,
        Kind::I32 | Kind::U32 => 4,
        Kind::I64 | Kind::F64 => 8,
        Kind::Uuid => 16,
        Kind::Str => {
            if flexible {
                1
            } else {
                2
            }
        }
        Kind::Bytes | Kind::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct(_) if nullable => 1,
        Kind::Struct(def) => least_of(def, version, flexible),
    }
}

fn least_of(def: &StructDef, version: i16, flexible: bool) -> usize {
    let fields = def.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
    let nullable = |n: Option<schema::Span>| n.is_some_and(|n| n.contains(version));
    fields.map(|f| least(f.kind, version, flexible, nullable(f.nullable))).sum::<usize>()
        + usize::from(flexible)
}

/// What decoding one is charged: itself, and the structures that it always holds.
fn charge_of(def: &StructDef, version: i16) -> usize {
    let inner = |f: &schema::FieldDef| match f.kind {
        Kind::Struct(def) if f.versions.contains(version) && f.tag.is_none() && f.nullable.is_none() => {
            charge_of(def, version)
        }
        _ => 0,
    };
    def.weight + def.fields.iter().map(inner).sum::<usize>()
}

/// Every structure, at its smallest: what decoding it is charged stays within what its bytes allow.
#[test]
fn no_honest_structure_meets_the_bound_on_values() {
    fn walk(def: &'static StructDef, version: i16, flexible: bool, worst: &mut (usize, usize, &'static str)) {
        for f in def.fields.iter().filter(|f| f.versions.contains(version)) {
            // A structure in an array costs one more, one in a field has a tag or a byte that says whether it is null.
            let (def, values, bytes) = match f.kind {
                Kind::Array(&Kind::Struct(def)) => (def, 1, 0),
                Kind::Struct(def) if f.tag.is_some() || f.nullable.is_some() => (def, 0, 1),
                Kind::Struct(def) => (def, 0, 0),
                _ => continue,
            };
            let bytes = bytes + least_of(def, version, flexible);
            assert!(bytes > 0, "{} v{version}: an element without bytes", def.name);
            let values = values + charge_of(def, version);
            if values * worst.1 > worst.0 * bytes {
                *worst = (values, bytes, def.name);
            }
            walk(def, version, flexible, worst);
        }
    }
    let mut worst = (0, 1, "");
    for m in (0..=92).flat_map(|key| [request(key), response(key)]).flatten() {
        for version in m.versions() {
            assert!(charge_of(m.root, version) <= VALUES_FREE, "{}", m.label());
            walk(m.root, version, m.is_flexible(version), &mut worst);
        }
    }
    let (values, bytes, name) = worst;
    assert!(values <= VALUES_PER_BYTE * bytes, "{name}: {values} values in {bytes} bytes");
}
