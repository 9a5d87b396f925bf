//! Getting a token over HTTP for a client's id and secret (RFC 6749, section 4.4).

use crate::config::{Endpoint, Secret, Tls as TlsOptions};
use crate::dns::Resolver;
use crate::net::{ConnectOptions, Secure, connect};
use crate::sasl::bearer;
use crate::tls::Tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest that the answer may take once there is a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 * 1024;
/// A token that doesn't say when it ends is used for so long.
const UNTOLD: Duration = Duration::from_secs(300);

/// Who asks for a token, and where.
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) tls: &'a Tls,
    pub(super) secure: &'a TlsOptions,
    pub(super) client_id: &'a str,
    pub(super) secret: &'a Secret,
    pub(super) scope: Option<&'a str>,
}

/// A token, and for how long it lasts from now.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) lasts: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    /// A number of seconds; some servers write it as text.
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Asks once. Errors: why there is none, without the secret.
pub(super) async fn fetch(
    resolver: &Resolver,
    options: &ConnectOptions,
    asked: &Asked<'_>,
) -> Result<Token, String> {
    let at = asked.endpoint;
    let secure = Secure { tls: asked.tls, options: asked.secure };
    let connected = connect(resolver, &at.host, at.port, options, secure).await.map_err(|e| e.to_string())?;
    let exchange = async {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(connected.stream)).await.map_err(|error| error.to_string())?;
        let request = request(asked).map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            Ok::<_, String>((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::pin!(connection, answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    };
    let (status, body) = match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(done) => done?,
        Err(_) => return Err(format!("no answer within {PATIENCE:?}")),
    };
    read(status.as_u16(), &body)
}

fn request(asked: &Asked<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let encode = |text: &[u8]| form_urlencoded::byte_serialize(text).collect::<String>();
    let pair = format!("{}:{}", encode(asked.client_id.as_bytes()), encode(asked.secret.expose()));
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = asked.scope {
        form.append_pair("scope", scope);
    }
    let at = asked.endpoint;
    let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host.clone() };
    Request::builder()
        .method(Method::POST)
        .uri(&at.path)
        .header(HOST, format!("{host}:{}", at.port))
        .header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(form.finish())))
}

/// What the answer says. A token in it is shown to nobody, whatever else is wrong.
fn read(status: u16, body: &[u8]) -> Result<Token, String> {
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    let short = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    if status != 200 {
        let why =
            answer.ok().map(|a| [a.error, a.error_description].into_iter().flatten().collect::<Vec<_>>());
        let why = why.filter(|why| !why.is_empty()).map(|why| format!(": {}", short(why.join(": "))));
        return Err(format!("HTTP status {status}{}", why.unwrap_or_default()));
    }
    let answer = answer.map_err(|_| "its answer is not the JSON of a token".to_owned())?;
    let token = answer.access_token.ok_or("its answer has no access_token")?;
    let secret = Secret::new(token);
    if !bearer::is_token(&secret) {
        return Err("its access_token has characters that no token has".to_owned());
    }
    let told = answer.expires_in.as_ref().and_then(seconds);
    let lasts = told.or_else(|| bearer::lasts(&secret, since_epoch())).unwrap_or(UNTOLD);
    Ok(Token { secret, lasts })
}

/// How long a server says that a token lasts; none if that makes no sense.
fn seconds(told: &serde_json::Value) -> Option<Duration> {
    let seconds = told.as_f64().or_else(|| told.as_str()?.trim().parse().ok())?;
    (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// The time of day, as tokens have it.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let token =
            read(200, br#"{"access_token":"abc.def","token_type":"Bearer","expires_in":30}"#).unwrap();
        assert_eq!((token.secret.expose(), token.lasts), (&b"abc.def"[..], Duration::from_secs(30)));
        for (told, lasts) in [
            ("30", Duration::from_secs(30)),
            ("30.5", Duration::from_millis(30_500)),
            ("\"3600\"", Duration::from_secs(3600)),
            ("\" 60 \"", Duration::from_secs(60)),
            ("\"an hour\"", UNTOLD),
            ("-1", UNTOLD),
            ("\"NaN\"", UNTOLD),
            ("1e300", UNTOLD),
            ("null", UNTOLD),
            ("true", UNTOLD),
        ] {
            let body = format!("{{\"access_token\":\"abc\",\"expires_in\":{told}}}");
            assert_eq!(read(200, body.as_bytes()).unwrap().lasts, lasts, "{told}");
        }
        assert_eq!(read(200, br#"{"access_token":"abc"}"#).unwrap().lasts, UNTOLD);
        for (status, body, why) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"who?"}"#,
                "HTTP status 401: invalid_client: who?",
            ),
            (500, "<html>secret-token</html>", "HTTP status 500"),
            (200, "secret-token", "its answer is not the JSON of a token"),
            (200, r#"{"token":"secret-token"}"#, "its answer has no access_token"),
            (
                200,
                r#"{"access_token":"secret-token\u0001"}"#,
                "its access_token has characters that no token has",
            ),
        ] {
            assert_eq!(read(status, body.as_bytes()).unwrap_err(), why);
        }
    }
}
