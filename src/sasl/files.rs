//! A file of a secret, read again when it has changed.

use super::SaslError;
use crate::config::Secret;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// When a file was changed last, how long it is, and which one it is: it may be replaced by another of the same age. None if it isn't there.
type Stamp = Option<(SystemTime, u64, u64)>;

/// How it looks from outside. A link is followed, as Kubernetes changes mounted secrets by one.
fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len(), file.ino()))
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    stamp: Stamp,
    secret: Secret,
}

/// What is in a file now. One that has changed and can't be used leaves what was, and is said once.
pub(super) fn current(kept: &mut Option<Kept>, path: &Path) -> Result<Secret, SaslError> {
    let now = stamp(path);
    if let Some(known) = kept.as_mut().filter(|known| known.path == path) {
        if known.stamp != now {
            known.stamp = now;
            match Secret::read(path) {
                Ok(secret) => {
                    tracing::info!(file = %path.display(), "a file of credentials has changed and was read again");
                    known.secret = secret;
                }
                Err(why) => tracing::warn!(
                    file = %path.display(), %why,
                    "a file of credentials has changed and can't be used; what was read before stays"
                ),
            }
        }
        return Ok(known.secret.clone());
    }
    let secret = Secret::read(path).map_err(|why| SaslError::File { path: path.to_owned(), why })?;
    *kept = Some(Kept { path: path.to_owned(), stamp: now, secret: secret.clone() });
    Ok(secret)
}
