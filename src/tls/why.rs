//! Why a handshake failed, in words that say what to change. Pure.

use crate::config::Tls as Options;
use rustls::{AlertDescription, CertificateError, Error};
use std::io::{self, ErrorKind};
use std::path::Path;

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
pub fn explain(error: &io::Error, options: &Options, host: &str) -> String {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return if is_loss(error) {
            "it closed the connection in the TLS handshake; does it speak TLS on this port?".to_owned()
        } else {
            format!("the TLS handshake broke off: {error}")
        };
    };
    match error {
        Error::InvalidCertificate(wrong) => certificate(wrong, options, host),
        Error::AlertReceived(alert) => refusal(*alert, options),
        Error::InvalidMessage(_) => "it doesn't speak TLS on this port".to_owned(),
        Error::PeerIncompatible(what) => format!("it speaks no TLS that is safe (1.2 or 1.3): {what:?}"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

fn certificate(wrong: &CertificateError, options: &Options, host: &str) -> String {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is the clock of this machine right?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            let ca = options.ca.as_ref().map_or_else(|| "the system's store".to_owned(), |path| shown(path));
            format!("its certificate was issued by no authority in {ca} (tls.ca)")
        }
        // Its issuer has the name of one that is trusted, and another key.
        CertificateError::BadSignature => {
            let ca = options.ca.as_ref().map_or_else(|| "the system's store".to_owned(), |path| shown(path));
            format!("its certificate was issued by an authority that {ca} (tls.ca) has with another key")
        }
        CertificateError::NotValidForName => format!("its certificate is not for the name {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("its certificate is not for the name {host}, but for {}", presented.join(", "))
        }
        other => format!("its certificate can't be trusted: {other}"),
    }
}

fn refusal(alert: AlertDescription, options: &Options) -> String {
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
        (Some(file), true) => format!("it refuses the certificate in {} (TLS alert {alert:?})", shown(file)),
        (None, true) => {
            format!("it wants a certificate: set tls.certificate and tls.key (TLS alert {alert:?})")
        }
        (_, false) => format!("it broke the TLS handshake off (alert {alert:?})"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
