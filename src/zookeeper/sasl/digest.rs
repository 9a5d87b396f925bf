//! DIGEST-MD5 (RFC 2831), as far as `ZooKeeper` speaks it: first authentication alone, quality of protection `auth`. Both sides: what
//! a client answers to a challenge, and what a server makes of that answer.
//!
//! Pure: nonces are passed in. Never shows a password, nor what is made of one.

use super::text::{Directives, Malformed};
use crate::config::Secret;
use md5::{Digest as _, Md5};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The realm of every server, and for whom an answer is (`ZooKeeperSaslServer`, `ZooKeeperSaslClient`).
pub(super) const REALM: &str = "zk-sasl-md5";
pub(super) const URI: &str = "zookeeper/zk-sasl-md5";

/// Why a message of a server's is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It can't be read.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It can be read, and lacks something or asks for what there isn't here.
    #[error("{0}")]
    Unusable(&'static str),
}

/// Who somebody is.
pub(super) struct Credentials<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a Secret,
}

/// What both sides put into a digest.
struct Exchange<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    cnonce: &'a [u8],
    uri: &'a [u8],
    /// For whom the client wants to act, if it says so.
    authzid: Option<&'a [u8]>,
}

/// Which of the two answers is computed.
#[derive(Clone, Copy)]
enum Whose {
    Client,
    Server,
}

impl Exchange<'_> {
    /// The 32 hexadecimal digits of section 2.1.2.1, or of 2.1.3 for the server's.
    fn digest(&self, credentials: &Credentials<'_>, whose: Whose) -> String {
        let secret = Md5::new()
            .chain_update(narrow(credentials.username.as_bytes()))
            .chain_update(b":")
            .chain_update(narrow(self.realm))
            .chain_update(b":")
            .chain_update(narrow(credentials.password.expose()))
            .finalize();
        let one = Md5::new().chain_update(secret).chain_update(b":").chain_update(self.nonce);
        let mut one = one.chain_update(b":").chain_update(self.cnonce);
        if let Some(authzid) = self.authzid {
            one = one.chain_update(b":").chain_update(authzid);
        }
        let one = hex(&one.finalize());
        let method: &[u8] = match whose {
            Whose::Client => b"AUTHENTICATE:",
            Whose::Server => b":",
        };
        let two = hex(&Md5::new().chain_update(method).chain_update(self.uri).finalize());
        let three = Md5::new().chain_update(one).chain_update(b":").chain_update(self.nonce);
        let three = three.chain_update(b":00000001:").chain_update(self.cnonce).chain_update(b":auth:");
        hex(&three.chain_update(two).finalize())
    }
}

/// Text that ISO 8859-1 can say is digested in that, whatever it is sent in (section 2.1.2.1, of `username-value`).
fn narrow(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let Ok(text) = std::str::from_utf8(text) else { return Cow::Borrowed(text) };
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map_or(Cow::Borrowed(text.as_bytes()), Cow::Owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Appends `"text"`.
pub(super) fn quote(into: &mut Vec<u8>, text: &[u8]) {
    into.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            into.push(b'\\');
        }
        into.push(*byte);
    }
    into.push(b'"');
}

/// What a client answers to a server's challenge, and what the server must say to that: then it knows the password as well.
pub(super) struct Answer {
    pub(super) token: Vec<u8>,
    expected: Secret,
}

impl Answer {
    /// The answer to `challenge`.
    ///
    /// # Errors
    /// The challenge is none.
    pub(super) fn to(challenge: &[u8], credentials: &Credentials<'_>, cnonce: &str) -> Result<Self, Fault> {
        Self::of(challenge, credentials, cnonce, URI)
    }

    fn of(challenge: &[u8], credentials: &Credentials<'_>, cnonce: &str, uri: &str) -> Result<Self, Fault> {
        let said = Directives::parse(challenge)?;
        let nonce = said.once(b"nonce")?.ok_or(Fault::Unusable("it has no nonce"))?;
        if said.once(b"algorithm")? != Some(b"md5-sess".as_slice()) {
            return Err(Fault::Unusable("its algorithm is not md5-sess"));
        }
        let offered = said.once(b"qop")?.unwrap_or(b"auth");
        if !offered.split(|byte| *byte == b',').any(|qop| qop.trim_ascii() == b"auth") {
            return Err(Fault::Unusable("it wants more than authentication (qop)"));
        }
        let utf8 = match said.once(b"charset")? {
            None => false,
            Some(b"utf-8") => true,
            Some(_) => return Err(Fault::Unusable("its charset is not utf-8")),
        };
        let realm = said.all(b"realm").next().unwrap_or_default();
        // Without a charset it is ISO 8859-1 that is sent.
        let name = credentials.username.as_bytes();
        let name = if utf8 { Cow::Borrowed(name) } else { narrow(name) };
        let (cnonce, uri) = (cnonce.as_bytes(), uri.as_bytes());
        let exchange = Exchange { realm, nonce, cnonce, uri, authzid: None };
        let mut token = Vec::new();
        if utf8 {
            token.extend_from_slice(b"charset=utf-8,");
        }
        token.extend_from_slice(b"username=");
        quote(&mut token, &name);
        token.extend_from_slice(b",realm=");
        quote(&mut token, realm);
        token.extend_from_slice(b",nonce=");
        quote(&mut token, nonce);
        token.extend_from_slice(b",nc=00000001,cnonce=");
        quote(&mut token, exchange.cnonce);
        token.extend_from_slice(b",digest-uri=");
        quote(&mut token, exchange.uri);
        token.extend_from_slice(b",response=");
        token.extend_from_slice(exchange.digest(credentials, Whose::Client).as_bytes());
        token.extend_from_slice(b",qop=auth");
        let expected = Secret::new(exchange.digest(credentials, Whose::Server));
        Ok(Self { token, expected })
    }

    /// Whether the server knows the password, by its last word.
    ///
    /// # Errors
    /// It says nothing of the kind, or the wrong thing.
    pub(super) fn confirm(&self, last: &[u8]) -> Result<(), Fault> {
        let said = Directives::parse(last)?;
        let proof = said.once(b"rspauth")?.ok_or(Fault::Unusable("it has no rspauth"))?;
        if self.expected.is(proof) {
            Ok(())
        } else {
            Err(Fault::Unusable("its rspauth is wrong: it does not know the password itself"))
        }
    }
}

/// The challenge with this nonce, as a server's.
pub(super) fn challenge(nonce: &str) -> Vec<u8> {
    format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess").into_bytes()
}

/// What a server makes of a client's answer to its challenge with this nonce: its last word, if the client is who it should be.
///
/// # Errors
/// It isn't, in words that are fit for a log.
pub(super) fn judge(answer: &[u8], nonce: &str, credentials: &Credentials<'_>) -> Result<Vec<u8>, String> {
    let unreadable = |malformed: Malformed| format!("its answer can't be read: {malformed}");
    let said = Directives::parse(answer).map_err(unreadable)?;
    let one = |key: &[u8]| said.once(key).map_err(unreadable);
    let is = |key: &[u8], wanted: &[u8], or_none: bool| match one(key)? {
        Some(value) if value.eq_ignore_ascii_case(wanted) => Ok(value.to_vec()),
        None if or_none => Ok(wanted.to_vec()),
        _ => Err(format!("its answer has a wrong {}, or none", String::from_utf8_lossy(key))),
    };
    is(b"charset", b"utf-8", true)?;
    is(b"nc", b"00000001", true)?;
    is(b"qop", b"auth", true)?;
    is(b"realm", REALM.as_bytes(), false)?;
    let uri = is(b"digest-uri", URI.as_bytes(), false)?;
    // The case of this one counts.
    if one(b"nonce")? != Some(nonce.as_bytes()) {
        return Err("its answer is to another challenge".to_owned());
    }
    let name = one(b"username")?.unwrap_or_default();
    let own = credentials.username.as_bytes();
    let is_own = |given: &[u8]| given == own || (one(b"charset") == Ok(None) && given == &*narrow(own));
    if !is_own(name) {
        return Err("it is another user than the one whose credentials are held".to_owned());
    }
    // Java's client names itself (`SecurityUtils.createSaslClient`). It is part of the digest, as it was sent.
    let authzid = one(b"authzid")?;
    if authzid.is_some_and(|authzid| !is_own(authzid)) {
        return Err("it wants to act for another user than itself (authzid)".to_owned());
    }
    let (cnonce, given) = (one(b"cnonce")?.unwrap_or_default(), one(b"response")?.unwrap_or_default());
    let exchange = Exchange { realm: REALM.as_bytes(), nonce: nonce.as_bytes(), cnonce, uri: &uri, authzid };
    if cnonce.is_empty() || !Secret::new(exchange.digest(credentials, Whose::Client)).is(given) {
        return Err("its password is not the one that is held".to_owned());
    }
    Ok(format!("rspauth={}", exchange.digest(credentials, Whose::Server)).into_bytes())
}

#[cfg(test)]
mod tests;
