//! What can be wrong with bytes that claim to be Kafka's, or with a value that is to become such bytes.

use std::fmt;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated,
    /// This many bytes follow the end of the message.
    Trailing(usize),
    /// A length below −1, or one that the remaining bytes can't hold.
    Length(i64),
    /// A variable-length number of more than 32 bits.
    Varint,
    /// Null where the version doesn't allow it.
    Null,
    /// More values than the bytes of an honest message hold ([`super::MAX_VALUES`]).
    TooMany,
    /// A string or an array that this version can't express.
    TooLong(usize),
    /// A tagged field's size isn't what its contents take.
    TagSize,
    /// No such version of this API.
    Version,
    /// No such API, or none that a client may use.
    UnknownApi(i16),
    /// The value isn't of the type that the schema asks for: the caller's mistake.
    Type,
    /// A record batch that can't be stamped: not of format 2, or incomplete.
    NotABatch,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end here"),
            Self::Trailing(n) => write!(f, "{n} bytes follow the end"),
            Self::Length(n) => write!(f, "impossible length {n}"),
            Self::Varint => f.write_str("a variable-length number is too long"),
            Self::Null => f.write_str("null is not allowed"),
            Self::TooMany => f.write_str("too many values"),
            Self::TooLong(n) => write!(f, "length {n} can't be expressed"),
            Self::TagSize => f.write_str("a tagged field's size is wrong"),
            Self::Version => f.write_str("no such version"),
            Self::UnknownApi(key) => write!(f, "unknown API key {key}"),
            Self::Type => f.write_str("value of another type than the schema's"),
            Self::NotABatch => f.write_str("not a whole record batch of format 2"),
        }
    }
}

/// An error of the wire format: what, in which message and field, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} v{version}: {fault} (field {field}, byte {at})")]
pub struct WireError {
    /// What is wrong.
    pub fault: Fault,
    /// The message, as in "Produce request".
    pub message: &'static str,
    /// The version that the bytes were read as, or were to be written in.
    pub version: i16,
    /// The field, in the names of the schema.
    pub field: &'static str,
    /// The offset in the bytes that were given (reading), or that were written so far (writing).
    pub at: usize,
}
