//! Asking the admin listener of a sidecar that runs: what the command line, and a controller of a fleet, do it with.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connector::Connector;
use super::door::CLIENT;
use super::tokens;
use crate::config::Tls;
use crate::tls;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections are kept for so long: less than listeners keep them (`Limits::head`).
const KEPT: Duration = Duration::from_secs(4);
/// The longest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// What was given as its address is none.
    #[error("{0:?} is no address of an admin listener: http://HOST:PORT or https://HOST:PORT")]
    Address(String),
    /// It can't be connected.
    #[error("{address}: {error}; is evenkeel running there?")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        error: String,
    },
    /// What is to be sent to be let in can't be used.
    #[error("{0}")]
    Credential(String),
    /// It doesn't answer.
    #[error("{address}: no answer within {within:?}")]
    Late {
        /// Where.
        address: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// What it says is no HTTP, or its answer is too long.
    #[error("{address}: {error}")]
    Http {
        /// Where.
        address: String,
        /// What is wrong.
        error: String,
    },
}

/// What a client shows to be let in, and whom it trusts. Files are read again for each use, so that they can be renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A file whose first token is sent.
    pub token_file: Option<PathBuf>,
    /// Certificates of the authorities that issue the listeners' (PEM). With it, addresses without a scheme are encrypted.
    pub ca: Option<PathBuf>,
    /// A certificate of our own (PEM), together with `key`.
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM, not encrypted).
    pub key: Option<PathBuf>,
    /// The name that the listeners' certificates are for, where it isn't the one in their address.
    pub name: Option<String>,
}

impl Credentials {
    /// What is wrong with them; files that can't be used are named.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.certificate.is_some() != self.key.is_some() {
            found.push("certificate and key come together".to_owned());
        }
        if let Some(Err(error)) = self.token_file.as_deref().map(tokens::read) {
            found.push(format!("token_file: {error}"));
        }
        if (self.ca.is_some() || self.certificate.is_some())
            && let Err(error) = tls::check(&self.options())
        {
            found.push(error.to_string());
        }
        found
    }

    /// Whether addresses are encrypted that don't say.
    fn is_secure(&self) -> bool {
        self.ca.is_some() || self.certificate.is_some()
    }

    fn options(&self) -> Tls {
        let Self { ca, certificate, key, .. } = self.clone();
        Tls { enabled: true, ca, certificate, key }
    }

    /// The header for the first token.
    fn header(&self) -> Result<Option<HeaderValue>, AskError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let tokens = tokens::read(path).map_err(AskError::Credential)?;
        let header = tokens.first().and_then(|token| {
            let text = Zeroizing::new([b"Bearer ", token.expose()].concat());
            HeaderValue::from_bytes(&text).ok()
        });
        Ok(header.map(|mut header| {
            header.set_sensitive(true);
            header
        }))
    }
}

/// `http` or `https`, if it is said, and `HOST:PORT` of `http://HOST:PORT/` or of `HOST:PORT`.
fn authority(url: &str) -> Result<(Option<&str>, &str), AskError> {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err())
        || authority.contains(['/', '@'])
        || scheme.is_some_and(|scheme| !["http", "https"].contains(&scheme))
    {
        return Err(AskError::Address(url.to_owned()));
    }
    Ok((scheme, authority))
}

/// Whether this is the address of an admin listener, as [`Client::order`] takes it.
pub fn is_address(url: &str) -> bool {
    authority(url).is_ok()
}

/// Who asks, with connections that are kept for the next question. Cheap to clone. It follows no redirect: a token goes where it was
/// meant to go.
#[derive(Clone)]
pub struct Client {
    connections: legacy::Client<Connector, Full<Bytes>>,
    credentials: Arc<Credentials>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Without any connection, and without credentials.
    pub fn new() -> Self {
        Self::with(Credentials::default())
    }

    /// The same with credentials.
    pub fn with(credentials: Credentials) -> Self {
        let connector = Connector::new(credentials.options(), credentials.name.clone());
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT);
        Self { connections: builder.build(connector), credentials: Arc::new(credentials) }
    }

    /// One request without a body: status and text of the answer.
    ///
    /// # Errors
    /// Why there is no whole answer.
    pub async fn ask(&self, url: &str, method: Method, path: &str) -> Result<(u16, String), AskError> {
        self.order(url, method, path, None, PATIENCE).await
    }

    /// One request, with JSON as its body if there is any, answered within `patience`: status and text of the answer. It is harmless
    /// to repeat, and is, when a connection that was kept ends under it.
    ///
    /// # Errors
    /// Why there is no whole answer.
    pub async fn order(
        &self,
        url: &str,
        method: Method,
        path: &str,
        body: Option<String>,
        patience: Duration,
    ) -> Result<(u16, String), AskError> {
        let (scheme, address) = authority(url)?;
        let scheme = scheme.unwrap_or(if self.credentials.is_secure() { "https" } else { "http" });
        let to = (scheme, address);
        let late = || AskError::Late { address: address.to_owned(), within: patience };
        let asked = async {
            match self.asked(to, &method, path, body.clone()).await {
                Err(AskError::Http { .. }) => self.asked(to, &method, path, body).await,
                answer => answer,
            }
        };
        timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
    }

    async fn asked(
        &self,
        (scheme, address): (&str, &str),
        method: &Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, String), AskError> {
        let http = |error: String| AskError::Http { address: address.to_owned(), error };
        let mut request = Request::builder().method(method).uri(format!("{scheme}://{address}{path}"));
        request = request.header(CLIENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = self.credentials.header()? {
            request = request.header(AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| http(error.to_string()))?;
        let answer = self.connections.request(request).await.map_err(|error| {
            let text = innermost(&error);
            if error.is_connect() {
                AskError::Connect { address: address.to_owned(), error: text }
            } else {
                http(text)
            }
        })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| http(error.to_string()))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// What an error is about: the outer ones say only who was told.
fn innermost(error: &legacy::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        text = error.to_string();
        inner = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for good in
            ["127.0.0.1:9901", "http://127.0.0.1:9901", "http://localhost:9901/", "https://[::1]:9901"]
        {
            assert!(authority(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "9901",
            ":9901",
            "ftp://127.0.0.1:9901",
            "http://user@127.0.0.1:9901",
            "127.0.0.1",
            "http://127.0.0.1:9901/v1",
            "h:99999",
        ] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
