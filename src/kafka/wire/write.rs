//! Writing of the protocol's primitive types that `bytes` doesn't have.

use bytes::{BufMut, BytesMut};

/// An unsigned number in groups of 7 bits, lowest first.
pub(super) fn uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).unwrap_or(0));
}

/// A length in the compact form: one more than the number, 0 for null. `None` where it doesn't fit.
pub(super) fn compact(out: &mut BytesMut, length: Option<usize>) -> Option<()> {
    let value = match length {
        None => 0,
        Some(n) => u32::try_from(n).ok()?.checked_add(1)?,
    };
    uvarint(out, value);
    Some(())
}

/// A length in 32 bits, −1 for null. `None` where it doesn't fit.
pub(super) fn length32(out: &mut BytesMut, length: Option<usize>) -> Option<()> {
    out.put_i32(match length {
        None => -1,
        Some(n) => i32::try_from(n).ok()?,
    });
    Some(())
}

/// A length in 16 bits, −1 for null. `None` where it doesn't fit.
pub(super) fn length16(out: &mut BytesMut, length: Option<usize>) -> Option<()> {
    out.put_i16(match length {
        None => -1,
        Some(n) => i16::try_from(n).ok()?,
    });
    Some(())
}
