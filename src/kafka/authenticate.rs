//! Proving to a broker who a connection is from: `SaslHandshake` v1 and `SaslAuthenticate` v2 (KIP-43, KIP-152), before anything else on a
//! fresh connection, and again before the session that they open ends (KIP-368).
//!
//! `Talk` is the exchange as frames, without a socket: a channel drives it on our own connections, a session's link on its own. Imports
//! [`wire`], `sasl` and `config`. Must never: send anything else before the broker is content.

use super::wire::{self, Struct, WireError};
use crate::config::{Mechanism, Secret};
use crate::sasl::{Exchange, Keeper, SaslError};
use bytes::Bytes;
use rand::RngExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `SaslHandshake`.
pub(in crate::kafka) const HANDSHAKE: i16 = 17;
const HANDSHAKE_VERSION: i16 = 1;
/// `SaslAuthenticate`.
pub(in crate::kafka) const AUTHENTICATE: i16 = 36;
const AUTHENTICATE_VERSION: i16 = 2;
/// `UNSUPPORTED_SASL_MECHANISM`.
pub(in crate::kafka) const UNSUPPORTED_MECHANISM: i16 = 33;
/// `ILLEGAL_SASL_STATE`: what a listener that asks for no SASL answers.
pub(in crate::kafka) const ILLEGAL_STATE: i16 = 34;
/// `SASL_AUTHENTICATION_FAILED`.
pub(in crate::kafka) const FAILED: i16 = 58;

/// When a session is renewed, as a part of its life: some time is left for an answer that is late, and not all at once.
const RENEWED: std::ops::Range<f64> = 0.85..0.95;
/// And so long before its end, though not before half of it: a broker reads one request after another, and closes a connection on the first
/// that it comes to read when the session is over (`Processor.processCompletedReceives`), whenever it was sent.
const BEFORE: std::ops::Range<f64> = 2.0..3.0;

/// With what connections are opened.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// What is configured, which may be nothing.
    Held(Arc<Keeper>),
    /// What a client has shown: a mechanism whose first message can be shown again.
    Shown(Mechanism, Secret),
}

impl Credentials {
    /// An exchange; none if the brokers don't ask for one.
    ///
    /// # Errors
    /// A file can't be used, or no token can be got.
    pub async fn exchange(&self) -> Result<Option<Exchange>, Failure> {
        match self {
            Self::Held(keeper) => keeper.exchange().await.map_err(Failure::Credentials),
            Self::Shown(mechanism, first) => Ok(Exchange::shown(*mechanism, first.clone())),
        }
    }

    /// Whether a connection that was opened by this identity can be renewed: a broker takes no other on it.
    pub fn is_still(&self, identity: &Identity) -> bool {
        match self {
            Self::Held(keeper) => keeper.identity().is_some_and(|now| now == *identity),
            Self::Shown(..) => true,
        }
    }

    /// Whether a session that ends is renewed by ourselves. A token that a client has shown ends with it, and only the client can show
    /// another.
    pub fn is_renewed(&self) -> bool {
        !matches!(self, Self::Shown(Mechanism::OauthBearer, _))
    }

    /// A broker has refused them.
    fn refused(&self) {
        if let Self::Held(keeper) = self {
            keeper.refused();
        }
    }
}

/// The mechanism, and the user where that is known.
pub type Identity = (Mechanism, Option<String>);

/// Why a connection can't be used. One line, with the mechanism, the user, and the broker's own words; never a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// There are none to show.
    #[error("sasl: {0}")]
    Credentials(SaslError),
    /// The broker refuses them.
    #[error("{who} is refused: {said} ({code})")]
    Refused {
        /// Mechanism and user.
        who: String,
        /// Its error.
        code: &'static str,
        /// Its words.
        said: String,
    },
    /// The broker knows other mechanisms.
    #[error("{who}: the broker doesn't take this mechanism, but {offered}; change sasl.mechanism")]
    NotOffered {
        /// Mechanism and user.
        who: String,
        /// What it takes.
        offered: String,
    },
    /// The listener asks nobody.
    #[error("{who}: this listener asks for no SASL; remove sasl.mechanism, or name the listener that does")]
    NotAsked {
        /// Mechanism and user.
        who: String,
    },
    /// The listener asks, and nothing is configured.
    #[error("the broker asks for SASL, by {offered}; set sasl.mechanism and its credentials")]
    Asked {
        /// What it takes.
        offered: String,
    },
    /// The broker's messages make no sense, or prove nothing.
    #[error("{who}: {error}")]
    Exchange {
        /// Mechanism and user.
        who: String,
        /// Why.
        error: SaslError,
    },
    /// An answer can't be read.
    #[error("{who}: an answer can't be read: {error}")]
    Wire {
        /// Mechanism and user.
        who: String,
        /// Why.
        error: WireError,
    },
}

/// What comes next.
#[derive(Debug)]
pub(in crate::kafka) enum Say {
    /// This goes out, and its answer is due.
    Send(Bytes),
    /// The broker is content, and so are we.
    Done(Session),
}

/// A session at a broker, as far as its end goes.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Session {
    /// Who it is of.
    pub identity: Identity,
    /// How long it lasts; none: for as long as the connection.
    pub lasts: Option<Duration>,
}

impl Session {
    /// When it is to be renewed.
    pub(in crate::kafka) fn renewal(&self, now: Instant) -> Option<Instant> {
        let (lasts, mut rng) = (self.lasts?, rand::rng());
        let before = Duration::from_secs_f64(rng.random_range(BEFORE));
        let at = lasts.mul_f64(rng.random_range(RENEWED)).min(lasts.saturating_sub(before));
        Some(now + at.max(lasts / 2))
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::kafka) struct Talk {
    exchange: Exchange,
    client_id: String,
    /// Of the request whose answer is due.
    correlation: i32,
    shaken: bool,
}

impl Talk {
    /// Begins an exchange; the frame goes out at once.
    pub(in crate::kafka) fn begin(
        exchange: Exchange,
        client_id: &str,
        correlation: i32,
    ) -> Result<(Self, Bytes), Failure> {
        let mechanism = exchange.mechanism().name();
        let talk = Self { exchange, client_id: client_id.to_owned(), correlation, shaken: false };
        let frame = handshake(mechanism, correlation, client_id).map_err(|error| talk.wire(error))?;
        Ok((talk, frame))
    }

    /// The correlation id that the next answer must carry.
    pub(in crate::kafka) fn correlation(&self) -> i32 {
        self.correlation
    }

    /// The answer that was due.
    pub(in crate::kafka) fn on_answer(&mut self, frame: &Bytes) -> Result<Say, Failure> {
        if !self.shaken {
            let answer = self.decoded(HANDSHAKE, HANDSHAKE_VERSION, frame)?;
            self.shaken = true;
            return match answer.i16("error_code") {
                0 => self.send(&self.exchange.first()),
                UNSUPPORTED_MECHANISM => {
                    Err(Failure::NotOffered { who: self.who(), offered: offered(&answer) })
                }
                ILLEGAL_STATE => Err(Failure::NotAsked { who: self.who() }),
                code => Err(self.refused(code, None)),
            };
        }
        let answer = self.decoded(AUTHENTICATE, AUTHENTICATE_VERSION, frame)?;
        match answer.i16("error_code") {
            0 => {}
            ILLEGAL_STATE => return Err(Failure::NotAsked { who: self.who() }),
            code => return Err(self.refused(code, answer.str("error_message"))),
        }
        let challenge = answer.bytes_field("auth_bytes").cloned().unwrap_or_default();
        let next = self.exchange.next(&challenge);
        match next.map_err(|error| Failure::Exchange { who: self.who(), error })? {
            Some(message) => self.send(&message),
            None => {
                let lasts = u64::try_from(answer.i64("session_lifetime_ms")).ok().filter(|ms| *ms > 0);
                let (mechanism, user) = self.exchange.identity();
                let identity = (mechanism, user.map(str::to_owned));
                Ok(Say::Done(Session { identity, lasts: lasts.map(Duration::from_millis) }))
            }
        }
    }

    fn send(&mut self, message: &Secret) -> Result<Say, Failure> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = new(AUTHENTICATE).and_then(|mut body| {
            body.set_bytes("auth_bytes", Some(Bytes::copy_from_slice(message.expose())));
            wire::encode_request(AUTHENTICATE, AUTHENTICATE_VERSION, self.correlation, &self.client_id, &body)
        });
        frame.map(Say::Send).map_err(|error| self.wire(error))
    }

    fn decoded(&self, key: i16, version: i16, frame: &Bytes) -> Result<Struct, Failure> {
        let answer = wire::decode_response(key, version, frame);
        answer.map(|(_, answer)| answer).map_err(|error| self.wire(error))
    }

    fn who(&self) -> String {
        self.exchange.to_string()
    }

    fn wire(&self, error: WireError) -> Failure {
        Failure::Wire { who: self.who(), error }
    }

    fn refused(&self, code: i16, said: Option<&str>) -> Failure {
        let said = said.filter(|said| !said.is_empty()).unwrap_or("it gives no reason");
        let said = said.chars().filter(|c| !c.is_control()).take(300).collect();
        Failure::Refused { who: self.who(), code: wire::errors::name(code), said }
    }
}

fn new(key: i16) -> Result<Struct, WireError> {
    let unknown =
        WireError { fault: wire::Fault::UnknownApi(key), message: "SASL", version: 0, field: "", at: 0 };
    wire::request(key).map(wire::Message::new).ok_or(unknown)
}

/// The question with which it begins; with any mechanism it makes the broker say which it takes.
pub(in crate::kafka) fn handshake(
    mechanism: &str,
    correlation: i32,
    client_id: &str,
) -> Result<Bytes, WireError> {
    let mut body = new(HANDSHAKE)?;
    body.set_str("mechanism", mechanism);
    wire::encode_request(HANDSHAKE, HANDSHAKE_VERSION, correlation, client_id, &body)
}

/// What an answer to [`handshake`] says of a listener: none if it asks for no SASL.
pub(in crate::kafka) fn asked(frame: &Bytes) -> Option<Failure> {
    let (_, answer) = wire::decode_response(HANDSHAKE, HANDSHAKE_VERSION, frame).ok()?;
    let asks = matches!(answer.i16("error_code"), 0 | UNSUPPORTED_MECHANISM);
    asks.then(|| Failure::Asked { offered: offered(&answer) })
}

fn offered(answer: &Struct) -> String {
    let all: Vec<String> = answer.strs("mechanisms").map(|name| name.chars().take(40).collect()).collect();
    if all.is_empty() { "nothing that it names".to_owned() } else { all.join(" or ") }
}

/// What a failure comes to for the credentials that were shown.
pub(in crate::kafka) fn note(credentials: &Credentials, failure: &Failure) {
    if matches!(failure, Failure::Refused { .. } | Failure::Exchange { .. }) {
        credentials.refused();
    }
}

#[cfg(test)]
mod tests;
