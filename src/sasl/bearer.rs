//! OAUTHBEARER (RFC 7628): a token in one message, and when a token ends. Pure.

use super::SaslError;
use crate::config::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::Duration;

/// What a client answers to a server's error, so that the server can say it in its own way (section 3.2.3).
pub(super) const ENOUGH: &[u8] = b"\x01";

/// What shows a token.
pub(super) fn message(token: &Secret) -> Secret {
    let mut bytes = b"n,,\x01auth=Bearer ".to_vec();
    bytes.extend_from_slice(token.expose());
    bytes.extend_from_slice(b"\x01\x01");
    Secret::new(bytes)
}

/// Whether something can be a token at all: what RFC 6750 (section 2.1) allows, and nothing that would end the message early.
pub(super) fn is_token(token: &Secret) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    !token.expose().is_empty() && token.expose().iter().all(fits)
}

/// The server's error, for a log line.
pub(super) fn error_of(challenge: &[u8]) -> SaslError {
    let status = serde_json::from_slice::<serde_json::Value>(challenge).ok();
    let status = status.as_ref().and_then(|error| error.get("status")?.as_str());
    let status =
        status.map_or_else(|| "the token is refused".to_owned(), |text| text.chars().take(200).collect());
    SaslError::Refused(status)
}

/// For how long a signed token (RFC 7519) still lasts; none if it doesn't say, or is no such token.
pub(super) fn lasts(token: &Secret, since_epoch: Duration) -> Option<Duration> {
    let mut parts = token.expose().split(|byte| *byte == b'.');
    let (_, claims) = (parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.strip_suffix(b"=").unwrap_or(claims)).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let ends = claims.get("exp")?.as_f64().filter(|ends| (0.0..1e12).contains(ends))?;
    Some(Duration::from_secs_f64(ends).saturating_sub(since_epoch))
}
