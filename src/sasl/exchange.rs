//! An exchange with a server, from the side that shows credentials: which message comes next. Pure.

use super::scram::{Client, Hash, KeyCache, nonce};
use super::{SaslError, bearer, plain};
use crate::config::{Mechanism, Secret};
use std::fmt;

/// One exchange. See the module.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    user: Option<String>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Everything is in the first message; what comes back is empty.
    Whole(Secret),
    /// A token, and what the server had against it.
    Bearer(Secret, Option<SaslError>),
    Scram(Box<Client>),
}

impl Exchange {
    pub(super) fn plain(user: &str, password: &Secret) -> Self {
        let step = Step::Whole(plain::message(user, password));
        Self { mechanism: Mechanism::Plain, user: Some(user.to_owned()), step }
    }

    pub(super) fn bearer(token: &Secret) -> Self {
        let step = Step::Bearer(bearer::message(token), None);
        Self { mechanism: Mechanism::OauthBearer, user: None, step }
    }

    pub(super) fn scram(
        mechanism: Mechanism,
        user: &str,
        password: Secret,
        cache: KeyCache,
    ) -> Result<Self, SaslError> {
        let hash = if mechanism == Mechanism::ScramSha512 { Hash::Sha512 } else { Hash::Sha256 };
        let client = Client::new(hash, user, password, cache, nonce()?);
        Ok(Self { mechanism, user: Some(user.to_owned()), step: Step::Scram(Box::new(client)) })
    }

    /// With what a client has shown itself: the first message of PLAIN or OAUTHBEARER, which can be shown again.
    pub fn shown(mechanism: Mechanism, first: Secret) -> Option<Self> {
        let (user, step) = match mechanism {
            Mechanism::Plain => {
                let user = plain::read(first.expose()).map_or(&b""[..], |(_, user, _)| user);
                (Some(String::from_utf8_lossy(user).chars().take(200).collect()), Step::Whole(first))
            }
            Mechanism::OauthBearer => (None, Step::Bearer(first, None)),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => return None,
        };
        Some(Self { mechanism, user, step })
    }

    /// How.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Who, and how; a server takes no other on the same connection. A token's owner is not known here.
    pub fn identity(&self) -> (Mechanism, Option<&str>) {
        (self.mechanism, self.user.as_deref())
    }

    /// The message that begins it.
    pub fn first(&self) -> Secret {
        match &self.step {
            Step::Whole(message) | Step::Bearer(message, _) => message.clone(),
            Step::Scram(client) => Secret::new(client.first()),
        }
    }

    /// To what the server says to the last message; none when both sides are content.
    ///
    /// # Errors
    /// The server says no, or proves nothing.
    pub fn next(&mut self, challenge: &[u8]) -> Result<Option<Secret>, SaslError> {
        match &mut self.step {
            Step::Whole(_) => Ok(None),
            Step::Bearer(_, objection @ None) if !challenge.is_empty() => {
                // It is to be told that this was enough, and then says no in its protocol's way.
                *objection = Some(bearer::error_of(challenge));
                Ok(Some(Secret::new(bearer::ENOUGH)))
            }
            Step::Bearer(_, objection) => objection.take().map_or(Ok(None), Err),
            Step::Scram(client) if client.is_proved() => client.check(challenge).map(|()| None),
            Step::Scram(client) => client.prove(challenge).map(Secret::new).map(Some),
        }
    }
}

impl fmt::Display for Exchange {
    /// `PLAIN as "evenkeel"`, `OAUTHBEARER with a token`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{} as {user:?}", self.mechanism),
            None => write!(f, "{} with a token", self.mechanism),
        }
    }
}
