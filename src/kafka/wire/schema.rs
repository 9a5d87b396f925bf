//! The messages of Kafka as data: which fields, in which versions, of which types. The data is `schema.txt` (its head
//! describes the notation, `tools/kafka-schema.py` writes it); it is read once, at the first use.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use super::notation;
use super::value::{Struct, Value};

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first version.
    pub min: i16,
    /// The last version.
    pub max: i16,
}

impl Span {
    /// Whether `version` is in the range.
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// The type of a field or of an array's element.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One byte, zero is false.
    Bool,
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// 16 bits without sign.
    U16,
    /// 32 bits without sign.
    U32,
    /// A double.
    F64,
    /// 16 bytes.
    Uuid,
    /// UTF-8, by the protocol's word; not checked.
    Str,
    /// Bytes, and records.
    Bytes,
    /// A structure.
    Struct(&'static StructDef),
    /// An array.
    Array(&'static Kind),
}

/// A field of a structure.
#[derive(Debug)]
pub struct FieldDef {
    /// Its name, in snake case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Span,
    /// The versions in which it may be null.
    pub nullable: Option<Span>,
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// What it is in a version that hasn't got it, or when the tagged field is left out.
    pub default: Value,
}

/// A structure: a whole message, or an element of one.
#[derive(Debug)]
pub struct StructDef {
    /// The name of the message, or of the field that holds the structure.
    pub name: &'static str,
    /// The fields, in the order of the wire.
    pub fields: Vec<FieldDef>,
    /// How many values one of these holds at the least: what decoding one is charged.
    pub(super) weight: usize,
}

/// One direction of one API.
#[derive(Debug)]
pub struct Message {
    pub(super) api_key: i16,
    pub(super) label: &'static str,
    pub(super) versions: Span,
    pub(super) flexible: Option<i16>,
    pub(super) root: &'static StructDef,
}

impl Message {
    /// The API's key.
    pub fn api_key(&self) -> i16 {
        self.api_key
    }

    /// As in "Produce request".
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// The versions that can be read and written.
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.versions.min..=self.versions.max
    }

    /// Whether this version has compact lengths and tagged fields. Also answers for versions that aren't known yet: from
    /// the first flexible one on, all are.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible.is_some_and(|first| version >= first)
    }

    /// A message in which every field has its default.
    #[allow(clippy::new_ret_no_self, reason = "the message is the type, the structure its instance")]
    pub fn new(&'static self) -> Struct {
        Struct::new(self.root)
    }
}

/// An API by its key.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    pub(super) name: &'static str,
    pub(super) request: Option<&'static Message>,
    pub(super) response: Option<&'static Message>,
}

/// By API key. A malformed line would leave this empty; a test reads the whole file and shows the line.
static APIS: LazyLock<Vec<Api>> = LazyLock::new(|| load().unwrap_or_default());

/// The data of this build, as read.
pub(super) fn load() -> Result<Vec<Api>, notation::Malformed> {
    notation::parse(include_str!("schema.txt"))
}

fn api(api_key: i16) -> Option<&'static Api> {
    // The keys have no gaps, so the place is the key; should a gap come, the search finds it.
    let place = usize::try_from(api_key).ok()?;
    APIS.get(place).filter(|a| a.key == api_key).or_else(|| APIS.iter().find(|a| a.key == api_key))
}

/// The request of an API that clients use; `None` for an unknown key and for what only brokers and controllers send to
/// each other.
pub fn request(api_key: i16) -> Option<&'static Message> {
    api(api_key)?.request
}

/// The answer of an API that clients use.
pub fn response(api_key: i16) -> Option<&'static Message> {
    api(api_key)?.response
}

/// The API's name as Kafka has it, "Produce" for one; "Unknown" for a key of the future.
pub fn api_name(api_key: i16) -> &'static str {
    api(api_key).map_or("Unknown", |a| a.name)
}
