//! What certificates say of themselves, for people: whose they are, and until when. Nothing is trusted for it.

use super::TlsError;
use super::files::certificates;
use crate::findings::Finding;
use rustls::ProtocolVersion;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

/// One that ends within so long is to be renewed, or within this part of its life where that is less.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
const PART: u32 = 5;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for: names and addresses; its subject where it has none.
    pub names: Vec<String>,
    /// In seconds since 1970.
    from: i64,
    until: i64,
}

impl Certificate {
    /// From its DER; nothing if that can't be read.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let mut names: Vec<String> = alternative
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            names.push(certificate.subject().to_string());
        }
        let valid = certificate.validity();
        Some(Self { names, from: valid.not_before.timestamp(), until: valid.not_after.timestamp() })
    }

    /// The day on which it ends.
    pub fn until(&self) -> String {
        day(self.until)
    }

    /// How long it is good for still; none if it has ended.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        let now = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).ok()?;
        u64::try_from(self.until.checked_sub(now)?).ok().map(Duration::from_secs)
    }

    /// Whether it is time to renew it: within a fortnight of its end, or in the last fifth of its life.
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        let life = u64::try_from(self.until.saturating_sub(self.from)).unwrap_or_default();
        self.left(now).is_none_or(|left| left < SOON.min(Duration::from_secs(life) / PART))
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok().map(|ip| ip.to_string())
}

/// A moment in seconds since 1970, as a day.
pub(super) fn day(seconds: i64) -> String {
    let moment = ASN1Time::from_timestamp(seconds);
    moment
        .map_or_else(|_| format!("{seconds} s after 1970"), |moment| moment.to_datetime().date().to_string())
}

/// The other end of an encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// TLS and its version.
    pub protocol: &'static str,
    /// The peer's certificate, as far as it can be read.
    pub certificate: Option<Certificate>,
}

/// What the peer of an encrypted connection has shown.
pub fn seen(stream: &TlsStream<TcpStream>) -> Seen {
    let connection = stream.get_ref().1;
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    Seen { protocol, certificate: certificate.and_then(|der| Certificate::read(der)) }
}

/// What there is to say of the other end, with a warning if its certificate is about to end.
pub fn finding(seen: &Seen, now: SystemTime) -> Finding {
    let Some(certificate) = &seen.certificate else { return Finding::ok("tls", seen.protocol) };
    let (names, until) = (certificate.names.join(", "), certificate.until());
    let text = format!("{}; its certificate is for {names}, until {until}", seen.protocol);
    if certificate.ends_soon(now) {
        return Finding::warning("tls", text, "renew the member's certificate soon");
    }
    Finding::ok("tls", text)
}

/// The certificates in a file (PEM), in their order. One that is not understood is left out.
///
/// # Errors
/// The file can't be used.
pub fn of_file(path: &Path) -> Result<Vec<Certificate>, TlsError> {
    Ok(certificates(path)?.iter().filter_map(|der| Certificate::read(der)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_its_names_and_its_end() {
        let mut params = rcgen::CertificateParams::new(vec!["broker.test".to_owned()]).unwrap();
        let ips = ["10.0.0.1", "::1"].map(|ip| rcgen::SanType::IpAddress(ip.parse().unwrap()));
        params.subject_alt_names.extend(ips);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 12, 31));
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = Certificate::read(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(certificate.names, ["broker.test", "10.0.0.1", "::1"]);
        assert_eq!(certificate.until(), "2026-12-31");
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(1_767_225_600 + days * 86_400);
        assert_eq!(certificate.left(at(0)), Some(Duration::from_secs(364 * 86_400)));
        assert!(!certificate.ends_soon(at(349)) && certificate.ends_soon(at(351)));
        assert_eq!(certificate.left(at(365)), None);
        assert!(certificate.ends_soon(at(365)));
    }

    #[test]
    fn one_that_lasts_for_a_day_is_not_always_about_to_end() {
        let hour = 3600;
        let short = Certificate { names: Vec::new(), from: 0, until: 24 * hour };
        let at = |hours: u64| UNIX_EPOCH + Duration::from_secs(hours * 3600);
        assert!(!short.ends_soon(at(1)) && !short.ends_soon(at(19)) && short.ends_soon(at(20)));
    }

    #[test]
    fn what_is_no_certificate_is_not_read() {
        assert_eq!(Certificate::read(b"nothing of the kind"), None);
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(i64::MAX), format!("{} s after 1970", i64::MAX));
    }
}
