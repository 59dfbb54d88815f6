//! Writing AMQP's elementary types.

use bytes::{BufMut, BytesMut};

/// A short string; what does not fit is cut at a character.
pub fn shortstr(text: &str, out: &mut BytesMut) {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u8(end as u8);
    out.put_slice(&text.as_bytes()[..end]);
}

/// A long string.
pub fn longstr(octets: &[u8], out: &mut BytesMut) {
    out.put_u32(octets.len() as u32);
    out.put_slice(octets);
}

/// Writes with `fill` behind a 32-bit size that it works out.
pub fn sized(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    fill(out);
    let size = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}
