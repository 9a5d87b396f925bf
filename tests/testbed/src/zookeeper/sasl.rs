//! Ensembles that serve nobody who hasn't proved to be a certain user, by SASL with DIGEST-MD5 (RFC 2831), and how the test bed's own client
//! does so.

use super::Ensemble;
use super::wire::{Frames, In, Out};
use crate::keys::replace;
use crate::{Error, Result};
use md5::{Digest as _, Md5};
use std::fmt::Write as _;
use std::path::PathBuf;

/// The one user.
pub const USER: &str = "evenkeel";
/// Its password. Within ISO 8859-1, in which it is digested, and beyond ASCII.
pub const PASSWORD: &str = "Schl\u{fc}ssel, 7";

const SASL: i32 = 102;
const URI: &str = "zookeeper/zk-sasl-md5";

impl Ensemble {
    /// Writes who may connect, if the spec asks for that.
    pub(super) fn name_users(&self) -> Result<()> {
        if !self.spec.sasl {
            return Ok(());
        }
        let section = format!(
            "Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  user_{USER}=\"{PASSWORD}\";\n}};\n"
        );
        replace(&self.users(), &section)?;
        replace(&self.password_file(), &format!("{PASSWORD}\n"))
    }

    /// The file of users (JAAS).
    pub(super) fn users(&self) -> PathBuf {
        self.folder().join("users.conf")
    }

    /// The word of a server's command line that names the file of users (JAAS). Without one there must be no such name.
    pub(super) fn users_setting(&self) -> String {
        let file = if self.spec.sasl { "java.security.auth.login.config" } else { "testbed.no.users" };
        format!("-D{file}={}", self.users().display())
    }

    /// Writes the file (JAAS) with which Java clients prove to be this user by themselves, and names it.
    pub(super) fn client_login(&self) -> Result<PathBuf> {
        let section = format!(
            "Client {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  username=\"{USER}\"\n  \
             password=\"{PASSWORD}\";\n}};\n"
        );
        let file = self.folder().join("client.conf");
        replace(&file, &section)?;
        Ok(file)
    }

    /// The file from which a sidecar reads the password.
    pub fn password_file(&self) -> PathBuf {
        self.folder().join("password")
    }

    /// The lines of a server's settings with which it wants every session to be proved.
    pub(super) fn sasl_settings(&self) -> &'static str {
        if !self.spec.sasl {
            return "";
        }
        "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\nenforce.auth.enabled=true\n\
         enforce.auth.schemes=sasl\nsessionRequireClientSASLAuth=true\n"
    }

    /// The keys of a sidecar's configuration with which its sessions are this user's.
    pub(super) fn sasl_keys(&self) -> String {
        if !self.spec.sasl {
            return String::new();
        }
        format!("sasl.username = '{USER}'\nsasl.password_file = '{}'\n", self.password_file().display())
    }
}

/// Proves on a fresh connection whose session it is.
pub(super) fn prove(frames: &mut Frames) -> Result<()> {
    let challenge = token(frames, 1, b"")?;
    let nonce = value(&challenge, "nonce").ok_or_else(|| refused(&challenge))?;
    let secret = md5(&latin(&format!("{USER}:zk-sasl-md5:{PASSWORD}")));
    let mut one = secret;
    one.extend(format!(":{nonce}:bed").into_bytes());
    let (one, two) = (hex(&md5(&one)), hex(&md5(format!("AUTHENTICATE:{URI}").as_bytes())));
    let response = hex(&md5(format!("{one}:{nonce}:00000001:bed:auth:{two}").as_bytes()));
    let answer = format!(
        "charset=utf-8,username=\"{USER}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"bed\",\
         digest-uri=\"{URI}\",response={response},qop=auth"
    );
    let last = token(frames, 2, answer.as_bytes())?;
    if last.starts_with("rspauth=") { Ok(()) } else { Err(refused(&last)) }
}

fn token(frames: &mut Frames, xid: i32, token: &[u8]) -> Result<String> {
    let lost = || Error::io("authenticating at a ZooKeeper server");
    frames.send(&Out::default().int(xid).int(SASL).buffer(token)).map_err(lost())?;
    let mut answer: In = frames.receive().map_err(lost())?;
    let (_, _, code) = (answer.int()?, answer.long()?, answer.int()?);
    if code != 0 {
        return Err(refused(&format!("error {code}")));
    }
    answer.text()
}

fn refused(said: &str) -> Error {
    Error::program("zookeeper", format!("no SASL: {said}"))
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    Some(text.split_once(&format!("{key}=\""))?.1.split_once('"')?.0)
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    Md5::digest(bytes).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
