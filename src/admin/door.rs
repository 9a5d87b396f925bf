//! Who is let in at a listener, before anything of a request is read or done.
//!
//! - A peer on this host needs no credential, unless `trust_loopback` is off; any other needs a token, or a certificate in its TLS.
//! - A wrong token is refused, whoever sends it.
//! - Without a credential the request must be for an address, localhost or a name of the configuration: a page of another site that has
//!   its own name point here (DNS rebinding) can't ask anything.
//! - What changes something is not taken from a page of another site: its browser says so (`Origin`, `Sec-Fetch-Site`). The one GET that
//!   changes something (the preStop hook) needs a token or a header that such a page can't send.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};

use super::response::{Answer, problem};
use super::tokens::{self, Tokens};
use crate::config::{self, Tls};
use crate::metrics::AdminRefusal;
use crate::tls;

/// The header of programs that ask for a drain with a GET: a page of another site can't send it without being let to.
pub(super) const CLIENT: HeaderName = HeaderName::from_static("evenkeel-client");
/// The route of the one GET that changes something.
pub(super) const PRESTOP: &str = "/v1/hooks/prestop";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a listener shows, and to whom.
#[derive(Debug)]
pub struct Door {
    face: Face,
    tokens: Option<Tokens>,
    /// How it is encrypted, if it is.
    pub(super) tls: Option<tls::Server>,
    certificates: bool,
    trust_loopback: bool,
    hosts: Vec<String>,
}

/// What is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// Every route.
    Control,
    /// Metrics and probes, for everyone.
    Metrics,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Where it comes from.
    pub(super) peer: SocketAddr,
    /// It has shown a certificate that counts.
    pub(super) certified: bool,
}

/// Why a request isn't let in, and what is answered.
pub(super) type Refused = (AdminRefusal, Box<Answer>);

impl Door {
    /// Of a listener with every route.
    ///
    /// # Errors
    /// The file that can't be used, with its key and the reason; or nobody but this host could be let in where others can ask.
    pub fn control(admin: &config::Admin) -> Result<Self, String> {
        let tokens = admin.token_file.as_deref().map(Tokens::new).transpose();
        let tokens = tokens.map_err(|error| format!("admin.token_file: {error}"))?;
        let files = &admin.tls;
        let tls = encrypted(files).map(tls::Server::new).transpose();
        let tls = tls.map_err(|error| format!("admin.tls: {error}"))?;
        Ok(Self {
            face: Face::Control,
            tokens,
            tls,
            certificates: files.ca.is_some(),
            trust_loopback: admin.trust_loopback,
            hosts: admin.hosts.clone(),
        })
    }

    /// What is wrong with each of the files of [`Door::control`]: the path of its key, and why.
    pub fn faults(admin: &config::Admin) -> Vec<(String, String)> {
        let tokens = admin.token_file.as_deref().and_then(|path| tokens::read(path).err());
        let tokens = tokens.map(|why| ("admin.token_file".to_owned(), why));
        let tls = encrypted(&admin.tls).map(|files| tls::listener_faults(&files)).unwrap_or_default();
        let tls = tls.into_iter().map(|(key, error)| (format!("admin.tls.{key}"), error.to_string()));
        tokens.into_iter().chain(tls).collect()
    }

    /// Of a listener that shows metrics and probes to everyone, and nothing else to anyone.
    pub fn metrics() -> Self {
        let (tokens, tls, hosts) = (None, None, Vec::new());
        Self { face: Face::Metrics, tokens, tls, certificates: false, trust_loopback: true, hosts }
    }

    /// Whether a route is behind it.
    pub(super) fn shows(&self, path: &str) -> bool {
        self.face == Face::Control || ["/metrics", "/healthz", "/readyz"].contains(&path)
    }

    /// Whether a request is let in.
    pub(super) fn judge(&self, caller: Caller, head: &Parts) -> Result<(), Refused> {
        // Who is asked for must be one (RFC 9112, section 3.2): others on the way may go by the other line.
        if head.headers.get_all(HOST).iter().nth(1).is_some() {
            return refused(AdminRefusal::Host, StatusCode::BAD_REQUEST, "a request has one host");
        }
        if self.face == Face::Metrics {
            return Ok(());
        }
        let token = self.token(&head.headers)?;
        if !(token || self.certificates && caller.certified) {
            if !(self.trust_loopback && is_local(caller.peer.ip())) {
                return Err(self.unknown());
            }
            self.is_meant(&head.headers)?;
        }
        let hook = head.method == Method::GET && head.uri.path() == PRESTOP;
        if hook && !token && !head.headers.contains_key(&CLIENT) {
            let text =
                "this hook changes something: send a token, or the header evenkeel-client with any value";
            return refused(AdminRefusal::Origin, StatusCode::FORBIDDEN, text);
        }
        if hook || ![Method::GET, Method::HEAD].contains(&head.method) {
            is_own(&head.headers)?;
        }
        Ok(())
    }

    /// Whether it has a token that is known; a wrong one is no matter of trust.
    fn token(&self, headers: &HeaderMap) -> Result<bool, Refused> {
        let Some(tokens) = &self.tokens else { return Ok(false) };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(false),
            (Some(one), None) if bearer(one).is_some_and(|token| tokens.has(token)) => Ok(true),
            _ => Err(self.unknown()),
        }
    }

    fn unknown(&self) -> Refused {
        let (status, text) = match (&self.tokens, self.certificates) {
            (Some(_), false) => (StatusCode::UNAUTHORIZED, "a token that is known here is needed"),
            (Some(_), true) => {
                (StatusCode::UNAUTHORIZED, "a token that is known here, or a client's certificate, is needed")
            }
            (None, true) => (StatusCode::FORBIDDEN, "a client's certificate is needed"),
            (None, false) => (StatusCode::FORBIDDEN, "only this host is let in"),
        };
        let mut answer = problem(status, text);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"evenkeel\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        (AdminRefusal::Credential, Box::new(answer))
    }

    /// Whether it asked for us by an address or a name of ours. A program of old that names nobody means us.
    fn is_meant(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(host) = headers.get(HOST) else { return Ok(()) };
        let named = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        let ours = named.is_some_and(|authority| {
            let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
            let host = host.to_ascii_lowercase();
            host.parse::<IpAddr>().is_ok()
                || host == "localhost"
                || host.ends_with(".localhost")
                || self.hosts.iter().any(|known| known.trim_end_matches('.').eq_ignore_ascii_case(&host))
        });
        if ours {
            return Ok(());
        }
        let text = "without a credential the host must be an address, localhost, or a name of admin.hosts";
        refused(AdminRefusal::Host, StatusCode::MISDIRECTED_REQUEST, text)
    }
}

/// The files of a listener, if it is encrypted.
fn encrypted(files: &config::AdminTls) -> Option<Tls> {
    let certificate = Some(files.certificate.clone()?);
    Some(Tls { enabled: true, ca: files.ca.clone(), certificate, key: files.key.clone() })
}

/// Whether a peer is on this host. An address of version 4 may come in the clothes of version 6.
pub(super) fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The token of `Authorization: Bearer …`.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether it is no page of another site that asks.
fn is_own(headers: &HeaderMap) -> Result<(), Refused> {
    let site = headers.get(&FETCH_SITE).map(HeaderValue::as_bytes);
    let own_site = site.is_none_or(|site| [&b"same-origin"[..], b"none"].contains(&site));
    let own_origin = headers.get(ORIGIN).is_none_or(|origin| {
        let authority =
            origin.as_bytes().strip_prefix(b"http://").or(origin.as_bytes().strip_prefix(b"https://"));
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    });
    if own_site && own_origin {
        return Ok(());
    }
    refused(AdminRefusal::Origin, StatusCode::FORBIDDEN, "changes are not taken from pages of other sites")
}

fn refused(why: AdminRefusal, status: StatusCode, text: &str) -> Result<(), Refused> {
    Err((why, Box::new(problem(status, text))))
}
