//! Bearer tokens in a file, one a line: several, so that one can take the place of another while both count.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Secret;
use crate::files::Kept;

/// The shortest token: what is shorter can be guessed.
const SHORTEST: usize = 16;

/// The tokens that let somebody in; read again when the file changes.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    known: Kept<(), Arc<[Secret]>>,
}

impl Tokens {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with the file, in one line that has nothing of what is in it.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        let tokens = Self { path: path.to_owned(), known: Kept::new() };
        tokens.current()?;
        Ok(tokens)
    }

    /// Whether this is one of them, in a time that doesn't tell which, nor how nearly.
    pub(super) fn has(&self, given: &[u8]) -> bool {
        // They were read once, so that there are some; else nobody would be let in.
        let known = self.current().unwrap_or_default();
        // All of them are looked at, whichever it is.
        known.iter().fold(false, |found, token| token.is(given) | found)
    }

    fn current(&self) -> Result<Arc<[Secret]>, String> {
        self.known.now(
            &(),
            &[&self.path],
            || read(&self.path).map(Arc::from),
            |news| match news {
                Ok(()) => {
                    tracing::info!(file = %self.path.display(), "the tokens have changed and were read again");
                }
                Err(error) => {
                    tracing::warn!(%error, "the tokens have changed and can't be used; those before stay");
                }
            },
        )
    }
}

/// The tokens of a file: one a line, empty lines left out.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<Secret>, String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let bytes = Secret::file(path).map_err(|why| wrong(&why))?;
    let mut tokens = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let token = line.trim_ascii();
        if token.is_empty() {
            continue;
        }
        if token.len() < SHORTEST || !token.iter().all(u8::is_ascii_graphic) {
            let why = format!(
                "line {}: a token has {SHORTEST} or more letters, digits or signs, no spaces",
                index + 1
            );
            return Err(wrong(&why));
        }
        tokens.push(Secret::new(token));
    }
    if tokens.is_empty() {
        return Err(wrong("holds no token; write one or more, each on a line of its own"));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn file(text: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-tokens-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    const ONE: &str = "one-token-of-many-letters";
    const OTHER: &str = "another-token-of-many-letters";

    #[test]
    fn each_line_is_a_token_and_a_changed_file_is_read_again() {
        let path = file(&format!("\n{ONE}\r\n  {OTHER}  \n"));
        let tokens = Tokens::new(&path).unwrap();
        for (given, known) in [(ONE, true), (OTHER, true), ("", false), (&ONE[1..], false)] {
            assert_eq!(tokens.has(given.as_bytes()), known, "{given}");
        }
        assert!(
            !tokens.has(format!("{ONE}x").as_bytes()) && !tokens.has(format!("{ONE}\n{OTHER}").as_bytes())
        );
        std::fs::write(&path, OTHER).unwrap();
        assert!(!tokens.has(ONE.as_bytes()) && tokens.has(OTHER.as_bytes()));
        // What can't be used, or is gone, lets nobody else in and shuts nobody out.
        std::fs::write(&path, "short").unwrap();
        assert!(tokens.has(OTHER.as_bytes()) && !tokens.has(b"short"));
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.has(OTHER.as_bytes()));
        assert!(!format!("{tokens:?}").contains(OTHER));
    }

    #[test]
    fn what_is_no_token_is_told_by_its_line_and_not_shown() {
        for (text, why) in [
            ("", "holds no token"),
            ("\n \n", "holds no token"),
            ("hunter2", "line 1: a token has 16 or more"),
            ("one-token-of-many-letters\nhunter2 with spaces in it\n", "line 2: a token has 16 or more"),
            ("hunter2-hunter2-hünter2", "line 1"),
            ("\u{feff}hunter2-hunter2-hunter2", "begins with a byte order mark"),
        ] {
            let path = file(text);
            let error = Tokens::new(&path).unwrap_err();
            std::fs::remove_file(&path).unwrap();
            assert!(error.contains(why) && !error.contains("nter2"), "{error}");
        }
        assert!(Tokens::new(Path::new("/nowhere/at/all")).unwrap_err().contains("can't be read"));
    }
}
