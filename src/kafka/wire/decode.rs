//! From bytes to values. Memory is bounded by the bytes that are there, never by a length that they claim.

use bytes::Bytes;

use super::error::{Fault, WireError};
use super::read::Reader;
use super::schema::{Kind, Message, StructDef};
use super::value::{Struct, Value};

/// At most this many values in one message, whatever its size: about 320 MB of them, reached by no honest message (a
/// topic's partition in a Metadata answer takes about 15).
pub const MAX_VALUES: usize = 8 << 20;

/// At most this many values for each byte: a small frame must not grow much. The fields that a version hasn't got count
/// too, since they take memory; `tests/schema.rs` shows that no structure of the schema needs more than this.
pub(super) const VALUES_PER_BYTE: usize = 4;

/// What any message may hold, however small: the fields at its top.
pub(super) const VALUES_FREE: usize = 256;

/// The most elements that room is made for before they have been read.
const RESERVE: usize = 1024;

struct Decoder<'b> {
    reader: Reader<'b>,
    body: &'b Bytes,
    version: i16,
    flexible: bool,
    /// How many more values may be made.
    left: usize,
}

impl Message {
    /// Reads a whole message; nothing may follow it ([`Fault::Trailing`]).
    pub fn decode(&'static self, version: i16, body: &Bytes) -> Result<Struct, WireError> {
        let mut at = 0;
        let value = self.decode_prefix(version, body, &mut at)?;
        Reader::new(self.label, version, body, at).end()?;
        Ok(value)
    }

    /// Reads a message that begins at `at`, and moves `at` behind it.
    pub fn decode_prefix(
        &'static self,
        version: i16,
        body: &Bytes,
        at: &mut usize,
    ) -> Result<Struct, WireError> {
        self.decode_at_most(version, body, at, MAX_VALUES)
    }

    /// As [`Self::decode_prefix`], with a bound on the number of values (40 bytes of memory each) instead of
    /// [`MAX_VALUES`]. The bound that follows from the size of `body` holds as well.
    pub fn decode_at_most(
        &'static self,
        version: i16,
        body: &Bytes,
        at: &mut usize,
        max_values: usize,
    ) -> Result<Struct, WireError> {
        let reader = Reader::new(self.label, version, body, *at);
        if !self.versions.contains(version) {
            return Err(reader.error(Fault::Version, "version"));
        }
        let bound = reader.remaining().saturating_mul(VALUES_PER_BYTE).saturating_add(VALUES_FREE);
        let mut decoder = Decoder {
            reader,
            body,
            version,
            flexible: self.is_flexible(version),
            left: bound.min(max_values),
        };
        let value = decoder.structure(self.root)?;
        *at = decoder.reader.at();
        Ok(value)
    }
}

impl Decoder<'_> {
    fn charge(&mut self, values: usize, field: &'static str) -> Result<(), WireError> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.reader.error(Fault::TooMany, field)),
        }
    }

    fn structure(&mut self, def: &'static StructDef) -> Result<Struct, WireError> {
        self.charge(def.weight, def.name)?;
        let mut fields = Vec::with_capacity(def.fields.len());
        for field in &def.fields {
            fields.push(if field.tag.is_none() && field.versions.contains(self.version) {
                let nullable = field.nullable.is_some_and(|n| n.contains(self.version));
                self.value(field.kind, nullable, field.name)?
            } else {
                field.default.clone()
            });
        }
        let mut unknown = Vec::new();
        if self.flexible {
            for _ in 0..self.reader.uvarint("tagged fields")? {
                self.tagged(def, &mut fields, &mut unknown)?;
            }
        }
        Ok(Struct::from_parts(def, fields, unknown))
    }

    fn tagged(
        &mut self,
        def: &'static StructDef,
        fields: &mut [Value],
        unknown: &mut Vec<(u32, Bytes)>,
    ) -> Result<(), WireError> {
        let tag = self.reader.uvarint("tag")?;
        let size = self.reader.uvarint("tag size")?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > self.reader.remaining() {
            return Err(self.reader.error(Fault::Truncated, "tagged field"));
        }
        let known = def
            .fields
            .iter()
            .zip(fields)
            .find(|(f, _)| f.tag == Some(tag) && f.versions.contains(self.version));
        if let Some((field, place)) = known {
            let start = self.reader.at();
            let nullable = field.nullable.is_some_and(|n| n.contains(self.version));
            *place = self.value(field.kind, nullable, field.name)?;
            if self.reader.at() - start != size {
                return Err(self.reader.error(Fault::TagSize, field.name));
            }
        } else {
            self.charge(1, "tagged field")?;
            unknown.push((tag, self.body.slice_ref(self.reader.take(size, "tagged field")?)));
        }
        Ok(())
    }

    fn value(&mut self, kind: Kind, nullable: bool, field: &'static str) -> Result<Value, WireError> {
        let r = &mut self.reader;
        let value = match kind {
            Kind::Bool => Value::Bool(r.i8(field)? != 0),
            Kind::I8 => Value::I8(r.i8(field)?),
            Kind::I16 => Value::I16(r.i16(field)?),
            Kind::I32 => Value::I32(r.i32(field)?),
            Kind::I64 => Value::I64(r.i64(field)?),
            Kind::U16 => Value::U16(u16::from_be_bytes(r.fixed(field)?)),
            Kind::U32 => Value::U32(u32::from_be_bytes(r.fixed(field)?)),
            Kind::F64 => Value::F64(f64::from_be_bytes(r.fixed(field)?)),
            Kind::Uuid => Value::Uuid(r.fixed(field)?),
            Kind::Str => Value::Str(r.string(self.flexible, field)?.map(|s| self.body.slice_ref(s))),
            Kind::Bytes => Value::Bytes(r.bytes(self.flexible, field)?.map(|s| self.body.slice_ref(s))),
            // A structure that can be null begins with a byte, −1 for null; another one with its first field.
            Kind::Struct(_) if nullable && r.i8(field)? < 0 => Value::Struct(None),
            Kind::Struct(def) => Value::Struct(Some(self.structure(def)?)),
            Kind::Array(element) => match r.array(self.flexible, field)? {
                None => Value::Array(None),
                Some(count) => {
                    let mut values = Vec::with_capacity(count.min(RESERVE));
                    for _ in 0..count {
                        self.charge(1, field)?;
                        values.push(self.value(*element, false, field)?);
                    }
                    Value::Array(Some(values))
                }
            },
        };
        match value {
            Value::Str(None) | Value::Bytes(None) | Value::Array(None) if !nullable => {
                Err(self.reader.error(Fault::Null, field))
            }
            value => Ok(value),
        }
    }
}
