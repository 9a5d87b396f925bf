//! Asking the admin listener of a sidecar that runs: what the command line, and a controller of a fleet, do it with.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// Connections are kept for so long: less than listeners keep them (`Limits::head`).
const KEPT: Duration = Duration::from_secs(4);
/// The longest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// What was given as its address is none.
    #[error("{0:?} is no address of an admin listener: http://HOST:PORT")]
    Address(String),
    /// It can't be connected.
    #[error("{address}: {error}; is evenkeel running there?")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        error: String,
    },
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

/// `HOST:PORT` of `http://HOST:PORT/` or of `HOST:PORT`.
fn authority(url: &str) -> Result<&str, AskError> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) || authority.contains('/') {
        return Err(AskError::Address(url.to_owned()));
    }
    Ok(authority)
}

/// Whether this is the address of an admin listener, as [`ask`] takes it.
pub fn is_address(url: &str) -> bool {
    authority(url).is_ok()
}

/// One request without a body: status and text of the answer.
///
/// # Errors
/// Why there is no whole answer.
pub async fn ask(url: &str, method: Method, path: &str) -> Result<(u16, String), AskError> {
    Client::new().order(url, method, path, None, PATIENCE).await
}

/// Who asks, with connections that are kept for the next question. Cheap to clone.
#[derive(Clone)]
pub struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

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
    /// Without any connection.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT);
        Self(builder.build(connector))
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
        let address = authority(url)?;
        let late = || AskError::Late { address: address.to_owned(), within: patience };
        let asked = async {
            match self.asked(address, &method, path, body.clone()).await {
                Err(AskError::Http { .. }) => self.asked(address, &method, path, body).await,
                answer => answer,
            }
        };
        timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
    }

    async fn asked(
        &self,
        address: &str,
        method: &Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, String), AskError> {
        let http = |error: String| AskError::Http { address: address.to_owned(), error };
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| http(error.to_string()))?;
        let answer = self.0.request(request).await.map_err(|error| {
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
        for good in ["127.0.0.1:9901", "http://127.0.0.1:9901", "http://localhost:9901/", "http://[::1]:9901"]
        {
            assert!(authority(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "9901",
            ":9901",
            "https://127.0.0.1:9901",
            "127.0.0.1",
            "http://127.0.0.1:9901/v1",
            "h:99999",
        ] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
