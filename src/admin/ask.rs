//! A request as the routes see it: its body read whole, within bounds, before anything is done.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::door::Refused;
use super::response::{Answer, problem};
use crate::metrics::AdminRefusal as Why;

/// The longest body, but for a plan's.
const MAX_BODY: usize = 64 * 1024;
/// The longest plan: one of a thousand members with the longest names and addresses has less.
const MAX_PLAN: usize = 1024 * 1024;
/// The time for a body.
const BODY_BOUND: Duration = Duration::from_secs(5);

/// One request.
#[derive(Debug)]
pub(super) struct Ask {
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// What stands behind `?`, as it came.
    pub query: String,
    /// Its body.
    pub body: Bytes,
}

impl Ask {
    /// Reads a request whole.
    ///
    /// # Errors
    /// The answer to one whose body is too long (413), of another type than JSON (415), or not there in time (408).
    pub(super) async fn read(head: Parts, body: Incoming) -> Result<Self, Refused> {
        let refuse = |why, status, detail: &str| Err((why, Box::new(problem(status, detail))));
        let mut ask = Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: Bytes::new(),
        };
        if body.is_end_stream() {
            return Ok(ask);
        }
        let is_plan = ask.method == Method::PUT && ask.path.ends_with("/plan");
        let (most, long) =
            if is_plan { (MAX_PLAN, "a plan may have 1 MiB") } else { (MAX_BODY, "a body may have 64 KiB") };
        // A length that is told is judged before a byte is taken.
        let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if told > most {
            return refuse(Why::Length, StatusCode::PAYLOAD_TOO_LARGE, long);
        }
        if takes_body(&ask.method) && !is_json(head.headers.get(CONTENT_TYPE)) {
            return refuse(
                Why::Type,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a body is JSON: content-type: application/json",
            );
        }
        match tokio::time::timeout(BODY_BOUND, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => {
                if takes_body(&ask.method) {
                    ask.body = body.to_bytes();
                }
                Ok(ask)
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                refuse(Why::Length, StatusCode::PAYLOAD_TOO_LARGE, long)
            }
            Ok(Err(error)) => {
                refuse(Why::Time, StatusCode::BAD_REQUEST, &format!("the body broke off: {error}"))
            }
            Err(_) => refuse(Why::Time, StatusCode::REQUEST_TIMEOUT, "the body did not come within 5 s"),
        }
    }

    /// The body as what a route takes; nothing without a body.
    ///
    /// # Errors
    /// 400, with the place and the name of what is wrong.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<Option<T>, Box<Answer>> {
        if self.body.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&self.body).map(Some).map_err(|error| {
            Box::new(problem(
                StatusCode::BAD_REQUEST,
                &format!("the body is not what this route takes: {error}"),
            ))
        })
    }

    /// A value of the query, its escapes taken out; the first one of that name.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

fn takes_body(method: &Method) -> bool {
    [Method::PUT, Method::POST, Method::DELETE].contains(method)
}

fn is_json(value: Option<&hyper::header::HeaderValue>) -> bool {
    let Some(text) = value.and_then(|value| value.to_str().ok()) else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
