//! Short strings that are not UTF-8: RabbitMQ passes them on in routing keys, headers and properties, so nothing of them
//! may be lost. A byte that is no part of a character becomes a character of the private use area, and back.

use std::borrow::Cow;

/// The character for byte 0.
const BASE: u32 = 0x10_FE00;
/// The first byte of every such character; rare enough to look for.
const LEAD: u8 = 0xF4;

/// Text for any bytes.
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        // A character that would be taken for a byte is escaped too.
        Ok(text) if !bytes.contains(&LEAD) || !text.chars().any(|c| byte(c).is_some()) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(escaped(bytes)),
    }
}

/// The byte a character stands for, if it is one of those.
fn byte(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BASE).and_then(|byte| u8::try_from(byte).ok())
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    let escape = |bytes: &[u8], text: &mut String| {
        text.extend(bytes.iter().filter_map(|o| char::from_u32(BASE + u32::from(*o))));
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte(c) {
                Some(_) => escape(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
                None => text.push(c),
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// The bytes that `text` was made of.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.as_bytes().contains(&LEAD) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        for bytes in [
            &b"plain"[..],
            "héé".as_bytes(),
            b"\xff\xfe",
            b"a\xc3",
            b"\xf4\x80b",
            "\u{10fe41}".as_bytes(),
        ] {
            assert_eq!(&*to_bytes(&from_bytes(bytes)), bytes);
        }
    }
}
