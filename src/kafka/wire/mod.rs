//! The Kafka wire format, for a proxy: every version that brokers 2.8 to 4.x speak with their clients.
//!
//! Two ways through the same bytes:
//! - cold: [`schema`] describes every message as data, [`Message::decode`] and [`Message::encode`] interpret it. What is
//!   not understood (unknown tagged fields) is kept, so that an unchanged value encodes to the same bytes.
//! - hot: [`produce`], [`fetch`] and [`batch`] step over a frame by hand, without an allocation; [`header`] does so for
//!   every frame.
//!
//! Imports nothing of this crate. Never panics on what it reads, never takes a length from the wire as the size of an
//! allocation, never does any input or output.

pub mod batch;
mod crc;
mod decode;
mod encode;
mod error;
pub mod errors;
pub mod fetch;
pub mod header;
mod notation;
pub mod produce;
mod read;
pub mod schema;
pub mod uuid;
pub mod value;
mod write;

#[cfg(test)]
mod tests;

pub use decode::MAX_VALUES;
pub use error::{Fault, WireError};
pub use header::{
    RequestHeader, decode_request, decode_response, encode_request, encode_response, request_header,
    response_body_at,
};
pub use read::TopicRef;
pub use schema::{Message, api_name, request, response};
pub use value::{Struct, Value};
