//! How the CRC32C of a message changes with a few of its bytes, without a look at the others.
//!
//! A CRC without its initial and final inversions is linear: of two messages of one length, the checksums differ by the
//! plain CRC of the difference. That is zero but for the changed bytes; the zeros in front of them don't count, and n
//! zeros behind them multiply by x^8n modulo the polynomial, which takes O(log n) multiplications.

/// Castagnoli's polynomial, the lowest bit standing for the highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// 1, and x, in that order of bits.
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

/// `a * x` modulo the polynomial.
const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ if a & 1 == 1 { POLYNOMIAL } else { 0 }
}

/// `a * b` modulo the polynomial.
const fn times(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & ONE != 0 {
            product ^= b;
        }
        a <<= 1;
        b = times_x(b);
    }
    product
}

/// x^(2^k) at place k. The polynomial is x + 1 times a primitive one of degree 31, so the powers of x repeat with the
/// period 2^31 − 1, and 31 places do for any exponent.
const POWERS: [u32; 31] = powers();

#[allow(clippy::indexing_slicing, reason = "evaluated when compiling")]
const fn powers() -> [u32; 31] {
    let mut table = [X; 31];
    let mut k = 1;
    while k < 31 {
        table[k] = times(table[k - 1], table[k - 1]);
        k += 1;
    }
    table
}

/// x^n modulo the polynomial.
fn power(mut n: u64) -> u32 {
    let mut product = ONE;
    for square in POWERS.iter().cycle() {
        if n == 0 {
            break;
        }
        if n & 1 == 1 {
            product = times(product, *square);
        }
        n >>= 1;
    }
    product
}

/// What to xor to a message's CRC32C when bytes of it change by `difference` (old xor new), with `behind` bytes after
/// them.
pub(super) fn change(difference: &[u8], behind: usize) -> u32 {
    let mut crc = 0;
    for byte in difference {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = times_x(crc);
        }
    }
    // Saturates only beyond any frame.
    times(crc, power(u64::try_from(behind).unwrap_or(u64::MAX).saturating_mul(8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn x_to_the_period_is_one() {
        assert_eq!(power(0), ONE);
        assert_eq!(power(1), X);
        assert_eq!(power((1 << 31) - 1), ONE);
        assert_eq!(power(1 << 31), X);
        assert_eq!(power((1 << 35) + 5), power(21));
        assert_eq!(power(u64::MAX), power(u64::MAX % ((1 << 31) - 1)));
    }

    proptest! {
        #[test]
        fn the_change_of_any_bytes_is_that_of_the_whole(
            before in prop::collection::vec(any::<u8>(), 1..3000),
            at in any::<prop::sample::Index>(),
            difference in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let at = at.index(before.len());
            let difference = &difference[..difference.len().min(before.len() - at)];
            let mut after = before.clone();
            for (byte, d) in after[at..].iter_mut().zip(difference) {
                *byte ^= d;
            }
            let change = change(difference, before.len() - at - difference.len());
            prop_assert_eq!(crc32c::crc32c(&before) ^ change, crc32c::crc32c(&after));
        }
    }

    #[test]
    fn a_long_way_to_the_end() {
        let before = vec![7u8; 5_000_001];
        let mut after = before.clone();
        after[3] ^= 0x55;
        let change = change(&[0x55], before.len() - 4);
        assert_eq!(crc32c::crc32c(&before) ^ change, crc32c::crc32c(&after));
    }
}
