//! `[kafka.sasl]`: with which credentials connections to brokers are opened, and the rules between its keys.
//! Secrets stand in files; only their paths are here.
//!
//! Imports files of this folder only.

use std::fmt;
use std::path::PathBuf;

use super::report::Report;
use super::units;

/// How connections to brokers prove who they are from.
///
/// [`Default`] proves nothing: no `mechanism`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sasl {
    /// How; none: the brokers don't ask.
    pub mechanism: Option<Mechanism>,
    /// Who we are, for PLAIN and SCRAM.
    pub username: Option<String>,
    /// The file of the password, for PLAIN and SCRAM.
    pub password_file: Option<PathBuf>,
    /// The file of a token that somebody else renews, for OAUTHBEARER.
    pub token_file: Option<PathBuf>,
    /// Where tokens are handed out for `client_id` and its secret (RFC 6749, section 4.4), for OAUTHBEARER.
    pub token_endpoint: Option<Endpoint>,
    /// Certificates of the authorities that `token_endpoint`'s may be issued by (PEM); none: those of the system.
    pub token_ca: Option<PathBuf>,
    /// Who we are at `token_endpoint`.
    pub client_id: Option<String>,
    /// The file of `client_id`'s secret.
    pub client_secret_file: Option<PathBuf>,
    /// What the token is to be good for, as `token_endpoint` calls it.
    pub scope: Option<String>,
    /// Whose credentials clients' connections are opened with.
    pub clients: Clients,
}

/// How to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Username and password as they are (RFC 4616).
    Plain,
    /// Proof of a password without showing it (RFC 5802, RFC 7677).
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
    /// A token that somebody else has signed (RFC 7628).
    OauthBearer,
}

impl Mechanism {
    /// All, as they are written.
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("PLAIN", Self::Plain),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-512", Self::ScramSha512),
        ("OAUTHBEARER", Self::OauthBearer),
    ];

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose credentials clients' connections are opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clients {
    /// Evenkeel's own: clients need none, and those that they show must be the same.
    #[default]
    Held,
    /// The client's own, which it must show.
    Own,
}

/// Where tokens are handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is https.
    pub encrypted: bool,
    /// Its host, an IPv6 address without its brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query, with the first slash.
    pub path: String,
}

impl Endpoint {
    /// From `https://HOST[:PORT]/PATH`. Errors: what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            let example = "https://login.example.net/oauth2/token";
            format!("{} {what}; write an address such as \"{example}\"", units::quote(&harmless(text)))
        };
        let (encrypted, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("begins with neither https:// nor http://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("holds credentials, which belong in client_id and client_secret_file"));
        }
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => {
                (host, units::port(port).ok_or_else(|| wrong("has no port that there can be"))?)
            }
            None => (authority, if encrypted { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
        if host.is_empty() || rest.contains(odd) {
            return Err(wrong("is no address of the web"));
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { encrypted, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// An address without what may be a secret in it: what stands before its host, and its query.
fn harmless(text: &str) -> String {
    let (hidden, rest) = text.rsplit_once('@').map_or(("", text), |(hidden, rest)| (hidden, rest));
    let open = rest.split(['?', '#']).next().unwrap_or_default();
    match (hidden.contains('?'), hidden.is_empty()) {
        (true, _) => "\u{2026}".to_owned(), // all of it may be of the query
        (false, true) => open.to_owned(),
        (false, false) => format!("\u{2026}@{open}"),
    }
}

impl fmt::Display for Endpoint {
    /// Without its query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        let host = &self.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{host}:{}{path}", self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Which keys a mechanism needs, and which it has no use for.
pub(super) fn check(base: &str, sasl: &Sasl, report: &mut Report) {
    let path = |name: &str| format!("{base}.{name}");
    let of_password =
        [("username", sasl.username.is_some()), ("password_file", sasl.password_file.is_some())];
    let of_endpoint =
        [("client_id", sasl.client_id.is_some()), ("client_secret_file", sasl.client_secret_file.is_some())];
    let of_token = [
        ("token_file", sasl.token_file.is_some()),
        ("token_endpoint", sasl.token_endpoint.is_some()),
        ("token_ca", sasl.token_ca.is_some()),
        ("scope", sasl.scope.is_some()),
    ];
    let mut of_token = of_token.into_iter().chain(of_endpoint);
    let mechanism = path("mechanism");
    if !report.is_sound(&mechanism) {
        return;
    }
    let useless = |report: &mut Report, keys: &mut dyn Iterator<Item = (&str, bool)>, why: &str| {
        for (name, _) in keys.filter(|(_, is_set)| *is_set) {
            report.add_at(&path(name), why);
        }
    };
    let needed = |report: &mut Report, name: &str, is_set: bool, by: &str, at: &str| {
        if !is_set && report.is_sound(&path(name)) {
            report.add_at(at, format!("{by} needs sasl.{name}; write it as well"));
        }
    };
    match sasl.mechanism {
        None => {
            let why = "has no effect without sasl.mechanism; write it, or remove this";
            let own = [("clients", sasl.clients == Clients::Own)];
            useless(report, &mut of_password.into_iter().chain(of_token).chain(own), why);
        }
        Some(Mechanism::OauthBearer) => {
            let why = "is of no use to OAUTHBEARER; remove it, or write another sasl.mechanism";
            useless(report, &mut of_password.into_iter(), why);
            match (&sasl.token_file, &sasl.token_endpoint) {
                (Some(_), Some(_)) => {
                    let why = "is one source of tokens too many; remove it or sasl.token_file";
                    report.add_at(&path("token_endpoint"), why);
                }
                (None, None) => {
                    if report.is_sound(&path("token_file")) && report.is_sound(&path("token_endpoint")) {
                        let why = "OAUTHBEARER needs a token; write sasl.token_file or sasl.token_endpoint";
                        report.add_at(&mechanism, why);
                    }
                }
                (Some(_), None) => {
                    let why = "has no effect without sasl.token_endpoint; write it, or remove this";
                    let rest = [("token_ca", sasl.token_ca.is_some()), ("scope", sasl.scope.is_some())];
                    useless(report, &mut of_endpoint.into_iter().chain(rest), why);
                }
                (None, Some(endpoint)) => {
                    for (name, is_set) in of_endpoint {
                        needed(report, name, is_set, "a token endpoint", &path("token_endpoint"));
                    }
                    if !endpoint.encrypted && sasl.token_ca.is_some() {
                        let why = "has no effect with http://; write https:// in sasl.token_endpoint, or remove this";
                        report.add_at(&path("token_ca"), why);
                    }
                }
            }
        }
        Some(by) => {
            let why = format!("is of no use to {by}; remove it, or write sasl.mechanism = \"OAUTHBEARER\"");
            useless(report, &mut of_token, &why);
            for (name, is_set) in of_password {
                needed(report, name, is_set, by.name(), &mechanism);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        let parse = |text| Endpoint::parse(text).map(|e| (e.encrypted, e.host, e.port, e.path));
        let found = |e, host: &str, port, path: &str| Ok((e, host.to_owned(), port, path.to_owned()));
        assert_eq!(parse("https://a.test/t?x=1"), found(true, "a.test", 443, "/t?x=1"));
        assert_eq!(parse("http://a.test:8080"), found(false, "a.test", 8080, "/"));
        assert_eq!(parse("https://[::1]/t"), found(true, "::1", 443, "/t"));
        assert_eq!(parse("https://[::1]:99/t"), found(true, "::1", 99, "/t"));
        for wrong in
            ["a.test", "ftp://a", "https://", "https:///t", "https://a:0/", "https://a b/", "https://u:p@a/"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Endpoint::parse("https://[::1]/t").unwrap().to_string(), "https://[::1]:443/t");
    }

    #[test]
    fn an_address_shows_no_secret() {
        for (text, shown) in [
            ("https://me:s3cret@a.test/t", "\u{2026}@a.test/t"),
            ("https://me:s3/cret@a.test/t", "\u{2026}@a.test/t"),
            ("me:s3cret@a.test", "\u{2026}@a.test"),
            ("https://me:s3?cret@a.test/t", "\u{2026}"),
            ("https://a.test:0/t?client_secret=s3cret", "https://a.test:0/t"),
            ("https://a.test:0/t?client_secret=s3@cret", "\u{2026}"),
            ("https://a.test/t?client_secret=s3 cret", "https://a.test/t"),
            ("https://a.test/t#s3cret", "https://a.test/t"),
        ] {
            let told = Endpoint::parse(text).unwrap_err();
            assert!(told.starts_with(&format!("\"{shown}\" ")), "{text}: {told}");
            assert!(!told.contains("s3") && !told.contains("cret "), "{text}: {told}");
            let told = problems(&format!("mechanism = 'OAUTHBEARER'\ntoken_endpoint = '{text}'")).join("\n");
            assert!(told.contains(shown) && !told.contains("s3"), "{text}: {told}");
        }
        let endpoint = Endpoint::parse("https://a.test/t?client_secret=s3cret").unwrap();
        assert_eq!(endpoint.to_string(), "https://a.test:443/t");
        assert_eq!(endpoint.path, "/t?client_secret=s3cret", "it is asked with it all the same");
        assert!(!format!("{endpoint:?}").contains("s3cret"));
    }

    /// What is said of the keys of `[kafka.sasl]`, each problem by its path.
    fn problems(keys: &str) -> Vec<String> {
        let text = format!(
            "[[kafka]]\nname = \"k\"\nlisten = \"127.0.0.1:1\"\nbootstrap = [\"b:1\"]\nbroker_ports = \"2-3\"\n\
             [kafka.sasl]\n{keys}\n"
        );
        match crate::config::parse(&text, "f", []) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|p| format!("{}: {}", p.path, p.text)).collect(),
        }
    }

    #[test]
    fn keys_that_contradict_each_other_are_named() {
        let none: &[&str] = &[];
        for (keys, expected) in [
            ("", none),
            ("mechanism = 'PLAIN'\nusername = 'u'\npassword_file = 'p'", none),
            ("mechanism = 'OAUTHBEARER'\ntoken_file = 't'\nclients = 'own'", none),
            (
                "mechanism = 'OAUTHBEARER'\ntoken_endpoint = 'https://a/t'\nclient_id = 'c'\nclient_secret_file = 's'\nscope = 'x'",
                none,
            ),
            ("mechanism = 'MAGIC'", &["kafka[0].sasl.mechanism: \"MAGIC\" is not known"]),
            ("username = 'u'", &["kafka[0].sasl.username: has no effect without sasl.mechanism"]),
            ("clients = 'own'", &["kafka[0].sasl.clients: has no effect without sasl.mechanism"]),
            (
                "mechanism = 'SCRAM-SHA-256'",
                &[
                    "kafka[0].sasl.mechanism: SCRAM-SHA-256 needs sasl.username",
                    "kafka[0].sasl.mechanism: SCRAM-SHA-256 needs sasl.password_file",
                ],
            ),
            (
                "mechanism = 'PLAIN'\nusername = 'u'\npassword_file = 'p'\ntoken_file = 't'",
                &["kafka[0].sasl.token_file: is of no use to PLAIN"],
            ),
            ("mechanism = 'OAUTHBEARER'", &["kafka[0].sasl.mechanism: OAUTHBEARER needs a token"]),
            (
                "mechanism = 'OAUTHBEARER'\ntoken_file = 't'\nusername = 'u'\nscope = 'x'",
                &[
                    "kafka[0].sasl.username: is of no use to OAUTHBEARER",
                    "kafka[0].sasl.scope: has no effect without sasl.token_endpoint",
                ],
            ),
            (
                "mechanism = 'OAUTHBEARER'\ntoken_endpoint = 'https://a/t'\nclient_id = 'c'",
                &["kafka[0].sasl.token_endpoint: a token endpoint needs sasl.client_secret_file"],
            ),
            (
                "mechanism = 'OAUTHBEARER'\ntoken_endpoint = 'a'",
                &["kafka[0].sasl.token_endpoint: \"a\" begins with neither"],
            ),
        ] {
            let found = problems(keys);
            assert_eq!(found.len(), expected.len(), "{keys}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{keys}: {found}");
            }
        }
    }
}
