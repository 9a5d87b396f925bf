//! Messages with every field of a version set to something, from a seed.

use bytes::Bytes;

use crate::kafka::wire::schema::{Kind, Message, StructDef};
use crate::kafka::wire::{Struct, Value};

/// A small generator of the splitmix kind: the same numbers everywhere, for ever.
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn text(&mut self) -> Bytes {
        // Now and then longer than what a length of one byte says.
        let length = if self.below(20) == 0 { 200 } else { self.below(12) };
        (0..length).map(|_| b'a' + self.next().to_le_bytes()[0] % 26).collect()
    }
}

/// How a message is filled.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Whether what may be null sometimes is.
    pub(super) nulls: bool,
    /// Whether there are tagged fields that the schema doesn't know.
    pub(super) unknown: bool,
}

/// A message whose fields of `version` are filled; the others have their defaults.
pub(super) fn message(message: &'static Message, version: i16, how: How, rng: &mut Seeded) -> Struct {
    let root = message.new();
    let mut filler = Filler { version, flexible: message.is_flexible(version), how, rng };
    filler.structure(root.def())
}

struct Filler<'r> {
    version: i16,
    flexible: bool,
    how: How,
    rng: &'r mut Seeded,
}

impl Filler<'_> {
    fn structure(&mut self, def: &'static StructDef) -> Struct {
        let mut out = Struct::new(def);
        let version = self.version;
        for field in def.fields.iter().filter(|f| f.versions.contains(version)) {
            let nullable = field.nullable.is_some_and(|n| n.contains(version));
            if field.tag.is_some() && self.rng.below(3) == 0 {
                continue;
            }
            *out.get_mut(field.name).unwrap() = self.value(field.kind, nullable);
        }
        if self.flexible && self.how.unknown && self.rng.below(3) == 0 {
            let mut tags =
                vec![(100, Bytes::new()), (101, Bytes::from_static(b"tag")), (70_000, self.rng.text())];
            tags.truncate(self.rng.below(4));
            out.set_unknown_tags(tags);
        }
        out
    }

    fn value(&mut self, kind: Kind, nullable: bool) -> Value {
        let null = nullable && self.how.nulls && self.rng.below(3) == 0;
        let number = self.rng.next().to_le_bytes();
        match kind {
            Kind::Bool => Value::Bool(number[0] & 1 == 1),
            Kind::I8 => Value::I8(i8::from_le_bytes([number[0]])),
            Kind::I16 => Value::I16(i16::from_le_bytes([number[0], number[1]])),
            Kind::U16 => Value::U16(u16::from_le_bytes([number[0], number[1]])),
            Kind::I32 => Value::I32(i32::from_le_bytes([number[0], number[1], number[2], number[3]])),
            Kind::U32 => Value::U32(u32::from_le_bytes([number[0], number[1], number[2], number[3]])),
            Kind::I64 => Value::I64(i64::from_le_bytes(number)),
            Kind::F64 => Value::F64(f64::from(number[0]) / 7.0),
            Kind::Uuid => Value::Uuid(self.rng.bytes(16).try_into().unwrap()),
            Kind::Str => Value::Str((!null).then(|| self.rng.text())),
            Kind::Bytes => Value::Bytes((!null).then(|| {
                let n = self.rng.below(300);
                Bytes::from(self.rng.bytes(n))
            })),
            Kind::Struct(def) => Value::Struct((!null).then(|| self.structure(def))),
            Kind::Array(element) => Value::Array((!null).then(|| {
                let n = self.rng.below(4);
                (0..n).map(|_| self.value(*element, false)).collect()
            })),
        }
    }
}
