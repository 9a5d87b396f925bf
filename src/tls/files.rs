//! The files of a `[….tls]` table: authorities, a certificate of our own and its key, all PEM.

use super::TlsError;
use crate::config::Tls as Options;
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, crypto};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sections of PEM (RFC 7468) by whose names an unfinished one may be told: any other name may be anything.
const LABELS: [&str; 4] = ["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Sessions that are kept to be resumed: more than a cluster has members.
const SESSIONS: usize = 256;

/// What was made of the files, until they change.
pub(super) type Kept<S> = crate::files::Kept<Options, Arc<S>>;

/// What is to be used now. A file that has changed and can't be used leaves what was, and is said once.
pub(super) fn current<S>(
    kept: &Kept<S>,
    options: &Options,
    load: fn(&Options) -> Result<Arc<S>, TlsError>,
) -> Result<Arc<S>, TlsError> {
    let all = [&options.ca, &options.certificate, &options.key];
    let paths: Vec<&Path> = all.into_iter().filter_map(Option::as_deref).collect();
    kept.now(
        options,
        &paths,
        || load(options),
        |news| match news {
            Ok(()) => {
                tracing::info!(files = %names(&paths), "TLS files have changed and were read again");
            }
            Err(error) => {
                tracing::warn!(%error, "a TLS file has changed and can't be used; what was read before stays");
            }
        },
    )
}

/// The files, for a log line.
fn names(paths: &[&Path]) -> String {
    let all: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    all.join(", ")
}

/// Reads them.
pub(super) fn load(options: &Options) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsError::NoRoots(error.to_string()))?;
    let builder = builder.with_root_certificates(roots(options)?);
    let mut settings = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let secret = private_key(key)?;
            let fits = builder.with_client_auth_cert(chain, secret);
            fits.map_err(|error| wrong(key, pair(&error, certificate)))?
        }
        _ => builder.with_no_client_auth(),
    };
    settings.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(settings))
}

/// What a listener makes of clients' certificates, where it knows authorities of such.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shown {
    /// Each client must show one.
    Must,
    /// A client may show one.
    May,
}

/// Reads them for a listener.
pub(super) fn load_listener(options: &Options, shown: Shown) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsError::NoRoots(error.to_string()))?;
    let builder = match &options.ca {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots_of(ca)?), provider);
            let verifier = if shown == Shown::May { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| wrong(ca, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (Some(certificate), Some(key)) = (&options.certificate, &options.key) else {
        return Err(TlsError::NoCertificate);
    };
    let settings = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    Ok(Arc::new(settings.map_err(|error| wrong(key, pair(&error, certificate)))?))
}

/// What is wrong with each of the files towards a member: its key in `[….tls]`, and why.
pub fn faults(options: &Options) -> Vec<(&'static str, TlsError)> {
    faults_of(options, || load(options).err())
}

/// The same of a listener's files; `ca` is that of clients.
pub fn listener_faults(options: &Options) -> Vec<(&'static str, TlsError)> {
    faults_of(options, || load_listener(options, Shown::Must).err())
}

/// Each file for itself; if all of them are good, what is wrong with them `together`.
fn faults_of(
    options: &Options,
    together: impl FnOnce() -> Option<TlsError>,
) -> Vec<(&'static str, TlsError)> {
    let of = |name, path: &Option<PathBuf>, wrong: fn(&Path) -> Option<TlsError>| {
        path.as_deref().and_then(wrong).map(|error| (name, error))
    };
    let each = [
        of("ca", &options.ca, |path| roots_of(path).err()),
        of("certificate", &options.certificate, |path| certificates(path).err()),
        of("key", &options.key, |path| private_key(path).err()),
    ];
    let all: Vec<_> = each.into_iter().flatten().collect();
    if !all.is_empty() {
        return all;
    }
    let name = |error: &TlsError| match error {
        TlsError::File { path, .. } if Some(path) == options.key.as_ref() => "key",
        _ => "ca",
    };
    together().map(|error| (name(&error), error)).into_iter().collect()
}

/// The authorities of a file.
fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(path, format!("holds a certificate that can't be used: {error}")))?;
    }
    Ok(roots)
}

fn roots(options: &Options) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca {
        return roots_of(path);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(why.join("; ")));
    }
    Ok(roots)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = read.map_err(|error| wrong(path, text(&error)))?;
    if all.is_empty() {
        return Err(wrong(path, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        PemError::NoItemsFound => {
            let why = "holds no private key in PEM that is not encrypted (-----BEGIN PRIVATE KEY-----)";
            wrong(path, why.to_owned())
        }
        error => wrong(path, text(&error)),
    })
}

/// What is wrong between a key and its certificate.
fn pair(error: &rustls::Error, certificate: &Path) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("is not the key of the certificate in {}", certificate.display())
        }
        other => format!("can't be used with the certificate in {}: {other}", certificate.display()),
    }
}

fn text(error: &PemError) -> String {
    match error {
        PemError::Io(error) => format!("can't be read: {error}"),
        // What these carry is of the file, which may hold a key: it is not shown.
        PemError::MissingSectionEnd { end_marker } => {
            let section = std::str::from_utf8(end_marker).ok().filter(|label| LABELS.contains(label));
            let section = section.map_or_else(|| "a section".to_owned(), |label| format!("its {label}"));
            format!("is no whole PEM file: {section} has no end (-----END …-----); is it half-written?")
        }
        PemError::IllegalSectionStart { .. } => {
            "is no whole PEM file: a line that begins with -----BEGIN does not end with -----".to_owned()
        }
        PemError::Base64Decode(_) => {
            "is no whole PEM file: what stands between BEGIN and END is not base64".to_owned()
        }
        PemError::SectionTooLarge => "is no whole PEM file: a section is too long".to_owned(),
        _ => "is no whole PEM file".to_owned(),
    }
}

fn wrong(path: &Path, why: String) -> TlsError {
    TlsError::File { path: path.to_owned(), why }
}
