//! An exchange with a client, from the side that checks credentials: whether it knows the username and password that are held. Pure.

use super::scram::{self, Hash, Known, nonce};
use super::{SaslError, plain};
use crate::config::{Mechanism, Secret};

/// One exchange. See the module.
#[derive(Debug)]
pub struct Server(Step);

#[derive(Debug)]
enum Step {
    Plain(String, Secret),
    Scram(Box<scram::Server>),
    /// Nothing comes behind the end.
    Over,
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// This, and its next message is due.
    Challenge(Vec<u8>),
    /// It is in; this is the last message to it.
    Welcome(Vec<u8>),
    /// It is not.
    Refused,
}

impl Server {
    pub(super) fn plain(user: &str, password: &Secret) -> Self {
        Self(Step::Plain(user.to_owned(), password.clone()))
    }

    pub(super) fn scram(mechanism: Mechanism, known: Known) -> Self {
        let hash = if mechanism == Mechanism::ScramSha512 { Hash::Sha512 } else { Hash::Sha256 };
        Self(Step::Scram(Box::new(scram::Server::new(hash, known))))
    }

    /// To a client's message.
    ///
    /// # Errors
    /// The message is none of its mechanism.
    pub fn next(&mut self, message: &[u8]) -> Result<Served, SaslError> {
        let (served, over) = match &mut self.0 {
            Step::Plain(user, password) => {
                let (actor, shown, proof) = plain::read(message)?;
                let is_user = shown == user.as_bytes() && (actor.is_empty() || actor == shown);
                let is_in = password.is(proof) && is_user;
                (if is_in { Served::Welcome(Vec::new()) } else { Served::Refused }, true)
            }
            Step::Scram(server) if !server.has_begun() => {
                (Served::Challenge(server.challenge(message, &nonce()?)?), false)
            }
            Step::Scram(server) => (server.decide(message)?.map_or(Served::Refused, Served::Welcome), true),
            Step::Over => return Err(SaslError::Malformed("the exchange is over")),
        };
        if over {
            self.0 = Step::Over;
        }
        Ok(served)
    }
}
