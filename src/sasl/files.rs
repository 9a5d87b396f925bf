//! A file of a secret, read again when it has changed.

use super::{SaslError, bearer};
use crate::config::Secret;
use std::path::{Path, PathBuf};

/// What was read of a file, until it changes.
pub(super) type Kept = crate::files::Kept<PathBuf, Secret>;

/// What `read` finds in a file now. One that has changed and can't be used leaves what was, and is said once.
pub(super) fn current(
    kept: &Kept,
    path: &Path,
    read: fn(&Path) -> Result<Secret, String>,
) -> Result<Secret, SaslError> {
    let now = kept.now(
        &path.to_owned(),
        &[path],
        || read(path),
        |news| match news {
            Ok(()) => {
                tracing::info!(file = %path.display(), "a file of credentials has changed and was read again");
            }
            Err(why) => tracing::warn!(
                file = %path.display(), %why,
                "a file of credentials has changed and can't be used; what was read before stays"
            ),
        },
    );
    now.map_err(|why| SaslError::File { path: path.to_owned(), why })
}

/// What is in a token's file.
///
/// # Errors
/// Why it can't be a token, without a word of what is in it.
pub(super) fn token(path: &Path) -> Result<Secret, String> {
    let token = Secret::read(path)?;
    if bearer::is_token(&token) { Ok(token) } else { Err("holds characters that no token has".to_owned()) }
}
