//! The messages of DIGEST-MD5 as text: `key=value` and `key="value"`, with commas between them (RFC 2831, section 7.1; RFC 2616 for
//! what is in quotes).
//!
//! Pure. What comes from a wire is bounded, and never trusted.

/// The longest message: section 2.1.2 allows 4096 bytes to an answer, and less to the others.
const LONGEST: usize = 4096;

/// Why a message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it is no list of key=value")]
    Syntax,
    #[error("it says one thing twice")]
    Twice,
}

/// A message, taken apart.
#[derive(Debug)]
pub(super) struct Directives<'a>(Vec<(&'a [u8], Vec<u8>)>);

impl<'a> Directives<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        if message.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let (mut list, mut rest) = (Vec::new(), blank(message));
        while let Some(first) = rest.first() {
            // Of several commas in a row all but one stand for nothing.
            if *first == b',' {
                rest = blank(rest.get(1..).unwrap_or_default());
                continue;
            }
            let (key, after) = token(rest)?;
            let after = blank(after).strip_prefix(b"=").ok_or(Malformed::Syntax)?;
            let after = blank(after);
            let (value, after) = match after.strip_prefix(b"\"") {
                Some(quoted) => unquote(quoted)?,
                None => token(after).map(|(value, after)| (value.to_vec(), after))?,
            };
            list.push((key, value));
            rest = blank(after);
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(Malformed::Syntax);
            }
        }
        if list.is_empty() { Err(Malformed::Empty) } else { Ok(Self(list)) }
    }

    /// Each value of a key.
    pub(super) fn all<'s, 'k>(&'s self, key: &'k [u8]) -> impl Iterator<Item = &'s [u8]> + use<'s, 'k, 'a> {
        self.0.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(key)).map(|(_, value)| &value[..])
    }

    /// The value of a key that may be there once.
    pub(super) fn once(&self, key: &[u8]) -> Result<Option<&[u8]>, Malformed> {
        let mut found = self.all(key);
        match (found.next(), found.next()) {
            (found, None) => Ok(found),
            _ => Err(Malformed::Twice),
        }
    }
}

fn blank(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// Some bytes that need no quotes, and what is behind them.
fn token(text: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let ends = |byte: &u8| {
        byte.is_ascii_control() || matches!(byte, b' ' | b',' | b'=' | b'"' | b'\\' | b';' | b'(' | b')')
    };
    let end = text.iter().position(ends).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((token, rest)) if !token.is_empty() => Ok((token, rest)),
        _ => Err(Malformed::Syntax),
    }
}

/// What is in quotes, the first of which is gone already, and what is behind them.
fn unquote(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let (mut value, mut bytes) = (Vec::new(), text.iter());
    loop {
        match bytes.next() {
            Some(b'"') => return Ok((value, bytes.as_slice())),
            Some(b'\\') => value.push(*bytes.next().ok_or(Malformed::Syntax)?),
            Some(byte) => value.push(*byte),
            None => return Err(Malformed::Syntax),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_quotes_are_read() {
        let said = Directives::parse(br#" realm="a,b=\"c\\" , ,nonce=x/1 ,REALM="",qop="auth" "#).unwrap();
        assert_eq!(said.all(b"realm").collect::<Vec<_>>(), [&br#"a,b="c\"#[..], b""]);
        assert_eq!(said.once(b"nonce"), Ok(Some(&b"x/1"[..])));
        assert_eq!(said.once(b"qop"), Ok(Some(&b"auth"[..])));
        assert_eq!(said.once(b"charset"), Ok(None));
        assert_eq!(said.once(b"realm"), Err(Malformed::Twice));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            &b"nonce"[..],
            b"=x",
            b"nonce=",
            b"nonce=\"x",
            b"nonce=\"x\\",
            b"nonce=x y=z",
            b"nonce=\"x\"y",
            b"\"nonce\"=x",
            b"\x00\x01\x02",
        ] {
            assert_eq!(Directives::parse(text).unwrap_err(), Malformed::Syntax, "{text:?}");
        }
        assert_eq!(Directives::parse(b" ,, ").unwrap_err(), Malformed::Empty);
        assert_eq!(Directives::parse(&[b'x'; 5000]).unwrap_err(), Malformed::TooLong);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let _ = Directives::parse(&bytes);
        }

        #[test]
        fn what_is_quoted_is_read_as_it_was(value: Vec<u8>) {
            let mut text = b"key=".to_vec();
            super::super::digest::quote(&mut text, &value);
            let said = Directives::parse(&text);
            if text.len() <= LONGEST {
                let said = said.unwrap();
                proptest::prop_assert_eq!(said.once(b"key"), Ok(Some(&value[..])));
            }
        }
    }
}
