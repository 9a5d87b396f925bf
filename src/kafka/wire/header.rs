//! The headers of requests and answers, and whole frames. A frame here is what follows the length in front of it.
//!
//! Which header a frame has follows from the API and its version (`ApiKeys.java` of Kafka): flexible versions have request
//! header 2 and response header 1, others 1 and 0. An `ApiVersions` answer always has header 0, since the client that reads
//! it may be older than what the broker wrote; `ControlledShutdown` v0 alone has request header 0.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{Fault, WireError};
use super::read::Reader;
use super::schema::{self, Message};
use super::value::Struct;
use super::write;

/// The key of `ApiVersions`, whose answer is special.
const API_VERSIONS: i16 = 18;
/// The key of `ControlledShutdown`, whose first request is special.
const CONTROLLED_SHUTDOWN: i16 = 7;

const REQUEST: &str = "request header";
const RESPONSE: &str = "response header";

/// What a request says before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API's key.
    pub api_key: i16,
    /// The version that the body is in; not checked.
    pub api_version: i16,
    /// What the answer will carry.
    pub correlation_id: i32,
    /// Where in the frame the client id is; `None` if it is null.
    pub client_id: Option<Range<usize>>,
    /// Where the body begins. For an API that isn't for clients ([`schema::request`] has nothing) nobody can say whether
    /// tagged fields are still to be skipped: then it is the place behind the client id.
    pub body_at: usize,
}

impl RequestHeader {
    /// The client id, from the frame that the header was read from.
    pub fn client_id<'f>(&self, frame: &'f [u8]) -> Option<&'f [u8]> {
        frame.get(self.client_id.clone()?)
    }
}

/// Reads a request's header. Allocates nothing. The key and the version may be unknown ones.
pub fn request_header(frame: &[u8]) -> Result<RequestHeader, WireError> {
    let mut r = Reader::new(REQUEST, 0, frame, 0);
    let api_key = r.i16("request_api_key")?;
    let api_version = r.i16("request_api_version")?;
    let correlation_id = r.i32("correlation_id")?;
    let mut client_id = None;
    if (api_key, api_version) != (CONTROLLED_SHUTDOWN, 0) {
        // Not compact, even in header 2: brokers read it before they know which header it is.
        if let Some(id) = r.string(false, "client_id")? {
            client_id = Some(r.at() - id.len()..r.at());
        }
        r.skip_tags(schema::request(api_key).is_some_and(|m| m.is_flexible(api_version)))?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id, body_at: r.at() })
}

/// Whether an answer has tagged fields in its header.
fn has_tags(message: &Message, version: i16) -> bool {
    message.api_key() != API_VERSIONS && message.is_flexible(version)
}

fn known_request(api_key: i16, version: i16) -> Result<&'static Message, WireError> {
    schema::request(api_key).ok_or_else(|| unknown(REQUEST, api_key, version))
}

fn known_response(api_key: i16, version: i16) -> Result<&'static Message, WireError> {
    schema::response(api_key).ok_or_else(|| unknown(RESPONSE, api_key, version))
}

fn unknown(message: &'static str, api_key: i16, version: i16) -> WireError {
    WireError { fault: Fault::UnknownApi(api_key), message, version, field: "request_api_key", at: 0 }
}

/// The correlation id of an answer, whatever its API.
pub fn correlation_id(frame: &[u8]) -> Result<i32, WireError> {
    Reader::new(RESPONSE, 0, frame, 0).i32("correlation_id")
}

/// Where an answer's body begins. An unknown API is an error.
pub fn response_body_at(api_key: i16, version: i16, frame: &[u8]) -> Result<usize, WireError> {
    let message = known_response(api_key, version)?;
    let mut r = Reader::new(RESPONSE, version, frame, 0);
    r.i32("correlation_id")?;
    r.skip_tags(has_tags(message, version))?;
    Ok(r.at())
}

/// Reads a whole request.
pub fn decode_request(frame: &Bytes) -> Result<(RequestHeader, Struct), WireError> {
    let header = request_header(frame)?;
    let message = known_request(header.api_key, header.api_version)?;
    let body = message.decode(header.api_version, &frame.slice(header.body_at.min(frame.len())..))?;
    Ok((header, body))
}

/// Reads a whole answer: its correlation id and body.
pub fn decode_response(api_key: i16, version: i16, frame: &Bytes) -> Result<(i32, Struct), WireError> {
    let correlation = correlation_id(frame)?;
    let body_at = response_body_at(api_key, version, frame)?;
    let message = known_response(api_key, version)?;
    let body = message.decode(version, &frame.slice(body_at.min(frame.len())..))?;
    Ok((correlation, body))
}

/// Writes a whole request.
pub fn encode_request(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &Struct,
) -> Result<Bytes, WireError> {
    let message = known_request(api_key, version)?;
    let mut out = BytesMut::with_capacity(256);
    out.put_i16(api_key);
    out.put_i16(version);
    out.put_i32(correlation_id);
    write::length16(&mut out, Some(client_id.len())).ok_or(WireError {
        fault: Fault::TooLong(client_id.len()),
        message: REQUEST,
        version,
        field: "client_id",
        at: 8,
    })?;
    out.put_slice(client_id.as_bytes());
    if message.is_flexible(version) {
        out.put_u8(0);
    }
    message.encode(version, body, &mut out)?;
    Ok(out.freeze())
}

/// Writes a whole answer.
pub fn encode_response(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    body: &Struct,
) -> Result<Bytes, WireError> {
    let message = known_response(api_key, version)?;
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(correlation_id);
    if has_tags(message, version) {
        out.put_u8(0);
    }
    message.encode(version, body, &mut out)?;
    Ok(out.freeze())
}
