//! `GET /ui`: one page that shows what is, for people. It has no other file, asks this listener alone, and changes nothing.
//!
//! Its script and its style run by a nonce that is another one for each answer, so that nothing that a name in a cluster could carry into the
//! page would be run; the script writes text only, never markup.

use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use rand::RngExt;

use super::response::{Answer, answer, problem};

/// The page; `NONCE` stands where the nonce goes.
pub(super) const PAGE: &str = include_str!("ui.html");
const PLACE: &str = "NONCE";

pub(super) fn page() -> Answer {
    let nonce: [u8; 16] = rand::rng().random();
    let mut text = String::new();
    for byte in nonce {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{text}'; style-src 'nonce-{text}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let Ok(policy) = HeaderValue::from_str(&policy) else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the page can't be shown");
    };
    let mut page = answer(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace(PLACE, &text));
    let headers = page.headers_mut();
    headers.insert(HeaderName::from_static("content-security-policy"), policy);
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    page
}
