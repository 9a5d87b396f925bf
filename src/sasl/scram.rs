//! SCRAM (RFC 5802) with SHA-256 (RFC 7677) and SHA-512, both sides, without channel binding. Pure, but for the nonce.
//!
//! Names and passwords are taken as the UTF-8 that they are: brokers and their own clients apply no `SASLprep` (`ScramFormatter.normalize` of
//! Kafka 2.8 to 4.3), and one that did would not know a password again which they have salted.

use super::SaslError;
use crate::config::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// The least that a server may ask for (RFC 7677, section 4; Kafka takes no less).
pub(super) const ITERATIONS_LEAST: u32 = 4096;
/// The most: some 50 ms, in which the thread moves no byte. Kafka lets a user have 16384 (`ScramMechanism.maxIterations`; those that
/// `kafka-configs.sh` wrote into `ZooKeeper` had no such bound).
const ITERATIONS_MOST: u32 = 65_536;

/// The hash of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn code(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), message).as_ref().to_vec()
    }
}

/// What a salted password comes to.
#[derive(Debug)]
pub(super) struct Keys {
    client: Secret,
    stored: Secret,
    server: Secret,
}

impl Keys {
    pub(super) fn new(hash: Hash, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = zeroize::Zeroizing::new(vec![0; hash.digest().output_len()]);
        pbkdf2::derive(hash.pbkdf2(), iterations, salt, password.expose(), &mut salted);
        let client = Secret::new(hash.code(&salted, b"Client Key"));
        let stored = Secret::new(digest::digest(hash.digest(), client.expose()).as_ref());
        Self { client, stored, server: Secret::new(hash.code(&salted, b"Server Key")) }
    }
}

/// Keys that were made last: they cost thousands of hashes, and the salt is the same at every broker.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyCache(Arc<Mutex<Option<Cached>>>);

#[derive(Debug)]
struct Cached {
    hash: Hash,
    password: Secret,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    keys: Arc<Keys>,
}

impl KeyCache {
    pub(super) fn keys(
        &self,
        hash: Hash,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Arc<Keys> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cached.as_ref()
            && (known.hash, known.iterations) == (hash, iterations)
            && known.salt == salt
            && known.password == *password
        {
            return Arc::clone(&known.keys);
        }
        let keys = Arc::new(Keys::new(hash, password, salt, iterations));
        let (password, salt) = (password.clone(), salt.to_vec());
        *cached = Some(Cached { hash, password, salt, iterations, keys: Arc::clone(&keys) });
        keys
    }
}

/// Bytes that nobody can guess, as text without a comma.
pub(super) fn nonce() -> Result<String, SaslError> {
    let mut bytes = [0; 24];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SaslError::Malformed("no random bytes on this system"))?;
    Ok(STANDARD.encode(bytes))
}

/// A name as it stands in a message.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn unescaped(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut parts = name.split('=');
    out.push_str(parts.next()?);
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        out.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

/// The value of the attribute that must come next.
fn attribute<'a>(parts: &mut impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    parts.next()?.strip_prefix(name)?.strip_prefix('=')
}

fn text(message: &[u8]) -> Result<&str, SaslError> {
    std::str::from_utf8(message).map_err(|_| SaslError::Malformed("it is not UTF-8"))
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// The side that shows credentials.
#[derive(Debug)]
pub(super) struct Client {
    hash: Hash,
    password: Secret,
    cache: KeyCache,
    nonce: String,
    /// The first message without its head.
    bare: String,
    /// What the server has to prove the password with.
    proof: Option<hmac::Tag>,
}

impl Client {
    pub(super) fn new(hash: Hash, user: &str, password: Secret, cache: KeyCache, nonce: String) -> Self {
        let bare = format!("n={},r={nonce}", escaped(user));
        Self { hash, password, cache, nonce, bare, proof: None }
    }

    /// The message that begins it.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// To the server's first message.
    pub(super) fn prove(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        let challenge = text(challenge)?;
        if let Some(error) = challenge.strip_prefix("e=") {
            return Err(SaslError::Refused(error.chars().take(200).collect()));
        }
        let mut parts = challenge.split(',');
        let malformed = SaslError::Malformed("SCRAM wants a nonce, a salt and a number of iterations");
        let (Some(nonce), Some(salt), Some(iterations)) =
            (attribute(&mut parts, "r"), attribute(&mut parts, "s"), attribute(&mut parts, "i"))
        else {
            return Err(malformed);
        };
        if nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(SaslError::Malformed("the nonce is not a longer one of ours"));
        }
        let salt = STANDARD.decode(salt).map_err(|_| malformed.clone())?;
        let iterations: u32 = iterations.parse().map_err(|_| malformed)?;
        let bounds = ITERATIONS_LEAST..=ITERATIONS_MOST;
        let iterations = NonZeroU32::new(iterations).filter(|n| bounds.contains(&n.get()));
        let iterations = iterations.ok_or_else(|| {
            SaslError::Iterations(challenge.rsplit("i=").next().and_then(|n| n.parse().ok()).unwrap_or(0))
        })?;
        let keys = self.cache.keys(self.hash, &self.password, &salt, iterations);
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{challenge},{last}", self.bare);
        let signature = self.hash.code(keys.stored.expose(), all.as_bytes());
        let key = hmac::Key::new(self.hash.hmac(), keys.server.expose());
        self.proof = Some(hmac::sign(&key, all.as_bytes()));
        let proof = STANDARD.encode(xor(keys.client.expose(), &signature));
        Ok(format!("{last},p={proof}").into_bytes())
    }

    /// The server's last message: whether it has the password, too.
    pub(super) fn check(&self, last: &[u8]) -> Result<(), SaslError> {
        let last = text(last)?;
        if let Some(error) = last.strip_prefix("e=") {
            return Err(SaslError::Refused(error.chars().take(200).collect()));
        }
        let signature = attribute(&mut last.split(','), "v").and_then(|v| STANDARD.decode(v).ok());
        let signature = signature.ok_or(SaslError::Malformed("SCRAM wants a signature at the end"))?;
        let proof = self.proof.as_ref().ok_or(SaslError::Malformed("the end comes first"))?;
        // The server sends what it has already, so that nothing is told by how long this takes.
        if Secret::new(proof.as_ref()).is(&signature) { Ok(()) } else { Err(SaslError::Impostor) }
    }

    /// Whether the server's last message is due.
    pub(super) fn is_proved(&self) -> bool {
        self.proof.is_some()
    }
}

/// What is known of the one who may come in.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) user: String,
    pub(super) keys: Arc<Keys>,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
}

/// The side that checks credentials.
#[derive(Debug)]
pub(super) struct Server {
    hash: Hash,
    known: Known,
    /// Both first messages, and the nonce of both.
    so_far: Option<(String, String)>,
    is_known: bool,
    head: String,
}

impl Server {
    pub(super) fn new(hash: Hash, known: Known) -> Self {
        Self { hash, known, so_far: None, is_known: false, head: String::new() }
    }

    /// Whether the client's last message is due.
    pub(super) fn has_begun(&self) -> bool {
        self.so_far.is_some()
    }

    /// To the client's first message. Who it is from is not told to be unknown before it has shown a proof.
    pub(super) fn challenge(&mut self, first: &[u8], nonce: &str) -> Result<Vec<u8>, SaslError> {
        let first = text(first)?;
        let malformed = SaslError::Malformed("SCRAM wants a name and a nonce");
        let mut parts = first.splitn(3, ',');
        let (Some("n" | "y"), Some(actor), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SaslError::Malformed("SCRAM without channel binding is all that there is"));
        };
        let mut attributes = bare.split(',');
        let user = attribute(&mut attributes, "n").and_then(unescaped).ok_or_else(|| malformed.clone())?;
        let theirs = attribute(&mut attributes, "r").filter(|nonce| !nonce.is_empty()).ok_or(malformed)?;
        let acts_for = actor.strip_prefix("a=").map(|name| unescaped(name).unwrap_or_default());
        self.is_known = user == self.known.user
            && acts_for.is_none_or(|actor| actor == user)
            && !attributes.any(|extension| extension == "tokenauth=true");
        let both = format!("{theirs}{nonce}");
        let salt = STANDARD.encode(&self.known.salt);
        let answer = format!("r={both},s={salt},i={}", self.known.iterations);
        self.head = STANDARD.encode(first.strip_suffix(bare).unwrap_or_default());
        self.so_far = Some((format!("{bare},{answer}"), both));
        Ok(answer.into_bytes())
    }

    /// To the client's last message: the proof that the password is known here, too; none if the client's proof is wrong.
    pub(super) fn decide(&mut self, last: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        let malformed = SaslError::Malformed("SCRAM wants a proof at the end");
        let (so_far, both) = self.so_far.take().ok_or_else(|| malformed.clone())?;
        let last = text(last)?;
        let (unproved, proof) = last.rsplit_once(",p=").ok_or_else(|| malformed.clone())?;
        let mut parts = unproved.split(',');
        let bound = attribute(&mut parts, "c") == Some(self.head.as_str());
        if !bound || attribute(&mut parts, "r") != Some(both.as_str()) {
            return Err(malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed)?;
        let all = format!("{so_far},{unproved}");
        let signature = self.hash.code(self.known.keys.stored.expose(), all.as_bytes());
        let shown = digest::digest(self.hash.digest(), &xor(&proof, &signature));
        if proof.len() != signature.len() || !self.known.keys.stored.is(shown.as_ref()) || !self.is_known {
            return Ok(None);
        }
        let signature = self.hash.code(self.known.keys.server.expose(), all.as_bytes());
        Ok(Some(format!("v={}", STANDARD.encode(signature)).into_bytes()))
    }
}
