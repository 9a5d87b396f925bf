//! Floor 2, `sasl`: proving who a connection is from (RFC 4422), as the one who shows credentials and as the one who checks them.
//!
//! What it is: the messages of PLAIN (`plain`), SCRAM (`scram`) and OAUTHBEARER (`bearer`), pure; [`Keeper`], which keeps what the files of
//! `[kafka.sasl]` hold, read again when they change; and `token`, which gets tokens over HTTP. How messages are framed is the
//! protocols' own affair.
//!
//! May import: `config`, `files`, `net`, `dns`, `tls`. Must never: show a secret, or take a server's word without its proof.

mod bearer;
mod exchange;
mod files;
mod keeper;
mod plain;
mod scram;
mod serve;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;

pub use exchange::Exchange;
pub use keeper::{Keeper, faults};
pub use serve::{Served, Server};

/// Why an exchange can't go on, or can't begin. One line, without a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// A file can't be used.
    #[error("{path}: {why}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What the other side sent makes no sense.
    #[error("its message makes no sense: {0}")]
    Malformed(&'static str),
    /// A server's offer that is not safe, or would cost too much.
    #[error("it asks for {0} iterations; from 4096 to 65536 are taken")]
    Iterations(u32),
    /// The server says no.
    #[error("it says: {0}")]
    Refused(String),
    /// The server doesn't know the password either.
    #[error("it can't prove that it knows the password: is this the right cluster?")]
    Impostor,
    /// No token could be got.
    #[error("no token from {endpoint}: {why}")]
    Token {
        /// Where.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// A configuration without what its mechanism needs.
    #[error("no credentials are configured")]
    Missing,
}
