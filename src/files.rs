//! Files that are read again when they change. Floor 1; imports nothing of the crate.
//!
//! What was made of files is kept for as long as they stay as they are. A changed file that can't be used leaves what was, so that half a
//! write, a removed file or a wrong one harms nobody; it is told once, and looked at again each time until it is good.
//!
//! Must never: log (each user has words of its own), or keep what is in a file: only what its user makes of it.

use ring::digest::{Context, SHA256};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Two changes within the grain of a file system's clock leave one time behind. This is more than the coarsest has (2 s, FAT).
const GRAIN: Duration = Duration::from_secs(3);

/// As much of a file is compared, in bytes: a hundred times what the authorities of a system take.
const COMPARED: u64 = 16 * 1024 * 1024;

/// How a file looks from outside: which one it is, how long, when it was written to, and when anything about it changed, which nobody can set
/// back. A link is followed, as Kubernetes changes mounted secrets by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// None if it isn't there.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (file.dev(), file.ino()),
            length: file.len(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether a change after `now` would show in it.
    fn is_settled(&self, now: SystemTime) -> bool {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(GRAIN);
        i64::try_from(since.as_secs()).is_ok_and(|since| self.changed.0 < since)
    }
}

/// What is in a file, as far as it can be compared; or why it can't be read.
type Content = Result<Vec<u8>, ErrorKind>;

fn digest(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?.take(COMPARED);
    let mut part = Zeroizing::new(vec![0; 16 * 1024]);
    let mut context = Context::new(&SHA256);
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(context.finish().as_ref().to_vec()),
            Ok(length) => context.update(part.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Files as they were seen last.
struct Seen {
    stamps: Vec<Option<Stamp>>,
    /// Whether a change since would show in the stamps.
    settled: bool,
    contents: Vec<Content>,
}

impl Seen {
    fn new(paths: &[&Path], stamps: Vec<Option<Stamp>>, now: SystemTime) -> Self {
        let settled = stamps.iter().flatten().all(|stamp| stamp.is_settled(now));
        let contents = paths.iter().map(|path| digest(path).map_err(|error| error.kind())).collect();
        Self { stamps, settled, contents }
    }
}

fn stamps(paths: &[&Path]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

struct Made<K, T> {
    of: K,
    seen: Seen,
    /// What was seen last can't be used; what was made before stays.
    failed: bool,
    value: T,
}

/// What was made of files: `T`, cheap to clone, of those that `K` names. See the module.
pub struct Kept<K, T>(Mutex<Option<Made<K, T>>>);

impl<K, T> Kept<K, T> {
    /// Nothing read yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }
}

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T> fmt::Debug for Kept<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl<K: Clone + PartialEq, T: Clone> Kept<K, T> {
    /// What is to be used now: made by `make` of what is in `paths`, which `of` stands for, or kept. `tell` hears that they were read again, or
    /// why they can't be used since they have changed; it hears nothing of the first time. Looks at the files each time, and reads them when
    /// they look changed. What is in them is all that counts: one that was only touched, or replaced by a copy, makes nothing anew.
    ///
    /// # Errors
    /// Nothing was ever made of these files, and now neither can be.
    pub fn now<E>(
        &self,
        of: &K,
        paths: &[&Path],
        make: impl FnOnce() -> Result<T, E>,
        tell: impl FnOnce(Result<(), &E>),
    ) -> Result<T, E> {
        self.at(SystemTime::now(), of, paths, make, tell)
    }

    fn at<E>(
        &self,
        now: SystemTime,
        of: &K,
        paths: &[&Path],
        make: impl FnOnce() -> Result<T, E>,
        tell: impl FnOnce(Result<(), &E>),
    ) -> Result<T, E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // First the stamps, then what is in the files: what changes in between has another stamp at the next look.
        let stamps = stamps(paths);
        // What was made of other files is of no use, whatever is in these.
        if let Some(made) = kept.as_mut().filter(|made| made.of == *of) {
            // Why a file can't be used need not stand in the file: descriptors run out.
            if made.failed || !made.seen.settled || made.seen.stamps != stamps {
                let seen = Seen::new(paths, stamps, now);
                let is_new = seen.contents != made.seen.contents;
                made.seen = seen;
                if is_new || made.failed {
                    match make() {
                        Ok(value) => {
                            tell(Ok(()));
                            (made.value, made.failed) = (value, false);
                        }
                        Err(error) => {
                            if is_new {
                                tell(Err(&error));
                            }
                            made.failed = true;
                        }
                    }
                }
            }
            return Ok(made.value.clone());
        }
        let seen = Seen::new(paths, stamps, now);
        let value = make()?;
        *kept = Some(Made { of: of.clone(), seen, failed: false, value: value.clone() });
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
