//! Short strings that are not UTF-8: RabbitMQ passes them on in routing keys, headers and properties, so nothing of them
//! may be lost. An octet that is no part of a character becomes a character of the private use area, and back.

use std::borrow::Cow;

/// The character for octet 0.
const BASE: u32 = 0x10_FE00;
/// The first octet of every such character; rare enough to look for.
const LEAD: u8 = 0xF4;

/// Text for any octets.
pub fn from_octets(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        // A character that would be taken for an octet is escaped too.
        Ok(text) if !octets.contains(&LEAD) || !text.chars().any(|c| octet(c).is_some()) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(escaped(octets)),
    }
}

/// The octet a character stands for, if it is one of those.
fn octet(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BASE).and_then(|octet| u8::try_from(octet).ok())
}

fn escaped(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 2);
    let escape = |octets: &[u8], text: &mut String| {
        text.extend(octets.iter().filter_map(|o| char::from_u32(BASE + u32::from(*o))));
    };
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match octet(c) {
                Some(_) => escape(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
                None => text.push(c),
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// The octets that `text` was made of.
pub fn to_octets(text: &str) -> Cow<'_, [u8]> {
    if !text.as_bytes().contains(&LEAD) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut octets = Vec::with_capacity(text.len());
    for c in text.chars() {
        match octet(c) {
            Some(octet) => octets.push(octet),
            None => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        for octets in [
            &b"plain"[..],
            "héé".as_bytes(),
            b"\xff\xfe",
            b"a\xc3",
            b"\xf4\x80b",
            "\u{10fe41}".as_bytes(),
        ] {
            assert_eq!(&*to_octets(&from_octets(octets)), octets);
        }
    }
}
