//! Writing AMQP's elementary types.

use bytes::{BufMut, BytesMut};

/// A short string; what does not fit is cut off.
pub fn shortstr(text: &str, out: &mut BytesMut) {
    let bytes = super::text::to_bytes(text);
    let fits = &bytes[..bytes.len().min(255)];
    out.put_u8(fits.len() as u8);
    out.put_slice(fits);
}

/// A long string.
pub fn longstr(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// Writes with `fill` behind a 32-bit size that it works out.
pub fn sized(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    fill(out);
    let size = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}
