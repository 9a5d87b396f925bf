//! Answers of the admin listener, errors as `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// A whole answer in memory.
pub(super) type Answer = Response<Full<Bytes>>;

/// Plain text for people.
pub(super) fn text(status: StatusCode, body: String) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

/// A JSON value, indented, since it's read by people too.
pub(super) fn json(value: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

/// An error: `detail` says what to do about it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    answer(status, "application/problem+json", format!("{body}\n"))
}

/// The error for a route that has other methods.
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("this route answers {allow}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// Any answer.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Each answer is true only at its moment, and is what its type says, whatever a browser guesses.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
