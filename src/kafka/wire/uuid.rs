//! Topic ids and directory ids, in the form that Kafka's tools print: 22 characters of URL-safe base64 without padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id that stands for none.
pub const ZERO: [u8; 16] = [0; 16];

/// The id as text.
pub fn format(id: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*id);
    // 21 groups of 6 bits, then the 2 bits that are left, followed by zeros.
    (0..22)
        .map(|n| {
            let group = if n < 21 { bits >> (122 - 6 * n) } else { bits << 4 };
            let place = usize::try_from(group & 0x3f).unwrap_or(0);
            char::from(ALPHABET.get(place).copied().unwrap_or(b'?'))
        })
        .collect()
}

/// The id that a text stands for; `None` unless it is one that [`format()`] prints.
pub fn parse(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (n, c) in text.bytes().enumerate() {
        let group = u128::try_from(ALPHABET.iter().position(|a| *a == c)?).ok()?;
        bits = if n < 21 { bits << 6 | group } else { bits << 2 | group >> 4 };
        if n == 21 && group & 0x0f != 0 {
            return None;
        }
    }
    Some(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_as_kafka_prints_it() {
        assert_eq!(format(&ZERO), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format(&[0xff; 16]), "_____________________w");
        // Uuid.METADATA_TOPIC_ID of Kafka is (0, 1).
        let mut one = ZERO;
        one[15] = 1;
        assert_eq!(format(&one), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn text_and_back() {
        let mut id = ZERO;
        for n in 0..=255u8 {
            id.iter_mut().enumerate().for_each(|(i, b)| {
                *b = n.wrapping_mul(17).wrapping_add(u8::try_from(i).unwrap_or(0).wrapping_mul(29));
            });
            assert_eq!(parse(&format(&id)), Some(id));
        }
        for bad in ["", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA=", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
