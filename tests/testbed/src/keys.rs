//! Authorities and certificates for encrypted listeners, made anew each time.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

use crate::{Error, Result};

/// Who issues certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM (PKCS #8).
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| failed(&error))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let pem = params.self_signed(&key).map_err(|error| failed(&error))?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for somebody with this name, at these addresses.
    pub fn issue(&self, name: &str, addresses: &[IpAddr]) -> Result<Pair> {
        self.issued(name, addresses, false)
    }

    /// The same, and it has ended years ago.
    pub fn expired(&self, name: &str, addresses: &[IpAddr]) -> Result<Pair> {
        self.issued(name, addresses, true)
    }

    fn issued(&self, name: &str, addresses: &[IpAddr], expired: bool) -> Result<Pair> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|error| failed(&error))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| failed(&error))?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

impl Pair {
    /// Writes both into one file, as a broker's key store of type PEM is.
    pub fn store(&self, path: &Path) -> Result<()> {
        replace(path, &format!("{}{}", self.key, self.certificate))
    }
}

/// Replaces a file whole, as something that renews certificates should; nobody else can read it.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh: PathBuf = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::set_permissions(&fresh, Permissions::from_mode(0o600)))
        .map_err(Error::io(format!("writing {}", fresh.display())))?;
    fs::rename(&fresh, path).map_err(Error::io(format!("replacing {}", path.display())))
}

fn failed(error: &rcgen::Error) -> Error {
    Error::program("rcgen", error.to_string())
}
