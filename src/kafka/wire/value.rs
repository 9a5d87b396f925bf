//! Messages in memory: a structure of values, read and changed by the names of the schema.
//!
//! A wrong field name, or a value of another type than the schema's, is a mistake of the caller: debug builds stop
//! there, release builds read the type's zero and leave the structure as it is.

use bytes::Bytes;

use super::schema::{FieldDef, Kind, StructDef};

/// One value. Strings and bytes are slices of the frame that they came in.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names of the types say it")]
pub enum Value {
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U16(u16),
    U32(u32),
    F64(f64),
    Uuid([u8; 16]),
    Str(Option<Bytes>),
    Bytes(Option<Bytes>),
    Array(Option<Vec<Value>>),
    Struct(Option<Struct>),
}

/// An instance of a structure, with every field of every version, and the tagged fields that the schema doesn't know.
#[derive(Debug, Clone)]
pub struct Struct {
    def: &'static StructDef,
    fields: Box<[Value]>,
    #[allow(clippy::box_collection, reason = "nearly none has any, so a structure should stay small")]
    unknown: Option<Box<Vec<(u32, Bytes)>>>,
}

impl PartialEq for Struct {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.def, other.def)
            && self.fields == other.fields
            && self.unknown_tags() == other.unknown_tags()
    }
}

/// A getter and a setter of a plain type.
macro_rules! scalar {
    ($get:ident, $set:ident, $variant:ident, $type:ty) => {
        #[doc = concat!("The field `name`, of type ", stringify!($type), ".")]
        pub fn $get(&self, name: &str) -> $type {
            match self.get(name) {
                Some(Value::$variant(v)) => *v,
                _ => self.misuse(name, stringify!($get)),
            }
        }

        #[doc = concat!("Sets the field `name`, of type ", stringify!($type), ".")]
        pub fn $set(&mut self, name: &str, value: $type) {
            self.set(name, Value::$variant(value));
        }
    };
}

/// Whether a field holds an error code (`AddPartitionsToTxn` has a name of its own for it).
fn is_error(field: &FieldDef) -> bool {
    matches!(field.name, "error_code" | "partition_error_code")
}

impl Struct {
    pub(super) fn new(def: &'static StructDef) -> Self {
        let fields = def.fields.iter().map(|f| f.default.clone()).collect();
        Self { def, fields, unknown: None }
    }

    pub(super) fn from_parts(
        def: &'static StructDef,
        fields: Vec<Value>,
        unknown: Vec<(u32, Bytes)>,
    ) -> Self {
        let unknown = if unknown.is_empty() { None } else { Some(Box::new(unknown)) };
        Self { def, fields: fields.into_boxed_slice(), unknown }
    }

    /// Looks at every `error_code` in the structure, at whatever depth.
    pub fn visit_errors(&self, visit: &mut impl FnMut(i16)) {
        for (field, value) in self.values() {
            match value {
                Value::I16(code) if is_error(field) => visit(*code),
                Value::Struct(Some(inner)) => inner.visit_errors(visit),
                Value::Array(Some(values)) => {
                    for value in values {
                        if let Value::Struct(Some(inner)) = value {
                            inner.visit_errors(visit);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Replaces every `error_code` in the structure, at whatever depth.
    ///
    /// Where an error becomes none, its message goes, too.
    pub fn map_errors(&mut self, map: &mut impl FnMut(i16) -> i16) {
        let mut cured = false;
        for (field, value) in self.def.fields.iter().zip(self.fields.iter_mut()) {
            match value {
                Value::I16(code) if is_error(field) => {
                    let mapped = map(*code);
                    cured |= *code != 0 && mapped == 0;
                    *code = mapped;
                }
                Value::Struct(Some(inner)) => inner.map_errors(map),
                Value::Array(Some(values)) => {
                    for value in values {
                        if let Value::Struct(Some(inner)) = value {
                            inner.map_errors(map);
                        }
                    }
                }
                _ => {}
            }
        }
        if cured && self.has("error_message") {
            self.set_null("error_message");
        }
    }

    /// What the structure is.
    pub fn def(&self) -> &'static StructDef {
        self.def
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (&'static FieldDef, &Value)> {
        self.def.fields.iter().zip(self.fields.iter())
    }

    /// The tagged fields that the schema doesn't know: tag and contents.
    pub fn unknown_tags(&self) -> &[(u32, Bytes)] {
        self.unknown.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Sets the tagged fields that the schema doesn't know.
    pub fn set_unknown_tags(&mut self, tags: Vec<(u32, Bytes)>) {
        self.unknown = if tags.is_empty() { None } else { Some(Box::new(tags)) };
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.def.fields.iter().position(|f| f.name == name)
    }

    #[cold]
    fn misuse<T: Default>(&self, name: &str, what: &str) -> T {
        debug_assert!(false, "{}: no field {name} for {what}", self.def.name);
        T::default()
    }

    /// Whether the schema has the field, in whatever version.
    pub fn has(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    /// Whether `version` has the field.
    pub fn has_in(&self, name: &str, version: i16) -> bool {
        self.def.fields.iter().any(|f| f.name == name && f.versions.contains(version))
    }

    /// The field as it is; `None` only for a wrong name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(self.index(name)?)
    }

    /// The field as it is, to be changed. The encoder refuses a value of another type.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let index = self.index(name)?;
        self.fields.get_mut(index)
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.get_mut(name) {
            Some(old) if std::mem::discriminant(old) == std::mem::discriminant(&value) => *old = value,
            _ => self.misuse(name, "a value of this type"),
        }
    }

    scalar!(bool, set_bool, Bool, bool);
    scalar!(i8, set_i8, I8, i8);
    scalar!(i16, set_i16, I16, i16);
    scalar!(i32, set_i32, I32, i32);
    scalar!(i64, set_i64, I64, i64);
    scalar!(u16, set_u16, U16, u16);
    scalar!(u32, set_u32, U32, u32);
    scalar!(f64, set_f64, F64, f64);
    scalar!(uuid, set_uuid, Uuid, [u8; 16]);

    /// The string field `name`; `None` if it is null or isn't UTF-8.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Str(v)) => v.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()),
            _ => self.misuse(name, "str"),
        }
    }

    /// The string, bytes or records field `name` as bytes; `None` if it is null.
    pub fn bytes_field(&self, name: &str) -> Option<&Bytes> {
        match self.get(name) {
            Some(Value::Str(v) | Value::Bytes(v)) => v.as_ref(),
            _ => self.misuse(name, "bytes_field"),
        }
    }

    /// Sets the string field `name`.
    pub fn set_str(&mut self, name: &str, value: &str) {
        self.set(name, Value::Str(Some(Bytes::copy_from_slice(value.as_bytes()))));
    }

    /// Sets the bytes, records or string field `name`, to null with `None`.
    pub fn set_bytes(&mut self, name: &str, value: Option<Bytes>) {
        match self.get_mut(name) {
            Some(Value::Str(v) | Value::Bytes(v)) => *v = value,
            _ => self.misuse(name, "set_bytes"),
        }
    }

    /// Sets a string, bytes, records, array or structure field to null.
    pub fn set_null(&mut self, name: &str) {
        match self.get_mut(name) {
            Some(Value::Str(v) | Value::Bytes(v)) => *v = None,
            Some(Value::Array(v)) => *v = None,
            Some(Value::Struct(v)) => *v = None,
            _ => self.misuse(name, "set_null"),
        }
    }

    /// Whether the field is null.
    pub fn is_null(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Str(None) | Value::Bytes(None) | Value::Array(None) | Value::Struct(None)) => true,
            Some(_) => false,
            None => self.misuse(name, "is_null"),
        }
    }

    /// The structure in the field `name`; `None` if it is null.
    pub fn strukt(&self, name: &str) -> Option<&Struct> {
        match self.get(name) {
            Some(Value::Struct(v)) => v.as_ref(),
            _ => self.misuse(name, "strukt"),
        }
    }

    /// The structure in the field `name`, to be changed; `None` if it is null.
    pub fn strukt_mut(&mut self, name: &str) -> Option<&mut Struct> {
        if !matches!(self.get(name), Some(Value::Struct(_))) {
            return self.misuse(name, "strukt_mut");
        }
        match self.get_mut(name) {
            Some(Value::Struct(v)) => v.as_mut(),
            _ => None,
        }
    }

    /// Sets the structure in the field `name` (made by [`Self::new_struct`]), to null with `None`.
    pub fn set_strukt(&mut self, name: &str, value: Option<Struct>) {
        self.set(name, Value::Struct(value));
    }

    /// The elements of the array `name`; none if it is null.
    pub fn array(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::Array(v)) => v.as_deref().unwrap_or(&[]),
            _ => self.misuse(name, "array"),
        }
    }

    /// The array itself, to be changed; `None` if it is null.
    pub fn array_mut(&mut self, name: &str) -> Option<&mut Vec<Value>> {
        if !matches!(self.get(name), Some(Value::Array(_))) {
            return self.misuse(name, "array_mut");
        }
        match self.get_mut(name) {
            Some(Value::Array(v)) => v.as_mut(),
            _ => None,
        }
    }

    /// Sets the array `name`. The encoder refuses elements of another type than the schema's.
    pub fn set_array(&mut self, name: &str, values: Vec<Value>) {
        self.set(name, Value::Array(Some(values)));
    }

    /// The structures of the array `name`; none if it is null.
    pub fn structs(&self, name: &str) -> impl Iterator<Item = &Struct> {
        self.array(name).iter().filter_map(|v| match v {
            Value::Struct(s) => s.as_ref(),
            _ => None,
        })
    }

    /// The structures of the array `name`, to be changed.
    pub fn structs_mut(&mut self, name: &str) -> impl Iterator<Item = &mut Struct> {
        self.array_mut(name).map_or(&mut [][..], Vec::as_mut_slice).iter_mut().filter_map(|v| match v {
            Value::Struct(s) => s.as_mut(),
            _ => None,
        })
    }

    /// Takes the structures out of the array `name`, which is empty then (or null still).
    pub fn take_structs(&mut self, name: &str) -> Vec<Struct> {
        let Some(values) = self.array_mut(name) else { return Vec::new() };
        std::mem::take(values)
            .into_iter()
            .filter_map(|v| match v {
                Value::Struct(s) => s,
                _ => None,
            })
            .collect()
    }

    /// Sets the array `name` to these structures (made by [`Self::new_struct`], or taken from the same field).
    pub fn set_structs(&mut self, name: &str, structs: Vec<Struct>) {
        self.set_array(name, structs.into_iter().map(|s| Value::Struct(Some(s))).collect());
    }

    /// Adds a structure to the array `name`, which stops being null.
    pub fn push_struct(&mut self, name: &str, strukt: Struct) {
        match self.get_mut(name) {
            Some(Value::Array(v)) => v.get_or_insert_default().push(Value::Struct(Some(strukt))),
            _ => self.misuse(name, "push_struct"),
        }
    }

    /// Keeps the structures of the array `name` for which `keep` says so.
    pub fn retain_structs(&mut self, name: &str, mut keep: impl FnMut(&Struct) -> bool) {
        if let Some(values) = self.array_mut(name) {
            values.retain(|v| matches!(v, Value::Struct(Some(s)) if keep(s)));
        }
    }

    /// A structure of defaults, for the structure field or the array of structures `name`.
    ///
    /// With a wrong name (a debug build stops there) it is one of this structure's own kind, which the encoder refuses.
    #[must_use]
    pub fn new_struct(&self, name: &str) -> Struct {
        let kind = self.def.fields.iter().find(|f| f.name == name).map(|f| f.kind);
        if let Some(Kind::Struct(def) | Kind::Array(&Kind::Struct(def))) = kind {
            return Struct::new(def);
        }
        debug_assert!(false, "{}: no structure {name}", self.def.name);
        Struct::new(self.def)
    }

    /// The numbers of the array `name`.
    pub fn i32s(&self, name: &str) -> Vec<i32> {
        self.array(name).iter().filter_map(|v| if let Value::I32(n) = v { Some(*n) } else { None }).collect()
    }

    /// Sets the array of numbers `name`.
    pub fn set_i32s(&mut self, name: &str, numbers: &[i32]) {
        self.set_array(name, numbers.iter().map(|n| Value::I32(*n)).collect());
    }

    /// The strings of the array `name`, without those that aren't UTF-8.
    pub fn strs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.array(name).iter().filter_map(|v| match v {
            Value::Str(Some(s)) => std::str::from_utf8(s).ok(),
            _ => None,
        })
    }

    /// Sets the array of strings `name`.
    pub fn set_strs(&mut self, name: &str, strings: &[&str]) {
        let value = |s: &&str| Value::Str(Some(Bytes::copy_from_slice(s.as_bytes())));
        self.set_array(name, strings.iter().map(value).collect());
    }

    /// The ids of the array `name`.
    pub fn uuids(&self, name: &str) -> impl Iterator<Item = [u8; 16]> {
        self.array(name).iter().filter_map(|v| if let Value::Uuid(id) = v { Some(*id) } else { None })
    }
}
