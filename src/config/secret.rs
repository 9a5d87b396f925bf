//! Something that nobody may see: a password, a token, a client's secret. It is never shown by `Debug` or `Display`, compared in
//! a time that tells nothing of its bytes, and overwritten when it is dropped.
//!
//! Imports nothing of this crate. Must never: be serialised, or stand in a configuration: only the path of its file does.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use zeroize::Zeroizing;

/// The longest file of a secret that is read, in bytes: a token with many claims has a few thousand.
const LONGEST: usize = 64 * 1024;

/// The marks that some editors write in front of text in UTF-8 and in UTF-16.
const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// See the module. Cheap to clone: all clones are the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// These bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// What is in a file, without the end of its last line.
    ///
    /// # Errors
    /// Why it can't be used, without a word of what is in it: unreadable, empty, of several lines, too long, no UTF-8, or with a byte order mark.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = Self::file(path)?;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err("holds more than one line; write the secret alone".to_owned());
        }
        if std::str::from_utf8(text).is_err() {
            return Err("is not UTF-8 text".to_owned());
        }
        Ok(Self::new(text))
    }

    /// All that is in a file of secrets, whatever their form.
    ///
    /// # Errors
    /// It can't be read, is too long, or begins with a byte order mark, which editors don't show and would be part of the secret.
    pub fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        let unread = |error: std::io::Error| format!("can't be read: {error}");
        // Roomy enough from the start: what is moved to make room is not overwritten where it was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let file = std::fs::File::open(path).map_err(unread)?;
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes; is it the right file?"));
        }
        if MARKS.iter().any(|mark| bytes.starts_with(mark)) {
            return Err("begins with a byte order mark; save it as UTF-8 without one".to_owned());
        }
        Ok(bytes)
    }

    /// The bytes themselves, for whoever sends them to the one who must have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is what somebody else gave, in a time that depends on the length of that alone.
    pub fn is(&self, given: &[u8]) -> bool {
        // Both are compared by their authentication codes under a key that nobody has.
        let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()) else {
            return false;
        };
        hmac::verify(&key, given, hmac::sign(&key, self.expose()).as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Secret, String> {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-secret-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        let read = Secret::read(&path);
        std::fs::remove_file(path).unwrap();
        read
    }

    #[test]
    fn the_end_of_the_line_does_not_belong_to_it() {
        for content in [&b"s3cret word"[..], b"s3cret word\n", b"s3cret word\r\n"] {
            assert_eq!(read(content).unwrap().expose(), b"s3cret word");
        }
        assert_eq!(read(b" with spaces \n").unwrap().expose(), b" with spaces ");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_without_showing_it() {
        let long = vec![b'h'; 70_000];
        for (content, why) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"hunter2\nhunter3\n", "more than one line"),
            (b"hunter2\0", "more than one line"),
            (b"hunter2\xff\n", "is not UTF-8"),
            (b"\xef\xbb\xbfhunter2\n", "begins with a byte order mark; save it as UTF-8 without one"),
            (b"\xff\xfeh\0u\0", "begins with a byte order mark"),
            (&long, "is longer than 65536 bytes"),
        ] {
            let error = read(content).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter"), "{error}");
        }
        let missing = Secret::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(missing.starts_with("can't be read: "), "{missing}");
    }

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret:?} {secret} {:#?}", Some(&secret));
        assert!(!shown.contains("hunter2") && shown.contains("not shown"), "{shown}");
    }

    #[test]
    fn it_is_itself_and_nothing_else() {
        let secret = Secret::new("hunter2");
        assert!(secret.is(b"hunter2"));
        for other in [&b"hunter"[..], b"hunter22", b"Hunter2", b""] {
            assert!(!secret.is(other));
        }
    }
}
