//! Why a handshake failed, in words that say what to change. Pure.

use super::certificate::day;
use crate::config::Tls as Options;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Why there is no encrypted connection, and what to do about it: a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    text: String,
    remedy: String,
}

impl Why {
    fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: remedy.into() }
    }

    /// A listener that wants TLS, and was spoken to in the clear.
    pub fn encrypted_listener() -> Self {
        let remedy = "set tls.enabled = true, and tls.ca to the file of the authority that issued its certificate; or name the port of a \
                      plaintext listener";
        Self::new("it is an encrypted listener: set tls.enabled = true", remedy)
    }

    /// A listener that behaves as one that wants TLS, and doesn't say so.
    pub fn as_an_encrypted_listener() -> Self {
        let remedy = "set tls.enabled = true, and tls.ca to the file of the authority that issued its certificate, if it is a secureClientPort; \
                      else name the clientPort";
        Self::new(
            "it says nothing to srvr and closes at a request, as an encrypted port does: is tls.enabled = true missing?",
            remedy,
        )
    }

    /// Of whoever connects to a listener of ours: there is nothing to be done about it here.
    pub(super) fn of_a_client(error: &io::Error) -> Self {
        Self::new(error.to_string(), String::new())
    }

    /// What to set or to do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether an error of an encrypted connection is about its encryption.
pub fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>)
}

/// Whether a connection ended without a word of TLS.
pub(super) fn is_loss(error: &io::Error) -> bool {
    let ended =
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    ended && !is_of_tls(error)
}

/// Whether these are the first bytes of an alert of TLS 1.x (RFC 8446, section 5.1: content type 21, legacy version 3): what an encrypted
/// listener answers to plain text.
pub fn is_alert(first: [u8; 4]) -> bool {
    matches!(first, [21, 3, _, _])
}

/// What the peer's or our own part in it was. Also for a connection that fails at its first read: with TLS 1.3 a server looks at our
/// certificate after our side of the handshake is over.
pub fn explain(error: &io::Error, options: &Options, host: &str) -> Why {
    let not_tls = "name the port of its encrypted listener; or set tls.enabled = false, if this one is meant and nobody else is on the way to it";
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return if is_loss(error) {
            Why::new(
                "it closed the connection in the TLS handshake; does it speak TLS on this port?",
                format!(
                    "{not_tls}. A listener that wants a certificate of ours, or is just starting, may do the same"
                ),
            )
        } else {
            Why::new(format!("the TLS handshake broke off: {error}"), "see the member's own log")
        };
    };
    match error {
        Error::InvalidCertificate(wrong) => certificate(wrong, options, host),
        Error::AlertReceived(alert) => refusal(*alert, options),
        Error::InvalidMessage(_) => Why::new("it doesn't speak TLS on this port", not_tls),
        Error::PeerIncompatible(what) => unsafe_tls(&format!("{what:?}"), ""),
        other => Why::new(format!("the TLS handshake failed: {other}"), "see the member's own log"),
    }
}

/// The two sides have no version or no cipher in common; `or`: what else it may be.
fn unsafe_tls(what: &str, or: &str) -> Why {
    let remedy =
        format!("let the member's listener speak TLS 1.2 or 1.3 with a cipher that is in use today{or}");
    Why::new(format!("it speaks no TLS that is safe (1.2 or 1.3): {what}"), remedy)
}

fn certificate(wrong: &CertificateError, options: &Options, host: &str) -> Why {
    let ca = || options.ca.as_ref().map_or_else(|| "the system's store".to_owned(), |path| shown(path));
    let authority = || {
        let file =
            options.ca.as_ref().map_or_else(|| "a file that tls.ca names".to_owned(), |path| shown(path));
        format!("put the certificate of the authority that issued the member's into {file}")
    };
    let renew = "renew the member's certificate; if it is good, set the clock of this host right";
    match wrong {
        CertificateError::Expired => Why::new("its certificate has expired", renew),
        CertificateError::ExpiredContext { not_after, .. } => {
            Why::new(format!("its certificate has expired ({})", date(*not_after)), renew)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Why::new(
            "its certificate is not valid yet; is the clock of this machine right?",
            "set the clock of this host right; if it is, give the member a certificate that is good now",
        ),
        CertificateError::UnknownIssuer => Why::new(
            format!("its certificate was issued by no authority in {} (tls.ca)", ca()),
            format!("{}; if this should be another cluster's member, mend the address", authority()),
        ),
        // Its issuer has the name of one that is trusted, and another key.
        CertificateError::BadSignature => Why::new(
            format!("its certificate was issued by an authority that {} (tls.ca) has with another key", ca()),
            format!("{}: it has been made anew since", authority()),
        ),
        CertificateError::NotValidForName => {
            Why::new(format!("its certificate is not for the name {host}"), another_name(host))
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => nameless(host),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| bare(name)).collect();
            let text = format!("its certificate is not for the name {host}, but for {}", names.join(", "));
            Why::new(text, another_name(host))
        }
        // The check's own error has no type here, only its name.
        CertificateError::Other(what) if what.to_string() == "CaUsedAsEndEntity" => authority_itself(host),
        other => Why::new(
            format!("its certificate can't be trusted: {other}"),
            "give the member a certificate for TLS servers that clients of today take",
        ),
    }
}

/// What `keytool -genkeypair` makes by itself: a common name, which has said nothing of hosts since RFC 9525.
fn nameless(host: &str) -> Why {
    Why::new(
        format!(
            "its certificate has no subjectAltName, so it is not for the name {host}: its CN is not looked at"
        ),
        format!(
            "issue the member's certificate anew with the name: keytool … -ext SAN={}:{host}",
            kind(host, ["dns", "ip"])
        ),
    )
}

/// What `openssl req -x509` makes by itself.
fn authority_itself(host: &str) -> Why {
    Why::new(
        "its certificate is an authority's own (CA:TRUE), which is for issuing others and not for a server",
        format!(
            "issue the member a certificate that this authority has signed, and leave the authority's in tls.ca; or make one that is signed by \
             itself for a server: openssl req -x509 -config FILE with basicConstraints = CA:FALSE and subjectAltName = {}:{host}",
            kind(host, ["DNS", "IP"])
        ),
    )
}

/// How a name is introduced, or an address.
fn kind(host: &str, [name, address]: [&'static str; 2]) -> &'static str {
    if host.parse::<std::net::IpAddr>().is_ok() { address } else { name }
}

/// A name of a certificate as it is written there: `DnsName("a.test")` and the like are how the check shows them.
fn bare(shown: &str) -> String {
    let inner = ["DnsName", "IpAddress", "UniformResourceIdentifier"]
        .into_iter()
        .find_map(|kind| shown.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')'));
    inner.map_or(shown, |name| name.trim_matches('"')).escape_debug().to_string()
}

fn another_name(host: &str) -> String {
    format!(
        "look the member up by a name that its certificate has (in the configuration, or in what it advertises), or issue one that has {host} \
         among its names"
    )
}

fn date(moment: UnixTime) -> String {
    day(i64::try_from(moment.as_secs()).unwrap_or(i64::MAX))
}

fn refusal(alert: AlertDescription, options: &Options) -> Why {
    let nothing_in_common = format!("TLS alert {alert:?}");
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            return unsafe_tls(&nothing_in_common, "");
        }
        AlertDescription::HandshakeFailure => {
            let or = match options.certificate {
                None => "; one that wants a certificate of ours (tls.certificate) may say the same",
                Some(_) => "; the member's own log says more",
            };
            return unsafe_tls(&nothing_in_common, or);
        }
        _ => {}
    }
    let of_ours = matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied
    );
    match (&options.certificate, of_ours) {
        (Some(file), true) => Why::new(
            format!("it refuses the certificate in {} (TLS alert {alert:?})", shown(file)),
            format!(
                "put a certificate into {} that an authority has issued which the member trusts, and its key into tls.key",
                shown(file)
            ),
        ),
        (None, true) => Why::new(
            format!("it wants a certificate: set tls.certificate and tls.key (TLS alert {alert:?})"),
            "set tls.certificate and tls.key to a certificate that an authority has issued which the member trusts, and to its key",
        ),
        (_, false) => Why::new(
            format!("it broke the TLS handshake off (alert {alert:?})"),
            "see the member's own log; does it know the name that it is looked up by?",
        ),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
