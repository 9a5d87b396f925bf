//! Proving who a session is from: SASL with DIGEST-MD5, in the requests of type `sasl` (102).
//!
//! `authenticate` is Evenkeel's own proof on a connection to a server, right after the answer to the `ConnectRequest`;
//! `Offer` plays the server for a client that proves itself with the same credentials. Both follow `ZooKeeperSaslClient`,
//! `ZooKeeperSaslServer` and `ZooKeeperServer.processSasl` of 3.8 and 3.9: an empty first token, a challenge, an answer, a last word.
//!
//! Imports `config`, `files`, `net` and the wire format. Must never: show a password or what is made of one.

mod digest;
mod text;

use super::wire::{Malformed, Reader, Writer, errors, opcode, reply_body, reply_header};
use crate::config::{Secret, ZooKeeperSasl};
use crate::files::Kept;
use crate::net::{FrameError, FrameReader, Stream};
use bytes::Bytes;
use digest::{Answer, Credentials};
use rand::RngExt;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// The first request on a fresh connection, and the next one.
const FIRST: i32 = 1;
const SECOND: i32 = 2;

/// Letters and digits in a nonce: 192 bits.
const NONCE: usize = 32;

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SaslError {
    /// The connection ended or broke.
    #[error("the connection ended in the middle of a SASL authentication: {0}")]
    Lost(String),
    /// The password can't be read, or the server doesn't accept it, or offers nothing of the kind.
    #[error("{0}")]
    Refused(String),
}

/// The password that was read, until its file changes.
#[derive(Debug, Default)]
pub(super) struct Held(Kept<PathBuf, Secret>);

impl Held {
    /// What is in the file now; what was in it before, if it can't be used any more, which is said once.
    ///
    /// # Errors
    /// It could never be used.
    pub(super) fn password(&self, path: &Path) -> Result<Secret, String> {
        let file = path.display();
        let now = self.0.now(
            &path.to_owned(),
            &[path],
            || Secret::read(path),
            |news| match news {
                Ok(()) => tracing::info!(%file, "the password's file has changed and was read again"),
                Err(error) => {
                    tracing::warn!(%file, %error, "the password's file can't be used; what was read before stays");
                }
            },
        );
        now.map_err(|error| format!("{file}: {error}"))
    }
}

/// Whether the credentials can be used.
///
/// # Errors
/// Why not, without a word of what is in the file.
pub fn check(sasl: &ZooKeeperSasl) -> Result<(), String> {
    let Some((_, path)) = sasl.held() else { return Ok(()) };
    Secret::read(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

/// Proves to a server, on a connection where nothing else is under way, that a session is `username`'s. There is no bound in time.
pub(super) async fn authenticate(
    stream: &mut Stream,
    reader: &mut FrameReader,
    username: &str,
    password: &Secret,
) -> Result<(), SaslError> {
    let who = Credentials { username, password };
    let challenge = ask(stream, reader, FIRST, &[]).await?;
    if challenge.is_empty() {
        // A server without a section `Server` in its JAAS file answers so (`ZooKeeperSaslServer` is null).
        return Err(SaslError::Refused("it offers no SASL: it answers with an empty challenge".to_owned()));
    }
    let odd = |what: &str, fault: digest::Fault| {
        SaslError::Refused(format!("its {what} is not that of DIGEST-MD5: {fault}"))
    };
    let answer = Answer::to(&challenge, &who, &nonce()).map_err(|fault| odd("challenge", fault))?;
    let last = ask(stream, reader, SECOND, &answer.token).await?;
    if last.is_empty() {
        // With `allowSaslFailedClients` it goes on with a session that is nobody's.
        let text =
            "it does not accept the credentials, and would go on without: wrong password, or no such user";
        return Err(SaslError::Refused(text.to_owned()));
    }
    answer.confirm(&last).map_err(|fault| odd("last word", fault))
}

/// One token there and one back; null is as good as empty.
async fn ask(
    stream: &mut Stream,
    reader: &mut FrameReader,
    xid: i32,
    token: &[u8],
) -> Result<Bytes, SaslError> {
    let lost = |error: std::io::Error| SaslError::Lost(error.to_string());
    let request = Writer::frame().i32(xid).i32(opcode::SASL).buffer(Some(token)).finish();
    stream.write_all(&request).await.map_err(lost)?;
    let frame = match poll_fn(|cx| reader.poll_frame(cx, stream)).await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(SaslError::Lost("closed by the server".to_owned())),
        Err(FrameError::Io(error)) => return Err(lost(error)),
        Err(error) => return Err(SaslError::Refused(format!("its answer can't be read: {error}"))),
    };
    let odd = |error: Malformed| SaslError::Refused(format!("its answer can't be read: {error}"));
    let header = reply_header(&frame).map_err(odd)?;
    if header.xid != xid {
        return Err(SaslError::Refused(format!("it answers {} instead of {xid}", header.xid)));
    }
    if header.err != 0 {
        let (name, code) = (errors::name(header.err), header.err);
        return Err(SaslError::Refused(format!(
            "it does not accept the credentials ({name}, {code}): wrong password, or no such user"
        )));
    }
    let token = Reader::new(reply_body(&frame)).buffer("token").map_err(odd)?;
    Ok(Bytes::copy_from_slice(token.unwrap_or_default()))
}

fn nonce() -> String {
    let mut rng = rand::rng();
    (0..NONCE).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect()
}

/// The challenge that a client was given.
pub(super) struct Offer {
    nonce: String,
}

impl Offer {
    /// A fresh one, and how it is said.
    pub(super) fn new() -> (Self, Vec<u8>) {
        let nonce = nonce();
        let challenge = digest::challenge(&nonce);
        (Self { nonce }, challenge)
    }

    /// The last word to a client whose answer this is, if it has these credentials.
    ///
    /// # Errors
    /// It hasn't: why, in words that are fit for a log.
    pub(super) fn judge(self, answer: &[u8], username: &str, password: &Secret) -> Result<Vec<u8>, String> {
        digest::judge(answer, &self.nonce, &Credentials { username, password })
    }
}

/// The body of an answer with a token.
pub(super) fn body(token: &[u8]) -> Bytes {
    Writer::record().buffer(Some(token)).finish()
}

#[cfg(test)]
mod tests;
