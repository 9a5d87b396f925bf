//! PLAIN (RFC 4616): one message with all of it. Pure.

use super::SaslError;
use crate::config::Secret;

/// What shows a username and a password.
pub(super) fn message(user: &str, password: &Secret) -> Secret {
    let mut bytes = Vec::with_capacity(user.len() + password.expose().len() + 2);
    bytes.push(0);
    bytes.extend_from_slice(user.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(password.expose());
    Secret::new(bytes)
}

/// Whom a message acts for (empty: itself), its username, and its password.
pub(super) type Read<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Takes a message apart.
pub(super) fn read(message: &[u8]) -> Result<Read<'_>, SaslError> {
    let mut parts = message.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(actor), Some(user), Some(password), None) => Ok((actor, user, password)),
        _ => Err(SaslError::Malformed("PLAIN wants three parts")),
    }
}
