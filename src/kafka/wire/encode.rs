//! From values to bytes. Fields that the version hasn't got are left out; what was read comes out as it went in.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{Fault, WireError};
use super::schema::{Kind, Message, StructDef};
use super::value::{Struct, Value};
use super::write;

/// From this length on, in bytes, bytes are worth a piece of their own; copying fewer is cheaper than another I/O vector.
const PIECE_FROM: usize = 4096;

struct Encoder<'o> {
    out: &'o mut BytesMut,
    /// Bytes that are not copied into `out`, and where they belong; nothing if all are.
    apart: Option<&'o mut Vec<(usize, Bytes)>>,
    message: &'static Message,
    version: i16,
    flexible: bool,
}

impl Message {
    /// Writes `value`, which [`Self::new`] or [`Self::decode`] has made, to the end of `out`. After an error `out` is as it
    /// was.
    pub fn encode(&'static self, version: i16, value: &Struct, out: &mut BytesMut) -> Result<(), WireError> {
        let start = out.len();
        let result = self.write(version, value, out, None);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Writes `value` behind `head` without copying long fields of bytes: they come as pieces of their own, which are slices
    /// of what `value` holds. The pieces are those bytes in their order that [`Self::encode`] would have written.
    pub fn encode_pieces(
        &'static self,
        version: i16,
        value: &Struct,
        head: BytesMut,
    ) -> Result<Vec<Bytes>, WireError> {
        let (mut out, mut apart) = (head, Vec::new());
        self.write(version, value, &mut out, Some(&mut apart))?;
        let mut rest = out.freeze();
        let mut pieces = Vec::with_capacity(2 * apart.len() + 1);
        let mut before = 0;
        for (at, piece) in apart {
            pieces.push(rest.split_to(at - before));
            pieces.push(piece);
            before = at;
        }
        pieces.push(rest);
        Ok(pieces)
    }

    fn write(
        &'static self,
        version: i16,
        value: &Struct,
        out: &mut BytesMut,
        apart: Option<&mut Vec<(usize, Bytes)>>,
    ) -> Result<(), WireError> {
        let mut encoder = Encoder { out, apart, message: self, version, flexible: self.is_flexible(version) };
        if self.versions.contains(version) {
            encoder.structure(self.root, value)
        } else {
            Err(encoder.error(Fault::Version, "version"))
        }
    }
}

impl Encoder<'_> {
    fn error(&self, fault: Fault, field: &'static str) -> WireError {
        let at = self.out.len();
        WireError { fault, message: self.message.label, version: self.version, field, at }
    }

    fn structure(&mut self, def: &'static StructDef, value: &Struct) -> Result<(), WireError> {
        if !std::ptr::eq(def, value.def()) {
            return Err(self.error(Fault::Type, def.name));
        }
        let mut tagged: Vec<(u32, Bytes)> = Vec::new();
        for (field, value) in value.values() {
            if !field.versions.contains(self.version) {
                continue;
            }
            let nullable = field.nullable.is_some_and(|n| n.contains(self.version));
            match field.tag {
                None => self.value(field.kind, nullable, field.name, value)?,
                Some(_) if *value == field.default => {}
                Some(tag) => {
                    let mut contents = BytesMut::new();
                    let mut inner = Encoder { out: &mut contents, apart: None, ..*self };
                    inner.value(field.kind, nullable, field.name, value)?;
                    tagged.push((tag, contents.freeze()));
                }
            }
        }
        if !self.flexible {
            return Ok(());
        }
        for (tag, contents) in value.unknown_tags() {
            // Unknown where it was read may be known in the version that is written: then the field counts.
            let known = def.fields.iter().any(|f| f.tag == Some(*tag) && f.versions.contains(self.version));
            if !known {
                tagged.push((*tag, contents.clone()));
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        let number = u32::try_from(tagged.len());
        write::uvarint(self.out, number.map_err(|_| self.error(Fault::TooLong(tagged.len()), def.name))?);
        for (tag, contents) in tagged {
            let size = u32::try_from(contents.len());
            write::uvarint(self.out, tag);
            write::uvarint(self.out, size.map_err(|_| self.error(Fault::TooLong(contents.len()), def.name))?);
            self.out.put_slice(&contents);
        }
        Ok(())
    }

    /// A length, in the form of `plain` where the version isn't flexible.
    fn length(
        &mut self,
        length: Option<usize>,
        nullable: bool,
        field: &'static str,
        plain: fn(&mut BytesMut, Option<usize>) -> Option<()>,
    ) -> Result<(), WireError> {
        if length.is_none() && !nullable {
            return Err(self.error(Fault::Null, field));
        }
        let write = if self.flexible { write::compact } else { plain };
        write(self.out, length).ok_or_else(|| self.error(Fault::TooLong(length.unwrap_or(0)), field))
    }

    fn value(
        &mut self,
        kind: Kind,
        nullable: bool,
        field: &'static str,
        value: &Value,
    ) -> Result<(), WireError> {
        match (kind, value) {
            (Kind::Bool, Value::Bool(v)) => self.out.put_u8(u8::from(*v)),
            (Kind::I8, Value::I8(v)) => self.out.put_i8(*v),
            (Kind::I16, Value::I16(v)) => self.out.put_i16(*v),
            (Kind::I32, Value::I32(v)) => self.out.put_i32(*v),
            (Kind::I64, Value::I64(v)) => self.out.put_i64(*v),
            (Kind::U16, Value::U16(v)) => self.out.put_u16(*v),
            (Kind::U32, Value::U32(v)) => self.out.put_u32(*v),
            (Kind::F64, Value::F64(v)) => self.out.put_f64(*v),
            (Kind::Uuid, Value::Uuid(v)) => self.out.put_slice(v),
            (Kind::Str, Value::Str(v)) => {
                self.length(v.as_ref().map(Bytes::len), nullable, field, write::length16)?;
                self.out.put_slice(v.as_deref().unwrap_or(&[]));
            }
            (Kind::Bytes, Value::Bytes(v)) => {
                self.length(v.as_ref().map(Bytes::len), nullable, field, write::length32)?;
                match (&mut self.apart, v) {
                    (Some(apart), Some(v)) if v.len() >= PIECE_FROM => {
                        apart.push((self.out.len(), v.clone()));
                    }
                    _ => self.out.put_slice(v.as_deref().unwrap_or(&[])),
                }
            }
            (Kind::Array(element), Value::Array(v)) => {
                self.length(v.as_ref().map(Vec::len), nullable, field, write::length32)?;
                for value in v.iter().flatten() {
                    self.value(*element, false, field, value)?;
                }
            }
            (Kind::Struct(_), Value::Struct(None)) if nullable => self.out.put_i8(-1),
            (Kind::Struct(_), Value::Struct(None)) => return Err(self.error(Fault::Null, field)),
            (Kind::Struct(def), Value::Struct(Some(v))) => {
                if nullable {
                    self.out.put_i8(1);
                }
                self.structure(def, v)?;
            }
            _ => return Err(self.error(Fault::Type, field)),
        }
        Ok(())
    }
}
