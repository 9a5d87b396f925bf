//! The one error type of the test bed. Imports nothing of this crate.

use std::path::PathBuf;

/// What went wrong, in words for the person who reads the failed test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A condition did not come true in time.
    #[error("after {seconds} s still waiting for {what}")]
    Timeout {
        /// The condition.
        what: String,
        /// The bound, in seconds.
        seconds: u64,
    },
    /// A program ended with an error or gave an answer that makes no sense.
    #[error("{program}: {message}")]
    Program {
        /// Which program.
        program: String,
        /// What it said.
        message: String,
    },
    /// A server ended by itself.
    #[error("{name} ended by itself; its log {log} ends with:\n{tail}")]
    Died {
        /// Which server.
        name: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Something that the machine lacks.
    #[error("{0}")]
    Missing(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An I/O error with what was being done: for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A program that failed.
    pub fn program(program: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Program { program: program.into(), message: message.into() }
    }
}
