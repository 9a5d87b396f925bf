//! Why a server can't be used: in one line for the log, as it counts, and with what to do about it.

use super::Settings;
use crate::config::HostPort;
use crate::metrics::ConnectOutcome;
use crate::net::{ConnectError, FrameError};
use crate::tls::{self, Why};
use std::io;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// One side wants an encrypted connection, or a certificate, and the other doesn't have it.
    #[error("{at}: {why}")]
    Tls {
        /// Where.
        at: HostPort,
        /// Why.
        why: Why,
    },
    /// Without a quorum, behind the client's last zxid, or unable to read what it was asked: it closes without a word.
    #[error("it closed the connection without an answer")]
    Closed,
    /// It may be starting, or stopped.
    #[error("it accepted the connection and did not answer")]
    Silent,
    /// It says that it has no quorum.
    #[error("it says that it is not serving requests: it has no quorum, or is starting")]
    NotServing,
    /// No server answers `srvr` so, whether or not it is allowed.
    #[error(
        "it closed the connection without an answer to srvr; is this an encrypted port (tls.enabled), or one for other servers?"
    )]
    Mute,
    /// Something else answers there.
    #[error("it doesn't answer as a server of ZooKeeper does")]
    Stranger,
    /// It does not accept the credentials, or they can't be read.
    #[error("{0}")]
    Sasl(String),
    /// It ended the connection, or sent nonsense, while the credentials were shown.
    #[error("{0}")]
    Unproven(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Of a connection to `at` that broke.
    pub(super) fn broken(error: &io::Error, settings: &Settings, at: &HostPort) -> Self {
        if tls::is_of_tls(error) {
            let why = tls::explain(error, &settings.zookeeper.tls, &at.host);
            return Self::Tls { at: at.clone(), why };
        }
        Self::Other(error.to_string())
    }

    /// Of a connection to `at` whose answer is no frame.
    pub(super) fn unread(error: &FrameError, settings: &Settings, at: &HostPort) -> Self {
        match error {
            FrameError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => Self::Closed,
            FrameError::Io(error) => Self::broken(error, settings, at),
            FrameError::TooLarge { len, .. }
                if u32::try_from(*len).is_ok_and(|len| tls::is_alert(len.to_be_bytes())) =>
            {
                Self::Tls { at: at.clone(), why: Why::encrypted_listener() }
            }
            error => Self::Other(error.to_string()),
        }
    }

    /// Of a server at `at` whose answer to `srvr` shows that it doesn't serve.
    pub(super) fn unserved(answer: &[u8], at: &HostPort) -> Self {
        match answer.first_chunk() {
            Some(first) if tls::is_alert(*first) => {
                Self::Tls { at: at.clone(), why: Why::encrypted_listener() }
            }
            _ if answer.is_empty() => Self::Mute,
            _ if String::from_utf8_lossy(answer).contains("not currently serving requests") => {
                Self::NotServing
            }
            _ => Self::Stranger,
        }
    }

    /// Of a server at `at` that said nothing to a word, and this to a `ConnectRequest`.
    pub(super) fn silent_at_first(answer: &[u8], at: &HostPort) -> Self {
        match answer.first_chunk() {
            Some(first) if tls::is_alert(*first) => {
                Self::Tls { at: at.clone(), why: Why::encrypted_listener() }
            }
            None if answer.is_empty() => Self::Tls { at: at.clone(), why: Why::as_an_encrypted_listener() },
            _ => Self::Silent,
        }
    }

    /// How it counts.
    pub(super) fn outcome(&self) -> ConnectOutcome {
        match self {
            Self::Connect(error) => error.outcome(),
            Self::Tls { .. } => ConnectOutcome::Tls,
            Self::Silent => ConnectOutcome::Timeout,
            Self::Sasl(_) => ConnectOutcome::Sasl,
            Self::Closed
            | Self::NotServing
            | Self::Mute
            | Self::Stranger
            | Self::Unproven(_)
            | Self::Other(_) => ConnectOutcome::Error,
        }
    }

    /// What to set or to do, in one line.
    pub(super) fn remedy(&self, settings: &Settings) -> String {
        let tls = if settings.zookeeper.tls.enabled {
            "does this port speak TLS?"
        } else {
            "set tls.enabled = true if it is a secureClientPort"
        };
        match self {
            Self::Connect(error) => error.remedy(),
            Self::Tls { why, .. } => why.remedy().to_owned(),
            Self::Closed => format!("see the server's own log: is it in a quorum, and is this its port for clients? {tls}"),
            Self::Silent => format!("is this a ZooKeeper server's port for clients, and is the server at work? {tls}"),
            Self::NotServing => {
                "bring up enough servers for a quorum, and see that each finds the others (its own log says so)".to_owned()
            }
            Self::Mute => format!("name the clientPort of the server; {tls}"),
            Self::Stranger | Self::Other(_) => {
                format!("name the clientPort of a ZooKeeper server: something else may answer there; {tls}")
            }
            Self::Sasl(_) | Self::Unproven(_) => match settings.zookeeper.sasl.held() {
                Some((user, file)) => format!(
                    "set the password in {} to what the section Server of the servers' JAAS file has for {user} (user_{user}), on every server; without that section a server offers no SASL",
                    file.display()
                ),
                None => "set sasl.username and sasl.password_file".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_there_is_told_apart() {
        let at = HostPort { host: "zk".to_owned(), port: 2181 };
        for (answer, why) in [
            (&[21, 3, 3, 0, 2, 2, 10][..], "zk:2181: it is an encrypted listener: set tls.enabled = true"),
            (b"", "it closed the connection without an answer to srvr"),
            (
                b"This ZooKeeper instance is not currently serving requests\n",
                "it says that it is not serving requests",
            ),
            (b"HTTP/1.1 400 Bad Request\r\n", "it doesn't answer as a server of ZooKeeper does"),
        ] {
            let text = Failure::unserved(answer, &at).to_string();
            assert!(text.starts_with(why), "{text}");
        }
        let silent = |answer| Failure::silent_at_first(answer, &at).to_string();
        assert!(silent(b"").starts_with("zk:2181: it says nothing to srvr and closes at a request"));
        assert!(silent(&[21, 3, 3, 0, 2]).ends_with("it is an encrypted listener: set tls.enabled = true"));
        // A server's own answer: it is there, and slow with words.
        assert!(matches!(Failure::silent_at_first(&[0, 0, 0, 37, 0], &at), Failure::Silent));
    }
}
